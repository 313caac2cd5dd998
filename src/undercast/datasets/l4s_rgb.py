"""Landslide4Sense as 8-bit colour pictures: 128×128 PNG with human masks, cut into quarters of 64×64.

``{train,validation}/images/image_N.png`` and ``.../masks/mask_N.png``; red, green and blue (a fourth plane is full
opacity), masks 0 and 255. Almost every picture holds a landslide, its quarters do not.

**Neither place nor event of a picture is told**, and the folders ``train`` and ``validation`` mix neighbouring numbers.
All there is are the numbers, those of Landslide4Sense's training set [Ghorbanzadeh 2022]. A place is therefore a block
of 50 consecutive numbers: the quarters of a picture stay together, and its neighbours in number mostly do. That
neighbouring numbers are neighbouring ground is a guess; where a block begins, neighbours may be parted.

From number 2250 to 2549 the pictures are another landscape or season: in the median of every 50 numbers red exceeds
green by 11 to 18 levels of 256, and everywhere else it is between 5 below and 3 above. This part, and the few pictures
up to 2599 that lie between it and the next, has the split ``other``. Which region it is the numbers do not tell.
"""

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from undercast.bands import Modality
from undercast.chip import Chip, ChipInfo
from undercast.datasets.balance import deal, draw_balanced
from undercast.errors import InputError
from undercast.raster import Window, cut, read_array
from undercast.task import LANDSLIDE, Task

RGB = Modality(
    instrument="Landslide4Sense picture", bands=("red", "green", "blue"), unit="relative", valid_range=(0.0, 1.0)
)
FOLDERS = ("train", "validation")
BLOCK = 50
OTHER = range(2250, 2600)
SHARES = {"pretrain": 0.4, "train": 0.2, "valid": 0.15, "test": 0.25}


class _Quarter(NamedTuple):
    image: Path
    mask: Path
    window: Window
    info: ChipInfo


class L4sRgb:
    """Quarters of the pictures, role ``rgb`` 0 to 1, target ``landslide``; a chip holds one where any pixel does.

    Splits are ours, by place: ``pretrain``, ``train``, ``valid``, ``test``, and ``other`` (see the module). With
    ``balanced`` each has as many quarters without landslides as with them.

    Raises:
        InputError: ``root`` is not laid out so, a mask is missing, or a picture is of another form.
    """

    def __init__(self, root: str | Path, size: int = 64, *, balanced: bool = True) -> None:
        self.root, self.size, self.balanced = Path(root), size, balanced
        self._images = _find(self.root)

    @property
    def task(self) -> Task:
        """Landslide or not."""
        return LANDSLIDE

    @property
    def modalities(self) -> Mapping[str, Modality]:
        """Red, green and blue, 0 to 1."""
        return {"rgb": RGB}

    @property
    def index(self) -> Sequence[ChipInfo]:
        """One entry a quarter, by split and number; no event is known."""
        return [quarter.info for quarter in self._quarters]

    def __len__(self) -> int:
        return len(self._quarters)

    def __getitem__(self, number: int) -> Chip:
        quarter = self._quarters[number]
        image = _read(quarter.image, 3)[:, *quarter.window.slices()].astype(np.float32) / np.float32(255)
        slid = _read(quarter.mask, 1)[0][quarter.window.slices()] > 127
        info = quarter.info
        return Chip(info.key, {"rgb": image}, {LANDSLIDE.name: slid.astype(np.uint8)}, info.event, info.place)

    @property
    def _quarters(self) -> tuple[_Quarter, ...]:
        return _list(tuple(self._images.items()), self.size, self.balanced)


@lru_cache(8)
def _list(images: tuple[tuple[int, Path], ...], size: int, balanced: bool) -> tuple[_Quarter, ...]:
    """The quarters by split; reads every mask, so once a process for the same pictures."""
    pools: tuple[dict[str, list[_Quarter]], dict[str, list[_Quarter]]] = {}, {}
    for number, path in images:
        mask = path.parents[1] / "masks" / f"mask_{number}.png"
        truth = _read(mask, 1)[0] > 127
        place = f"numbers-{number // BLOCK * BLOCK:04d}"
        for window in cut(truth.shape, (size, size)):
            if (window.height, window.width) == (size, size):
                info = ChipInfo(f"{number:04d}-{window.row:03d}-{window.col:03d}", place=place)
                held = pools[0 if truth[window.slices()].any() else 1]
                held.setdefault(place, []).append(_Quarter(path, mask, window, info))
    slid, free = pools
    parts = deal({place: len(slid.get(place, ())) for place in (*slid, *free) if not _is_other(place)}, SHARES)
    found: list[_Quarter] = []
    for split in (*SHARES, "other"):
        here = [place for place in sorted({*slid, *free}) if parts.get(place, "other") == split]
        few, many = sorted(([quarter for place in here for quarter in pool.get(place, ())] for pool in pools), key=len)
        chosen = draw_balanced(few, many) if balanced else few + many
        chosen.sort(key=lambda quarter: quarter.info.key)
        found += [quarter._replace(info=replace(quarter.info, split=split)) for quarter in chosen]
    return tuple(found)


def is_l4s_rgb(path: Path) -> bool:
    """Whether ``path`` is laid out so."""
    return any((path / folder / "images").is_dir() and (path / folder / "masks").is_dir() for folder in FOLDERS)


def _find(root: Path) -> dict[int, Path]:
    """Number → picture, in order of number."""
    found: dict[int, Path] = {}
    for path in (path for folder in FOLDERS for path in (root / folder / "images").glob("image_*.png")):
        if match := re.fullmatch(r"image_(\d+)\.png", path.name):
            if int(match[1]) in found:
                raise InputError(f"{path}: number {match[1]} is there twice; remove one")
            found[int(match[1])] = path
    if not found:
        raise InputError(f"{root}: holds no picture as train/images/image_1.png")
    return dict(sorted(found.items()))


def _read(path: Path, bands: int) -> NDArray[np.uint8]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*no geotransform")  # a PNG has none, and needs none here
        values, _ = read_array(path)
    if values.dtype != np.uint8 or len(values) < bands:
        raise InputError(f"{path}: is {values.dtype} with {len(values)} bands, not 8 bits with {bands}")
    return values[:bands]


def _is_other(place: str) -> bool:
    return int(place.rpartition("-")[2]) in OTHER
