"""Objectives of labels and of a teacher's answers, asked while training or kept with the chips."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from undercast.chip import Batch
from undercast.engine.objective import HardLoss, Images, Objective, SoftLoss, SoftTerms, Step, Term, terms
from undercast.engine.observed import observed_target, pick, seen, seen_by_any
from undercast.losses.distil import log_probabilities
from undercast.task import NODATA


class Distilled(Objective):
    """Learn from labels and from a teacher's answers on images without labels [Hinton 2015; Garg 2023].

    ``teacher`` is a :class:`Frozen` network, or reads answers that the batch carries. ``sees`` says what it looks at:
    teacher role → role in the batch. It may name images that the student never gets (another sensor, a clearer sky) or
    the same image before its radiometry was jittered; geometry is always the student's own. The teacher's signal counts
    only where every image it looks at was seen, where the target ``cloud``
    (if named) does not say cloud or shadow (a value from 1 to 254), and where the student saw anything.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: Callable[[Images], Tensor],
        loss: HardLoss,
        soft_loss: SoftLoss,
        *,
        target: str,
        roles: Sequence[str],
        sees: Mapping[str, str],
        weight: float = 1.0,
        cloud: str | None = None,
        labelled: str = "labelled",
        unlabelled: str = "unlabelled",
    ) -> None:
        super().__init__(student)
        self.teacher = teacher
        self.loss, self.soft_loss, self.weight = loss, soft_loss, weight
        self.target, self.roles, self.sees, self.cloud = target, tuple(roles), dict(sees), cloud
        self.feeds = (labelled, unlabelled)

    def forward(self, batches: Mapping[str, Batch]) -> Step:
        """The terms of the loss on the labelled feed, and ``teacher`` on the unlabelled one."""
        hand, pairs = (batches[feed] for feed in self.feeds)
        # One pass over both, so that batch statistics are of the whole batch.
        together = {role: torch.cat([hand.images[role], pairs.images[role]]) for role in self.roles}
        logits = self.student(together).float()
        answers = self.teacher({role: pairs.images[name] for role, name in self.sees.items()})
        hard = self.loss(logits[: len(hand)], observed_target(hand, self.target, self.roles))
        soft = self.soft_loss(logits[len(hand) :], answers, self._signal(pairs).float())
        return Step(terms(hard) | {"teacher": Term(soft, self.weight)})

    def _signal(self, batch: Batch) -> Tensor:
        """Where the teacher may be believed, ``[B, H, W]`` bool."""
        mask = seen_by_any(batch.images, self.roles)
        for name in self.sees.values():
            mask = mask & seen(batch.images[name])
        if self.cloud is not None:
            cloud = batch.targets[self.cloud]
            mask = mask & ((cloud == 0) | (cloud == NODATA))
        return mask


class Squeezed(Objective):
    """Learn from labels, and from a teacher's answers that were kept with the chips, so that they cost nothing a step.

    Every feed's batches carry the answers as an image ``answer``: probabilities ``[B, K, H, W]`` on the student's own
    crop, NaN where the teacher saw nothing. Of chips of ``unlabelled`` (None: there are none) no label is read.
    """

    def __init__(
        self,
        student: nn.Module,
        loss: HardLoss,
        soft_loss: SoftTerms,
        *,
        target: str,
        roles: Sequence[str],
        answer: str,
        labelled: str = "labelled",
        unlabelled: str | None = "unlabelled",
    ) -> None:
        super().__init__(student)
        self.loss, self.soft_loss, self.answer = loss, soft_loss, answer
        self.target, self.roles = target, tuple(roles)
        self.feeds = (labelled, unlabelled) if unlabelled else (labelled,)

    def forward(self, batches: Mapping[str, Batch]) -> Step:
        """The terms of the loss on labelled chips, and those of the soft loss on all."""
        parts = [batches[feed] for feed in self.feeds]
        images = {role: torch.cat([part.images[role] for part in parts]) for role in (*self.roles, self.answer)}
        logits = self.student(pick(images, self.roles)).float()
        hand = parts[0]
        hard = self.loss(logits[: len(hand)], observed_target(hand, self.target, self.roles))
        believed = seen(images[self.answer]) & seen_by_any(images, self.roles)
        answers = log_probabilities(images[self.answer].nan_to_num(0.5))
        return Step(terms(hard) | terms(self.soft_loss(logits, answers, believed.float())))
