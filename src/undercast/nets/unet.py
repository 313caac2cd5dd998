"""The U-Net family [Ronneberger 2015]: plain 3×3 blocks, or depthwise-separable ones [Chollet 2017], far faster.

Convolution + BatchNorm + ReLU throughout, so that it folds and quantises; channels in multiples of 16 use the whole
vector unit. No operation looks at the size of the image, so an answer does not depend on where a tile was cut.
"""

from itertools import pairwise
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from undercast.config import Settings

Block = Literal["plain", "separable"]
Up = Literal["nearest", "bilinear", "transposed"]
Join = Literal["concat", "add"]


class UNetConfig(Settings):
    """Size and kind of a U-Net; ``build`` makes it."""

    kind: Literal["unet"] = "unet"
    base: int = Field(default=16, ge=1, description="channels of the first stage; doubled at each further one")
    stages: int = Field(default=4, ge=1, le=8, description="resolutions, the full one included")
    max_channels: int = Field(default=512, ge=1, description="channels are not doubled beyond this")
    depth: int = Field(default=2, ge=1, description="convolutions a stage, on the way down and on the way up")
    block: Block = Field(default="plain", description="plain: 3×3 convolutions; separable: depthwise 3×3, then 1×1")
    norm: Literal["batch"] = Field(default="batch", description="folds into the convolution before it")
    activation: Literal["relu"] = Field(default="relu", description="quantises best")
    up: Up = Field(default="nearest", description="how the decoder doubles its resolution")
    join: Join = Field(
        default="concat", description="add: narrow what comes from below, then add it [Chaurasia 2017]; half the work"
    )
    output_stride: Literal[1, 2, 4] = Field(
        default=1, description="the decoder ends at this stride; logits are interpolated"
    )
    input_stride: Literal[1, 2, 4] = Field(
        default=1, description="the image is averaged down by this first; logits are interpolated back"
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="of whole channels, at the lowest resolution")

    @property
    def stride(self) -> int:
        """Rows and columns of the input must be a multiple of this."""
        return int(2 ** (self.stages - 1)) * self.input_stride

    @property
    def channels(self) -> list[int]:
        """Channels of every stage, full resolution first."""
        return [min(self.base * 2**stage, self.max_channels) for stage in range(self.stages)]

    def build(self, in_channels: int, classes: int) -> "UNet":
        """The network: ``[B, in_channels, H, W]`` → logits ``[B, classes, H, W]``."""
        return UNet(self, in_channels, classes)


class UNet(nn.Module):
    """Encoder, decoder and head of a :class:`UNetConfig`; logits at the resolution of the input."""

    def __init__(self, config: UNetConfig, in_channels: int, classes: int) -> None:
        super().__init__()
        self.stride = config.stride
        channels = config.channels
        self.shrink = nn.AvgPool2d(config.input_stride) if config.input_stride > 1 else nn.Identity()
        self.encoder = nn.ModuleList(
            convolutions(config, before, after) for before, after in pairwise([in_channels, *channels])
        )
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout2d(config.dropout)
        # The decoder goes up from the lowest stage and stops at the output stride.
        last = min(config.output_stride.bit_length() - 1, config.stages - 1)
        rises = [(channels[stage + 1], channels[stage]) for stage in reversed(range(last, config.stages - 1))]
        self.decoder = nn.ModuleList(Rise(config, below, beside) for below, beside in rises)
        self.head = nn.Conv2d(channels[last], classes, 1)
        above = 2**last * config.input_stride
        self.enlarge = nn.Upsample(scale_factor=above, mode="bilinear") if above > 1 else nn.Identity()
        initialise(self)

    def forward(self, image: Tensor) -> Tensor:
        """Logits ``[B, K, H, W]`` of a normalised image ``[B, C, H, W]``; H and W multiples of ``stride``."""
        skips = self._down(image)
        image = self.dropout(skips.pop())
        for rise in self.decoder:
            image = rise(image, skips.pop())
        logits: Tensor = self.enlarge(self.head(image))
        return logits

    def lowest(self, image: Tensor) -> Tensor:
        """What the encoder makes of an image at the lowest resolution."""
        return self._down(image)[-1]

    def _down(self, image: Tensor) -> list[Tensor]:
        """What every stage of the encoder answers, full resolution first."""
        skips: list[Tensor] = []
        image = self.shrink(image)
        for stage, block in enumerate(self.encoder):
            image = block(image if stage == 0 else self.pool(image))
            skips.append(image)
        return skips


class Rise(nn.Module):
    """One stage of the decoder: doubles the resolution of what comes from below and joins what comes from beside."""

    def __init__(self, config: UNetConfig, below: int, beside: int) -> None:
        super().__init__()
        self.join = config.join
        if config.up == "transposed":
            self.up: nn.Module = nn.ConvTranspose2d(below, beside, 2, stride=2)
            below = beside
        elif config.join == "add":
            # Narrowed first: at a quarter of the pixels, and BatchNorm brings both to one scale.
            narrow = [nn.Conv2d(below, beside, 1, bias=False), nn.BatchNorm2d(beside)]
            self.up = nn.Sequential(*narrow, nn.Upsample(scale_factor=2, mode=config.up))
        else:
            self.up = nn.Upsample(scale_factor=2, mode=config.up)
        self.block = convolutions(config, beside if config.join == "add" else below + beside, beside)

    def forward(self, below: Tensor, beside: Tensor) -> Tensor:
        """``[B, C, H/2, W/2]`` and ``[B, c, H, W]`` → ``[B, c, H, W]``."""
        below = self.up(below)
        result: Tensor = self.block(below + beside if self.join == "add" else torch.cat([below, beside], dim=1))
        return result


def convolutions(config: UNetConfig, before: int, after: int) -> nn.Sequential:
    """``config.depth`` convolutions of 3×3, the first from ``before`` to ``after`` channels."""
    layers: list[nn.Module] = []
    for source in [before] + [after] * (config.depth - 1):
        # Of a handful of input bands a depthwise filter can make too little.
        if config.block == "separable" and source >= 8:
            layers += _convolution(source, source, 3, groups=source)
            layers += _convolution(source, after, 1)
        else:
            layers += _convolution(source, after, 3)
    return nn.Sequential(*layers)


def _convolution(before: int, after: int, size: int, groups: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(before, after, size, padding=size // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]


def initialise(network: nn.Module) -> None:
    """Weights for ReLU [He 2015]; biases 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
