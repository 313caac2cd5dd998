"""A network that answers as its exported file will: raw images in, calibrated probabilities out."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

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
        self.signature.check_roles(set(images))
        return softmax(self.logits(images) / np.float32(self.signature.temperature))

    def logits(self, images: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Logits of the same, before temperature and softmax."""
        device = next(iter(self.segmenter.parameters())).device
        given = {
            role: torch.from_numpy(np.ascontiguousarray(images[role], np.float32)).to(device)
            for role in self.signature.inputs
        }
        with torch.no_grad():
            answer: NDArray[np.float32] = self.segmenter(given).float().cpu().numpy()
        return answer


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities of logits ``[B, K, h, w]``, over the classes."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: NDArray[np.float32] = shifted / shifted.sum(axis=1, keepdims=True)
    return result
