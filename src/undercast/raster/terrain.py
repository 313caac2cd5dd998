"""What the relief does to a map: how steep the ground is, and what a radar that looks aside cannot see of it."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pydantic import Field

from undercast.config import Settings
from undercast.raster.ground import GroundSteps
from undercast.raster.windows import Window


class RadarGeometry(Settings):
    """How a radar looks at a scene; one direction and angle for the whole of it, as if from far away."""

    incidence: float = Field(
        gt=0, lt=90, description="angle between the beam and the vertical on level ground, degrees"
    )
    look_azimuth: float = Field(
        ge=0, lt=360, description="where the beam goes over ground, clockwise from north, degrees"
    )

    def reach(self, relief: float) -> float:
        """How far, in metres over ground, heights that differ by ``relief`` metres can hide or cover one another."""
        tangent = math.tan(math.radians(self.incidence))
        return relief * max(tangent, 1 / tangent)


class Hidden(NamedTuple):
    """What a radar cannot map, ``[h, w]`` bool: echoes of several places arrive together; or none arrives."""

    layover: NDArray[np.bool_]
    shadow: NDArray[np.bool_]


def slope(elevation: NDArray[np.floating], window: Window, steps: GroundSteps) -> NDArray[np.float64]:
    """Slope ``[h, w]`` in degrees of ``window``, by weighted differences of eight neighbours [Horn 1981].

    ``elevation`` ``[h + 2, w + 2]`` in metres is the window with a margin of one pixel, NaN where there is none: a
    neighbour that is missing is continued from those there are, so a plane keeps its slope up to the edge. NaN where
    the pixel itself is NaN.
    """
    east, north = _gradient(np.asarray(elevation, np.float64), window, steps)
    return np.degrees(np.arctan(np.hypot(east, north)))


def _gradient(
    elevation: NDArray[np.float64], window: Window, steps: GroundSteps
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rise in metres per metre to the east and to the north."""
    by_col = _weighted(elevation[:, 2:] - elevation[:, :-2])
    by_row = _weighted((elevation[2:] - elevation[:-2]).T).T
    rows, cols = np.nonzero(np.isnan(by_col + by_row) & ~np.isnan(elevation[1:-1, 1:-1]))
    if len(rows):
        around = [elevation[rows + row, cols + col] for row in range(3) for col in range(3)]
        by_col[rows, cols], by_row[rows, cols] = _continued(np.array(around).reshape(3, 3, -1))
    step = steps.at(window)
    area = step.col_east * step.row_north - step.col_north * step.row_east
    east = (by_col * step.row_north - by_row * step.col_north) / area
    north = (by_row * step.col_east - by_col * step.row_east) / area
    return east, north


def _weighted(change: NDArray[np.float64]) -> NDArray[np.float64]:
    """Change per pixel from differences over two, the middle one counting twice."""
    return (change[:-2] + 2 * change[1:-1] + change[2:]) / 8


