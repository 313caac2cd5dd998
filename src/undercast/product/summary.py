"""What a map says in numbers: area by class, how much was observed, and a verdict."""

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pydantic import Field

from undercast.config import Settings
from undercast.product.area import PixelArea
from undercast.product.codes import CLOUD, FLOOD, HIDDEN, OUTSIDE, PERMANENT, TERRAIN, UNCERTAIN, WATER, Entry
from undercast.raster.windows import Window
from undercast.task import NODATA

Verdict = Literal["flood", "flood or permanent water", "none detected", "cannot tell"]

CELL = 512
"""Columns counted together; within one cell of a row every pixel is taken to cover the same ground."""

PARTS = 2**15
"""Parts of a pixel that probabilities are summed in: single precision adds those of a cell exactly, up to 2²⁴."""
OVERRULED = {
    TERRAIN: "is excluded as too steep or too high above the drainage",
    HIDDEN: "lies in layover or shadow",
    OUTSIDE: "is outside the training domain of the model",
}


class VerdictConfig(Settings):
    """When a scene is called flooded."""

    minimum_area: float = Field(default=10_000.0, ge=0, description="water below this is no detection, m²")
    minimum_observed: float = Field(
        default=0.5, ge=0, le=1, description="share observed below which the absence of water tells nothing"
    )


