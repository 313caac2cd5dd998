"""M3R-CR (also called M3M-CR) in its official layout: PlanetScope with and without cloud, and land cover [Xu 2024].

``{train,test}/{planet_cloudy,planet_cloudfree,S1,landcover,cloudmask}_<season>/<same>_<roi>/<same>_<roi>_p_<n>.tif``
(``.npy`` for the masks). Lists of chips are CSV files beside ``train`` and ``test`` without a header, five paths a row
from the folder of the split: cloud-free, cloudy, S1, land cover, mask.

Optical images are 300×300 at 3 m, radar and labels 90×90 at 10 m: the grids meet at every tenth optical pixel only.
A crop of 160 must therefore start at a multiple of 10, and its label is 48×48; that follows from the scale of the task
(:class:`~undercast.datasets.augment.Augmentation` with ``crop = 160``).
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from undercast.bands import PLANET, S1, Modality
from undercast.chip import Chip, ChipInfo
from undercast.datasets.landcover import WORLDCOVER, recode
from undercast.errors import InputError
from undercast.raster import read_array
from undercast.task import LANDCOVER, Task

SPLITS = ("train", "test")
CLEAR, CLOUDY, RADAR, COVER, MASK = LAYERS = ("planet_cloudfree", "planet_cloudy", "S1", "landcover", "cloudmask")
SCALE = Fraction(3, 10)
NAME = re.compile(r"planet_cloudy_(?P<season>[a-z]+)_(?P<roi>\d+)_p_(?P<number>\d+)\.tif")


class Patch(NamedTuple):
    """One chip: its split, season, region and number."""

    split: str
    folder: str
    season: str
    roi: int
    number: int

    @property
    def key(self) -> str:
        """Season, region and number, as in the file names."""
        return f"{self.season}_{self.roi}_p_{self.number}"

    def path(self, layer: str) -> Path:
        """Where ``layer`` lies, from the root."""
        group = f"{layer}_{self.season}"
        name = f"{group}_{self.roi}_p_{self.number}.{'npy' if layer == MASK else 'tif'}"
        return Path(self.folder, group, f"{group}_{self.roi}", name)


class M3RCR:
    """Chips of M3R-CR: roles ``s2`` (cloudy), ``s2_clear``, ``s1``; targets ``landcover`` (90×90) and ``cloud``.

    The split is that of the folders, or of the list that names a chip (``train``, ``val`` or ``test`` in the name of
    the CSV). A region of a season is a place and an event. Optical counts are clipped to 0…10000 and divided by 10000;
    radar in dB comes to the optical grid by nearest neighbour, so that no value is mixed. Unknown classes are 255: the
    authors' code makes a seventh class of them by mistake.

    Raises:
        InputError: ``root`` is not laid out so, or a list names a chip that is not there.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        if not is_m3rcr(self.root):
            raise InputError(f"{root}: is not laid out as M3R-CR (train/planet_cloudy_<season>/…/…_p_<n>.tif)")
        listed = list(dict.fromkeys(self._listed()))
        self._patches = listed or sorted(self._found())

    @property
    def task(self) -> Task:
        """Six classes, three label pixels to ten optical ones."""
        return LANDCOVER.model_copy(update={"scale": SCALE})

    @property
    def modalities(self) -> Mapping[str, Modality]:
        """PlanetScope, four bands in reflectance; Sentinel-1 in dB."""
        return {"s2": PLANET, "s2_clear": PLANET, "s1": S1}

    @cached_property
    def index(self) -> Sequence[ChipInfo]:
        """One entry a chip, in the order of the lists, else by name."""
        places = [f"{patch.season}_{patch.roi}" for patch in self._patches]
        return [
            ChipInfo(patch.key, event=place, place=place, split=patch.split)
            for patch, place in zip(self._patches, places, strict=True)
        ]

    def __len__(self) -> int:
        return len(self._patches)

    def __getitem__(self, number: int) -> Chip:
        patch, info = self._patches[number], self.index[number]
        images = {"s2": self._optical(patch.path(CLOUDY)), "s2_clear": self._optical(patch.path(CLEAR))}
        shape = images["s2"].shape[1:]
        images["s1"] = self._radar(patch.path(RADAR), (shape[0], shape[1]))
        targets = {"landcover": self._label(patch.path(COVER), (shape[0], shape[1])), "cloud": self._mask(patch, shape)}
        return Chip(info.key, images, targets, info.event, info.place)

    def _optical(self, path: Path) -> NDArray[np.float32]:
        counts = self._read(path, len(PLANET.bands)).astype(np.float32)
        counts[:, (counts == 0).all(axis=0)] = np.nan
        return np.clip(counts, 0, 10000) * np.float32(1e-4)

    def _radar(self, path: Path, shape: tuple[int, int]) -> NDArray[np.float32]:
        values = self._read(path, len(S1.bands)).astype(np.float32)
        return nearest(np.where(np.isfinite(values), values, np.float32(np.nan)), shape)

    def _label(self, path: Path, shape: tuple[int, int]) -> NDArray[np.uint8]:
        label = recode(self._read(path, 1)[0], WORLDCOVER, str(self.root / path))
        wanted = tuple(int(length * SCALE) for length in shape)
        if label.shape != wanted or any((length * SCALE).denominator > 1 for length in shape):
            raise InputError(f"{self.root / path}: label is {label.shape}, {SCALE} of the image's {shape} is {wanted}")
        return label

    def _mask(self, patch: Patch, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        path = self.root / patch.path(MASK)
        try:
            mask = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: is no array that can be read ({error})") from None
        if mask.shape != shape or mask.dtype != np.bool_:
            raise InputError(f"{path}: mask is {mask.dtype} {mask.shape}, not bool {shape}")
        return np.asarray(mask, np.uint8)

    def _read(self, path: Path, bands: int) -> NDArray[np.generic]:
        values, _ = read_array(self.root / path)
        if len(values) != bands:
            raise InputError(f"{self.root / path}: has {len(values)} bands, M3R-CR has {bands} here")
        return values

    def _found(self) -> Iterator[Patch]:
        for split in SPLITS:
            for path in (self.root / split).glob(f"{CLOUDY}_*/*/*.tif"):
                if found := NAME.fullmatch(path.name):
                    yield Patch(split, split, found["season"], int(found["roi"]), int(found["number"]))

    def _listed(self) -> Iterator[Patch]:
        """What the lists name, each chip once: the published samples repeat theirs."""
        for path in sorted(self.root.glob("*.csv")):
            split = next((name for name in ("train", "val", "test") if name in path.stem.lower()), "")
            folder = "test" if split == "test" else "train"
            with path.open(newline="", encoding="utf-8") as file:
                for line, row in enumerate(csv.reader(file), start=1):
                    found = NAME.fullmatch(Path(row[1]).name) if len(row) == len(LAYERS) else None
                    if not found:
                        raise InputError(f"{path}: line {line} does not name five files as M3R-CR's lists do")
                    patch = Patch(split or folder, folder, found["season"], int(found["roi"]), int(found["number"]))
                    if not (self.root / patch.path(CLOUDY)).is_file():
                        raise InputError(f"{path}: line {line}: no such file {self.root / patch.path(CLOUDY)}")
                    yield patch


def is_m3rcr(root: Path) -> bool:
    """Whether a folder is laid out so."""
    return any(True for split in SPLITS for _ in (root / split).glob(f"{CLOUDY}_*"))


def nearest(image: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """``image`` ``[C, h, w]`` on a grid of ``shape`` over the same ground: the pixel that holds each pixel's centre."""
    rows, cols = (
        ((2 * np.arange(wanted) + 1) * length // (2 * wanted))
        for wanted, length in zip(shape, image.shape[1:], strict=True)
    )
    return np.ascontiguousarray(image[:, rows[:, None], cols[None, :]])
