"""The running mean of the student's weights, which generalises better than the last ones [Tarvainen 2017]."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class Average:
    """Exponential moving average of a module's weights and buffers.

    The decay grows with the step to ``decay`` so that a short run is not an average over its first moments. A tensor
    that does not change keeps its bits: interpolating between equal numbers is exact.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self._tensors = module.state_dict()  # views: they follow the module
        self.mean = {name: tensor.detach().clone() for name, tensor in self._tensors.items()}
        self._float = [name for name, tensor in self._tensors.items() if tensor.is_floating_point()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the module's tensors; ``step`` counts from 0."""
        keep = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(
            [self.mean[name] for name in self._float], [self._tensors[name] for name in self._float], 1 - keep
        )
        for name in self.mean.keys() - set(self._float):
            self.mean[name].copy_(self._tensors[name])

    @torch.no_grad()
    def settle(self) -> None:
        """Put the mean into the module for good."""
        for name, tensor in self._tensors.items():
            tensor.copy_(self.mean[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The module holds the mean inside the ``with`` block, and its own tensors again after it."""
        own = {name: tensor.detach().clone() for name, tensor in self._tensors.items()}
        self.settle()
        try:
            yield
        finally:
            with torch.no_grad():
                for name, tensor in self._tensors.items():
                    tensor.copy_(own[name])
