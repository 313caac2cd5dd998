"""What a training step minimises: batches by feed → loss in named parts; who learns, and who is only asked."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from undercast.chip import Batch
from undercast.errors import TrainingError
from undercast.losses import Total
from undercast.losses.distil import log_probabilities
from undercast.task import NODATA

Images = dict[str, Tensor]
R = TypeVar("R")

HardLoss = Callable[[Tensor, Tensor], Mapping[str, tuple[Total, float]]]
"""Logits ``[B, K, H, W]`` and target ``[B, H, W]`` int64 (255 = no label) → named totals, each with its weight."""

SoftLoss = Callable[[Tensor, Tensor, Tensor], Total]
"""Student logits, teacher logits ``[B, K, H, W]`` and weights ``[B, H, W]`` (0: no signal) → total."""

SoftTerms = Callable[[Tensor, Tensor, Tensor], Mapping[str, tuple[Total, float]]]
"""The same arguments → named totals, each with its weight."""


class Term(NamedTuple):
    """One part of a loss: its total over the pixels of this process, and what its mean weighs."""

    total: Total
    weight: float


class Step(NamedTuple):
    """A training step's loss in named parts; the loss is ``Σ weight · sum / count`` with sums over all processes."""

    terms: dict[str, Term]


class Objective(nn.Module, ABC):
    """What is minimised. Owns the ``student``: the network that learns and ships.

    ``forward`` takes one :class:`~undercast.chip.Batch` a feed, by the names in ``feeds``, and answers a :class:`Step`.
    Whatever else it holds as a module is trained with the student but does not ship. A teacher is held as
    :class:`Frozen` and so is in no ``state_dict``, in no optimiser and untouched by ``train()``.
    """

    feeds: tuple[str, ...]

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.student = student

    @abstractmethod
    def forward(self, batches: Mapping[str, Batch]) -> Step:
        """The loss of one step. ``batches``: feed name → batch."""


class Frozen:
    """A network that may be asked and never changes: a snapshot, in evaluation mode, without gradients.

    Deliberately not an ``nn.Module``, so that no parent registers, trains, saves or ships it. It answers under
    ``torch.no_grad`` (not ``inference_mode``, whose tensors no loss may save for its backward pass).
    """

    def __init__(self, module: nn.Module) -> None:
        # A copy: whoever holds the original may train on without changing the teacher.
        self._module = copy.deepcopy(module).eval().requires_grad_(False)

    def __call__(self, images: Images) -> Tensor:
        """Logits ``[B, K, H, W]`` float32 of the images by role, each ``[B, C, H, W]``."""
        self._follow(images)
        with torch.no_grad():
            logits: Tensor = self._module(images)
        return logits.float()

    def ask(self, images: Images, question: Callable[[nn.Module, Images], R]) -> R:
        """What ``question(network, images)`` says, which may be more than logits; without gradients."""
        self._follow(images)
        with torch.no_grad():
            return question(self._module, images)

    def _follow(self, images: Images) -> None:
        device = next(iter(images.values())).device
        if any(tensor.device != device for tensor in self._module.parameters()):
            self._module.to(device)

    def state(self) -> dict[str, Tensor]:
        """Copies of all weights and buffers, by name."""
        return {name: tensor.clone() for name, tensor in self._module.state_dict().items()}

    @property
    def training(self) -> bool:
        """Whether any part is in training mode: never."""
        return any(part.training for part in self._module.modules())


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
        logits = self.student(_pick(batch.images, self.roles)).float()
        return Step(_terms(self.loss(logits, _observed_target(batch, self.target, self.roles))))


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
        logits = whole_logits(self.student(_pick(batch.images, self.roles)), self.rim)
        labels = whole_labels(_observed_target(batch, self.target, self.roles))
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
        hard = self.loss(logits[: len(hand)], _observed_target(hand, self.target, self.roles))
        soft = self.soft_loss(logits[len(hand) :], answers, self._signal(pairs).float())
        return Step(_terms(hard) | {"teacher": Term(soft, self.weight)})

    def _signal(self, batch: Batch) -> Tensor:
        """Where the teacher may be believed, ``[B, H, W]`` bool."""
        mask = _seen_by_any(batch.images, self.roles)
        for name in self.sees.values():
            mask = mask & _seen(batch.images[name])
        if self.cloud is not None:
            cloud = batch.targets[self.cloud]
            mask = mask & ((cloud == 0) | (cloud == NODATA))
        return mask


class DeeplySupervised(Objective):
    """Learn from labels at every resolution the student answers at [Isensee 2021].

    The loss at resolution ``i`` weighs ``1/2^i``, weights summing to 1, and sees every ``2^i``-th pixel of the target.
    """

    def __init__(
        self, student: nn.Module, loss: HardLoss, *, target: str, roles: Sequence[str], feed: str = "labelled"
    ) -> None:
        super().__init__(student)
        self.loss, self.target, self.roles, self.feed = loss, target, tuple(roles), feed
        self.feeds = (feed,)

    def forward(self, batches: Mapping[str, Batch]) -> Step:
        """The terms of the loss; those of half resolution carry ``/2`` in their name, and so on."""
        batch = batches[self.feed]
        answers: list[Tensor] = self.student.resolutions(_pick(batch.images, self.roles))  # type: ignore[operator]
        target = _observed_target(batch, self.target, self.roles)
        whole = sum(0.5**level for level in range(len(answers)))
        terms: dict[str, Term] = {}
        for level, logits in enumerate(answers):
            every, name = 2**level, f"/{2**level}" if level else ""
            found = self.loss(logits.float(), target[:, ::every, ::every])
            terms |= {f"{part}{name}": Term(total, w * 0.5**level / whole) for part, (total, w) in found.items()}
        return Step(terms)


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
        logits = self.student(_pick(images, self.roles)).float()
        hand = parts[0]
        hard = self.loss(logits[: len(hand)], _observed_target(hand, self.target, self.roles))
        believed = _seen(images[self.answer]) & _seen_by_any(images, self.roles)
        answers = log_probabilities(images[self.answer].nan_to_num(0.5))
        return Step(_terms(hard) | _terms(self.soft_loss(logits, answers, believed.float())))


def _terms(totals: Mapping[str, tuple[Total, float]]) -> dict[str, Term]:
    return {name: Term(total, weight) for name, (total, weight) in totals.items()}


def _pick(images: Images, roles: Sequence[str]) -> Images:
    missing = [role for role in roles if role not in images]
    if missing:
        raise TrainingError(f"the feed has no role {', '.join(missing)}; it carries {', '.join(images)}")
    return {role: images[role] for role in roles}


def _seen(image: Tensor) -> Tensor:
    return image.isfinite().all(dim=1)


def _seen_by_any(images: Images, roles: Sequence[str]) -> Tensor:
    return torch.stack([_seen(images[role]) for role in roles]).any(dim=0)


def _observed_target(batch: Batch, name: str, roles: Sequence[str]) -> Tensor:
    """The target with 255 where no role saw anything (targets on another grid than the images are left as they are)."""
    target, seen = batch.targets[name], _seen_by_any(batch.images, roles)
    return target.masked_fill(~seen, NODATA) if target.shape == seen.shape else target
