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
        InputError: the CRS is neither geographic nor projected, or the grid reaches beyond its globe.
    """

    def __init__(self, grid: GeoBox) -> None:
        height, width = int(grid.shape[0]), int(grid.shape[1])
        self._rows = np.linspace(0, height, NODES)
        self._cols = np.linspace(0, width, NODES)
        cols, rows = np.meshgrid(self._cols, self._rows)
        affine = grid.affine
        x = affine.a * cols + affine.b * rows + affine.c
        y = affine.d * cols + affine.e * rows + affine.f
        with np.errstate(invalid="ignore"):
            self._areas = abs(affine.determinant) * _unit_area(grid, x, y)
        if not (np.isfinite(self._areas).all() and self._areas.min() >= 0):
            raise InputError(
                f"the grid of the scene reaches beyond the globe of its CRS '{pyproj.CRS(str(grid.crs)).name}'; "
                "check its geotransform, or cut it to what lies on the ground"
            )

    def __call__(self, rows: NDArray[np.floating[Any]], cols: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Areas ``[len(rows), len(cols)]`` in m² of pixels with these centres (0.5 is the middle of the first)."""
        at_cols = np.stack([np.interp(cols, self._cols, line) for line in self._areas])
        return np.stack([np.interp(rows, self._rows, line) for line in at_cols.T], axis=1)


def ground_size(grid: GeoBox) -> tuple[float, float]:
    """Height and width in metres, on the ellipsoid, of the pixel in the middle of a grid."""
    row, col = int(grid.shape[0]) / 2, int(grid.shape[1]) / 2
    crs = pyproj.CRS.from_user_input(str(grid.crs))
    points = [locate(grid.affine, *at) for at in ((col, row), (col, row + 1), (col + 1, row))]
    lon, lat = np.degrees(_radians(crs, *np.array(points).T))
    geod = _ellipsoid(crs)
    return float(geod.inv(lon[0], lat[0], lon[1], lat[1])[2]), float(geod.inv(lon[0], lat[0], lon[2], lat[2])[2])


def _unit_area(grid: GeoBox, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ground area in m² of one square unit of the CRS at each point.

    By differences of the inverse projection: the areal scale that PROJ offers is a third of a percent off for web
    Mercator, which projects an ellipsoid by the formulas of a sphere.
    """
    crs = pyproj.CRS.from_user_input(str(grid.crs))
    ellipsoid = _ellipsoid(crs)
    step = math.sqrt(abs(grid.affine.determinant))
    east = _difference(_radians(crs, x + step, y), _radians(crs, x - step, y))
    north = _difference(_radians(crs, x, y + step), _radians(crs, x, y - step))
    turned = np.abs(east[0] * north[1] - east[1] * north[0]) / (2 * step) ** 2
    latitude = _radians(crs, x, y)[1]
    # the product of the radii of curvature along the meridian and across it, and the shortening of the parallels
    curvature = (ellipsoid.b / (1 - ellipsoid.es * np.sin(latitude) ** 2)) ** 2
    return np.asarray(turned * curvature * np.cos(latitude))


def _difference(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Longitude and latitude of ``one`` less those of ``other``, across the date line too."""
    return (one - other + math.pi) % (2 * math.pi) - math.pi


def _radians(crs: pyproj.CRS, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Longitude and latitude ``[2, ...]`` of points of ``crs``, on its own ellipsoid. Raises InputError."""
    if crs.is_geographic:
        return np.radians(np.stack([x, y]) * math.degrees(crs.axis_info[0].unit_conversion_factor))
    if crs.is_projected:
        degrees: NDArray[np.float64] = np.stack(pyproj.Proj(crs)(x, y, inverse=True))
        return np.radians(degrees)
    raise InputError(f"the CRS '{crs.name}' is neither geographic nor projected; warp the image to one that is")


def _ellipsoid(crs: pyproj.CRS) -> pyproj.Geod:
    geod = crs.get_geod()
    if geod is None:
        raise InputError(f"the CRS '{crs.name}' has no ellipsoid; warp the image to one that has")
    return geod
