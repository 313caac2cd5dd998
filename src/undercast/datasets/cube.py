"""One zarr cube as xarray writes them: variables by name, their dimensions by name, passes by date.

Dimension names are the attribute ``_ARRAY_DIMENSIONS`` in zarr format 2 and ``dimension_names`` in format 3. Where the
coordinate ``y`` grows downwards the stored rows are turned, so that the first row is always the northernmost.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from undercast.errors import ConfigError, InputError
from undercast.raster import Window

Orbit = Literal["nearest", "ascending", "descending", "any"]
MARKS = (".zgroup", ".zmetadata", "zarr.json")
ORBITS = "sat:orbit_state"


def is_cube(path: Path, variable: str) -> bool:
    """Whether ``path`` is a zarr group that holds ``variable``."""
    return any((path / mark).is_file() for mark in MARKS) and (path / variable).is_dir()


class Cube:
    """The cube at ``path``; ``over`` is a variable of dimensions y and x that gives its rows and columns.

    Raises:
        ConfigError: zarr is not installed.
        InputError: the group cannot be read, or has no such variable.
    """

    def __init__(self, path: Path, over: str) -> None:
        try:
            import zarr
        except ModuleNotFoundError:
            raise ConfigError(f"{path}: reading zarr cubes needs zarr: pip install 'undercast[cubes]'") from None
        self.path = path
        self._arrays: dict[str, Any] = {}
        try:
            self._group: Any = zarr.open_group(str(path), mode="r")
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{path}: is no zarr group that can be read ({' '.join(str(error).split())})") from None
        sizes = dict(zip(self.dimensions(over), self._array(over).shape, strict=True))
        if not {"y", "x"} <= sizes.keys():
            raise InputError(f"{path}: {over} has the dimensions {', '.join(sizes)}, not y and x")
        self.shape = int(sizes["y"]), int(sizes["x"])

    def __contains__(self, name: str) -> bool:
        return name in self._arrays or name in self._group

    def dimensions(self, name: str) -> list[str]:
        """The names of the dimensions of a variable, in the order they are stored."""
        array = self._array(name)
        stored = array.attrs.get("_ARRAY_DIMENSIONS") or getattr(array.metadata, "dimension_names", None)
        if not stored:
            raise InputError(f"{self.path}: variable {name} does not name its dimensions (_ARRAY_DIMENSIONS)")
        return [str(dimension) for dimension in stored]

    def read(self, name: str, window: Window, **at: int) -> NDArray[np.float32]:
        """``window`` of a variable, ``[h, w]`` float32, at the numbers given of its other dimensions (``timestep=3``).

        Raises:
            InputError: the variable is missing, or has a dimension that was not told.
        """
        rows, cols = window.slices()
        if self._upside_down:
            rows = slice(self.shape[0] - rows.stop, self.shape[0] - rows.start)
        where: dict[str, Any] = {"y": rows, "x": cols, **at}
        names = self.dimensions(name)
        if unknown := [dimension for dimension in names if dimension not in where]:
            raise InputError(f"{self.path}: variable {name} has the further dimension {unknown[0]}")
        values = np.asarray(self._array(name)[tuple(where[dimension] for dimension in names)], np.float32)
        values = values if names.index("y") < names.index("x") else values.T
        return np.ascontiguousarray(values[::-1] if self._upside_down else values)

    def dates(self, dimension: str) -> list[str]:
        """The days of a dimension as ``YYYYMMDD``, of pairs as ``YYYYMMDD_YYYYMMDD``.

        Stored as such, with hyphens, as numbers of that form, or as times since a day in CF's way.
        """
        array = self._array(dimension)
        units = str(array.attrs.get("units", ""))
        values = np.asarray(array[:])
        if " since " in units and values.dtype.kind in "iuf":
            return [_since(float(value), units) for value in values]
        if values.dtype.kind == "M":
            values = values.astype("datetime64[D]")
        return ["_".join(_day(part) for part in str(_text(value)).split("_")) for value in values]

    def passes(self, before: str, after: str, count: int, orbit: Orbit) -> tuple[list[int], list[int]]:
        """Numbers of the last ``count`` passes up to the day ``before`` and of the first from ``after`` on, by date.

        ``orbit`` "nearest" is the direction of the first pass afterwards that was also flown before: images of
        different directions show different slopes.

        Raises:
            InputError: there are not so many passes of that direction.
        """
        days, directions = self.dates("timestep"), self._directions()
        order = sorted(range(len(days)), key=lambda number: days[number])
        wanted = {"ascending": "a", "descending": "d"}.get(orbit, "")
        if orbit == "nearest":
            flown = {directions[number] for number in order if days[number] <= before}
            later = (directions[number] for number in order if days[number] >= after)
            wanted = next((direction for direction in later if direction in flown), "")
        fitting = [number for number in order if wanted in ("", directions[number])]
        pre = [number for number in fitting if days[number] <= before][-count:]
        post = [number for number in fitting if days[number] >= after][:count]
        if min(len(pre), len(post)) < count:
            raise InputError(
                f"{self.path}: has {len(pre)} passes up to {before} and {len(post)} from {after} on "
                f"(orbit {orbit}), {count} are asked for; ask for fewer, or orbit 'any'"
            )
        return pre, post

    def pairs(self, before: str, after: str) -> tuple[int | None, int | None]:
        """The last pair of passes before the event, and the closest pair across it; None where there is none."""
        ends = [name.partition("_")[::2] for name in self.dates("timepair")] if "timepair" in self else []
        earlier = [number for number, (_, last) in enumerate(ends) if last <= before]
        across = [number for number, (first, last) in enumerate(ends) if first <= before and last >= after]
        return (
            max(earlier, key=lambda number: ends[number][::-1], default=None),
            min(across, key=lambda number: (ends[number][1], _reversed(ends[number][0])), default=None),
        )

    @cached_property
    def _upside_down(self) -> bool:
        if "y" not in self:
            return False
        y = np.asarray(self._array("y")[:])
        return bool(len(y) > 1 and y[-1] > y[0])

    def _directions(self) -> list[str]:
        """``a`` or ``d`` for each pass, empty where the cube does not tell."""
        if ORBITS not in self:
            return [""] * len(self.dates("timestep"))
        values: Sequence[Any] = np.asarray(self._array(ORBITS)[:]).tolist()
        return [str(_text(value)).strip().lower()[:1] for value in values]

    def _array(self, name: str) -> Any:
        """A variable; kept, for opening one reads its metadata from the disk."""
        if name not in self._arrays:
            if name not in self._group:
                raise InputError(f"{self.path}: has no variable '{name}'; is this one of the landslide cubes?")
            self._arrays[name] = self._group[name]
        return self._arrays[name]


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _day(text: str) -> str:
    return "".join(letter for letter in text.partition("T")[0] if letter.isdigit())[:8]


def _reversed(day: str) -> int:
    """Sorts later days first."""
    return -int(day or 0)


def _since(value: float, units: str) -> str:
    step, _, start = units.partition(" since ")
    seconds = {"d": 86400, "h": 3600, "m": 60, "s": 1}.get(step.strip()[:1], 86400)
    first = datetime.fromisoformat(start.strip().partition(" ")[0].partition("T")[0]).replace(tzinfo=UTC)
    return f"{first + timedelta(seconds=value * seconds):%Y%m%d}"
