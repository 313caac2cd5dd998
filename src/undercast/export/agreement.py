"""Whether an exported graph says what its weights say, on real tiles and through both runtimes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from undercast.chip import Chip
from undercast.config import Settings
from undercast.engine.predictor import TorchPredictor
from undercast.errors import ModelError
from undercast.export.onnx import OUTPUT
from undercast.model import ModelFolder
from undercast.nets import Segmenter
from undercast.predict import OpenVinoPredictor, Predictor, answer
from undercast.signature import Signature


class AgreementConfig(Settings):
    """How near a graph must be to its weights to be written."""

    fp32_difference: float = Field(default=1e-3, gt=0, description="largest difference of a probability, float32")
    fp32_classes: float = Field(default=0.9999, gt=0, le=1, description="share of pixels of the same class, float32")
    int8_classes: float = Field(default=0.99, gt=0, le=1, description="share of pixels of the same class, int8")

    def accepts(self, found: "Agreement") -> bool:
        """Whether ``found`` meets the bar of its precision."""
        if found.precision == "int8":
            return found.classes >= self.int8_classes
        return found.difference <= self.fp32_difference and found.classes >= self.fp32_classes


@dataclass(frozen=True)
class Agreement:
    """How far a graph is from its weights: the largest and mean difference of a probability, the share of pixels whose
    likeliest class is the same, and over how many pixels."""

    runtime: str
    precision: str
    difference: float
    mean_difference: float
    classes: float
    pixels: int

    def __str__(self) -> str:
        return (
            f"{self.runtime} {self.precision}: same class on {100 * self.classes:.3f} % of {self.pixels} pixels, "
            f"largest difference {self.difference:.2g}"
        )


class OnnxRuntimePredictor:
    """A model folder's graph on ONNX Runtime, the alternative to OpenVINO; a Predictor."""

    def __init__(self, path: Path, signature: Signature, threads: int = 2) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.signature = signature
        self._session: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def predict(self, images: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Probabilities ``[B, K, h, w]`` of raw images ``[B, C, H, W]`` by role, H and W multiples of the stride."""
        (result,) = self._session.run([OUTPUT], {role: images[role] for role in self.signature.inputs})
        return np.asarray(result, np.float32)


def agreement(
    folder: ModelFolder, segmenter: Segmenter, chips: Sequence[Chip], precision: str = "fp32"
) -> list[Agreement]:
    """How the graph of ``precision`` in ``folder`` agrees with ``segmenter``: through OpenVINO, then ONNX Runtime.

    Every pixel of every chip counts, those that were not seen as well.

    Raises:
        ModelError: no chips were given, or the folder lacks the graph.
    """
    if not chips:
        raise ModelError(f"model {folder.name}: agreement cannot be proven on no chips; give some")
    reference = TorchPredictor(segmenter, folder.signature)
    path = folder.graph(precision)
    runtimes: dict[str, Predictor] = {
        "OpenVINO": OpenVinoPredictor(folder, precision, threads=2),
        "ONNX Runtime": OnnxRuntimePredictor(path, folder.signature),
    }
    expected = [answer(reference, chip.images) for chip in chips]
    return [_compare(name, precision, runtime, chips, expected) for name, runtime in runtimes.items()]


def _compare(
    name: str, precision: str, runtime: Predictor, chips: Sequence[Chip], expected: list[NDArray[np.float32]]
) -> Agreement:
    worst = total = 0.0
    same = pixels = values = 0
    for chip, truth in zip(chips, expected, strict=True):
        found = answer(runtime, chip.images)
        apart = np.abs(found - truth)
        # NaN compares as no difference; an answer that is none is the largest there can be.
        apart = np.where(np.isfinite(apart), apart, 1.0)
        worst = max(worst, float(apart.max()))
        total += float(apart.sum(dtype=np.float64))
        same += int((found.argmax(axis=0) == truth.argmax(axis=0)).sum())
        pixels += truth[0].size
        values += truth.size
    return Agreement(name, precision, worst, total / values, same / pixels, pixels)
