"""What Sentinel-1 sees: backscatter, geometry, speckle, noise."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, stats

from undercast.simulate.cover import Land
from undercast.simulate.fields import (
    COARSE,
    REACH,
    Array,
    Shape,
    blur,
    coarse_shape,
    fractal,
    generator,
    upsample,
    white,
)
from undercast.simulate.ground import Ground, column
from undercast.simulate.parameters import Radar
from undercast.simulate.terrain import PIXEL, slope_of

Mask = NDArray[np.bool_]
_BUILT = np.isin(np.arange(len(Ground)), (Ground.TOWN, Ground.VILLAGE, Ground.INDUSTRY))
DECIBEL = np.float32(np.log(10) / 10)
UNFLATTENED = 0.15
"""What flattening leaves of the gain of relief: elevation models are coarser than pixels."""


@dataclass(frozen=True)
class Surface:
    """What the radar illuminates: where water is open, where it stands under vegetation, and what breaks it.

    ``open_water`` and ``vegetated`` are bool ``[H, W]``; ``plants`` is how much of the beam meets plants rather than
    water where vegetation stands in it (0 to 1), ``debris`` the share of signal from plants in the open flood.
    """

    open_water: Mask
    vegetated: Mask
    plants: Array | None
    debris: Array | None


@dataclass(frozen=True)
class Geometry:
    """How the relief lies to the beam, ``[H, W]``: local ``incidence`` degrees, ``gain`` of ground area in dB,
    ``layover`` and ``shadow`` bool."""

    incidence: Array
    gain: Array
    layover: Mask
    shadow: Mask


def look_at(elevation: Array, radar: Radar) -> Geometry:
    """Geometry of a right-looking pass; the beam runs along the rows, east when ascending [Small 2011].

    Shadow is ground below the line of sight over nearer ground; layover is ground that comes back no later than nearer
    ground does.
    """
    across = slope_of(elevation)[1] * np.float32(1 if radar.ascending else -1)
    columns = np.arange(elevation.shape[1], dtype=np.float32)[None, :]
    # Incidence grows with range: 0.06 degrees a kilometre.
    far = (columns - columns.mean()) * np.float32(PIXEL * 6e-5 * (1 if radar.ascending else -1))
    nominal = np.deg2rad(np.float32(radar.incidence) + far)
    facing = np.arctan(across)
    local = nominal - facing
    gain = np.sin(nominal) / np.maximum(np.sin(local), np.float32(0.12))
    gain = np.clip(10 * np.log10(np.maximum(gain, np.float32(1e-2))), -7, 9)
    shape = elevation.shape
    if float(np.abs(across).max(initial=0)) < np.tan(np.deg2rad(20.0)):
        clear = np.zeros(shape, np.bool_)
        return Geometry(np.broadcast_to(np.rad2deg(local), shape), gain, clear, clear)
    order = slice(None) if radar.ascending else slice(None, None, -1)
    distance = np.arange(shape[1], dtype=np.float32) * np.float32(PIXEL)
    height, angle = elevation[:, order], np.float32(np.deg2rad(radar.incidence))
    sight = height + distance / np.tan(angle)
    shadow = (sight < np.maximum.accumulate(sight, axis=1) - 1)[:, order]
    slant = distance * np.sin(angle) - height * np.cos(angle)
    passed = slant < np.maximum.accumulate(slant, axis=1) - 1
    ahead = slant > np.minimum.accumulate(slant[:, ::-1], axis=1)[:, ::-1] + 1
    return Geometry(np.rad2deg(local), gain, (passed | ahead)[:, order], shadow)


def see(seed: int, part: str, land: Land, surface: Surface, geometry: Geometry, radar: Radar) -> Array:
    """Backscatter VV and VH of one pass, ``[2, H, W]`` float32 in dB; every number is finite."""
    rng = generator(seed, part)
    shape = land.cover.shape
    vv, vh = _ground(rng, land, surface, geometry, radar)
    water_vv, water_vh = _water(rng, surface, geometry, radar, shape)
    if surface.debris is not None:
        # Plants in the water add their power to what the surface sends back.
        amount = 10 * np.log10(surface.debris + np.float32(1e-6))
        water_vv = 10 * np.log10(10 ** (water_vv / 10) + 10 ** ((amount - 9.5) / 10))
        water_vh = 10 * np.log10(10 ** (water_vh / 10) + 10 ** ((amount - 16.0) / 10))
    vv = np.where(surface.open_water, water_vv, vv)
    vh = np.where(surface.open_water, water_vh, vh)
    if surface.plants is not None:
        here = surface.vegetated
        share = surface.plants[here]
        vv[here] = _mix(vv[here], water_vv[here], share)
        vh[here] = _mix(vh[here], water_vh[here], share)
    gain = np.where(surface.open_water, np.float32(0), geometry.gain)  # water is level
    if radar.calibration == "flattened":
        gain *= np.float32(UNFLATTENED)
    if radar.calibration != "sigma0":
        gain -= np.float32(10 * np.log10(np.cos(np.deg2rad(radar.incidence))))
    stripes = _stripes(rng, shape, radar)
    bands = []
    for band, decibel in enumerate((vv, vh)):
        decibel = decibel + gain + np.float32(radar.offset[band]) + stripes
        power = np.exp(np.minimum(decibel, np.float32(22)) * DECIBEL)
        power[geometry.shadow] = 1e-5
        bands.append(receive(rng, power, radar, band))
    return np.stack(bands)


def _mix(first: Array, second: Array, share: Array) -> Array:
    """dB of ``share`` of the power of ``first`` and the rest of ``second``."""
    power = share * np.exp(first * DECIBEL) + (1 - share) * np.exp(second * DECIBEL)
    mixed: Array = np.log(power) / DECIBEL
    return mixed


def _ground(
    rng: np.random.Generator, land: Land, surface: Surface, geometry: Geometry, radar: Radar
) -> tuple[Array, Array]:
    """Backscatter of land and of vegetation in water, dB."""
    cover = land.cover
    shift = np.array(radar.class_shift, np.float32) if radar.class_shift else np.zeros((len(Ground), 2), np.float32)
    tilt = np.clip(geometry.incidence - 38, -18, 18)
    shape = cover.shape
    wet = np.float32(radar.moisture) + 0.35 * fractal(rng, shape, 90.0, 3.0)
    inside = 0.7 * fractal(rng, shape, 14.0, 2.6, spacing=2) + 0.45 * rng.standard_normal(shape, np.float32)
    salt = int(rng.integers(1 << 30))
    parcel = (land.parcels.draw(salt) + land.parcels.draw(salt + 1) - 1) * np.float32(2.45)
    parcel_vh = (land.parcels.draw(salt + 2) + land.parcels.draw(salt + 3) - 1) * np.float32(2.45)
    own = (column("parcel") * np.float32(radar.texture))[cover]
    texture = (column("texture") * np.float32(radar.texture))[cover] * inside
    shared = (column("slope")[cover]) * tilt + column("moisture")[cover] * wet + texture
    vv = (column("vv") + shift[:, 0])[cover] + shared + own * parcel
    vh = (column("vh") + shift[:, 1])[cover] + shared * np.float32(0.85) + own * (0.7 * parcel + 0.6 * parcel_vh)
    built = np.flatnonzero(_BUILT[cover])
    if built.size:
        # Corners of buildings: few pixels hold most of a town's power.
        corner = built[rng.random(built.size) < 0.06]
        echo = rng.exponential(5.0, corner.size).astype(np.float32) + 4
        vv.ravel()[corner] += echo
        vh.ravel()[corner] += 0.8 * echo
    if surface.vegetated.any():
        here = surface.vegetated
        bounce = column("bounce")[cover[here]]
        vv[here] += bounce[:, 0]
        vh[here] += bounce[:, 1]
    return vv, vh


def _water(
    rng: np.random.Generator, surface: Surface, geometry: Geometry, radar: Radar, shape: Shape
) -> tuple[Array, Array]:
    """Backscatter of open water, dB: rougher with wind and fetch, darker with incidence."""
    grid = coarse_shape(shape)
    gust = np.float32(1) + np.float32(radar.gust) * fractal(rng, shape, 70.0, 2.6)
    # Fetch: how much of the surroundings is water.
    padded = np.pad(surface.open_water[::COARSE, ::COARSE].astype(np.float32), ((1, 4), (1, 4)), mode="edge")
    near = padded[: grid[0], : grid[1]]
    for axis in (0, 1):
        for _ in range(2):
            near = (near + np.roll(near, 1, axis) + np.roll(near, -1, axis)) * np.float32(1 / 3)
    fetch = np.clip(upsample(near, shape), 0, 1)
    wind = np.clip(np.float32(radar.wind) * gust * (0.45 + 0.55 * fetch), 0, 18)
    tilt = np.float32(radar.incidence - 38)
    vv = -26.0 + 2.2 * wind**0.8 - 0.30 * np.clip(tilt, -18, 12)
    vh = -32.5 + 1.3 * np.float32(radar.cross_wind) * wind**0.8 - 0.10 * np.clip(tilt, -18, 12)
    return vv.astype(np.float32), vh.astype(np.float32)


def _stripes(rng: np.random.Generator, shape: Shape, radar: Radar) -> Array:
    """Scalloping along azimuth and a step between two sub-swaths, dB."""
    rows = np.arange(shape[0], dtype=np.float32)[:, None]
    columns = np.arange(shape[1], dtype=np.float32)[None, :] + 0.2 * rows
    period, phase, border = rng.uniform(30, 140), rng.uniform(0, 6.3), rng.uniform(0, shape[1] + 0.2 * shape[0])
    wave: Array = np.float32(radar.scallop) * np.sin(rows * np.float32(2 * np.pi / period) + np.float32(phase))
    return wave + np.where(columns > border, np.float32(radar.step), np.float32(0))


def receive(rng: np.random.Generator, power: Array, radar: Radar, band: int) -> Array:
    """Point spread, speckle, the removal of thermal noise that leaves dark water ragged, and a filter; dB."""
    padded = np.pad(power, REACH, mode="edge")
    power = _side_lobes(blur(padded, radar.sharpness, radar.sharpness))
    noise = np.float32(10 ** (radar.noise[band] / 10))
    grain = white(rng, power.shape, radar.grain_rows, radar.grain_columns)
    signal = (power + noise) * _gamma(grain, radar.looks) - noise * np.float32(1 - radar.noise_left)
    if radar.filtered:
        signal = lee(signal, radar.filtered, radar.looks)
    lowest = np.float32(10 ** (radar.floor / 10))
    # What fell below zero was set to zero before resampling spread it over its neighbours.
    decibel: Array = 10 * np.log10(np.maximum(signal, lowest * (1 + 0.2 * np.abs(grain))))
    return decibel


def lee(power: Array, window: int, looks: float) -> Array:
    """Lee's filter [Lee 1980]: each pixel moves towards the mean of its window, the more the evener the window is."""
    mean = ndimage.uniform_filter(power, window, mode="nearest")
    spread = np.maximum(ndimage.uniform_filter(power * power, window, mode="nearest") - mean * mean, 0)
    speckle = mean * mean / np.float32(looks)
    own = np.clip((spread - speckle) / np.maximum(spread * np.float32(1 + 1 / looks), np.float32(1e-20)), 0, 1)
    filtered: Array = mean + own * (power - mean)
    return filtered