def _continued(around: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Change by column and by row in the middle of ``[3, 3, N]``, where it is known and some neighbours are not."""
    centre, full = around[1, 1], around.copy()
    for row, col in ((1, 2), (1, 0), (2, 1), (0, 1)):
        across = around[2 - row, 2 - col]
        straight = np.where(np.isnan(across), centre, 2 * centre - across)
        full[row, col] = np.where(np.isnan(around[row, col]), straight, around[row, col])
    for row, col in ((2, 2), (2, 0), (0, 2), (0, 0)):
        full[row, col] = np.where(np.isnan(around[row, col]), full[row, 1] + full[1, col] - centre, around[row, col])
    return _weighted(full[:, 2] - full[:, 0])[0], _weighted(full[2] - full[0])[0]


def hidden(elevation: NDArray[np.floating], window: Window, steps: GroundSteps, geometry: RadarGeometry) -> Hidden:
    """Layover and shadow of ``window`` ``[h, w]``, which is what ``elevation`` ``[h, w]`` in metres covers.

    Along each line of sight over ground, a place is in shadow where one before it rises above the beam that would meet
    it; it lies in layover where a place further away is as near to the radar, or a nearer one as far [Kropatsch and
    Strobl 1990]. A line runs through whole pixels, half a pixel beside the true one at most. Ask for a window grown by
    :meth:`RadarGeometry.reach` and drop that margin: what lies beyond it cannot matter. NaN hides nothing and is not
    hidden.
    """
    step = steps.at(window)
    look = math.radians(geometry.look_azimuth)
    # metres along the beam that one column, and one row, lead
    by_col = step.col_east * math.sin(look) + step.col_north * math.cos(look)
    by_row = step.row_east * math.sin(look) + step.row_north * math.cos(look)
    d_row, d_col = _direction(steps, geometry)
    z, first = np.asarray(elevation, np.float64), window.row
    turned = abs(d_col) > abs(d_row)
    if turned:  # go along columns: make them the rows
        z, by_col, by_row, d_row, d_col, first = z.T, by_row.T, by_col.T, d_col, d_row, window.col
    drift = np.rint(d_col / d_row * np.arange(first, first + len(z))).astype(np.int64)
    moved = np.diff(drift, prepend=drift[:1])[:, None]
    shift = drift.max() - drift
    height, distance = _shear(z, shift, np.nan), np.cumsum(_shear(by_row + moved * by_col, shift, 0.0), axis=0)
    if d_row > 0:
        layover, shadow = _along(height, distance, geometry)
    else:
        layover, shadow = (found[::-1] for found in _along(height[::-1], distance[::-1], geometry))
    layover, shadow = (
        np.stack([line[first : first + z.shape[1]] for line, first in zip(found, shift, strict=True)])
        for found in (layover, shadow)
    )
    return Hidden(layover.T, shadow.T) if turned else Hidden(layover, shadow)


def _shear(values: NDArray[np.float64], shift: NDArray[np.int64], fill: float) -> NDArray[np.float64]:
    """Row ``k`` of ``values`` moved ``shift[k]`` columns to the right, so that lines of sight run down columns."""
    moved = np.full((len(values), values.shape[1] + int(shift.max())), fill)
    for row, first in enumerate(shift):
        moved[row, first : first + values.shape[1]] = values[row]
    return moved


def _direction(steps: GroundSteps, geometry: RadarGeometry) -> tuple[float, float]:
    """Rows and columns that a metre along the beam leads, in the middle of the scene."""
    col_east, col_north, row_east, row_north = steps.middle()
    look = math.radians(geometry.look_azimuth)
    area = col_east * row_north - col_north * row_east
    d_col = (math.sin(look) * row_north - math.cos(look) * row_east) / area
    d_row = (math.cos(look) * col_east - math.sin(look) * col_north) / area
    return d_row, d_col


def _along(
    height: NDArray[np.float64], distance: NDArray[np.float64], geometry: RadarGeometry
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Layover and shadow where the beam goes down the first axis; ``distance`` over ground in metres grows along it."""
    angle = math.radians(geometry.incidence)
    beam = height + distance / math.tan(angle)
    slant = distance * math.sin(angle) - height * math.cos(angle)
    layover, shadow = np.zeros(height.shape, np.bool_), np.zeros(height.shape, np.bool_)
    with np.errstate(invalid="ignore"):
        shadow[1:] = beam[1:] < np.fmax.accumulate(beam)[:-1]
        layover[1:] = slant[1:] < np.fmax.accumulate(slant)[:-1]
        layover[:-1] |= slant[:-1] > np.fmin.accumulate(slant[::-1])[::-1][1:]
    return layover, shadow & ~layover


def margin(grid: GeoBox, geometry: RadarGeometry, relief: float) -> int:
    """Pixels by which a window must be grown for :func:`hidden`, where heights differ by ``relief`` metres at most."""
    col_east, col_north, row_east, row_north = GroundSteps(grid).middle()
    smallest = min(math.hypot(col_east, col_north), math.hypot(row_east, row_north))
    return math.ceil(1.1 * geometry.reach(relief) / smallest) + 2
