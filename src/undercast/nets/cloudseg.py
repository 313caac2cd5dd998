"""CloudSeg: three streams that see land cover through cloud [Xu 2024].

An optical and a radar stream look at their images; a *cross* stream starts at the second stage, never sees an image and
is made of the other two. After each stage, of which the paper has four, the streams exchange what they know
(:class:`Exchange`). Land cover is read from the cross stream's decoder at the label's grid; an auxiliary head restores
the clear optical image from the optical stream's decoder.

Ours, where the paper's code leaves it open or where a map must not depend on how it was cut: the squeeze looks at
blocks of the neighbourhood instead of the whole image (``squeeze = "global"`` is the published one, whose reach has no
bound); pooled copies are of blocks on a fixed grid; the exchange works on the gated optical feature; the radar stream
has no decoder and no last exchange, since no loss would reach them; every stream is told where its image was seen; both
heads answer pixels from features at the first stage's resolution; the restored image is then enlarged smoothly.
"""

from fractions import Fraction
from math import lcm, prod
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Discriminator, Field, Tag
from torch import Tensor, nn
from torch.nn import functional

from undercast.config import Settings
from undercast.errors import ConfigError
from undercast.nets.clearing import LARGEST, Drawn, Filled
from undercast.nets.decoder import Decoder, Rescale, to_pixels
from undercast.nets.encoders import ConvEncoder, MitEncoder
from undercast.nets.unet import initialise

Squeeze = Literal["local", "global"]
POOLED = (2, 4)
BLOCK = 4
"""Features a side that the local squeeze takes the mean of."""


def encoder_kind(encoder: object) -> str:
    """Which of the encoders a table or a configuration means."""
    return str(encoder.get("kind", "conv") if isinstance(encoder, dict) else getattr(encoder, "kind", ""))


AnyEncoder = Annotated[
    Annotated[ConvEncoder, Tag("conv")] | Annotated[MitEncoder, Tag("mit")], Discriminator(encoder_kind)
]


class CloudSegConfig(Settings):
    """Size and parts of a CloudSeg network; ``build`` makes it. The first role is optical, the second radar."""

    kind: Literal["cloudseg"] = "cloudseg"
    encoder: AnyEncoder = ConvEncoder()
    features: int = Field(default=16, ge=1, description="channels of the decoders' output, which the hint compares")
    gate: bool = Field(default=True, description="let the radar gate the optical stream; the teacher has no gate")
    restore: bool = Field(default=True, description="restore the clear image; the teacher does not")
    restore_channels: int = Field(default=64, ge=1, description="hidden channels of the restoration head")
    fill: bool = Field(default=False, description="restore only what is not believed, upon the colours around it")
    reduction: int = Field(default=16, ge=1, description="of the squeeze-and-excitation's hidden channels")
    squeeze: Squeeze = Field(default="local", description="what is averaged: blocks nearby, or the whole image")

    @property
    def stride(self) -> int:
        """What an answer is periodic in: a pooled block of the last stage."""
        pooled = prod(self.encoder.strides) * max(POOLED)
        return lcm(pooled, LARGEST) if self.restore and self.fill else pooled

    @property
    def bounded(self) -> bool:
        """Whether a pixel looks only so far."""
        return self.encoder.bounded and self.squeeze == "local"

    def build(self, planes: tuple[int, ...], bands: int, classes: int, scale: Fraction = Fraction(1)) -> "CloudSeg":
        """The network for an optical and a radar image of ``planes`` channels each, to restore ``bands`` of the first.

        Raises:
            ConfigError: there are not two images.
        """
        if len(planes) != 2:
            raise ConfigError(f"cloudseg sees two roles, the optical image and the radar, not {len(planes)}")
        return CloudSeg(self, (planes[0], planes[1]), bands, classes, scale)


class Answer(NamedTuple):
    """All that a network says.

    ``logits`` ``[B, K, h, w]``; ``features`` of the cross decoder ``[B, F, H/s, W/s]``, where s is the stride of the
    first stage; ``restored`` ``[B, bands, H, W]`` on the normalised scale of the optical image, where it restores.
    """

    logits: Tensor
    features: Tensor
    restored: Tensor | None


