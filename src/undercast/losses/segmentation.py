"""Losses against labels. Each gives a sum and a count, so that ranks can add both and divide once.

All take logits ``[B, K, h, w]`` (any float type, computed in float32) and a target ``[B, h, w]`` int64 in which 255 is
no label: there a pixel adds nothing to the sum, to the count or to any gradient.
"""

from typing import NamedTuple

import torch
import torch.distributed as dist
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from undercast.config import Settings
from undercast.task import NODATA


class Total(NamedTuple):
    """A loss before division: ``sum`` over pixels (or chips) and the ``count`` to divide by, both float32 scalars.

    Sums and counts of several ranks or batches add; the loss is the sum of sums over the sum of counts.
    """

    sum: Tensor
    count: Tensor  # type: ignore[assignment]  # hides tuple.count, which nobody asks of a loss

    def mean(self) -> Tensor:
        """``sum / count``; 0, with a gradient of 0, where nothing was counted."""
        return self.sum / torch.where(self.count > 0, self.count, torch.ones_like(self.count))


def weighted_total(losses: Tensor, weights: Tensor) -> Total:
    """Total of ``losses · weights`` over the sum of ``weights``, both ``[B, h, w]``; a weight of 0 hides even a NaN."""
    losses = torch.where(weights > 0, losses, torch.zeros_like(losses))
    return Total((losses * weights).sum(), weights.sum())


def cross_entropy(
    logits: Tensor, target: Tensor, *, class_weights: Tensor | None = None, pixel_weights: Tensor | None = None
) -> Total:
    """Cross-entropy, weighted by class (``[K]``) and by pixel (``[B, h, w]``), over the sum of weights."""
    losses, known = _pixel_losses(logits, target)
    weights = known.float()
    if class_weights is not None:
        weights = weights * class_weights.to(losses)[_safe(target)]
    if pixel_weights is not None:
        weights = weights * pixel_weights.to(losses)
    return weighted_total(losses, weights)


def focal(logits: Tensor, target: Tensor, *, gamma: float = 2.0, class_weights: Tensor | None = None) -> Total:
    """Focal loss ``-(1 - p)^gamma · log p`` of the true class [Lin 2017], over the sum of class weights."""
    losses, known = _pixel_losses(logits, target)
    weights = known.float()
    if class_weights is not None:
        weights = weights * class_weights.to(losses)[_safe(target)]
    # 1 - exp(-x) loses all digits near 0, and a power of exactly 0 has no gradient below gamma 1.
    wrong = (-torch.expm1(-losses)).clamp(min=1e-12)
    return weighted_total(wrong**gamma * losses, weights)


def dice(
    logits: Tensor,
    target: Tensor,
    *,
    classes: tuple[int, ...] | None = None,
    smooth: float = 1.0,
    pooled: bool = False,
) -> Total:
    """Soft Dice loss ``1 - (2·Σpy + smooth) / (Σp + Σy + smooth)`` [Milletari 2016] of each chip, over chips.

    Mean over ``classes`` (default: all but 0); ``smooth`` is in pixels. Chips without any label are not counted.
    ``pooled``: the sums run over all chips of the batch together, so that a false alarm on a chip without the class
    costs no more than one elsewhere [Isensee 2021]; over the chips of every process, so that all answer the same.
    """
    known = (target != NODATA).unsqueeze(1)
    chosen = list(classes) if classes is not None else list(range(1, logits.shape[1]))
    probabilities = logits.float().softmax(dim=1)[:, chosen]
    truth = functional.one_hot(_safe(target), logits.shape[1]).movedim(-1, 1)[:, chosen]
    return overlap(probabilities, truth, known, smooth=smooth, pooled=pooled)


def overlap(probabilities: Tensor, truth: Tensor, known: Tensor, *, smooth: float = 1.0, pooled: bool = False) -> Total:
    """What :func:`dice` is of shares of classes, both ``[B, K, h, w]``, where ``known`` ``[B, 1, h, w]`` bool."""
    probabilities, truth = probabilities * known, truth * known
    shared = (probabilities * truth).sum(dim=(2, 3))
    either = probabilities.sum(dim=(2, 3)) + truth.sum(dim=(2, 3))
    if pooled:
        shared, either = _everywhere(shared.sum(dim=0, keepdim=True)), _everywhere(either.sum(dim=0, keepdim=True))
        known = known.any(dim=0, keepdim=True)
    losses = (1 - (2 * shared + smooth) / (either + smooth)).mean(dim=1)
    return weighted_total(losses, known.any(dim=3).any(dim=2).any(dim=1).float())


