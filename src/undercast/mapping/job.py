"""All that goes into one map, opened and checked before the first pixel is answered."""

from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from undercast.bands import DEM, OCCURRENCE, Modality
from undercast.mapping.config import MapConfig
from undercast.mapping.domain import Guard
from undercast.model import ModelFolder
from undercast.predict.tiles import answered_shape
from undercast.product.areas import Units, read_units, split_layer
from undercast.product.codes import Entry, entries_of
from undercast.product.record import digest
from undercast.raster.backscatter import RadarUnit
from undercast.raster.exclusion import TerrainMask
from undercast.raster.flat import FlatMask
from undercast.raster.inputs import parse_request
from undercast.raster.reflectance import OpticalForm
from undercast.raster.scene import Scene
from undercast.raster.windows import Window
from undercast.signature import Signature
from undercast.task import FLOOD, LANDSLIDE, Task

REFERENCE = Modality(instrument="reference water", bands=("water",), unit="percent", valid_range=(0.0, 100.0))
"""A mask or share of water that is always there: anything above 0 is water."""


@dataclass(frozen=True)
class Job:
    """One scene to map.

    ``unit``, ``optical`` and ``nodata`` are what the user declared; ``areas`` is the file of ``units`` as it was given;
    ``guard`` holds the scene against the model's training; ``relief`` tells what terrain rules out, where an elevation
    was given; ``digests`` are the sha256 of every file that goes in, by path, being computed meanwhile.
    """

    scene: Scene
    model: ModelFolder
    precision: str
    config: MapConfig
    unit: RadarUnit | None
    optical: OpticalForm | None
    nodata: float | None
    areas: str | None
    units: Units | None
    guard: Guard
    relief: TerrainMask | FlatMask | None
    digests: Mapping[str, Future[str | None]]

    @property
    def signature(self) -> Signature:
        """What the model takes and answers."""
        return self.model.signature

    @property
    def shown(self) -> str:
        """The role that pictures show: the first of what the model takes that is not of before the event."""
        inputs = [role for role in self.signature.inputs if role in self.scene.images]
        return next((role for role in inputs if not role.endswith("_pre")), inputs[0])

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The codes that the map may hold."""
        return entries_of(self.signature.task)

    @cached_property
    def grid(self) -> GeoBox:
        """Where the pixels of the map are: those of the scene, as much larger or smaller as the task's scale says."""
        return grid_of(self.scene.grid, self.signature)

    @property
    def references(self) -> list[str]:
        """The roles given that tell flood apart from other water."""
        before = {f"{role}_pre" for role in self.signature.inputs}
        return [role for role in self.scene.images if role in {"occurrence", "reference"} | before]


@contextmanager
def open_job(
    inputs: Sequence[str],
    model: ModelFolder,
    config: MapConfig,
    *,
    unit: RadarUnit | None = None,
    optical: OpticalForm | None = None,
    nodata: float | None = None,
    precision: str = "fp32",
    areas: str | None = None,
    hashed: bool = True,
) -> Generator[Job, None, None]:
    """Open everything; closed again on leaving. What goes in is not ``hashed`` where only blocks are asked for.

    Raises:
        InputError: an input or the layer of ``areas`` cannot be used, or the scene is refused as outside the training.
    """
    signature = model.signature
    vector = split_layer(areas) if areas else None
    with (
        Scene.open(
            inputs, roles_of(signature), needed(inputs, signature), unit=unit, optical=optical, nodata=nodata
        ) as scene,
        ThreadPoolExecutor(1, "hash") as hashing,
    ):
        units = read_units(vector[0], grid_of(scene.grid, signature), vector[1]) if vector else None
        paths = [item.header.path for image in scene.images.values() for item in image.bands]
        paths += [vector[0]] if vector else []
        digests = {path: hashing.submit(digest, path) for path in dict.fromkeys(paths if hashed else ())}
        try:
            guard = Guard.of(scene, signature, config.domain)
            relief = _relief(scene, config, signature.task)
            yield Job(scene, model, precision, config, unit, optical, nodata, areas, units, guard, relief, digests)
        finally:
            hashing.shutdown(cancel_futures=True)


def needed(inputs: Sequence[str], signature: Signature) -> list[str]:
    """The roles that must be found among ``inputs``: all that ``signature`` takes but the optional ones not named."""
    named = {parse_request(text).role for text in inputs}
    roles = [role for role in signature.inputs if role not in signature.optional or role in named]
    return _now_first(roles or signature.inputs)


def grid_of(grid: GeoBox, signature: Signature) -> GeoBox:
    """The grid of an answer over all the ground of ``grid``; its last row and column may reach beyond."""
    scale = signature.task.scale
    if scale == 1:
        return grid
    height, width = answered_shape((int(grid.shape[0]), int(grid.shape[1])), scale)
    old, by = grid.affine, float(scale)
    affine = Affine(old.a / by, old.b / by, old.c, old.d / by, old.e / by, old.f)
    return GeoBox((height, width), affine, grid.crs)


def roles_of(signature: Signature) -> dict[str, Modality]:
    """What may be given: what the model takes; for flood also what tells it from other water; the relief."""
    own = {role: signature.inputs[role] for role in _now_first(signature.inputs)}
    if signature.task.name == LANDSLIDE.name:
        return {"dem": DEM} | own
    if signature.task.name != FLOOD.name:
        return own
    before = {f"{role}_pre": modality for role, modality in signature.inputs.items()}
    return {"dem": DEM, "occurrence": OCCURRENCE, "reference": REFERENCE} | before | dict(signature.inputs)


def _now_first(roles: Iterable[str]) -> list[str]:
    """Images of before an event last: a map has the grid, the name and the date of the image after it."""
    return sorted(roles, key=lambda role: role.endswith("_pre"))


def _relief(scene: Scene, config: MapConfig, task: Task) -> TerrainMask | FlatMask | None:
    """What the terrain rules out; None where no elevation was given, or for tasks that it says nothing of."""
    if "dem" not in scene.images or task.name not in (FLOOD.name, LANDSLIDE.name):
        return None

    def read(window: Window) -> NDArray[np.float32]:
        elevation: NDArray[np.float32] = scene.read(window, ["dem"])["dem"][0]
        return elevation

    if task.name == LANDSLIDE.name:
        return FlatMask(scene.grid, read, config.flat)
    return TerrainMask(scene.grid, read, config.terrain)
