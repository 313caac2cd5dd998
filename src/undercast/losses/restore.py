"""Losses of what is under cloud: the restored image against the clear one, features against a teacher's [Xu 2024].

``covered`` ``[B, H, W]`` float32 is M of the paper: 1 under cloud, 0 where the sky is clear, and between where it is
known how much light the cloud takes away. ``known`` ``[B, H, W]`` bool says where there is anything to compare with;
elsewhere a tensor may hold NaN and nothing of it reaches the sum, the count or a gradient.
"""

import torch
from pydantic import Field
from torch import Tensor

from undercast.config import Settings
from undercast.losses.segmentation import Total


class RestorationConfig(Settings):
    """The paper's restoration loss; reflectances are 0 to 1."""

    emphasis: float = Field(default=5.0, ge=0, description="how much more a pixel under cloud counts")
    exponent: float = Field(default=0.45, gt=0, description="of the squared difference")
    floor: float = Field(default=1e-6, gt=0, description="added to the squared difference, reflectance squared")


def restoration(
    restored: Tensor, clear: Tensor, covered: Tensor, known: Tensor, config: RestorationConfig | None = None
) -> Total:
    """``mean[(1 + 5M)·((x̂ - x)² + 1e-6)^0.45]`` of images ``[B, C, H, W]``, over bands and known pixels [Xu 2024]."""
    config = config or RestorationConfig()
    apart = _where(known, restored.float() - clear.float())
    losses = (apart.square() + config.floor) ** config.exponent
    weights = known * (1 + config.emphasis * covered)
    return Total((losses * weights.unsqueeze(1)).sum(), known.sum().float() * restored.shape[1])


def hint(student: Tensor, teacher: Tensor, covered: Tensor, known: Tensor, *, normalised: bool = False) -> Total:
    """``mean[(1 - M)·(F_s - F_t)²]`` of features ``[B, F, H, W]``, over channels and known pixels [Xu 2024].

    A mean over all pixels is worth the less the more of them are covered. ``normalised`` divides by ``Σ(1 - M)``
    instead, which is ours. The teacher gets no gradient.
    """
    losses = _where(known, student.float() - teacher.detach().float()).square()
    weights = known * (1 - covered)
    count = weights.sum() if normalised else known.sum().float()
    return Total((losses * weights.unsqueeze(1)).sum(), count * student.shape[1])


def _where(known: Tensor, difference: Tensor) -> Tensor:
    return torch.where(known.unsqueeze(1), difference, torch.zeros_like(difference))
