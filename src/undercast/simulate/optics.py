"""What Sentinel-2 sees: reflectance of the ground, relief, air, cloud, and the label an index threshold gives."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from undercast.bands import S2_L1C
from undercast.simulate.cover import Land
from undercast.simulate.fields import Array
from undercast.simulate.ground import GREENING, MUD_WATER, VEGETATED, Ground, column, spectra
from undercast.simulate.parameters import Optics
from undercast.simulate.sky import Clouds
from undercast.simulate.terrain import Terrain, slope_of
from undercast.simulate.water import Waters
from undercast.task import NODATA

# fmt: off
WAVELENGTH = np.array((443, 492, 560, 665, 704, 741, 783, 833, 865, 945, 1374, 1614, 2202), np.float32)
"""Centre of each band, nm."""
VAPOUR =  np.array((0, 0, .004, .008, .02, .02, .005, .02, .002, .35, 4, .01, .02), np.float32)
"""Optical depth for one gram of water vapour a square centimetre: B09 and B10 are the bands made to see it."""
RAYLEIGH = 0.0088 * (WAVELENGTH / 1000) ** -4.05
PIXEL_OF = (6, 1, 1, 1, 2, 2, 2, 1, 2, 6, 6, 2, 2)
"""Pixels of 10 m a side of the band's own pixel: 10, 20 and 60 m."""
# fmt: on


@dataclass(frozen=True)
class Views:
    """Sentinel-2 L1C reflectance ``[13, H, W]`` float32: ``cloudy`` as seen, ``clear`` under an empty sky."""

    cloudy: Array | None
    clear: Array


def see(
    rng: np.random.Generator, land: Land, terrain: Terrain, waters: Waters, clouds: Clouds | None, optics: Optics
) -> Views:
    """Both views of one overpass, the same ground and air; without ``clouds`` only the clear one."""
    shape = land.cover.shape
    haze = np.float32(optics.haze) * (WAVELENGTH / 550) ** np.float32(-1.3)
    air = np.float32(1 / max(np.sin(np.deg2rad(optics.sun_elevation)), 0.1))
    through = np.exp(-(0.5 * RAYLEIGH + 0.25 * haze) * (1 + air) - VAPOUR * np.float32(optics.vapour) * (1 + air) * 0.5)
    path = (0.045 * (RAYLEIGH / RAYLEIGH[1]) * 1.3 + 0.09 * haze) * np.exp(-VAPOUR * np.float32(optics.vapour))
    sun = _illumination(terrain, optics)
    brightness, green, mud, mix = _variation(rng, land, waters, optics)
    table = spectra()
    muddy, greening = np.array(MUD_WATER, np.float32), np.array(GREENING, np.float32)
    clear = np.empty((len(S2_L1C.bands), *shape), np.float32)
    cloudy = np.empty_like(clear) if clouds is not None else None
    for band in range(len(S2_L1C.bands)):
        ground = table[:, band][land.cover] * brightness + greening[band] * green
        water = table[Ground.WATER, band] + (muddy[band] - table[Ground.WATER, band]) * mud
        surface = np.maximum(ground + (water - ground) * mix, np.float32(0.002)) * sun
        seen = path[band] + through[band] * surface
        clear[band] = _sense(rng, seen, optics, band)
        if clouds is not None and cloudy is not None:
            cloudy[band] = _sense(rng, _through_cloud(surface, path[band], through[band], clouds, band), optics, band)
    return Views(cloudy, clear)


def _variation(
    rng: np.random.Generator, land: Land, waters: Waters, optics: Optics
) -> tuple[Array, Array, Array, Array]:
    """Relative brightness of the ground, vigour of its plants, mud in the water, and the share of a pixel that is water."""
    shape = land.cover.shape
    shift = np.array(optics.class_shift, np.float32) if optics.class_shift else np.ones(len(Ground), np.float32)
    parcel = land.parcels.draw(31) - np.float32(0.5)
    own = 0.06 * land.grain + 0.4 * parcel * land.farmed
    built = np.isin(land.cover, (Ground.TOWN, Ground.VILLAGE, Ground.INDUSTRY, Ground.ROCK))
    own += np.where(built, 0.35 * rng.standard_normal(shape, np.float32), np.float32(0))
    brightness = shift[land.cover] * np.clip(1 + own, 0.3, 2.2)
    answers = np.isin(np.arange(len(Ground)), VEGETATED).astype(np.float32)[land.cover]
    vigour = np.float32(optics.vigour) + 0.5 * land.vigour + (land.parcels.draw(32) - 0.5) * 2 * land.farmed
    mud = np.clip(np.float32(optics.turbidity) + 0.15 * land.vigour - 0.12 * waters.permanent + 0.05 * land.grain, 0, 1)
    water = waters.permanent | waters.flood
    share = np.where(water, np.float32(1), np.float32(0))
    share[waters.vegetated] = 1 - column("closure")[land.cover[waters.vegetated]]
    # A film of water over bare ground is not black.
    shallow = waters.flood & ~waters.vegetated
    share[shallow] = np.clip(0.75 + 0.5 * waters.depth[shallow], 0.75, 1)
    return brightness, answers * np.clip(vigour, -1.5, 1.5), mud, share


