"""Height above nearest drainage: how far ground lies above the water that it drains to [Nobre 2011].

The scene's relief is reduced to cells that fit in memory. Water leaves a cell by the path to the scene's edge, or to
where the relief is unknown, whose highest point is lowest, and of those by the steepest way down: the minimum spanning
tree of the cells, each pair of neighbours joined at the height of the higher one. So every pit drains over its lowest
rim and none has to be filled or cut. A cell into which enough ground drains is a channel.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import sparse
from scipy.sparse import csgraph

from undercast.config import Settings
from undercast.raster.ground import GroundSteps
from undercast.raster.windows import Window, cut

Read = Callable[[Window], NDArray[np.float32]]
"""Elevation ``[h, w]`` in metres of a window, NaN where it is unknown."""

NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))


class DrainageConfig(Settings):
    """How channels are found."""

    cells: int = Field(
        default=1_000_000, ge=1, description="the relief is reduced by a whole factor to this many cells"
    )
    channel: float = Field(default=1.0, gt=0, description="a channel is where so much ground drains to, km²")
    rows: int = Field(default=1024, ge=1, description="rows and columns of the relief read at a time, about")


class Drainage:
    """The heights of the channels that a scene's ground drains to.

    ``base`` ``[H, W]`` float64 is by cell of ``factor`` × ``factor`` pixels; ``channels`` ``[H, W]`` bool.
    """

    def __init__(self, base: NDArray[np.float64], channels: NDArray[np.bool_], factor: int) -> None:
        self.base, self.channels, self.factor = base, channels, factor

    @classmethod
    def find(cls, read: Read, steps: GroundSteps, config: DrainageConfig | None = None) -> "Drainage":
        """The channels of the grid of ``steps``, whose elevation ``read`` gives by window."""
        config = config or DrainageConfig()
        factor = max(1, math.ceil(math.sqrt(steps.shape[0] * steps.shape[1] / config.cells)))
        lowest = _reduce(read, steps.shape, factor, config.rows)
        col_east, col_north, row_east, row_north = steps.middle()
        area = abs(col_east * row_north - col_north * row_east) * factor**2
        order, outlet = _drain(lowest, (math.hypot(row_east, row_north), math.hypot(col_east, col_north)))
        gathered = _gather(order, outlet) * area
        channels = gathered >= config.channel * 1e6
        return cls(_bases(lowest, order, outlet, channels), channels[:-1].reshape(lowest.shape), factor)

    def height(self, elevation: NDArray[np.floating], window: Window) -> NDArray[np.float64]:
        """Metres ``[h, w]`` that ``elevation`` ``[h, w]`` of ``window`` lies above its channel; 0 below it."""
        rows = np.arange(window.row, window.row + window.height) // self.factor
        cols = np.arange(window.col, window.col + window.width) // self.factor
        inside = np.clip(rows, 0, len(self.base) - 1)[:, None], np.clip(cols, 0, self.base.shape[1] - 1)
        return np.maximum(np.asarray(elevation, np.float64) - self.base[inside], 0.0)


def _reduce(read: Read, shape: tuple[int, int], factor: int, rows: int) -> NDArray[np.float64]:
    """The lowest elevation of each cell: a channel narrower than a cell stays one."""
    lowest = np.full((-(-shape[0] // factor), -(-shape[1] // factor)), np.nan)
    size = max(factor, rows // factor * factor)
    for window in cut(shape, (size, size)):
        values = np.asarray(read(window), np.float64)
        up = -window.height % factor, -window.width % factor
        values = np.pad(values, ((0, up[0]), (0, up[1])), constant_values=np.nan)
        cells = values.reshape(values.shape[0] // factor, factor, values.shape[1] // factor, factor)
        part = np.fmin.reduce(np.fmin.reduce(cells, axis=3), axis=1)
        row, col = window.row // factor, window.col // factor
        lowest[row : row + part.shape[0], col : col + part.shape[1]] = part
    return lowest


def _drain(height: NDArray[np.float64], step: tuple[float, float]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each cell drains to: cells from the outlets up, and the next cell down of each.

    Cells are numbered row by row; the number after the last stands for everything outside, drains to itself and comes
    first. ``step`` is the distance of rows and columns, in any unit.
    """
    rows, cols = height.shape
    outside = rows * cols
    number = np.arange(outside).reshape(rows, cols)
    known = np.isfinite(height)
    ends, rises, falls = [], [], []
    for down, right in NEIGHBOURS:
        one = np.s_[: rows - down, max(0, -right) : cols - max(0, right)]
        other = np.s_[down:, max(0, right) : cols - max(0, -right)]
        both = known[one] & known[other]
        a, b = height[one][both], height[other][both]
        ends.append(np.stack([number[one][both], number[other][both]]))
        rises.append(np.maximum(a, b))
        falls.append(np.abs(a - b) / math.hypot(down * step[0], right * step[1]))
    leaves = known & _beside_unknown(known)
    ends.append(np.stack([number[leaves], np.full(np.count_nonzero(leaves), outside)]))
    rises.append(height[leaves])
    falls.append(np.full(np.count_nonzero(leaves), -1.0))  # out of the scene only where there is no way down inside it
    pairs = np.concatenate(ends, axis=1)
    rank = np.empty(pairs.shape[1])
    rank[np.lexsort((-np.concatenate(falls), np.concatenate(rises)))] = np.arange(1, pairs.shape[1] + 1)
    graph = sparse.coo_array((rank, (pairs[0], pairs[1])), shape=(outside + 1, outside + 1)).tocsr()
    tree = csgraph.minimum_spanning_tree(graph)
    order, outlet = csgraph.breadth_first_order(tree, outside, directed=False, return_predecessors=True)
    outlet = outlet.astype(np.int64)
    outlet[outside] = outside
    return order.astype(np.int64), outlet


def _beside_unknown(known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Cells at the edge of the grid or beside one that is not known."""
    around = np.pad(known, 1)
    rows, cols = known.shape
    complete = np.ones(known.shape, np.bool_)
    for row in range(3):
        for col in range(3):
            complete &= around[row : row + rows, col : col + cols]
    return ~complete


def _levels(order: NDArray[np.int64], outlet: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """``order`` cut into cells that are equally many steps from outside, nearest first."""
    place = np.empty(len(outlet), np.int64)
    place[order] = np.arange(len(order))
    before = place[outlet[order]]  # grows along the order, as breadth comes first
    cuts = [1]
    while cuts[-1] < len(order):
        cuts.append(int(np.searchsorted(before, cuts[-1])))
    return np.split(order, cuts[:-1])


def _gather(order: NDArray[np.int64], outlet: NDArray[np.int64]) -> NDArray[np.float64]:
    """Number of cells that drain through each, itself included; 0 for those not in ``order``."""
    gathered = np.zeros(len(outlet))
    gathered[order] = 1
    for level in reversed(_levels(order, outlet)[1:]):
        np.add.at(gathered, outlet[level], gathered[level])
    gathered[order[0]] = 0  # outside is no channel
    return gathered


def _bases(
    height: NDArray[np.float64], order: NDArray[np.int64], outlet: NDArray[np.int64], channels: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Height of the first channel downhill of each cell; of the last cell inside where there is none."""
    base = np.append(height.ravel(), np.nan)
    for level in _levels(order, outlet)[1:]:
        below = outlet[level]
        follows = ~channels[level] & (below != order[0])
        base[level[follows]] = base[below[follows]]
    return base[:-1].reshape(height.shape)
