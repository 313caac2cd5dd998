"""The contract of a model: what it takes, what it answers, and on what it was trained."""

import datetime
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from undercast.bands import Modality
from undercast.errors import ModelError
from undercast.task import Task


class BandStatistics(BaseModel):
    """How one band was distributed in training, in its unit: the fingerprint a scene is held against."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: float
    std: float = Field(ge=0)
    p01: float
    p50: float
    p99: float


class CountSpread(BaseModel):
    """How the true number of event pixels in a cell was found to scatter about the sum of the probabilities p there.

    Its variance is ``factor · Σp(1 - p) + (relative · Σp)²``: pixels come in clumps, and a model is off by a share in a
    whole place. Measured on chips that nothing was trained on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    factor: float = Field(ge=0, description="times the variance of as many independent pixels")
    relative: float = Field(ge=0, description="share of the expected number")
    cells: int = Field(ge=1, description="cells it was measured on")
    pixels: int = Field(ge=1, description="pixels of such a cell")
    source: str = Field(default="", description="where those cells were from")


class Change(BaseModel):
    """One entry of a model's changelog."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    date: datetime.date
    what: str = Field(min_length=1, description="what is different from the version before")
    effect: str = Field(min_length=1, description="what that was measured to do, and on what; or that it was not")


class Signature(BaseModel):
    """What a model takes and answers.

    The graph takes one float32 tensor ``[B, C, H, W]`` a role, named by the role, raw in the unit of its modality and
    NaN where nothing was seen; ``H`` and ``W`` must be multiples of ``stride``. It answers one tensor
    ``probabilities`` ``[B, K, H·scale, W·scale]``, calibrated. Normalisation, the handling of NaN, the softmax and its
    temperature are inside the graph, so no caller can do them differently from training.

    A role in ``optional`` may be missing from a scene, here and there or altogether: the graph is then given NaN. Where
    ``restores`` names a role the graph has a second output ``restored`` ``[B, C, H, W]``: the image of that role as it
    would be under a clear sky, in its own bands and unit, on the grid of the input.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    version: str = "0"
    task: Task
    inputs: Annotated[dict[str, Modality], Field(min_length=1)]
    optional: tuple[str, ...] = Field(
        default=(), description="inputs a scene may lack; one of all inputs must be there"
    )
    restores: str | None = Field(default=None, description="role whose image under a clear sky is answered too")
    network: dict[str, Any] = Field(default_factory=dict, description="kind and settings of the network, as trained")
    stride: int = Field(default=1, ge=1, description="input rows and columns must be a multiple of this")
    margin: int = Field(default=0, ge=0, description="reach of the receptive field beyond a pixel, in input pixels")
    pixel_size: float = Field(default=10.0, gt=0, description="ground distance of a training pixel, metres")
    temperature: float = Field(default=1.0, gt=0, description="divides the logits; fitted on validation data")
    threshold: float = Field(default=0.5, gt=0, lt=1, description="of class 1 where the task has two classes")
    count_spread: CountSpread | None = Field(
        default=None, description="how counts in a cell scatter; a priority list takes its intervals from it"
    )
    training_domain: dict[str, dict[str, BandStatistics]] = Field(default_factory=dict, description="role → band")
    training_data: tuple[str, ...] = Field(default=(), description="what the weights have seen, and under what terms")
    scores: dict[str, float] = Field(default_factory=dict, description="held-out scores, named by set and metric")
    changelog: tuple[Change, ...] = Field(default=(), description="versions that shipped, newest first")

    @model_validator(mode="after")
    def _check(self) -> "Signature":
        unknown = [role for role in (*self.optional, *filter(None, [self.restores])) if role not in self.inputs]
        if unknown:
            raise ValueError(
                f"'{unknown[0]}' is no input of model {self.name}; its inputs are {', '.join(self.inputs)}"
            )
        if self.changelog and self.changelog[0].version != self.version:
            raise ValueError(f"the changelog of {self.name} ends at {self.changelog[0].version}, not at {self.version}")
        return self

    def check_roles(self, roles: set[str]) -> None:
        """Refuse a set of roles that lacks one this model cannot do without, or all it takes.

        Raises:
            ModelError: the message names the missing roles and their bands.
        """
        missing = [role for role in self.inputs if role not in roles]
        if missing and (len(missing) == len(self.inputs) or not set(missing) <= set(self.optional)):
            wanted = [role for role in missing if role not in self.optional] or missing
            named = [f"{role} ({', '.join(self.inputs[role].bands)})" for role in wanted]
            joint = " or " if set(wanted) <= set(self.optional) else " and "
            raise ModelError(
                f"model {self.name} needs {joint.join(named)}; given: {', '.join(sorted(roles)) or 'none'}"
            )

    def observed(self, seen: Mapping[str, NDArray[np.bool_]]) -> NDArray[np.bool_]:
        """Where an answer counts, bool ``[H, W]``: every role it cannot do without was seen, and at least one role.

        ``seen`` says of each role where all its bands were seen; optional roles may be left out.
        """
        needed = [seen[role] for role in self.inputs if role not in self.optional]
        any_of = np.logical_or.reduce([seen[role] for role in self.inputs if role in seen])
        counted: NDArray[np.bool_] = np.logical_and.reduce([any_of, *needed])
        return counted

    def complete(self, images: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """``images`` ``[…, C, H, W]`` of all inputs, in their order; an optional one that is missing is all NaN.

        Raises:
            ModelError: a role is missing that this model cannot do without.
        """
        self.check_roles(set(images))
        like = next(images[role] for role in self.inputs if role in images)
        return {
            role: images[role] if role in images else _blank(like, len(modality.bands))
            for role, modality in self.inputs.items()
        }


def _blank(like: NDArray[np.float32], bands: int) -> NDArray[np.float32]:
    return np.full((*like.shape[:-3], bands, *like.shape[-2:]), np.nan, np.float32)
