"""Scores on larger pixels than the model's: answers and truth averaged over the ground of each.

[Garg 2023] reports Sen1Floods11 at 16 m (Tables 2 and 3) and at 10 m (Table 4). How it resampled is not known to us.
Ours: probabilities are averaged by area over what was observed; truth is the class that covers most labelled ground; a
larger pixel counts where at least half of it was observed, and half of it labelled.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from undercast.task import NODATA

Array = NDArray[np.float64]
LEAST = 0.5
"""Share of a larger pixel that must be known."""


class Resampled(NamedTuple):
    """A chip on larger pixels: probabilities ``[K, h, w]``, where it was observed, and the truth, ``[h, w]`` each."""

    probabilities: NDArray[np.float32]
    observed: NDArray[np.bool_]
    truth: NDArray[np.uint8]


def resample(
    probabilities: NDArray[np.float32], observed: NDArray[np.bool_], truth: NDArray[np.uint8], factor: float
) -> Resampled:
    """A chip on pixels ``factor`` times as long; what is left at its lower and right edge is cut off.

    ``probabilities`` ``[K, H, W]``, ``observed`` and ``truth`` ``[H, W]``, truth 255 where it is not known.
    """
    height, width = truth.shape
    rows, cols = _overlaps(height, factor), _overlaps(width, factor)

    def area(plane: NDArray[np.generic]) -> Array:
        """Of each larger pixel, the part that ``plane`` covers, 0 to 1."""
        covered: Array = rows @ plane.astype(np.float64) @ cols.T
        return covered

    answered = observed & np.isfinite(probabilities).all(axis=0)
    seen = area(answered)
    means = [area(np.where(answered, plane, 0)) / np.maximum(seen, 1e-12) for plane in probabilities]
    covers = np.stack([area(truth == value) for value in range(len(probabilities))])
    known = covers.sum(axis=0) >= LEAST - 1e-9
    return Resampled(
        np.stack(means).astype(np.float32),
        seen >= LEAST - 1e-9,
        np.where(known, covers.argmax(axis=0), NODATA).astype(np.uint8),
    )


def _overlaps(length: int, factor: float) -> Array:
    """``[n, length]``: of each of the n larger pixels the share that every smaller one makes up; rows sum to 1."""
    count = int(length / factor + 1e-9)
    edges = np.arange(length + 1, dtype=np.float64)
    starts = np.arange(count, dtype=np.float64)[:, None] * factor
    low, high = np.maximum(edges[:-1], starts), np.minimum(edges[1:], starts + factor)
    shares: Array = np.clip(high - low, 0, None) / factor
    return shares
