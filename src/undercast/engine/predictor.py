"""A network that answers as its exported file will: raw images in, calibrated probabilities out."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from undercast.nets import Segmenter
from undercast.predict.predictor import PROBABILITIES, RESTORED
from undercast.signature import Signature


class TorchPredictor:
    """A :class:`~undercast.predict.Predictor` on torch: for validation while training, and to prove an export against.

    Args:
        segmenter: images by role, raw and NaN where unseen → logits. Asked in the mode it is in; give it in ``eval()``.
        signature: its contract; the temperature is taken from here.
    """

    def __init__(self, segmenter: nn.Module, signature: Signature) -> None:
        self.segmenter = segmenter
        self.signature = signature

    def predict(self, images: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Probabilities ``[B, K, h, w]`` of raw images ``[B, C, H, W]`` by role, H and W multiples of the stride.

        Raises:
            ModelError: a role of the signature is missing.
        """
        return softmax(self.logits(images) / np.float32(self.signature.temperature))

    def outputs(self, images: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """``probabilities`` and, of a network that restores, ``restored`` ``[B, C, H, W]`` within its valid range.

        Raises:
            ModelError: a role of the signature is missing.
        """
        role = self.signature.restores
        if role is None or not isinstance(self.segmenter, Segmenter):
            return {PROBABILITIES: self.predict(images)}
        with torch.no_grad():
            found = self.segmenter.answer(self._given(images))
        assert found.restored is not None
        restored = found.restored.clamp(*self.signature.inputs[role].valid_range)
        probabilities = softmax(_array(found.logits) / np.float32(self.signature.temperature))
        return {PROBABILITIES: probabilities, RESTORED: _array(restored)}

    def logits(self, images: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Logits of the same, before temperature and softmax."""
        with torch.no_grad():
            return _array(self.segmenter(self._given(images)))

    def _given(self, images: Mapping[str, NDArray[np.float32]]) -> dict[str, Tensor]:
        device = next(iter(self.segmenter.parameters())).device
        return {
            role: torch.from_numpy(np.ascontiguousarray(image, np.float32)).to(device)
            for role, image in self.signature.complete(images).items()
        }


def _array(tensor: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.float().cpu().numpy()
    return array


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities of logits ``[B, K, h, w]``, over the classes."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: NDArray[np.float32] = shifted / shifted.sum(axis=1, keepdims=True)
    return result
