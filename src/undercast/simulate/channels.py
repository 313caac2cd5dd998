"""Channels: streams that follow the drainage, rivers that meander across, and the loops they cut off."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from undercast.simulate.fields import COARSE, Array, Shape, fractal
from undercast.simulate.parameters import Water
from undercast.simulate.terrain import Terrain

Line = NDArray[np.floating[Any]]
Points = tuple[Line, Line, Line]
"""Row, column and half width (pixels) of points dense enough along a line to leave no gap."""


def distance_to_bank(rng: np.random.Generator, shape: Shape, water: Water, terrain: Terrain) -> Array:
    """Pixels to the nearest river bank, negative inside the channel, ``[H, W]`` float32; large where there is none."""
    lines = [streams(terrain, water), *(river(rng, shape, water) for _ in range(water.rivers))]
    row, column, half = (np.concatenate(part) for part in zip(*lines, strict=True))
    wander = fractal(rng, shape, 30.0, 3.5)
    reach = int(np.clip(half.max(initial=1.0) * 2 + 12, 12, 80))
    inside = (row > -reach) & (row < shape[0] + reach) & (column > -reach) & (column < shape[1] + reach)
    if not inside.any():
        return np.full(shape, 1e4, np.float32)
    r = np.rint(row[inside] + reach).astype(np.intp)
    c = np.rint(column[inside] + reach).astype(np.intp)
    order = np.argsort(half[inside], kind="stable")
    widths = np.zeros((shape[0] + 2 * reach + 1, shape[1] + 2 * reach + 1), np.float32)
    widths[r[order], c[order]] = half[inside][order]
    distance, nearest = ndimage.distance_transform_edt(widths == 0, return_indices=True)
    cut = (slice(reach, reach + shape[0]), slice(reach, reach + shape[1]))
    here = widths[nearest[0][cut], nearest[1][cut]]
    bank: Array = distance[cut].astype(np.float32) - here
    if water.braid > 0:
        bank = _braid(rng, shape, water, bank, here)
    # Banks of wide rivers are ragged; a thin stream must not break.
    bank += wander * np.minimum(0.15 * here, 2.0)
    return bank


def streams(terrain: Terrain, water: Water) -> Points:
    """The drainage tree above its channel heads, smoothed so that the coarse grid does not show."""
    rows, columns = terrain.grid
    width = water.channel_width * np.sqrt(terrain.area / (rows * columns))
    # What is narrower than a pixel no label shows.
    wet = np.flatnonzero((terrain.area >= water.channel_cells) & (terrain.parent >= 0) & (width > 0.8))
    to = np.where(terrain.parent >= 0, terrain.parent, np.arange(rows * columns))
    row, column = np.divmod(np.arange(rows * columns), columns)
    position = np.stack([row, column]).astype(np.float64)
    # A node moves towards the next ones downstream and, by their own moves, so does its whole line.
    for _ in range(3):
        position = 0.5 * position + 0.25 * position[:, to] + 0.25 * position[:, to[to]]
    start, end = (position[:, wet] - 1) * COARSE, (position[:, to[wet]] - 1) * COARSE
    half = 0.5 * width[wet]
    share = np.linspace(0, 1, 2 * COARSE, endpoint=False)[:, None]
    path = start[:, None] * (1 - share) + end[:, None] * share
    return path[0].ravel(), path[1].ravel(), np.broadcast_to(half, path[0].shape).ravel()


def river(rng: np.random.Generator, shape: Shape, water: Water) -> Points:
    """A sine-generated curve [Langbein and Leopold 1966] with a wandering phase, from edge to edge, and its oxbows."""
    size = float(np.hypot(*shape)) + 4 * water.meander
    count = int(size * (1 + water.sinuosity) / 0.5)
    s = 0.5 * np.arange(count, dtype=np.float64)
    wander = _along(rng, s, 50, 0.5)
    phase = 2 * np.pi * s / water.meander + 3 * wander
    swing = water.sinuosity * np.clip(0.65 + _along(rng, s, 150, 0.25), 0.2, 1)
    angle = swing * np.sin(phase) + 0.4 * wander + rng.uniform(0, 2 * np.pi)
    row, column = np.cumsum(np.sin(angle)) * 0.5, np.cumsum(np.cos(angle)) * 0.5
    middle = count // 2
    row += rng.uniform(0, shape[0]) - row[middle]
    column += rng.uniform(0, shape[1]) - column[middle]
    width = np.exp(_along(rng, s, 30, 0.2))
    half = 0.5 * water.river_width * width
    parts = [(row, column, half)]
    for _ in range(water.oxbows):
        at = rng.integers(count)
        radius = water.meander * rng.uniform(0.12, 0.35)
        turn = rng.uniform(0, 2 * np.pi) + np.linspace(0, rng.uniform(2.5, 5.2), max(8, int(12 * radius)))
        away = water.meander * rng.uniform(0.3, 0.9) * rng.choice([-1, 1])
        centre = row[at] + away * np.cos(angle[at]), column[at] - away * np.sin(angle[at])
        bend = radius * (1 + 0.25 * np.sin(2 * turn + rng.uniform(0, 6)))
        width_here = np.full(turn.shape, 0.5 * water.river_width * rng.uniform(0.4, 0.9))
        parts.append((centre[0] + bend * np.sin(turn), centre[1] + bend * np.cos(turn), width_here))
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))  # type: ignore[return-value]


def _along(rng: np.random.Generator, s: Line, every: float, sigma: float) -> Line:
    """Normal numbers every so many pixels of way, linear between."""
    count = int(s[-1] // every) + 2
    return np.interp(s, np.arange(count) * every, rng.normal(0, sigma, count))


def _braid(rng: np.random.Generator, shape: Shape, water: Water, bank: Array, half: Array) -> Array:
    """Within some widths of the river, threads part and meet around bars: the zero lines of a field."""
    field = fractal(rng, shape, float(np.clip(water.river_width * 2.5, 10, 60)), 3.0)
    belt = bank / np.maximum(half, 1.0)
    thread = (np.abs(field) - 1.2 * np.float32(water.braid)) * np.maximum(half, 1.0)
    return np.where(belt < 3, np.minimum(bank + 0.5 * half, np.maximum(thread, (belt - 2.5) * half)), bank)
