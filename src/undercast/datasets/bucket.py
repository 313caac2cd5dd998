"""Objects of a public Google Cloud Storage bucket over HTTPS: listed, opened, and checked.

The listing gives size, MD5 and CRC32C of every object; an object uploaded in parts has no MD5.
"""

import base64
import hashlib
import http.client
import json
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from pydantic import Field

from undercast.config import Settings
from undercast.errors import InputError

T = TypeVar("T")

BLOCK = 1 << 18
PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Statuses a server gives when it is busy: worth another try. Every other one is final."""
LOST = (OSError, http.client.HTTPException)
"""What a lost connection looks like; ``URLError`` and ``TimeoutError`` are kinds of OSError."""


class FetchConfig(Settings):
    """How to download."""

    base_url: str = Field(default="https://storage.googleapis.com", description="server of the bucket, or its mirror")
    connections: int = Field(default=4, ge=1, le=32, description="files at once")
    attempts: int = Field(default=6, ge=1, description="tries of a file, in a row, that bring no byte further")
    timeout: float = Field(default=30.0, gt=0, description="seconds without a byte: the connection is lost")
    pause: float = Field(default=0.5, ge=0, description="seconds before the second try, then doubled up to 30")


@dataclass(frozen=True)
class RemoteFile:
    """An object of the bucket; ``md5`` is hexadecimal, either checksum may be missing."""

    name: str
    size: int
    md5: str | None
    crc32c: int | None


class PassingError(Exception):
    """Something that may go better the next time."""


def listing(bucket: str, prefix: str, config: FetchConfig) -> list[RemoteFile]:
    """The objects of ``bucket`` whose names begin with ``prefix``. Raises InputError where there are none."""
    found: list[RemoteFile] = []
    page = ""
    while True:
        query = {"prefix": prefix, "fields": "items(name,size,md5Hash,crc32c),nextPageToken"}
        query |= {"pageToken": page} if page else {}
        url = f"{config.base_url}/storage/v1/b/{bucket}/o?{urllib.parse.urlencode(query)}"
        answer = patiently(partial(_read_json, url, config), url, config, threading.Event())
        try:
            found += [_remote_file(item) for item in answer.get("items", []) if not item["name"].endswith("/")]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{url}: is no listing of a bucket ({error!r}); check --base-url") from None
        page = answer.get("nextPageToken", "")
        if not page:
            break
    if not found:
        raise InputError(f"{config.base_url}/{bucket}: holds nothing under {prefix}; check --base-url")
    return found


def patiently(
    attempt: Callable[[], T],
    url: str,
    config: FetchConfig,
    stop: threading.Event,
    reached: Callable[[], int] = lambda: 0,
) -> T:
    """``attempt``, again and again with growing pauses, until it works or has come no further ``attempts`` times."""
    failures, furthest = 0, reached()
    while True:
        try:
            return attempt()
        except PassingError as error:
            now = reached()
            failures, furthest = (0 if now > furthest else failures + 1), max(now, furthest)
            if failures >= config.attempts:
                raise InputError(f"{url}: {error}, {failures} times in a row; try again later") from None
            if stop.wait(min(30.0, config.pause * 2 ** max(0, failures - 1))):
                raise InputError(f"{url}: stopped") from None


def open_url(url: str, timeout: float, start: int = 0) -> http.client.HTTPResponse:
    """What lies at ``url`` from byte ``start`` on. Raises PassingError where another try may help, else InputError."""
    try:
        request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
        answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=timeout)
        return answer
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in PASSING:
            raise PassingError(f"the server answers {error.code} {error.reason}") from None
        raise InputError(f"{url}: the server answers {error.code} {error.reason}") from None
    except ValueError as error:
        raise InputError(f"{url}: is no address ({error}); check --base-url") from None
    except LOST as error:
        raise PassingError(f"the server cannot be reached ({getattr(error, 'reason', error)})") from None


def read_block(answer: http.client.HTTPResponse) -> bytes:
    """Some bytes of the body, none at its end. Raises PassingError where the connection is lost."""
    try:
        return answer.read1(BLOCK)
    except LOST as error:
        raise PassingError(f"the connection was lost ({error})") from None


def fits(path: Path, remote: RemoteFile) -> bool:
    """Whether the file at ``path`` has the size and the checksum (MD5, else CRC32C) of ``remote``."""
    if size_of(path) != remote.size:
        return False
    with path.open("rb") as file:
        blocks = iter(lambda: file.read(BLOCK), b"")
        if remote.md5 is not None:
            state = hashlib.md5(usedforsecurity=False)
            for block in blocks:
                state.update(block)
            return state.hexdigest() == remote.md5
        return remote.crc32c is None or crc32c(blocks) == remote.crc32c


def crc32c(blocks: Iterator[bytes]) -> int:
    """CRC-32C (Castagnoli, reflected) of all ``blocks`` [RFC 3720, appendix B.4]; slow, for what has no MD5."""
    state, table = 0xFFFFFFFF, _crc_table()
    for block in blocks:
        for byte in block:
            state = table[(state ^ byte) & 255] ^ (state >> 8)
    return state ^ 0xFFFFFFFF


def safe_path(name: str) -> PurePosixPath:
    """``name`` as a path that stays inside the folder it is put in. Raises InputError where it would not."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise InputError(f"object '{name}' of the bucket would lie outside of the folder; check --base-url")
    return path


def size_of(path: Path) -> int:
    """Bytes of the file at ``path``; 0 where there is none."""
    return path.stat().st_size if path.is_file() else 0


@cache
def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


def _read_json(url: str, config: FetchConfig) -> dict[str, Any]:
    with open_url(url, config.timeout) as answer:
        blocks = b"".join(iter(lambda: read_block(answer), b""))
    try:
        value = json.loads(blocks)
    except ValueError:
        raise PassingError("the answer is cut short, or no JSON") from None
    return value if isinstance(value, dict) else {}


def _remote_file(item: dict[str, str]) -> RemoteFile:
    md5 = base64.b64decode(item["md5Hash"]).hex() if "md5Hash" in item else None
    crc = int.from_bytes(base64.b64decode(item["crc32c"]), "big") if "crc32c" in item else None
    safe_path(item["name"])
    return RemoteFile(item["name"], int(item["size"]), md5, crc)
