"""Folders as of TerraMesh: one modality each, one file a place, aligned at 10 m [Blumenstiel 2025].

``{S1RTC,S1GRD,S2L1C,S2L2A,DEM,LULC}/<id>.tif``, at the root or in its ``train`` and ``val``; a folder, or a file in it,
may be missing. Radar is in dB. The archive itself ships shards of Zarr: export them to GeoTIFF first.

Sentinel-2 counts from processing baseline 04.00 on carry an offset of 1000 that older ones lack, and the chips at hand
hold both, whatever their year [ESA S2 PSD 14.9]. B10 tells: it sees vapour and no ground, so some of any scene is
nearly black in it. Where its darkest pixel is 1000 or more the offset is there. S2L2A comes without it.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from undercast.bands import DEM, S1, S2_L1C, S2_L2A, Modality
from undercast.chip import Chip, ChipInfo
from undercast.datasets.landcover import ESRI, recode
from undercast.errors import InputError
from undercast.raster import read_array
from undercast.task import LANDCOVER, Task

FOLDERS: dict[str, tuple[str, ...]] = {
    "s2": ("S2L1C",),
    "s1": ("S1RTC", "S1GRD"),
    "s2_l2a": ("S2L2A",),
    "dem": ("DEM",),
}
MODALITIES: dict[str, Modality] = {"s2": S2_L1C, "s1": S1, "s2_l2a": S2_L2A, "dem": DEM}
LABEL = "LULC"
SPLITS = ("train", "val")
OFFSET = 1000
CELL = re.compile(r"(\d+[UD]_\d+[LR])_.+")
"""A cell of the Major TOM grid, and which piece of it."""


class TerraMesh:
    """Chips of such folders: roles ``s2`` (top of atmosphere), ``s1``, ``s2_l2a`` and ``dem``, target ``landcover``.

    The label is Esri's ten-metre map of the year, made by a network: good for pretraining, no ground truth. Where it
    says flooded vegetation, snow or cloud there is no class of ours (:data:`~undercast.datasets.landcover.ESRI`). A
    role whose file is missing is NaN throughout; the pieces of one grid cell are one place.

    Raises:
        InputError: ``root`` is not laid out so.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._chips = sorted({(split, path.stem) for split, folder in self._layers() for path in folder.glob("*.tif")})
        if not self._chips:
            raise InputError(f"{root}: is not laid out as TerraMesh ({', '.join(sum(FOLDERS.values(), ()))}, {LABEL})")

    @property
    def task(self) -> Task:
        """Land cover in six classes."""
        return LANDCOVER

    @property
    def modalities(self) -> Mapping[str, Modality]:
        """The modality of each role."""
        return MODALITIES

    @cached_property
    def index(self) -> Sequence[ChipInfo]:
        """One entry a place, by split and name."""
        places = [_place(key) for _, key in self._chips]
        return [
            ChipInfo(key, event=place, place=place, split=split)
            for (split, key), place in zip(self._chips, places, strict=True)
        ]

    def __len__(self) -> int:
        return len(self._chips)

    def __getitem__(self, number: int) -> Chip:
        (split, key), info = self._chips[number], self.index[number]
        found = {role: self._read(split, key, role) for role in FOLDERS}
        shape = next((image.shape[1:] for image in found.values() if image is not None), None)
        if shape is None:
            raise InputError(f"{self.root}: chip {key} has no image, only a label")
        images = {
            role: np.full((len(MODALITIES[role].bands), *shape), np.nan, np.float32) if image is None else image
            for role, image in found.items()
        }
        path = self.root / split / LABEL / f"{key}.tif"
        targets = {"landcover": recode(read_array(path)[0][0], ESRI, str(path))} if path.is_file() else {}
        return Chip(key, images, targets, info.event, info.place)

    def _layers(self) -> list[tuple[str, Path]]:
        return [(split, self.root / split / name) for split in ("", *SPLITS) for name in sum(FOLDERS.values(), ())]

    def _read(self, split: str, key: str, role: str) -> NDArray[np.float32] | None:
        paths = [self.root / split / folder / f"{key}.tif" for folder in FOLDERS[role]]
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            return None
        raw, _ = read_array(path)
        modality = MODALITIES[role]
        if len(raw) != len(modality.bands):
            raise InputError(f"{path}: has {len(raw)} bands, TerraMesh has {len(modality.bands)} here")
        values = raw.astype(np.float32)
        if modality.unit != "reflectance":
            return np.where(np.isfinite(values), values, np.float32(np.nan))
        offset = offset_of(raw[modality.index(["B10"])]) if role == "s2" else 0
        unseen = (raw == 0).all(axis=0)
        reflectance: NDArray[np.float32] = (values - np.float32(offset)) * np.float32(1e-4)
        reflectance[:, unseen] = np.nan
        return reflectance


def _place(key: str) -> str:
    found = CELL.fullmatch(key)
    return found[1] if found else key.rpartition("_")[0] or key


def offset_of(cirrus: NDArray[np.generic]) -> int:
    """What was added to Sentinel-2 counts, 1000 or 0, from those of band B10, any shape (see the module)."""
    seen = np.asarray(cirrus)[np.asarray(cirrus) != 0]
    return OFFSET if seen.size and int(seen.min()) >= OFFSET else 0


def is_terramesh(root: Path) -> bool:
    """Whether a folder is laid out so: optical and radar beside one another under these names."""
    return any(
        all(any((root / split / name).is_dir() for name in FOLDERS[role]) for role in ("s2", "s1"))
        for split in ("", *SPLITS)
    )
