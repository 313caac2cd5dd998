"""Losses against a teacher's answers instead of labels [Hinton 2015].

All take student logits ``[B, K, h, w]`` and the teacher's logits of the same shape; logarithms of probabilities are
logits too, which is how the mean of several teachers is handed in (:func:`log_probabilities`). ``weights``
``[B, h, w]`` says how much a pixel of the teacher is worth: 0 where it saw nothing, so nothing there reaches the sum
or a gradient.

**The binary trap.** With two classes a softmax has one degree of freedom, so whatever standardises the logits of a
pixel, or correlates a pixel's classes (DIST's inter-class term [Huang 2022], logit standardisation [Sun 2024]), is
±1 for any logits and has no gradient. The losses here compare probabilities and work for any number of classes.
"""

import torch
from torch import Tensor

from undercast.losses.segmentation import Total, weighted_total
from undercast.task import NODATA

LEAST_PROBABILITY = 1e-7
"""Of a teacher; a probability of exactly 0 has no logarithm, and float32 cannot tell 1 - 1e-7 from much nearer to 1."""


def divergence(student: Tensor, teacher: Tensor, *, temperature: float = 1.0, weights: Tensor | None = None) -> Total:
    """``T²·KL(softmax(teacher/T) ‖ softmax(student/T))`` of every pixel, over the sum of weights [Hinton 2015].

    Zero exactly where both agree. The factor T² keeps the gradient's size as T changes. The teacher gets no gradient.
    """
    target = _soft(teacher, temperature, weights)
    answer = (student.float() / temperature).log_softmax(dim=1)
    losses = temperature**2 * (target.exp() * (target - answer)).sum(dim=1)
    return weighted_total(losses, _weights(losses, weights))


def soft_cross_entropy(
    student: Tensor, teacher: Tensor, *, temperature: float = 1.0, weights: Tensor | None = None
) -> Total:
    """``-T²·Σ softmax(teacher/T)·log softmax(student/T)`` of every pixel, over the sum of weights.

    The divergence plus the teacher's own entropy: the same gradient, and on the same scale as cross-entropy on labels.
    """
    target = _soft(teacher, temperature, weights)
    answer = (student.float() / temperature).log_softmax(dim=1)
    losses = -(temperature**2) * (target.exp() * answer).sum(dim=1)
    return weighted_total(losses, _weights(losses, weights))


def log_probabilities(probabilities: Tensor) -> Tensor:
    """Logits that stand for ``probabilities`` ``[B, K, h, w]``: their logarithm, kept finite."""
    return probabilities.float().clamp(min=LEAST_PROBABILITY).log()


def confidence(teacher: Tensor, *, floor: float = 0.0) -> Tensor:
    """How sure the teacher is, ``[B, h, w]`` in 0 … 1: 0 where its best class is no likelier than chance.

    ``(K·max p - 1) / (K - 1)``; below ``floor`` it is 0, so that what the teacher does not know is not taught.
    """
    classes = teacher.shape[1]
    best = teacher.detach().float().softmax(dim=1).amax(dim=1)
    sure = ((classes * best - 1) / (classes - 1)).clamp(0, 1)
    return torch.where(sure >= floor, sure, torch.zeros_like(sure))


def harden(teacher: Tensor, *, threshold: float = 0.0) -> Tensor:
    """Labels ``[B, h, w]`` int64 of a teacher's likeliest class; 255 where its probability is below ``threshold``."""
    best, label = teacher.detach().float().softmax(dim=1).max(dim=1)
    return torch.where(best >= threshold, label, torch.full_like(label, NODATA))


def _soft(teacher: Tensor, temperature: float, weights: Tensor | None) -> Tensor:
    """The teacher's log-probabilities; where it is worth nothing its logits may be anything, even NaN."""
    logits = teacher.detach().float()
    if weights is not None:
        logits = torch.where(weights.unsqueeze(1) > 0, logits, torch.zeros_like(logits))
    return (logits / temperature).log_softmax(dim=1)


def _weights(losses: Tensor, weights: Tensor | None) -> Tensor:
    return torch.ones_like(losses) if weights is None else weights.to(losses)
