"""Regions where landslides happen, each with statistics of its own: what transfers from one to another is a question.

They are made up. ``hills`` are low, forested and steep at short range, with many small slides; ``ranges`` are high,
open and long-sloped, seen more steeply, with fewer and larger slides.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from undercast.errors import ConfigError
from undercast.simulate.ground import Ground
from undercast.simulate.parameters import Radar, Relief, SceneParameters, Slides

Span = tuple[float, float]


@dataclass(frozen=True)
class Region:
    """Ranges of what is drawn for a scene of the region; ``natural`` multiplies the weights of natural cover (sand,
    rock, grass, shrub, forest, salt), whose share of one kind rises with its weight."""

    slope: Span
    wavelength: Span
    farmed: Span
    natural: tuple[float, float, float, float, float, float]
    incidence: Span
    looks: Span
    moisture: Span
    density: Span
    size: Span
    aspect: Span
    scars: tuple[Ground, ...]
    debris: tuple[Ground, ...]


REGIONS: dict[str, Region] = {
    "hills": Region(
        slope=(0.22, 0.40),
        wavelength=(40, 120),
        farmed=(0.0, 0.25),
        natural=(0.01, 0.02, 0.4, 0.6, 6.0, 0.001),
        incidence=(36, 44),
        looks=(4.6, 5.4),
        moisture=(-0.5, 2.0),
        density=(8.0, 50.0),
        size=(1.5, 3.5),
        aspect=(2.0, 4.0),
        scars=(Ground.SOIL, Ground.SAND),
        debris=(Ground.SOIL, Ground.PLOUGHED),
    ),
    "ranges": Region(
        slope=(0.35, 0.65),
        wavelength=(120, 400),
        farmed=(0.0, 0.2),
        natural=(0.1, 1.0, 2.0, 1.5, 1.0, 0.001),
        incidence=(30, 37),
        looks=(5.4, 7.0),
        moisture=(-2.0, 0.5),
        density=(3.0, 20.0),
        size=(3.0, 8.0),
        aspect=(2.5, 6.0),
        scars=(Ground.SOIL, Ground.ROCK),
        debris=(Ground.ROCK, Ground.PLOUGHED),
    ),
}

DAYS = 0.5
"""How much else changes between the passes, relative to passes of any two dates: they are days apart."""


def in_region(rng: np.random.Generator, scene: SceneParameters, name: str) -> SceneParameters:
    """``scene`` moved into region ``name`` (empty: either of them); on half of its scenes slides happened.

    Raises:
        ConfigError: there is no such region.
    """
    drawn = str(rng.choice(list(REGIONS)))
    if name and name not in REGIONS:
        raise ConfigError(f"region '{name}' cannot be simulated; known: {', '.join(REGIONS)}")
    region = REGIONS[name or drawn]
    natural = rng.gamma(0.8, 1, 6) * region.natural
    seen = {"incidence": _within(rng, region.incidence), "looks": round(_within(rng, region.looks), 1), "border": None}
    wet = _within(rng, region.moisture)
    return scene.model_copy(
        update={
            "place": scene.place.model_copy(update={"landscape": name or drawn}),
            "relief": _relief(rng, region, scene.relief),
            "cover": scene.cover.model_copy(
                update={
                    "natural": tuple(float(weight) + 1e-4 for weight in natural),
                    "farmed": _within(rng, region.farmed),
                    "towns": 0.0,
                    "villages": min(scene.cover.villages, 0.03),
                    "roads": min(scene.cover.roads, 2),
                    "runway": False,
                    "wetland": 0.0,
                }
            ),
            "water": scene.water.model_copy(
                # Rain that moves slopes fills streams too: water that was not there before, and no slide.
                update={"flood": float(rng.uniform(0, 0.03)) if rng.random() < 0.3 else 0.0, "reservoir": 0.0}
            ),
            "radar": _seen(scene.radar, seen, wet),
            # The pass before looked the same way, on a day not long before and mostly drier.
            "radar_pre": _seen(_sooner(scene), seen, wet + DAYS * float(rng.normal(-0.7, 0.8))),
            "slides": _slides(rng, region),
        }
    )


def _within(rng: np.random.Generator, span: Span) -> float:
    return float(rng.uniform(*span))


def _log(rng: np.random.Generator, span: Span) -> float:
    return float(np.exp(rng.uniform(*np.log(span))))


def _seen(radar: Radar, seen: Mapping[str, object], moisture: float) -> Radar:
    return radar.model_copy(update={**seen, "moisture": moisture})


def _sooner(scene: SceneParameters) -> Radar:
    """The pass before, its ground nearer to that after."""
    pairs = zip(scene.radar.class_shift, scene.radar_pre.class_shift, strict=True)
    shifts = tuple((vv + DAYS * (vv_pre - vv), vh + DAYS * (vh_pre - vh)) for (vv, vh), (vv_pre, vh_pre) in pairs)
    return scene.radar_pre.model_copy(update={"class_shift": shifts})


def _relief(rng: np.random.Generator, region: Region, relief: Relief) -> Relief:
    slope = _within(rng, region.slope)
    update = {
        "slope": slope,
        "wavelength": _log(rng, region.wavelength),
        "exponent": float(rng.uniform(2.8, 3.6)),
        "tilt": float(rng.uniform(0, 0.3) * slope),
        "valley_floor": float(rng.uniform(1, 15)),
    }
    return relief.model_copy(update=update)


def _slides(rng: np.random.Generator, region: Region) -> Slides:
    happened = rng.random() < 0.5
    density = _log(rng, region.density)
    return Slides(
        density=density if happened else 0.0,
        old_density=0.3 * _log(rng, region.density) if rng.random() < 0.5 else 0.0,
        size=_log(rng, region.size),
        aspect=_log(rng, region.aspect),
        cluster=float(rng.uniform(0, 1.2)),
        scar=int(rng.choice(region.scars)),
        debris=int(rng.choice(region.debris)),
        cleared=float(rng.uniform(0, 0.05)) if rng.random() < 0.3 else 0.0,
        cleared_before=float(rng.uniform(0, 0.15)),
    )
