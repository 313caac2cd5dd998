"""38-Cloud and 95-Cloud in their official layouts: cloud in Landsat-8, whole scenes cut up [Mohajerani 2019, 2021].

``38-Cloud_training/train_{blue,green,red,nir,gt}/<layer>_patch_<n>_<row>_by_<column>_<scene>.TIF``, 384×384 pixels of
30 m; ``38-Cloud_test/test_…`` the same without labels (those are of whole scenes and not cut here); 95-Cloud adds
``95-cloud_training_only_additional_to38-cloud/train_<layer>_additional_to38cloud/``. A list
``training_patches_….csv`` with ``nonempty`` in its name, where there is one, tells which patches are not black. Layout:
the README of the data sets.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from undercast.bands import Modality
from undercast.chip import Chip, ChipInfo
from undercast.datasets.split import hold_out_places
from undercast.errors import InputError
from undercast.raster import read_array
from undercast.task import CLOUDS, NODATA, Task

# folder → what its layers are called, and the split
PARTS = {
    "38-Cloud_training": ("train_{}", "train"),
    "95-cloud_training_only_additional_to38-cloud": ("train_{}_additional_to38cloud", "train"),
    "38-Cloud_test": ("test_{}", "test"),
}
LAYERS = ("blue", "green", "red", "nir")
LANDSAT8_AS_S2 = Modality(
    instrument="Landsat-8 OLI", bands=("B02", "B03", "B04", "B08"), unit="reflectance", valid_range=(0.0, 1.0)
)
"""Blue, green, red and near infrared under the names of Sentinel-2's, so that a model of those can be asked."""
GAIN, OFFSET = np.float32(2e-5), np.float32(-0.1)
"""Of every Level-1 product of Landsat-8: reflectance before it is divided by the sine of the sun's elevation."""


def is_cloud38(root: Path) -> bool:
    """Whether ``root`` is laid out so."""
    return any((root / part).is_dir() for part in PARTS)


class Cloud38:
    """Patches of 38-Cloud, and of 95-Cloud where it lies beside: role ``s2``, target ``clouds`` where labelled.

    Reflectance is not corrected for the sun's elevation, which the data sets do not tell, so it is lower by that sine.
    Shadow is not told from clear ground: both are 0. A patch's place is the path and row of its scene and its event
    the scene. The split is ``test`` for the test part, ``valid`` for a tenth of the other places, else ``train``.

    Raises:
        InputError: ``root`` holds no patch.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        listed = [(part, info) for part in PARTS for info in _list(self.root / part, *PARTS[part])]
        index = hold_out_places([info for _, info in listed])
        self._patches = [(part, info) for (part, _), info in zip(listed, index, strict=True)]
        if not self._patches:
            raise InputError(f"{root}: is not laid out as 38-Cloud (38-Cloud_training/train_red/red_patch_….TIF)")

    @property
    def task(self) -> Task:
        """Clear or cloud, thin cloud included; shadow is never labelled."""
        return CLOUDS

    @property
    def modalities(self) -> Mapping[str, Modality]:
        """Four bands of Landsat-8."""
        return {"s2": LANDSAT8_AS_S2}

    @cached_property
    def index(self) -> Sequence[ChipInfo]:
        """One entry a patch, by part and then by name."""
        return [info for _, info in self._patches]

    def __len__(self) -> int:
        return len(self._patches)

    def __getitem__(self, number: int) -> Chip:
        part, info = self._patches[number]
        counts = np.concatenate([read_array(self._path(part, layer, info.key))[0] for layer in LAYERS])
        black = (counts == 0).all(axis=0)
        image = np.where(black, np.float32(np.nan), counts * GAIN + OFFSET).astype(np.float32)
        label = self._path(part, "gt", info.key)
        targets = {"clouds": _label(read_array(label)[0][0], black)} if label.is_file() else {}
        return Chip(info.key, {"s2": image}, targets, info.event, info.place)

    def _path(self, part: str, layer: str, key: str) -> Path:
        return self.root / part / PARTS[part][0].format(layer) / f"{layer}_{key}.TIF"


def _list(folder: Path, layers: str, split: str) -> Iterator[ChipInfo]:
    wanted = _nonempty(folder)
    for file in sorted((folder / layers.format("red")).glob("red_patch_*.TIF")):
        key = file.stem.removeprefix("red_")
        if wanted is not None and key not in wanted:
            continue
        match = re.fullmatch(r"patch_\d+_\d+_by_\d+_(\w+_(\d{6})_\d{8}_\w+)", key)
        if not match:
            raise InputError(f"{file}: names no scene of Landsat-8, as in red_patch_1_1_by_1_LC08_L1TP_002053_….TIF")
        yield ChipInfo(key, event=match[1], place=match[2], split=split)


def _nonempty(folder: Path) -> set[str] | None:
    """The patches that are not black; None where no list says."""
    lists = sorted(folder.glob("*patches*nonempty*.csv"))
    if not lists:
        return None
    with lists[0].open(newline="", encoding="utf-8-sig") as file:
        return {row[0].removesuffix(".TIF") for row in csv.reader(file) if row}


def _label(values: NDArray[np.generic], black: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.where(black, NODATA, np.asarray(values) > 0).astype(np.uint8)
