"""Rectangles of pixels: which part of a grid is read, answered or written."""

from collections.abc import Iterator
from typing import NamedTuple


class Window(NamedTuple):
    """A rectangle of pixels: first row and column, and size. It may reach beyond the grid, or start before it."""

    row: int
    col: int
    height: int
    width: int

    def grow(self, margin: int) -> "Window":
        """The window with ``margin`` more pixels on each of the four sides."""
        return Window(self.row - margin, self.col - margin, self.height + 2 * margin, self.width + 2 * margin)

    def clip(self, shape: tuple[int, int]) -> "Window":
        """The part inside a grid of ``shape`` rows and columns; height or width 0 where there is none."""
        row, col = max(self.row, 0), max(self.col, 0)
        height = max(0, min(self.row + self.height, shape[0]) - row)
        width = max(0, min(self.col + self.width, shape[1]) - col)
        return Window(row, col, height, width)

    def slices(self, origin: tuple[int, int] = (0, 0)) -> tuple[slice, slice]:
        """Row and column slices into an array whose first pixel is the grid's pixel ``origin``."""
        row, col = self.row - origin[0], self.col - origin[1]
        return slice(row, row + self.height), slice(col, col + self.width)


def cut(shape: tuple[int, int], size: tuple[int, int]) -> Iterator[Window]:
    """Windows of ``size`` that cover a grid of ``shape`` once, row by row; the last of a row or column are smaller."""
    for row in range(0, shape[0], size[0]):
        for col in range(0, shape[1], size[1]):
            yield Window(row, col, *size).clip(shape)
