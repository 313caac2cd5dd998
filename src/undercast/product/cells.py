"""What a map expects in each cell of a coarse grid, summed while its blocks go by.

Sums are whole numbers, so they do not depend on the order or size of blocks, nor on whose machine answered them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyproj
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from undercast.product.area import PixelArea, ground_size
from undercast.product.codes import TERRAIN
from undercast.product.summary import PARTS
from undercast.raster.windows import Window

SUMS = ("answered", "called", "expected", "scatter")


class Cells:
    """A grid of cells of about ``side`` metres over ``grid``, cut along its pixels; those at the end may be smaller.

    ``event`` are the codes that are the event. Tables ``[rows, cols]`` of cells: ``answered`` and ``called`` (of these,
    called the event) count pixels; ``expected`` is the sum of the event's probability p over answered pixels, and
    ``scatter`` that of p·(1 - p), the variance of their number if pixels were independent.
    """

    def __init__(self, grid: GeoBox, side: float, event: Sequence[int]) -> None:
        self.grid, self.event = grid, tuple(event)
        self.step = tuple(max(1, round(side / length)) for length in ground_size(grid))
        self.size = int(grid.shape[0]), int(grid.shape[1])
        self.shape = tuple(-(-length // step) for length, step in zip(self.size, self.step, strict=True))
        self._sums = {name: np.zeros(self.shape, np.int64) for name in SUMS}

    def add(self, window: Window, codes: NDArray[np.uint8], probability: NDArray[np.float32]) -> None:
        """Take in a block: ``codes`` and the event's ``probability`` (NaN where unseen), both ``[h, w]``."""
        self.put(window, self.sums(window, codes, probability))

    def sums(
        self, window: Window, codes: NDArray[np.uint8], probability: NDArray[np.float32]
    ) -> dict[str, NDArray[np.int64]]:
        """What a block adds to the cells that it touches; see :meth:`add`. Changes nothing."""
        answered = codes < TERRAIN
        likely = np.where(answered, probability, np.float32(0))
        values: dict[str, NDArray[Any]] = {
            "answered": answered,
            "called": np.isin(codes, self.event),
            "expected": np.rint(likely * np.float32(PARTS)),
            "scatter": np.rint(likely * (1 - likely) * np.float32(PARTS)),
        }
        rows, cols = (
            _starts(first, length, step) for first, length, step in zip(window[:2], window[2:], self.step, strict=True)
        )
        return {
            name: np.add.reduceat(np.add.reduceat(value.astype(np.int64), rows, axis=0), cols, axis=1)
            for name, value in values.items()
        }

    def put(self, window: Window, sums: Mapping[str, NDArray[np.int64]]) -> None:
        """Add what :meth:`sums` gave for ``window``."""
        height, width = sums["answered"].shape
        row, col = window.row // self.step[0], window.col // self.step[1]
        for name, table in self._sums.items():
            table[row : row + height, col : col + width] += sums[name]

    @property
    def answered(self) -> NDArray[np.int64]:
        """Answered pixels."""
        return self._sums["answered"]

    @property
    def called(self) -> NDArray[np.int64]:
        """Pixels called the event."""
        return self._sums["called"]

    @property
    def expected(self) -> NDArray[np.float64]:
        """Pixels of the event to be expected."""
        return self._sums["expected"] / PARTS

    @property
    def scatter(self) -> NDArray[np.float64]:
        """Variance of that number if pixels were independent."""
        return self._sums["scatter"] / PARTS

    @property
    def pixels(self) -> NDArray[np.int64]:
        """Pixels of each cell, seen or not."""
        rows, cols = (np.diff(self._edges(axis)) for axis in (0, 1))
        return np.asarray(rows[:, None] * cols[None, :], np.int64)

    def pixel_area(self) -> NDArray[np.float64]:
        """Ground that a pixel in the middle of each cell covers, m² on the ellipsoid: it stands for all of the cell."""
        rows, cols = (self._edges(axis) for axis in (0, 1))
        return PixelArea(self.grid)((rows[:-1] + rows[1:]) / 2, (cols[:-1] + cols[1:]) / 2)

    def corners(self, numbers: NDArray[np.intp]) -> NDArray[np.float64]:
        """Outlines ``[N, 5, 2]`` (x, y) of cells on the map's CRS, closed; ``numbers`` count row by row."""
        top, left = np.divmod(numbers, self.shape[1])
        rows, cols = self._edges(0), self._edges(1)
        row = np.stack([rows[top], rows[top + 1], rows[top + 1], rows[top], rows[top]], axis=1)
        col = np.stack([cols[left], cols[left], cols[left + 1], cols[left + 1], cols[left]], axis=1)
        return self._on_map(row, col)

    def centres(self, numbers: NDArray[np.intp]) -> NDArray[np.float64]:
        """Longitude and latitude ``[N, 2]`` of the middle of cells, degrees on WGS 84."""
        top, left = np.divmod(numbers, self.shape[1])
        rows, cols = self._edges(0), self._edges(1)
        xy = self._on_map((rows[top] + rows[top + 1]) / 2, (cols[left] + cols[left + 1]) / 2)
        to_degrees = pyproj.Transformer.from_crs(self.grid.crs.wkt, "OGC:CRS84", always_xy=True)
        return np.stack(to_degrees.transform(xy[:, 0], xy[:, 1]), axis=1)

    def window(self, number: int) -> Window:
        """The pixels of a cell."""
        top, left = divmod(int(number), self.shape[1])
        rows, cols = self._edges(0), self._edges(1)
        return Window(int(rows[top]), int(cols[left]), int(rows[top + 1] - rows[top]), int(cols[left + 1] - cols[left]))

    def _edges(self, axis: int) -> NDArray[np.int64]:
        return np.minimum(np.arange(self.shape[axis] + 1) * self.step[axis], self.size[axis])

    def _on_map(self, row: NDArray[Any], col: NDArray[Any]) -> NDArray[np.float64]:
        affine = self.grid.affine
        x, y = affine.a * col + affine.b * row + affine.c, affine.d * col + affine.e * row + affine.f
        return np.stack([x, y], axis=-1)


def _starts(first: int, length: int, step: int) -> NDArray[np.intp]:
    """Where the cells that ``length`` pixels from ``first`` on touch begin within them."""
    starts = np.arange(first // step, -(-(first + length) // step)) * step - first
    return np.maximum(starts, 0).astype(np.intp)
