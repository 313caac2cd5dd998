"""How far apart pixels are on the ground, in metres east and north, whatever the CRS of their grid."""

import math
from typing import Any, NamedTuple

import numpy as np
import pyproj
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from undercast.errors import InputError
from undercast.raster.windows import Window

NODES = 33
"""Points a side at which steps are computed; between them they are interpolated, whatever window is asked for."""


class Steps(NamedTuple):
    """Metres ``[h, w]`` float64 that one column to the right, and one row down, lead east and north."""

    col_east: NDArray[np.float64]
    col_north: NDArray[np.float64]
    row_east: NDArray[np.float64]
    row_north: NDArray[np.float64]


class GroundSteps:
    """Ground distances between neighbouring pixels of a grid, on the ellipsoid of its CRS.

    Degrees are shorter east-west than north-south, and a metre of web Mercator is half a metre at 60° north: both are
    accounted for.

    Raises:
        InputError: the CRS has no coordinates on the globe there.
    """

    def __init__(self, grid: GeoBox) -> None:
        self.shape = int(grid.shape[0]), int(grid.shape[1])
        self._rows = np.linspace(0, self.shape[0], NODES)
        self._cols = np.linspace(0, self.shape[1], NODES)
        cols, rows = np.meshgrid(self._cols, self._rows)
        crs = pyproj.CRS.from_user_input(str(grid.crs))
        geod = crs.get_geod()
        if geod is None:
            raise InputError(f"the CRS '{crs.name}' has no ellipsoid; warp the image to one that has")
        to_degrees = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)

        def radians(row: NDArray[np.float64], col: NDArray[np.float64]) -> NDArray[np.float64]:
            affine = grid.affine
            x, y = affine.a * col + affine.b * row + affine.c, affine.d * col + affine.e * row + affine.f
            return np.asarray(np.radians(np.stack(to_degrees.transform(x, y))), np.float64)

        latitude = radians(rows, cols)[1]
        bulge = 1 - geod.es * np.sin(latitude) ** 2
        east = geod.a / np.sqrt(bulge) * np.cos(latitude)
        north = geod.a * (1 - geod.es) / bulge**1.5
        by_col = radians(rows, cols + 0.5) - radians(rows, cols - 0.5)
        by_row = radians(rows + 0.5, cols) - radians(rows - 0.5, cols)
        for change in (by_col, by_row):
            change[0] = np.remainder(change[0] + math.pi, 2 * math.pi) - math.pi  # across the 180th meridian
        self._nodes = [by_col[0] * east, by_col[1] * north, by_row[0] * east, by_row[1] * north]
        if not all(np.isfinite(nodes).all() for nodes in self._nodes):
            raise InputError(
                f"the CRS '{crs.name}' has no coordinates on the globe here; warp the image to one that has"
            )

    def at(self, window: Window) -> Steps:
        """Steps at every pixel of ``window``, which may reach beyond the grid."""
        rows = np.arange(window.row, window.row + window.height) + 0.5
        cols = np.arange(window.col, window.col + window.width) + 0.5
        return Steps(*(self._between(nodes, rows, cols) for nodes in self._nodes))

    def middle(self) -> tuple[float, float, float, float]:
        """Steps in the middle of the grid, in the order of :class:`Steps`."""
        rows, cols = np.array([self.shape[0] / 2]), np.array([self.shape[1] / 2])
        one, two, three, four = (float(self._between(nodes, rows, cols)[0, 0]) for nodes in self._nodes)
        return one, two, three, four

    def _between(
        self, nodes: NDArray[np.float64], rows: NDArray[np.floating[Any]], cols: NDArray[np.floating[Any]]
    ) -> NDArray[np.float64]:
        at_cols = np.stack([np.interp(cols, self._cols, line) for line in nodes])
        last = len(self._rows) - 2
        below = np.clip(np.searchsorted(self._rows, rows, side="right") - 1, 0, last)
        share = np.clip((rows - self._rows[below]) / (self._rows[below + 1] - self._rows[below]), 0, 1)[:, None]
        return np.asarray(at_cols[below] * (1 - share) + at_cols[below + 1] * share)
