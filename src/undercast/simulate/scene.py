"""A whole scene: ground, water, two radar passes, one optical overpass, and the truth of all of it."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from undercast.bands import DEM, OCCURRENCE, S1, S2_L1C, Modality
from undercast.chip import Chip
from undercast.errors import ConfigError
from undercast.simulate import optics, radar, sky
from undercast.simulate.cover import Land, make_land
from undercast.simulate.draw import draw_parameters
from undercast.simulate.fields import Array, Shape, fractal, generator
from undercast.simulate.ground import LANDCOVER_OF, Ground
from undercast.simulate.parameters import SceneParameters
from undercast.simulate.slides import Slid, make_slides
from undercast.simulate.terrain import PIXEL, Terrain, make_terrain, slope_of
from undercast.simulate.water import Waters, emergent, label_of, make_water
from undercast.task import LANDCOVER, NODATA

MODALITIES: dict[str, Modality] = {
    "s1": S1,
    "s1_pre": S1,
    "s1_post": S1,
    "s2": S2_L1C,
    "s2_clear": S2_L1C,
    "dem": DEM,
    "occurrence": OCCURRENCE,
}
"""Role → what its pixels mean."""


@dataclass(frozen=True)
class SimulatedScene:
    """A scene and its truth, on a UTM grid of 10 m.

    ``images``: role → float32 ``[C, H, W]`` in the unit of :data:`MODALITIES`, NaN where the swath ends.
    ``targets``: name → uint8 ``[H, W]``: ``flood`` (1 water), ``flood_event`` (1 beyond permanent water),
    ``flood_weak`` (255 under cloud as a threshold finds it), ``cloud`` (0 clear, 1 cloud, 2 shadow), ``cover``
    (:class:`~.ground.Ground`), and of a scene with slides ``landslide``, whose image ``s1_post`` is its ``s1`` under
    the name that goes with ``s1_pre``. ``truth``: what no sensor sees, ``[H, W]``: ``permanent``,
    ``flooded_vegetation``, ``layover_shadow`` (uint8 0/1; 2 is shadow), ``depth`` m of water, ``hand`` m above the
    nearest permanent water, ``slope`` and local ``incidence`` in degrees, ``transmission`` of cloud and
    ``cloud_shadow``, 0 to 1. ``crs`` is ``EPSG:n``, ``transform`` the affine (a, b, c, d, e, f) of pixel corners.
    """

    images: dict[str, Array]
    targets: dict[str, NDArray[np.uint8]]
    truth: dict[str, NDArray[np.generic]]
    parameters: SceneParameters
    crs: str
    transform: tuple[float, float, float, float, float, float]


@dataclass
class _World:
    """The parts of a scene, each made on first use from its own stream of random numbers."""

    shape: Shape
    seed: int
    parameters: SceneParameters

    @cached_property
    def terrain(self) -> Terrain:
        p = self.parameters
        return make_terrain(generator(self.seed, "terrain"), self.shape, p.relief, p.water.channel_cells)

    @cached_property
    def land(self) -> Land:
        return make_land(generator(self.seed, "cover"), self.shape, self.parameters.cover, self.terrain)

    @cached_property
    def waters(self) -> Waters:
        return make_water(generator(self.seed, "water"), self.shape, self.parameters.water, self.terrain, self.land)

    @cached_property
    def clouds(self) -> sky.Clouds:
        return sky.make_clouds(generator(self.seed, "sky"), self.shape, self.parameters.sky, self.parameters.optics)

    @cached_property
    def slid(self) -> Slid | None:
        if self.parameters.slides is None:
            return None
        streams = generator(self.seed, "slides"), generator(self.seed, "old slides")
        return make_slides(*streams, self.parameters.slides, self.terrain, self.land, self.waters.permanent)

    @cached_property
    def geometry(self) -> radar.Geometry:
        return radar.look_at(self.terrain.elevation, self.parameters.radar)

    def radar_image(self, role: str) -> Array:
        waters, flooded = self.waters, role == "s1"
        land, geometry = self.land, self.geometry
        if self.slid is not None:
            land = replace(land, cover=self.slid.after if flooded else self.slid.before)
            if flooded:
                geometry = radar.look_at(self.terrain.elevation + self.slid.shift, self.parameters.radar)
        settings = self.parameters.radar if flooded else self.parameters.radar_pre
        nothing = np.zeros(self.shape, np.bool_)
        debris = None
        amount = self.parameters.water.debris
        if flooded and amount > 0.01:
            patches = fractal(generator(self.seed, "debris"), self.shape, 40.0, 2.8)
            debris = np.where(waters.flood, np.clip(np.float32(amount) * (1 + patches), 0, 1), np.float32(0))
        surface = radar.Surface(
            waters.permanent | (waters.flood & ~waters.vegetated) if flooded else waters.permanent,
            waters.vegetated if flooded else nothing,
            emergent(waters, land.cover) if flooded else None,
            debris,
        )
        image = radar.see(self.seed, role, land, surface, geometry, settings)
        return _cut(image, settings.border)

    @cached_property
    def overpass(self) -> optics.Overpass:
        rng = generator(self.seed, "overpass")
        land = self.land if self.slid is None else replace(self.land, cover=self.slid.after)
        return optics.prepare(rng, land, self.terrain, self.waters, self.parameters.optics)

    def optical_image(self, role: str) -> Array:
        clouds = self.clouds if role == "s2" else None
        settings = self.parameters.optics
        return _cut(optics.see(generator(self.seed, role), self.overpass, clouds, settings), settings.border)


def simulate_scene(
    height: int,
    width: int,
    seed: int,
    *,
    parameters: SceneParameters | None = None,
    only: Collection[str] | None = None,
) -> SimulatedScene:
    """The scene that ``seed`` and the size determine, bit for bit.

    ``parameters`` replaces those drawn from the seed; ``only`` names the roles and targets that are wanted (default
    all but those of :data:`TASK_TARGETS`), which changes none of them and saves the time of the others. Truth layers
    come with ``only`` of None.

    Raises:
        ConfigError: a size below 1, or a name in ``only`` that no scene has.
    """
    if height < 1 or width < 1:
        raise ConfigError(f"a scene of {height} x {width} pixels cannot be; give a height and width of at least 1")
    unknown = sorted(set(only or ()) - set(MODALITIES) - set(TARGETS) - set(TASK_TARGETS))
    if unknown:
        raise ConfigError(f"no scene has '{unknown[0]}'; known: {', '.join((*MODALITIES, *TARGETS, *TASK_TARGETS))}")
    drawn = parameters if parameters is not None else draw_parameters(seed)
    wanted = set(only) if only is not None else {*MODALITIES, *TARGETS, "landslide"}
    if only is None and drawn.slides is None:
        wanted -= {"s1_post", "landslide"}
    world = _World((height, width), seed, drawn)
    images = _images(world, wanted)
    targets = _targets(world, wanted, images)
    place = drawn.place
    return SimulatedScene(
        images=images,
        targets=targets,
        truth=_truth(world) if only is None else {},
        parameters=drawn,
        crs=f"EPSG:{place.epsg}",
        transform=(PIXEL, 0.0, place.easting, 0.0, -PIXEL, place.northing),
    )


HIDDEN = 0.5
"""Share of a pixel under snow above which its cover has no label: ours; real maps call it snow, no class of these."""

TARGETS = ("flood", "flood_event", "flood_weak", "cloud", "cover")
"""The targets of a scene."""

TASK_TARGETS = ("clouds", "landcover", "landslide", "opacity")
"""Targets that come when asked for. Those of a task: ``clouds`` is ``cloud`` with thinner cloud in it, ``landcover``
the six classes, ``landslide`` what slid; and ``opacity``, the light that cloud and its shadow take away, percent."""


def simulate_chip(
    seed: int,
    size: int = 256,
    task: str = "flood",
    only: Collection[str] | None = None,
    region: str = "",
    *,
    cloud: float | None = None,
) -> Chip:
    """Scene ``seed`` of ``size`` × ``size`` pixels as a chip: one event and one place of its own.

    ``cloud`` is the share of cloud, in place of the one that was drawn; the ground stays the same.
    """
    parameters = draw_parameters(seed, task, region)
    if cloud is not None:
        parameters = parameters.model_copy(update={"sky": parameters.sky.model_copy(update={"cover": cloud})})
    scene = simulate_scene(size, size, seed, parameters=parameters, only=only)
    return Chip(
        key=f"simulated-{seed}",
        images=scene.images,
        targets=scene.targets,
        event=f"simulated-{seed}",
        place=scene.parameters.place.landscape,
    )


def _images(world: _World, wanted: set[str]) -> dict[str, Array]:
    images: dict[str, Array] = {}
    for role, part in (("s1", "s1"), ("s1_pre", "s1_pre"), ("s1_post", "s1")):
        if role in wanted:
            images[role] = images[part].copy() if part in images else world.radar_image(part)
    for role in ("s2", "s2_clear"):
        if role in wanted or (role == "s2" and "flood_weak" in wanted):
            images[role] = world.optical_image(role)
    if "dem" in wanted:
        images["dem"] = world.terrain.elevation[None]
    if "occurrence" in wanted:
        images["occurrence"] = world.waters.occurrence[None]
    return images


def _targets(world: _World, wanted: set[str], images: dict[str, Array]) -> dict[str, NDArray[np.uint8]]:
    targets: dict[str, NDArray[np.uint8]] = {}
    if "flood" in wanted:
        targets["flood"] = label_of(world.waters, world.land.cover, world.parameters.water.label_closure)
    if "flood_event" in wanted:
        targets["flood_event"] = world.waters.flood.astype(np.uint8)
    if "flood_weak" in wanted:
        targets["flood_weak"] = optics.weak_label(images["s2"])
        if "s2" not in wanted:
            del images["s2"]
    for name, below in (("cloud", sky.CLOUD_BELOW), ("clouds", sky.MASKED_BELOW)):
        if name in wanted:
            targets[name] = sky.cloud_class(world.clouds, below)
    if "opacity" in wanted:
        targets["opacity"] = sky.opacity(world.clouds)
    if {"cover", "landcover"} & wanted:
        cover = np.where(world.waters.permanent, np.uint8(Ground.WATER), world.land.cover)
        targets |= {"cover": cover} if "cover" in wanted else {}
        targets |= {"landcover": _landcover(cover, world.overpass.snow)} if "landcover" in wanted else {}
    if "landslide" in wanted:
        moved = world.slid.moved if world.slid else np.zeros(world.shape, np.bool_)
        targets["landslide"] = moved.astype(np.uint8)
    return targets


def _landcover(cover: NDArray[np.uint8], snow: Array | None) -> NDArray[np.uint8]:
    """Classes of :data:`~undercast.task.LANDCOVER` of :class:`~.ground.Ground`; none where snow hides the ground."""
    names = [LANDCOVER_OF.get(ground) for ground in Ground]
    table = np.array([NODATA if name is None else LANDCOVER.value_of(name) for name in names], np.uint8)
    found: NDArray[np.uint8] = table[cover]
    if snow is not None:
        found[(snow > HIDDEN) & (cover != Ground.WATER)] = NODATA
    return found


def _truth(world: _World) -> dict[str, NDArray[np.generic]]:
    south, east = slope_of(world.terrain.elevation)
    geometry, waters = world.geometry, world.waters
    return {
        "permanent": waters.permanent.astype(np.uint8),
        "depth": waters.depth,
        "flooded_vegetation": waters.vegetated.astype(np.uint8),
        "layover_shadow": np.where(geometry.shadow, 2, geometry.layover).astype(np.uint8),
        "hand": np.maximum(waters.height, 0),
        "slope": np.rad2deg(np.arctan(np.hypot(south, east))),
        "incidence": geometry.incidence,
        "transmission": world.clouds.transmission,
        "cloud_shadow": 1 - world.clouds.sunlight,
    }


def _cut(image: Array, border: tuple[float, float] | None) -> Array:
    """``image`` with NaN beyond the edge of the swath."""
    if border is None:
        return image
    image[:, beyond((image.shape[1], image.shape[2]), border)] = np.nan
    return image


def beyond(shape: Shape, border: tuple[float, float]) -> NDArray[np.bool_]:
    """Where a scene of ``shape`` lies outside the swath, bool: the declared nodata of a border (angle, share)."""
    angle, share = border
    rows, columns = np.arange(shape[0])[:, None], np.arange(shape[1])[None, :]
    along = np.broadcast_to(rows * np.cos(angle) + columns * np.sin(angle), shape)
    ends = [r * np.cos(angle) + c * np.sin(angle) for r in (0, shape[0] - 1) for c in (0, shape[1] - 1)]
    result: NDArray[np.bool_] = along >= max(ends) + 0.5 - share * (max(ends) - min(ends) + 1)
    return result
