"""What a student hears from its teacher: of which networks and views, when asked, and how the answer is compared."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator
from torch import Tensor

from undercast.chip import ChipSource
from undercast.config import Settings
from undercast.datasets.answered import ANSWER, Answered
from undercast.datasets.augment import CLEAN
from undercast.engine.objective import Frozen, Images, SoftLoss
from undercast.engine.predictor import TorchPredictor
from undercast.export import describe, load_segmenter
from undercast.losses import Total
from undercast.losses.distil import confidence, divergence, harden, log_probabilities
from undercast.losses.segmentation import cross_entropy
from undercast.model import ModelFolder
from undercast.predict.committee import Committee, Views


class DistillationConfig(Settings):
    """How the student learns from the teacher."""

    temperature: float = Field(default=1.0, gt=0, description="of both softmaxes")
    weight: float = Field(default=1.0, ge=0, description="of the teacher's term beside that of the labels")
    share: float = Field(default=0.5, gt=0, lt=1, description="of each batch that is hand-labelled")
    labels: Literal["soft", "hard"] = Field(default="soft", description="the teacher's probabilities, or its decisions")
    confident: bool = Field(default=False, description="weigh each pixel by how sure the teacher is")
    cloud: str = Field(default="", description="target that says where the optical image is cloud; empty: not known")
    teacher: tuple[Path, ...] = Field(
        default=(), description="model folders of trained teachers; else some are trained"
    )
    members: int = Field(default=1, ge=1, description="networks to train for a teacher; their answers are averaged")
    views: Views = Field(default=1, description="mirrored views of which each network is asked; averaged")
    ask: Literal["crop", "chip"] = Field(
        default="crop", description="crop: about each crop, in every step; chip: about each whole chip, once"
    )

    @field_validator("teacher", mode="before")
    @classmethod
    def _one_or_more(cls, given: Any) -> Any:
        return (given,) if isinstance(given, str | Path) else given

    @model_validator(mode="after")
    def _check(self) -> "DistillationConfig":
        if self.ask == "crop" and (self.views > 1 or self.members > 1 or len(self.teacher) > 1):
            raise ValueError('several networks or views are asked about whole chips: set ask = "chip"')
        return self

    def loss(self) -> SoftLoss:
        """What compares the student's logits with the teacher's, where the signal's weights are above 0."""

        def compare(logits: Tensor, answers: Tensor, weights: Tensor) -> Total:
            answers = answers.nan_to_num(0.0)  # not known; its weight is 0
            if self.confident:
                weights = weights * confidence(answers)
            if self.labels == "hard":
                return cross_entropy(logits, harden(answers), pixel_weights=weights)
            return divergence(logits, answers, temperature=self.temperature, weights=weights)

        return compare


@dataclass(frozen=True)
class Teaching:
    """The pairs of a step, who answers about them, which of their images it looks at, and what must be kept clean."""

    pairs: ChipSource
    answers: Callable[[Images], Tensor]
    sees: Mapping[str, str]
    keep: tuple[str, ...]


def teaching(
    config: DistillationConfig, folders: Sequence[Path], pairs: ChipSource, student: Sequence[str]
) -> Teaching:
    """The networks of ``folders`` as the teacher of a student that sees the roles ``student``.

    Asked in crops, a network sees the crop as it was before its radiometry was varied. Asked about whole chips, their
    probabilities are averaged, at the temperature they were trained at, so nothing of the validation labels gets in.
    """
    networks = [load_segmenter(ModelFolder.open(folder)) for folder in folders]
    if config.ask == "crop":
        sees = {role: CLEAN + role for role in networks[0].roles}
        return Teaching(pairs, Frozen(networks[0]), sees, networks[0].roles)
    members = [TorchPredictor(network.eval(), describe(network, "teacher")) for network in networks]
    answered = Answered(pairs, Committee(members, config.views), tuple(student))
    return Teaching(answered, lambda images: log_probabilities(images[ANSWER]), {ANSWER: CLEAN + ANSWER}, (ANSWER,))
