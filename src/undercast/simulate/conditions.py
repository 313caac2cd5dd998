"""The conditions of a scene: the storm over it, the ground of a dry season, and how the radar product was made.

Users bring products of every maker: sigma nought or gamma nought, flattened over relief or not, with thermal noise
removed or left in, filtered or not. Floods come with wind, under which open water is as bright as land in VV. The
ranges are of the instrument and of published models, not of any image:

- noise equivalent backscatter is -22 dB at worst by specification, and mostly -24 to -30 dB [Torres 2012];
- VH over the sea rises by 0.58 dB for a metre a second of wind [Vachon and Wolfe 2011], VV by far more [Hersbach 2010];
- gamma nought lies ``-10 log10 cos(incidence)`` above sigma nought, 0.6 to 1.6 dB here; flattened, it has lost the
  relief's gain [Small 2011];
- a pixel of 10 m has 4.4 looks; coarser or finer products are given 3 to 10; filters are Lee's [Lee 1980];
- dry dunes and salt crusts fall to -25 dB in VV, below calm water.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from undercast.simulate.ground import Ground
from undercast.simulate.parameters import Radar, SceneParameters

CALIBRATIONS = {"sigma0": 0.6, "gamma0": 0.2, "flattened": 0.2}
"""How often a product comes in each."""

ORDINARY = 0.5
"""How often there is nothing of all this: sigma nought, noise removed, unfiltered, in the season's wind."""

STORMY = 0.25
"""How often the wind over the water is 5 to 15 metres a second whatever the season's."""

DARK = {Ground.SAND: 6.0, Ground.SALT: 6.0, Ground.SOIL: 3.0}
"""By how many dB at most dry ground is darker in the arid season."""


def in_conditions(rng: np.random.Generator, scene: SceneParameters) -> SceneParameters:
    """``scene`` as it is, or under a weather of its own and as a product of its own that both passes share."""
    if rng.random() < ORDINARY:
        return scene
    product = _product(rng)
    if scene.place.landscape == "arid" and rng.random() < 0.5:
        dry = {ground: float(rng.uniform(0, most)) for ground, most in DARK.items()}
    else:
        dry = {}
    after, before = (
        radar.model_copy(update={**product, **_weather(rng), "class_shift": _darker(radar, dry)})
        for radar in (scene.radar, scene.radar_pre)
    )
    return scene.model_copy(update={"radar": after, "radar_pre": before})


def _product(rng: np.random.Generator) -> dict[str, Any]:
    made: dict[str, Any] = {
        "calibration": str(rng.choice(list(CALIBRATIONS), p=list(CALIBRATIONS.values()))),
        "looks": round(float(np.exp(rng.uniform(np.log(3), np.log(10)))), 1),
        "filtered": int(rng.choice([3, 5, 7])) if rng.random() < 0.2 else 0,
    }
    if rng.random() < 0.4:
        noise = rng.uniform(-30, -22)
        made |= {"noise": (float(noise + rng.normal(0, 1)), float(noise)), "noise_left": float(rng.uniform(0.3, 1))}
    return made


def _weather(rng: np.random.Generator) -> dict[str, float]:
    weather = {"cross_wind": float(rng.uniform(0.35, 1))}
    if rng.random() < STORMY:
        weather["wind"] = float(rng.uniform(5, 15))
    return weather


def _darker(radar: Radar, dry: Mapping[Ground, float]) -> tuple[tuple[float, float], ...]:
    return tuple(
        (vv - dry.get(Ground(number), 0.0), vh - dry.get(Ground(number), 0.0))
        for number, (vv, vh) in enumerate(radar.class_shift)
    )
