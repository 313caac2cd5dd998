"""Whether, then where: the two networks of [Böhm 2022], the first of which becomes a part of the second.

*Stage 1* (:class:`SiameseConfig`) looks at the image before and the image after with one and the same small network,
joins what it found, and answers whether the chip holds a landslide. Its answer is a map whose mean over the chip is the
logit; the objective takes that mean. *Stage 2* (:class:`StagedConfig`) answers where, by a network of its own beside
the frozen embedding of stage 1 at full resolution.

The published sizes are the defaults: an embedding of 64 channels at stride 2 and 32 at full resolution, and 8×8
convolutions throughout. Both take their images stacked, each with the same number of channels.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Discriminator, Field, Tag
from torch import Tensor, nn

from undercast.config import Settings
from undercast.errors import ConfigError
from undercast.nets.parts import Pinned
from undercast.nets.unet import UNetConfig, initialise

Statistics = tuple[tuple[float, float], ...]
"""Mean and standard deviation of each band of an image, after it was brought to [-1, 1]."""


class EmbeddingConfig(Settings):
    """The network that both images share: the stem of a ResNet-34 [He 2016] and one step up again."""

    stem: int = Field(default=64, ge=1, description="channels at stride 2")
    out: int = Field(default=32, ge=1, description="channels at full resolution, of each image")
    statistics: Statistics = Field(
        default=(), description="(mean, standard deviation) of each band, on the scale from -1 to 1; empty: as it is"
    )

    def build(self, bands: int) -> "Embedding":
        """The network: ``[B, bands, H, W]`` → ``[B, out, H, W]``. Raises ConfigError where statistics do not fit."""
        return Embedding(self, bands)


class SiameseConfig(Settings):
    """Stage 1: is there a landslide in the chip?"""

    kind: Literal["siamese"] = "siamese"
    images: int = Field(default=2, ge=1, description="images stacked in the input: before and after")
    embedding: EmbeddingConfig = EmbeddingConfig()
    kernel: int = Field(default=8, ge=1, description="rows and columns of the convolution that compares the images")

    @property
    def stride(self) -> int:
        """Rows and columns of the input must be a multiple of this."""
        return 2

    def build(self, in_channels: int, classes: int) -> "Siamese":
        """The network: ``[B, in_channels, H, W]`` → logits ``[B, 2, H, W]``. Raises ConfigError."""
        _check_classes(classes)
        return Siamese(self, _bands(in_channels, self.images))


class PlainConfig(Settings):
    """The paper's own trunk: convolutions at full resolution, one after the other."""

    kind: Literal["plain"] = "plain"
    channels: tuple[int, ...] = Field(default=(8, 16, 64), min_length=1, description="after each convolution")
    kernel: int = Field(default=8, ge=1, description="rows and columns of the convolutions")


Trunk = Annotated[Annotated[PlainConfig, Tag("plain")] | Annotated[UNetConfig, Tag("unet")], Discriminator("kind")]
Keeping = Literal["pinned", "drifting", "free"]


class StagedConfig(Settings):
    """Stage 2: where is the landslide?"""

    kind: Literal["staged"] = "staged"
    images: int = Field(default=2, ge=1, description="images stacked in the input: before and after")
    trunk: Trunk = PlainConfig()
    features: int = Field(default=64, ge=1, description="channels of a U-Net trunk's answer; a plain one's are its own")
    embedding: EmbeddingConfig | None = Field(default=None, description="stage 1's, beside the trunk; empty: none")
    keeping: Keeping = Field(
        default="pinned",
        description="pinned: stage 1 never changes; drifting: its weights do not, its BatchNorm statistics do, as in "
        "the published code; free: it is trained on",
    )
    statistics: Statistics = Field(default=(), description="as of the embedding, for the trunk's own view")
    kernel: int = Field(default=8, ge=1, description="rows and columns of the head's convolutions")

    @property
    def stride(self) -> int:
        """Rows and columns of the input must be a multiple of this."""
        own = self.trunk.stride if isinstance(self.trunk, UNetConfig) else 1
        return own if self.embedding is None else max(own, 2)

    def build(self, in_channels: int, classes: int) -> "Staged":
        """The network: ``[B, in_channels, H, W]`` → logits ``[B, 2, H, W]``. Raises ConfigError."""
        _check_classes(classes)
        return Staged(self, _bands(in_channels, self.images))