def _illumination(terrain: Terrain, optics: Optics) -> Array:
    """Cosine of the sun's angle to the slope over that to level ground, ``[H, W]`` float32, with some skylight."""
    south, east = slope_of(terrain.elevation)
    elevation, azimuth = np.deg2rad(optics.sun_elevation), np.deg2rad(optics.sun_azimuth)
    # Towards the sun: north is -row. A slope that rises away from the sun faces it.
    towards = np.float32(np.cos(elevation) / np.sin(elevation)) * (
        south * np.float32(np.cos(azimuth)) - east * np.float32(np.sin(azimuth))
    )
    direct = np.maximum(1 + towards, 0) / np.sqrt(1 + south * south + east * east)
    return 0.85 * np.minimum(direct, 2.2) + np.float32(0.15)


def _through_cloud(surface: Array, path: float, through: float, clouds: Clouds, band: int) -> Array:
    """Top-of-atmosphere reflectance with cloud shadow on the ground and cloud above it."""
    lit = surface * (0.25 + 0.75 * clouds.sunlight if band < 3 else 0.12 + 0.88 * clouds.sunlight)
    # Water and ice absorb in the short-wave infrared: cloud is less white there.
    white = np.float32((0.86, 0.85, 0.83, 0.84, 0.84, 0.85, 0.86, 0.85, 0.86, 0.5, 0.35, 0.62, 0.45)[band])
    ice = np.float32(0.75 if band != 10 else 0.9)
    cirrus = ice * (1 - 1 / (1 + np.float32(0.35) * clouds.cirrus))
    low = 1 - clouds.transmission
    if band == 10:
        # Low cloud lies under the vapour that blinds B10; only cirrus is above it.
        return path + cirrus + 0.004 * low
    return (path + through * lit) * clouds.transmission + white * low + 0 * cirrus


def _sense(rng: np.random.Generator, seen: Array, optics: Optics, band: int) -> Array:
    """The band at its own pixel size, with sensor noise; reflectance 0.0001 to 1.6."""
    side = PIXEL_OF[band]
    coarse = _average(seen, side) if side > 1 else seen
    noisy = coarse + np.float32(optics.noise) * rng.standard_normal(coarse.shape, np.float32) * (0.5 + coarse)
    noisy = np.clip(noisy, np.float32(1e-4), np.float32(1.6))
    if side == 1:
        return noisy
    return np.repeat(np.repeat(noisy, side, axis=0), side, axis=1)[: seen.shape[0], : seen.shape[1]]


def _average(image: Array, side: int) -> Array:
    """Means of ``side`` × ``side`` blocks; an incomplete block at the end is filled from its edge."""
    extra = tuple((0, -n % side) for n in image.shape)
    padded = np.pad(image, extra, mode="edge") if any(e for _, e in extra) else image
    rows = padded[::side].copy()
    for k in range(1, side):
        rows += padded[k::side]
    out = rows[:, ::side].copy()
    for k in range(1, side):
        out += rows[:, k::side]
    return out * np.float32(1 / side**2)


def weak_label(view: Array, water_above: float = 0.1, green_above: float = 0.35) -> NDArray[np.uint8]:
    """The label a threshold gives: water where MNDWI exceeds ``water_above`` and NDVI does not exceed ``green_above``.

    255 under cloud as a brightness test finds it, which is not where cloud is: thin cloud, shadow and white roofs
    are what such labels get wrong [Bonafilia 2020]. ``view``: ``[13, H, W]`` reflectance, NaN where unseen.
    """
    blue, green, red, near, cirrus, short = (view[band] for band in (1, 2, 3, 7, 10, 11))
    water = (green - short) / (green + short) > water_above
    dark = (near - red) / (near + red) < green_above
    cloudy = (blue > 0.22) & (short > 0.12) | (cirrus > 0.012)
    label = (water & dark).astype(np.uint8)
    label[cloudy | ~np.isfinite(blue)] = NODATA
    return label
