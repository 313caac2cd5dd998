"""Drawing the parameters of a scene: an archetype of landscape, then every parameter within its range."""

import numpy as np

from undercast.errors import ConfigError
from undercast.simulate.conditions import in_conditions
from undercast.simulate.fields import generator
from undercast.simulate.ground import SIGNATURES, Ground
from undercast.simulate.parameters import Cover, Optics, Place, Radar, Relief, SceneParameters, Sky, Water
from undercast.simulate.regions import in_region

LANDSCAPES: dict[str, float] = {
    "plain": 0.2,
    "valley": 0.12,
    "delta": 0.1,
    "parcels": 0.14,
    "arid": 0.13,
    "lakes": 0.07,
    "coast": 0.06,
    "reservoir": 0.06,
    "mountain": 0.06,
    "town": 0.06,
}
"""How often each archetype is drawn."""


SIMULATED = ("flood", "clouds", "landcover", "landslide")
"""Tasks whose scenes are drawn here."""


def draw_parameters(seed: int, task: str = "flood", region: str = "") -> SceneParameters:
    """The parameters of scene ``seed``; scenes of one seed differ between tasks in sky, light, flood and radar alone.

    Floods and land cover come in conditions of many kinds (see :mod:`~.conditions`), clouds and land cover under light
    and snow of many kinds. For ``landcover`` nothing is flooded: what lies under water has no cover to tell. Landslides
    have scenes of their own, of ``region`` (see :mod:`~.regions`; empty: of any).

    Raises:
        ConfigError: there is no simulation for ``task``, or no such region.
    """
    if task not in SIMULATED:
        raise ConfigError(f"task '{task}' cannot be simulated; tasks that can: {', '.join(SIMULATED)}")
    if region and task != "landslide":
        raise ConfigError(f"region '{region}': only landslides are simulated by region, task '{task}' is not")
    rng = generator(seed, "parameters")
    landscape = str(rng.choice(list(LANDSCAPES), p=np.array(list(LANDSCAPES.values())) / sum(LANDSCAPES.values())))
    if task == "landslide":
        return in_region(generator(seed, "region"), _draw(rng, seed, task, "mountain"), region)
    return _draw(rng, seed, task, landscape)


def _draw(rng: np.random.Generator, seed: int, task: str, landscape: str) -> SceneParameters:
    radar = _radar(rng, landscape)
    optics, sky = _optics(rng), None
    if task in ("clouds", "landcover"):
        own = generator(seed, task)
        optics = optics.model_copy(update={"snow": _snow(own)})
        optics, sky = _look_alikes(generator(seed, "light"), optics, _clouded_sky(own))
    drawn = SceneParameters(
        place=Place(
            landscape=landscape,
            epsg=int(32600 + 100 * rng.integers(0, 2) + rng.integers(1, 61)),
            easting=float(10 * rng.integers(20000, 75000)),
            northing=float(10 * rng.integers(100000, 800000)),
        ),
        relief=_relief(rng, landscape),
        cover=_cover(rng, landscape),
        water=_water(rng, landscape),
        radar=radar,
        radar_pre=_before(rng, radar),
        optics=optics,
        sky=sky or _sky(rng),
    )
    if task == "landcover":
        drawn = drawn.model_copy(update={"water": drawn.water.model_copy(update={"flood": 0.0})})
    return in_conditions(generator(seed, "conditions"), drawn) if task in ("flood", "landcover") else drawn


