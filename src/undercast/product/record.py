"""How a map was made: versions, model, inputs and parameters. Not when or where: the same map has the same record."""

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import rasterio
from odc.geo.geobox import GeoBox

from undercast.raster.scene import Scene

PACKAGES = ("undercast", "openvino", "rasterio", "numpy", "odc-geo")


def digest(path: str | Path) -> str | None:
    """sha256 of a local file, hexadecimal; None for what is no local file (``/vsi…``, URLs)."""
    file = Path(path)
    if not file.is_file():
        return None
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def crs_name(grid: GeoBox) -> str:
    """The CRS of a grid as ``EPSG:…``, as WKT where it has no such number."""
    return f"EPSG:{grid.crs.epsg}" if grid.crs.epsg else str(grid.crs)


def versions() -> dict[str, str]:
    """Versions of everything that a map's bytes may depend on."""
    return {name: version(name) for name in PACKAGES} | {"gdal": rasterio.__gdal_version__}


def describe_inputs(scene: Scene, digests: dict[str, str | None]) -> list[dict[str, Any]]:
    """One entry a band of every role: which file and band, in what unit, and how it came onto the grid."""
    entries = []
    for role, image in scene.images.items():
        resampling = {layer.header.path: layer.resampling for layer in image.layers}
        for item in image.bands:
            nodata = item.header.nodata[item.number - 1]
            entries.append(
                {
                    "role": role,
                    "band": item.band,
                    "file": Path(item.header.path).name,
                    "number": item.number,
                    "found": item.why,
                    "unit": image.unit,
                    "unit_evidence": image.why_unit,
                    "nodata": None if nodata is None else repr(nodata),
                    "aligned_by": resampling[item.header.path],
                    "sha256": digests.get(item.header.path),
                }
            )
    return entries


def write_json(body: dict[str, Any], path: Path) -> None:
    """``body`` as JSON, indented, the same bytes for the same body."""
    path.write_text(json.dumps(body, indent=2, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
