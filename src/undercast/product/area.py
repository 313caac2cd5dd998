"""How much ground a pixel covers, on the ellipsoid: a web-Mercator pixel at 60° north covers a quarter of its size."""

import math
from typing import Any

import numpy as np
import pyproj
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from undercast.errors import InputError
from undercast.raster.geotiff import locate

NODES = 65
"""Points a side at which the area is computed; interpolating between them is good to 1e-6 over 10 degrees."""


class PixelArea:
    """The area of any pixel of a grid, in square metres on the ellipsoid of its CRS.

    Raises:
        InputError: the CRS is neither geographic nor projected.
    """

    def __init__(self, grid: GeoBox) -> None:
        height, width = int(grid.shape[0]), int(grid.shape[1])
        self._rows = np.linspace(0, height, NODES)
        self._cols = np.linspace(0, width, NODES)
        cols, rows = np.meshgrid(self._cols, self._rows)
        affine = grid.affine
        x = affine.a * cols + affine.b * rows + affine.c
        y = affine.d * cols + affine.e * rows + affine.f
        self._areas = abs(affine.determinant) * _unit_area(grid, x, y)

    def __call__(self, rows: NDArray[np.floating[Any]], cols: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Areas ``[len(rows), len(cols)]`` in m² of pixels with these centres (0.5 is the middle of the first)."""
        at_cols = np.stack([np.interp(cols, self._cols, line) for line in self._areas])
        return np.stack([np.interp(rows, self._rows, line) for line in at_cols.T], axis=1)


def ground_size(grid: GeoBox) -> tuple[float, float]:
    """Height and width in metres, on the ellipsoid, of the pixel in the middle of a grid."""
    row, col = int(grid.shape[0]) / 2, int(grid.shape[1]) / 2
    crs = pyproj.CRS.from_user_input(str(grid.crs))
    to_degrees = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    points = [locate(grid.affine, *at) for at in ((col, row), (col, row + 1), (col + 1, row))]
    (lon, lat), down, right = (to_degrees.transform(*point) for point in points)
    geod = _ellipsoid(crs)
    return float(geod.inv(lon, lat, *down)[2]), float(geod.inv(lon, lat, *right)[2])


def _unit_area(grid: GeoBox, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ground area in m² of one square unit of the CRS at each point."""
    crs = pyproj.CRS.from_user_input(str(grid.crs))
    if crs.is_geographic:
        unit = crs.axis_info[0].unit_conversion_factor
        latitude = np.clip(y * unit, -math.pi / 2, math.pi / 2)
        ellipsoid = _ellipsoid(crs)
        # the product of the radii of curvature along the meridian and across it, and the shortening of the parallels
        curvature = (ellipsoid.b / (1 - ellipsoid.es * np.sin(latitude) ** 2)) ** 2
        return np.asarray(unit**2 * curvature * np.cos(latitude))
    if crs.is_projected:
        to_degrees = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
        lon, lat = to_degrees.transform(x, y)
        scale = pyproj.Proj(crs).get_factors(lon, lat).areal_scale
        return np.asarray(crs.axis_info[0].unit_conversion_factor ** 2 / scale)
    raise InputError(f"the CRS '{crs.name}' is neither geographic nor projected; warp the image to one that is")


def _ellipsoid(crs: pyproj.CRS) -> pyproj.Geod:
    geod = crs.get_geod()
    if geod is None:
        raise InputError(f"the CRS '{crs.name}' has no ellipsoid; warp the image to one that has")
    return geod
