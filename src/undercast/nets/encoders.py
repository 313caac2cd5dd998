"""Encoders of a stream, of several sizes behind one seam: stages, each halving the resolution (or quartering it).

An encoder's configuration says the ``channels`` and ``strides`` of its stages, four in the paper, and builds any one of
them; networks with several streams put the stages together as they like.
"""

from typing import Annotated, Literal, Protocol

from pydantic import Field
from torch import Tensor, nn

from undercast.config import Settings
from undercast.nets.mit import DEPTHS, MitStage, MitStageConfig


class Encoder(Protocol):
    """What a network asks of its encoder's configuration."""

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each stage."""

    @property
    def strides(self) -> tuple[int, ...]:
        """By how much each stage shrinks what it is given."""

    @property
    def bounded(self) -> bool:
        """Whether a pixel looks only so far, and not at the whole image."""

    def stage(self, number: int, before: int) -> nn.Module:
        """Stage ``number``: ``[B, before, H, W]`` → ``[B, channels[number], H/s, W/s]``."""


class ConvEncoder(Settings):
    """Convolutions with BatchNorm and ReLU, first of blocks that become one pixel, then 3×3: ours, for a CPU."""

    kind: Literal["conv"] = "conv"
    widths: Annotated[tuple[int, ...], Field(min_length=2, max_length=5)] = Field(
        default=(16, 32, 48, 64), description="channels of each stage"
    )
    stem: Literal[1, 2, 4] = Field(default=2, description="stride of the first stage; the others halve")
    depth: int = Field(default=2, ge=1, description="convolutions a stage")

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each stage."""
        return self.widths

    @property
    def strides(self) -> tuple[int, ...]:
        """By how much each stage shrinks what it is given."""
        return (self.stem, *[2] * (len(self.widths) - 1))

    @property
    def bounded(self) -> bool:
        """A convolution looks only so far."""
        return True

    def stage(self, number: int, before: int) -> nn.Module:
        """Stage ``number``: ``[B, before, H, W]`` → ``[B, channels[number], H/s, W/s]``."""
        after = self.channels[number]
        stride = self.strides[number]
        # Blocks side by side: a size stays a plain multiple, which the export can follow in seconds and not minutes.
        layers = [ConvUnit(before, after, size=stride, stride=stride) if stride > 1 else ConvUnit(before, after)]
        layers += [ConvUnit(after, after) for _ in range(self.depth - 1)]
        return nn.Sequential(*layers)


class MitEncoder(Settings):
    """The Mix Transformer of [Xie 2021], B0 to B5, of which [Xu 2024] take B4; without pretraining.

    It attends to the whole image, so no map by tiles can be exact: it is for comparison and is refused by the export.
    """

    kind: Literal["mit"] = "mit"
    size: Literal["b0", "b1", "b2", "b3", "b4", "b5"] = Field(default="b0", description="as the paper calls them")

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each stage."""
        return (32, 64, 160, 256) if self.size == "b0" else (64, 128, 320, 512)

    @property
    def strides(self) -> tuple[int, ...]:
        """By how much each stage shrinks what it is given."""
        return (4, 2, 2, 2)

    @property
    def bounded(self) -> bool:
        """Attention looks at the whole image."""
        return False

    def stage(self, number: int, before: int) -> nn.Module:
        """Stage ``number``: ``[B, before, H, W]`` → ``[B, channels[number], H/s, W/s]``."""
        return MitStage(
            MitStageConfig(
                channels=self.channels[number],
                stride=self.strides[number],
                depth=DEPTHS[self.size][number],
                heads=(1, 2, 5, 8)[number],
                reduction=(8, 4, 2, 1)[number],
            ),
            before,
        )


class ConvUnit(nn.Module):
    """Convolution + BatchNorm + ReLU."""

    def __init__(self, before: int, after: int, size: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(before, after, size, stride, (size - stride + 1) // 2, bias=False)
        self.norm = nn.BatchNorm2d(after)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, image: Tensor) -> Tensor:
        """``[B, before, H, W]`` → ``[B, after, H/stride, W/stride]``."""
        result: Tensor = self.activation(self.norm(self.convolution(image)))
        return result
