"""What Sentinel-2 sees: reflectance of the ground, relief, air, cloud, and the label an index threshold gives."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from undercast.bands import S2_L1C
from undercast.simulate.cover import Land
from undercast.simulate.fields import Array, level
from undercast.simulate.ground import GREENING, MUD_WATER, SNOW, VEGETATED, Ground, column, spectra
from undercast.simulate.parameters import Optics
from undercast.simulate.sky import Clouds
from undercast.simulate.terrain import Terrain, slope_of
from undercast.simulate.water import Waters
from undercast.task import NODATA

# fmt: off
WAVELENGTH = np.array((443, 492, 560, 665, 704, 741, 783, 833, 865, 945, 1374, 1614, 2202), np.float32)
"""Centre of each band, nm."""
VAPOUR =  np.array((0, 0, .004, .008, .02, .02, .005, .02, .002, .75, 4, .01, .02), np.float32)
"""Optical depth for one gram of water vapour a square centimetre: B09 and B10 are the bands made to see it."""
RAYLEIGH = 0.0088 * (WAVELENGTH / 1000) ** -4.05
PIXEL_OF = (6, 1, 1, 1, 2, 2, 2, 1, 2, 6, 6, 2, 2)
"""Pixels of 10 m a side of the band's own pixel: 10, 20 and 60 m."""
# fmt: on


@dataclass(frozen=True)
class Overpass:
    """The ground as light leaves it, before any air: what a clear and a cloudy view share.

    ``brightness``, ``green`` (vigour where plants are), ``mud``, ``water`` (share of the pixel), ``sun`` (relative
    illumination) and ``snow`` (share of the pixel; None where there is none) are float32 ``[H, W]``.
    """

    cover: NDArray[np.uint8]
    brightness: Array
    green: Array
    mud: Array
    water: Array
    sun: Array
    snow: Array | None = None


def see(rng: np.random.Generator, overpass: Overpass, clouds: Clouds | None, optics: Optics) -> Array:
    """Sentinel-2 L1C reflectance ``[13, H, W]`` float32: through ``clouds``, or under an empty sky where None.

    Towards L2A where ``optics.corrected`` is above 0: the air's light and loss taken out again, band by band.
    """
    shape = overpass.cover.shape
    through, path = _air(optics)
    table, muddy, greening = spectra(), np.array(MUD_WATER, np.float32), np.array(GREENING, np.float32)
    view = np.empty((len(S2_L1C.bands), *shape), np.float32)
    ground, scratch = np.empty(shape, np.float32), np.empty(shape, np.float32)
    for side in (1, 2, 6):
        # What bands of one pixel size share is averaged once; all is in place, for fresh memory costs more than sums.
        mud, water, sun = (_average(layer, side) for layer in (overpass.mud, overpass.water, overpass.sun))
        sky = None if clouds is None else clouds.average(partial(_average, side=side))
        for band in (band for band, its in enumerate(PIXEL_OF) if its == side):
            np.take(table[:, band].copy(), overpass.cover, out=ground, mode="clip")
            np.multiply(ground, overpass.brightness, out=ground)
            np.add(ground, np.multiply(overpass.green, greening[band], out=scratch), out=ground)
            if overpass.snow is not None:
                ground += overpass.snow * (np.float32(SNOW[band] * optics.snow_white) - ground)
            seen = _average(ground, side)
            open_water = mud * (muddy[band] - table[Ground.WATER, band])
            open_water += table[Ground.WATER, band] + np.float32(optics.glint)
            open_water -= seen
            open_water *= water
            seen += open_water
            np.maximum(seen, np.float32(0.002), out=seen)
            seen *= sun
            _look_up(seen, path[band], through[band], sky, band)
            noise = rng.standard_normal(out=open_water, dtype=np.float32)
            noise *= np.float32(optics.noise)
            seen += noise
            if optics.corrected:
                seen -= np.float32(optics.corrected * path[band])
                seen /= np.float32(1 - optics.corrected + optics.corrected * through[band])
            np.clip(seen, np.float32(1e-4), np.float32(1.6), out=seen)
            view[band] = seen if side == 1 else _spread(seen, side, shape)
    return view


def _air(optics: Optics) -> tuple[Array, Array]:
    """Two-way transmission of the clear air and its path reflectance, by band."""
    haze = np.float32(optics.haze) * (WAVELENGTH / 550) ** np.float32(-1.3)
    vapour = VAPOUR * np.float32(optics.vapour)
    mass = np.float32(1 + 1 / max(np.sin(np.deg2rad(optics.sun_elevation)), 0.1))
    through = np.exp(-(0.5 * RAYLEIGH + 0.25 * haze + 0.5 * vapour) * mass)
    path = (0.052 * (RAYLEIGH / RAYLEIGH[1]) + 0.09 * haze) * np.exp(-vapour)
    return through.astype(np.float32), path.astype(np.float32)


