"""Water: where it always is, where the flood is, how deep, and what stands in it.

Every body of water is a *height above its surface* in metres, negative inside. Permanent water is where the least of
them is negative, and the flood is where it is less than the rise: so lakes grow, rivers leave their banks and the truth
holds together by construction.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from undercast.simulate.channels import distance_to_bank
from undercast.simulate.cover import Land
from undercast.simulate.fields import Array, Shape, fractal, level
from undercast.simulate.ground import column
from undercast.simulate.parameters import Water
from undercast.simulate.terrain import PIXEL, Terrain, slope_of

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Waters:
    """Water on the day of the flood. All ``[H, W]``.

    ``height``: of the ground above the nearest permanent water, metres, negative inside. ``permanent``, ``flood``
    (beyond it) and ``vegetated`` (canopy stands out of the flood) are bool; ``depth`` metres, 0 where dry;
    ``occurrence`` percent of years.
    """

    height: Array
    permanent: Mask
    flood: Mask
    vegetated: Mask
    depth: Array
    occurrence: Array
    rise: float


def make_water(rng: np.random.Generator, shape: Shape, water: Water, terrain: Terrain, land: Land) -> Waters:
    """Permanent water and the flood over it."""
    height = np.minimum(_rivers(rng, shape, water, terrain), _standing(rng, shape, water, terrain, land))
    height = np.where(land.raised & (height > -1.5), np.maximum(height, np.float32(0.1)), height)
    permanent = height < 0
    micro = fractal(rng, shape, water.roughness_size, 3.0) + 0.25 * land.grain
    plain = height + np.float32(water.roughness) * micro
    plain += np.float32(water.terrace) * (land.parcels.draw(21) - 0.5) * 2 * land.farmed
    plain += np.float32(water.bank) * land.raised
    share = water.flood * (1 - float(permanent.mean()))
    rise = min(level(np.where(permanent, np.float32(1e3), plain), share), water.rise)
    flood = (plain < rise) & ~permanent
    depth = np.where(permanent, max(rise, 0.0) - height, np.where(flood, rise - plain, np.float32(0))).astype(
        np.float32
    )
    tall, hides = column("height")[land.cover], column("closure")[land.cover]
    vegetated = flood & (depth < tall) & (hides > 0)
    spread = np.float32(max(0.3, 0.35 * min(rise, 20.0)))
    years = np.where(permanent, 97 - 8 * np.maximum(1.2 + height, 0), 55 * np.exp(-np.maximum(plain, 0) / spread) - 6)
    occurrence = np.rint(np.clip(years, 0, 100)).astype(np.float32)
    return Waters(height, permanent, flood, vegetated, depth, occurrence, rise)


def label_of(waters: Waters, cover: NDArray[np.uint8], label_closure: float) -> NDArray[np.uint8]:
    """What an interpreter who looks from above would call water: uint8 0 or 1, ``[H, W]``.

    Flooded vegetation is labelled where its canopy hides less than ``label_closure`` of the water.
    """
    hidden = waters.vegetated & (column("closure")[cover] >= label_closure)
    return ((waters.permanent | waters.flood) & ~hidden).astype(np.uint8)


def emergent(waters: Waters, cover: NDArray[np.uint8]) -> Array:
    """How much of a beam meets plants where they stand in the flood, 0 to 1, ``[H, W]`` float32.

    Plants that the water all but drowns leave it nearly open; a tall canopy hides it. A slant beam meets more of a
    canopy than an eye from above.
    """
    tall = np.maximum(column("height"), np.float32(0.01))[cover]
    share: Array = np.clip(1 - waters.depth / tall, 0, 1)
    share *= np.sqrt(column("closure"))[cover]
    return share


def _rivers(rng: np.random.Generator, shape: Shape, water: Water, terrain: Terrain) -> Array:
    bank = distance_to_bank(rng, shape, water, terrain)
    # A natural levee of some pixels, then the plain of the valley.
    beside = np.maximum(terrain.above_drainage, 0.05) + np.minimum(np.maximum(bank, 0) * 0.03, 0.6)
    return np.where(bank < 0, 0.4 * bank - 0.1, beside).astype(np.float32)


def _standing(rng: np.random.Generator, shape: Shape, water: Water, terrain: Terrain, land: Land) -> Array:
    """Height above lakes, ponds, the reservoir, the sea and basins, whichever is least; large where there are none."""
    height = np.full(shape, 1e3, np.float32)
    south, east = slope_of(terrain.elevation)
    steep = 8 * np.hypot(south, east)  # no lake lies on a hillside
    if water.lakes > 0:
        field = fractal(rng, shape, water.lake_size, 3.6) + 0.04 * land.grain + steep
        height = np.minimum(height, (field - level(field, water.lakes)) * 4)
    if water.ponds > 0:
        field = fractal(rng, shape, water.pond_size, 4.0, spacing=1 if water.pond_size < 8 else 2) + 0.5 * fractal(
            rng, shape, 150.0, 3.0
        )
        height = np.minimum(height, (field - level(field, water.ponds)) * 2)
    if water.reservoir > 0:
        height = np.minimum(height, terrain.elevation - np.float32(level(terrain.elevation, water.reservoir)))
    if water.coast > 0:
        height = np.minimum(height, _coast(rng, shape, water.coast, land.grain))
    if water.basins > 0:
        chosen = (land.parcels.draw(22) < water.basins) & land.farmed
        height = np.where(chosen, np.where(land.parcels.edge > 0.8, np.float32(-0.8), np.float32(0.3)), height)
    return height


def _coast(rng: np.random.Generator, shape: Shape, share: float, grain: Array) -> Array:
    """Height above the sea: a shore across the scene, bays and headlands on it, mud flats where it is gentle."""
    rows, columns = np.arange(shape[0], dtype=np.float32)[:, None], np.arange(shape[1], dtype=np.float32)[None, :]
    angle = rng.uniform(0, 2 * np.pi)
    inland = rows * np.float32(np.cos(angle)) + columns * np.float32(np.sin(angle))
    inland = inland + np.float32(rng.uniform(5, 40)) * fractal(rng, shape, 200.0, 3.0) + grain
    steep = np.float32(PIXEL * rng.uniform(0.002, 0.03))
    height: Array = (inland - np.float32(level(inland, share))) * steep
    return height
