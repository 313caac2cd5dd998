"""A predictor asked about overlapping windows of one size, whose answers are blended by a Gaussian [Isensee 2021].

For a network whose answers depend on the size of what it is shown, as under instance normalisation: it is shown what it
learned from. A map is not made so, for it would depend on where the windows lie.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from undercast.errors import ConfigError
from undercast.predict.predictor import Predictor
from undercast.signature import Signature


class Windows:
    """A :class:`Predictor` that asks ``predictor`` about windows of ``tile`` × ``tile`` pixels, half overlapping.

    An edge shorter than a window is taken whole.

    Raises:
        ConfigError: ``tile`` is no multiple of the stride, or the task's answers lie on a grid of their own.
    """

    def __init__(self, predictor: Predictor, tile: int) -> None:
        signature = predictor.signature
        if tile < 1 or tile % signature.stride or signature.task.scale != 1:
            raise ConfigError(f"windows of {tile} pixels do not fit {signature.name}, of stride {signature.stride}")
        self.predictor, self.tile = predictor, tile

    @property
    def signature(self) -> Signature:
        """That of the predictor."""
        return self.predictor.signature

    def predict(self, images: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Probabilities ``[B, K, h, w]`` of images ``[B, C, H, W]`` by role; see :meth:`Predictor.predict`."""
        height, width = next(iter(images.values())).shape[2:]
        rows, cols = min(self.tile, height), min(self.tile, width)
        weight = np.outer(bell(rows), bell(cols)).astype(np.float32)
        total: NDArray[np.float32] | None = None
        weights = np.zeros((height, width), np.float32)
        for top in starts(height, rows):
            for left in starts(width, cols):
                here = (..., slice(top, top + rows), slice(left, left + cols))
                shown = {role: np.ascontiguousarray(image[here]) for role, image in images.items()}
                found = self.predictor.predict(shown)
                if total is None:
                    total = np.zeros((*found.shape[:2], height, width), np.float32)
                total[here] += found * weight
                weights[here] += weight
        assert total is not None
        return total / weights


def starts(length: int, tile: int) -> list[int]:
    """First pixels of windows that cover ``length``, at most half a ``tile`` apart, evenly spread."""
    count = 1 + max(0, -(-(length - tile) * 2 // tile))
    return [round(number * (length - tile) / max(1, count - 1)) for number in range(count)]


def bell(length: int) -> NDArray[np.float64]:
    """A Gaussian of deviation ``length / 8`` about the middle, nowhere below a thousandth, ``[length]``."""
    apart = (np.arange(length) - (length - 1) / 2) / (length / 8)
    found: NDArray[np.float64] = np.maximum(np.exp(-np.square(apart) / 2), 1e-3)
    return found
