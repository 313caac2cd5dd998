"""The contract of a model: what it takes, what it answers, and on what it was trained."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

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


class Signature(BaseModel):
    """What a model takes and answers.

    The graph takes one float32 tensor ``[B, C, H, W]`` a role, named by the role, raw in the unit of its modality and
    NaN where nothing was seen; ``H`` and ``W`` must be multiples of ``stride``. It answers one tensor
    ``probabilities`` ``[B, K, H·scale, W·scale]``, calibrated. Normalisation, the handling of NaN, the softmax and its
    temperature are inside the graph, so no caller can do them differently from training.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    version: str = "0"
    task: Task
    inputs: Annotated[dict[str, Modality], Field(min_length=1)]
    network: dict[str, Any] = Field(default_factory=dict, description="kind and settings of the network, as trained")
    stride: int = Field(default=1, ge=1, description="input rows and columns must be a multiple of this")
    margin: int = Field(default=0, ge=0, description="reach of the receptive field beyond a pixel, in input pixels")
    pixel_size: float = Field(default=10.0, gt=0, description="ground distance of a training pixel, metres")
    temperature: float = Field(default=1.0, gt=0, description="divides the logits; fitted on validation data")
    threshold: float = Field(default=0.5, gt=0, lt=1, description="of class 1 where the task has two classes")
    training_domain: dict[str, dict[str, BandStatistics]] = Field(default_factory=dict, description="role → band")
    training_data: tuple[str, ...] = Field(default=(), description="what the weights have seen, and under what terms")
    scores: dict[str, float] = Field(default_factory=dict, description="held-out scores, named by set and metric")

    def check_roles(self, roles: set[str]) -> None:
        """Refuse a set of roles that lacks one this model takes.

        Raises:
            ModelError: the message names the missing roles and their bands.
        """
        missing = [f"{role} ({', '.join(self.inputs[role].bands)})" for role in self.inputs if role not in roles]
        if missing:
            raise ModelError(
                f"model {self.name} needs {' and '.join(missing)}; given: {', '.join(sorted(roles)) or 'none'}"
            )
