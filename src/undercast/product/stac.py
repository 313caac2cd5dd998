"""The STAC item of a product: ``item.json``, by which catalogues and GIS find it and tools check its files.

Written from the finished product alone, so the same product has the same item. STAC 1.1 with the extensions
projection, raster, classification, processing and file.
"""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyogrio
import pyproj
import pystac
import shapely
from odc.geo.geobox import GeoBox

from undercast.errors import ProductError
from undercast.product.area import ground_size
from undercast.product.areas import AREAS
from undercast.product.codes import Entry, input_entries
from undercast.product.polygons import POLYGONS
from undercast.product.priority import PRIORITY, PRIORITY_CSV
from undercast.product.record import digest, write_json
from undercast.product.write import CLASSES, INPUTS, LIKELIHOOD, QUICKLOOK, RECORD, RESTORED, SUMMARY
from undercast.raster.geotiff import Header, read_header
from undercast.task import NODATA

ITEM = "item.json"
SHA2_256 = "1220"
"""Multihash prefix: SHA2-256, 32 bytes."""
EXTENSIONS = [
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in ("projection/v2.0.0", "raster/v2.0.0", "classification/v2.0.0", "processing/v1.2.0", "file/v2.1.0")
]
UNDATED = (datetime(2014, 4, 3, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
"""When an image of unknown date may have been taken: since the launch of Sentinel-1A [ESA 2014], until no known end."""
TIMES = re.compile(r"(20\d{6}T\d{6})_(20\d{6}T\d{6})")
PIECES = 16
"""Pieces an edge is cut into before it goes to degrees, where it is a curve."""


class Kind(NamedTuple):
    """What a file of a product is to a catalogue."""

    key: str
    title: str
    media: str
    roles: tuple[str, ...]


COG = "image/tiff; application=geotiff; profile=cloud-optimized"
FILES = {
    CLASSES: Kind("class", "Classes", COG, ("data",)),
    f"{CLASSES}.aux.xml": Kind("class-names", "Names of the classes for GDAL", "application/xml", ("metadata",)),
    LIKELIHOOD: Kind("likelihood", "Likelihood, %", COG, ("data",)),
    INPUTS: Kind("inputs", "Images that were seen", COG, ("data",)),
    f"{INPUTS}.aux.xml": Kind("input-names", "Names of the sets of images for GDAL", "application/xml", ("metadata",)),
    RESTORED: Kind("restored", "Optical image as under a clear sky, restored by the model", COG, ("data",)),
    POLYGONS: Kind("polygons", "Polygons", "application/geopackage+sqlite3", ("data",)),
    PRIORITY: Kind("priority", "Cells by expected area", "application/geopackage+sqlite3", ("data",)),
    PRIORITY_CSV: Kind("priority-table", "Cells by expected area, as a table", "text/csv", ("data",)),
    AREAS: Kind("areas", "Areas by unit", "text/csv", ("data",)),
    SUMMARY: Kind("summary", "Summary", "application/json", ("metadata",)),
    RECORD: Kind("record", "How the map was made", "application/json", ("metadata",)),
    QUICKLOOK: Kind("quicklook", "Quicklook", "image/png", ("overview",)),
}


def write_item(folder: Path, entries: Sequence[Entry]) -> dict[str, Any]:
    """Write ``item.json`` of the product in ``folder``, whose other files are complete, and return it.

    The geometry is the convex hull of what was observed where ``polygons.gpkg`` tells, else the outline of the grid.
    The date is that of ``summary.json``; Sentinel-1 file names tell begin and end too. Where nobody knows it,
    ``datetime`` is null and the interval spans every date it may have.

    Raises:
        ProductError: ``summary.json`` or ``record.json`` is missing or damaged.
    """
    summary, record = _read(folder / SUMMARY), _read(folder / RECORD)
    header = read_header(folder / CLASSES)
    geometry, bbox = _on_globe(_observed(folder, header), header)
    when, properties = _time(summary, record)
    item = pystac.Item(
        id=re.sub(r"[^A-Za-z0-9_.-]+", "-", str(summary["scene"])).strip("-") or "scene",
        geometry=geometry,
        bbox=bbox,
        datetime=when,
        properties=properties | _platform(record) | _projection(header.grid) | _processing(summary, record),
        stac_extensions=list(EXTENSIONS),
    )
    legends = {CLASSES: entries, INPUTS: input_entries(list(summary.get("inputs", {}).get("bits", ())))}
    for name, kind in FILES.items():
        if (folder / name).is_file():
            asset = pystac.Asset(f"./{name}", title=kind.title, media_type=kind.media, roles=list(kind.roles))
            asset.extra_fields = _file(folder / name)
            if kind.media == COG:
                asset.extra_fields["bands"] = _bands(folder / name, legends.get(name, ()))
            item.add_asset(kind.key, asset)
    body: dict[str, Any] = item.to_dict(include_self_link=False, transform_hrefs=False)
    write_json(body, folder / ITEM)
    return body


def multihash(path: Path) -> str:
    """SHA2-256 of a file as a multihash, hexadecimal, as ``file:checksum`` wants it. Raises ProductError if missing."""
    found = digest(path)
    if found is None:
        raise ProductError(f"{path}: is missing; map the scene again")
    return SHA2_256 + found


def _read(path: Path) -> dict[str, Any]:
    try:
        body: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        raise ProductError(f"{path}: is missing or damaged; map the scene again") from None
    return body


def _file(path: Path) -> dict[str, Any]:
    return {"file:size": path.stat().st_size, "file:checksum": multihash(path)}


def _bands(path: Path, legend: Sequence[Entry]) -> list[dict[str, Any]]:
    """The bands of a layer, with the classes of ``legend`` where it has any."""
    header = read_header(path)
    band: dict[str, Any] = {
        "data_type": header.dtypes[0],
        "nodata": "nan" if header.dtypes[0] == "float32" else NODATA,
        "raster:sampling": "area",
        "raster:spatial_resolution": round(float(np.mean(ground_size(header.grid))), 3),
    }
    if path.name == LIKELIHOOD:
        band["unit"] = "%"
    if legend:
        band["classification:classes"] = [_class(entry) for entry in legend]
    names = header.descriptions if header.count > 1 else (path.stem,)
    return [{"name": name, **band} for name in names]


def _class(entry: Entry) -> dict[str, Any]:
    return {
        "value": entry.value,
        "name": entry.key,
        "title": entry.name,
        "color_hint": entry.color[1:].upper(),
        **({"nodata": True} if entry.value == NODATA else {}),
    }


def _time(summary: dict[str, Any], record: dict[str, Any]) -> tuple[datetime | None, dict[str, Any]]:
    """The item's ``datetime`` and the properties that go with it."""
    acquired = summary.get("acquired")
    for item in record.get("inputs", ())[:1] if acquired else ():
        if match := TIMES.search(str(item["file"])):
            begin, end = (datetime.strptime(text, "%Y%m%dT%H%M%S").replace(tzinfo=UTC) for text in match.groups())
            if begin <= end:
                return begin, {"start_datetime": _text(begin), "end_datetime": _text(end)}
    if acquired:
        return datetime.fromisoformat(acquired), {}
    return None, {"start_datetime": _text(UNDATED[0]), "end_datetime": _text(UNDATED[1])}


def _text(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def _platform(record: dict[str, Any]) -> dict[str, Any]:
    """The satellite, where the file's name begins with it as Sentinel-1 names do."""
    for item in record.get("inputs", ())[:1]:
        if match := re.match(r"S1([A-D])_", str(item["file"])):
            name = f"sentinel-1{match[1].lower()}"
            return {"platform": name, "constellation": "sentinel-1", "instruments": ["c-sar"]}
    return {}


def _projection(grid: GeoBox) -> dict[str, Any]:
    affine, height, width = grid.affine, int(grid.shape[0]), int(grid.shape[1])
    corners = _outline(grid)
    fields: dict[str, Any] = {"proj:code": f"EPSG:{grid.crs.epsg}" if grid.crs.epsg else None}
    if not grid.crs.epsg:
        fields["proj:wkt2"] = grid.crs.wkt
    return fields | {
        "proj:shape": [height, width],
        "proj:transform": [float(number) for number in tuple(affine)[:6]],
        "proj:bbox": [float(number) for number in corners.bounds],
    }


def _processing(summary: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    model = summary["model"]
    roles = ", ".join(dict.fromkeys(str(item["role"]) for item in record["inputs"]))
    fields = {
        "description": summary.get("sentence") or f"Map of {summary['task']}",
        "processing:level": "L3",
        "processing:lineage": f"Task {summary['task']}, mapped by {model['name']} {model['version']} from {roles}.",
        "processing:software": {name: str(version) for name, version in record["versions"].items()},
        "undercast:observed_share": summary["observed_share"],
    }
    return fields | ({"undercast:verdict": summary["verdict"]} if "verdict" in summary else {})


def _outline(grid: GeoBox) -> Any:
    affine, height, width = grid.affine, int(grid.shape[0]), int(grid.shape[1])
    corners = ((0, 0), (height, 0), (height, width), (0, width))
    return shapely.Polygon(
        [(affine.a * c + affine.b * r + affine.c, affine.d * c + affine.e * r + affine.f) for r, c in corners]
    )


def _observed(folder: Path, header: Header) -> Any:
    """What was observed, on the product's CRS, without holes and bays."""
    if (folder / POLYGONS).is_file():
        shapes = shapely.from_wkb(pyogrio.raw.read(folder / POLYGONS, layer="footprint")[2])
        if len(shapes):
            return shapely.convex_hull(shapely.geometrycollections(shapes))
    return _outline(header.grid)


def _on_globe(shape: Any, header: Header) -> tuple[dict[str, Any], list[float]]:
    """A polygon as GeoJSON in degrees, and its box; cut in two where it crosses the 180th meridian [RFC 7946]."""
    to_degrees = pyproj.Transformer.from_crs(header.grid.crs.wkt, "OGC:CRS84", always_xy=True)
    fine = shapely.segmentize(shape, shape.length / (4 * PIECES))
    lon, lat = to_degrees.transform(*shapely.get_coordinates(fine).T)
    crosses = lon.max() - lon.min() > 180
    lon = np.where(crosses & (lon < 0), lon + 360, lon)
    degrees = shapely.geometry.polygon.orient(shapely.Polygon(np.round(np.stack([lon, lat], axis=1), 6)))
    left, bottom, right, top = degrees.bounds
    if crosses:
        west, east = shapely.clip_by_rect(degrees, 0, -90, 180, 90), shapely.clip_by_rect(degrees, 180, -90, 360, 90)
        east = shapely.transform(east, lambda xy: xy - np.array([360.0, 0.0]))
        degrees, right = shapely.MultiPolygon([west, east]), right - 360
    geometry: dict[str, Any] = json.loads(shapely.to_geojson(degrees))
    return geometry, [float(left), float(bottom), float(right), float(top)]
