"""Raw images by role to logits: what every objective trains and every export writes."""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any

import torch
from pydantic import Discriminator, Field, Tag
from torch import Tensor, nn

from undercast.bands import Modality
from undercast.config import Settings
from undercast.errors import ConfigError
from undercast.nets.cloudseg import Answer, CloudSeg, CloudSegConfig, Restoring
from undercast.nets.deeplab import DeepLab, DeepLabConfig
from undercast.nets.fusion import Fusion, FusionConfig
from undercast.nets.nnunet import NNUNet, NNUNetConfig
from undercast.nets.parts import Normalise, measure_reach
from undercast.nets.siamese import Siamese, SiameseConfig, Staged, StagedConfig
from undercast.nets.unet import UNet, UNetConfig
from undercast.task import Task

Range = tuple[float, float]


def _kind(body: Any) -> str:
    return str(body.get("kind", "unet") if isinstance(body, dict) else body.kind)


Body = Annotated[
    Annotated[UNetConfig, Tag("unet")]
    | Annotated[DeepLabConfig, Tag("deeplab")]
    | Annotated[SiameseConfig, Tag("siamese")]
    | Annotated[StagedConfig, Tag("staged")]
    | Annotated[CloudSegConfig, Tag("cloudseg")]
    | Annotated[FusionConfig, Tag("fusion")]
    | Annotated[NNUNetConfig, Tag("nnunet")],
    Discriminator(_kind),
]
"""Any of the networks; ``kind`` tells which, and a table without it is a U-Net."""


class SegmenterConfig(Settings):
    """Which roles a network sees, how they are scaled, and its body.

    Kept in a model's signature, so that the network can be rebuilt from the model folder alone.
    """

    roles: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        default=("s1",), description="images it sees, in this order"
    )
    ranges: dict[str, tuple[Range, ...]] = Field(
        default_factory=dict,
        description="role → (low, high) for each band, or one for all, in the modality's unit; default its valid range",
    )
    mask_channel: bool = Field(
        default=False, description="tell the body, with one plane a role, where the image was seen"
    )
    standardise: bool = Field(
        default=False, description="then bring every band of every image to mean 0 and deviation 1, as nnU-Net does"
    )
    optional: tuple[str, ...] = Field(default=(), description="roles a scene may lack, if it was trained for that")
    body: Body = UNetConfig()

    @property
    def restores(self) -> str | None:
        """The role whose clear image the network answers too."""
        return self.roles[0] if isinstance(self.body, CloudSegConfig) and self.body.restore else None

    def build(self, modalities: Mapping[str, Modality], task: Task) -> "Segmenter":
        """The network for images of ``modalities`` (role → modality; those it does not see are passed over).

        Raises:
            ConfigError: a role has no modality, or ranges that do not fit its bands.
        """
        for role in (*self.roles, *self.ranges, *self.optional):
            if role not in modalities or role not in self.roles:
                raise ConfigError(f"role '{role}': the network sees {self.roles}, the data has {tuple(modalities)}")
        return Segmenter(self, {role: modalities[role] for role in self.roles}, task)

    def ranges_of(self, role: str, modality: Modality) -> list[Range]:
        """One (low, high) for each band. Raises ConfigError where the ranges given do not fit the bands."""
        given = self.ranges.get(role, (modality.valid_range,))
        if len(given) not in (1, len(modality.bands)):
            raise ConfigError(f"ranges.{role}: {len(given)} ranges for {len(modality.bands)} bands {modality.bands}")
        return [given[0]] * len(modality.bands) if len(given) == 1 else list(given)


