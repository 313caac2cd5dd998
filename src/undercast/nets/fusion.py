"""What CloudSeg is held against: one stream for each image, their features side by side, one decoder.

With one role it is a plain encoder-decoder; with two it is plain fusion [Xu 2024 compare with several of its kind]:
the same encoders and decoder as :mod:`~.cloudseg`, and nothing of its exchange.
"""

from fractions import Fraction
from math import lcm, prod
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from undercast.config import Settings
from undercast.nets.cloudseg import AnyEncoder
from undercast.nets.decoder import Decoder, Rescale, to_pixels
from undercast.nets.encoders import ConvEncoder
from undercast.nets.unet import initialise


class FusionConfig(Settings):
    """Size of a network of one stream a role; ``build`` makes it."""

    kind: Literal["fusion"] = "fusion"
    encoder: AnyEncoder = ConvEncoder()
    features: int = Field(default=16, ge=1, description="channels of the decoder's output")

    @property
    def stride(self) -> int:
        """What an answer is periodic in."""
        return prod(self.encoder.strides)

    def build(self, planes: tuple[int, ...], classes: int, scale: Fraction = Fraction(1)) -> "Fusion":
        """The network for images of ``planes`` channels each."""
        return Fusion(self, planes, classes, scale)


class Fusion(nn.Module):
    """Takes the planes of all images ``[B, sum of planes, H, W]`` of any size; logits at ``scale`` of it."""

    def __init__(self, config: FusionConfig, planes: tuple[int, ...], classes: int, scale: Fraction) -> None:
        super().__init__()
        self.planes = planes
        self.stride = lcm(config.stride, scale.denominator)
        self.coarsest = config.stride
        self.bounded = config.encoder.bounded
        self._unit = config.stride
        encoder, channels = config.encoder, config.encoder.channels
        self.streams = nn.ModuleList(
            nn.ModuleList(encoder.stage(k, (image, *channels)[k]) for k in range(len(channels))) for image in planes
        )
        self.decoder = Decoder([width * len(planes) for width in channels], config.features)
        self.rescale = Rescale(scale)
        self.head = to_pixels(config.features, classes, encoder.strides[0])
        if encoder.kind == "conv":
            initialise(self)

    def forward(self, image: Tensor) -> Tensor:
        """Logits ``[B, K, h, w]``."""
        rows, cols = image.shape[-2:]
        over = -rows % self._unit, -cols % self._unit
        if over[0] or over[1]:
            image = functional.pad(image, (0, over[1], 0, over[0]))
        known: list[list[Tensor]] = []
        for stream, part in zip(self.streams, torch.split(image, list(self.planes), dim=1), strict=True):
            known.append([])
            for stage in stream:  # type: ignore[attr-defined]  # a ModuleList of stages
                part = stage(part)
                known[-1].append(part)
        joined = [torch.cat(stage, dim=1) for stage in zip(*known, strict=True)]
        pixels = self.head(self.decoder(joined))
        if over[0] or over[1]:
            pixels = pixels[..., :rows, :cols]
        logits: Tensor = self.rescale(pixels)
        return logits
