"""TIFF files taken apart and put together: tiles that GDAL has compressed become one cloud-optimised file.

GDAL's own way to such a file compresses a layer, makes its overviews, compresses those, and then everything again.
Here every level is compressed once, in a file of its own, and tiles are joined as they are [OGC 21-026, TIFF 6.0].
"""

import struct
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

SUBFILE, OFFSETS, SIZES = 254, 324, 325
OF_THE_WHOLE = (33550, 33922, 34264, 34735, 34736, 34737, 42112)
"""Tags that stand with the image alone and not with its overviews: where it lies, and what is said about it."""
WIDTHS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of a value of each of TIFF's types."""
NUMBERS = {3: "<u2", 4: "<u4", 16: "<u8"}
LARGEST = 2**32 - 1
"""Bytes that a classic TIFF can hold; a larger one is a BigTIFF."""
STRUCTURE = (
    b"LAYOUT=IFDS_BEFORE_DATA\nBLOCK_ORDER=ROW_MAJOR\nBLOCK_LEADER=SIZE_AS_UINT4\n"
    b"BLOCK_TRAILER=LAST_4_BYTES_REPEATED\nKNOWN_INCOMPATIBLE_EDITION=NO\n "
)
"""What GDAL looks for to read a tile with one request: its size stands before it, and its last bytes are repeated."""
AROUND = 4
"""Bytes before a tile, and after it."""


class Field(NamedTuple):
    """The value of a tag: its type as TIFF numbers them, how many, and their bytes."""

    kind: int
    length: int
    data: bytes

    def numbers(self) -> NDArray[np.int64]:
        """Whole numbers ``[length]``."""
        return np.frombuffer(self.data, NUMBERS[self.kind], self.length).astype(np.int64)


def read_directory(stream: IO[bytes]) -> dict[int, Field]:
    """The first directory of a little-endian TIFF, classic or big."""
    stream.seek(0)
    head = stream.read(16)
    big = head[2] == 43
    (first,) = struct.unpack_from("<Q" if big else "<I", head, 8 if big else 4)
    stream.seek(first)
    (count,) = struct.unpack("<Q" if big else "<H", stream.read(8 if big else 2))
    fields = {}
    for tag, kind, number, value in struct.iter_unpack(
        "<HHQ8s" if big else "<HHI4s", stream.read(count * _entry_size(big))
    ):
        size = WIDTHS[kind] * number
        if size > len(value):
            stream.seek(struct.unpack("<Q" if big else "<I", value)[0])
            value = stream.read(size)
        fields[tag] = Field(kind, number, value[:size])
    return fields


def join(path: Path, levels: Sequence[Path]) -> None:
    """Write a cloud-optimised GeoTIFF of ``levels``: tiled TIFFs of the image, and of ever smaller overviews.

    Directories come first, then the tiles of the smallest overview, and those of the image last.
    """
    with ExitStack() as stack:
        sources = [stack.enter_context(level.open("rb")) for level in levels]
        directories = [read_directory(source) for source in sources]
        places = [(fields[OFFSETS].numbers(), fields[SIZES].numbers()) for fields in directories]
        for fields in directories[1:]:
            for tag in OF_THE_WHOLE:
                fields.pop(tag, None)
            fields[SUBFILE] = Field(4, 1, struct.pack("<I", 1))
        target = stack.enter_context(path.open("wb"))
        target.write(_front(directories, [sizes for _, sizes in places]))
        for source, (offsets, sizes) in zip(reversed(sources), reversed(places), strict=True):
            for offset, size in zip(offsets.tolist(), sizes.tolist(), strict=True):
                source.seek(offset)
                tile = source.read(size)
                target.write(struct.pack("<I", size) + tile + tile[-AROUND:])


def _front(directories: Sequence[dict[int, Field]], sizes: Sequence[NDArray[np.int64]]) -> bytes:
    """Everything before the tiles, of ``sizes`` by level: header, structure and directories."""
    tiles = sum(int(level.sum()) + 2 * AROUND * len(level) for level in sizes)
    # the directories of a classic file are never larger than those of a big one
    big = tiles + len(_serialised(directories, sizes, 0, big=True)) > LARGEST
    front = _serialised(directories, sizes, 0, big=big)
    return _serialised(directories, sizes, len(front), big=big)


def _serialised(
    directories: Sequence[dict[int, Field]], sizes: Sequence[NDArray[np.int64]], data: int, *, big: bool
) -> bytes:
    """The front of a file whose tiles begin at byte ``data``; of the same length whatever that is."""
    structure = b"GDAL_STRUCTURAL_METADATA_SIZE=%06d bytes\n" % len(STRUCTURE) + STRUCTURE
    begin = 16 if big else 8
    first = _even(begin + len(structure))
    header = struct.pack("<2sHHHQ", b"II", 43, 8, 0, first) if big else struct.pack("<2sHI", b"II", 42, first)
    front = (header + structure).ljust(first, b"\0")
    for number, fields in enumerate(directories):
        before = sum(int(level.sum()) + 2 * AROUND * len(level) for level in sizes[number + 1 :])
        steps = np.cumsum(sizes[number] + 2 * AROUND)
        offsets = data + before + AROUND + np.concatenate([[0], steps[:-1]])
        placed = fields | {
            OFFSETS: _field(offsets, 16 if big else 4),
            SIZES: _field(sizes[number], 4),
        }
        front += _directory(placed, len(front), last=number == len(directories) - 1, big=big)
    return front


def _directory(fields: dict[int, Field], at: int, *, last: bool, big: bool) -> bytes:
    """A directory that begins at byte ``at``, and the values that do not fit into it."""
    fits, word = (8, "<Q") if big else (4, "<I")
    size = (8 if big else 2) + len(fields) * _entry_size(big) + fits
    entries, values = b"", b""
    for tag, field in sorted(fields.items()):
        value = field.data
        if len(value) > fits:
            value = struct.pack(word, at + size + len(values))
            values += field.data.ljust(_even(len(field.data)), b"\0")
        entries += struct.pack("<HHQ" if big else "<HHI", tag, field.kind, field.length) + value.ljust(fits, b"\0")
    values = values.ljust(_even(at + size + len(values)) - at - size, b"\0")
    following = 0 if last else at + size + len(values)
    return struct.pack("<Q" if big else "<H", len(fields)) + entries + struct.pack(word, following) + values


def _field(values: NDArray[np.int64], kind: int) -> Field:
    return Field(kind, len(values), values.astype(NUMBERS[kind]).tobytes())


def _entry_size(big: bool) -> int:
    return 20 if big else 12


def _even(size: int) -> int:
    """``size``, or one more: what TIFF refers to begins at an even byte."""
    return size + size % 2
