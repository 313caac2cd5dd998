"""Landslide4Sense in its official layout: Sentinel-2, slope and elevation with landslide masks [Ghorbanzadeh 2022].

``{TrainData,ValidData,TestData}/img/image_N.h5`` with the dataset ``img``, 128×128×14, and ``mask/mask_N.h5`` with the
dataset ``mask``: bands 1 to 12 are Sentinel-2's B1 to B12 as the publishers count them (B8A among none of them), 13 is
slope, 14 elevation, about 10 m. Every band was divided by a number of its own that is not told, so all are relative.

The publishers' split is by folder. Neither place nor event is told: a place is a block of 50 consecutive numbers of one
folder, and nothing says that two folders hold different ground.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undercast.bands import Modality
from undercast.chip import Chip, ChipInfo
from undercast.errors import ConfigError, InputError
from undercast.task import LANDSLIDE, Task

S2 = Modality(
    instrument="Landslide4Sense Sentinel-2",
    bands=tuple(f"B{number:02d}" for number in range(1, 13)),
    unit="relative",
    valid_range=(0.0, 10.0),
)
SLOPE = Modality(instrument="Landslide4Sense slope", bands=("slope",), unit="relative", valid_range=(0.0, 10.0))
DEM = Modality(instrument="Landslide4Sense DEM", bands=("elevation",), unit="relative", valid_range=(0.0, 10.0))
PLANES = {"s2": (S2, slice(0, 12)), "slope": (SLOPE, slice(12, 13)), "dem": (DEM, slice(13, 14))}
FOLDERS = {"TrainData": "train", "ValidData": "valid", "TestData": "test"}
BLOCK = 50


class Landslide4Sense:
    """Chips of 128×128: roles ``s2``, ``slope`` and ``dem``, all relative; target ``landslide`` where there is a mask.

    Raises:
        InputError: ``root`` is not laid out so.
        ConfigError: h5py is not installed.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._files = [file for folder in FOLDERS for file in _numbered(self.root / folder / "img")]
        if not self._files:
            raise InputError(f"{root}: is not laid out as Landslide4Sense (TrainData/img/image_1.h5)")

    @property
    def task(self) -> Task:
        """Landslide or not."""
        return LANDSLIDE

    @property
    def modalities(self) -> Mapping[str, Modality]:
        """Each relative to a number that is not told."""
        return {role: modality for role, (modality, _) in PLANES.items()}

    @cached_property
    def index(self) -> Sequence[ChipInfo]:
        """One entry a chip, by folder and number; no event is known."""
        entries = []
        for number, path in self._files:
            split = FOLDERS[path.parents[1].name]
            entries.append(
                ChipInfo(f"{split}-{number:04d}", place=f"{split}-{number // BLOCK * BLOCK:04d}", split=split)
            )
        return entries

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, number: int) -> Chip:
        (digits, path), info = self._files[number], self.index[number]
        values = _read(path, "img")
        if values.ndim != 3 or values.shape[2] != 14:
            raise InputError(f"{path}: 'img' is {values.shape}, not rows × columns × 14 bands")
        planes = np.moveaxis(values, 2, 0).astype(np.float32)
        images = {role: np.ascontiguousarray(planes[bands]) for role, (_, bands) in PLANES.items()}
        mask = path.parents[1] / "mask" / f"mask_{digits}.h5"
        targets = {LANDSLIDE.name: (_read(mask, "mask") > 0).astype(np.uint8)} if mask.is_file() else {}
        return Chip(info.key, images, targets, info.event, info.place)


def is_landslide4sense(path: Path) -> bool:
    """Whether ``path`` is laid out so."""
    return any((path / folder / "img").is_dir() for folder in FOLDERS)


def _numbered(folder: Path) -> list[tuple[int, Path]]:
    matches = ((re.fullmatch(r"image_(\d+)\.h5", path.name), path) for path in folder.glob("image_*.h5"))
    return sorted((int(match[1]), path) for match, path in matches if match)


def _read(path: Path, name: str) -> NDArray[Any]:
    try:
        import h5py
    except ModuleNotFoundError:
        raise ConfigError(f"{path}: reading HDF5 needs h5py: pip install 'undercast[cubes]'") from None
    try:
        with h5py.File(path, "r") as file:
            if name not in file:
                raise InputError(f"{path}: has no dataset '{name}'; it has {', '.join(file) or 'none'}")
            return np.asarray(file[name][...])
    except OSError as error:
        raise InputError(f"{path}: is no HDF5 file that can be read ({' '.join(str(error).split())})") from None
