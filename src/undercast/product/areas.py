"""Areas by administrative unit: ``areas.csv``, one row a unit, with how much of the unit was observed."""

import csv
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyogrio
import pyproj
import rasterio
import rasterio.features
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pydantic import Field

from undercast.config import Settings
from undercast.errors import InputError
from undercast.product.codes import Entry
from undercast.product.record import crs_name
from undercast.product.runs import RunArea
from undercast.product.write import CLASSES, explained
from undercast.raster.geotiff import Header, open_raster
from undercast.raster.windows import Window, cut

AREAS = "areas.csv"
PIECE = 1000.0
"""Edges of units are cut into pieces of about this many metres, so that they lie right on another projection."""


class AreasConfig(Settings):
    """How areas by unit are counted."""

    window: int = Field(default=2048, ge=1, description="rows and columns of the raster held at a time")


@dataclass(frozen=True)
class Units:
    """The units of a layer that reach into a scene.

    ``shapes`` ``[N]`` are on the scene's CRS, cut off some way outside it; ``areas`` ``[N]`` are their whole sizes
    in m² on the ellipsoid; ``attributes`` ``[N]`` by name, as the layer has them.
    """

    shapes: NDArray[np.object_]
    areas: NDArray[np.float64]
    attributes: dict[str, NDArray[Any]]


def split_layer(text: str) -> tuple[str, str | None]:
    """File and layer of ``FILE`` or ``FILE:LAYER``; a path that exists as it stands is a path."""
    path, _, layer = text.rpartition(":")
    # what has a slash or no more than a drive before it is no layer: C:\\units.gpkg, https://…/units.gpkg
    if Path(text).exists() or len(path) < 2 or not layer or "/" in layer or "\\" in layer:
        return text, None
    return path, layer


def read_units(path: str, grid: GeoBox, layer: str | None = None) -> Units:
    """The polygons of any vector file GDAL reads that reach into ``grid``.

    Raises:
        InputError: the file, layer or CRS is missing, it holds no polygons, or none reaches into the scene.
    """
    try:
        layers = [str(name) for name, _ in pyogrio.list_layers(path)]
        if layer is None and len(layers) > 1:
            raise InputError(f"{path}: has the layers {', '.join(layers)}; say which as {path}:LAYER")
        if layer is not None and layer not in layers:
            raise InputError(f"{path}: has no layer {layer}; it has {', '.join(layers)}")
        crs = pyogrio.read_info(path, layer=layer)["crs"]
        if crs is None:
            raise InputError(f"{path}: has no CRS; give it one, for example ogr2ogr -a_srs EPSG:4326 OUT {path}")
        near = _near(grid, crs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of measured or curved geometry, which reads as plain
            reads = [pyogrio.raw.read(path, layer=layer, bbox=box, force_2d=True, return_fids=True) for box in near]
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise InputError(f"{path}: is no vector file that can be read ({' '.join(str(error).split())})") from None
    # of a unit that two boxes touch, the first
    _, first = np.unique(np.concatenate([found[1] for found in reads]), return_index=True)
    shapes = np.asarray(shapely.from_wkb(np.concatenate([found[2] for found in reads])), object)[first]
    columns = [np.concatenate(parts)[first] for parts in zip(*(found[3] for found in reads), strict=True)]
    areal = np.isin(shapely.get_type_id(shapes), (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON))
    if len(shapes) and not areal.any():
        raise InputError(f"{path}: holds no polygons; give the outlines of the units")
    geographic = pyproj.CRS(crs).geodetic_crs
    pieces = shapely.segmentize(shapes, PIECE / _metres(pyproj.CRS(crs)))
    # far away the scene's projection may have no coordinates
    sides = [_beside(_moved(shapely.clip_by_rect(pieces, *box), crs, crs_name(grid)), grid) for box in near]
    here = np.asarray(sides[0] if len(sides) == 1 else shapely.union(*sides), object)
    inside = areal & np.asarray(shapely.intersects(shapely.envelope(here), _outline(grid)))
    if not inside.any():
        raise InputError(f"{path}: none of its units reaches into the scene; give the units of the region mapped")
    areas = [_ground_area(shape, geographic) for shape in _moved(pieces[inside], crs, geographic)]
    attributes = {str(name): column[inside] for name, column in zip(reads[0][0]["fields"], columns, strict=True)}
    return Units(here[inside], np.array(areas), attributes)


def write_areas(folder: Path, units: Units, entries: Sequence[Entry], config: AreasConfig | None = None) -> None:
    """Write ``areas.csv`` of the product in ``folder``: one row a unit, in the order of ``units``.

    The attributes of the unit come first, then ``unit_m2``, ``in_scene_m2``, ``observed_m2``, ``observed_share`` (of
    the whole unit, also where it reaches beyond the scene) and ``<class>_m2``. A pixel is in a unit where its centre
    is; units that overlap each count it.

    Raises:
        InputError: ``class.tif`` cannot be read.
        ProductError: the file cannot be written.
    """
    config = config or AreasConfig()
    path = folder / AREAS
    with open_raster(str(folder / CLASSES)) as source:
        grid = Header.of(source, str(folder / CLASSES)).grid
        ground = RunArea(grid)
        parts = _count(source, grid, units, ground, config)
    areas = parts * ground.unit
    keys = [entry.key for entry in entries]
    header = [
        *units.attributes,
        "unit_m2",
        "in_scene_m2",
        "observed_m2",
        "observed_share",
        *(f"{key}_m2" for key in keys),
    ]
    with explained(path), path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header)
        for number, (whole, by_code) in enumerate(zip(units.areas, areas, strict=True)):
            seen = float(by_code[:250].sum())
            sizes = [whole, float(by_code.sum()), seen]
            table.writerow(
                [_plain(column[number]) for column in units.attributes.values()]
                + [f"{size:.1f}" for size in sizes]
                + [f"{min(seen / whole, 1.0) if whole else 0.0:.4f}"]
                + [f"{by_code[entry.value]:.1f}" for entry in entries]
            )


