"""WHU-OPT-SAR: land use from Gaofen-1 (optical) and Gaofen-3 (radar), 100 scenes of Hubei at 5 m [Li 2022].

``{optical,sar,lbl}/<sheet>.tif``, 5556×3704 pixels: four optical bands, one radar band, and labels 0 background,
10 farmland, 20 city, 30 village, 40 water, 50 forest, 60 road, 70 others. Scenes are read by window, never whole.
No scene has real cloud; lay some over with :class:`~undercast.datasets.clouded.Clouded`, as [Xu 2024] did.
"""

import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from undercast.bands import Modality
from undercast.chip import Chip, ChipInfo
from undercast.datasets.landcover import AGRICULTURE, FOREST, URBAN, WATER, recode
from undercast.errors import InputError
from undercast.raster import Window, cut, read_array, read_header
from undercast.task import LANDCOVER, NODATA, ClassLabel, Task

GF1 = Modality(instrument="Gaofen-1", bands=("red", "green", "blue", "nir"), unit="relative", valid_range=(0.0, 1.0))
GF3 = Modality(instrument="Gaofen-3", bands=("SAR",), unit="relative", valid_range=(0.0, 1.0))
"""The published scenes are stretched to 8 bits: neither reflectance nor backscatter can be told from them."""

LANDUSE = Task(
    name="landuse",
    background=False,
    classes=(
        ClassLabel(value=0, name="farmland", color="#e6b450"),
        ClassLabel(value=1, name="city", color="#c8403a"),
        ClassLabel(value=2, name="village", color="#e58a7f"),
        ClassLabel(value=3, name="water", color="#1f6fd6"),
        ClassLabel(value=4, name="forest", color="#1f6b3a"),
        ClassLabel(value=5, name="road", color="#5b5b66"),
        ClassLabel(value=6, name="others", color="#b9a99a"),
    ),
)
"""The seven classes of the data set; its background is no label."""

OWN = {0: NODATA} | {10 * (value + 1): value for value in range(7)}
# Roads are built-up in WorldCover too; 'others' is grass, bare ground and whatever else, so it says nothing.
SIX = {0: NODATA, 10: AGRICULTURE, 20: URBAN, 30: URBAN, 40: WATER, 50: FOREST, 60: URBAN, 70: NODATA}
CODES = {"landuse": (LANDUSE, OWN), "landcover": (LANDCOVER, SIX)}

# fmt: off
TEST = frozenset((
    "NH49E001014", "NH49E001017", "NH49E002012", "NH49E002016", "NH49E003014", "NH49E003024",
    "NH49E004011", "NH49E005011", "NH49E005019", "NH49E006019", "NH49E007014", "NH49E008013",
    "NH49E009017", "NH49E010020", "NH49E011024", "NH49E012020", "NH49E013010", "NH50E007002",
    "NH50E011005", "NH50E014003",
))
# fmt: on
"""The 20 scenes that the authors test on; the other 80 train."""
FOLDERS = ("optical", "sar", "lbl")


class WhuOptSar:
    """Windows of the scenes, ``size`` pixels a side (fewer at the far edges, so that each pixel comes once).

    Roles ``s2`` (Gaofen-1, clear) and ``s1`` (Gaofen-3), both 0 to 1 of eight bits. ``task`` is the data set's own
    seven classes (target ``landuse``) or the six of land cover (target ``landcover``: city, village and road are urban;
    rangeland and barren have no label here). A scene is a place and an event.

    Raises:
        InputError: ``root`` is not laid out so, or a scene lacks one of its three files.
    """

    def __init__(self, root: str | Path, *, size: int = 256, task: Literal["landuse", "landcover"] = "landuse") -> None:
        self.root, self.size = Path(root), size
        self._task, self._codes = CODES[task]
        if not is_whu_opt_sar(self.root):
            raise InputError(f"{root}: is not laid out as WHU-OPT-SAR (optical/, sar/ and lbl/ with <sheet>.tif)")
        self.scenes = sorted(path.stem for path in (self.root / "optical").glob("*.tif"))
        for scene in self.scenes:
            for folder in FOLDERS:
                if not self._path(folder, scene).is_file():
                    raise InputError(f"{self._path(folder, scene)}: is missing; a scene is optical, sar and lbl")
        self._chips = [(scene, window) for scene in self.scenes for window in self._windows(scene)]

    @property
    def task(self) -> Task:
        """Land use in seven classes, or land cover in six."""
        return self._task

    @property
    def modalities(self) -> Mapping[str, Modality]:
        """Four optical bands and one of radar, each stretched."""
        return {"s2": GF1, "s1": GF3}

    @cached_property
    def index(self) -> Sequence[ChipInfo]:
        """One entry a window, scene by scene."""
        return [
            ChipInfo(f"{scene}_{window.row}_{window.col}", scene, scene, "test" if scene in TEST else "train")
            for scene, window in self._chips
        ]

    def __len__(self) -> int:
        return len(self._chips)

    def __getitem__(self, number: int) -> Chip:
        (scene, window), info = self._chips[number], self.index[number]
        images = {role: self._image(folder, scene, window, role) for role, folder in (("s2", "optical"), ("s1", "sar"))}
        label = self._read("lbl", scene, window, 1)[0]
        # A radar value of 0 may be dark water; four optical bands at 0 are a border.
        images["s2"][:, (images["s2"] == 0).all(axis=0)] = np.nan
        target = recode(label, self._codes, str(self._path("lbl", scene)))
        return Chip(info.key, images, {self._task.name: target}, info.event, info.place)

    def _image(self, folder: str, scene: str, window: Window, role: str) -> NDArray[np.float32]:
        values = self._read(folder, scene, window, len(self.modalities[role].bands))
        if values.dtype != np.uint8:
            raise InputError(f"{self._path(folder, scene)}: is {values.dtype}, WHU-OPT-SAR is published in 8 bits")
        return values.astype(np.float32) / np.float32(255)

    def _windows(self, scene: str) -> list[Window]:
        shapes = {folder: _header(self._path(folder, scene)) for folder in FOLDERS}
        if len(set(shapes.values())) > 1:
            raise InputError(f"{self._path('optical', scene)}: its radar or label differs in size: {shapes}")
        return list(cut(shapes["lbl"], (self.size, self.size)))

    def _read(self, folder: str, scene: str, window: Window, bands: int) -> NDArray[np.generic]:
        path = self._path(folder, scene)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*no geotransform")
            values, _ = read_array(path, window)
        if len(values) < bands:
            raise InputError(f"{path}: has {len(values)} bands, WHU-OPT-SAR has {bands} here")
        return values[:bands]

    def _path(self, folder: str, scene: str) -> Path:
        return self.root / folder / f"{scene}.tif"


def is_whu_opt_sar(root: Path) -> bool:
    """Whether a folder is laid out so."""
    return all((root / folder).is_dir() for folder in FOLDERS) and any((root / "optical").glob("*.tif"))


def _header(path: Path) -> tuple[int, int]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*no geotransform")
        return read_header(path).shape
