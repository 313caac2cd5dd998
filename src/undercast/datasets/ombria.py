"""OMBRIA: floods of 2017–2020 before and after, in Sentinel-1 and Sentinel-2 [Drakonakis 2022].

``Ombria{S1,S2}/{train,test}/{BEFORE,AFTER,MASK}/S{1,2}_{before,after,mask}_NNNN.png``, 256×256, 8 bits, without CRS.
Each patch was stretched from its own least to its own greatest value, so backscatter and reflectance are relative to
the patch. The folders ``train`` and ``test`` leak (neighbouring patches of one scene); ``groups.csv`` beside them tells
the event and scene of each patch and a split by event, and is what counts here.
"""

import csv
import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from undercast.bands import Modality
from undercast.chip import Chip, ChipInfo
from undercast.errors import InputError
from undercast.raster import read_array
from undercast.task import FLOOD, Task

S1_STRETCHED = Modality(instrument="OMBRIA Sentinel-1", bands=("VV",), unit="relative", valid_range=(0.0, 1.0))
S2_STRETCHED = Modality(
    instrument="OMBRIA Sentinel-2", bands=("B11", "B08", "B03"), unit="relative", valid_range=(0.0, 1.0)
)
# role → sensor and moment
ROLES = {"s1": ("S1", "after"), "s1_pre": ("S1", "before"), "s2": ("S2", "after"), "s2_pre": ("S2", "before")}
COLUMNS = ("patch", "official_split", "scene_group", "event_fold", "split")


class Ombria:
    """Patches of OMBRIA by event: roles ``s1``, ``s1_pre``, ``s2`` and ``s2_pre``, 0 to 1 of each patch's own stretch.

    The target ``flood`` is 1 on flood only: permanent water is 0, unlike Sen1Floods11's.

    Raises:
        InputError: no ``groups.csv`` at ``root``, or it lacks a column.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._patches = _read_groups(self.root / "groups.csv")

    @property
    def task(self) -> Task:
        """Flooded or not."""
        return FLOOD

    @property
    def modalities(self) -> Mapping[str, Modality]:
        """One radar band and three optical ones, each stretched."""
        return {role: S1_STRETCHED if sensor == "S1" else S2_STRETCHED for role, (sensor, _) in ROLES.items()}

    @cached_property
    def index(self) -> Sequence[ChipInfo]:
        """One entry a patch, in the order of ``groups.csv``."""
        return [
            ChipInfo(f"{int(row['patch']):04d}", row["event_fold"], row["scene_group"], row["split"])
            for row in self._patches
        ]

    def __len__(self) -> int:
        return len(self._patches)

    def __getitem__(self, number: int) -> Chip:
        info, folder = self.index[number], self._patches[number]["official_split"]
        images = {
            role: self._read(sensor, folder, moment, info.key).astype(np.float32) / np.float32(255)
            for role, (sensor, moment) in ROLES.items()
        }
        mask = self._read("S1", folder, "mask", info.key)[0]
        return Chip(info.key, images, {"flood": (mask > 127).astype(np.uint8)}, info.event, info.place)

    def _read(self, sensor: str, folder: str, moment: str, key: str) -> NDArray[np.uint8]:
        path = self.root / f"Ombria{sensor}" / folder / moment.upper() / f"{sensor}_{moment}_{key}.png"
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*no geotransform")  # a PNG has none, and needs none here
            values, _ = read_array(path)
        expected = 3 if sensor == "S2" and moment != "mask" else 1
        if values.dtype != np.uint8 or len(values) < expected:
            raise InputError(f"{path}: is {values.dtype} with {len(values)} bands, not 8 bits with {expected}")
        return values[:expected]


def _read_groups(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise InputError(f"{path}: missing; it tells event and scene of each patch (columns {', '.join(COLUMNS)})")
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    if missing := [name for name in COLUMNS if not rows or name not in rows[0]]:
        raise InputError(f"{path}: has no column {missing[0]}")
    return rows
