"""Landslides: scars on steep slopes, what ran out of them downslope, and what else changed between the two passes.

Areas follow the three-parameter inverse gamma distribution of [Malamud 2004] (10.1002/esp.1064), whose tail falls as
``area ** -2.4`` and whose most frequent slide is some 400 m²; depths follow volume = 0.074 · area ** 1.450 [Guzzetti
2009]. A slide takes away what grew on the slope and leaves bare ground, so backscatter rises or falls by what stood
there, by moisture and by the way the slope faces; relief changes by the depth, so margins brighten or darken.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from undercast.simulate.cover import Land
from undercast.simulate.fields import Array, Shape, fractal
from undercast.simulate.ground import Ground
from undercast.simulate.parameters import Slides
from undercast.simulate.terrain import PIXEL, Terrain, slope_of

Mask = NDArray[np.bool_]

TAIL = 1.40
"""ρ of [Malamud 2004]: the tail of the density falls as ``area ** -(ρ + 1)``."""
ROLLOVER = 1.28e-3 * 1e6
"""a, m²."""
ORIGIN = -1.32e-4 * 1e6
"""s, m²."""
DEEPEST = 8.0
"""Metres: deeper slides are not of soil, and pixels of 10 m would show them as cliffs."""


@dataclass(frozen=True)
class Slid:
    """What the event did, ``[H, W]``: where ground ``moved`` (bool), ``shift`` of the surface in metres, and the cover
    (uint8 of :class:`Ground`) ``before`` and ``after`` it, old scars and clearings included."""

    moved: Mask
    shift: Array
    before: NDArray[np.uint8]
    after: NDArray[np.uint8]


def make_slides(
    rng: np.random.Generator, old: np.random.Generator, slides: Slides, terrain: Terrain, land: Land, water: Mask
) -> Slid:
    """The slides of the event, those of years ago (from the stream ``old``), and clearings that are no slides."""
    before = land.cover.copy()
    clear_forest(before, land, slides.cleared_before, salt=43)
    scars, _, _ = _slide(old, slides, slides.old_density, terrain, land, water)
    before[scars] = np.where(land.grain[scars] > 0, np.uint8(Ground.GRASS), np.uint8(Ground.ROCK))
    after = before.copy()
    clear_forest(after, land, slides.cleared, salt=41)
    moved, along, shift = _slide(rng, slides, slides.density, terrain, land, water)
    after[moved] = np.where(along[moved] < 0.5, np.uint8(slides.scar), np.uint8(slides.debris))
    return Slid(moved, shift, before, after)


def clear_forest(cover: NDArray[np.uint8], land: Land, share: float, *, salt: int) -> None:
    """Cut ``share`` of the parcels of forest, in place: bare, grown over or planted anew, each parcel alike."""
    cut = (cover == Ground.FOREST) & (land.parcels.draw(salt) < share)
    kind = land.parcels.draw(salt + 1)[cut]
    cover[cut] = np.where(kind < 0.3, np.uint8(Ground.SOIL), np.where(kind < 0.7, Ground.GRASS, Ground.SHRUB))


def draw_areas(rng: np.random.Generator, number: int, slides: Slides) -> NDArray[np.float64]:
    """``number`` areas in m² between ``smallest`` and ``largest`` [Malamud 2004], all scaled by ``size``."""
    scale, origin = ROLLOVER * slides.size, ORIGIN * slides.size
    ends = [scale / (area - origin) for area in (slides.largest, slides.smallest)]
    low, high = stats.gamma.cdf(ends, TAIL)
    drawn: NDArray[np.float64] = scale / stats.gamma.ppf(rng.uniform(low, high, number), TAIL) + origin
    return drawn


def _slide(
    rng: np.random.Generator, slides: Slides, density: float, terrain: Terrain, land: Land, water: Mask
) -> tuple[Mask, Array, Array]:
    """Where ground moved, how far down its slide a pixel lies (0 to 1), and the shift of the surface in metres."""
    shape = water.shape
    moved, along, shift = np.zeros(shape, np.bool_), np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    if density <= 0:
        return moved, along, shift
    number = max(1, int(rng.poisson(density * moved.size * (PIXEL / 1000) ** 2)))
    south, east = slope_of(terrain.elevation)
    for source, area in zip(
        _sources(rng, number, shape, slides, np.hypot(south, east), water),
        draw_areas(rng, number, slides),
        strict=False,
    ):
        length = float(np.sqrt(area * slides.aspect * np.exp(rng.normal(0, 0.3))))
        path = _run_out(source, length / PIXEL, slides.stops_below, south, east)
        window, inside, place, depth = _footprint(path, area / length / PIXEL, land.grain)
        depth *= np.float32(min(0.074 * area**0.45, DEEPEST))
        moved[window] |= inside
        along[window][inside] = place[inside]
        shift[window][inside] = depth[inside]
    moved &= ~water
    return moved, along, np.where(moved, shift, np.float32(0))


def _sources(
    rng: np.random.Generator, number: int, shape: Shape, slides: Slides, slope: Array, water: Mask
) -> NDArray[np.int64]:
    """Where slides begin, ``[n, 2]`` rows and columns: on steep ground, in clusters; fewer where little is steep."""
    steep = np.maximum(slope - np.float32(np.tan(np.deg2rad(slides.steeper_than))), 0) * ~water
    weight = steep * np.exp(np.float32(slides.cluster) * fractal(rng, shape, 120.0, 3.0))
    likely = weight.ravel().astype(np.float64)
    number = min(number, int(np.count_nonzero(likely)))
    if number == 0:
        return np.zeros((0, 2), np.int64)
    chosen = rng.choice(likely.size, number, replace=False, p=likely / likely.sum())
    return np.stack(np.unravel_index(chosen, shape), axis=1)


def _run_out(source: NDArray[np.int64], length: float, stops_below: float, south: Array, east: Array) -> Array:
    """The way down from ``source``, ``[n, 2]`` rows and columns half a pixel apart: as far as ``length`` (pixels), or
    to where the ground is level, whichever comes first."""
    place, points = source.astype(np.float32), [source.astype(np.float32)]
    heading = np.zeros(2, np.float32)
    for _ in range(int(2 * length)):
        row, column = (int(np.clip(round(float(p)), 0, n - 1)) for p, n in zip(place, south.shape, strict=True))
        fall = -np.array((south[row, column], east[row, column]), np.float32)
        steepness = float(np.hypot(*fall))
        if steepness < stops_below:
            break
        heading = 0.6 * heading + 0.4 * fall / np.float32(steepness)
        place = place + 0.5 * heading / np.float32(max(float(np.hypot(*heading)), 1e-6))
        if not (0 <= place[0] < south.shape[0] and 0 <= place[1] < south.shape[1]):
            break
        points.append(place)
    return np.stack(points)


def _footprint(path: Array, width: float, grain: Array) -> tuple[tuple[slice, slice], Mask, Array, Array]:
    """The window of a slide of mean ``width`` (pixels), and in it: the pixels inside, how far down they lie (0 to 1),
    and the rise of the surface relative to the depth of the slide."""
    share = np.linspace(0, 1, len(path), dtype=np.float32)
    # Widest at the scar and at the lobe it leaves; half a pixel keeps the smallest slide a pixel wide.
    profile = np.sqrt(np.sin(np.pi * (0.12 + 0.8 * share))) * (1 + 0.25 * np.cos(2 * np.pi * share))
    half = np.maximum(profile / profile.mean() * (width / 2), 0.6)
    reach = int(half.max()) + 2
    low = np.maximum(np.floor(path.min(axis=0)).astype(int) - reach, 0)
    high = np.minimum(np.ceil(path.max(axis=0)).astype(int) + reach + 1, grain.shape)
    window = slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1]))
    rows, columns = (np.arange(*ends, dtype=np.float32) for ends in zip(low, high, strict=True))
    away = np.hypot(rows[:, None, None] - path[:, 0], columns[None, :, None] - path[:, 1]) - half
    nearest = away.argmin(axis=2)
    edge = away.min(axis=2) + 0.35 * grain[window] * np.minimum(half[nearest] / 2, 1)
    inside: Mask = edge < 0
    # Lost above, heaped up below.
    rise = -np.cos(np.pi * share[nearest]) * np.clip(-edge, 0, 1)
    return window, inside, share[nearest], rise.astype(np.float32)
