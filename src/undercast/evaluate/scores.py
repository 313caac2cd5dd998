"""Statistics of a confusion matrix or a histogram of probabilities: each a function of counts, whoever summed them.

A confusion matrix is ``[..., K, K]``, truth down the rows and answer along the columns. A histogram is ``[..., 3, N]``
over N equal bins of a probability p: pixels for which the statement was wrong, pixels for which it was right, and the
sum of p. What cannot be told (0 of 0) is NaN.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Counts = NDArray[np.int64]


def _ratio(part: Array | Counts, whole: Array | Counts) -> Array:
    undefined = np.full(np.broadcast(part, whole).shape, np.nan)
    ratio: Array = np.divide(part, whole, out=undefined, where=whole > 0)
    return ratio


def iou(confusion: Counts) -> Array:
    """Intersection over union a class, ``[..., K]``; NaN where a class is neither there nor answered."""
    hit = np.diagonal(confusion, axis1=-2, axis2=-1)
    return _ratio(hit, confusion.sum(-1) + confusion.sum(-2) - hit)


def precision(confusion: Counts) -> Array:
    """Share of the answered pixels of a class that are of it, ``[..., K]``; NaN where it is never answered."""
    return _ratio(np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(-2))


def recall(confusion: Counts) -> Array:
    """Share of the true pixels of a class that are answered so, ``[..., K]``; NaN where there are none."""
    return _ratio(np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(-1))


def f1(confusion: Counts) -> Array:
    """Harmonic mean of precision and recall a class, ``[..., K]``; NaN where the class is nowhere."""
    hit = np.diagonal(confusion, axis1=-2, axis2=-1)
    return _ratio(2 * hit, confusion.sum(-1) + confusion.sum(-2))


def accuracy(confusion: Counts) -> Array:
    """Share of pixels answered right, ``[...]``; NaN where there are none."""
    return _ratio(np.trace(confusion, axis1=-2, axis2=-1), confusion.sum((-2, -1)))


def pooled_parts(confusion: Counts) -> tuple[Array, Array]:
    """Intersection and union a chip and class, ``[N, K]`` each: the ratio of their sums is the pooled IoU."""
    hit = np.diagonal(confusion, axis1=-2, axis2=-1)
    return hit.astype(np.float64), (confusion.sum(-1) + confusion.sum(-2) - hit).astype(np.float64)


def chip_parts(confusion: Counts) -> tuple[Array, Array]:
    """IoU and 1 a chip and class, ``[N, K]`` each: the ratio of their sums is the mean over chips [Bonafilia 2020].

    As in the Sen1Floods11 notebook, a chip without the class in truth and answer counts 1: it was answered right. A
    chip without a valid pixel is 0 and 0, left out, where the notebook's small constant counts it 1 too.
    """
    values = iou(confusion)
    seen = np.broadcast_to((confusion.sum((-2, -1)) > 0)[:, None], values.shape)
    return np.where(seen, np.where(np.isnan(values), 1.0, values), 0.0), seen.astype(np.float64)


def ratio_of_sums(part: Array, whole: Array) -> float:
    """Sum of ``part`` over sum of ``whole`` (``[N, K]`` each) a class, then the mean over the classes that have one."""
    return float(_mean_told(_ratio(part.sum(0), whole.sum(0))))


def _mean_told(values: Array) -> Array:
    told = np.isfinite(values)
    return _ratio(np.where(told, values, 0.0).sum(-1), told.sum(-1).astype(np.float64))


def coarsen(histogram: Array, bins: int) -> Array:
    """The histogram with ``bins`` bins; N must be a multiple of it."""
    *lead, rows, fine = histogram.shape
    if fine % bins:
        raise ValueError(f"{fine} bins do not fall into {bins}")
    coarse: Array = histogram.reshape(*lead, rows, bins, fine // bins).sum(-1)
    return coarse


def calibration_error(histogram: Array, bins: int = 20) -> float:
    """Expected calibration error of ``[3, N]`` over ``bins`` equal bins [Guo 2017]; NaN where nothing was counted."""
    wrong, right, total = coarsen(histogram, bins)
    pixels = wrong + right
    if pixels.sum() == 0:
        return float("nan")
    return float(np.abs(total - right).sum() / pixels.sum())


def average_precision(histogram: Array) -> float:
    """Area under the precision-recall curve of ``[3, N]``, a step a bin; NaN where there is no positive."""
    negative, positive = histogram[0, ::-1].cumsum(), histogram[1, ::-1].cumsum()
    if positive[-1] == 0:
        return float("nan")
    gained = np.diff(positive, prepend=0.0) / positive[-1]
    return float(np.nansum(gained * _ratio(positive, positive + negative)))


def best_threshold(histogram: Array) -> tuple[float, float]:
    """The bin edge that gives class 1 the highest IoU if ``p >= edge`` is answered 1, and that IoU.

    ``(nan, nan)`` where there is no positive. Edges are 1/N apart; the lowest of equals is taken.
    """
    negative, positive = histogram[0, ::-1].cumsum()[::-1], histogram[1, ::-1].cumsum()[::-1]
    if positive[0] == 0:
        return float("nan"), float("nan")
    values = _ratio(positive, histogram[1].sum() + negative)
    edge = int(np.nanargmax(values[1:])) + 1  # a threshold of 0 answers 1 everywhere and is no threshold
    return edge / histogram.shape[1], float(values[edge])


@dataclass(frozen=True)
class Interval:
    """A percentile bootstrap interval: its ends, and what was drawn again (``events`` or ``chips``)."""

    low: float
    high: float
    over: str
    groups: int


def bootstrap(
    part: Array, whole: Array, events: Sequence[str], *, draws: int = 2000, level: float = 0.95, seed: int = 0
) -> Interval | None:
    """Percentile interval of :func:`ratio_of_sums` of ``[N, K]``, drawing whole events again [Efron 1979].

    Chips of an event are alike, so the event is what is drawn. With fewer than three events chips are drawn instead,
    which makes the interval too narrow: the result says which it was. None with fewer than two chips.
    """
    names, group = np.unique(np.asarray(events), return_inverse=True)
    over = "events" if len(names) >= 3 else "chips"
    if over == "chips":
        group = np.arange(len(part))
    groups = int(group.max(initial=-1)) + 1
    if groups < 2:
        return None
    sums = []
    for values in (part, whole):
        total = np.zeros((groups, values.shape[1]))
        np.add.at(total, group, values)
        sums.append(total)
    # How often each group is drawn says all: a sum over the drawn groups is a product with that.
    times = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), size=draws).astype(np.float64)
    found = _mean_told(_ratio(times @ sums[0], times @ sums[1]))
    found = found[np.isfinite(found)]
    if len(found) == 0:
        return None
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), over, groups)
