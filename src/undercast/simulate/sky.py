"""Clouds: how thick, how much light they let through, and where their shadow falls."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from undercast.simulate.fields import COARSE, Array, Shape, coarse_shape, level, spectral, upsample
from undercast.simulate.parameters import Optics, Sky
from undercast.simulate.terrain import PIXEL


@dataclass(frozen=True)
class Clouds:
    """``[H, W]`` float32: ``thickness`` optical depth of cloud and ``cirrus``; ``transmission`` of both on the way up,
    ``sunlight`` that reaches the ground through cloud elsewhere (1 is full).

    ``white`` is the cloud's own brightness relative to the table's, ``slope`` the exponent of wavelength by which it is
    bluer (below 0) or redder, ``shine`` the light and shade on its tops, ``[H, W]`` about 1; None where they are flat.
    """

    thickness: Array
    cirrus: Array
    transmission: Array
    sunlight: Array
    white: float = 1.0
    slope: float = 0.0
    shine: Array | None = None

    def average(self, each: Callable[[Array], Array]) -> "Clouds":
        """The same clouds with every field put through ``each``."""
        return replace(
            self,
            thickness=each(self.thickness),
            cirrus=each(self.cirrus),
            transmission=each(self.transmission),
            sunlight=each(self.sunlight),
            shine=None if self.shine is None else each(self.shine),
        )


CLOUD_BELOW = 0.75
"""Transmission below which the ground is hidden by cloud: target ``cloud``."""
SHADOW_BELOW = 0.7
"""Share of sunlight below which clear ground is in cloud shadow."""


def transmit(thickness: Array) -> Array:
    """Share of light that passes a cloud of optical ``thickness``: two-stream, asymmetry 0.85 [Bohren 1987]."""
    passed: Array = np.float32(1) / (1 + np.float32(0.75 * (1 - 0.85) * 2) * thickness)
    return passed


def shadow_shift(sky: Sky, optics: Optics) -> tuple[int, int]:
    """Where the shadow of a cloud falls from it: rows (south positive) and columns (east positive)."""
    reach = sky.height / np.tan(np.deg2rad(optics.sun_elevation)) / PIXEL
    azimuth = np.deg2rad(optics.sun_azimuth)
    return round(float(reach * np.cos(azimuth))), round(float(-reach * np.sin(azimuth)))


MASKED_BELOW = float(transmit(np.ones(1, np.float32))[0])
"""Transmission below which a cloud mask says cloud: optical thickness 1, target ``clouds``."""


def make_clouds(rng: np.random.Generator, shape: Shape, sky: Sky, optics: Optics) -> Clouds:
    """One field of cloud over the scene and as far towards the sun as the cloud that shades it."""
    down, across = shadow_shift(sky, optics)
    # Shadow at p comes from cloud at p - shift: the field must cover both windows.
    whole = shape[0] + abs(down), shape[1] + abs(across)
    top, left = max(down, 0), max(across, 0)
    # Ragged edges where the field is small enough to afford them.
    spacing = 2 if max(whole) < 600 else COARSE if max(whole) < 3000 else 2 * COARSE
    coarse = spectral(rng, coarse_shape(whole, spacing), sky.size / spacing, sky.exponent)
    # Overcast is cloud down to the lowest point of the field.
    edge = max(level(coarse, 1 - sky.cover), float(coarse.min()))
    depth = np.maximum(coarse - np.float32(min(edge, 1e3)), 0) * np.float32(sky.thickness)
    field = np.maximum(upsample(depth, whole, spacing), 0)
    thickness = np.ascontiguousarray(field[top : top + shape[0], left : left + shape[1]])
    shading = field[top - down : top - down + shape[0], left - across : left - across + shape[1]]
    thin = spectral(rng, coarse_shape(shape), 200 / COARSE, 3.0, (1.0, 0.35))
    cirrus = np.float32(sky.cirrus) * np.exp(0.8 * np.minimum(upsample(thin, shape), 3) - np.float32(0.32))
    shine = _shine(thickness, sky.relief, optics.sun_azimuth) if sky.relief and min(shape) > 1 else None
    return Clouds(thickness, cirrus, transmit(thickness + cirrus), transmit(shading), sky.white, sky.slope, shine)


def _shine(thickness: Array, relief: float, sun_azimuth: float) -> Array:
    """Brightness of the tops about 1: what rises away from the sun faces it; a thicker cloud stands higher."""
    south, east = np.gradient(np.log1p(thickness))
    azimuth = np.deg2rad(sun_azimuth)
    facing = np.float32(np.cos(azimuth)) * south - np.float32(np.sin(azimuth)) * east
    steepness = np.float32(np.sqrt(np.mean(np.square(facing[thickness > 0]))) + 1e-6) if thickness.any() else 1.0
    shine: Array = np.clip(1 + np.float32(relief) / steepness * facing, 0.6, 1.3).astype(np.float32)
    return shine


def cloud_class(clouds: Clouds, below: float = CLOUD_BELOW) -> NDArray[np.uint8]:
    """0 clear, 1 cloud (transmission ``below``), 2 shadow, ``[H, W]`` uint8."""
    cloudy = clouds.transmission < below
    shadow = (clouds.sunlight < SHADOW_BELOW) & ~cloudy
    return np.where(cloudy, 1, np.where(shadow, 2, 0)).astype(np.uint8)


def opacity(clouds: Clouds) -> NDArray[np.uint8]:
    """Share of light that cloud takes away on its way down (as shadow) and up, percent, ``[H, W]`` uint8."""
    taken: NDArray[np.uint8] = np.rint(100 * (1 - clouds.transmission * clouds.sunlight)).astype(np.uint8)
    return taken
