"""How a scene is cut into tiles, from its size and the model alone.

Every tile is read with a margin of what the network can see beyond a pixel, and answers only with its centre. So no
answer depends on where a tile ends: there are no seams, and neither block size nor threads can change the map.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from undercast.raster.windows import Window, cut
from undercast.signature import Signature


@dataclass(frozen=True)
class TilePlan:
    """Tiles of one size over a scene of ``shape``: each answers ``core`` rows and columns, and sees ``margin`` more.

    ``core`` and ``margin`` are multiples of the stride, so that every tile falls on the network's own raster.
    """

    shape: tuple[int, int]
    core: tuple[int, int]
    margin: int

    @classmethod
    def of(cls, shape: tuple[int, int], signature: Signature, tile: int = 1024) -> "TilePlan":
        """The fewest tiles of at most about ``tile`` pixels a side, made equal so that little lies beyond the edge."""
        margin = _up(signature.margin, signature.stride)
        largest = _up(max(tile - 2 * margin, margin, 1), signature.stride)
        rows, cols = (_up(-(-size // -(-size // largest)), signature.stride) for size in shape)
        return cls(shape, (rows, cols), margin)

    def blocks(self, tiles: int) -> Iterator[Window]:
        """What squares of ``tiles`` × ``tiles`` tiles answer, cut off at the scene's edge; row by row."""
        return cut(self.shape, (self.core[0] * tiles, self.core[1] * tiles))

    def cores(self, block: Window) -> Iterator[Window]:
        """What the tiles of a block answer, whole ones, which may reach beyond the scene."""
        for row in range(block.row, block.row + block.height, self.core[0]):
            for col in range(block.col, block.col + block.width, self.core[1]):
                yield Window(row, col, *self.core)

    def reach(self, block: Window) -> Window:
        """What must be read to answer a block: whole tiles, and the margin around them."""
        height = _up(block.height, self.core[0])
        width = _up(block.width, self.core[1])
        return Window(block.row, block.col, height, width).grow(self.margin)


def _up(value: int, step: int) -> int:
    """``value`` rounded up to a multiple of ``step``."""
    return -(-value // step) * step
