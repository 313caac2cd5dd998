"""Temperature and threshold, fitted on labelled chips that nothing was trained on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit

from undercast.chip import ChipSource
from undercast.errors import TrainingError
from undercast.predict import Predictor, answer
from undercast.task import NODATA

PIXELS = 16384
"""Pixels drawn a chip; neighbours say much the same, so more would add time and little else."""

SMALLEST = 1e-30
"""Probabilities below are taken for this, whose logarithm is finite."""

TEMPERATURES = (0.05, 20.0)
THRESHOLDS = np.linspace(0.02, 0.98, 97)


@dataclass(frozen=True)
class Calibration:
    """What :func:`calibrate` found."""

    temperature: float
    threshold: float
    """Of class 1 after the temperature, where the task has two classes; else 0.5 and without meaning."""


def calibrate(predictor: Predictor, source: ChipSource, target: str) -> Calibration:
    """The temperature that makes the predictor's probabilities likeliest [Guo 2017], and the best threshold after it.

    The threshold is the middle of those whose pooled IoU of class 1 is within 0.001 of the best, since the single best
    one is a matter of chance. ``predictor`` must answer at temperature 1.

    Raises:
        TrainingError: no chip has a labelled pixel of ``target`` that was seen.
    """
    logits, truth = _sample(predictor, source, target)
    temperature = fit_temperature(logits, truth)
    threshold = 0.5
    if logits.shape[1] == 2 and (truth == 1).any():
        threshold = fit_threshold(expit((logits[:, 1] - logits[:, 0]) / temperature), truth == 1)
    return Calibration(round(temperature, 4), round(threshold, 3))


def fit_temperature(logits: NDArray[np.float32], truth: NDArray[np.uint8]) -> float:
    """The T at which ``softmax(logits / T)``, logits ``[N, K]``, gives ``truth`` ``[N]`` the greatest likelihood."""

    def loss(logarithm: float) -> float:
        scaled = logits / np.float32(np.exp(logarithm))
        scaled -= scaled.max(axis=1, keepdims=True)
        norm = np.log(np.exp(scaled).sum(axis=1))
        return float((norm - scaled[np.arange(len(truth)), truth]).mean(dtype=np.float64))

    best = minimize_scalar(loss, bounds=tuple(np.log(TEMPERATURES)), method="bounded", options={"xatol": 1e-3})
    return float(np.exp(best.x))


def fit_threshold(probability: NDArray[np.floating], truth: NDArray[np.bool_]) -> float:
    """The middle of the thresholds on ``probability`` ``[N]`` with the best IoU against ``truth`` ``[N]``."""
    edges = np.concatenate([[-np.inf], THRESHOLDS, [np.inf]])
    wet, dry = (np.histogram(probability[mask], edges)[0][::-1].cumsum()[::-1][1:] for mask in (truth, ~truth))
    iou = wet / np.maximum(dry + truth.sum(), 1)
    return float(THRESHOLDS[iou >= iou.max() - 0.001].mean())


def _sample(predictor: Predictor, source: ChipSource, target: str) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Logarithms of probabilities ``[N, K]``, which are logits, and labels ``[N]`` of pixels labelled and seen."""
    logits, truths = [], []
    for number in range(len(source)):
        chip = source[number]
        if target not in chip.targets:
            continue
        truth = chip.targets[target]
        probabilities = answer(predictor, chip.images)
        known = truth != NODATA
        seen = np.logical_and.reduce([chip.valid(role) for role in predictor.signature.inputs])
        if seen.shape == known.shape:
            known &= seen
        pixels = np.flatnonzero(known)
        if len(pixels) > PIXELS:
            pixels = np.random.default_rng(number).choice(pixels, PIXELS, replace=False)
        logits.append(np.log(np.maximum(probabilities.reshape(len(probabilities), -1)[:, pixels].T, SMALLEST)))
        truths.append(truth.reshape(-1)[pixels])
    if not sum(map(len, truths)):
        raise TrainingError(f"no validation chip has a labelled pixel of '{target}' to calibrate on")
    return np.concatenate(logits).astype(np.float32), np.concatenate(truths)
