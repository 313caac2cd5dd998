"""Where the relief rules out flood, or a radar cannot tell: by window, from a scene's elevation."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pydantic import Field

from undercast.config import Settings
from undercast.raster.drainage import Drainage, DrainageConfig, Read
from undercast.raster.ground import GroundSteps
from undercast.raster.terrain import RadarGeometry, hidden, margin, slope
from undercast.raster.windows import Window


class TerrainConfig(Settings):
    """Where the relief excludes flood."""

    maximum_slope: float = Field(default=15.0, gt=0, le=90, description="steeper ground holds no flood water, degrees")
    maximum_height: float = Field(
        default=20.0, gt=0, description="ground higher above the drainage nearest to it is not flooded, metres"
    )
    drainage: DrainageConfig = Field(default=DrainageConfig(), description="how channels are found")
    radar: RadarGeometry | None = Field(default=None, description="how the radar looked; none: no layover or shadow")


class Exclusion(NamedTuple):
    """What is ruled out, ``[h, w]`` bool: ground too steep or too high; ground the radar could not see singly."""

    terrain: NDArray[np.bool_]
    hidden: NDArray[np.bool_]


class TerrainMask:
    """What the relief of a scene rules out, by window and the same whatever the windows.

    ``read`` gives the elevation in metres of any window of ``grid``, beyond its edges too, NaN where unknown; nothing
    is ruled out there. It is read once from end to end to find the channels.
    """

    def __init__(self, grid: GeoBox, read: Read, config: TerrainConfig | None = None) -> None:
        self.config = config or TerrainConfig()
        self._read, self._steps = read, GroundSteps(grid)
        self._lowest, self._highest, self._gaps = np.inf, -np.inf, 0
        self.drainage = Drainage.find(self._noted, self._steps, self.config.drainage)
        self.margin = 1
        if self.config.radar and self._highest > self._lowest:
            self.margin = margin(grid, self.config.radar, self._highest - self._lowest)

    @property
    def unknown(self) -> float:
        """Share of the grid whose elevation is unknown."""
        return self._gaps / max(self._steps.shape[0] * self._steps.shape[1], 1)

    def of(self, window: Window) -> Exclusion:
        """What is ruled out of ``window``; reads it with :attr:`margin` pixels more on each side."""
        around = window.grow(self.margin)
        elevation = np.asarray(self._read(around), np.float64)
        inner = window.slices((around.row, around.col))
        rows, cols = window.grow(1).slices((around.row, around.col))
        with np.errstate(invalid="ignore"):
            terrain = slope(elevation[rows, cols], window, self._steps) > self.config.maximum_slope
            terrain |= self.drainage.height(elevation[inner], window) > self.config.maximum_height
        if not self.config.radar:
            return Exclusion(terrain, np.zeros(terrain.shape, np.bool_))
        layover, shadow = hidden(elevation, around, self._steps, self.config.radar)
        return Exclusion(terrain, (layover | shadow)[inner])

    def _noted(self, window: Window) -> NDArray[np.float32]:
        """Read, and keep the lowest and the highest, and how much is unknown."""
        elevation = self._read(window)
        known = np.isfinite(elevation)
        self._gaps += known.size - int(np.count_nonzero(known))
        if known.any():
            self._lowest = min(self._lowest, float(np.nanmin(elevation)))
            self._highest = max(self._highest, float(np.nanmax(elevation)))
        return elevation
