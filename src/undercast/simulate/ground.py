"""The classes of ground, and what a radar and an optical sensor see of each.

Backscatter is sigma nought at 38° incidence, compiled from the ranges of [Ulaby and Dobson 1989], shifted to the class
quantiles of real Sentinel-1 chips by ``benchmarks/simulator_realism.py``. Reflectance is at the surface, by band of
Sentinel-2, after the shapes of common spectral libraries; B10 sees no ground.
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np

from undercast.simulate.fields import Array


class Ground(IntEnum):
    """What covers a pixel; the value of target ``cover``."""

    WATER = 0
    FOREST = 1
    SHRUB = 2
    GRASS = 3
    CROP = 4
    CEREAL = 5
    PLOUGHED = 6
    SOIL = 7
    ORCHARD = 8
    PADDY = 9
    WETLAND = 10
    TOWN = 11
    VILLAGE = 12
    INDUSTRY = 13
    ASPHALT = 14
    SAND = 15
    ROCK = 16
    SALT = 17


class Signature(NamedTuple):
    """One class. Backscatter in dB, and its behaviour.

    ``shift`` and ``parcel`` are standard deviations in dB between scenes and between parcels, ``texture`` inside;
    ``slope`` is dB per degree of incidence, ``moisture`` dB for a standard deviation of soil moisture. ``height`` is of
    the vegetation in metres, ``closure`` the share of water that it hides from above, ``bounce`` dB on VV and VH where
    water stands under it.
    """

    vv: float
    vh: float
    shift: float
    parcel: float
    texture: float
    slope: float
    moisture: float
    height: float
    closure: float
    bounce: tuple[float, float]


SIGNATURES: dict[Ground, Signature] = {
    Ground.WATER: Signature(-20.0, -29.0, 0.0, 0.0, 0.3, -0.25, 0.0, 0.0, 0.0, (0.0, 0.0)),
    Ground.FOREST: Signature(-9.3, -14.8, 1.0, 0.3, 0.6, -0.08, 0.4, 12.0, 0.92, (3.0, 0.6)),
    Ground.SHRUB: Signature(-11.2, -17.3, 1.4, 0.4, 0.9, -0.10, 0.8, 2.0, 0.50, (2.5, 0.2)),
    Ground.GRASS: Signature(-11.8, -18.3, 1.6, 0.9, 0.8, -0.13, 1.5, 0.35, 0.55, (1.0, -1.0)),
    Ground.CROP: Signature(-10.2, -16.3, 1.4, 1.2, 0.6, -0.10, 1.0, 0.8, 0.75, (2.0, 0.0)),
    Ground.CEREAL: Signature(-12.0, -17.7, 1.4, 1.2, 0.6, -0.15, 1.2, 0.7, 0.60, (1.5, -0.5)),
    Ground.PLOUGHED: Signature(-9.9, -17.8, 1.4, 1.2, 0.6, -0.15, 2.5, 0.10, 0.0, (0.0, 0.0)),
    Ground.SOIL: Signature(-13.3, -21.2, 1.6, 1.5, 0.7, -0.20, 2.8, 0.03, 0.0, (0.0, 0.0)),
    Ground.ORCHARD: Signature(-9.2, -15.5, 1.0, 0.9, 0.9, -0.08, 0.7, 3.5, 0.35, (3.0, 0.8)),
    Ground.PADDY: Signature(-11.2, -17.3, 1.6, 1.3, 0.6, -0.12, 0.3, 0.6, 0.55, (1.0, -0.5)),
    Ground.WETLAND: Signature(-10.8, -17.2, 1.6, 0.5, 1.2, -0.12, 0.3, 1.3, 0.65, (3.0, 0.5)),
    Ground.TOWN: Signature(-5.0, -12.0, 1.2, 1.5, 3.0, -0.05, 0.2, 8.0, 0.85, (1.5, 0.3)),
    Ground.VILLAGE: Signature(-8.0, -14.8, 1.0, 1.0, 2.3, -0.06, 0.4, 6.0, 0.70, (1.5, 0.3)),
    Ground.INDUSTRY: Signature(0.5, -8.5, 2.0, 2.5, 3.5, -0.05, 0.0, 8.0, 0.95, (1.0, 0.0)),
    Ground.ASPHALT: Signature(-17.0, -24.5, 1.5, 0.5, 0.8, -0.25, 0.0, 0.0, 0.0, (0.0, 0.0)),
    Ground.SAND: Signature(-17.0, -25.0, 2.6, 0.8, 1.0, -0.22, 2.0, 0.0, 0.0, (0.0, 0.0)),
    Ground.ROCK: Signature(-11.5, -19.0, 1.8, 0.3, 1.3, -0.12, 0.5, 0.0, 0.0, (0.0, 0.0)),
    Ground.SALT: Signature(-16.0, -24.5, 2.6, 0.5, 1.2, -0.22, 2.0, 0.0, 0.0, (0.0, 0.0)),
}

# fmt: off
SPECTRA: dict[Ground, tuple[float, ...]] = {
    # B01, B02, B03, B04, B05, B06, B07, B08, B8A, B09, B10, B11, B12
    Ground.WATER:    (.050, .045, .040, .025, .022, .018, .016, .013, .011, .010, 0, .006, .004),
    Ground.FOREST:   (.020, .025, .045, .030, .070, .190, .230, .250, .265, .265, 0, .130, .060),
    Ground.SHRUB:    (.040, .050, .080, .085, .130, .200, .230, .250, .270, .270, 0, .250, .155),
    Ground.GRASS:    (.040, .050, .090, .080, .140, .250, .290, .310, .330, .330, 0, .260, .150),
    Ground.CROP:     (.030, .040, .080, .050, .120, .300, .370, .390, .410, .410, 0, .220, .110),
    Ground.CEREAL:   (.070, .080, .120, .155, .195, .240, .270, .290, .310, .310, 0, .360, .260),
    Ground.PLOUGHED: (.080, .090, .120, .150, .170, .190, .200, .210, .230, .230, 0, .280, .240),
    Ground.SOIL:     (.100, .120, .160, .210, .230, .250, .260, .280, .290, .290, 0, .370, .330),
    Ground.ORCHARD:  (.045, .055, .085, .090, .135, .215, .250, .270, .285, .285, 0, .250, .160),
    Ground.PADDY:    (.040, .050, .080, .060, .110, .220, .260, .280, .290, .280, 0, .120, .060),
    Ground.WETLAND:  (.035, .045, .070, .065, .110, .180, .210, .230, .240, .230, 0, .150, .080),
    Ground.TOWN:     (.115, .125, .145, .165, .180, .195, .205, .215, .225, .225, 0, .245, .225),
    Ground.VILLAGE:  (.080, .090, .110, .120, .150, .200, .220, .240, .250, .250, 0, .230, .180),
    Ground.INDUSTRY: (.230, .250, .270, .285, .295, .305, .310, .320, .320, .320, 0, .320, .290),
    Ground.ASPHALT:  (.080, .085, .095, .105, .115, .125, .130, .140, .140, .140, 0, .160, .150),
    Ground.SAND:     (.180, .220, .290, .360, .380, .400, .410, .420, .430, .430, 0, .500, .470),
    Ground.ROCK:     (.120, .130, .160, .190, .200, .220, .220, .230, .240, .240, 0, .290, .270),
    Ground.SALT:     (.330, .380, .430, .460, .470, .480, .480, .480, .480, .460, 0, .380, .300),
}
MUD_WATER =          (.080, .100, .150, .180, .170, .120, .110, .085, .080, .070, 0, .015, .010)
"""Water thick with sediment."""
SNOW =               (.900, .900, .890, .870, .860, .850, .840, .820, .790, .700, 0, .110, .080)
"""Fresh snow: as bright as cloud where there is light to see, and dark in the short-wave infrared [Warren 1982]."""
GREENING =           (-.01, -.015, .0, -.03, -.02, .03, .05, .06, .06, .06, 0, -.05, -.04)
"""What one unit of vigour adds to the reflectance of vegetation."""
# fmt: on

VEGETATED = (
    Ground.FOREST, Ground.SHRUB, Ground.GRASS, Ground.CROP, Ground.CEREAL, Ground.ORCHARD, Ground.PADDY, Ground.WETLAND,
    Ground.VILLAGE,
)  # fmt: skip
"""Classes whose spectrum answers to vigour."""

CROPS = (
    Ground.CROP, Ground.CEREAL, Ground.PLOUGHED, Ground.SOIL, Ground.ORCHARD, Ground.PADDY, Ground.GRASS,
)  # fmt: skip
NATURAL = (Ground.SAND, Ground.ROCK, Ground.GRASS, Ground.SHRUB, Ground.FOREST, Ground.SALT)

LANDCOVER_OF: dict[Ground, str] = {
    **dict.fromkeys((Ground.FOREST,), "forest"),
    **dict.fromkeys((Ground.SHRUB, Ground.GRASS), "rangeland"),
    **dict.fromkeys(
        (Ground.CROP, Ground.CEREAL, Ground.PLOUGHED, Ground.SOIL, Ground.ORCHARD, Ground.PADDY), "agriculture"
    ),
    **dict.fromkeys((Ground.TOWN, Ground.VILLAGE, Ground.INDUSTRY, Ground.ASPHALT), "urban"),
    **dict.fromkeys((Ground.SAND, Ground.ROCK, Ground.SALT), "barren"),
    **dict.fromkeys((Ground.WATER,), "water"),
}
"""The class of :data:`~undercast.task.LANDCOVER` of each; marsh is none of them.

[Xu 2024] counts WorldCover's wetland as water; a marsh here is reed over wet ground and looks like shrub to both
sensors, so it has no answer (255).
"""


def column(name: str) -> Array:
    """One number of every signature, indexed by class, float32 ``[classes]``."""
    return np.array([getattr(SIGNATURES[ground], name) for ground in Ground], np.float32)


def spectra() -> Array:
    """Surface reflectance ``[classes, 13]`` float32."""
    return np.array([SPECTRA[ground] for ground in Ground], np.float32)
