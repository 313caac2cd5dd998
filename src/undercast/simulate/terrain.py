"""The ground: fractal relief, and the drainage that follows from it.

Drainage is a tree: every node of the coarse grid reaches an outlet on the border by the cheapest way, where going over
high ground is dear. Such a tree has no pits by construction, so that water always finds a way out.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from undercast.simulate.fields import COARSE, Array, Shape, coarse_shape, spectral, upsample
from undercast.simulate.parameters import Relief

PIXEL = 10.0
"""Ground distance of a pixel, metres."""


@dataclass(frozen=True)
class Terrain:
    """Relief and drainage.

    ``elevation`` metres and ``above_drainage`` metres, ``[H, W]`` float32. The tree is given by coarse node in
    row-major order: ``parent`` the next node downstream (negative at an outlet), ``area`` how many nodes drain through
    it, and ``grid`` the shape of the coarse grid.
    """

    elevation: Array
    above_drainage: Array
    parent: NDArray[np.int32]
    area: Array
    grid: Shape


def make_terrain(rng: np.random.Generator, shape: Shape, relief: Relief, channel_cells: float) -> Terrain:
    """Relief of ``shape`` (pixels) and the drainage over it; a channel begins where ``channel_cells`` nodes drain."""
    grid = coarse_shape(shape)
    height = spectral(rng, grid, relief.wavelength / COARSE, relief.exponent)
    height *= np.float32(relief.slope / max(_steepness(height), 1e-9))
    rows = np.arange(grid[0], dtype=np.float32)[:, None] * np.cos(relief.tilt_azimuth)
    columns = np.arange(grid[1], dtype=np.float32)[None, :] * -np.sin(relief.tilt_azimuth)
    height += ((rows + columns) * (relief.tilt * COARSE * PIXEL)).astype(np.float32)
    parent, area, above = drain(rng, height, channel_cells)
    floor = relief.valley_floor
    # Sediment fills valleys: low ground over the channel becomes a plain, high ground keeps its height.
    filled = above * above / (above + np.float32(floor + 1e-3))
    height = height - above + filled
    steeper = np.float32(relief.slope / max(_steepness(height), 1e-9))
    height, filled = height * steeper, filled * steeper
    height += np.float32(relief.base) - height.min()
    return Terrain(upsample(height, shape), upsample(filled, shape), parent, area, grid)


def _steepness(height: Array) -> float:
    """Root mean square slope of a coarse grid, rise over run."""
    squares = np.mean(np.square(np.diff(height, axis=0))) + np.mean(np.square(np.diff(height, axis=1)))
    return float(np.sqrt(squares)) / (COARSE * PIXEL)


def drain(rng: np.random.Generator, height: Array, channel_cells: float) -> tuple[NDArray[np.int32], Array, Array]:
    """The drainage tree of ``height`` ``[h, w]``: parent and drained area by node, height over the channel ``[h, w]``.

    Outlets are the low quarter of the border.
    """
    h, w = height.shape
    number = np.arange(h * w, dtype=np.int32).reshape(h, w)
    # How dear a node is: low ground is cheap, so that paths gather in valleys.
    spread = float(height.std()) + 1e-6
    # Softer and harder rock bends the way even down an even slope.
    rock = np.float32(0.7) * rng.standard_normal(height.shape, np.float32)
    cost = np.exp(np.clip((height - height.mean()) / spread, -3, 3) * np.float32(1.2) + rock)
    ends, starts, weights = [], [], []
    for down, across in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here = (slice(0, h - down), slice(max(0, -across), w - max(0, across)))
        there = (slice(down, h), slice(max(0, across), w + min(0, across)))
        length = np.float32(np.hypot(down, across))
        weight = ((cost[here] + cost[there]) * length).ravel()
        starts += [number[here].ravel(), number[there].ravel()]
        ends += [number[there].ravel(), number[here].ravel()]
        weights += [weight, weight]
    graph = sparse.csr_matrix((np.concatenate(weights), (np.concatenate(starts), np.concatenate(ends))), (h * w, h * w))
    border = np.unique(np.concatenate([number[0], number[-1], number[:, 0], number[:, -1]]))
    level = height.ravel()
    outlets = border[level[border] <= np.quantile(level[border], 0.25)]
    distance, parent, _ = csgraph.dijkstra(graph, indices=outlets, min_only=True, return_predecessors=True)
    return parent, *_accumulate(np.argsort(distance, kind="stable"), parent, height, channel_cells)


def _accumulate(
    order: NDArray[np.int64], parent: NDArray[np.int32], height: Array, channel_cells: float
) -> tuple[Array, Array]:
    """Drained area by node, and height over the channel that the node drains into."""
    to = parent.tolist()
    sequence = order.tolist()
    area = [1.0] * len(to)
    for node in reversed(sequence):
        if to[node] >= 0:
            area[to[node]] += area[node]
    level = height.ravel().tolist()
    channel = list(level)
    for node in sequence:
        if to[node] >= 0 and area[node] < channel_cells:
            channel[node] = channel[to[node]]
    above = np.maximum(height.ravel() - np.array(channel, np.float32), 0)
    return np.array(area, np.float32), above.reshape(height.shape).astype(np.float32)


def slope_of(elevation: Array) -> tuple[Array, Array]:
    """Rise over run down the rows (southward) and along the columns (eastward), each ``[H, W]`` float32."""
    down, across = np.zeros_like(elevation), np.zeros_like(elevation)
    for axis, out in ((0, down), (1, across)):
        if elevation.shape[axis] > 1:
            out[...] = np.gradient(elevation, np.float32(PIXEL), axis=axis)
    return down, across
