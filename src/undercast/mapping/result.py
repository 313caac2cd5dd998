"""What one block contributes to a map: small enough to be kept on disk, or sent from another machine."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undercast.raster.windows import Window


@dataclass(frozen=True)
class BlockResult:
    """A block's pixels and counts: all that the rest of the map takes from it, so that it may come from anywhere.

    ``window`` is where it lies on the grid of the map, ``source`` on that of the scene. ``arrays``: on the first
    ``codes`` and ``likelihood`` ``[h, w]`` uint8, and ``inputs`` of a model that can do without some; on the second
    ``restored`` ``[C, H, W]`` uint16 of a model that restores one; ``preview.…`` and ``tally.…`` whole numbers, to be
    added.
    """

    window: Window
    source: Window
    arrays: Mapping[str, NDArray[Any]]

    def part(self, name: str) -> dict[str, NDArray[Any]]:
        """The arrays whose name begins with ``name`` and a dot, without that."""
        return {key.removeprefix(f"{name}."): array for key, array in self.arrays.items() if key.startswith(f"{name}.")}

    def to_bytes(self) -> bytes:
        """A line of JSON that says what follows, and the arrays one after the other."""
        kept = {name: np.ascontiguousarray(array) for name, array in self.arrays.items()}
        described = [[name, array.dtype.str, array.shape] for name, array in kept.items()]
        head = json.dumps({"window": self.window, "source": self.source, "arrays": described}).encode()
        return b"\n".join([head, b"".join(array.tobytes() for array in kept.values())])

    @classmethod
    def from_bytes(cls, data: bytes) -> "BlockResult":
        """The block behind what :meth:`to_bytes` wrote."""
        first = data.index(b"\n") + 1
        head = json.loads(data[:first])
        arrays = {}
        for name, dtype, shape in head["arrays"]:
            count = int(np.prod(shape))
            arrays[name] = np.frombuffer(data, dtype, count, first).reshape(shape)
            first += arrays[name].nbytes
        return cls(Window(*head["window"]), Window(*head["source"]), arrays)
