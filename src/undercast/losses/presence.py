"""Losses against labels of whole chips: does the chip hold what is looked for?

All take logits ``[B]`` (any float type, computed in float32) and a target ``[B]`` int64: 1 where the chip holds it, 0
where not, 255 where nobody knows, which adds nothing to the sum, to the count or to any gradient.
"""

import torch
from torch import Tensor
from torch.nn import functional

from undercast.losses.segmentation import Total, weighted_total
from undercast.task import NODATA


def presence(logits: Tensor, target: Tensor) -> Total:
    """Binary cross-entropy of each chip, over chips."""
    known = (target != NODATA).float()
    truth = (target == 1).float()
    losses = functional.binary_cross_entropy_with_logits(logits.float(), truth, reduction="none")
    return weighted_total(losses, known)


def presence_across_batch(logits: Tensor, target: Tensor) -> Total:
    """What the published code of [Böhm 2022] minimises: a softmax *across the batch* instead of one in each chip.

    Cross-entropy of one-dimensional predictions takes the chips of a batch for the classes of one chip. A batch without
    a landslide has loss 0; the sum over the chips of a process is no mean over them, so the count is 1.
    """
    truth = (target == 1).float()
    shares = logits.float().masked_fill(target == NODATA, -1e9).log_softmax(dim=0)
    loss = -torch.where(truth > 0, shares, torch.zeros_like(shares)).sum()
    return Total(loss, torch.ones_like(loss))