class CloudSeg(nn.Module):
    """Takes the planes of both images ``[B, optical + radar, H, W]`` of any size; logits at ``scale`` of it."""

    def __init__(
        self, config: CloudSegConfig, planes: tuple[int, int], bands: int, classes: int, scale: Fraction
    ) -> None:
        super().__init__()
        self.planes, self.scale = planes, scale
        self.stride = lcm(config.stride, scale.denominator)
        self.coarsest = config.stride
        self.bounded = config.bounded
        self._unit = config.stride
        encoder, channels = config.encoder, config.encoder.channels
        stages = range(len(channels))
        before = [(image, *channels[:-1]) for image in planes]
        self.optical = nn.ModuleList(encoder.stage(k, before[0][k]) for k in stages)
        self.radar = nn.ModuleList(encoder.stage(k, before[1][k]) for k in stages)
        self.cross = nn.ModuleList(encoder.stage(k, channels[k - 1]) for k in stages[1:])
        self.exchanges = nn.ModuleList(Exchange(config, k) for k in stages)
        self.decoder = Decoder(channels, config.features)
        self.rescale = Rescale(scale)
        self.head = to_pixels(config.features, classes, encoder.strides[0])
        self.restoring: nn.Module | None = None
        if config.restore:
            self.restoring_decoder = Decoder(channels, config.features)
            shape = (config.features, config.restore_channels, bands, encoder.strides[0])
            self.restoring = Filled(*shape) if config.fill else Drawn(*shape)
        if encoder.kind == "conv":
            initialise(self)
        for module in self.modules():
            if isinstance(module, MultiScale):
                module.balance()

    def forward(self, image: Tensor) -> Tensor:
        """Logits ``[B, K, h, w]``."""
        return self.answer(image, whole=False).logits

    def answer(self, image: Tensor, *, whole: bool = True) -> Answer:
        """All that the network says; without ``whole`` nothing is restored."""
        rows, cols = image.shape[-2:]
        over = -rows % self._unit, -cols % self._unit
        if over[0] or over[1]:
            # Zeros are what was not seen; they lie below and to the right, as any tile's grid begins at its corner.
            image = functional.pad(image, (0, over[1], 0, over[0]))
        optical, crossed = self._encode(image)
        features = self.decoder(crossed)
        logits = self.rescale(_cut(self.head(features), rows, cols))
        restored = None
        if whole and self.restoring is not None:
            known = self.restoring_decoder(optical)
            restored = _cut(self.restoring(known, image[:, : self.planes[0]]), rows, cols)
        return Answer(logits, features, restored)

    def _encode(self, image: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """What the optical and the cross stream know after each stage."""
        optical, radar = torch.split(image, list(self.planes), dim=1)
        seen: list[Tensor] = []
        crossed: list[Tensor] = []
        for k, exchange in enumerate(self.exchanges):
            optical, radar = self.optical[k](optical), self.radar[k](radar)
            previous = self.cross[k - 1](crossed[-1]) if k else None
            optical, radar, cross = exchange(optical, radar, previous)
            seen.append(optical)
            crossed.append(cross)
        return seen, crossed


class Restoring(nn.Module):
    """The restored image alone as an answer, so that its reach can be measured."""

    def __init__(self, network: CloudSeg) -> None:
        super().__init__()
        self.network, self.coarsest = network, network.coarsest

    def forward(self, image: Tensor) -> Tensor:
        """``[B, optical + radar, H, W]`` → ``[B, bands, H, W]``."""
        restored = self.network.answer(image).restored
        assert restored is not None
        return restored


class Exchange(nn.Module):
    """What happens after a stage: scales are mixed, the radar gates the optical stream, the cross stream is made of
    all, and gives back to each what it lacks."""

    def __init__(self, config: CloudSegConfig, stage: int) -> None:
        super().__init__()
        channels, last = config.encoder.channels[stage], stage == len(config.encoder.channels) - 1
        self.mix_optical, self.mix_radar = MultiScale(channels), MultiScale(channels)
        self.mix_cross = MultiScale(channels) if stage else None
        self.gate = Gate() if config.gate else None
        self.squeeze = SqueezeExcite(channels, 3 if stage else 2, config)
        # After the last stage only what a decoder reads is given anything.
        self.give_optical = Give(channels) if not last or config.restore else None
        self.give_radar = Give(channels) if not last else None

    def forward(self, optical: Tensor, radar: Tensor, previous: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Features ``[B, C, h, w]`` of the streams after their stage → the same, exchanged."""
        mixed_optical, mixed_radar = self.mix_optical(optical), self.mix_radar(radar)
        if self.gate is not None:
            mixed_optical = self.gate(mixed_optical, mixed_radar)
        parts = [mixed_optical, mixed_radar]
        if previous is not None and self.mix_cross is not None:
            parts.append(self.mix_cross(previous))
        cross = self.squeeze(parts)
        if self.give_optical is not None:
            optical = optical + self.give_optical(cross - mixed_optical)
        if self.give_radar is not None:
            radar = radar + self.give_radar(cross - mixed_radar)
        return optical, radar, cross


class MultiScale(nn.Module):
    """``x`` beside copies of it, max-pooled by 2 and 4 and enlarged again; a 1×1 convolution and ReLU over all.

    The convolution is done in its three parts, each before its copy is enlarged, which is the same and cheaper.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shrink, self.enlarge = nn.MaxPool2d(2), nn.Upsample(scale_factor=2, mode="nearest")
        self.of_one = nn.Conv2d(channels, channels, 1)
        self.of_two, self.of_four = (nn.Conv2d(channels, channels, 1, bias=False) for _ in POOLED)
        self.activation = nn.ReLU(inplace=True)

    @torch.no_grad()
    def balance(self) -> None:
        """Make the three parts, drawn one by one, as large as one convolution over all of them would be."""
        for part in (self.of_one, self.of_two, self.of_four):
            part.weight /= (1 + len(POOLED)) ** 0.5

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, h, w]``, h and w multiples of 4 → the same shape."""
        half = self.shrink(x)
        coarse = self.of_two(half) + self.enlarge(self.of_four(self.shrink(half)))
        mixed: Tensor = self.activation(self.of_one(x) + self.enlarge(coarse))
        return mixed


class Gate(nn.Module):
    """How much of the optical feature to believe, from where it differs from the radar's: 0 to 1 for each pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(1)

    def forward(self, optical: Tensor, radar: Tensor) -> Tensor:
        """The gated optical feature ``[B, C, h, w]``."""
        apart = optical - radar
        told = torch.cat([apart.amax(dim=1, keepdim=True), apart.mean(dim=1, keepdim=True)], dim=1)
        gated: Tensor = optical * self.norm(self.convolution(told)).sigmoid()
        return gated


class SqueezeExcite(nn.Module):
    """Weighs the channels of several features by what is there [Hu 2018], and sums the features."""

    def __init__(self, channels: int, parts: int, config: CloudSegConfig) -> None:
        super().__init__()
        wide = channels * parts
        hidden = max(1, wide // config.reduction)
        self.local = config.squeeze == "local"
        self.pool = nn.AvgPool2d(BLOCK)
        self.enlarge = nn.Upsample(scale_factor=BLOCK, mode="nearest")
        self.excite = nn.Sequential(nn.Conv2d(wide, hidden, 1), nn.ReLU(inplace=True), nn.Conv2d(hidden, wide, 1))

    def forward(self, features: list[Tensor]) -> Tensor:
        """Features ``[B, C, h, w]`` each → their weighted sum."""
        stacked = torch.cat(features, dim=1)
        squeezed = self.pool(stacked) if self.local else stacked.mean(dim=(2, 3), keepdim=True)
        weights = self.excite(squeezed).sigmoid()
        if self.local:
            weights = self.enlarge(weights)
        total, *others = (part * weight for part, weight in zip(features, weights.chunk(len(features), 1), strict=True))
        for weighed in others:
            total = total + weighed
        summed: Tensor = total
        return summed


class Give(nn.Module):
    """``sigmoid(conv3×3(d))·d`` of the difference ``d`` between the cross stream and a stream."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, difference: Tensor) -> Tensor:
        """``[B, C, h, w]`` → what the stream is given, of the same shape."""
        given: Tensor = self.convolution(difference).sigmoid() * difference
        return given


def _cut(image: Tensor, rows: int, cols: int) -> Tensor:
    return image if image.shape[-2:] == (rows, cols) else image[..., :rows, :cols]
