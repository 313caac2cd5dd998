"""Rows of equal pixels, and how those of neighbouring rows lie against one another.

A class raster is mostly stretches of one value, so everything that follows (components, areas, outlines) is worked out
on runs, a few for each row, and never on a second image of labels.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from undercast.product.area import PixelArea
from undercast.product.summary import CELL
from undercast.raster.windows import Window

PARTS = 1 << 20
"""Areas are added as whole numbers of this fraction of the largest pixel, so a sum does not depend on its order."""


class Runs(NamedTuple):
    """Stretches of equal pixels in a row, in the order they lie: columns ``start`` up to but not including ``stop``.

    ``row``, ``start`` and ``stop`` are int64 of one length, ``value`` uint8 and never 0.
    """

    row: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    value: NDArray[np.uint8]

    def take(self, chosen: NDArray[np.bool_]) -> "Runs":
        """The runs where ``chosen`` is set."""
        return Runs._make(part[chosen] for part in self)

    def then(self, other: "Runs") -> "Runs":
        """These runs, then ``other``, which lie further down."""
        return Runs._make(np.concatenate([mine, theirs]) for mine, theirs in zip(self, other, strict=True))

    @classmethod
    def none(cls) -> "Runs":
        """No run at all."""
        empty = np.zeros(0, np.int64)
        return cls(empty, empty, empty, np.zeros(0, np.uint8))


def find_runs(values: NDArray[np.uint8], first_row: int = 0) -> Runs:
    """The runs of ``values`` ``[h, w]`` uint8 that are not 0; its first row is row ``first_row`` of the raster."""
    height, width = values.shape
    begins = np.ones((height, width), np.bool_)
    np.not_equal(values[:, 1:], values[:, :-1], out=begins[:, 1:])
    start = np.flatnonzero(begins)
    value = values.ravel()[start]
    kept = np.flatnonzero(value)
    stop = np.append(start[1:], height * width)[kept]
    start, value = start[kept], value[kept]
    row = start // width
    return Runs(row + first_row, start - row * width, stop - row * width, value)


class Contacts(NamedTuple):
    """For each run, the runs of the row above that it touches by an edge: ``first`` up to but not ``last``, int64."""

    first: NDArray[np.int64]
    last: NDArray[np.int64]

    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Every pair of runs that touch, as the numbers of the upper and of the lower one."""
        counts = self.last - self.first
        lower = np.repeat(np.arange(len(counts)), counts)
        before = np.cumsum(counts) - counts
        upper = np.arange(len(lower)) - before[lower] + self.first[lower]
        return upper, lower


def find_contacts(runs: Runs, width: int) -> Contacts:
    """Which runs touch which of the row above; ``width``: columns of the raster."""
    at = runs.row * width
    start, stop = at + runs.start, at + runs.stop
    first = np.searchsorted(stop + width, start, side="right")
    last = np.searchsorted(start + width, stop, side="left")
    return Contacts(first, np.maximum(first, last))


def sum_over(runs: Runs, layer: NDArray[np.uint8], first_row: int) -> NDArray[np.int64]:
    """Sum of ``layer`` ``[h, w]`` uint8 over each run, int64; the first row of ``layer`` is row ``first_row``."""
    if not len(runs.row):
        return np.zeros(0, np.int64)
    width = layer.shape[1]
    at = (runs.row - first_row) * width
    edges = np.stack([at + runs.start, at + runs.stop], axis=1).ravel()
    # what lies between two runs is summed too, and left out; a row of 2²⁴ pixels would still fit
    padded = np.append(layer.ravel(), np.uint8(0))
    return np.add.reduceat(padded, edges, dtype=np.uint32)[::2].astype(np.int64)


class RunArea:
    """Ground area of runs in whole numbers of :attr:`unit` square metres, as ``summary.json`` counts it.

    Within one row and one cell of ``CELL`` columns every pixel covers the same ground.
    """

    def __init__(self, grid: GeoBox) -> None:
        height, width = int(grid.shape[0]), int(grid.shape[1])
        first = np.arange(-(-width // CELL)) * CELL
        centres = (first + np.minimum(first + CELL, width)) / 2
        area = PixelArea(grid)(np.arange(height) + 0.5, centres)
        self.unit = float(area.max()) / PARTS
        self._parts = np.rint(area / self.unit).astype(np.int64)
        whole = np.cumsum(self._parts * CELL, axis=1)
        self._before = np.concatenate([np.zeros((height, 1), np.int64), whole[:, :-1]], axis=1)

    def of(self, runs: Runs) -> NDArray[np.int64]:
        """Area of each run in units, int64."""
        return self._upto(runs.row, runs.stop) - self._upto(runs.row, runs.start)

    def parts(self, window: Window) -> NDArray[np.int64]:
        """Area of each pixel of ``window`` in units, ``[h, w]`` int64."""
        rows, cols = window.slices()
        cells = np.arange(cols.start, cols.stop) // CELL
        return np.asarray(self._parts[rows][:, cells])

    def _upto(self, row: NDArray[np.int64], col: NDArray[np.int64]) -> NDArray[np.int64]:
        cell = np.minimum(col // CELL, self._parts.shape[1] - 1)
        upto: NDArray[np.int64] = self._before[row, cell] + (col - cell * CELL) * self._parts[row, cell]
        return upto