def _count(source: Any, grid: GeoBox, units: Units, ground: RunArea, config: AreasConfig) -> NDArray[np.int64]:
    """Ground ``[N, 256]`` of each code in each unit, in units of ``ground``; by window."""
    total = np.zeros((len(units.shapes), 256), np.int64)
    tree = shapely.STRtree(units.shapes)
    for window in cut(source.shape, (config.window, config.window)):
        # a little more than the window, so that where a unit is cut off no centre of the window is near
        outline = _outline(grid, window.grow(2))
        near = np.sort(tree.query(outline))
        if not len(near):
            continue
        area = rasterio.windows.Window(window.col, window.row, window.width, window.height)
        codes = source.read(1, window=area)
        weights = ground.parts(window)
        for number in near:
            part = shapely.clip_by_rect(units.shapes[number], *outline.bounds)
            inner = _around(part, grid, window)
            if inner.height and inner.width:
                here = inner.slices((window.row, window.col))
                inside = rasterio.features.rasterize(
                    [part], out_shape=(inner.height, inner.width), transform=_corner(grid, inner), dtype="uint8"
                )
                chosen = inside.astype(np.bool_)
                # exact: sums of whole numbers stay below 2⁵³
                total[number] += np.bincount(codes[here][chosen], weights[here][chosen], 256).astype(np.int64)
    return total


def _around(shape: Any, grid: GeoBox, window: Window) -> Window:
    """The part of ``window`` that a shape on the CRS of ``grid`` lies in; of no size where there is none."""
    if shapely.is_empty(shape):
        return Window(window.row, window.col, 0, 0)
    inverse = ~grid.affine
    x, y = shapely.get_coordinates(shapely.envelope(shape)).T
    col, row = inverse.a * x + inverse.b * y + inverse.c, inverse.d * x + inverse.e * y + inverse.f
    top, left = int(np.floor(row.min())) - window.row, int(np.floor(col.min())) - window.col
    bottom, right = int(np.ceil(row.max())) - window.row, int(np.ceil(col.max())) - window.col
    inner = Window(top, left, bottom - top, right - left).clip((window.height, window.width))
    return Window(inner.row + window.row, inner.col + window.col, inner.height, inner.width)


