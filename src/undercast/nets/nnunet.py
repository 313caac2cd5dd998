"""The plain network of nnU-Net [Isensee 2021]: strided convolutions down, transposed ones up, a head at every stage.

Convolution 3×3 + normalisation + LeakyReLU(0.01), two a stage. Instance normalisation makes an answer depend on the
whole tile, so that no map by tiles can be exact: such a network teaches, and does not ship (``whole_tile``).
"""

from itertools import pairwise
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from undercast.config import Settings

MAPPABLE = 5
"""Stages beyond which a network is for teaching only."""

SLOPE = 0.01
"""Of the LeakyReLU below zero."""


class NNUNetConfig(Settings):
    """Size of a plain nnU-Net; what :func:`undercast.nets.plan.make_plan` answers, and ``build`` makes."""

    kind: Literal["nnunet"] = "nnunet"
    base: int = Field(default=32, ge=1, description="channels of the first stage; doubled at each further one")
    stages: int = Field(default=6, ge=2, le=10, description="resolutions, the full one included")
    max_channels: int = Field(default=512, ge=1, description="channels are not doubled beyond this")
    depth: int = Field(default=2, ge=1, description="convolutions a stage, on the way down and on the way up")
    norm: Literal["instance", "batch"] = Field(
        default="instance", description="instance: nnU-Net's own, over the tile; batch: answers do not depend on it"
    )
    deep_supervision: bool = Field(default=True, description="heads at lower resolutions too, while it learns")

    @property
    def stride(self) -> int:
        """Rows and columns of the input must be a multiple of this."""
        return int(2 ** (self.stages - 1))

    @property
    def channels(self) -> list[int]:
        """Channels of every stage, full resolution first."""
        return [min(self.base * 2**stage, self.max_channels) for stage in range(self.stages)]

    def build(self, in_channels: int, classes: int) -> "NNUNet":
        """The network: ``[B, in_channels, H, W]`` → logits ``[B, classes, H, W]``."""
        return NNUNet(self, in_channels, classes)


class NNUNet(nn.Module):
    """Encoder, decoder and heads of an :class:`NNUNetConfig`.

    The lowest stage of the decoder has no head: nnU-Net weighs it 0, and what is never learned is left out here.
    """

    def __init__(self, config: NNUNetConfig, in_channels: int, classes: int) -> None:
        super().__init__()
        self.stride = config.stride
        # Six stages reach some three hundred pixels to every side, more than a tile one would map by.
        self.whole_tile = config.norm == "instance" or config.stages > MAPPABLE
        channels = config.channels
        self.encoder = nn.ModuleList(
            _stage(config, before, after, stride=1 if number == 0 else 2)
            for number, (before, after) in enumerate(pairwise([in_channels, *channels]))
        )
        rises = list(reversed(list(pairwise(channels))))
        self.up = nn.ModuleList(nn.ConvTranspose2d(below, beside, 2, stride=2) for beside, below in rises)
        self.decoder = nn.ModuleList(_stage(config, 2 * beside, beside) for beside, _ in rises)
        wanted = max(1, len(rises) - 1) if config.deep_supervision else 1
        self.heads = nn.ModuleList(nn.Conv2d(width, classes, 1) for width in channels[:wanted])
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, a=SLOPE)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, image: Tensor) -> Tensor:
        """Logits ``[B, K, H, W]`` of a normalised image ``[B, C, H, W]``; H and W multiples of ``stride``."""
        logits: Tensor = self.heads[0](self._decode(image)[-1])
        return logits

    def resolutions(self, image: Tensor) -> list[Tensor]:
        """Logits of every head, full resolution first, each half the size of the one before: deep supervision."""
        features = self._decode(image)
        return [head(feature) for head, feature in zip(self.heads, reversed(features), strict=False)]

    def lowest(self, image: Tensor) -> Tensor:
        """What the encoder makes of an image at the lowest resolution."""
        return self._down(image)[-1]

    def _down(self, image: Tensor) -> list[Tensor]:
        """What every stage of the encoder answers, full resolution first."""
        skips: list[Tensor] = []
        for stage in self.encoder:
            image = stage(image)
            skips.append(image)
        return skips

    def _decode(self, image: Tensor) -> list[Tensor]:
        """What every stage of the decoder answers, lowest resolution first."""
        skips = self._down(image)
        image, features = skips.pop(), []
        for up, stage in zip(self.up, self.decoder, strict=True):
            image = stage(torch.cat([up(image), skips.pop()], dim=1))
            features.append(image)
        return features


def _stage(config: NNUNetConfig, before: int, after: int, stride: int = 1) -> nn.Sequential:
    layers: list[nn.Module] = []
    for number, source in enumerate([before] + [after] * (config.depth - 1)):
        norm = nn.InstanceNorm2d(after, affine=True) if config.norm == "instance" else nn.BatchNorm2d(after)
        layers += [nn.Conv2d(source, after, 3, stride=stride if number == 0 else 1, padding=1), norm]
        layers += [nn.LeakyReLU(SLOPE, inplace=True)]
    return nn.Sequential(*layers)
