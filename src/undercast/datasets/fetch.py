"""Downloads a published data set over HTTPS: resumed where it stopped, checked against the server's own checksums.

Sen1Floods11 lies in a public bucket of Google Cloud Storage [Bonafilia 2020]. The bucket's listing gives size, MD5 and
CRC32C of every object. A file grows as ``NAME.part`` and takes its name only
when both fit, so a file with its final name is whole.
"""

import shutil
import threading
import urllib.parse
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from undercast.datasets.bucket import (
    FetchConfig,
    PassingError,
    RemoteFile,
    fits,
    listing,
    open_url,
    patiently,
    read_block,
    safe_path,
    size_of,
)
from undercast.errors import InputError

Part = Literal["hand", "weak", "splits"]

BUCKET = "sen1floods11"
# part → what the names of its objects begin with
PREFIXES: dict[Part, tuple[str, ...]] = {
    "hand": ("v1.1/data/flood_events/HandLabeled/",),
    "weak": ("v1.1/data/flood_events/WeaklyLabeled/",),
    "splits": ("v1.1/splits/flood_handlabeled/", "v1.1/Sen1Floods11_Metadata.geojson"),
}


@dataclass(frozen=True)
class Fetched:
    """What a download came to: files and bytes there are now, of which ``new_bytes`` came over the wire."""

    files: int
    bytes: int
    new_bytes: int


@dataclass(frozen=True)
class Watch:
    """Told as bytes come (less than none where a file must begin anew) and as files are whole."""

    total: Callable[[int, int], None] = lambda files, size: None
    came: Callable[[int], None] = lambda size: None
    finished: Callable[[str], None] = lambda name: None


def fetch_sen1floods11(
    folder: Path, parts: Sequence[Part], config: FetchConfig | None = None, watch: Watch | None = None
) -> Fetched:
    """Download ``parts`` into ``folder``, as ``folder/v1.1/…``; what is there and whole is left alone.

    Raises:
        InputError: the server cannot be reached, the disk is too small, or files failed; the rest is there then, and
            the same call goes on where this one stopped.
    """
    config, watch = config or FetchConfig(), watch or Watch()
    wanted = [remote for part in parts for prefix in PREFIXES[part] for remote in listing(BUCKET, prefix, config)]
    return Download(BUCKET, folder, config, watch).run(wanted)


class Download:
    """Brings objects of one bucket into a folder, several at once."""

    def __init__(self, bucket: str, folder: Path, config: FetchConfig, watch: Watch) -> None:
        self.bucket, self.folder, self.config, self.watch = bucket, folder, config, watch
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._new = 0

    def run(self, wanted: Sequence[RemoteFile]) -> Fetched:
        """Bring all of ``wanted``; one that fails stops no other. Raises InputError, at the end, where any failed."""
        size = sum(remote.size for remote in wanted)
        self._check_room(wanted)
        self.watch.total(len(wanted), size)
        failed: list[str] = []
        pool = ThreadPoolExecutor(self.config.connections)
        try:
            for future in [pool.submit(self._bring, remote) for remote in wanted]:
                try:
                    future.result()
                except InputError as error:
                    failed.append(str(error))
        finally:
            self._stop.set()
            pool.shutdown(cancel_futures=True)
        if failed:
            raise InputError(
                f"{len(failed)} of {len(wanted)} files failed, the first: {failed[0]}; run it again to go on from here"
            )
        return Fetched(len(wanted), size, self._new)

    def _bring(self, remote: RemoteFile) -> None:
        target = self.folder / safe_path(remote.name)
        if target.is_file() and fits(target, remote):
            self.watch.came(remote.size)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(target.name + ".part")
            url = f"{self.config.base_url}/{self.bucket}/{urllib.parse.quote(remote.name)}"
            if part.is_file():
                self.watch.came(part.stat().st_size)
            patiently(lambda: self._once(url, part, remote), url, self.config, self._stop, lambda: size_of(part))
            part.replace(target)
        self.watch.finished(remote.name)

    def _once(self, url: str, part: Path, remote: RemoteFile) -> None:
        """One connection: from where ``part`` ends to the end. Raises PassingError where the file is not whole then."""
        have = size_of(part)
        if have > remote.size:
            self._begin_anew(part)
            have = 0
        if have < remote.size or remote.size == 0:
            self._receive(url, part, have)
        have = size_of(part)
        if have < remote.size:
            raise PassingError(f"connection lost after {have} of {remote.size} bytes")
        if not fits(part, remote):
            self._begin_anew(part)
            raise PassingError("what came does not fit its checksum")

    def _receive(self, url: str, part: Path, have: int) -> None:
        with open_url(url, self.config.timeout, have) as answer:
            if have and not (answer.headers.get("Content-Range") or "").startswith(f"bytes {have}-"):
                self._begin_anew(part)  # a server that does not know ranges sends the whole again
            try:
                with part.open("ab") as file:
                    while block := read_block(answer):
                        if self._stop.is_set():
                            raise InputError(f"{part}: stopped")
                        file.write(block)
                        self._count(len(block))
            except OSError as error:
                raise InputError(f"{part}: cannot be written ({error.strerror}); make room") from None

    def _count(self, size: int) -> None:
        with self._lock:
            self._new += size
        self.watch.came(size)

    def _begin_anew(self, part: Path) -> None:
        self.watch.came(-size_of(part))
        part.unlink(missing_ok=True)

    def _check_room(self, wanted: Sequence[RemoteFile]) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.folder}: cannot be a folder ({error.strerror}); give another") from None
        paths = [(self.folder / safe_path(remote.name), remote.size) for remote in wanted]
        there = sum(size_of(path) or size_of(path.with_name(path.name + ".part")) for path, _ in paths)
        missing = sum(size for _, size in paths) - there
        if missing > (free := shutil.disk_usage(self.folder).free):
            raise InputError(f"{self.folder}: has {free / 1e9:.1f} GB free, {missing / 1e9:.1f} GB are to come")
