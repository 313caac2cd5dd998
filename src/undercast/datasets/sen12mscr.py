"""SEN12MS-CR: Sentinel-2 with and without real cloud, and Sentinel-1 [Ebel 2021].

``{s1,s2_cloudfree,s2_cloudy}/ROIs<n>_<season>_<scene>_p<patch>.tif``, 256×256 at 10 m: radar in dB, thirteen bands of
counts (before baseline 04.00, so without an offset). The two optical images are days or weeks apart: what differs
between them is cloud, and also the ground. A chip may lack any of the three; that image is NaN throughout then.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from undercast.bands import S1, S2_L1C, Modality
from undercast.chip import Chip, ChipInfo
from undercast.errors import InputError
from undercast.raster import read_array
from undercast.task import LANDCOVER, Task

FOLDERS = {"s2": "s2_cloudy", "s2_clear": "s2_cloudfree", "s1": "s1"}
NAME = re.compile(r"(?P<scene>ROIs\d+_[a-z]+_\d+)_p\d+")


class Sen12MSCR:
    """Chips of SEN12MS-CR: roles ``s2`` (cloudy), ``s2_clear`` and ``s1``; there is no label and no mask of the cloud.

    Where S2 counts are 0 in every band nothing was seen; so it is where both radar bands are 0. Scenes are places and
    events.

    Raises:
        InputError: ``root`` is not laid out so.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        files = [path.stem for folder in FOLDERS.values() for path in (self.root / folder).glob("*.tif")]
        self._keys = sorted({name for name in files if NAME.fullmatch(name)})
        if not self._keys:
            raise InputError(f"{root}: is not laid out as SEN12MS-CR (s1/, s2_cloudfree/, s2_cloudy/ROIs…_p….tif)")

    @property
    def task(self) -> Task:
        """What a model that reads these answers; no chip has the label."""
        return LANDCOVER

    @property
    def modalities(self) -> Mapping[str, Modality]:
        """Sentinel-2 top of atmosphere and Sentinel-1 in dB."""
        return {"s2": S2_L1C, "s2_clear": S2_L1C, "s1": S1}

    @cached_property
    def index(self) -> Sequence[ChipInfo]:
        """One entry a patch, by name."""
        places = [found["scene"] if (found := NAME.fullmatch(key)) else key for key in self._keys]
        return [ChipInfo(key, event=place, place=place) for key, place in zip(self._keys, places, strict=True)]

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, number: int) -> Chip:
        info = self.index[number]
        found = {role: self._read(role, info.key) for role in FOLDERS}
        shape = next(image.shape[1:] for image in found.values() if image is not None)
        images = {
            role: np.full((len(self.modalities[role].bands), *shape), np.nan, np.float32) if image is None else image
            for role, image in found.items()
        }
        return Chip(info.key, images, {}, info.event, info.place)

    def _read(self, role: str, key: str) -> NDArray[np.float32] | None:
        path = self.root / FOLDERS[role] / f"{key}.tif"
        if not path.is_file():
            return None
        raw, _ = read_array(path)
        modality = self.modalities[role]
        if len(raw) != len(modality.bands):
            raise InputError(f"{path}: has {len(raw)} bands, SEN12MS-CR has {len(modality.bands)} here")
        values = raw.astype(np.float32)
        values[:, (values == 0).all(axis=0) | ~np.isfinite(values).all(axis=0)] = np.nan
        return values if modality.unit == "dB" else values * np.float32(1e-4)


def is_sen12mscr(root: Path) -> bool:
    """Whether a folder is laid out so."""
    return (root / "s1").is_dir() and any((root / folder).is_dir() for folder in ("s2_cloudy", "s2_cloudfree"))
