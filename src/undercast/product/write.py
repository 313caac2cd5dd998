"""A product on disk: layers written by window beside the target, and a folder that appears only when complete."""

import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from xml.sax.saxutils import escape

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from undercast.errors import ProductError
from undercast.product.codes import Entry
from undercast.raster.windows import Window, cut
from undercast.task import NODATA

CLASSES, LIKELIHOOD, SUMMARY, QUICKLOOK, RECORD = (
    "class.tif",
    "likelihood.tif",
    "summary.json",
    "quicklook.png",
    "record.json",
)
BLOCK = 512
LEVEL = 1
"""Of deflate: files 5 % larger than at 6, in half the time."""
LOCK_WAIT = 2.0
"""Seconds to wait for another process to let go of a folder."""


class ProductWriter:
    """A folder that takes its final name only when everything in it is complete.

    As a context manager: files go into :attr:`aside`, next to ``folder``; leaving the block renames it, an exception
    removes it, and one of the disk or GDAL becomes a ProductError. A killed process leaves only ``.NAME.unfinished``,
    which the next map of that name clears away, and the file :attr:`kept`, from which it may go on.

    Raises:
        ProductError: the folder exists and ``overwrite`` is not set, is no product, or cannot be written.
    """

    def __init__(self, folder: Path, *, overwrite: bool = False) -> None:
        self.folder = folder
        self.aside = folder.parent / f".{folder.name}.unfinished"
        self.kept = folder.parent / f".{folder.name}.blocks"
        self._overwrite = overwrite
        self._lock: IO[str] | None = None

    def __enter__(self) -> "ProductWriter":
        _check_target(self.folder, self._overwrite)
        with explained(self.folder):
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            self._lock = (self.folder.parent / f".{self.folder.name}.lock").open("w")
            try:
                _lock(self._lock)
            except BlockingIOError:
                self._lock.close()
                raise ProductError(f"{self.folder}: another map is being written there; wait for it") from None
            try:
                _check_target(self.folder, self._overwrite)  # again: another map may have finished meanwhile
            except ProductError:
                self._lock.close()
                raise
            shutil.rmtree(self.aside, ignore_errors=True)
            self.aside.mkdir()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        try:
            with explained(self.folder):
                if error is None:
                    self._publish()
                elif isinstance(error, (RasterioError, CPLE_BaseError, OSError)):
                    raise error
        finally:
            shutil.rmtree(self.aside, ignore_errors=True)
            if self._lock:
                self.kept.unlink(missing_ok=True)
                Path(self._lock.name).unlink(missing_ok=True)
                self._lock.close()

    def _publish(self) -> None:
        """Give the folder its name; what was there before goes only once the new one is in place."""
        old = self.folder.parent / f".{self.folder.name}.old"
        if self.folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            os.replace(self.folder, old)
        os.replace(self.aside, self.folder)
        shutil.rmtree(old, ignore_errors=True)


class LayerWriter:
    """One uint8 layer inside a :class:`ProductWriter`: written by window, then made a cloud-optimised GeoTIFF.

    ``overviews`` is how they are made: ``mode`` for classes, ``average`` for numbers. ``entries`` give the colour table
    and the names of classes.
    """

    def __init__(
        self,
        path: Path,
        grid: GeoBox,
        *,
        description: str,
        overviews: str,
        entries: tuple[Entry, ...] = (),
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self.path = path
        self._overviews = overviews
        self._entries = entries
        self._sums = np.zeros(int(grid.shape[0]), np.int64)
        self.working = path.with_name(f"{path.stem}.working.tif")
        """The layer as it is written, which may be read between :meth:`close` and :meth:`discard`."""
        height, width = int(grid.shape[0]), int(grid.shape[1])
        self._target: Any = rasterio.open(
            self.working, "w", driver="GTiff", count=1, dtype="uint8", height=height, width=width,
            crs=str(grid.crs), transform=grid.affine, nodata=NODATA, bigtiff="IF_SAFER",
            tiled=True, blockxsize=BLOCK, blockysize=BLOCK,
        )  # fmt: skip
        self._target.set_band_description(1, description)
        self._target.update_tags(**(tags or {}))
        if entries:
            self._target.write_colormap(1, _colours(entries))

    def write(self, window: Window, values: NDArray[np.uint8]) -> None:
        """Write ``values`` ``[h, w]`` uint8 at ``window``."""
        area = rasterio.windows.Window(window.col, window.row, window.width, window.height)
        self._target.write(values, 1, window=area)
        self._sums[window.row : window.row + window.height] += values.sum(axis=1, dtype=np.uint32)

    def close(self) -> None:
        """Everything is written: the working file can be read."""
        self._target.close()

    def finish(self) -> None:
        """Write the cloud-optimised file and read it back: it must hold what was written.

        Raises:
            ProductError: it does not.
        """
        self.close()
        rasterio.shutil.copy(
            self.working, self.path, driver="COG", compress="DEFLATE", level=LEVEL, blocksize=BLOCK,
            overview_resampling=self._overviews, bigtiff="IF_SAFER", num_threads="ALL_CPUS",
        )  # fmt: skip
        if self._entries:
            self.path.with_name(f"{self.path.name}.aux.xml").write_text(_names(self._entries), "utf-8")
        sums = np.zeros_like(self._sums)
        with rasterio.open(self.path) as source:
            for window in cut(source.shape, (BLOCK, 16 * BLOCK)):
                area = rasterio.windows.Window(window.col, window.row, window.width, window.height)
                rows = slice(window.row, window.row + window.height)
                sums[rows] += source.read(1, window=area).sum(axis=1, dtype=np.uint32)
        if not np.array_equal(sums, self._sums):
            raise ProductError(f"{self.path.name}: does not read back as it was written; check the disk")

    def discard(self) -> None:
        """Remove the working file: the finished one has taken its place."""
        self.working.unlink()

    def abandon(self) -> None:
        """Close the working file; whatever it could not write no longer matters."""
        try:
            self._target.close()
        except (RasterioError, CPLE_BaseError, OSError):
            return


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns what the disk or GDAL answers into a ProductError that names ``path`` and says what to do."""
    try:
        yield
    except (RasterioError, CPLE_BaseError, OSError) as error:
        reason = " ".join(str(getattr(error, "strerror", "") or error.__cause__ or error).split())[:160]
        free = _free_bytes(path)
        if free is not None and free < 2**20:
            reason = f"the disk is full, {free / 1024:.0f} KiB are left"
        raise ProductError(f"{path}: cannot be written ({reason}); free some space or choose another folder") from None


def _lock(file: IO[str]) -> None:
    """Hold ``file`` for this process until it ends. Raises BlockingIOError where another holds it."""
    if sys.platform != "win32":
        import fcntl

        # the kernel frees the lock of a killed process a moment after the process is gone
        until = time.monotonic() + LOCK_WAIT
        while True:
            try:
                return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)


def _free_bytes(path: Path) -> int | None:
    for folder in (path, *path.parents):
        if folder.is_dir():
            return shutil.disk_usage(folder).free
    return None


def _check_target(folder: Path, overwrite: bool) -> None:
    if not folder.exists() and not folder.is_symlink():
        return
    if not overwrite:
        raise ProductError(f"{folder}: exists already; choose another folder or say --overwrite")
    if not (folder / SUMMARY).is_file() or folder.is_symlink():
        raise ProductError(f"{folder}: is no product of undercast, so it is not overwritten; choose another folder")


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
