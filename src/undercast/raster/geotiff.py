"""Whole small rasters: written with their grid, read back, and the header that tells what a file is."""

import math
import os
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import rasterio
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError, RasterioIOError

from undercast.errors import InputError, ProductError
from undercast.raster.windows import Window

Grid: TypeAlias = GeoBox | tuple[str, tuple[float, float, float, float, float, float]]
"""Where pixels are: a GeoBox, or a CRS with the transform a, b, c, d, e, f."""


@dataclass(frozen=True)
class Header:
    """What a raster file says of itself; ``nodata`` is one value a band, None where none is declared."""

    path: str
    shape: tuple[int, int]
    dtypes: tuple[str, ...]
    descriptions: tuple[str, ...]
    nodata: tuple[float | None, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    masked: bool
    crs: Any
    transform: Affine
    control_points: bool
    tags: Mapping[str, str]

    @property
    def count(self) -> int:
        """Number of bands."""
        return len(self.dtypes)

    @property
    def grid(self) -> GeoBox:
        """Where the pixels are; any affine transform, south-up and rotated ones too.

        Raises:
            InputError: the file has no CRS or no sound transform; the message says how to give it one.
        """
        if self.crs is None or self.transform == Affine.identity():
            if self.control_points:
                raise InputError(
                    f"{self.path}: has ground control points and no map grid; terrain-correct it first (SNAP, pyroSAR)"
                )
            raise InputError(
                f"{self.path}: has no {'CRS' if self.crs is None else 'geotransform'}, so the map would lie nowhere; "
                "give it one, for example gdal_edit.py -a_srs EPSG:32631 -a_ullr ULX ULY LRX LRY FILE"
            )
        if not all(map(math.isfinite, self.transform[:6])) or not self.transform.determinant:
            raise InputError(
                f"{self.path}: has a geotransform by which its pixels cover no ground; "
                "give it a sound one, for example gdal_edit.py -a_ullr ULX ULY LRX LRY FILE"
            )
        return GeoBox(self.shape, self.transform, self.crs)

    @property
    def acquired(self) -> datetime | None:
        """When the image was taken, from its tags or its name (``20190912T060125``); None where neither says."""
        texts = [self.tags.get(key, "") for key in ("ACQUISITION_DATETIME", "TIFFTAG_DATETIME")]
        for text in (*texts, Path(self.path).name):
            if match := re.search(r"(20\d\d)[-:]?([01]\d)[-:]?([0-3]\d)[T _]([0-2]\d):?([0-5]\d):?([0-5]\d)", text):
                try:
                    year, month, day, hour, minute, second = (int(part) for part in match.groups())
                    return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
                except ValueError:
                    continue
        return None

    @classmethod
    def of(cls, source: Any, path: str) -> "Header":
        """The header of an open rasterio data set."""
        return cls(
            path=path,
            shape=source.shape,
            dtypes=tuple(source.dtypes),
            descriptions=tuple(text or "" for text in source.descriptions),
            nodata=tuple(source.nodatavals),
            scales=tuple(source.scales),
            offsets=tuple(source.offsets),
            masked=any(MaskFlags.per_dataset in flags for flags in source.mask_flag_enums),
            crs=source.crs,
            transform=source.transform,
            control_points=bool(source.gcps[0]),
            tags=source.tags(),
        )


def open_raster(path: str) -> Any:
    """An open rasterio data set. Raises InputError where GDAL cannot; the message names the file and the reason."""
    if not path:
        raise InputError("an input is empty; give the path of a raster")
    local = "://" not in path and not path.startswith("/vsi")
    if local and not Path(path).exists():
        raise InputError(f"{path}: no such file")
    if local and Path(path).is_dir() and not any((Path(path) / name).exists() for name in ("manifest.safe",)):
        raise InputError(f"{path}: is a folder; give the raster files in it")
    try:
        return rasterio.open(path)
    except RasterioError as error:
        reason = " ".join(str(error).split()).removeprefix(f"'{path}' ")
        raise InputError(f"{path}: is no raster that can be read ({reason[:160]})") from None


def read_header(path: str | Path) -> Header:
    """The header of the raster at ``path``. Raises InputError."""
    with open_raster(str(path)) as source:
        return Header.of(source, str(path))


def read_array(path: str | Path, window: Window | None = None) -> tuple[NDArray[Any], Header]:
    """A raster ``[C, H, W]`` in its own dtype and unit, and its header; nothing is masked or scaled.

    The whole of it, or ``window``, which must lie inside.

    Raises:
        InputError: the file is missing, no raster, or damaged.
    """
    area = window and rasterio.windows.Window(window.col, window.row, window.width, window.height)
    with open_raster(str(path)) as source:
        try:
            return source.read(window=area), Header.of(source, str(path))
        except RasterioIOError:
            raise InputError(f"{path}: is truncated or damaged; copy or download it again") from None


def write_raster(
    path: str | Path,
    array: NDArray[Any],
    grid: Grid,
    *,
    nodata: float | None = None,
    descriptions: Sequence[str] = (),
    tags: Mapping[str, str] | None = None,
) -> None:
    """Write ``array`` (``[H, W]`` or ``[C, H, W]``) as a tiled, compressed GeoTIFF that appears only when complete.

    Raises:
        ProductError: the file cannot be written, for example because the disk is full.
    """
    path = Path(path)
    bands = array[None] if array.ndim == 2 else array
    crs, transform = (str(grid.crs), grid.affine) if isinstance(grid, GeoBox) else (grid[0], Affine(*grid[1]))
    options = {"blockxsize": 256, "blockysize": 256} if min(bands.shape[1:]) >= 256 else {}
    aside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tif")
    try:
        with rasterio.open(
            aside, "w", driver="GTiff", count=bands.shape[0], height=bands.shape[1], width=bands.shape[2],
            dtype=bands.dtype, crs=crs, transform=transform, nodata=nodata, tiled=bool(options), **options,
            compress="deflate", zlevel=6, predictor=3 if bands.dtype.kind == "f" else 2, bigtiff="IF_SAFER",
        ) as target:  # fmt: skip
            target.write(bands)
            for number, text in enumerate(descriptions, start=1):
                target.set_band_description(number, text)
            target.update_tags(**(tags or {}))
        os.replace(aside, path)
    except (RasterioError, OSError) as error:
        raise ProductError(f"{path}: cannot be written ({' '.join(str(error).split())})") from None
    finally:
        aside.unlink(missing_ok=True)


def same_grid(one: GeoBox, other: GeoBox) -> bool:
    """Whether two grids have the same size and CRS, and pixels that lie within a thousandth of a pixel."""
    if one.shape != other.shape or one.crs != other.crs:
        return False
    height, width = one.shape
    corners = ((0, 0), (width, 0), (0, height))
    return all(math.dist(pixel_in(one, other, *corner), corner) < 1e-3 for corner in corners)


def locate(affine: Affine, col: float, row: float) -> tuple[float, float]:
    """Where a pixel position lies on the ground: x and y. (Affine's own product differs between its versions.)"""
    return affine.a * col + affine.b * row + affine.c, affine.d * col + affine.e * row + affine.f


def pixel_in(grid: GeoBox, other: GeoBox, col: float, row: float) -> tuple[float, float]:
    """Column and row in ``grid`` of a pixel position of ``other``, both in one CRS."""
    return locate(~grid.affine, *locate(other.affine, col, row))