class Segmenter(nn.Module):
    """Normalises the image of every role, stacks them in order, and asks the body.

    ``stride``: rows and columns of the images must be a multiple of this. ``margin``: how far an answer looks beyond
    its own pixel, in input pixels, measured on the network itself. ``whole_tile``: whether an answer depends on all of
    the tile, as under instance normalisation; such a network can teach, and cannot make maps by tiles.
    """

    def __init__(self, config: SegmenterConfig, modalities: Mapping[str, Modality], task: Task) -> None:
        super().__init__()
        self.config = config
        self.modalities = dict(modalities)
        self.task = task
        self.normalise = nn.ModuleDict(
            {
                role: Normalise(
                    config.ranges_of(role, modality), mask_channel=config.mask_channel, standardise=config.standardise
                )
                for role, modality in modalities.items()
            }
        )
        self.planes = tuple(int(part.out_channels) for part in self._normalisers())
        self.in_channels = sum(self.planes)
        self.body = self._build_body()
        self.whole_tile = config.standardise or bool(getattr(self.body, "whole_tile", False))

    @property
    def roles(self) -> tuple[str, ...]:
        """Images it sees, in order."""
        return tuple(self.modalities)

    @property
    def stride(self) -> int:
        """Rows and columns of the images must be a multiple of this."""
        return self.body.stride

    @cached_property
    def margin(self) -> int:
        """Reach of the receptive field beyond a pixel, in input pixels. Raises ConfigError where it has no bound."""
        if isinstance(self.body, CloudSeg | Fusion) and not self.body.bounded:
            raise ConfigError("this network looks at the whole image, so no map by tiles can be exact")
        reach = measure_reach(self.body, self.in_channels, self.stride, self.task.scale)
        if not isinstance(self.body, CloudSeg) or self.config.restores is None:
            return reach
        return max(reach, measure_reach(Restoring(self.body), self.in_channels, self.stride))

    def forward(self, images: Mapping[str, Tensor]) -> Tensor:
        """Logits ``[B, K, H, W]`` of images ``[B, C, H, W]`` by role, raw and NaN where unseen."""
        logits: Tensor = self.body(self.stack(images))
        return logits

    def stack(self, images: Mapping[str, Tensor]) -> Tensor:
        """What the body sees of ``images``: normalised, one after the other, ``[B, in_channels, H, W]``."""
        planes = [self.normalise[role](images[role]) for role in self.modalities]
        return planes[0] if len(planes) == 1 else torch.cat(planes, dim=1)

    def answer(self, images: Mapping[str, Tensor], *, whole: bool = True) -> Answer:
        """All that a cloudseg network says: ``restored`` in the unit of its role, as it is, and NaN nowhere.

        Without ``whole`` nothing is restored, which saves time.

        Raises:
            ConfigError: this network has but one answer.
        """
        if not isinstance(self.body, CloudSeg):
            raise ConfigError(f"a network of kind {self.config.body.kind} has no features to compare; take cloudseg")
        found = self.body.answer(self.stack(images), whole=whole)
        if found.restored is None:
            return found
        role = self._normalisers()[0]
        return found._replace(restored=role.restore(found.restored))

    def resolutions(self, images: Mapping[str, Tensor]) -> list[Tensor]:
        """Logits at full resolution and, of a body that has heads there, at half, a quarter, …: deep supervision."""
        image = self.stack(images)
        return self.body.resolutions(image) if isinstance(self.body, NNUNet) else [self.body(image)]

    def lowest(self, images: Mapping[str, Tensor]) -> Tensor:
        """Features of the lowest resolution ``[B, C, h, w]``, of a U-Net or an nnU-Net.

        Raises:
            ConfigError: the body has no such features.
        """
        if not isinstance(self.body, UNet | NNUNet):
            raise ConfigError(f"a network of kind {self.config.body.kind} gives no hint; take unet or nnunet")
        return self.body.lowest(self.stack(images))

    def _build_body(self) -> UNet | DeepLab | Siamese | Staged | CloudSeg | Fusion | NNUNet:
        body = self.config.body
        match body:
            case CloudSegConfig():
                bands = len(self.modalities[self.roles[0]].bands)
                return body.build(self.planes, bands, len(self.task), self.task.scale)
            case FusionConfig():
                return body.build(self.planes, len(self.task), self.task.scale)
        return body.build(self.in_channels, len(self.task))

    def _normalisers(self) -> list[Normalise]:
        return [part for part in self.normalise.values() if isinstance(part, Normalise)]
