"""Where no landslide can be: level ground with no slope near it; by window, from a scene's elevation."""

import math

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pydantic import Field
from scipy.ndimage import maximum_filter

from undercast.config import Settings
from undercast.raster.drainage import Read
from undercast.raster.exclusion import Exclusion
from undercast.raster.ground import GroundSteps
from undercast.raster.terrain import slope
from undercast.raster.windows import Window


class FlatConfig(Settings):
    """Where the relief excludes landslides."""

    minimum_slope: float = Field(default=5.0, ge=0, le=90, description="ground less steep does not slide, degrees")
    within: float = Field(
        default=100.0, ge=0, description="unless a slope is so near that a slide may have run out there, metres"
    )


class FlatMask:
    """What the relief of a scene rules out, by window and the same whatever the windows.

    ``read`` gives the elevation in metres of any window of ``grid``, NaN where unknown and beyond its edges: nothing is
    ruled out within reach of that. ``margin``: pixels read beyond a window on each side.
    """

    def __init__(self, grid: GeoBox, read: Read, config: FlatConfig | None = None) -> None:
        self.config = config or FlatConfig()
        self._read, self._steps = read, GroundSteps(grid)
        rows, cols = ((0, int(length) // 2, int(length) - 1) for length in grid.shape)
        steps = [self._steps.at(Window(row, col, 1, 1)) for row in rows for col in cols]
        across = [math.hypot(at.col_east.item(), at.col_north.item()) for at in steps]
        down = [math.hypot(at.row_east.item(), at.row_north.item()) for at in steps]
        shortest = min(across + down)
        self._reach = math.ceil(self.config.within / shortest)
        self.margin = self._reach + 1

    def of(self, window: Window) -> Exclusion:
        """What is ruled out of ``window``; reads it with :attr:`margin` pixels more on each side."""
        around = window.grow(self.margin)
        elevation = np.asarray(self._read(around), np.float64)
        steep = slope(elevation, around.grow(-1), self._steps)
        steep[np.isnan(steep)] = np.inf
        steepest = maximum_filter(steep, size=2 * self._reach + 1, mode="constant", cval=-np.inf)
        inner = window.slices((around.row + 1, around.col + 1))
        flat: NDArray[np.bool_] = steepest[inner] < self.config.minimum_slope
        return Exclusion(flat, np.zeros(flat.shape, np.bool_))
