"""From the features of four stages back to pixels, and from the pixels of an image to those of a label."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import torch
from torch import Tensor, nn

from undercast.nets.encoders import ConvUnit


class Decoder(nn.Module):
    """Rises from the last stage's features to the first's, joining each on the way."""

    def __init__(self, channels: Sequence[int], features: int) -> None:
        super().__init__()
        rising = list(reversed(channels))
        self.enlarge = nn.Upsample(scale_factor=2, mode="nearest")
        self.join = nn.ModuleList(ConvUnit(below + beside, beside) for below, beside in pairwise(rising))
        self.last = ConvUnit(rising[-1], features)

    def forward(self, stages: list[Tensor]) -> Tensor:
        """Features of each stage ``[B, C, h, w]``, the finest first → ``[B, features, h, w]`` of the finest."""
        image = stages[-1]
        for join, beside in zip(self.join, reversed(stages[:-1]), strict=True):
            image = join(torch.cat([self.enlarge(image), beside], dim=1))
        features: Tensor = self.last(image)
        return features


def to_pixels(before: int, after: int, stride: int) -> nn.Sequential:
    """A convolution ``[B, before, h, w]`` → ``[B, after, h·stride, w·stride]`` [Shi 2016].

    Each feature says its own pixels. Dearer layers can so stay at the resolution of the features.
    """
    return nn.Sequential(nn.Conv2d(before, after * stride**2, 1), nn.PixelShuffle(stride))


class Rescale(nn.Module):
    """Means over the pixels of another grid on the same ground: ``scale`` of its pixels for one of ours, exactly.

    3/10 takes means of 10×10 of the thirds of our pixels. Rows and columns must be multiples of the denominator.
    """

    def __init__(self, scale: Fraction) -> None:
        super().__init__()
        up, down = scale.numerator, scale.denominator
        self.up = nn.Upsample(scale_factor=up, mode="nearest") if up > 1 else nn.Identity()
        self.down = nn.AvgPool2d(down) if down > 1 else nn.Identity()

    def forward(self, image: Tensor) -> Tensor:
        """``[B, C, H, W]`` → ``[B, C, H·scale, W·scale]``."""
        rescaled: Tensor = self.down(self.up(image))
        return rescaled
