"""How a scene is cut into tiles, from its size and the model alone.

Every tile is read with a margin of what the network can see beyond a pixel, and answers only with its centre. So no
answer depends on where a tile ends: there are no seams, and neither block size nor threads can change the map.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, lcm

import numpy as np
from numpy.typing import NDArray

from undercast.raster.windows import Window, cut
from undercast.signature import Signature


@dataclass(frozen=True)
class TilePlan:
    """Tiles of one size over a scene of ``shape``: each answers ``core`` rows and columns, and sees ``margin`` more.

    ``core`` and ``margin`` are multiples of the stride, so that every tile falls on the network's own raster, and of
    what lies between two places where the pixels of image and answer meet: at a ``scale`` of 3/10 every tenth pixel of
    the image, so that no answer is split between tiles. *Source* windows are of the image, the others of the answer.
    """

    shape: tuple[int, int]
    core: tuple[int, int]
    margin: int
    scale: Fraction = Fraction(1)

    @classmethod
    def of(cls, shape: tuple[int, int], signature: Signature, tile: int = 1024) -> "TilePlan":
        """The fewest tiles of at most about ``tile`` pixels a side, made equal so that little lies beyond the edge."""
        scale = signature.task.scale
        unit = lcm(signature.stride, scale.denominator)
        margin = _up(signature.margin, unit)
        largest = _up(max(tile - 2 * margin, margin, 1), unit)
        rows, cols = (_up(-(-size // -(-size // largest)), unit) for size in shape)
        return cls(shape, (rows, cols), margin, scale)

    @property
    def answered(self) -> tuple[int, int]:
        """Rows and columns of the answer: all of the scene's ground, so the last may reach beyond it."""
        return answered_shape(self.shape, self.scale)

    def blocks(self, tiles: int) -> Iterator[Window]:
        """What squares of ``tiles`` × ``tiles`` tiles answer, cut off at the scene's edge; row by row."""
        return cut(self.answered, (self._scaled(self.core[0] * tiles), self._scaled(self.core[1] * tiles)))

    def source(self, block: Window) -> Window:
        """The part of the scene that a block answers."""
        whole = self.reach(block)
        return whole.grow(-self.margin).clip(self.shape)

    def cores(self, block: Window) -> Iterator[Window]:
        """The source of each tile of a block, whole ones, which may reach beyond the scene."""
        whole = self.reach(block).grow(-self.margin)
        for row in range(whole.row, whole.row + whole.height, self.core[0]):
            for col in range(whole.col, whole.col + whole.width, self.core[1]):
                yield Window(row, col, *self.core)

    def answer(self, source: Window) -> Window:
        """What a source that consists of whole tiles, or of a tile and its margin, answers; may reach beyond."""
        return Window(*map(self._scaled, source))

    def reach(self, block: Window) -> Window:
        """The source that must be read to answer a block: whole tiles, and the margin around them."""
        row, col = (int(first / self.scale) for first in block[:2])
        height = _up(ceil(block.height / self.scale), self.core[0])
        width = _up(ceil(block.width / self.scale), self.core[1])
        return Window(row, col, height, width).grow(self.margin)

    def _scaled(self, pixels: int) -> int:
        """``pixels`` of the image, from one place where both grids meet to another, in pixels of the answer."""
        return int(pixels * self.scale)


def answered_shape(shape: tuple[int, int], scale: Fraction) -> tuple[int, int]:
    """Rows and columns that answer a scene of ``shape``: enough for all of its ground."""
    return ceil(shape[0] * scale), ceil(shape[1] * scale)


def touched(mask: NDArray[np.bool_], scale: Fraction) -> NDArray[np.bool_]:
    """Where a pixel of the answer touches any of ``mask`` ``[H, W]``, whose first pixel lies where both grids meet.

    ``[ceil(H·scale), ceil(W·scale)]`` bool. What lies beyond the mask counts as untouched.
    """
    if scale == 1:
        return mask
    for axis in (0, 1):
        length = mask.shape[axis]
        wanted = range(ceil(length * scale))
        bounds = [(int(i / scale), min(ceil((i + 1) / scale), length)) for i in wanted]
        # reduceat takes pairs of first and last-but-one; an index may not be the length itself
        room = [(0, 0), (0, 0)]
        room[axis] = (0, 1)
        pairs = np.array(bounds, np.intp).ravel()
        mask = np.logical_or.reduceat(np.pad(mask, room), pairs, axis=axis)
        mask = mask[::2] if axis == 0 else mask[:, ::2]
    return np.ascontiguousarray(mask)


def _up(value: int, step: int) -> int:
    """``value`` rounded up to a multiple of ``step``."""
    return -(-value // step) * step
