"""Objectives of labels alone: of pixels, at several resolutions, or of whole chips."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from undercast.chip import Batch
from undercast.engine.objective import HardLoss, Objective, Step, Term, terms
from undercast.engine.observed import observed_target, pick
from undercast.losses import Total
from undercast.task import NODATA


class Supervised(Objective):
    """Learn from labels: ``loss`` of the student's logits against one target.

    A pixel that none of the student's ``roles`` saw carries no label: there is nothing to learn it from.
    """

    def __init__(
        self, student: nn.Module, loss: HardLoss, *, target: str, roles: Sequence[str], feed: str = "labelled"
    ) -> None:
        super().__init__(student)
        self.loss, self.target, self.roles, self.feed = loss, target, tuple(roles), feed
        self.feeds = (feed,)

    def forward(self, batches: Mapping[str, Batch]) -> Step:
        """The terms of the loss."""
        batch = batches[self.feed]
        logits = self.student(pick(batch.images, self.roles)).float()
        return Step(terms(self.loss(logits, observed_target(batch, self.target, self.roles))))


class DeeplySupervised(Supervised):
    """Learn from labels at every resolution the student answers at [Isensee 2021].

    The loss at resolution ``i`` weighs ``1/2^i``, weights summing to 1, and sees every ``2^i``-th pixel of the target.
    """

    def forward(self, batches: Mapping[str, Batch]) -> Step:
        """The terms of the loss; those of half resolution carry ``/2`` in their name, and so on."""
        batch = batches[self.feed]
        answers: list[Tensor] = self.student.resolutions(pick(batch.images, self.roles))  # type: ignore[operator]
        target = observed_target(batch, self.target, self.roles)
        whole = sum(0.5**level for level in range(len(answers)))
        parts: dict[str, Term] = {}
        for level, logits in enumerate(answers):
            every, name = 2**level, f"/{2**level}" if level else ""
            found = self.loss(logits.float(), target[:, ::every, ::every])
            parts |= {f"{part}{name}": Term(total, w * 0.5**level / whole) for part, (total, w) in found.items()}
        return Step(parts)


class Presence(Objective):
    """Learn whether a chip holds class 1 at all: ``loss`` of the mean logit of each chip [Böhm 2022].

    The logit of a pixel is that of class 1 over class 0. The label of a chip is 1 where a labelled pixel of the target
    is class 1, 0 where labelled pixels are not, and 255 where there is none. ``rim`` pixels before and after every row
    and column do not count in the mean.
    """

    def __init__(
        self,
        student: nn.Module,
        loss: Callable[[Tensor, Tensor], Total],
        *,
        target: str,
        roles: Sequence[str],
        rim: tuple[int, int] = (0, 0),
        feed: str = "labelled",
    ) -> None:
        super().__init__(student)
        self.loss, self.target, self.roles, self.rim, self.feed = loss, target, tuple(roles), rim, feed
        self.feeds = (feed,)

    def forward(self, batches: Mapping[str, Batch]) -> Step:
        """The one term ``presence``."""
        batch = batches[self.feed]
        logits = whole_logits(self.student(pick(batch.images, self.roles)), self.rim)
        labels = whole_labels(observed_target(batch, self.target, self.roles))
        return Step({"presence": Term(self.loss(logits, labels), 1.0)})


def whole_logits(logits: Tensor, rim: tuple[int, int]) -> Tensor:
    """One logit a chip, ``[B]`` float32: the mean over pixels of ``logits`` ``[B, 2, H, W]`` without their ``rim``."""
    first, last = rim
    inside = (logits[:, 1] - logits[:, 0]).float()[:, first : logits.shape[2] - last, first : logits.shape[3] - last]
    return inside.mean(dim=(1, 2))


def whole_labels(target: Tensor) -> Tensor:
    """One label a chip, ``[B]`` int64, of a target ``[B, H, W]``."""
    known = target.masked_fill(target == NODATA, -1).amax(dim=(1, 2))
    return torch.where(known < 0, NODATA, (known == 1).long())
