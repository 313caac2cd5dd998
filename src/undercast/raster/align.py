"""How the bands of a file come onto the grid of a scene."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from odc.geo.geobox import GeoBox
from pyproj.exceptions import ProjError

from undercast.bands import Modality
from undercast.errors import InputError
from undercast.raster.geotiff import Header, pixel_in, same_grid
from undercast.raster.inputs import BandFile


@dataclass(frozen=True)
class Layer:
    """The bands of a role that one file holds, and how they come onto the scene's grid.

    ``numbers`` are the file's bands (from 1), ``channels`` where they go in the role's image. ``resampling`` is None
    where the file is on the scene's grid already.
    """

    header: Header
    numbers: tuple[int, ...]
    channels: tuple[int, ...]
    resampling: str | None


def fill_of(header: Header) -> float | None:
    """What the warper must not mix in: the declared value, else NaN where the file can hold it."""
    if header.nodata[0] is not None:
        return float(header.nodata[0])
    return float("nan") if header.dtypes[0].startswith("float") else None


def layers_of(bands: Sequence[BandFile], grid: GeoBox, modality: Modality) -> tuple[Layer, ...]:
    """The files of ``bands``, each with how it comes onto ``grid``. Raises InputError where one lies elsewhere."""
    layers = []
    for path in dict.fromkeys(item.header.path for item in bands):
        items = [item for item in bands if item.header.path == path]
        header = items[0].header
        for item in items:
            scale = header.scales[item.number - 1]
            if not scale or not math.isfinite(scale):
                raise InputError(
                    f"{path}: declares a scale of {scale:g} for band {item.band}, which leaves nothing of it; "
                    "set it right, for example gdal_edit.py -scale 0.01"
                )
        resampling = None
        if not same_grid(header.grid, grid):
            whole_pixels = _subset_of(header.grid, grid) or modality.unit == "percent"
            resampling = "nearest" if whole_pixels else "bilinear"
            if not _overlap(header, grid):
                raise InputError(f"{path}: does not overlap the scene it belongs to; give rasters of one place")
        numbers = tuple(item.number for item in items)
        layers.append(Layer(header, numbers, tuple(modality.bands.index(item.band) for item in items), resampling))
    return tuple(layers)


def _subset_of(other: GeoBox, grid: GeoBox) -> bool:
    """Whether the pixels of both grids coincide, so that alignment moves whole pixels only."""
    if other.crs != grid.crs:
        return False
    height, width = other.shape
    col, row = pixel_in(grid, other, 0, 0)
    col, row = round(col), round(row)
    return all(
        math.dist(pixel_in(grid, other, *corner), (corner[0] + col, corner[1] + row)) < 1e-3
        for corner in ((0, 0), (width, 0), (0, height))
    )


def _overlap(header: Header, grid: GeoBox) -> bool:
    try:
        return bool(header.grid.extent.to_crs(grid.crs).intersects(grid.extent))
    except ProjError as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{header.path}: cannot be brought into the CRS of the scene ({reason}); warp it") from None
