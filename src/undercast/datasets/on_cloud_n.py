"""On Cloud N in its official layout: cloud in Sentinel-2, 81 places, a file a band [DrivenData 2022].

``train_features/<chip>/B02.tif`` (B03, B04, B08), ``train_labels/<chip>.tif`` (0 no cloud, 1 cloud) and
``train_metadata.csv`` (chip_id, location, datetime), the same with ``test_`` where published: 512×512 pixels of 10 m,
counts of 2018 to 2020. Layout: the competition's problem description. The images come from a catalogue of Level-2A.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from undercast.bands import S2_L2A, Modality
from undercast.chip import Chip, ChipInfo
from undercast.datasets.split import hold_out_places
from undercast.errors import InputError
from undercast.raster import read_array
from undercast.task import CLOUDS, Task

BANDS = ("B02", "B03", "B04", "B08")
PARTS = ("train", "test")
COUNT = np.float32(1e-4)


def is_on_cloud_n(root: Path) -> bool:
    """Whether ``root`` is laid out so."""
    return any((root / f"{part}_features").is_dir() for part in PARTS)


class OnCloudN:
    """Chips of On Cloud N: role ``s2`` in reflectance, target ``clouds`` where a label is there.

    Shadow is not told from clear ground: both are 0. A chip's place is its location, its event the location and day;
    without metadata both are empty, and such chips cannot be split. The split is ``test`` for the test part, ``valid``
    for a tenth of the other places, else ``train``.

    Raises:
        InputError: ``root`` is not laid out so, or holds no chip.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._chips = hold_out_places([chip for part in PARTS for chip in self._list(part)])
        if not self._chips:
            raise InputError(f"{root}: is not laid out as On Cloud N (train_features/<chip>/B02.tif)")

    @property
    def task(self) -> Task:
        """Clear or cloud; shadow is never labelled."""
        return CLOUDS

    @property
    def modalities(self) -> Mapping[str, Modality]:
        """Blue, green, red and near infrared."""
        return {"s2": S2_L2A.select(BANDS)}

    @cached_property
    def index(self) -> Sequence[ChipInfo]:
        """One entry a chip, by part and then by name."""
        return self._chips

    def __len__(self) -> int:
        return len(self._chips)

    def __getitem__(self, number: int) -> Chip:
        info = self._chips[number]
        part = "test" if info.split == "test" else "train"
        folder = self.root / f"{part}_features" / info.key
        counts = np.concatenate([read_array(folder / f"{band}.tif")[0] for band in BANDS])
        label = self.root / f"{part}_labels" / f"{info.key}.tif"
        targets = {"clouds": _label(read_array(label)[0][0], label)} if label.is_file() else {}
        image = np.where((counts == 0).all(axis=0), np.float32(np.nan), counts * COUNT).astype(np.float32)
        return Chip(info.key, {"s2": image}, targets, info.event, info.place)

    def _list(self, part: str) -> Iterator[ChipInfo]:
        known = _metadata(self.root / f"{part}_metadata.csv")
        for folder in sorted(path for path in (self.root / f"{part}_features").glob("*") if path.is_dir()):
            place, day = known.get(folder.name, ("", ""))
            yield ChipInfo(folder.name, f"{place} {day}".strip(), place, part)


def _metadata(path: Path) -> dict[str, tuple[str, str]]:
    """Chip → location and day."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    if missing := [name for name in ("chip_id", "location", "datetime") if rows and name not in rows[0]]:
        raise InputError(f"{path}: has no column {missing[0]}")
    return {row["chip_id"]: (row["location"], row["datetime"][:10]) for row in rows}


def _label(values: NDArray[np.generic], path: Path) -> NDArray[np.uint8]:
    if strange := sorted(set(np.unique(values).tolist()) - {0, 1}):
        raise InputError(f"{path}: label holds {strange[0]}; On Cloud N's are 0 and 1")
    return values.astype(np.uint8)
