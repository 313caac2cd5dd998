"""The landslide cubes of [Böhm 2022a]: Sentinel-1 before and after four landslide events, as zarr.

``hokkaido_japan.zip``, ``kaikoura_newzealand.zip``, ``puerto_rico.zip`` and ``talakmau_indonesia.zip`` of Zenodo
10.5281/zenodo.7248056, unpacked: each a cube ``NAME.zarr`` with the dimensions x, y, timestep and timepair; ``vv`` and
``vh`` (linear power) and ``sat:orbit_state`` by timestep, ``topophase.cor_1`` (coherence) by timepair, ``dem``,
``dem_slope_radians`` and ``landslides``. Names and days of the events are those of the authors' published code.

Ours: the split by place (the authors' lists of files are not published), and the passes. The authors' loader of
[Böhm 2022a] takes ``isel(range(-1 - n, -1))`` of the passes before the event, which leaves out the last one; here the
last one counts. Several passes are averaged in linear power, as the authors do.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from undercast.bands import DEM, S1, Modality, to_decibel
from undercast.chip import Chip, ChipInfo
from undercast.config import Settings
from undercast.datasets.balance import deal, draw_balanced
from undercast.datasets.cube import Cube, Orbit, is_cube
from undercast.errors import InputError
from undercast.raster import Window
from undercast.task import LANDSLIDE, Task

EVENTS = {
    "hokkaido": ("20180905", "20180907"),
    "kaikoura": ("20161113", "20161114"),
    "puerto_rico": ("20170920", "20170921"),
    "talakmau": ("20220224", "20220225"),
}
"""Event → last day before it and first day after it."""
TRUTH = "landslides"
COHERENCE = Modality(
    instrument="Sentinel-1 coherence", bands=("before", "across"), unit="relative", valid_range=(0.0, 1.0)
)
"""Of the last pair of passes before the event, and of the closest pair across it."""
SLOPE = Modality(instrument="DEM slope", bands=("slope",), unit="degree", valid_range=(0.0, 90.0))
MODALITIES = {"s1_pre": S1, "s1_post": S1, "coherence": COHERENCE, "dem": DEM, "slope": SLOPE}
NEEDS = {"s1_pre": "vv", "s1_post": "vv", "coherence": "topophase.cor_1", "dem": "dem", "slope": "dem_slope_radians"}
"""Role → a variable that a cube must have for it."""


class CubeConfig(Settings):
    """How cubes become chips, and chips are split."""

    size: int = Field(default=128, ge=1, description="rows and columns of a chip, pixels")
    passes: int = Field(default=1, ge=1, description="Sentinel-1 passes averaged before the event, and after it")
    orbit: Orbit = Field(
        default="nearest", description="direction of flight; nearest: that of the first pass after the event"
    )
    block: int = Field(default=4, ge=1, description="a place is so many chips along each side; it is never divided")
    shares: dict[str, float] = Field(
        default={"pretrain": 0.5, "train": 0.2, "valid": 0.1, "test": 0.2},
        description="split → share of the chips with landslides, dealt by whole places",
    )
    balanced: bool = Field(default=True, description="as many chips without landslides as with them in each split")
    minimum_seen: float = Field(default=0.5, ge=0, le=1, description="chips less observed than this are left out")


class LandslideCubes:
    """Chips of the cubes at ``root`` (one cube, or a folder of them); event: the cube's, place: a block of chips.

    ``roles`` are those wanted; by default all that every cube has, of ``s1_pre`` and ``s1_post`` (VV, VH dB),
    ``coherence``, ``dem`` and ``slope``. The target ``landslide`` is 1 where the cube counts one or more landslides;
    a chip holds a landslide where any pixel does. Chips do not overlap; what is left at the right and bottom edge of a
    cube is not used. Chips over the sea (elevation 0 or less) are not drawn as landslide-free ones, as in the authors'
    loader. Splits share the event: keep them apart with ``by=("place",)``.

    Raises:
        InputError: no cube there, a cube of unknown event, or a role that a cube lacks.
        ConfigError: zarr is not installed.
    """

    def __init__(self, root: str | Path, roles: Sequence[str] | None = None, config: CubeConfig | None = None) -> None:
        self.root, self.config = Path(root), config or CubeConfig()
        self.cubes = {_event(path): Cube(path, TRUTH) for path in cubes_at(self.root)}
        if not self.cubes:
            raise InputError(f"{root}: holds no zarr cube with the variable {TRUTH}; unpack the .zip files first")
        common = [role for role in MODALITIES if all(NEEDS[role] in cube for cube in self.cubes.values())]
        self._roles = tuple(common if roles is None else roles)
        for role in self._roles:
            if role not in common:
                raise InputError(f"{root}: no role '{role}' in every cube; there are {', '.join(common)}")
        count, orbit = self.config.passes, self.config.orbit
        self._has_relief = {event: "dem" in cube for event, cube in self.cubes.items()}
        self._pairs = {event: cube.pairs(*EVENTS[event]) for event, cube in self.cubes.items()}
        self._passes = {event: cube.passes(*EVENTS[event], count, orbit) for event, cube in self.cubes.items()}

    def only(self, roles: Sequence[str]) -> "LandslideCubes":
        """The same chips with ``roles`` alone, so that nothing else is read. Raises InputError where one is missing."""
        return LandslideCubes(self.root, roles, self.config)

    @property
    def task(self) -> Task:
        """Landslide or not."""
        return LANDSLIDE

    @property
    def modalities(self) -> Mapping[str, Modality]:
        """Sentinel-1 in dB, coherence 0 to 1, elevation in metres, slope in degrees."""
        return {role: MODALITIES[role] for role in self._roles}

    @property
    def index(self) -> Sequence[ChipInfo]:
        """One entry a chip, by event, split and position."""
        return [info for info, _ in self._chips]

    def __len__(self) -> int:
        return len(self._chips)

    def __getitem__(self, number: int) -> Chip:
        info, window = self._chips[number]
        images = {role: self._image(role, info.event, window) for role in self._roles}
        truth = self.cubes[info.event].read(TRUTH, window) > 0
        return Chip(info.key, images, {LANDSLIDE.name: truth.astype(np.uint8)}, info.event, info.place)

    @cached_property
    def _chips(self) -> list[tuple[ChipInfo, Window]]:
        """Found by reading the labels of the cubes once, and the passes of the chips that are taken."""
        return [entry for event in sorted(self.cubes) for entry in self._chips_of(event)]

    def _chips_of(self, event: str) -> Iterator[tuple[ChipInfo, Window]]:
        config = self.config
        counts = _count(self.cubes[event], config.size)
        places = {
            (row, col): f"{event}-{row // config.block:03d}-{col // config.block:03d}"
            for row, col in np.ndindex(*counts.shape)
        }
        weights = dict.fromkeys(places.values(), 0)
        for at, place in places.items():
            weights[place] += int(counts[at] > 0)
        parts = deal(weights, config.shares)
        for split in config.shares:
            here = [at for at, place in places.items() if parts[place] == split]
            sound = partial(self._usable, event, counts)
            if config.balanced:
                slid, free = ([at for at in here if bool(counts[at]) == held] for held in (True, False))
                taken = draw_balanced(slid, free, sound=sound)
            else:
                taken = [at for at in here if sound(at)]
            for row, col in taken:
                key = f"{event}-{row:03d}-{col:03d}"
                yield ChipInfo(key, event, places[row, col], split), self._window((row, col))

    def _window(self, at: tuple[int, int]) -> Window:
        size = self.config.size
        return Window(at[0] * size, at[1] * size, size, size)

    def _usable(self, event: str, counts: NDArray[np.int64], at: tuple[int, int]) -> bool:
        """Whether enough of the chip ``at`` was observed, and a landslide-free one is on land."""
        cube, window = self.cubes[event], self._window(at)
        if not counts[at] and self._has_relief[event] and (cube.read("dem", window) <= 0).any():
            return False
        seen = [np.isfinite(self._backscatter(event, window, after=after)).all(axis=0) for after in (False, True)]
        return bool((seen[0] & seen[1]).mean() >= self.config.minimum_seen)

    def _image(self, role: str, event: str, window: Window) -> NDArray[np.float32]:
        cube = self.cubes[event]
        if role in ("s1_pre", "s1_post"):
            return self._backscatter(event, window, after=role == "s1_post")
        if role == "coherence":
            absent = np.full((window.height, window.width), np.nan, np.float32)
            pairs = self._pairs[event]
            return np.stack([absent if n is None else cube.read(NEEDS[role], window, timepair=n) for n in pairs])
        values = cube.read(NEEDS[role], window)
        return (np.degrees(values) if role == "slope" else values)[None].astype(np.float32)

    def _backscatter(self, event: str, window: Window, *, after: bool) -> NDArray[np.float32]:
        """VV and VH ``[2, h, w]`` in dB, of the mean power of the passes that saw a pixel; NaN where none did."""
        cube, numbers = self.cubes[event], self._passes[event][int(after)]
        total = np.zeros((2, window.height, window.width), np.float64)
        count = np.zeros((window.height, window.width), np.int64)
        for number in numbers:
            power = np.stack([cube.read(name, window, timestep=number) for name in ("vv", "vh")])
            # both bands exactly 0: beyond the swath, where no nodata was declared
            seen = np.isfinite(power).all(axis=0) & (power != 0).any(axis=0)
            total += np.where(seen, power, 0)
            count += seen
        mean = np.where(count, total / np.maximum(count, 1), np.nan)
        return to_decibel(mean.astype(np.float32))


def cubes_at(root: Path) -> list[Path]:
    """The cubes at ``root``: itself, or the folders in it or one further down, as the archives unpack."""
    if is_cube(root, TRUTH):
        return [root]
    if not root.is_dir():
        return []
    return sorted(path for pattern in ("*.zarr", "*/*.zarr") for path in root.glob(pattern) if is_cube(path, TRUTH))


def _event(path: Path) -> str:
    for event in EVENTS:
        if path.name.startswith(event):
            return event
    raise InputError(f"{path}: of unknown event; a cube's name begins with one of {', '.join(EVENTS)}")


def _count(cube: Cube, size: int) -> NDArray[np.int64]:
    """Landslide pixels of each whole chip, ``[rows, cols]`` of chips."""
    rows, cols = cube.shape[0] // size, cube.shape[1] // size
    if not rows or not cols:
        raise InputError(f"{cube.path}: {cube.shape[0]}×{cube.shape[1]} pixels hold no chip of {size}")
    counts = np.zeros((rows, cols), np.int64)
    for row in range(rows):
        strip = cube.read(TRUTH, Window(row * size, 0, size, cols * size)) > 0
        counts[row] = strip.reshape(size, cols, size).sum(axis=(0, 2))
    return counts
