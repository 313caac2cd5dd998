"""CloudSEN12 with high-quality labels in its official layout: cloud and shadow in Sentinel-2 [Aybar 2022].

``<split>/L1C_B1.dat`` to ``L1C_B12.dat`` (and ``L1C_B8A.dat``), int16 counts, and ``<split>/LABEL_manual_hq.dat``, one
byte a pixel (0 clear, 1 thick cloud, 2 thin cloud, 3 shadow), each all chips of 512×512 pixels one after the other, for
the splits ``train``, ``val`` and ``test``; ``<split>/metadata.csv`` a row a chip. The chips are 509×509, filled with
zeros. Layout: the data card of CloudSEN12-high. (CloudSEN12+ comes in another one, which is not read here.)
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from undercast.bands import S2_L1C, Modality
from undercast.chip import Chip, ChipInfo
from undercast.errors import InputError
from undercast.task import CLOUDS, NODATA, Task

SPLITS = ("train", "val", "test")
LABEL = "LABEL_manual_hq.dat"
SIZE = 512
COUNT = np.float32(1e-4)
CLASS_OF = np.full(256, NODATA, np.uint8)
CLASS_OF[:4] = (0, 1, 1, 2)
THIN = 2


def is_cloudsen12(root: Path) -> bool:
    """Whether ``root`` is laid out so."""
    return any((root / split / _file("B02")).is_file() for split in SPLITS)


class CloudSEN12:
    """Chips of CloudSEN12: role ``s2`` (13 bands, top of atmosphere), targets ``clouds`` and ``thin_cloud`` (0 or 1).

    Thick and thin cloud are both cloud in ``clouds``. The place of a chip is its region (``roi_id`` of the metadata),
    its event the region too, for the five dates of a region show one ground; where the metadata lack it both are empty.

    Raises:
        InputError: ``root`` is not laid out so, or a file has not the size of the others.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        if not is_cloudsen12(self.root):
            raise InputError(f"{root}: is not laid out as CloudSEN12 (train/{_file('B02')} and {LABEL})")
        self._chips = [chip for split in SPLITS for chip in self._list(split)]

    @property
    def task(self) -> Task:
        """Clear, cloud (thick or thin) or shadow."""
        return CLOUDS

    @property
    def modalities(self) -> Mapping[str, Modality]:
        """Sentinel-2, top of atmosphere."""
        return {"s2": S2_L1C}

    @cached_property
    def index(self) -> Sequence[ChipInfo]:
        """One entry a chip, by split and then by number."""
        return [info for _, info in self._chips]

    def __len__(self) -> int:
        return len(self._chips)

    def __getitem__(self, number: int) -> Chip:
        place, info = self._chips[number]
        folder = self.root / info.split
        counts = np.stack([_read(folder / _file(band), np.dtype("<i2"), place) for band in S2_L1C.bands])
        filled = (counts == 0).all(axis=0)
        image = np.where(filled, np.float32(np.nan), counts * COUNT).astype(np.float32)
        label = _read(folder / LABEL, np.dtype("u1"), place)
        targets = {"clouds": CLASS_OF[label], "thin_cloud": (label == THIN).astype(np.uint8)}
        for target in targets.values():
            target[filled] = NODATA
        return Chip(info.key, {"s2": image}, targets, info.event, info.place)

    def _list(self, split: str) -> Iterator[tuple[int, ChipInfo]]:
        folder = self.root / split
        if not (folder / _file("B02")).is_file():
            return
        count = (folder / _file("B02")).stat().st_size // (2 * SIZE * SIZE)
        for name, width in [*((_file(band), 2) for band in S2_L1C.bands), (LABEL, 1)]:
            path = folder / name
            if not path.is_file() or path.stat().st_size != count * width * SIZE * SIZE:
                raise InputError(f"{path}: is missing or not {count} chips of {SIZE}×{SIZE}; download it again")
        regions = _regions(folder / "metadata.csv", count)
        for number, region in enumerate(regions):
            yield number, ChipInfo(f"{split}-{number:05d}", event=region, place=region, split=split)


def _file(band: str) -> str:
    """CloudSEN12 writes B1 where Sentinel-2 products write B01."""
    return f"L1C_{band.replace('B0', 'B')}.dat"


def _read(path: Path, dtype: np.dtype[np.generic], number: int) -> NDArray[np.generic]:
    offset = number * SIZE * SIZE * dtype.itemsize
    return np.array(np.memmap(path, dtype, "r", offset, (SIZE, SIZE)))


def _regions(path: Path, count: int) -> list[str]:
    """The region of each chip; empty where nothing tells it."""
    if not path.is_file():
        return [""] * count
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    if len(rows) != count:
        raise InputError(f"{path}: has {len(rows)} rows for {count} chips")
    return [row.get("roi_id", "") for row in rows]
