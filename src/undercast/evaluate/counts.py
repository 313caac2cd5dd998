"""How far the sum of probabilities over a cell is from the true number of event pixels in it, and what that teaches."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from undercast.product.priority import interval
from undercast.signature import CountSpread
from undercast.task import NODATA

FACTORS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
RELATIVES = (0.0, 0.2, 0.5, 1.0)
"""Where the search for a spread begins."""


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


def fit_spread(counts: CellCounts, pixels: int, source: str = "", level: float = 0.9) -> CountSpread:
    """The spread whose intervals of ``level`` score best: narrow, and rarely missed by much [Gneiting 2007].

    The likeliest spread would be that of the few cells furthest off, for counts have heavier tails than a negative
    binomial, and its intervals would be far too wide for most. ``pixels`` are those of a cell, ``source`` says where
    from.
    """

    def loss(values: NDArray[np.float64]) -> float:
        spread = CountSpread(factor=np.exp(values[0]), relative=abs(values[1]), cells=1, pixels=pixels)
        low, high = interval(counts.expected, counts.scatter, counts.answered, spread, level)
        missed = np.maximum(low - counts.truth, 0) + np.maximum(counts.truth - high, 0)
        return float((high - low + 2 / (1 - level) * missed).mean())

    starts = [np.array([np.log(factor), relative]) for factor in FACTORS for relative in RELATIVES]
    start = min(starts, key=loss)
    step = start + np.array([[0.0, 0.0], [0.5, 0.0], [0.0, 0.1]])
    best = minimize(loss, start, method="Nelder-Mead", options={"initial_simplex": step, "maxfev": 60})
    return CountSpread(
        factor=round(float(np.exp(best.x[0])), 2),
        relative=round(float(abs(best.x[1])), 4),
        cells=len(counts.truth),
        pixels=pixels,
        source=source,
    )


def covered(counts: CellCounts, spread: CountSpread, level: float) -> NDArray[np.bool_]:
    """Whether the true number of each cell lies within its interval, ``[N]``."""
    low, high = interval(counts.expected, counts.scatter, counts.answered, spread, level)
    return np.asarray((low <= counts.truth) & (counts.truth <= high))
