"""A layer at half its size: what an overview shows."""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from undercast.task import NODATA

Halving: TypeAlias = Literal["mode", "average"]
"""``mode`` for classes, ``average`` for numbers."""


def halve(values: NDArray[Any], how: Halving) -> NDArray[Any]:
    """``[..., h, w]`` at half its size, ``[..., ⌈h/2⌉, ⌈w/2⌉]``; what was not observed (255, NaN) does not count.

    Of an odd last row or column, each pixel stands for two.
    """
    if values.shape[-2] % 2 or values.shape[-1] % 2:
        odd = [(0, 0)] * (values.ndim - 2) + [(0, values.shape[-2] % 2), (0, values.shape[-1] % 2)]
        values = np.pad(values, odd, mode="edge")
    return HALVE[how](values)


def _mode(values: NDArray[Any]) -> NDArray[Any]:
    """The most frequent of four; of several the first, row by row."""
    one, two, three, four = (np.ascontiguousarray(values[..., row::2, col::2]) for row in (0, 1) for col in (0, 1))
    result = np.where((two == three) | (two == four), two, np.where(three == four, three, one))
    first = (one == two) | (one == three) | (one == four)
    result = np.where(first, one, result)
    unseen = result == NODATA
    if unseen.any():
        lowest = np.minimum(np.minimum(one, two), np.minimum(three, four))
        np.copyto(result, lowest, where=unseen)
    return result


def _average(values: NDArray[Any]) -> NDArray[Any]:
    """The mean of those of four that were seen; of whole numbers rounded, a half up."""
    if values.dtype.kind == "f":
        seen = np.isfinite(values)
        count = _sum_of_four(seen.astype(values.dtype))
        total = _sum_of_four(np.where(seen, values, values.dtype.type(0)))
        return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(values.dtype)
    if values.max(initial=0) < NODATA:
        return ((_sum_of_four(values, np.uint16) + np.uint16(2)) >> np.uint16(2)).astype(values.dtype)
    seen = values != NODATA
    count = _sum_of_four(seen.astype(np.uint16))
    total = _sum_of_four(np.where(seen, values, 0).astype(np.uint16))
    return np.where(count > 0, (total + count // 2) // np.maximum(count, 1), NODATA).astype(values.dtype)


def _sum_of_four(values: NDArray[Any], dtype: type | None = None) -> NDArray[Any]:
    rows = np.add(values[..., ::2, :], values[..., 1::2, :], dtype=dtype)
    return np.asarray(rows[..., ::2] + rows[..., 1::2])


HALVE: dict[Halving, Callable[[NDArray[Any]], NDArray[Any]]] = {"mode": _mode, "average": _average}