class Tally:
    """Counts of every code, kept by row and cell so that areas do not depend on the order or size of blocks."""

    def __init__(self, grid: GeoBox, entries: tuple[Entry, ...]) -> None:
        self.entries = entries
        self._grid = grid
        self._shape = int(grid.shape[0]), int(grid.shape[1])
        cells = -(-self._shape[1] // CELL)
        self._counts = {entry.value: np.zeros((self._shape[0], cells), np.int32) for entry in entries}
        self._overruled: dict[int, NDArray[Any]] = {}
        self._expected: dict[int, NDArray[Any]] = {}
        self._near_unseen = 0

    def add(
        self,
        window: Window,
        codes: NDArray[np.uint8],
        near_unseen: NDArray[np.bool_],
        called: NDArray[np.uint8] | None = None,
        probabilities: NDArray[np.float32] | None = None,
    ) -> None:
        """Count a block that covers ``window``: ``codes`` and ``near_unseen`` ``[h, w]``.

        ``called`` ``[h, w]`` are the classes before any was overruled, ``probabilities`` ``[K, h, w]`` what the network
        answered.
        """
        self.put(window, self.counts(window, codes, near_unseen, called, probabilities))

    def counts(
        self,
        window: Window,
        codes: NDArray[np.uint8],
        near_unseen: NDArray[np.bool_],
        called: NDArray[np.uint8] | None = None,
        probabilities: NDArray[np.float32] | None = None,
    ) -> dict[str, NDArray[Any]]:
        """What a block adds, whole numbers by name of table and code; see :meth:`add`. Changes nothing."""
        answered = codes < TERRAIN
        found: dict[str, NDArray[Any]] = {"near_unseen": np.array([np.count_nonzero(near_unseen & answered)])}
        left = codes.size
        for value in self._counts:
            if not left:
                break
            present = codes == value
            count = int(np.count_nonzero(present))
            if not count:
                continue
            left -= count
            found[f"pixels.{value}"] = _by_cell(window, present)
            if called is not None and TERRAIN <= value < NODATA and (lost := present & self._event(called)).any():
                found[f"overruled.{value}"] = _by_cell(window, lost)
        if probabilities is not None:
            all_answered = answered.all()
            for number in range(0 if self.entries[0].event else 1, len(probabilities)):
                # whole parts of a pixel, so that the sum does not depend on the order
                parts = probabilities[number] * np.float32(PARTS)
                np.rint(parts, out=parts)
                if not all_answered:
                    np.copyto(parts, 0, where=~answered)
                found[f"expected.{number}"] = _by_cell(window, parts)
        return found

    def put(self, window: Window, counts: Mapping[str, NDArray[Any]]) -> None:
        """Add what :meth:`counts` gave for ``window``."""
        tables = {"pixels": self._counts, "overruled": self._overruled, "expected": self._expected}
        shape = next(iter(self._counts.values())).shape
        for name, found in counts.items():
            table, _, key = name.partition(".")
            if not key:
                self._near_unseen += int(found.sum())
                continue
            sums = tables[table].setdefault(int(key), np.zeros(shape, found.dtype))
            height, cells = found.shape
            sums[window.row : window.row + height, window.col // CELL : window.col // CELL + cells] += found

    def _event(self, called: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Where a class is called that the map is made to find: water, or any class but the background."""
        wanted = np.zeros(256, np.bool_)
        wanted[[entry.value for entry in self.entries if entry.event]] = True
        wanted[PERMANENT] |= wanted[FLOOD]
        return np.asarray(wanted[called], np.bool_)

    @property
    def pixels(self) -> dict[int, int]:
        """Number of pixels by code."""
        return {value: int(counts.sum(dtype=np.int64)) for value, counts in self._counts.items()}

    @property
    def near_unseen(self) -> int:
        """Number of answered pixels within the network's reach of ground that was not seen."""
        return self._near_unseen

    def areas(self) -> dict[int, float]:
        """Square metres on the ellipsoid by code."""
        return self._on_ground(self._counts)

    def overruled(self) -> dict[int, float]:
        """Square metres by code that were called water, or any class but the background, before the code was set."""
        return self._on_ground(self._overruled)

    def expected(self) -> dict[int, float]:
        """Square metres to be expected of each class but the background: its probabilities where answered, summed."""
        return {number: area / PARTS for number, area in self._on_ground(self._expected).items()}

    def _on_ground(self, tables: Mapping[int, NDArray[Any]]) -> dict[int, float]:
        first = np.arange(next(iter(self._counts.values())).shape[1]) * CELL
        centres = (first + np.minimum(first + CELL, self._shape[1])) / 2
        area = PixelArea(self._grid)(np.arange(self._shape[0]) + 0.5, centres)
        return {value: math.fsum((counts * area).ravel()) for value, counts in tables.items()}


def _by_cell(window: Window, values: NDArray[Any]) -> NDArray[Any]:
    """Sums ``[h, cells]`` of ``values`` ``[h, w]``, bool or whole float32, over the cells that the window touches."""
    totals = []
    for cell in range(window.col // CELL, -(-(window.col + window.width) // CELL)):
        part = values[:, max(cell * CELL - window.col, 0) : (cell + 1) * CELL - window.col]
        if part.dtype == np.bool_:
            totals.append(np.bitwise_count(np.packbits(part, axis=1)).sum(axis=1, dtype=np.int32))
        else:
            totals.append(part.sum(axis=1).astype(np.int64))
    return np.stack(totals, axis=1)


def summarise(tally: Tally, config: VerdictConfig, *, reference: bool, flood: bool) -> dict[str, Any]:
    """The body of ``summary.json``: verdict and sentence, shares observed, and area and pixels by class.

    ``reference``: permanent water was told apart; ``flood``: the task asks for water, so there is a verdict to give.
    """
    areas, pixels = tally.areas(), tally.pixels
    whole = math.fsum(areas.values())
    observed = math.fsum(area for value, area in areas.items() if value < 250)
    answered = sum(count for value, count in pixels.items() if value < 250)
    share = observed / whole if answered else 0.0
    body: dict[str, Any] = {}
    overruled = {value: area for value, area in tally.overruled().items() if area}
    if flood:
        possible = whole - areas[TERRAIN]
        able = observed / possible if answered and possible > 0 else 0.0
        seen = f"{percent(share)} of the scene was observed"
        if areas[TERRAIN]:
            seen += f", the relief excludes {percent(areas[TERRAIN] / whole)}"
        body |= _verdict(areas, able, observed, config, reference, seen)
        body["sentence"] += "".join(
            f" Water was seen on {square_km(area)} more that {OVERRULED[value]}."
            for value, area in overruled.items()
            if area >= config.minimum_area
        )
    elif tally.entries[0].event:
        body["sentence"] = _shares(areas, tally.entries, observed, share)
    body |= {
        "observed_share": round(share, 6),
        "scene_area_m2": round(whole, 1),
        "observed_area_m2": round(observed, 1),
        "area_m2": {entry.key: round(areas[entry.value], 1) for entry in tally.entries},
        "overruled_area_m2": {
            entry.key: round(overruled[entry.value], 1) for entry in tally.entries if entry.value in overruled
        },
        "pixels": {entry.key: pixels[entry.value] for entry in tally.entries},
        "near_unseen_pixels": tally.near_unseen,
        "near_unseen_share": round(tally.near_unseen / answered, 6) if answered else 0.0,
    }
    return body


def _shares(areas: dict[int, float], entries: tuple[Entry, ...], observed: float, share: float) -> str:
    """What a map without a background says in words: its classes, the largest first, and what hid the rest."""
    known = sorted(
        (entry for entry in entries if entry.value < TERRAIN and areas[entry.value]), key=lambda e: -areas[e.value]
    )
    parts = [f"{entry.name} {percent(areas[entry.value] / observed)}" for entry in known]
    seen = f"{percent(share)} of the scene was observed"
    hidden = areas[CLOUD] / math.fsum(areas.values())
    cloud = f", cloud leaves no answer on {percent(hidden)}" if hidden else ""
    return f"{', '.join(parts).capitalize()}; {seen}{cloud}." if parts else f"Nothing was answered: {seen}{cloud}."


def _verdict(
    areas: dict[int, float], able: float, observed: float, config: VerdictConfig, reference: bool, seen: str
) -> dict[str, str]:
    """``able`` is the share observed of the ground that the relief leaves: what it rules out needs no observing."""
    word = "flood" if reference else "water"
    least = config.minimum_area
    verdict: Verdict
    if able > 0 and areas[FLOOD] >= least:
        verdict = "flood"
        sentence = f"Flood on {square_km(areas[FLOOD])}, {percent(areas[FLOOD] / observed)} of the ground seen; {seen}."
    elif able > 0 and areas[WATER] >= least:
        verdict = "flood or permanent water"
        sentence = f"Water on {square_km(areas[WATER])}, {percent(areas[WATER] / observed)} of the ground seen; {seen}."
    elif able < config.minimum_observed:
        verdict = "cannot tell"
        sentence = f"Nothing can be said of {word} here: {seen}."
    else:
        verdict = "none detected"
        sentence = f"No {word} of {square_km(least)} or more was detected; {seen}."
    if areas[PERMANENT] >= least:
        sentence += f" Permanent or reference water covers {square_km(areas[PERMANENT])}."
    if areas[WATER] >= least and not reference:
        sentence += " Flood is not told apart from permanent water, for which no reference was given."
    elif areas[WATER] >= least:
        sentence += f" Of {square_km(areas[WATER])} of water it is not known whether it is flood: no reference there."
    if areas[UNCERTAIN] >= least:
        sentence += f" {square_km(areas[UNCERTAIN])} are uncertain."
    return {"verdict": verdict, "sentence": sentence}


def square_km(area: float) -> str:
    """An area in m² as a person writes it: km², hectares where it is small, m² where it is tiny."""
    if area >= 1e6:
        return f"{area / 1e6:,.1f} km²"
    return f"{area / 1e4:,.1f} ha" if area >= 1000 else f"{area:,.0f} m²"


def percent(share: float) -> str:
    """A share in percent that says 0 or 100 only where it is exact."""
    if share in (0.0, 1.0):
        return f"{100 * share:.0f} %"
    return f"{min(max(100 * share, 0.1), 99.9):.1f} %"
