"""One raster of a product: taken in from the top down, and cloud-optimised without a second pass over its pixels."""

import zlib
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from undercast.errors import ProductError
from undercast.product.codes import Entry
from undercast.product.overviews import Halving, halve
from undercast.product.tiff import join
from undercast.raster.windows import Window, cut
from undercast.task import NODATA

BLOCK = 512
"""Rows and columns of a tile; a layer of no more has no overviews."""
LEVEL = 1
"""Of deflate: files 5 % larger than at 6, in a fifth of the time."""


class Strips:
    """Blocks that come row by row, put together to strips of whole rows, ``BLOCK`` of them each; the last has fewer."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self._shape = shape
        self._row = 0
        self._held: dict[str, NDArray[Any]] = {}

    def put(
        self, window: Window, arrays: Mapping[str, NDArray[Any]]
    ) -> Generator[tuple[int, dict[str, NDArray[Any]]], None, None]:
        """Take in the block ``[..., h, w]`` by name at ``window``, and give the strips that are complete with it.

        A strip is its first row and its arrays ``[..., BLOCK, W]`` by name.
        """
        height, width = self._shape
        top = window.row - self._row
        for name, array in arrays.items():
            held = self._held.get(name)
            if held is None or held.shape[-2] < top + window.height:
                grown = np.empty((*array.shape[:-2], top + window.height, width), array.dtype)
                if held is not None:
                    grown[..., : held.shape[-2], :] = held
                self._held[name] = held = grown
            held[..., top : top + window.height, window.col : window.col + window.width] = array
        if window.col + window.width < width:
            return
        bottom = window.row + window.height
        while self._row < bottom and (bottom - self._row >= BLOCK or bottom == height):
            rows = min(BLOCK, bottom - self._row)
            yield self._row, {name: held[..., :rows, :] for name, held in self._held.items()}
            self._row += rows
            self._held = {name: held[..., rows:, :] for name, held in self._held.items()}


class LayerWriter:
    """One layer inside a ``ProductWriter``: written from the top down, then made a cloud-optimised GeoTIFF.

    ``overviews`` is how they are made: ``mode`` for classes, ``average`` for numbers. ``entries`` give the colour table
    and the names of classes. A layer of several ``bands`` (a description each) takes ``[C, h, w]``; of floating point
    it has NaN for nodata, else 255.
    """

    def __init__(
        self,
        path: Path,
        grid: GeoBox,
        *,
        description: str | tuple[str, ...],
        overviews: Halving,
        entries: tuple[Entry, ...] = (),
        tags: Mapping[str, str] | None = None,
        dtype: str = "uint8",
    ) -> None:
        self.path = path
        self._entries = entries
        self._checks: list[int] = []
        shape = int(grid.shape[0]), int(grid.shape[1])
        bands = (description,) if isinstance(description, str) else description
        self._levels = [_Level(path.with_name(f"{path.stem}.0.working.tif"), shape, len(bands), dtype, entries, grid)]
        self._levels[0].describe(bands, tags or {})
        while max(shape) > BLOCK:
            shape = -(-shape[0] // 2), -(-shape[1] // 2)
            working = path.with_name(f"{path.stem}.{len(self._levels)}.working.tif")
            self._levels.append(_Level(working, shape, len(bands), dtype, entries, grid))
            self._levels[-2].feeds(self._levels[-1], overviews)

    def write(self, rows: NDArray[Any]) -> None:
        """Write the next rows, ``[h, W]`` or ``[C, h, W]``: ``BLOCK`` of them, or the last."""
        self._checks.append(zlib.crc32(np.ascontiguousarray(rows).data))
        self._levels[0].take(rows if rows.ndim == 3 else rows[None])

    def finish(self) -> None:
        """Write the cloud-optimised file."""
        for level in self._levels:
            level.close()
        join(self.path, [level.path for level in self._levels])
        for level in self._levels:
            level.path.unlink()
        if self._entries:
            self.path.with_name(f"{self.path.name}.aux.xml").write_text(_names(self._entries), "utf-8")

    def check(self) -> None:
        """Read the finished file back: it must hold what was written.

        Raises:
            ProductError: it does not.
        """
        with rasterio.open(self.path) as source:
            strips = cut(source.shape, (BLOCK, source.width))
            found = [zlib.crc32(source.read(window=_rasterio_window(strip))) for strip in strips]
        if found != self._checks:
            raise ProductError(f"{self.path.name}: does not read back as it was written; check the disk")

    def abandon(self) -> None:
        """Close the working files; whatever they could not write no longer matters."""
        for level in self._levels:
            try:
                level.close()
            except (RasterioError, CPLE_BaseError, OSError):
                continue


class _Level:
    """The image of a layer or one of its overviews, a tiled GeoTIFF in the making, which makes the next smaller one."""

    def __init__(
        self,
        path: Path,
        shape: tuple[int, int],
        bands: int,
        dtype: str,
        entries: tuple[Entry, ...],
        grid: GeoBox,
    ) -> None:
        self.path = path
        self._shape = shape
        self._row = 0
        self._waiting: list[NDArray[Any]] = []
        self._next: tuple[_Level, Halving] | None = None
        whole = np.dtype(dtype).kind != "f"
        self._target: Any = rasterio.open(
            path, "w", driver="GTiff", count=bands, dtype=dtype, height=shape[0], width=shape[1],
            nodata=NODATA if whole else np.nan, bigtiff="IF_SAFER", tiled=True, blockxsize=BLOCK, blockysize=BLOCK,
            interleave="pixel", compress="DEFLATE", zlevel=LEVEL, predictor=1 if whole else 3, endianness="LITTLE",
            crs=str(grid.crs), transform=grid.affine,
        )  # fmt: skip
        if entries:
            self._target.write_colormap(1, _colours(entries))

    def describe(self, bands: tuple[str, ...], tags: Mapping[str, str]) -> None:
        """Say what the bands are, and what else is to be known."""
        for number, text in enumerate(bands, start=1):
            self._target.set_band_description(number, text)
        self._target.update_tags(**tags)

    def feeds(self, other: "_Level", how: Halving) -> None:
        """Let ``other`` be the level of half the size."""
        self._next = other, how

    def take(self, rows: NDArray[Any]) -> None:
        """Take the next rows ``[C, h, w]``; they are written by whole tiles, so that each is compressed once."""
        self._waiting.append(rows)
        have = sum(part.shape[1] for part in self._waiting)
        if have < BLOCK and self._row + have < self._shape[0]:
            return
        strip = np.concatenate(self._waiting, axis=1) if len(self._waiting) > 1 else rows
        self._target.write(strip, window=rasterio.windows.Window(0, self._row, self._shape[1], have))
        self._row += have
        self._waiting.clear()
        if self._next:
            level, how = self._next
            level.take(halve(strip, how))

    def close(self) -> None:
        self._target.close()


def _rasterio_window(window: Window) -> Any:
    return rasterio.windows.Window(window.col, window.row, window.width, window.height)


def _colours(entries: tuple[Entry, ...]) -> dict[int, tuple[int, int, int, int]]:
    table = dict.fromkeys(range(256), (0, 0, 0, 255))
    table.update({entry.value: (*entry.rgb, 0 if entry.value == NODATA else 255) for entry in entries})
    return table


def _names(entries: tuple[Entry, ...]) -> str:
    """Category names, as GDAL keeps them beside a GeoTIFF (it has no place for them inside)."""
    names = {entry.value: entry.name for entry in entries}
    lines = "".join(f"      <Category>{escape(names.get(value, ''))}</Category>\n" for value in range(256))
    return (
        '<PAMDataset>\n  <PAMRasterBand band="1">\n    <CategoryNames>\n'
        f"{lines}    </CategoryNames>\n  </PAMRasterBand>\n</PAMDataset>\n"
    )
