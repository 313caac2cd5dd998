"""Flood extent from radar alone, taught by a network that also saw the optical image [Garg 2023].

The paper: a *teacher* that sees Sentinel-1 and Sentinel-2 learns from a small hand-labelled set; a *student* that sees
only Sentinel-1 learns from the same labels and from the teacher's answers on many unlabelled pairs; the loss is
cross-entropy weighted in an inner and an outer band at the water's edge; invalid and cloudy pixels are ignored; at
inference only the student runs.

Arms are settings: ``supervised`` on ``labels`` made by hand, weak (a threshold on the optical image, improved by how
often water is there where ``weak.occurrence`` says so) or both; ``teacher``; ``distilled``; ``self_distilled``, whose
teacher sees no more than the student.

Ours, because the paper's body leaves it open or we chose otherwise: the networks (U-Nets), the weights and the width of
the edge bands, the teacher's input (images of both sensors stacked), soft answers compared by the divergence at
temperature 1, the weight of that term, half of each batch unlabelled, augmentation, that the teacher sees the
student's crop before its radiometry was jittered, optimiser and schedule, the mean of the weights, and calibration on
validation chips. Students of all arms take the same steps of as many chips; without a teacher all of them are labelled.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field, model_validator

from undercast.chip import ChipSource
from undercast.config import Settings
from undercast.datasets.augment import Augmentation
from undercast.datasets.bands import OfBands
from undercast.datasets.choose import ChipChoice
from undercast.datasets.join import Joined
from undercast.datasets.split import check_disjoint
from undercast.datasets.weak import WeakChoice
from undercast.engine.distilled import Distilled
from undercast.engine.feed import Feed
from undercast.engine.fit import FitConfig
from undercast.engine.place import Place
from undercast.engine.supervised import Supervised
from undercast.errors import ConfigError
from undercast.export import load_segmenter
from undercast.losses.segmentation import EdgeConfig, SegmentationLossConfig
from undercast.model import ModelFolder
from undercast.nets import Segmenter, SegmenterConfig
from undercast.nets.narrow import narrowed
from undercast.recipes.stage import Plan, RecipeConfig, Stages
from undercast.recipes.teaching import DistillationConfig, teaching

Arm = Literal["supervised", "distilled", "self_distilled", "teacher"]

DISTILLED = ("distilled", "self_distilled")
ANOTHER = 1_000_003  # added to the seed for each further network of a teacher


class LearnerConfig(Settings):
    """A network and how it is trained."""

    network: SegmenterConfig = SegmenterConfig()
    fit: FitConfig = FitConfig()
    start: Path | None = Field(
        default=None, description="model folder whose weights to start from, which may see more bands; else random"
    )


class Config(RecipeConfig):
    """The flood recipe."""

    recipe: Literal["flood"] = "flood"
    name: str = Field(default="flood", min_length=1, description="of the model")
    arm: Arm = Field(default="distilled", description="what is trained; self_distilled: by a teacher on radar alone")
    target: str = Field(default="flood", description="label to learn from, such as flood or flood_weak")
    labelled: ChipChoice
    also: tuple[ChipChoice, ...] = Field(
        default=(), description="further labelled chips that the student alone learns from; they need only its roles"
    )
    labels: Literal["hand", "weak", "hand+weak"] = Field(
        default="hand", description="what the student learns from; a teacher always learns from hand labels"
    )
    weak: WeakChoice | None = Field(default=None, description="chips with weak labels")
    unlabelled: ChipChoice | None = Field(default=None, description="pairs of both sensors; their labels are not read")
    validation: ChipChoice = Field(description="labelled chips to calibrate on; nothing is trained on them")
    apart: tuple[Literal["event", "place"], ...] = Field(
        default=("event", "place"), description="what training and validation may not share"
    )
    cache: Path | None = Field(default=None, description="folder that keeps simulated chips from run to run")
    bands: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="role → the bands of it that networks see; a role left out keeps all it has"
    )
    teacher: LearnerConfig = LearnerConfig(network=SegmenterConfig(roles=("s1", "s2")))
    student: LearnerConfig = LearnerConfig()
    loss: SegmentationLossConfig = SegmentationLossConfig(edge=EdgeConfig())
    distillation: DistillationConfig = DistillationConfig()
    augment: Augmentation = Augmentation()

    @model_validator(mode="after")
    def _check(self) -> "Config":
        if self.arm in DISTILLED and self.unlabelled is None:
            raise ValueError(f"arm {self.arm} learns from unlabelled pairs: give [unlabelled] a source")
        if "weak" in self.labels and self.weak is None:
            raise ValueError(f"labels {self.labels} need chips with weak labels: give [weak] a source")
        if self.arm == "teacher" and self.distillation.teacher:
            raise ValueError("arm teacher trains a teacher: leave out distillation.teacher")
        if self.arm == "self_distilled" and self.teacher.network.roles != self.student.network.roles:
            raise ValueError("arm self_distilled has a teacher of the student's roles: set teacher.network.roles")
        return self


def run(config: Config, place: Place, out: Path, *, resume: bool = False) -> Path:
    """Train as ``config`` says; the model folder: ``out/student``, or ``out/teacher`` of the arm ``teacher``.

    Raises:
        UndercastError: chips, settings or a given model do not fit, or ``out`` holds a run and ``resume`` is not set.
    """
    chips = _Chips.open(config)
    stages = config.stages(place, out, chips.validation, resume=resume)
    if config.arm == "supervised":
        return stages.complete(
            "student", config.student.fit, lambda: _on_labels(config, config.student, chips, config.seed)
        )
    teachers = config.distillation.teacher or _teachers(config, chips, stages)
    if config.arm == "teacher":
        return teachers[0]
    return stages.complete("student", config.student.fit, lambda: _on_answers(config, chips, teachers))


def _teachers(config: Config, chips: "_Chips", stages: Stages) -> tuple[Path, ...]:
    """The model folders ``teacher``, ``teacher-2`` and so on: the same but for the seed of weights and shuffling."""

    def trained(number: int) -> Path:
        name = f"teacher-{number + 1}" if number else "teacher"
        seed = config.seed + number * ANOTHER
        return stages.complete(name, config.teacher.fit, lambda: _on_labels(config, config.teacher, chips, seed))

    return tuple(trained(number) for number in range(config.distillation.members))


@dataclass(frozen=True)
class _Chips:
    labelled: ChipSource
    student: ChipSource
    """The labelled chips of the student: those of the teacher, weak ones, and what it alone learns from."""
    unlabelled: ChipSource | None
    validation: ChipSource

    @classmethod
    def open(cls, config: Config) -> "_Chips":
        learners = [config.student] if config.arm == "supervised" else [config.teacher, config.student]
        roles = tuple(dict.fromkeys(role for learner in learners for role in learner.network.roles))

        own = config.student.network.roles

        def opened(choice: ChipChoice, *targets: str, roles: Sequence[str] = roles) -> ChipSource:
            return _with_bands(choice.open(roles, targets, seed=config.seed, cache=config.cache), config.bands, roles)

        labelled, validation = opened(config.labelled, config.target), opened(config.validation, config.target)
        pairs = opened(config.unlabelled, *_cloud(config)) if config.unlabelled and config.arm in DISTILLED else None
        parts: list[ChipSource] = [labelled] * config.labelled.repeat if "hand" in config.labels else []
        for choice in config.also:
            parts += [opened(choice, config.target, roles=own)] * choice.repeat
        if "weak" in config.labels and config.weak is not None:
            weak = config.weak.open_as(own, config.target, seed=config.seed, cache=config.cache)
            parts += [_with_bands(weak, config.bands, own)] * config.weak.repeat
        student = parts[0] if len(parts) == 1 else Joined(tuple(parts), own)
        for source in (student, pairs):
            if source is not None:
                check_disjoint(source, validation, by=config.apart)
        return cls(labelled, student, pairs, validation)


def _with_bands(chips: ChipSource, bands: Mapping[str, tuple[str, ...]], roles: Sequence[str]) -> ChipSource:
    kept = {role: names for role, names in bands.items() if role in roles}
    return OfBands(chips, kept) if kept else chips


def _on_labels(config: Config, learner: LearnerConfig, chips: _Chips, seed: int) -> Plan:
    """Hand labels alone: the teacher, and the student without one."""
    network = _network(learner, chips, seed)
    labelled = chips.student if learner is config.student else chips.labelled
    objective = Supervised(network, config.loss.terms, target=config.target, roles=network.roles)
    feeds = {"labelled": _labelled_feed(config, learner, labelled, learner.fit.batch, seed)}
    about = f"Water from {' and '.join(network.roles)}, learned from labels alone."
    return Plan(network, objective, feeds, [labelled], _told(config, learner), about)


def _on_answers(config: Config, chips: _Chips, teachers: Sequence[Path]) -> Plan:
    """Hand labels, and on unlabelled pairs the answers of the frozen teacher."""
    assert chips.unlabelled is not None
    student, how = _network(config.student, chips, config.seed), config.distillation
    taught = teaching(how, teachers, chips.unlabelled, student.roles)
    objective = Distilled(
        student,
        taught.answers,
        config.loss.terms,
        how.loss(),
        target=config.target,
        roles=student.roles,
        sees=taught.sees,
        weight=how.weight,
        cloud=how.cloud or None,
    )
    hand, rest = config.student.fit.parted(how.share)
    pairs = Feed(
        taught.pairs,
        (*student.roles, *taught.sees.values()),
        _cloud(config),
        batch=rest,
        seed=2 * config.seed + 1,
        transform=config.augment.for_chips(taught.pairs.modalities, vary=student.roles, keep=taught.keep),
        cache_gib=config.student.fit.cache_gib,
    )
    feeds = {"labelled": _labelled_feed(config, config.student, chips.student, hand, config.seed), "unlabelled": pairs}
    known = " and ".join(ModelFolder.open(teachers[0]).signature.inputs)
    about = f"Water from {' and '.join(student.roles)}, learned from labels and a teacher: {known}."
    pairs_seen = f"{len(chips.unlabelled)} pairs answered by the teacher: {config.unlabelled}"
    seen = (*_told(config, config.student), pairs_seen)
    return Plan(student, objective, feeds, [chips.student, chips.unlabelled], seen, about)


def _labelled_feed(config: Config, learner: LearnerConfig, chips: ChipSource, batch: int, seed: int) -> Feed:
    roles = learner.network.roles
    return Feed(
        chips,
        roles,
        (config.target,),
        batch=batch,
        seed=2 * seed,
        transform=config.augment.for_chips(chips.modalities, vary=roles),
        cache_gib=learner.fit.cache_gib,
    )


def _network(learner: LearnerConfig, chips: _Chips, seed: int) -> Segmenter:
    if learner.start is None:
        torch.manual_seed(seed)
        return learner.network.build(chips.labelled.modalities, chips.labelled.task)
    network = load_segmenter(ModelFolder.open(learner.start))
    if network.config != learner.network:
        raise ConfigError(f"{learner.start}: holds another network than the recipe's; copy its settings from there")
    wanted = {role: chips.labelled.modalities[role] for role in network.roles}
    return network if network.modalities == wanted else narrowed(network, wanted)


def _told(config: Config, learner: LearnerConfig) -> tuple[str, ...]:
    """What the card says of the labels."""
    if learner is config.teacher:
        return (f"labels '{config.target}' of {config.labelled}",)
    hand = [config.labelled] if "hand" in config.labels else []
    weak = [config.weak] if "weak" in config.labels and config.weak else []
    return tuple(f"labels '{config.target}' of {choice}" for choice in (*hand, *config.also, *weak))


def _cloud(config: Config) -> tuple[str, ...]:
    return (config.distillation.cloud,) if config.distillation.cloud else ()
