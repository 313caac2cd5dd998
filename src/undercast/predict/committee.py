"""Several predictors as one, each asked about mirrored views too: steadier answers than any of them alone."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from undercast.errors import ModelError
from undercast.predict.predictor import Predictor
from undercast.signature import Signature

Views = Literal[1, 2, 4, 8]
"""How many of: as it is, left to right, upside down, both, and these four across the diagonal."""


class Committee:
    """A :class:`Predictor` that answers the mean of ``members``, each asked about ``views`` mirrored views.

    Raises:
        ModelError: no members, or members that differ in task, inputs or stride.
    """

    def __init__(self, members: Sequence[Predictor], views: Views = 1) -> None:
        if not members:
            raise ModelError("a committee has no members: name at least one model")
        first, *others = (member.signature for member in members)
        for other in others:
            if (other.task, other.inputs, other.stride) != (first.task, first.inputs, first.stride):
                raise ModelError(f"models {first.name} and {other.name} differ in task, inputs or stride: no committee")
        self.members, self.views = tuple(members), views

    @property
    def signature(self) -> Signature:
        """That of the first member."""
        return self.members[0].signature

    def predict(self, images: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Mean probabilities ``[B, K, h, w]`` of images ``[B, C, H, W]`` by role; see :meth:`Predictor.predict`."""
        total: NDArray[np.float32] | None = None
        for view in range(self.views):
            seen = {role: mirror(image, view) for role, image in images.items()}
            for member in self.members:
                answered = mirror_back(member.predict(seen), view)
                total = answered if total is None else total + answered
        assert total is not None
        return total / np.float32(self.views * len(self.members))


def mirror(image: NDArray[np.float32], view: int) -> NDArray[np.float32]:
    """View number ``view`` (0 … 7) of ``[..., H, W]``."""
    if view & 4:
        image = image.swapaxes(-1, -2)
    if view & 1:
        image = image[..., ::-1]
    if view & 2:
        image = image[..., ::-1, :]
    return np.ascontiguousarray(image)


def mirror_back(image: NDArray[np.float32], view: int) -> NDArray[np.float32]:
    """What ``mirror(…, view)`` made of it, undone."""
    # Flips undo themselves; after a transposition rows are columns, so the two single flips undo one another.
    return mirror(image, {5: 6, 6: 5}.get(view, view))