def _side_lobes(power: Array) -> Array:
    """The bright cross that a strong corner leaves along range and azimuth."""
    strong = np.argwhere(power > 8)
    if not 0 < len(strong) < power.size // 20:
        return power
    value = power[strong[:, 0], strong[:, 1]]
    out = power.copy()
    for away, share in ((2, 0.02), (3, 0.012), (4, 0.006), (5, 0.004)):
        for down, across in ((away, 0), (-away, 0), (0, away), (0, -away)):
            r, c = strong[:, 0] + down, strong[:, 1] + across
            inside = (r >= 0) & (r < power.shape[0]) & (c >= 0) & (c < power.shape[1])
            np.add.at(out, (r[inside], c[inside]), np.float32(share) * value[inside])
    return out


TABLE = 2048
REACH_SIGMA = 5.0


def _gamma(normal: Array, looks: float) -> Array:
    """Gamma variates of mean 1 and shape ``looks`` from correlated Gaussian ones (a Gaussian copula)."""
    table = _gamma_table(round(looks, 2))
    place = np.clip((normal + np.float32(REACH_SIGMA)) * np.float32((TABLE - 1) / (2 * REACH_SIGMA)), 0, TABLE - 1.001)
    index = place.astype(np.int32)
    share = place - index.astype(np.float32)
    variates: Array = table[index] * (1 - share) + table[index + 1] * share
    return variates


@lru_cache(maxsize=4096)
def _gamma_table(looks: float) -> Array:
    grid = np.linspace(-REACH_SIGMA, REACH_SIGMA, TABLE)
    table: Array = (stats.gamma.ppf(stats.norm.cdf(grid), looks) / looks).astype(np.float32)
    return table
