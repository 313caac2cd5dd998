"""Landslides in two stages, whether and then where: classification pretraining for segmentation [Böhm 2022].

The paper: *stage 1*, a small network shared by the radar image before and the one after, learns from labels of whole
chips whether there is a landslide. *Stage 2*, a plain CNN, learns from few pixel labels where it is, beside the frozen
embedding of stage 1 of both images, at full resolution. Sizes, AdamW at 1e-3, a clip of 0.5, the Dice loss (in the
published code over all pixels of a batch together) and no augmentation are the paper's, and so are the arms ``none``
(whose head is smaller, as published), ``pretrained`` and ``other-region``. Our controls: a ``random`` stage 1 of the
same size, frozen as well, and one that is ``finetuned``.

What the published code does and can hardly have meant is one option each of :class:`Published`, all off by default:
cross-entropy of stage 1 as a softmax across the batch; BatchNorm of the frozen stage 1 that drifts while stage 2
learns; mean and standard deviation of linear power applied to its logarithm. (Error bars of std/N instead of std/√N
are ``published_bars`` of :func:`undercast.evaluate.extent.spread`.)

Ours: a fixed number of steps with a cosine and the mean of the weights, where the paper watches plateaus and keeps the
best five epochs by average precision on validation chips; calibration on validation chips; statistics of the chips that
stage 1 is to learn from, for every arm, those of the region at hand where stage 1 came from another; statistics of a
random stage 1 set on chips first, or its features would have no scale; a U-Net as another trunk.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field, model_validator

from undercast.chip import ChipSource
from undercast.config import Settings
from undercast.datasets.augment import Augmentation, CutOut, RadarJitter
from undercast.datasets.choose import ChipChoice
from undercast.datasets.split import check_disjoint
from undercast.engine.feed import Feed
from undercast.engine.fit import FitConfig
from undercast.engine.place import Place
from undercast.engine.supervised import Presence, Supervised
from undercast.errors import ConfigError
from undercast.export import load_segmenter
from undercast.losses.presence import presence, presence_across_batch
from undercast.losses.segmentation import SegmentationLossConfig
from undercast.model import ModelFolder
from undercast.nets import (
    EmbeddingConfig,
    PlainConfig,
    Segmenter,
    SegmenterConfig,
    Siamese,
    SiameseConfig,
    Staged,
    StagedConfig,
)
from undercast.nets.siamese import Keeping, Statistics, Trunk, settle
from undercast.recipes.stage import Plan, RecipeConfig

Arm = Literal["none", "random", "pretrained", "other-region", "finetuned"]

STATISTICS_OF = 200
"""Chips whose pixels mean and standard deviation are taken of, and which set the statistics of a random stage 1."""


class Published(Settings):
    """What the published code does, by quirk; the meaning is the default."""

    softmax_across_batch: bool = Field(default=False, description="stage 1's loss: the chips of a batch as classes")
    drifting_statistics: bool = Field(
        default=False, description="BatchNorm of the frozen stage 1 stays in training mode"
    )
    linear_statistics: bool = Field(default=False, description="log power standardised by statistics of linear power")


class Config(RecipeConfig):
    """The landslide recipe."""

    recipe: Literal["landslide"] = "landslide"
    name: str = Field(default="landslide", min_length=1, description="of the model")
    arm: Arm = Field(default="pretrained", description="where the embedding beside stage 2 comes from")
    roles: tuple[str, ...] = Field(default=("s1_pre", "s1_post"), min_length=1, description="images, of one modality")
    target: str = Field(default="landslide", description="pixels; stage 1 learns only whether a chip has any")
    chips: ChipChoice = Field(description="chips that stage 1 learns from")
    other: ChipChoice | None = Field(default=None, description="those of the other region, for arm other-region")
    labelled: ChipChoice = Field(description="chips with pixel labels, which stage 2 learns from")
    validation: ChipChoice = Field(description="labelled chips to calibrate on; nothing is trained on them")
    apart: tuple[Literal["event", "place"], ...] = Field(
        default=("event", "place"), description="what training and validation may not share"
    )
    cache: Path | None = Field(default=None, description="folder that keeps simulated chips from run to run")
    pretrained: Path | None = Field(default=None, description="model folder of a trained stage 1; else one is trained")
    embedding: EmbeddingConfig = EmbeddingConfig()
    trunk: Trunk = PlainConfig()
    features: int = Field(default=64, ge=1, description="channels of a U-Net trunk's answer")
    kernel: int = Field(default=8, ge=1, description="of the comparison in stage 1 and of the head in stage 2")
    stage1: FitConfig = FitConfig(learning_rate=1e-3, clip=0.5, batch=64)
    stage2: FitConfig = FitConfig(learning_rate=1e-3, clip=0.5, batch=32)
    loss: SegmentationLossConfig = SegmentationLossConfig(cross_entropy=0, dice=1.0, pooled=True)
    augment: Augmentation = Augmentation(
        turns=False, flips=False, radar=RadarJitter(on=False), cut_out=CutOut(on=False)
    )
    as_published: Published = Published()

    @model_validator(mode="after")
    def _check(self) -> "Config":
        if self.arm == "other-region" and self.other is None and self.pretrained is None:
            raise ValueError("arm other-region learns whether in another region: give [other] a source")
        if self.arm in ("none", "random") and self.pretrained is not None:
            raise ValueError(f"arm {self.arm} has no trained stage 1: leave out pretrained")
        return self


def run(config: Config, place: Place, out: Path, *, resume: bool = False) -> Path:
    """Train as ``config`` says; the model folder ``out/student``, beside ``out/stage1`` where one is trained.

    Raises:
        UndercastError: chips, settings or a given model do not fit, or ``out`` holds a run and ``resume`` is not set.
    """
    chips = Chips.open(config)
    stages = config.stages(place, out, chips.validation, resume=resume)
    first: Path | None = None
    if config.arm not in ("none", "random"):
        first = config.pretrained or stages.complete("stage1", config.stage1, lambda: whether(config, chips))
    return stages.complete("student", config.stage2, lambda: where(config, chips, first))


@dataclass(frozen=True)
class Chips:
    """``whole``: what stage 1 learns from; ``here``: the same of this region; ``labelled`` and ``validation``."""

    whole: ChipSource
    here: ChipSource
    labelled: ChipSource
    validation: ChipSource

    @classmethod
    def open(cls, config: Config) -> "Chips":
        """The chips of ``config``. Raises InputError where training and validation share ground, or chips lack."""

        def opened(choice: ChipChoice) -> ChipSource:
            return choice.open(config.roles, (config.target,), seed=config.seed, cache=config.cache)

        here, labelled, validation = opened(config.chips), opened(config.labelled), opened(config.validation)
        whole = opened(config.other) if config.arm == "other-region" and config.other else here
        for source in (whole, here, labelled):
            check_disjoint(source, validation, by=config.apart)
        return cls(whole, here, labelled, validation)


def whether(config: Config, chips: Chips) -> Plan:
    """Stage 1: labels of whole chips."""
    embedding = config.embedding.model_copy(update={"statistics": statistics(config, chips.whole)})
    body = SiameseConfig(images=len(config.roles), embedding=embedding, kernel=config.kernel)
    torch.manual_seed(config.seed)
    network = _network(config, body, chips.whole)
    assert isinstance(network.body, Siamese)
    loss = presence_across_batch if config.as_published.softmax_across_batch else presence
    objective = Presence(network, loss, target=config.target, roles=config.roles, rim=network.body.rim)
    source = config.other if chips.whole is not chips.here else config.chips
    told = (f"whether chips of {source} hold a landslide",)
    about = "Whether a chip holds a landslide, learned from labels of whole chips; the mean of its logits answers."
    return Plan(network, objective, _feeds(config, chips.whole, config.stage1, 2), [chips.whole], told, about)


def where(config: Config, chips: Chips, first: Path | None) -> Plan:
    """Stage 2: labels of pixels, beside the embedding of stage 1 in ``first``."""
    seen = statistics(config, chips.here)
    torch.manual_seed(config.seed)
    network = _network(config, stage2_body(config, seen), chips.labelled)
    assert isinstance(network.body, Staged)
    told: tuple[str, ...] = (f"labels '{config.target}' of {config.labelled}",)
    if first is not None:
        model = ModelFolder.open(first)
        stage1 = load_segmenter(model).body
        if not isinstance(stage1, Siamese):
            raise ConfigError(f"{first}: holds no stage 1; give the folder 'stage1' of an earlier run")
        network.body.adopt(stage1.embedding)
        told = (*told, *model.signature.training_data)
    elif config.arm == "random":
        drawn = [_images(config, chips.here, number) for number in range(min(len(chips.here), STATISTICS_OF))]
        settle(network.body, [network.stack(images) for images in drawn])
    objective = Supervised(network, config.loss.terms, target=config.target, roles=config.roles)
    about = f"Landslides from {' and '.join(config.roles)}, learned from few pixel labels (arm {config.arm})."
    return Plan(network, objective, _feeds(config, chips.labelled, config.stage2, 3), [chips.labelled], told, about)


def stage2_body(config: Config, seen: Statistics) -> StagedConfig:
    """The network of stage 2 for the arm of ``config``, its images standardised by ``seen``."""
    keeping: Keeping = "drifting" if config.as_published.drifting_statistics else "pinned"
    return StagedConfig(
        images=len(config.roles),
        trunk=config.trunk,
        features=config.features,
        embedding=None if config.arm == "none" else config.embedding.model_copy(update={"statistics": seen}),
        keeping="free" if config.arm == "finetuned" else keeping,
        statistics=seen,
        kernel=config.kernel,
    )


def statistics(config: Config, source: ChipSource) -> Statistics:
    """(mean, standard deviation) of each band over the images of ``source``, on the network's scale from -1 to 1.

    Raises:
        ConfigError: statistics of linear power are asked for of images that are not in dB, or roles differ in bands.
    """
    modality = source.modalities[config.roles[0]]
    if any(source.modalities[role] != modality for role in config.roles):
        raise ConfigError(f"roles {', '.join(config.roles)} must be of one modality: one network sees them all")
    linear = config.as_published.linear_statistics
    if linear and modality.unit != "dB":
        raise ConfigError(f"as_published.linear_statistics is of radar in dB, and these images are in {modality.unit}")
    pixels = [source[number].images[role].reshape(len(modality.bands), -1)
              for number in range(min(len(source), STATISTICS_OF)) for role in config.roles]  # fmt: skip
    values = np.concatenate(pixels, axis=1).astype(np.float64)
    values = 10 ** (values / 10) if linear else values
    mean, std = np.nanmean(values, axis=1), np.nanstd(values, axis=1)
    if linear:
        mean, std = 10 * mean, 10 * std  # meant for log10 of power, a tenth of a dB value
    (low, high), half = modality.valid_range, (modality.valid_range[1] - modality.valid_range[0]) / 2
    centred = (mean - (low + high) / 2) / half
    return tuple((round(float(m), 5), round(float(s / half), 5)) for m, s in zip(centred, std, strict=True))


def _network(config: Config, body: SiameseConfig | StagedConfig, source: ChipSource) -> Segmenter:
    return SegmenterConfig(roles=config.roles, body=body).build(source.modalities, source.task)


def _feeds(config: Config, source: ChipSource, fit: FitConfig, stream: int) -> dict[str, Feed]:
    vary = config.augment.for_chips(source.modalities, vary=config.roles)
    seed = stream * 1000 + config.seed
    return {
        "labelled": Feed(
            source, config.roles, (config.target,), batch=fit.batch, seed=seed, transform=vary, cache_gib=fit.cache_gib
        )
    }


def _images(config: Config, source: ChipSource, number: int) -> dict[str, torch.Tensor]:
    chip = source[number]
    return {role: torch.from_numpy(chip.images[role])[None] for role in config.roles}
