"""One stage of a recipe: learn, calibrate, describe, prove, write; the result is a model folder or nothing."""

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field
from torch import nn

from undercast.chip import ChipSource
from undercast.config import Settings, dump_toml
from undercast.engine.calibrate import calibrate
from undercast.engine.domain import training_domain
from undercast.engine.feed import Feed
from undercast.engine.fit import JOURNAL, FitConfig, fit
from undercast.engine.objective import Objective
from undercast.engine.place import Place
from undercast.engine.predictor import TorchPredictor
from undercast.errors import TrainingError
from undercast.evaluate import leakage, report, score
from undercast.export import describe, write_model
from undercast.model import SIGNATURE
from undercast.nets import Segmenter
from undercast.signature import Signature

PROOF = 8
"""Validation chips on which an exported graph must agree with its weights."""


@dataclass(frozen=True)
class Plan:
    """What a stage does: the network that learns and ships, what it minimises, and the chips of its steps.

    ``training`` are the chips learned from; ``seen`` says so in words in the model card, which begins with ``about``.
    """

    network: Segmenter
    objective: Objective
    feeds: Mapping[str, Feed]
    training: Sequence[ChipSource]
    seen: tuple[str, ...]
    about: str


class RecipeConfig(Settings):
    """What the settings of every recipe say; each recipe has its own default of name and target."""

    name: str = Field(min_length=1, description="of the model")
    target: str = Field(description="label to learn from")
    seed: int = Field(default=0, ge=0, description="of weights, shuffling, augmentation and the draw of chips")
    int8: bool = Field(default=False, description="write the student's quantised graph too")

    def stages(self, place: Place, out: Path, validation: ChipSource, *, resume: bool) -> "Stages":
        """The stages of a run with these settings. Raises TrainingError as :class:`Stages` does."""
        return Stages(
            name=self.name,
            place=place,
            out=out,
            seed=self.seed,
            target=self.target,
            validation=validation,
            config_toml=dump_toml(self),
            int8=self.int8,
            resume=resume,
        )


@dataclass(frozen=True)
class Stages:
    """What the stages of one run have in common. Stage ``name`` becomes the model folder ``out/name``.

    ``validation`` are labelled chips to calibrate on; ``config_toml`` the settings, kept with each model. Work in
    progress lies in ``out/training`` until a stage is complete.

    Raises:
        TrainingError: ``out`` holds something and ``resume`` is not set.
    """

    name: str
    place: Place
    out: Path
    seed: int
    target: str
    validation: ChipSource
    config_toml: str
    int8: bool = False
    resume: bool = False

    def __post_init__(self) -> None:
        if self.place.launch().is_global_zero and not self.resume and self.out.exists() and any(self.out.iterdir()):
            raise TrainingError(f"{self.out}: is not empty; add --resume to go on, or give another folder")

    def complete(self, name: str, config: FitConfig, prepare: Callable[[], Plan]) -> Path:
        """The model folder of stage ``name``: trained as prepared, or as an earlier run left it complete.

        Raises:
            TrainingError: training cannot go on.
            ModelError: an exported graph does not agree with its weights.
        """
        folder, work = self.out / name, self.out / "training" / name
        fabric = self.place.launch()
        if not (self.resume and (folder / SIGNATURE).is_file()):
            plan = prepare()
            if fabric.is_global_zero:
                self._tell(name, plan)
            plain = describe(plan.network, self.name if name == "student" else f"{self.name}-{name}")

            def validate(student: nn.Module) -> dict[str, float]:
                return self._scores(student, plain)

            fit(
                plan.objective,
                plan.feeds,
                config,
                self.place,
                work,
                seed=self.seed,
                name=plain.name,
                validate=validate,
                resume=self.resume,
            )
            if fabric.is_global_zero:
                self._write(folder, plan, plain, (work / JOURNAL).read_text("utf-8"))
                shutil.rmtree(work.parent)
        fabric.barrier()
        return folder

    def _tell(self, name: str, plan: Plan) -> None:
        """Say on stderr what is learned from, and what validation shares with it."""
        learned = [info for source in plan.training for info in source.index]
        events = {info.event for info in learned} & {info.event for info in self.validation.index} - {""}
        shared = f"shares the events {', '.join(sorted(events)[:12])}" if events else "shares no event with it"
        chips, kinds = len({info.key for info in learned}), len({info.event for info in learned})
        told = f"{name}: learns from {chips:,} chips of {kinds:,} events; validation, {len(self.validation):,} chips, "
        print(told + shared, file=sys.stderr)

    def _write(self, folder: Path, plan: Plan, plain: Signature, journal: str) -> None:
        found = calibrate(TorchPredictor(plan.network, plain), self.validation, self.target)
        calibrated = plain.model_copy(
            update={
                "temperature": found.temperature,
                "threshold": found.threshold,
                "training_domain": training_domain(plan.training, plan.network.roles),
                "training_data": plan.seen,
            }
        )
        scores = {f"validation {name}": value for name, value in self._scores(plan.network, calibrated).items()}
        signature = calibrated.model_copy(update={"scores": scores})
        write_model(
            folder,
            plan.network,
            signature,
            card=_card(plan, signature),
            config_toml=self.config_toml,
            journal=journal + leakage.journal_line([source.index for source in plan.training]),
            chips=[self.validation[number] for number in range(min(PROOF, len(self.validation)))],
            int8=self.int8,
        )

    def _scores(self, network: nn.Module, signature: Signature) -> dict[str, float]:
        table = score(TorchPredictor(network, signature), self.validation, target=self.target)
        part = report(table).predictors[signature.name]
        found = {
            "pooled_iou": part.total.pooled_iou,
            "mean_iou": part.total.mean_iou,
            "average_precision": part.average_precision,
            "calibration_error": part.calibration_error,
        }
        return {name: round(value, 4) for name, value in found.items() if value is not None}


def _card(plan: Plan, signature: Signature) -> str:
    inputs = [f"- `{role}`: {m.instrument}, {', '.join(m.bands)}, {m.unit}" for role, m in signature.inputs.items()]
    lines = [
        *(f"# {signature.name}", "", plan.about, ""),
        *("## Takes", "", *inputs, ""),
        *("## Answers", "", *(f"- {label.value}: {label.name}" for label in signature.task.classes), ""),
        f"{sum(p.numel() for p in plan.network.parameters()):,} parameters. Probabilities are calibrated (temperature "
        f"{signature.temperature:g}); the threshold {signature.threshold:g} was chosen on the validation chips.",
        *("", "## Trained on", "", *(f"- {seen}" for seen in signature.training_data), ""),
        *("## Scores", "", "On the validation chips, which also chose temperature and threshold, so no test:", ""),
        *(f"- {name.removeprefix('validation ')}: {value:.4f}" for name, value in signature.scores.items()),
    ]
    return "\n".join(lines) + "\n"
