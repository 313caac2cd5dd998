"""Land cover under clouds, by a network that also restores what is hidden and learns from a clear sky [Xu 2024].

The paper: a *teacher* of three streams sees the clear optical image and radar and learns from labels alone, without
gate and restoration; a *student* of the same shape sees the cloudy image and radar and minimises cross-entropy + the
restoration of the clear image (weighted under cloud) + a hint (the teacher's decoder features where the sky is clear).

Ours, each an option that is off in the paper's form: the hint normalised by the clear pixels; the teacher's answers by
its confidence on all pixels, for it saw through the cloud; pairs without labels, from which all but the cross-entropy
learns; a student that starts from the teacher's weights; images that are missing altogether, so that full cover
degrades to radar alone; the light a cloud takes instead of cloud or no cloud; flips and quarter turns. Ours too: the
size of the networks, optimiser and schedule, the mean of the weights, and calibration on validation chips.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field, model_validator

from undercast.chip import ChipSource
from undercast.config import Settings
from undercast.datasets.augment import CLEAN, Augmentation
from undercast.datasets.bands import OfBands
from undercast.datasets.choose import ChipChoice
from undercast.datasets.split import check_disjoint
from undercast.engine.feed import Feed
from undercast.engine.fit import FitConfig
from undercast.engine.objective import Frozen
from undercast.engine.place import Place
from undercast.engine.supervised import Supervised
from undercast.engine.through_cloud import ThroughCloud, ThroughCloudConfig
from undercast.errors import ConfigError
from undercast.export import load_segmenter
from undercast.losses.segmentation import SegmentationLossConfig
from undercast.model import ModelFolder
from undercast.nets import CloudSegConfig, Segmenter, SegmenterConfig
from undercast.recipes.stage import Plan, RecipeConfig

Arm = Literal["cloudseg", "plain", "teacher"]

PAPER = Augmentation(
    turns=False,
    flips=False,
    radar=Augmentation().radar.model_copy(update={"on": False}),
    optical=Augmentation().optical.model_copy(update={"on": False}),
    cut_out=Augmentation().cut_out.model_copy(update={"on": False}),
)
"""Crops alone."""


class LearnerConfig(Settings):
    """A network and how it is trained."""

    network: SegmenterConfig
    fit: FitConfig = FitConfig()


def _teacher() -> LearnerConfig:
    body = CloudSegConfig(gate=False, restore=False)
    return LearnerConfig(network=SegmenterConfig(roles=("s2_clear", "s1"), mask_channel=True, body=body))


def _student() -> LearnerConfig:
    return LearnerConfig(network=SegmenterConfig(roles=("s2", "s1"), mask_channel=True, body=CloudSegConfig()))


class Config(RecipeConfig):
    """The land-cover recipe; the defaults of ``through_cloud`` and ``augment`` are the paper's."""

    recipe: Literal["landcover"] = "landcover"
    name: str = Field(default="landcover", min_length=1, description="of the model")
    arm: Arm = Field(
        default="cloudseg", description="cloudseg: the student; plain: any network on labels alone; or the teacher"
    )
    target: str = Field(default="landcover", description="label to learn from")
    clear: str = Field(default="s2_clear", description="role of the clear image that is to be restored")
    bands: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="role → bands to take of it, by name; left out: all there are"
    )
    training: ChipChoice
    unlabelled: ChipChoice | None = Field(
        default=None, description="cloudy and clear pairs whose labels are not read, for the student through cloud"
    )
    share: float = Field(default=0.5, gt=0, lt=1, description="of each batch that is labelled, where the rest is not")
    validation: ChipChoice = Field(description="labelled chips to calibrate on; nothing is trained on them")
    apart: tuple[Literal["event", "place"], ...] = Field(
        default=("event", "place"), description="what training and validation may not share"
    )
    cache: Path | None = Field(default=None, description="folder that keeps simulated chips from run to run")
    given: Path | None = Field(default=None, description="model folder of a trained teacher; else one is trained")
    start: bool = Field(default=False, description="start the student from the teacher's weights")
    teacher: LearnerConfig = Field(default_factory=_teacher)
    student: LearnerConfig = Field(default_factory=_student)
    loss: SegmentationLossConfig = SegmentationLossConfig()
    through_cloud: ThroughCloudConfig = ThroughCloudConfig()
    augment: Augmentation = PAPER

    @property
    def taught(self) -> bool:
        """Whether the student needs a teacher."""
        return self.arm == "cloudseg" and (self.through_cloud.needs_teacher or self.start)

    @property
    def cover(self) -> str:
        """The target that says where there is cloud."""
        return "opacity" if self.through_cloud.soft else "cloud"

    @model_validator(mode="after")
    def _check(self) -> "Config":
        bodies = {"teacher": self.teacher.network.body}
        bodies |= {"student": self.student.network.body} if self.arm == "cloudseg" else {}
        for name, body in bodies.items():
            if not isinstance(body, CloudSegConfig) and (name == "student" or self.taught):
                raise ValueError(f"{name}.network.body: a hint compares two cloudseg networks, not a {body.kind}")
        return self


