"""Polygons of a map: ``polygons.gpkg`` with the layers observed_event, excluded, footprint and source.

Polygons follow pixel edges exactly, so their areas add up to the raster's to the pixel. They are the same whatever the
height of the strips the raster was read in, and so are the bytes of the file.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyogrio
import rasterio
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pydantic import Field

from undercast.config import Settings
from undercast.errors import ProductError
from undercast.product.codes import Entry
from undercast.product.record import crs_name
from undercast.product.runs import RunArea
from undercast.product.trace import UNSEEN, Figures, Strip, Traced, Tracer
from undercast.product.write import CLASSES, LIKELIHOOD, explained
from undercast.raster.geotiff import Header, open_raster
from undercast.raster.windows import cut
from undercast.task import NODATA

POLYGONS = "polygons.gpkg"
BATCH = 8_000_000
"""Bytes of polygons written at once, from the first one on, so that the file does not depend on where strips end."""
CACHE = 64
"""Megabytes of the rasters that GDAL keeps: every block is read once, so more would only grow with the scene."""
UNDATED = "1970-01-01T00:00:00.000Z"


class PolygonConfig(Settings):
    """How a class raster becomes polygons."""

    minimum_area: float = Field(default=1000.0, ge=0, description="minimum mapping unit: smaller ones are left out, m²")
    rows: int = Field(default=512, ge=1, description="rows of the raster held at a time")


class Source(NamedTuple):
    """An image a map was made from: its role, instrument and file, when it was taken (ISO 8601) and its sha256."""

    role: str
    instrument: str
    file: str
    acquired: str | None
    sha256: str | None


@dataclass
class PolygonCount:
    """How many polygons each layer got, and what fell below the minimum mapping unit, by code."""

    layers: dict[str, int] = field(default_factory=dict)
    dropped: dict[int, int] = field(default_factory=dict)
    dropped_pixels: dict[int, int] = field(default_factory=dict)


def event_values(entries: Sequence[Entry]) -> tuple[int, ...]:
    """The codes that are the event: flood and water not told apart; of other tasks, every class but the background."""
    return tuple(entry.value for entry in entries if entry.event)


def write_polygons(
    folder: Path,
    entries: Sequence[Entry],
    sources: Sequence[Source] = (),
    config: PolygonConfig | None = None,
    stamp: datetime | None = None,
) -> PolygonCount:
    """Write ``polygons.gpkg`` of the product in ``folder`` from its ``class.tif`` and ``likelihood.tif``.

    Raises:
        InputError: a layer of the product cannot be read.
        ProductError: the file cannot be written.
    """
    config = config or PolygonConfig()
    codes, likelihood = folder / CLASSES, folder / LIKELIHOOD
    with (
        explained(folder / POLYGONS),
        rasterio.Env(GDAL_CACHEMAX=CACHE),
        open_raster(str(codes)) as classes,
        open_raster(str(likelihood)) as other,
    ):
        writer = PolygonWriter(folder, Header.of(classes, str(codes)).grid, entries, config, stamp)
        for strip in _strips(classes, other, config.rows):
            writer.take(strip)
        return writer.finish(sources)


class PolygonWriter:
    """Writes ``polygons.gpkg`` into ``folder`` from strips of whole rows, from the top down, whatever their height.

    ``observed_event`` and ``excluded`` have ``class``, ``name``, ``pixels``, ``area_m2`` on the ellipsoid and
    ``touches_edge`` (the raster's edge or ground not observed: it may go on there); ``observed_event`` also
    ``likelihood``, the mean in percent. ``footprint`` is what was observed, ``source`` the images that went in.
    ``stamp`` is the date the file carries: that of the image, so that the same map has the same bytes.

    Raises:
        ProductError: the file cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        grid: GeoBox,
        entries: Sequence[Entry],
        config: PolygonConfig | None = None,
        stamp: datetime | None = None,
    ) -> None:
        shape, self._entries = (int(grid.shape[0]), int(grid.shape[1])), entries
        self._area, self._event = RunArea(grid), event_values(entries)
        excluded = tuple(entry.value for entry in entries if 250 <= entry.value < NODATA)
        told = _table({value: value for value in (*self._event, *excluded)})
        minimum = (config or PolygonConfig()).minimum_area
        self._parts = Tracer(shape, told, self._area, minimum)
        self._whole = Tracer(shape, _table(dict.fromkeys(range(NODATA), 1)), self._area, weighed=False)
        self._queue, self._footprint = Queue(grid), Queue(grid)
        path = folder / POLYGONS
        path.unlink(missing_ok=True)
        self._package = GeoPackage(path, grid, entries, stamp)

    def take(self, strip: Strip) -> None:
        """Take the next strip, and write the polygons that are complete with it once they are many."""
        self._queue.put(self._parts.take(strip))
        self._footprint.put(self._whole.take(strip))
        self._write(rest=False)

    def finish(self, sources: Sequence[Source] = ()) -> PolygonCount:
        """There is no further strip: write the rest."""
        self._queue.put(self._parts.finish())
        self._footprint.put(self._whole.finish())
        self._write(rest=True)
        for figures, geometry in self._footprint.batches(BATCH, rest=True):
            self._package.append_footprint(figures, geometry, self._area.unit)
        self._package.append_sources(sources)
        count, pixels = self._parts.dropped_count, self._parts.dropped_pixels
        values = [entry.value for entry in self._entries]
        return PolygonCount(
            self._package.counts,
            {value: int(count[value]) for value in values if count[value]},
            {value: int(pixels[value]) for value in values if pixels[value]},
        )

    def _write(self, *, rest: bool) -> None:
        for figures, geometry in self._queue.batches(BATCH, rest=rest):
            self._package.append(figures, geometry, self._event, self._area.unit)


