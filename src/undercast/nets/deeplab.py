"""A small DeepLabv3+ [Chen 2018]: an encoder, pooling at several dilations, and a decoder that ends at stride 4 or 2.

The second network of the flood paper, whose Table 5 compares the decoder's output strides [Garg 2023]. The encoder is
ours, without pretraining: strided convolutions, then a stage that is dilated instead of strided.

The paper's image-level pooling is left out: it looks at the whole tile, so that a map would depend on how it was cut
(no bound on the receptive field, see :func:`~undercast.nets.parts.measure_reach`).
"""

from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from undercast.config import Settings
from undercast.nets.unet import Block, initialise

Rate = Annotated[int, Field(ge=1)]


class DeepLabConfig(Settings):
    """Size and kind of a DeepLabv3+; ``build`` makes it. The defaults have 0.24 M parameters."""

    kind: Literal["deeplab"] = "deeplab"
    base: int = Field(default=32, ge=1, description="channels at stride 2; doubled at each further stride")
    encoder_stride: Literal[8, 16] = Field(
        default=8, description="the lowest resolution; the dilated stage stays there"
    )
    depth: int = Field(default=2, ge=1, description="3×3 convolutions a stage of the encoder")
    block: Block = Field(default="separable", description="plain: 3×3 convolutions; separable: depthwise 3×3, then 1×1")
    rates: Annotated[tuple[Rate, ...], Field(min_length=1)] = Field(
        default=(3, 6, 9), description="dilations of the pyramid, in pixels of the lowest resolution"
    )
    pyramid: int = Field(default=64, ge=1, description="channels of each branch of the pyramid, and of the decoder")
    skip: int = Field(default=24, ge=1, description="channels that the early feature is reduced to for the decoder")
    output_stride: Literal[2, 4] = Field(
        default=4, description="the decoder ends at this stride; logits are interpolated"
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="of whole channels, behind the pyramid")

    @property
    def stride(self) -> int:
        """Rows and columns of the input must be a multiple of this."""
        return self.encoder_stride

    @property
    def channels(self) -> list[int]:
        """Channels at stride 2, 4, … down to the lowest resolution, and of the dilated stage there."""
        return [self.base * 2**stage for stage in range(self.encoder_stride.bit_length())]

    def build(self, in_channels: int, classes: int) -> "DeepLab":
        """The network: ``[B, in_channels, H, W]`` → logits ``[B, classes, H, W]``."""
        return DeepLab(self, in_channels, classes)


class DeepLab(nn.Module):
    """Encoder, pyramid, decoder and head of a :class:`DeepLabConfig`; logits at the resolution of the input."""

    def __init__(self, config: DeepLabConfig, in_channels: int, classes: int) -> None:
        super().__init__()
        self.stride = config.stride
        channels = config.channels
        self.early = config.output_stride.bit_length() - 2
        strides = [2] * (len(channels) - 1) + [1]
        self.encoder = nn.ModuleList(
            _stage(config, before, after, stride)
            for (before, after), stride in zip(pairwise([in_channels, *channels]), strides, strict=True)
        )
        self.pyramid = Pyramid(config, channels[-1])
        self.dropout = nn.Dropout2d(config.dropout)
        self.enlarge = nn.Upsample(scale_factor=config.encoder_stride // config.output_stride, mode="bilinear")
        self.skip = _layer("plain", channels[self.early], config.skip, 1)
        self.decoder = nn.Sequential(
            _layer(config.block, config.pyramid + config.skip, config.pyramid, 3),
            _layer(config.block, config.pyramid, config.pyramid, 3),
        )
        self.head = nn.Conv2d(config.pyramid, classes, 1)
        self.full = nn.Upsample(scale_factor=config.output_stride, mode="bilinear")
        initialise(self)

    def forward(self, image: Tensor) -> Tensor:
        """Logits ``[B, K, H, W]`` of a normalised image ``[B, C, H, W]``; H and W multiples of ``stride``."""
        early = image
        for number, stage in enumerate(self.encoder):
            image = stage(image)
            if number == self.early:
                early = image
        image = self.enlarge(self.dropout(self.pyramid(image)))
        logits: Tensor = self.full(self.head(self.decoder(torch.cat([image, self.skip(early)], dim=1))))
        return logits


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling: one look at the pixel and one at each dilation, side by side, then mixed."""

    def __init__(self, config: DeepLabConfig, channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                _layer("plain", channels, config.pyramid, 1),
                *(_layer(config.block, channels, config.pyramid, 3, dilation=rate) for rate in config.rates),
            ]
        )
        self.mix = _layer("plain", config.pyramid * len(self.branches), config.pyramid, 1)

    def forward(self, image: Tensor) -> Tensor:
        """``[B, channels, H, W]`` → ``[B, pyramid, H, W]``."""
        mixed: Tensor = self.mix(torch.cat([branch(image) for branch in self.branches], dim=1))
        return mixed


def _stage(config: DeepLabConfig, before: int, after: int, stride: int) -> nn.Sequential:
    """Convolutions of one resolution: the first strides, or where it does not, all are dilated by 2 instead."""
    dilation = 2 if stride == 1 else 1
    layers = [_layer(config.block, before, after, 3, stride=stride, dilation=dilation)]
    layers += [_layer(config.block, after, after, 3, dilation=dilation) for _ in range(config.depth - 1)]
    return nn.Sequential(*layers)


def _layer(block: Block, before: int, after: int, size: int, *, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    # Of a handful of input bands a depthwise filter can make too little.
    if block == "separable" and before >= 8:
        depthwise = _convolution(before, before, size, stride=stride, dilation=dilation, groups=before)
        return nn.Sequential(*depthwise, *_convolution(before, after, 1))
    return nn.Sequential(*_convolution(before, after, size, stride=stride, dilation=dilation))


def _convolution(
    before: int, after: int, size: int, *, stride: int = 1, dilation: int = 1, groups: int = 1
) -> list[nn.Module]:
    padding = size // 2 * dilation
    convolution = nn.Conv2d(before, after, size, stride, padding, dilation, groups, bias=False)
    return [convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
