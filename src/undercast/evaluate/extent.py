"""How much is found and how much of nothing: the measures of [Böhm 2022], from answers kept chip by chip.

The scores of :mod:`~.scores` are made of histograms; here the probabilities themselves are kept, so that thresholds are
exact, however small the probabilities are. A chip is *free* where no pixel of its truth is class 1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from undercast.chip import ChipSource
from undercast.errors import InputError
from undercast.evaluate.scoring import check_fit, inputs_of, observed
from undercast.predict import Predictor, answer
from undercast.task import NODATA

Part = Literal["all", "landslide", "free"]
SMALLEST = 1e-7
"""Probabilities are kept this far from 0 and 1 where their logarithm is needed."""


@dataclass(frozen=True)
class Answered:
    """One chip, of whose pixels both labelled and seen: the ``probability`` of class 1, float64 ``[n]``, and whether
    that is the ``truth``, bool ``[n]``."""

    key: str
    probability: NDArray[np.float64]
    truth: NDArray[np.bool_]

    @property
    def free(self) -> bool:
        """Whether no pixel is class 1."""
        return not self.truth.any()


@dataclass(frozen=True)
class Spread:
    """Errors over chips: ``mean`` and ``median``, the median of their size, the error bar of the mean, and how many."""

    mean: float
    median: float
    median_size: float
    bar: float
    chips: int


def ask(
    predictor: Predictor, source: ChipSource, *, target: str | None = None, keep: Callable[[str], bool] | None = None
) -> list[Answered]:
    """What ``predictor`` answers on each chip that has ``target``, of those whose key ``keep`` takes.

    Raises:
        InputError: the task does not have two classes, or no chip has the target.
        ModelError: the predictor does not fit the chips.
    """
    signature, name = predictor.signature, target or source.task.name
    check_fit(signature, source)
    if len(source.task) != 2:
        raise InputError(f"task '{source.task.name}' has {len(source.task)} classes; this is measured of two")
    found = []
    for number, info in enumerate(source.index):
        if keep is not None and not keep(info.key):
            continue
        chip = source[number]
        if name not in chip.targets:
            continue
        truth, images = chip.targets[name], inputs_of(signature, source, chip)
        known = (truth != NODATA) & observed(signature, images, truth.shape)
        probability = answer(predictor, images)[1][known].astype(np.float64)
        found.append(Answered(info.key, probability, truth[known] == 1))
    if not found:
        raise InputError(f"none of the {len(source)} chips has the target '{name}', so there is nothing to measure")
    return found


def of_part(answers: Sequence[Answered], part: Part) -> list[Answered]:
    """The chips of ``part``: all, those with landslides, or those free of them."""
    return [one for one in answers if part == "all" or one.free == (part == "free")]


def auprc(answers: Sequence[Answered]) -> float:
    """Area under the precision-recall curve over the pixels of all chips, a step a probability; NaN without class 1."""
    probability, truth = _pooled(answers)
    if not truth.any():
        return float("nan")
    order = np.argsort(-probability, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(probability[order]) != 0, True))
    hits = truth[order].cumsum()[ends]
    precision = hits / (ends + 1)
    return float((np.diff(hits, prepend=0) * precision).sum() / hits[-1])


def recall(answers: Sequence[Answered], threshold: float) -> float:
    """Share of the pixels of class 1 whose probability reaches ``threshold``; NaN where there are none."""
    probability, truth = _pooled(answers)
    return float((probability[truth] >= threshold).mean()) if truth.any() else float("nan")


def threshold_at(answers: Sequence[Answered], share: float) -> float:
    """The highest threshold at which :func:`recall` is at least ``share``. Raises InputError without class 1."""
    probability, truth = _pooled(answers)
    if not truth.any():
        raise InputError("no chip holds class 1, so no threshold has a recall")
    falling = -np.sort(-probability[truth])
    return float(falling[max(0, int(np.ceil(share * len(falling) - 1e-9)) - 1)])


def false_area(answers: Sequence[Answered], threshold: float) -> float:
    """Mean pixels a free chip whose probability reaches ``threshold``; NaN where no chip is free."""
    free = of_part(answers, "free")
    return float(np.mean([(one.probability >= threshold).sum() for one in free])) if free else float("nan")


def count_errors(answers: Sequence[Answered], threshold: float | None = None) -> NDArray[np.float64]:
    """Pixels of class 1 too many (negative: too few) in each chip, ``[N]``.

    Counted are probabilities, summed, or with a ``threshold`` the pixels that reach it.
    """
    counted = [one.probability if threshold is None else one.probability >= threshold for one in answers]
    return np.array([float(c.sum()) - float(one.truth.sum()) for c, one in zip(counted, answers, strict=True)])


def spread(errors: NDArray[np.float64], *, published_bars: bool = False) -> Spread:
    """Mean, medians and the error bar ``std / √N``; with ``published_bars`` the ``std / N`` of the paper's figures."""
    if not len(errors):
        return Spread(*(float("nan"),) * 4, 0)
    size = len(errors) if published_bars else np.sqrt(len(errors))
    return Spread(
        float(errors.mean()),
        float(np.median(errors)),
        float(np.median(np.abs(errors))),
        float(errors.std() / size),
        len(errors),
    )


def recalibrated(answers: Sequence[Answered], fitted_on: Sequence[Answered]) -> list[Answered]:
    """The answers with slope and offset of their logits as ``fitted_on`` makes likeliest [Platt 1999]."""
    slope, offset = _fit(*_pooled(fitted_on))
    return [replace(one, probability=expit(slope * _logit(one.probability) + offset)) for one in answers]


def _fit(probability: NDArray[np.float64], truth: NDArray[np.bool_]) -> tuple[float, float]:
    logit = _logit(probability)

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scaled = parameters[0] * logit + parameters[1]
        wrong = expit(scaled) - truth
        value = float(np.mean(np.logaddexp(0, scaled) - truth * scaled))
        return value, np.array([np.mean(wrong * logit), np.mean(wrong)])

    # A slope that is not positive would turn the order of pixels over.
    best = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(1e-3, 50), (-50, 50)])
    return float(best.x[0]), float(best.x[1])


def _logit(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    kept = np.clip(probability, SMALLEST, 1 - SMALLEST)
    result: NDArray[np.float64] = np.log(kept) - np.log1p(-kept)
    return result


def _pooled(answers: Sequence[Answered]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    return np.concatenate([one.probability for one in answers]), np.concatenate([one.truth for one in answers])