class Embedding(nn.Module):
    """One image → features at its own resolution, ``[B, bands, H, W]`` → ``[B, out, H, W]``; H and W even."""

    def __init__(self, config: EmbeddingConfig, bands: int) -> None:
        super().__init__()
        self.scale = Standardise(config.statistics, bands)
        self.stem = nn.Sequential(
            nn.Conv2d(bands, config.stem, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(config.stem), nn.ReLU()
        )
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        layers: list[nn.Module] = []
        for before in (config.stem, config.out):
            convolution = nn.Conv2d(before, config.out, 3, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(config.out), nn.ReLU()]
        self.decoder = nn.Sequential(*layers)
        initialise(self)

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        result: Tensor = self.decoder(self.up(self.stem(self.scale(image))))
        return result


class Siamese(nn.Module):
    """Stage 1. The 8×8 convolution has padding here, so that the answer is a map of the input's size; ``rim`` pixels
    before and after every row and column are what padding touched, and do not count in the mean over the chip."""

    def __init__(self, config: SiameseConfig, bands: int) -> None:
        super().__init__()
        self.stride, self.images = config.stride, config.images
        self.rim = _padding(config.kernel)
        self.embedding = config.embedding.build(bands)
        width = config.embedding.out * config.images
        self.compare = nn.Sequential(*_full(width, 1, config.kernel), nn.BatchNorm2d(1), nn.LeakyReLU())

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[B, 2, H, W]`` of normalised images ``[B, images · bands, H, W]``; that of class 0 is always 0."""
        return _two(self.compare(embed(self.embedding, images, self.images)))


class Staged(nn.Module):
    """Stage 2: a trunk on all images, the embedding of stage 1 beside it, and a head on both."""

    def __init__(self, config: StagedConfig, bands: int) -> None:
        super().__init__()
        self.stride, self.images = config.stride, config.images
        total = bands * config.images
        self.scale = Standardise(config.statistics * config.images, total)
        if isinstance(config.trunk, UNetConfig):
            width = config.features
            self.trunk: nn.Module = config.trunk.build(total, width)
        else:
            width = config.trunk.channels[-1]
            layers: list[nn.Module] = []
            for before, after in zip((total, *config.trunk.channels), config.trunk.channels, strict=False):
                layers += [*_full(before, after, config.trunk.kernel), nn.BatchNorm2d(after), nn.LeakyReLU()]
            self.trunk = nn.Sequential(*layers)
        self.embedding: nn.Module | None = None
        if config.embedding is not None:
            width += config.embedding.out * config.images
            part = config.embedding.build(bands)
            self.embedding = Pinned(part) if config.keeping == "pinned" else part
            part.requires_grad_(config.keeping == "free")
        head = [*_full(width, width, config.kernel), nn.BatchNorm2d(width), nn.LeakyReLU()]
        self.head = nn.Sequential(*head, *_full(width, 1, config.kernel))

    def adopt(self, embedding: Embedding) -> None:
        """Take the weights of stage 1, not how its images were standardised: that is of the region it is used in.

        Raises:
            ConfigError: it is of another shape, or this network has no place for one.
        """
        own = self._own_embedding()
        try:
            own.stem.load_state_dict(embedding.stem.state_dict())
            own.decoder.load_state_dict(embedding.decoder.state_dict())
        except RuntimeError as error:
            raise ConfigError(f"stage 1 is of another shape ({str(error).splitlines()[-1].strip()})") from None

    def _own_embedding(self) -> Embedding:
        own = self.embedding.part if isinstance(self.embedding, Pinned) else self.embedding
        if not isinstance(own, Embedding):
            raise ConfigError("this network has no place for stage 1: give it an embedding")
        return own

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[B, 2, H, W]`` of normalised images ``[B, images · bands, H, W]``; that of class 0 is always 0."""
        features: Tensor = self.trunk(self.scale(images))
        if self.embedding is not None:
            features = torch.cat([features, embed(self.embedding, images, self.images)], dim=1)
        return _two(self.head(features))


class Standardise(nn.Module):
    """Takes the mean from each channel and divides by its standard deviation; nothing where none are given."""

    mean: Tensor
    std: Tensor

    def __init__(self, statistics: Statistics, channels: int) -> None:
        super().__init__()
        given = statistics or ((0.0, 1.0),) * channels
        if len(given) != channels or not all(std > 0 for _, std in given):
            raise ConfigError(f"statistics {given} do not fit {channels} bands; give (mean, std > 0) for each")
        self.register_buffer("mean", torch.tensor([mean for mean, _ in given]).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor([std for _, std in given]).view(-1, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """``[B, C, H, W]`` of the same shape."""
        return (image - self.mean) / self.std


@torch.no_grad()
def settle(network: Staged, batches: Sequence[Tensor]) -> None:
    """Set the BatchNorm statistics of an embedding that never learned to those of ``batches`` (stacked images)."""
    part = network._own_embedding()
    norms = [layer for layer in part.modules() if isinstance(layer, nn.BatchNorm2d)]
    kept = [layer.momentum for layer in norms]
    for layer in norms:
        layer.reset_running_stats()
        layer.momentum = None  # the plain mean over batches
    part.train()
    for batch in batches:
        embed(part, batch, network.images)
    for layer, momentum in zip(norms, kept, strict=True):
        layer.momentum = momentum
    part.eval()


def embed(embedding: nn.Module, images: Tensor, count: int) -> Tensor:
    """What ``embedding`` makes of each of ``count`` stacked images, stacked: one network for all of them."""
    # One pass over all images, so that batch statistics are of all of them.
    batch, channels, height, width = images.shape
    apart = images.reshape(batch * count, channels // count, height, width)
    features: Tensor = embedding(apart)
    return features.reshape(batch, -1, height, width)


def _full(before: int, after: int, kernel: int) -> Sequence[nn.Module]:
    """A convolution that keeps the resolution; an even kernel looks one pixel further down and right."""
    first, last = _padding(kernel)
    return nn.ZeroPad2d((first, last, first, last)), nn.Conv2d(before, after, kernel)


def _padding(kernel: int) -> tuple[int, int]:
    return (kernel - 1) // 2, kernel // 2


def _two(logit: Tensor) -> Tensor:
    """Logits of two classes from that of the second against the first."""
    return torch.cat([torch.zeros_like(logit), logit], dim=1)


def _bands(in_channels: int, images: int) -> int:
    if in_channels % images:
        raise ConfigError(f"{in_channels} channels are not {images} images of one kind; check roles and body.images")
    return in_channels // images


def _check_classes(classes: int) -> None:
    if classes != 2:
        raise ConfigError(f"this network tells one thing from everything else, not {classes} classes")