def _log(rng: np.random.Generator, low: float, high: float) -> float:
    """Log-uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _often(rng: np.random.Generator, chance: float, value: float) -> float:
    """``value`` with probability ``chance``, else 0."""
    return value if rng.random() < chance else 0.0


def _relief(rng: np.random.Generator, landscape: str) -> Relief:
    slope = {
        "mountain": (0.1, 0.45), "valley": (0.02, 0.12), "reservoir": (0.02, 0.15), "lakes": (0.005, 0.06),
        "arid": (0.002, 0.08), "town": (0.001, 0.04),
    }.get(landscape, (0.0008, 0.015))  # fmt: skip
    steepness = _log(rng, *slope)
    return Relief(
        slope=steepness,
        wavelength=_log(rng, 60, 500),
        exponent=float(rng.uniform(2.8, 4.0)),
        tilt=float(rng.uniform(0, 0.3) * steepness),
        tilt_azimuth=float(rng.uniform(0, 2 * np.pi)),
        base=float(rng.choice([0.0, rng.uniform(0, 100), rng.uniform(100, 2500)])),
        valley_floor=_log(rng, 0.5, 12) * (1 + 10 * steepness),
    )


def _cover(rng: np.random.Generator, landscape: str) -> Cover:
    natural = rng.gamma(0.35, 1, 6) * (0.03, 0.06, 1, 1, 1, 0.005)
    if landscape == "arid":
        natural = rng.gamma(0.35, 1, 6) * (1, 0.6, 0.6, 1.5, 0.03, 0.2)
    farmed = {"parcels": (0.6, 1.0), "arid": (0, 0.3), "mountain": (0, 0.4), "delta": (0.2, 1)}.get(landscape, (0, 1))
    width = _log(rng, 2.5, 40)
    return Cover(
        natural=tuple(float(w) + 1e-4 for w in natural),  # type: ignore[arg-type]
        patch=_log(rng, 15, 300),
        blend=float(0.8 * rng.beta(0.7, 1.8)),
        farmed=float(rng.uniform(*farmed)),
        crops=tuple(float(w) + 1e-3 for w in rng.gamma(0.6, 1, 7)),  # type: ignore[arg-type]
        parcel_width=width,
        parcel_length=float(np.clip(width * _log(rng, 1, 6), 4, 120)),
        orientation=float(rng.uniform(0, np.pi)),
        bend=_log(rng, 1, 40),
        hedges=float(rng.uniform(0, 0.7)),
        contrast=float(rng.uniform(0.4, 1.6)),
        towns=float(rng.uniform(0.1, 0.6)) if landscape == "town" else _often(rng, 0.5, _log(rng, 0.003, 0.1)),
        villages=_log(rng, 0.003, 0.2),
        industry=float(rng.beta(1, 6)),
        roads=int(rng.poisson(2.5)),
        runway=bool(rng.random() < 0.05),
        wetland=_often(rng, 0.5, _log(rng, 0.01, 0.4)),
    )


def _water(rng: np.random.Generator, landscape: str) -> Water:
    rivers = {"delta": (1, 4), "valley": (0, 2), "arid": (0, 2), "mountain": (0, 1)}.get(landscape, (0, 3))
    width = _log(rng, 0.8, 60) if landscape in ("delta", "plain") else _log(rng, 0.8, 15)
    plain = landscape in ("plain", "delta", "parcels", "coast", "town")
    flood = float(rng.beta(0.9, 2.0)) if plain else float(rng.beta(0.7, 4.0))
    dry = rng.random() < (0.5 if landscape == "arid" else 0.22)
    if rng.random() < (0.3 if landscape == "arid" else 0.12):
        return _no_water(rng)
    return Water(
        channel_cells=_log(rng, 60, 3000) * (4 if landscape in ("arid", "parcels") else 1),
        channel_width=_log(rng, 0.8, 16),
        rivers=int(rng.integers(*rivers)),
        river_width=width,
        meander=width * _log(rng, 7, 16) + 15,
        sinuosity=float(rng.uniform(0.1, 1.9)),
        oxbows=int(rng.poisson(3)) if rng.random() < 0.4 else 0,
        braid=_often(rng, 0.5 if width > 10 else 0, float(rng.uniform(0.15, 0.7))),
        lakes=float(rng.uniform(0.03, 0.4)) if landscape == "lakes" else _often(rng, 0.2, _log(rng, 0.005, 0.3)),
        lake_size=_log(rng, 25, 300),
        ponds=_often(rng, 0.5, _log(rng, 0.0005, 0.06)),
        pond_size=_log(rng, 5, 30),
        reservoir=float(rng.uniform(0.05, 0.5)) if landscape == "reservoir" else 0.0,
        coast=float(rng.uniform(0.05, 0.8)) if landscape == "coast" else 0.0,
        basins=_often(rng, 0.4 if landscape in ("parcels", "delta", "coast") else 0.08, _log(rng, 0.01, 0.7)),
        flood=0.0 if dry else flood,
        rise=_log(rng, 0.3, 10),
        roughness=_log(rng, 0.05, 1.5),
        roughness_size=_log(rng, 12, 160),
        terrace=_log(rng, 0.05, 2.0),
        bank=_log(rng, 0.1, 2.5),
        debris=float(rng.beta(0.5, 4)),
        label_closure=float(rng.uniform(0.45, 0.7)),
    )


def _no_water(rng: np.random.Generator) -> Water:
    """Ground without any water: what a false alarm is measured on."""
    return Water(channel_cells=1e9, rivers=0, ponds=0.0, flood=0.0, label_closure=float(rng.uniform(0.45, 0.7)))


def _radar(rng: np.random.Generator, landscape: str) -> Radar:
    shift = tuple(
        (float(common + vv), float(common + vh))
        for common, vv, vh in (rng.normal(0, SIGNATURES[ground].shift, 3) * (1, 0.5, 0.6) for ground in Ground)
    )
    noise = rng.uniform(-34.5, -25)
    # On a grid of degrees a pixel is narrower than it is high away from the equator: grain is wider in columns.
    grain = float(rng.uniform(0.72, 0.92))
    season = rng.normal(0, 1.2)
    return Radar(
        incidence=float(rng.uniform(30, 46)),
        ascending=bool(rng.random() < 0.5),
        looks=float(np.round(rng.uniform(4.6, 7.0), 1)),
        grain_rows=grain,
        grain_columns=min(1.2, grain * float(rng.choice([1.0, rng.uniform(1.0, 1.35)]))),
        sharpness=float(rng.uniform(0.5, 0.95)),
        noise=(float(noise + rng.normal(0, 1)), float(noise)),
        offset=(float(season + rng.normal(0, 0.7)), float(season + rng.normal(0, 0.9))),
        floor=float(rng.uniform(-50, -46)),
        wind=float(np.clip(3.9 * rng.weibull(1.6), 0, 14)),
        gust=float(rng.uniform(0.05, 0.5)),
        moisture=float(rng.normal(-0.8 if landscape == "arid" else 0.3, 1)),
        step=_often(rng, 0.1, float(rng.normal(0, 0.3))),
        scallop=_often(rng, 0.1, float(rng.uniform(0, 0.25))),
        texture=_log(rng, 0.2, 1.3),
        class_shift=shift,
        border=_border(rng, 0.07),
    )


def _before(rng: np.random.Generator, after: Radar) -> Radar:
    """The pass before the flood: same orbit and instrument, another day."""
    change = rng.normal(0, 0.4, 2)
    shift = tuple(
        (vv + common, vh + common + own) for (vv, vh), (common, own) in zip(
            after.class_shift, rng.normal(0, (0.6, 0.3), (len(after.class_shift), 2)), strict=True
        )
    )  # fmt: skip
    return after.model_copy(
        update={
            "offset": (after.offset[0] + float(change[0]), after.offset[1] + float(change[1])),
            "wind": float(np.clip(3.9 * rng.weibull(1.6), 0, 14)),
            "moisture": after.moisture + float(rng.normal(-0.7, 0.8)),
            "class_shift": shift,
            "border": after.border if rng.random() < 0.6 else _border(rng, 0.07),
        }
    )


def _border(rng: np.random.Generator, chance: float) -> tuple[float, float] | None:
    """Edge of a swath: mostly near upright or level, and sometimes the scene lies wholly beyond it."""
    if rng.random() >= chance:
        return None
    angle = rng.integers(0, 4) * np.pi / 2 + rng.normal(0, 0.2)
    return float(angle), float(1.0 if rng.random() < 0.08 else rng.uniform(0.02, 0.9))


def _optics(rng: np.random.Generator) -> Optics:
    return Optics(
        sun_elevation=float(rng.uniform(22, 68)),
        sun_azimuth=float(rng.uniform(110, 180) if rng.random() < 0.8 else rng.uniform(0, 360)),
        haze=_log(rng, 0.02, 0.4),
        vapour=_log(rng, 0.4, 5),
        turbidity=float(rng.beta(0.9, 1.5)),
        vigour=float(rng.uniform(-1, 1)),
        noise=_log(rng, 0.0005, 0.004),
        class_shift=tuple(float(s) for s in np.exp(rng.normal(-0.05, 0.25, len(Ground)))),
        border=_border(rng, 0.03),
    )


def _sky(rng: np.random.Generator) -> Sky:
    clear = rng.random() < 0.4
    return Sky(
        cover=0.0 if clear else float(rng.beta(0.8, 1.6)),
        size=_log(rng, 12, 500),
        exponent=float(rng.uniform(2.6, 3.8)),
        thickness=_log(rng, 2, 40),
        height=_log(rng, 400, 4000),
        cirrus=_often(rng, 0.35, _log(rng, 0.005, 0.4)),
    )


def _snow(rng: np.random.Generator) -> float:
    return _often(rng, 0.12, float(rng.beta(0.8, 0.8)))


def _clouded_sky(rng: np.random.Generator) -> Sky:
    """What must be told apart or seen through: from no cloud at all to overcast, and thin cloud as often as thick."""
    kind = rng.random()
    cover = 0.0 if kind < 0.12 else float(rng.uniform(0.9, 1)) if kind < 0.22 else float(rng.beta(0.9, 1.2))
    return Sky(
        cover=cover,
        size=_log(rng, 15, 500),
        exponent=float(rng.uniform(2.4, 3.8)),
        thickness=_log(rng, 1.5, 40),
        height=_log(rng, 300, 5000),
        white=float(rng.uniform(0.55, 1.15)),
        cirrus=_often(rng, 0.4, _log(rng, 0.005, 0.8)),
    )


def _look_alikes(rng: np.random.Generator, optics: Optics, sky: Sky) -> tuple[Optics, Sky]:
    """Clouds of more colours, and ground and air that look like them: what has to be told apart to see through.

    Thick cloud reflects .35 to 1 [Kokhanovsky 2006]: bluer where it is of ice or under much air, redder over dust or in
    a low sun. Haze of smoke and dust reaches an optical thickness above 1 [Holben 2001], glint some tenths of
    reflectance [Cox 1954], old snow is half as bright as fresh [Wiscombe 1980], and deserts and roofs vary as much.
    Some images come with the air taken out, as L2A.
    """
    common = rng.normal(0, 0.15) + _often(rng, 0.1, 0.3)
    shift = np.array(optics.class_shift) * np.exp(common + rng.normal(0, 0.15, len(optics.class_shift)))
    haze = _log(rng, 0.3, 1.2) if rng.random() < 0.15 else optics.haze
    light = {
        "class_shift": tuple(float(s) for s in np.clip(shift, 0.3, 2.0)),
        "haze": haze,
        "snow_white": float(rng.uniform(0.5, 1.05)),
        "glint": _often(rng, 0.3, _log(rng, 0.005, 0.25)),
        "corrected": _often(rng, 0.35, float(rng.uniform(0.5, 1.0))),
    }
    cloud = {
        "white": float(rng.uniform(0.45, 1.2)),
        "slope": float(rng.uniform(-0.5, 0.2)),
        "relief": _often(rng, 0.7, float(rng.uniform(0.02, 0.15))),
    }
    return optics.model_copy(update=light), sky.model_copy(update=cloud)