class EdgeConfig(Settings):
    """How much more a pixel beside the edge of the water counts [Garg 2023, Fig. 4].

    The paper shows the two bands; their weights and width are our choice.
    """

    inner: float = Field(default=1.0, ge=0, description="added to the weight of water this close to dry ground")
    outer: float = Field(default=1.0, ge=0, description="added to the weight of dry ground this close to water")
    width: int = Field(default=2, ge=1, description="width of each band, pixels")
    positive: int = Field(default=1, ge=0, description="value of the class whose edge it is")


def edge_weights(target: Tensor, config: EdgeConfig) -> Tensor:
    """``1 + inner·inner band + outer·outer band`` of a target ``[B, h, w]``, float32 of the same shape [Garg 2023].

    The inner band is what erosion by a square takes from the water, the outer what dilation adds; where water meets
    255 there is no edge, since what lies there is not known. Unlabelled pixels weigh 1 (and are ignored by the losses).
    """
    water = (target == config.positive).float()
    dry = ((target != config.positive) & (target != NODATA)).float()
    inner = water * _dilate(dry, config.width)
    outer = dry * _dilate(water, config.width)
    return 1 + config.inner * inner + config.outer * outer


def edge_cross_entropy(
    logits: Tensor, target: Tensor, config: EdgeConfig, *, class_weights: Tensor | None = None
) -> Total:
    """Cross-entropy weighted by :func:`edge_weights` [Garg 2023], over the sum of weights."""
    weights = edge_weights(target, config)
    return cross_entropy(logits, target, class_weights=class_weights, pixel_weights=weights)


class SegmentationLossConfig(Settings):
    """A weighted sum of losses against labels; a weight of 0 leaves one out."""

    cross_entropy: float = Field(default=1.0, ge=0, description="weight of cross-entropy")
    edge: EdgeConfig | None = Field(default=None, description="weight the cross-entropy at the edges of a class")
    class_weights: tuple[float, ...] = Field(default=(), description="of cross-entropy and focal loss; empty: all 1")
    focal: float = Field(default=0.0, ge=0, description="weight of the focal loss")
    gamma: float = Field(default=2.0, ge=0, description="exponent of the focal loss")
    dice: float = Field(default=0.0, ge=0, description="weight of the Dice loss")
    smooth: float = Field(default=1.0, gt=0, description="of the Dice loss, pixels")
    pooled: bool = Field(default=False, description="Dice loss over all chips of a batch together, not of each")

    def terms(self, logits: Tensor, target: Tensor) -> dict[str, tuple[Total, float]]:
        """Every loss that counts, by name, with its weight."""
        terms: dict[str, tuple[Total, float]] = {}
        weights = torch.tensor(self.class_weights, device=logits.device) if self.class_weights else None
        if self.cross_entropy:
            pixels = edge_weights(target, self.edge) if self.edge else None
            total = cross_entropy(logits, target, class_weights=weights, pixel_weights=pixels)
            terms["cross_entropy"] = total, self.cross_entropy
        if self.focal:
            terms["focal"] = focal(logits, target, gamma=self.gamma, class_weights=weights), self.focal
        if self.dice:
            terms["dice"] = dice(logits, target, smooth=self.smooth, pooled=self.pooled), self.dice
        return terms


def _everywhere(sums: Tensor) -> Tensor:
    """``sums`` added over all processes; the gradient is that of every process's loss."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return sums
    from torch.distributed.nn.functional import all_reduce

    total: Tensor = all_reduce(sums)  # type: ignore[no-untyped-call]
    return total


def _pixel_losses(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy ``[B, h, w]``, 0 where there is no label, and where there is one."""
    return functional.cross_entropy(logits.float(), target, ignore_index=NODATA, reduction="none"), target != NODATA


def _safe(target: Tensor) -> Tensor:
    return torch.where(target == NODATA, torch.zeros_like(target), target)


def _dilate(mask: Tensor, width: int) -> Tensor:
    return functional.max_pool2d(mask.unsqueeze(1), 2 * width + 1, stride=1, padding=width).squeeze(1)
