"""The labelled images of ukis-csmask: one file a sensor, human reference [Wieland 2019].

``<sensor>.npz`` with ``img`` ``[H, W, 6]`` float32, top-of-atmosphere reflectance of blue, green, red, near infrared
and two short-wave infrared bands, and ``msk`` ``[H, W, 1]``: 0 shadow, 1 water, 2 snow, 3 land, 4 cloud. Layout: the
test files of the repository of that name.
"""

import zipfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from undercast.bands import Modality
from undercast.chip import Chip, ChipInfo
from undercast.errors import InputError
from undercast.task import CLOUDS, NODATA, Task

SIX_BANDS = Modality(
    instrument="multispectral, top of atmosphere",
    bands=("B02", "B03", "B04", "B08", "B11", "B12"),
    unit="reflectance",
    valid_range=(0.0, 1.0),
)
"""The bands under the names of Sentinel-2's nearest in wavelength, whatever the sensor."""
CLASS_OF = np.full(256, NODATA, np.uint8)
CLASS_OF[:5] = (2, 0, 0, 0, 1)  # water, snow and land are clear


def is_ukis_csmask(root: Path) -> bool:
    """Whether ``root`` is laid out so."""
    return root.is_dir() and any(_is_image(path) for path in root.glob("*.npz"))


class UkisCsmask:
    """Images by sensor: role ``s2``, target ``clouds``; each its own place and event, called as the file is.

    Raises:
        InputError: ``root`` holds no such image.
    """

    def __init__(self, root: str | Path) -> None:
        self._files = sorted(path for path in Path(root).glob("*.npz") if _is_image(path))
        if not self._files:
            raise InputError(f"{root}: is not laid out as ukis-csmask (<sensor>.npz with img and msk)")

    @property
    def task(self) -> Task:
        """Clear, cloud or shadow."""
        return CLOUDS

    @property
    def modalities(self) -> Mapping[str, Modality]:
        """Six bands."""
        return {"s2": SIX_BANDS}

    @cached_property
    def index(self) -> Sequence[ChipInfo]:
        """One entry a file, by name."""
        return [ChipInfo(path.stem, event=path.stem, place=path.stem) for path in self._files]

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, number: int) -> Chip:
        path = self._files[number]
        with np.load(path) as arrays:
            image, mask = arrays["img"], arrays["msk"]
        if image.ndim != 3 or image.shape[2] != 6 or mask.shape[:2] != image.shape[:2]:
            raise InputError(f"{path}: img is {image.shape} and msk {mask.shape}; they must be [H, W, 6] and [H, W, 1]")
        values = np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)
        target = CLASS_OF[mask.reshape(mask.shape[:2])]
        return Chip(path.stem, {"s2": values}, {"clouds": target}, event=path.stem, place=path.stem)


def _is_image(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return {"img.npy", "msk.npy"} <= set(archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False
