"""A U-Net on ResNet-34 [He 2016, Ronneberger 2015], as it is commonly built: what one trains without thinking."""

import torch
from torch import Tensor, nn

STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))
"""Residual blocks and channels of each stage of the encoder, after its stem."""
RISES = ((512 + 256, 256), (256 + 128, 128), (128 + 64, 64), (64 + 64, 32), (32, 16))
"""Channels that each stage of the decoder takes, from below and from beside, and gives."""


class ResNetUNet(nn.Module):
    """``[B, in_channels, H, W]`` to logits ``[B, classes, H, W]``, H and W multiples of 32; 24.4 million parameters."""

    def __init__(self, in_channels: int, classes: int) -> None:
        super().__init__()
        stem = [nn.Conv2d(in_channels, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
        self.encoder = nn.ModuleList([nn.Sequential(*stem)])
        before = 64
        for stage, (blocks, after) in enumerate(STAGES):
            entry: list[nn.Module] = [Residual(before, after, 2)] if stage else [nn.MaxPool2d(3, 2, 1)]
            rest = [Residual(after, after, 1) for _ in range(blocks - len(entry) if stage else blocks)]
            self.encoder.append(nn.Sequential(*entry, *rest))
            before = after
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.decoder = nn.ModuleList(
            nn.Sequential(*convolution(before, after), *convolution(after, after)) for before, after in RISES
        )
        self.head = nn.Conv2d(RISES[-1][1], classes, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        beside = []
        for stage in self.encoder:
            image = stage(image)
            beside.append(image)
        image = beside.pop()
        for stage in self.decoder:
            image = self.up(image)
            image = stage(torch.cat([image, beside.pop()], dim=1) if beside else image)
        logits: Tensor = self.head(image)
        return logits


class Residual(nn.Module):
    """Two convolutions, and what came in added to what they make of it."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*convolution(before, after, stride), *convolution(after, after)[:2])
        narrow = [nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)]
        self.beside = nn.Sequential(*(narrow if stride > 1 else []))

    def forward(self, image: Tensor) -> Tensor:
        return torch.relu(self.body(image) + self.beside(image))


def convolution(before: int, after: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
