"""A self-configured ensemble squeezed into a cloud mask small enough to fly [Grabowski 2023].

The paper: nnU-Net configures itself for the data (fingerprint, plan), five folds make an ensemble, and its mean answer
over mirrored views teaches vanilla U-Nets almost 280 times smaller; the student's loss adds the difference from the
teacher's answers to that from the labels.

Ours: folds are cut between places; the student's grid, temperature and weights; classes clear, cloud and shadow; the
teacher's answers on whole chips are kept and cut with them, so that distilling costs nothing a step; the teacher also
answers chips nobody labelled; an assistant of middling size where the gap is too large [Mirzadeh 2020]; the student has
BatchNorm and ReLU, ships as one graph and is quantised. The student without a teacher takes the same steps of the same
number of chips with the same labels.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field, field_validator, model_validator

from undercast.chip import ChipSource
from undercast.config import Settings
from undercast.datasets.answered import ANSWER, Answered
from undercast.datasets.augment import CLEAN, Augmentation
from undercast.datasets.bands import OfBands
from undercast.datasets.choose import ChipChoice
from undercast.datasets.join import Joined
from undercast.datasets.split import check_disjoint, folds
from undercast.engine.distilled import Squeezed
from undercast.engine.feed import Feed
from undercast.engine.fit import FitConfig
from undercast.engine.hints import Hinted
from undercast.engine.place import Place
from undercast.engine.supervised import DeeplySupervised, Supervised
from undercast.errors import ConfigError
from undercast.export import load_segmenter
from undercast.losses.segmentation import SegmentationLossConfig
from undercast.losses.squeeze import SqueezeConfig
from undercast.model import ModelFolder
from undercast.nets import NNUNetConfig, Segmenter, SegmenterConfig
from undercast.nets.plan import Plan as NetworkPlan
from undercast.nets.plan import PlannerConfig, fingerprint, make_plan
from undercast.predict.committee import Views
from undercast.recipes.ensemble import answered_by
from undercast.recipes.stage import Plan, RecipeConfig, Stages

Arm = Literal["ensemble", "supervised", "distilled"]
PLAN = "plan.json"


class LearnerConfig(Settings):
    """A network, how it is trained and what it is shown."""

    network: SegmenterConfig = SegmenterConfig(roles=("s2",))
    fit: FitConfig = FitConfig()
    augment: Augmentation = Augmentation()
    start: Path | None = Field(default=None, description="model folder whose weights to start from; else random")


class TeacherConfig(LearnerConfig):
    """The ensemble. With ``planner`` the network, the patch, the batch and the ranges are the plan's."""

    planner: PlannerConfig | None = Field(default=None, description="plan from the fingerprint of the labelled chips")
    folds: int = Field(default=5, ge=2, description="cut of the labelled chips, between places")
    members: tuple[int, ...] = Field(
        default=(0, 1, 2, 3, 4), min_length=1, description="folds left out, each by a member; a number: so many of them"
    )
    views: Views = Field(default=4, description="mirrored views of an answer")
    tile: int = Field(default=0, ge=0, description="rows and columns of blended windows of an answer; 0: whole chips")
    given: tuple[Path, ...] = Field(default=(), description="model folders of trained members; else they are trained")

    @field_validator("members", mode="before")
    @classmethod
    def _count(cls, members: object) -> object:
        return tuple(range(members)) if isinstance(members, int) else members


