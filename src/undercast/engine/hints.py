"""A student that also learns what its teacher makes of an image on the way to an answer [Romero 2015].

The teacher is asked in every step, for features are too large to keep; the answers stay the kept ones.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from undercast.chip import Batch
from undercast.engine.distilled import Squeezed
from undercast.engine.objective import Frozen, Objective, Step, Term
from undercast.engine.observed import seen_by_any
from undercast.losses.squeeze import hint
from undercast.nets import Segmenter


class Features(nn.Module):
    """A network that answers its features of the lowest resolution, ``[B, C, h, w]``, in place of logits."""

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, images: Mapping[str, Tensor]) -> Tensor:
        """See the class."""
        return self.segmenter.lowest(images)


class Hinted(Objective):
    """The terms of ``squeezed``, and ``hint``: the student's lowest features against those of one ``teacher``.

    A 1×1 convolution brings the student's channels to the teacher's; it learns with the student and does not ship.
    The features come from another pass through the encoder, on the student's own images, and count where a role was
    seen.

    Raises:
        ConfigError: a network without such features, once it is asked.
    """

    def __init__(self, squeezed: Squeezed, student: Segmenter, teacher: Segmenter, weight: float) -> None:
        super().__init__(student)
        self.feeds, self.roles, self.weight = squeezed.feeds, squeezed.roles, weight
        self.teacher = Frozen(Features(teacher))
        self.adapt = nn.Conv2d(_width(student), _width(teacher), 1)
        # Not registered, or the student would be here twice.
        self._parts = (squeezed, Features(student))

    def forward(self, batches: Mapping[str, Batch]) -> Step:
        """The terms of the loss."""
        squeezed, own = self._parts
        step: Step = squeezed(batches)
        parts = [batches[feed] for feed in self.feeds]
        images = {role: torch.cat([part.images[role] for part in parts]) for role in self.roles}
        weights = seen_by_any(images, self.roles).float()
        total = hint(self.adapt(own(images)), self.teacher(images), weights=weights)
        return Step(step.terms | {"hint": Term(total, self.weight)})


@torch.no_grad()
def _width(segmenter: Segmenter) -> int:
    """Channels of its lowest features."""
    edge = 2 * segmenter.stride
    images = {role: torch.zeros(1, len(m.bands), edge, edge) for role, m in segmenter.modalities.items()}
    mode = segmenter.training
    width = int(segmenter.eval().lowest(images).shape[1])
    segmenter.train(mode)
    return width