class Queue:
    """Polygons waiting to be written, as well-known binary."""

    def __init__(self, grid: GeoBox) -> None:
        self._grid = grid
        self._figures: list[Figures] = []
        self._geometry: list[NDArray[np.object_]] = []
        self._bytes = 0

    def put(self, traced: Traced) -> None:
        """Add what has been traced."""
        if len(traced.figures.value):
            self._figures.append(traced.figures)
            self._geometry.append(np.asarray(shapely.to_wkb(to_polygons(traced, self._grid)), object))
            self._bytes += sum(len(shape) for shape in self._geometry[-1])

    def batches(self, size: int, *, rest: bool = False) -> Iterator[tuple[Figures, NDArray[np.object_]]]:
        """Take out batches of ``size`` bytes, or the first polygon that goes beyond; with ``rest`` what is left too."""
        if not self._geometry or (self._bytes < size and not rest):
            return
        figures = Figures._make(np.concatenate(parts) for parts in zip(*self._figures, strict=True))
        geometry = np.concatenate(self._geometry)
        upto = np.cumsum([len(shape) for shape in geometry])
        first = 0
        while first < len(geometry):
            before = int(upto[first - 1]) if first else 0
            last = int(np.searchsorted(upto, before + size)) + 1
            if last > len(geometry) and not rest:
                break
            chosen = np.arange(first, min(last, len(geometry)))
            yield figures.take(chosen), geometry[chosen]
            first = last
        left = np.arange(min(first, len(geometry)), len(geometry))
        self._figures, self._geometry = ([figures.take(left)], [geometry[left]]) if len(left) else ([], [])
        self._bytes = sum(len(shape) for shape in geometry[left])


def to_polygons(traced: Traced, grid: GeoBox) -> NDArray[np.object_]:
    """Shapely polygons ``[N]`` in the CRS of ``grid``, one a component."""
    rings = traced.rings
    ring = np.repeat(np.arange(len(rings.component)), np.diff(rings.start))
    outlines = shapely.linearrings(_on_map(grid, rings.row, rings.col), indices=ring)
    return np.asarray(shapely.polygons(outlines, indices=rings.component), object)


