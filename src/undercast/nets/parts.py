"""Parts of networks: normalisation inside the graph, pinned parts, and the reach of a receptive field, measured."""

import copy
import math
from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor, nn

from undercast.errors import ConfigError


class Normalise(nn.Module):
    """Raw values to [-1, 1]: every band is clipped to its own range and scaled; what was not seen becomes 0.

    Takes ``[B, C, H, W]`` in the unit of the modality, NaN or infinite where nothing was seen; gives float32 of the
    same shape, or with one channel more where ``mask_channel`` is set: 1 where every band was seen, else 0.
    With ``standardise`` every band of every image is then brought to mean 0 and deviation 1 over what was seen of it
    [Isensee 2021]. The ranges are buffers, so they travel with the weights.

    Raises:
        ConfigError: a range is empty or not finite.
    """

    low: Tensor
    high: Tensor

    def __init__(
        self, ranges: Sequence[tuple[float, float]], *, mask_channel: bool = False, standardise: bool = False
    ) -> None:
        super().__init__()
        for low, high in ranges:
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ConfigError(f"range ({low}, {high}) of a band is empty; give (low, high) with low < high")
        self.mask_channel, self.standardise = mask_channel, standardise
        self.register_buffer("low", torch.tensor([low for low, _ in ranges]).view(-1, 1, 1))
        self.register_buffer("high", torch.tensor([high for _, high in ranges]).view(-1, 1, 1))

    @property
    def out_channels(self) -> int:
        """Channels of the result."""
        return self.low.shape[0] + int(self.mask_channel)

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        seen = torch.isfinite(image)
        centre, half = (self.high + self.low) / 2, (self.high - self.low) / 2
        # The unseen is replaced before clipping: runtimes disagree on what Clip does with NaN.
        scaled = (torch.where(seen, image, centre) - centre).div(half).clamp(-1.0, 1.0)
        if self.standardise:
            scaled = _standardised(scaled, seen)
        if not self.mask_channel:
            return scaled
        return torch.cat([scaled, seen.all(dim=1, keepdim=True).to(scaled.dtype)], dim=1)

    def restore(self, scaled: Tensor) -> Tensor:
        """Raw values of ``scaled`` ``[B, C, H, W]``, float32: the way back, clipped nowhere."""
        centre, half = (self.high + self.low) / 2, (self.high - self.low) / 2
        raw: Tensor = scaled.float() * half + centre
        return raw


def _standardised(image: Tensor, seen: Tensor) -> Tensor:
    """``image`` ``[B, C, H, W]`` less its mean over its deviation, a band at a time; 0 where it was not ``seen``."""
    count = seen.sum(dim=(2, 3), keepdim=True).clamp(min=1)
    mean = (image * seen).sum(dim=(2, 3), keepdim=True) / count
    apart = (image - mean) * seen
    deviation = (apart.square().sum(dim=(2, 3), keepdim=True) / count).sqrt()
    return apart / (deviation + 1e-4)


class Pinned(nn.Module):
    """A frozen part of a network that ships with it and never changes, BatchNorm statistics included.

    Its parameters take no gradient and it stays in evaluation mode whatever ``train()`` is called; gradients still
    flow through it to what lies before.
    """

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> "Pinned":
        """Stays in evaluation mode."""
        return super().train(False)

    def requires_grad_(self, requires_grad: bool = True) -> "Pinned":
        """Stays frozen."""
        return super().requires_grad_(False)

    def forward(self, *inputs: Tensor) -> Tensor:
        """What the part answers."""
        result: Tensor = self.part(*inputs)
        return result


PROBED = 16
"""Positions of the input at which the reach is measured, at most."""
PROBED_AT_ONCE = 2**24
"""Values of the images probed at once: at a scale of 3/10 the grids meet rarely, and all would not fit in memory."""
MAXIMUM_REACH = 1024
"""A receptive field that reaches further than this, in input pixels, is taken for one without bound."""


def measure_reach(body: nn.Module, in_channels: int, stride: int, scale: Fraction = Fraction(1)) -> int:
    """How far, in input pixels, an answer of ``body`` looks beyond its own pixel: measured, not derived.

    One column (then one row) of the input is made NaN, in each of its ``stride`` positions, and the answers that turn
    NaN are counted; NaN passes through every sum whatever the weights, so nothing hides behind a zero. In double
    precision, because fast convolutions of lower precision mix neighbouring tiles. A body whose ``stride`` is more than
    the pixels its coarsest layer works on says so as ``coarsest``.

    Of a stride beyond :data:`PROBED` only so many positions are tried, and what may lie between is added: what a
    position touches moves with it and never back, so a position between two tried ones reaches no further than the
    nearer of both by more than the step.

    Raises:
        ConfigError: the reach is more than :data:`MAXIMUM_REACH`, as with pooling over the whole image.
    """
    probe = copy.deepcopy(body).cpu().double().eval()
    for tensor in probe.state_dict().values():
        tensor.nan_to_num_()  # weights that are NaN themselves would look everywhere
    return max(_reach_along(axis, probe, in_channels, stride, scale) for axis in (2, 3))


@torch.no_grad()
def _reach_along(axis: int, probe: nn.Module, channels: int, stride: int, scale: Fraction) -> int:
    # Across the axis one period of the network's grid is enough.
    period = math.lcm(stride, scale.denominator)
    # A dilated filter may leap over the border; had it done so, something this near the border would be touched.
    leap = int(getattr(probe, "coarsest", stride)) * max((_leap(layer) for layer in probe.modules()), default=0)
    length = 4 * period * (1 + leap // period)
    while length // 2 <= 2 * (MAXIMUM_REACH + leap + period):
        step = -(-stride // PROBED)
        positions = [length // 2 // period * period + phase for phase in range(0, stride, step)]
        shape = [len(positions), channels, period, period]
        shape[axis] = length
        spans = []
        for some in _batches(positions, max(1, PROBED_AT_ONCE // math.prod(shape[1:]))):
            images = torch.zeros([len(some), *shape[1:]], dtype=torch.float64)
            for image, position in zip(images, some, strict=True):
                image.select(axis - 1, position).fill_(math.nan)
            touched = torch.isnan(probe(images)).any(dim=1).any(dim=4 - axis)
            spans += [row.nonzero().flatten() for row in touched]
        first = [Fraction(int(span[0])) / scale for span in spans]
        last = [Fraction(int(span[-1]) + 1) / scale for span in spans]
        if min(first) > leap and max(last) < length - leap:
            before = max(position - start for position, start in zip(positions, first, strict=True))
            after = max(end - position - 1 for position, end in zip(positions, last, strict=True))
            return max(0, math.ceil(before), math.ceil(after)) + step - 1
        length *= 2
    raise ConfigError(f"this network looks further than {MAXIMUM_REACH} pixels, so no map by tiles can be exact")


def _batches(positions: list[int], size: int) -> list[list[int]]:
    return [positions[first : first + size] for first in range(0, len(positions), size)]


def _leap(layer: nn.Module) -> int:
    """How far a filter looks to one side, in pixels of its own input."""
    if not isinstance(layer, nn.Conv2d):
        return 0
    return max(size // 2 * dilation for size, dilation in zip(layer.kernel_size, layer.dilation, strict=True))
