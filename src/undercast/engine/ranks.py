"""Several processes that take one step together, the step that one process would take with all the chips.

The loss of each process is its own sum over the *global* count, so gradients are added, not averaged; they travel in
one message a step. Batch statistics are of all processes' chips.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def world_size() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def total(tensor: Tensor) -> Tensor:
    """``tensor`` summed over all processes, detached."""
    tensor = tensor.detach().clone()
    if world_size() > 1:
        dist.all_reduce(tensor)
    return tensor


class _Sum(torch.autograd.Function):
    """Sum over all processes. What each makes of it counts, so the gradient is the sum of all processes' gradients."""

    @staticmethod
    def forward(context: Any, tensor: Tensor) -> Tensor:
        return total(tensor)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return total(gradient)


def add_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its sum over all processes."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if world_size() == 1 or not gradients:
        return
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    dist.all_reduce(flat)
    for gradient, part in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def align(module: nn.Module) -> None:
    """Give every process the tensors of the first."""
    if world_size() > 1:
        for tensor in module.state_dict().values():
            dist.broadcast(tensor, src=0)


@contextmanager
def shared_batch_norm(module: nn.Module) -> Iterator[None]:
    """Inside the ``with`` block, batch statistics in ``module`` are of all processes' chips; nothing else changes."""
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)] if world_size() > 1 else []
    for norm in norms:
        # On the object itself, so that no name changes in the state dict.
        norm.forward = partial(_normalise_together, norm)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward


def _normalise_together(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """Batch normalisation [Ioffe 2015] of ``[B, C, H, W]`` with mean and variance over the chips of all processes."""
    mean, variance = norm.running_mean, norm.running_var
    if not norm.training or mean is None or variance is None or norm.momentum is None:
        return nn.BatchNorm2d.forward(norm, x)
    wide = x.float()
    mine = torch.cat([wide.sum((0, 2, 3)), wide.square().sum((0, 2, 3)), wide.new_tensor([x.numel() / x.shape[1]])])
    sums: Tensor = _Sum.apply(mine)  # type: ignore[no-untyped-call]
    count = sums[-1].detach()
    batch_mean, batch_square = (sums[:-1] / count).chunk(2)
    batch_variance = (batch_square - batch_mean.square()).clamp_min(0)
    with torch.no_grad():
        mean.lerp_(batch_mean, norm.momentum)
        variance.lerp_(batch_variance * count / (count - 1), norm.momentum)
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
    gain = torch.rsqrt(batch_variance + norm.eps) * norm.weight
    shift = norm.bias - batch_mean * gain
    return (wide * gain[:, None, None] + shift[:, None, None]).to(x.dtype)