class GeoPackage:
    """The four layers of ``polygons.gpkg``, all there from the start, written in batches."""

    def __init__(self, path: Path, grid: GeoBox, entries: Sequence[Entry], stamp: datetime | None) -> None:
        self.counts: dict[str, int] = {}
        self._path, self._grid, self._stamp = path, grid, stamp
        self._names = {entry.value: entry.name for entry in entries}
        nothing = Figures._make(np.zeros(0, kind) for kind in ("u1", "i8", "i8", "i8", "i8", "i8", "?"))
        none = np.zeros(0, object)
        self._write("observed_event", none, self._attributes(nothing, 1.0, likelihood=True))
        self._write("footprint", none, _sizes(nothing, 1.0))
        self._write("excluded", none, self._attributes(nothing, 1.0, likelihood=False))

    def append(self, figures: Figures, geometry: NDArray[np.object_], event: Sequence[int], unit: float) -> None:
        """Write polygons of the event and of what is excluded to their layers."""
        of_event = np.isin(figures.value, event)
        for layer, chosen in (("observed_event", of_event), ("excluded", ~of_event)):
            which = np.flatnonzero(chosen)
            if len(which):
                fields = self._attributes(figures.take(which), unit, likelihood=layer == "observed_event")
                self._write(layer, geometry[which], fields)

    def append_footprint(self, figures: Figures, geometry: NDArray[np.object_], unit: float) -> None:
        """Write polygons of what was observed."""
        self._write("footprint", geometry, _sizes(figures, unit))

    def append_sources(self, sources: Sequence[Source]) -> None:
        """Write one feature a source image, with the outline of the map's grid."""
        height, width = int(self._grid.shape[0]), int(self._grid.shape[1])
        corners = np.array([(0, 0), (0, height), (width, height), (width, 0)])
        outline = shapely.to_wkb(shapely.Polygon(_on_map(self._grid, corners[:, 1], corners[:, 0])))
        fields = {name: np.array([getattr(source, name) for source in sources], object) for name in Source._fields}
        self._write("source", np.array([outline] * len(sources), object), fields)

    def _attributes(self, figures: Figures, unit: float, *, likelihood: bool) -> dict[str, NDArray[Any]]:
        fields: dict[str, NDArray[Any]] = {
            "class": figures.value.astype(np.int32),
            "name": np.array([self._names[int(value)] for value in figures.value], object),
            **_sizes(figures, unit),
            "touches_edge": figures.at_edge,
        }
        if likelihood:
            fields["likelihood"] = np.round(figures.likelihood / np.maximum(figures.pixels, 1), 2)
        return fields

    def _write(self, layer: str, geometry: NDArray[np.object_], fields: dict[str, NDArray[Any]]) -> None:
        try:
            with gdal_set(self._stamp):
                pyogrio.raw.write(
                    self._path, geometry, list(fields.values()), list(fields), layer=layer, driver="GPKG",
                    geometry_type="Polygon", crs=crs_name(self._grid), append=layer in self.counts,
                )  # fmt: skip
        except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, pyogrio.errors.FeatureError) as error:
            raise ProductError(f"{self._path}: layer {layer} cannot be written ({error}); free some space") from None
        self.counts[layer] = self.counts.get(layer, 0) + len(geometry)


def _on_map(grid: GeoBox, row: NDArray[np.int64], col: NDArray[np.int64]) -> NDArray[np.float64]:
    """Map coordinates ``[N, 2]``, x first, of grid corners."""
    affine = grid.affine
    x, y = affine.a * col + affine.b * row + affine.c, affine.d * col + affine.e * row + affine.f
    return np.stack([x, y], axis=1)


def _sizes(figures: Figures, unit: float) -> dict[str, NDArray[Any]]:
    return {"pixels": figures.pixels, "area_m2": np.round(figures.area * unit, 2)}


def _table(values: dict[int, int]) -> NDArray[np.uint8]:
    table = np.zeros(256, np.uint8)
    table[list(values)] = list(values.values())
    table[NODATA] = UNSEEN
    return table


def _strips(classes: Any, likelihood: Any, rows: int) -> Iterator[Strip]:
    for window in cut(classes.shape, (rows, classes.shape[1])):
        area = rasterio.windows.Window(window.col, window.row, window.width, window.height)
        yield Strip(window.row, classes.read(1, window=area), likelihood.read(1, window=area))


@contextmanager
def gdal_set(stamp: datetime | None) -> Iterator[None]:
    """Makes GDAL write ``stamp`` for now, and not wait for the disk: nobody reads the file before it is complete."""
    text = stamp.strftime("%Y-%m-%dT%H:%M:%S.000Z") if stamp else UNDATED
    options = {"OGR_CURRENT_DATE": text, "OGR_SQLITE_SYNCHRONOUS": "OFF"}
    before = {name: pyogrio.get_gdal_config_option(name) for name in options}
    pyogrio.set_gdal_config_options(options)
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options(before)