def _corner(grid: GeoBox, window: Window) -> Affine:
    """The transform of a window of a grid."""
    affine, row, col = grid.affine, window.row, window.col
    x, y = affine.a * col + affine.b * row + affine.c, affine.d * col + affine.e * row + affine.f
    return Affine(affine.a, affine.b, x, affine.d, affine.e, y)


def _outline(grid: GeoBox, window: Window | None = None) -> Any:
    """The outline of a window of a grid, of the whole grid if not given, on its CRS."""
    window = window or Window(0, 0, int(grid.shape[0]), int(grid.shape[1]))
    corner = _corner(grid, window)
    h, w = window.height, window.width
    return shapely.Polygon(
        [(corner.a * c + corner.b * r + corner.c, corner.d * c + corner.e * r + corner.f)
         for r, c in ((0, 0), (h, 0), (h, w), (0, w))]
    )  # fmt: skip


Box: TypeAlias = tuple[float, float, float, float]
"""Left, bottom, right and top."""


def _near(grid: GeoBox, crs: str) -> list[Box]:
    """A box on another CRS that a grid lies in, with some room; two where it crosses the 180th meridian."""
    other = pyproj.CRS(crs)
    to_other = pyproj.Transformer.from_crs(crs_name(grid), other, always_xy=True)
    left, bottom, right, top = to_other.transform_bounds(*_outline(grid).bounds)
    if left > right:
        right += 360
    room = 0.05 * max(right - left, top - bottom)
    left, bottom, right, top = left - room, bottom - room, right + room, top + room
    if other.is_geographic and right > 180:
        return [(left, bottom, 180.0, top), (-180.0, bottom, right - 360, top)]
    if other.is_geographic and left < -180:
        return [(-180.0, bottom, right, top), (left + 360, bottom, 180.0, top)]
    return [(left, bottom, right, top)]


def _beside(shapes: NDArray[np.object_], grid: GeoBox) -> NDArray[np.object_]:
    """Shapes on the CRS of ``grid``, by whole turns to where it is: its degrees may go on beyond 180."""
    if not grid.crs.geographic:
        return shapes
    middle = shapely.centroid(_outline(grid)).x
    return np.asarray(
        shapely.transform(shapes, lambda xy: xy + np.stack([360 * np.rint((middle - xy[:, 0]) / 360), 0 * xy[:, 1]], 1))
    )


def _moved(shapes: NDArray[np.object_], source: Any, target: Any) -> Any:
    """``shapes`` on another CRS."""
    transformer = pyproj.Transformer.from_crs(source, target, always_xy=True)
    return shapely.transform(shapes, lambda xy: np.stack(transformer.transform(xy[:, 0], xy[:, 1]), axis=1))


def _metres(crs: pyproj.CRS) -> float:
    """About how many metres one unit of a CRS is."""
    factor = crs.axis_info[0].unit_conversion_factor
    return float(factor * 6_371_000 if crs.is_geographic else factor)


def _ground_area(shape: Any, crs: Any) -> float:
    """Area in m² on the ellipsoid of a polygon or several in degrees."""
    geod = crs.get_geod()
    parts = [shapely.geometry.polygon.orient(part) for part in shapely.get_parts(shape)]
    return float(sum(geod.geometry_area_perimeter(part)[0] for part in parts))


def _plain(value: Any) -> Any:
    """A cell of the table: empty for what is not there."""
    missing = value is None or (isinstance(value, float | np.floating) and np.isnan(value))
    return "" if missing else value
