"""Finished blocks kept on disk while a map is made, so that a killed map can go on where it was.

One file: a line that says of what map the blocks are, then a record a block: length, checksum, and the block. A record
is on the disk before the next block begins; one that a kill cut short fails its checksum and is dropped with all after.
"""

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Generator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from undercast.mapping.result import BlockResult
from undercast.raster.windows import Window

RECORD = struct.Struct("<QI")
"""Length of the block in bytes, and its CRC-32."""


def fingerprint(of: Mapping[str, Any]) -> str:
    """sha256, hexadecimal, of what a map's bytes depend on."""
    return hashlib.sha256(json.dumps(of, sort_keys=True, allow_nan=False).encode()).hexdigest()


class KeptBlocks:
    """The blocks of one map at ``path``, in the order they were finished; ``key`` says of what map they are.

    With ``resume``, whole records that are there already and of the same ``key`` are taken over; else it starts empty.
    """

    def __init__(self, path: Path, key: str, *, resume: bool = False) -> None:
        self._head = f"undercast blocks 1 {key}\n".encode()
        self._records: dict[Window, tuple[int, int]] = {}
        self._file = path.open("r+b" if resume and path.is_file() else "w+b")
        end = self._take_over()
        if not end:
            self._file.seek(0)
            self._file.write(self._head)
            end = len(self._head)
        self._file.truncate(end)
        self._sync()

    def __enter__(self) -> "KeptBlocks":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def windows(self) -> set[Window]:
        """The blocks that are here."""
        return set(self._records)

    def get(self, window: Window) -> BlockResult:
        """The block of ``window``."""
        offset, length = self._records[window]
        self._file.seek(offset)
        return BlockResult.from_bytes(self._file.read(length))

    def add(self, block: BlockResult) -> None:
        """Keep ``block``; it is on the disk when this returns."""
        data = block.to_bytes()
        self._file.seek(0, os.SEEK_END)
        self._records[block.window] = (self._file.tell() + RECORD.size, len(data))
        self._file.write(RECORD.pack(len(data), zlib.crc32(data)))
        self._file.write(data)
        self._sync()

    def _take_over(self) -> int:
        """Find the whole records there are, and say where they end; 0 where the file is of another map."""
        if self._file.read(len(self._head)) != self._head:
            return 0
        end = self._file.tell()
        for window, offset, length in self._whole():
            self._records[window] = (offset, length)
            end = offset + length
        return end

    def _whole(self) -> Generator[tuple[Window, int, int], None, None]:
        while len(head := self._file.read(RECORD.size)) == RECORD.size:
            length, checksum = RECORD.unpack(head)
            offset = self._file.tell()
            data = self._file.read(length) if length <= os.fstat(self._file.fileno()).st_size - offset else b""
            if len(data) != length or zlib.crc32(data) != checksum:
                return
            yield BlockResult.from_bytes(data).window, offset, length

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
