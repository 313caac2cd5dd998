"""What a training step minimises: batches by feed → loss in named parts; who learns, and who is only asked."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from undercast.chip import Batch
from undercast.losses import Total

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


def terms(totals: Mapping[str, tuple[Total, float]]) -> dict[str, Term]:
    """The named totals of a loss as the terms of a step."""
    return {name: Term(total, weight) for name, (total, weight) in totals.items()}