def prepare(rng: np.random.Generator, land: Land, terrain: Terrain, waters: Waters, optics: Optics) -> Overpass:
    """The ground on the day of the overpass."""
    brightness, green, mud, water = _variation(rng, land, waters, optics)
    flat = waters.permanent | (waters.flood & ~waters.vegetated)
    sun = np.where(flat, np.float32(1), _illumination(terrain, optics))
    return Overpass(land.cover, brightness, green, mud, water, sun, _snow(land, terrain, optics.snow))


def _snow(land: Land, terrain: Terrain, share: float) -> Array | None:
    """Share of each pixel under snow, ``[H, W]`` float32: above a ragged line; what stands out of it hides some."""
    if share == 0:
        return None
    relief = terrain.elevation - terrain.elevation.mean()
    height = relief / np.float32(relief.std() + 1e-3) + 0.5 * land.vigour + 0.15 * land.grain
    depth: Array = np.clip((height - np.float32(level(height, 1 - share))) * 4, 0, 1).astype(np.float32)
    return depth * (1 - np.float32(0.7) * np.minimum(column("height") / 8, 1)[land.cover])


def _variation(
    rng: np.random.Generator, land: Land, waters: Waters, optics: Optics
) -> tuple[Array, Array, Array, Array]:
    """Relative brightness of the ground, vigour of its plants, mud in the water, and the share of it in a pixel."""
    shape = land.cover.shape
    shift = np.array(optics.class_shift, np.float32) if optics.class_shift else np.ones(len(Ground), np.float32)
    parcel = land.parcels.draw(31) - np.float32(0.5)
    own = 0.06 * land.grain + 0.4 * parcel * land.farmed
    built = np.isin(land.cover, (Ground.TOWN, Ground.VILLAGE, Ground.INDUSTRY, Ground.ROCK))
    own += np.where(built, 0.35 * rng.standard_normal(shape, np.float32), np.float32(0))
    brightness = shift[land.cover] * np.clip(1 + own, 0.3, 2.2)
    answers = np.isin(np.arange(len(Ground)), VEGETATED).astype(np.float32)[land.cover]
    vigour = np.float32(optics.vigour) + 0.5 * land.vigour + (land.parcels.draw(32) - 0.5) * 2 * land.farmed
    mud = np.clip(
        np.float32(optics.turbidity) + 0.15 * land.vigour - np.float32(0.12) * waters.permanent + 0.05 * land.grain,
        0,
        1,
    )
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
    sun: Array = np.float32(0.85) * np.minimum(direct, 2.2) + np.float32(0.15)
    return sun


CLOUD_WHITE = (0.80, 0.80, 0.80, 0.83, 0.83, 0.88, 0.93, 0.88, 0.96, 0.16, 0.004, 0.76, 0.58)
"""Reflectance of thick cloud: water and ice absorb in the short-wave infrared, and vapour over low cloud blinds B10."""

NEUTRAL = 600.0
"""Wavelength, nm, at which a cloud of another colour is as bright as the table's."""


def _look_up(surface: Array, path: float, through: float, clouds: Clouds | None, band: int) -> None:
    """Turn reflectance at the ground into reflectance at the top of the atmosphere, in place."""
    if clouds is None:
        surface *= through
        surface += path
        return
    # In a shadow some skylight is left, more of it in the blue.
    skylight = np.float32(0.25 if band < 3 else 0.12)
    lit = clouds.sunlight * (1 - skylight)
    lit += skylight
    surface *= lit
    surface *= through
    surface += path
    if band == 10:
        ice = clouds.cirrus * np.float32(0.35)
        surface += 0.9 * ice / (1 + ice)
        return
    # Between the ground and white, by what the cloud lets through.
    white: Array | np.float32 = np.float32(CLOUD_WHITE[band] * clouds.white)
    white *= np.float32(float(WAVELENGTH[band] / NEUTRAL) ** clouds.slope)
    if clouds.shine is not None:
        white = white * clouds.shine
    surface -= white
    surface *= clouds.transmission
    surface += white


def _spread(image: Array, side: int, shape: tuple[int, ...]) -> Array:
    """Each pixel of ``image`` as a block of ``side`` × ``side``, cut to ``shape``."""
    return np.repeat(np.repeat(image, side, axis=1)[:, : shape[1]], side, axis=0)[: shape[0]]


def _average(image: Array, side: int) -> Array:
    """Means of ``side`` × ``side`` blocks; an incomplete block at the end is filled from its edge."""
    if side == 1:
        return image
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
    label: NDArray[np.uint8] = (water & dark).astype(np.uint8)
    label[cloudy | ~np.isfinite(blue)] = NODATA
    return label