class Config(RecipeConfig):
    """The cloud recipe."""

    recipe: Literal["clouds"] = "clouds"
    name: str = Field(default="clouds", min_length=1, description="of the model")
    arm: Arm = Field(default="distilled", description="what is trained")
    draw: int | None = Field(default=None, ge=0, description="of the draw of chips and the cut of folds; else the seed")
    target: str = Field(default="clouds", description="label to learn from")
    role: str = Field(default="s2", description="the image")
    bands: tuple[str, ...] = Field(default=("B02", "B03", "B04", "B08"), description="of it; empty: all there are")
    labelled: ChipChoice
    also: tuple[ChipChoice, ...] = Field(default=(), description="further labelled chips, for the student alone")
    unlabelled: ChipChoice | None = Field(default=None, description="chips the teacher alone answers")
    validation: ChipChoice = Field(description="labelled chips to calibrate on; nothing is trained on them")
    apart: tuple[Literal["event", "place"], ...] = Field(
        default=("place",), description="what training and validation may not share"
    )
    cache: Path | None = Field(default=None, description="folder that keeps simulated chips and answers between runs")
    teacher: TeacherConfig = TeacherConfig(network=SegmenterConfig(roles=("s2",), body=NNUNetConfig()))
    assistant: LearnerConfig | None = Field(default=None, description="learns from the ensemble, teaches the student")
    student: LearnerConfig = LearnerConfig()
    loss: SegmentationLossConfig = SegmentationLossConfig(dice=1.0, pooled=True, smooth=1e-5)
    squeeze: SqueezeConfig = SqueezeConfig()
    share: float = Field(default=0.5, gt=0, le=1, description="of each batch that is labelled, where the rest is not")

    @model_validator(mode="after")
    def _check(self) -> "Config":
        if max(self.teacher.members) >= self.teacher.folds or min(self.teacher.members) < 0:
            raise ValueError(
                f"teacher.members {self.teacher.members} are not all of folds 0 to {self.teacher.folds - 1}"
            )
        return self


def run(config: Config, place: Place, out: Path, *, resume: bool = False) -> Path:
    """Train as ``config`` says; the model folder ``out/student``, or a member's of the arm ``ensemble``.

    Raises:
        UndercastError: chips, settings or a given model do not fit, or ``out`` holds a run and ``resume`` is not set.
    """
    chips = _Chips.open(config)
    config.squeeze.check(len(chips.labelled.task))
    stages = config.stages(place, out, chips.validation, resume=resume)
    if config.arm == "ensemble":
        stages = replace(stages, int8=False)
    if config.arm == "supervised":
        return stages.complete("student", config.student.fit, lambda: _on_labels(config, config.student, chips.student))
    members = config.teacher.given or _members(config, chips, stages, out)
    if config.arm == "ensemble":
        return members[0]
    if config.assistant is not None:
        helper = config.assistant
        members = (
            stages.complete("assistant", helper.fit, lambda: _on_answers(config, helper, chips, members, place, out)),
        )
    return stages.complete(
        "student", config.student.fit, lambda: _on_answers(config, config.student, chips, members, place, out)
    )


@dataclass(frozen=True)
class _Chips:
    labelled: ChipSource
    student: ChipSource
    """The labelled chips, and what the student alone learns from."""
    unlabelled: ChipSource | None
    validation: ChipSource

    @classmethod
    def open(cls, config: Config) -> "_Chips":
        def opened(choice: ChipChoice) -> ChipSource:
            source = choice.open((config.role,), (config.target,), seed=_draw(config), cache=config.cache)
            return OfBands(source, {config.role: config.bands}, instrument) if config.bands else source

        instrument = ""
        labelled = opened(config.labelled)
        # Whatever took the others: the network is told of bands, and is the better for other instruments' ones.
        instrument = labelled.modalities[config.role].instrument
        validation = opened(config.validation)
        also = [part for choice in config.also for part in [opened(choice)] * choice.repeat]
        student = Joined((labelled, *also), (config.role,)) if also else labelled
        others = opened(config.unlabelled) if config.unlabelled and config.arm == "distilled" else None
        for source in (student, others):
            if source is not None:
                check_disjoint(source, validation, by=config.apart)
        return cls(labelled, student, others, validation)


def _members(config: Config, chips: _Chips, stages: Stages, out: Path) -> tuple[Path, ...]:
    """Plan, cut folds between places, and train a member on the rest of each."""
    teacher = config.teacher
    if teacher.planner is not None:
        teacher = as_planned(teacher, _plan(config, teacher.planner, chips.labelled, out))
    cut = folds(chips.labelled, teacher.folds, seed=_draw(config))
    return tuple(
        stages.complete(
            f"teacher-{number}",
            teacher.fit,
            lambda number=number: _on_labels(config, teacher, cut[number][0], number),  # type: ignore[misc]
        )
        for number in teacher.members
    )


def _plan(config: Config, planner: PlannerConfig, labelled: ChipSource, out: Path) -> NetworkPlan:
    """The plan for ``labelled``, kept beside the models with the fingerprint it was made of."""
    found = fingerprint(labelled, config.target, (config.role,))
    plan = make_plan(found, planner)
    text = {"fingerprint": found.model_dump(mode="json"), "plan": plan.model_dump(mode="json")}
    out.mkdir(parents=True, exist_ok=True)
    (out / PLAN).write_text(json.dumps(text, indent=2) + "\n", "utf-8")
    return plan


