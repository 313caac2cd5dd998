"""A product on disk: a folder that appears only when everything in it is complete."""

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from undercast.errors import ProductError

CLASSES, LIKELIHOOD, INPUTS, RESTORED, SUMMARY, QUICKLOOK, RECORD = (
    "class.tif",
    "likelihood.tif",
    "inputs.tif",
    "restored.tif",
    "summary.json",
    "quicklook.png",
    "record.json",
)
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