def run(config: Config, place: Place, out: Path, *, resume: bool = False) -> Path:
    """Train as ``config`` says; the model folder: ``out/student``, or ``out/teacher`` of the arm ``teacher``.

    Raises:
        UndercastError: chips, settings or a given model do not fit, or ``out`` holds a run and ``resume`` is not set.
    """
    chips = Chips.open(config)
    stages = config.stages(place, out, chips.validation, resume=resume)
    teacher = config.given
    if config.arm == "teacher" or (config.taught and teacher is None):
        teacher = stages.complete("teacher", config.teacher.fit, lambda: on_labels(config, config.teacher, chips))
    if config.arm == "teacher":
        assert teacher is not None
        return teacher
    if config.arm == "plain":
        return stages.complete("student", config.student.fit, lambda: on_labels(config, config.student, chips))
    asked = load_segmenter(ModelFolder.open(teacher)) if config.taught and teacher is not None else None
    return stages.complete("student", config.student.fit, lambda: through_cloud(config, chips, asked))


@dataclass(frozen=True)
class Chips:
    """What is learned from and what is calibrated on."""

    training: ChipSource
    validation: ChipSource
    unlabelled: ChipSource | None = None

    @classmethod
    def open(cls, config: Config) -> "Chips":
        """The chips of ``config``, with the bands it takes. Raises InputError where both share ground."""
        roles = sorted({*config.student.network.roles, *config.teacher.network.roles, config.clear})
        targets = (config.target, config.cover)

        def opened(choice: ChipChoice) -> ChipSource:
            return OfBands(choice.open(roles, targets, seed=config.seed, cache=config.cache), config.bands)

        training, validation = opened(config.training), opened(config.validation)
        pairs = opened(config.unlabelled) if config.unlabelled and config.arm == "cloudseg" else None
        for source in (training, pairs):
            if source is not None:
                check_disjoint(source, validation, by=config.apart)
        return cls(training, validation, pairs)


def on_labels(config: Config, learner: LearnerConfig, chips: Chips) -> Plan:
    """Labels alone: the teacher under a clear sky, and networks to compare with."""
    network = _network(config, learner, chips)
    objective = Supervised(network, config.loss.terms, target=config.target, roles=network.roles, feed="chips")
    feeds = {"chips": _feed(config, learner, chips.training, learner.fit.batch, (config.target,), vary=network.roles)}
    about = f"Land cover from {' and '.join(network.roles)}, learned from labels alone."
    return Plan(network, objective, feeds, [chips.training], _told(config), about)


def through_cloud(config: Config, chips: Chips, teacher: Segmenter | None) -> Plan:
    """Labels, the clear image, and the teacher that saw it."""
    student = _network(config, config.student, chips)
    if config.start and teacher is not None:
        _start(student, teacher)
    optical, radar = student.roles
    # The teacher sees the clear image as the cloudy one was varied, and the radar image though the student may lack it.
    sees = dict(zip(teacher.roles, (config.clear, CLEAN + radar), strict=True)) if teacher is not None else {}
    objective = ThroughCloud(
        student,
        Frozen(teacher) if teacher is not None and config.through_cloud.needs_teacher else None,
        config.loss.terms,
        config.through_cloud,
        target=config.target,
        roles=student.roles,
        sees=sees,
        clear=config.clear,
        cover=config.cover,
        pairs=chips.unlabelled is not None,
    )
    vary, targets = (optical, radar, config.clear), (config.target, config.cover)
    fit = config.student.fit
    hand, rest = fit.parted(config.share) if chips.unlabelled else (fit.batch, 0)
    feeds = {
        name: _feed(config, config.student, source, count, targets, vary=vary, keep=(radar,))
        for name, source, count in (("chips", chips.training, hand), ("pairs", chips.unlabelled, rest))
        if source is not None
    }
    about = f"Land cover from {optical} through cloud and {radar}, and {optical} as it would be under a clear sky."
    learned = [source for source in (chips.training, chips.unlabelled) if source is not None]
    seen = _told(config)
    seen += (f"pairs of {config.unlabelled}, without their labels",) if chips.unlabelled else ()
    return Plan(student, objective, feeds, learned, seen, about)


def _start(student: Segmenter, teacher: Segmenter) -> None:
    """Put the teacher's weights into the student, where it has a part of that name; the rest stays as drawn."""
    theirs, own = teacher.body.state_dict(), student.body.state_dict()
    if wrong := [name for name in theirs if name not in own or own[name].shape != theirs[name].shape]:
        raise ConfigError(f"start: the teacher's '{wrong[0]}' is no part of the student; give both one encoder")
    student.body.load_state_dict(own | theirs)


def _feed(
    config: Config,
    learner: LearnerConfig,
    source: ChipSource,
    batch: int,
    targets: tuple[str, ...],
    *,
    vary: tuple[str, ...],
    keep: tuple[str, ...] = (),
) -> Feed:
    # A teacher sees all there is.
    lost = config.augment.missing if learner is config.student else {}
    augment = config.augment.model_copy(update={"missing": lost})
    return Feed(
        source,
        (*vary, *(CLEAN + role for role in keep)),
        targets,
        batch=batch,
        seed=config.seed,
        transform=augment.for_chips(source.modalities, vary=vary, keep=keep),
        cache_gib=learner.fit.cache_gib,
    )


def _network(config: Config, learner: LearnerConfig, chips: Chips) -> Segmenter:
    torch.manual_seed(config.seed)
    return learner.network.build(chips.training.modalities, chips.training.task)


def _told(config: Config) -> tuple[str, ...]:
    return (f"labels '{config.target}' of {config.training}",)