def as_planned(teacher: TeacherConfig, plan: NetworkPlan) -> TeacherConfig:
    """``teacher`` with the network, the patch and the batch of ``plan``."""
    network = teacher.network.model_copy(
        update={"body": plan.body, "ranges": plan.ranges, "standardise": plan.normalisation == "image"}
    )
    return teacher.model_copy(
        update={
            "network": network,
            "fit": teacher.fit.model_copy(update={"batch": plan.batch}),
            "augment": teacher.augment.model_copy(update={"crop": min(plan.patch)}),
        }
    )


def _on_labels(config: Config, learner: LearnerConfig, labelled: ChipSource, member: int = 0) -> Plan:
    """Labels alone: the members of the ensemble, and the student without a teacher."""
    network = _network(config, learner, labelled, member)
    kind = DeeplySupervised if isinstance(learner.network.body, NNUNetConfig) else Supervised
    objective = kind(network, config.loss.terms, target=config.target, roles=network.roles)
    feed = Feed(
        labelled,
        network.roles,
        (config.target,),
        batch=learner.fit.batch,
        seed=2 * config.seed + 1000 * member,
        transform=learner.augment.for_chips(labelled.modalities, vary=network.roles),
        cache_gib=learner.fit.cache_gib,
    )
    about = "Clouds, learned from labels alone."
    return Plan(network, objective, {"labelled": feed}, [labelled], _told(config, labelled), about)


def _on_answers(
    config: Config, learner: LearnerConfig, chips: _Chips, teachers: tuple[Path, ...], place: Place, out: Path
) -> Plan:
    """Labels, and the kept answers of the teachers on the same chips and on those without labels."""
    network = _network(config, learner, chips.labelled)
    kept, how = (config.cache or out) / "answers", config.teacher

    def ask(source: ChipSource) -> Answered:
        return answered_by(teachers, source, (config.role,), kept, place, views=how.views, tile=how.tile)

    labelled, more = ask(chips.student), ask(chips.unlabelled) if chips.unlabelled else None
    squeezed = Squeezed(
        network,
        config.loss.terms,
        config.squeeze.terms,
        target=config.target,
        roles=network.roles,
        answer=CLEAN + ANSWER,
        unlabelled="unlabelled" if more else None,
    )
    objective: Squeezed | Hinted = squeezed
    if config.squeeze.hint:
        objective = Hinted(squeezed, network, load_segmenter(ModelFolder.open(teachers[0])), config.squeeze.hint)
    hand, rest = learner.fit.parted(config.share) if more else (learner.fit.batch, 0)
    feeds = {
        name: Feed(
            source,
            (*network.roles, CLEAN + ANSWER),
            (config.target,),
            batch=count,
            seed=2 * config.seed + number,
            transform=learner.augment.for_chips(source.modalities, vary=network.roles, keep=(ANSWER,)),
            cache_gib=learner.fit.cache_gib,
        )
        for number, (name, source, count) in enumerate((("labelled", labelled, hand), ("unlabelled", more, rest)))
        if source is not None
    }
    about = f"Clouds, learned from labels and from an ensemble of {len(teachers)}."
    seen = _told(config, chips.student)
    seen += (f"{len(more)} chips without labels, answered by the ensemble: {config.unlabelled}",) if more else ()
    training = [source for source in (chips.student, chips.unlabelled) if source is not None]
    return Plan(network, objective, feeds, training, seen, about)


def _told(config: Config, chips: ChipSource) -> tuple[str, ...]:
    """What the card says of the labels."""
    choices = [config.labelled, *(config.also if isinstance(chips, Joined) else ())]
    return tuple(f"labels '{config.target}' of {choice}" for choice in choices)


def _draw(config: Config) -> int:
    return config.seed if config.draw is None else config.draw


def _network(config: Config, learner: LearnerConfig, chips: ChipSource, member: int = 0) -> Segmenter:
    if learner.start is not None:
        network = load_segmenter(ModelFolder.open(learner.start))
        if network.config != learner.network:
            raise ConfigError(f"{learner.start}: holds another network than the recipe's; copy its settings from there")
        return network
    torch.manual_seed(config.seed + 1000 * member)
    return learner.network.build(chips.modalities, chips.task)
