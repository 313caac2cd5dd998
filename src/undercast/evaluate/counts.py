"""How far the sum of probabilities over a cell is from the true number of event pixels in it, and what that teaches."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import nbinom

from undercast.product.priority import interval, negative_binomial
from undercast.signature import CountSpread
from undercast.task import NODATA


class CellCounts(NamedTuple):
    """Cells, arrays ``[N]``: pixels ``answered`` and labelled, Σp ``expected``, Σp(1 - p) ``scatter``, ``truth``."""

    answered: NDArray[np.int64]
    expected: NDArray[np.float64]
    scatter: NDArray[np.float64]
    truth: NDArray[np.int64]


def count_cells(answers: Iterable[tuple[NDArray[np.float32], NDArray[np.uint8]]], size: int) -> CellCounts:
    """Counts in cells of ``size`` × ``size`` pixels of pairs of the event's probability and truth, ``[h, w]`` each.

    Pixels that were not seen (NaN) or not labelled (255) are left out, and cells without others. What is left at the
    right and bottom edge of a scene is not used.
    """
    found = []
    for probability, truth in answers:
        rows, cols = (length // size for length in truth.shape)
        kept = np.s_[: rows * size, : cols * size]
        known = np.isfinite(probability[kept]) & (truth[kept] != NODATA)
        likely = np.where(known, probability[kept], 0).astype(np.float64)
        tables = (known, likely, likely * (1 - likely), known & (truth[kept] == 1))
        found.append([table.reshape(rows, size, cols, size).sum((1, 3)).ravel() for table in tables])
    answered, expected, scatter, true = (np.concatenate(parts) for parts in zip(*found, strict=True))
    some = answered > 0
    return CellCounts(answered[some], expected[some], scatter[some], true[some])


def fit_spread(counts: CellCounts, pixels: int, source: str = "") -> CountSpread:
    """The spread that makes the true counts likeliest; ``pixels`` are those of a cell, ``source`` says where from."""

    def loss(logarithms: NDArray[np.float64]) -> float:
        size, chance = negative_binomial(counts.expected, counts.scatter, *np.exp(logarithms))
        return -float(np.maximum(nbinom.logpmf(counts.truth, size, chance), -1e3).sum())

    starts = [np.log([factor, relative]) for factor in (3.0, 100.0) for relative in (0.1, 1.0)]
    best = min((minimize(loss, start, method="Nelder-Mead") for start in starts), key=lambda result: result.fun)
    factor, relative = np.exp(best.x)
    return CountSpread(
        factor=round(float(factor), 2), relative=round(float(relative), 4), cells=len(counts.truth), pixels=pixels,
        source=source,
    )  # fmt: skip


def covered(counts: CellCounts, spread: CountSpread, level: float) -> NDArray[np.bool_]:
    """Whether the true number of each cell lies within its interval, ``[N]``."""
    low, high = interval(counts.expected, counts.scatter, counts.answered, spread, level)
    return np.asarray((low <= counts.truth) & (counts.truth <= high))
