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
from undercast.predict import OpenVinoPredictor, Restorer, answer_outputs
from undercast.predict.predictor import RESTORED
from undercast.signature import Signature


class AgreementConfig(Settings):
    """How near a graph must be to its weights to be written."""

    fp32_difference: float = Field(default=1e-3, gt=0, description="largest difference of a probability, float32")
    fp32_restored: float = Field(default=2e-3, gt=0, description="largest difference of a restored image, float32")
    int8_restored: float = Field(default=0.01, gt=0, description="mean difference of a restored image, int8")
    fp32_classes: float = Field(default=0.9999, gt=0, le=1, description="share of pixels of the same class, float32")
    int8_classes: float = Field(default=0.99, gt=0, le=1, description="share of pixels of the same class, int8")

    def accepts(self, found: "Agreement") -> bool:
        """Whether ``found`` meets the bar of its precision."""
        if found.precision == "int8":
            return found.classes >= self.int8_classes and found.mean_restored <= self.int8_restored
        near = found.difference <= self.fp32_difference and found.restored <= self.fp32_restored
        return near and found.classes >= self.fp32_classes


@dataclass(frozen=True)
class Agreement:
    """How far a graph is from its weights: the largest and mean difference of a probability, the share of pixels whose
    likeliest class is the same, and over how many pixels; and the same of the image it restores, if it does."""

    runtime: str
    precision: str
    difference: float
    mean_difference: float
    classes: float
    pixels: int
    restored: float = 0.0
    mean_restored: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.runtime} {self.precision}: same class on {100 * self.classes:.3f} % of {self.pixels} pixels, "
            f"largest difference {self.difference:.2g}"
            + (f", of the restored image {self.restored:.2g}" if self.restored else "")
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
        return self.outputs(images)[OUTPUT]

    def outputs(self, images: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """All outputs of the graph; see :class:`~undercast.predict.Restorer`."""
        names = [OUTPUT, RESTORED] if self.signature.restores else [OUTPUT]
        results = self._session.run(names, self.signature.complete(images))
        return {name: np.asarray(result, np.float32) for name, result in zip(names, results, strict=True)}


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
    runtimes: dict[str, Restorer] = {
        "OpenVINO": OpenVinoPredictor(folder, precision, threads=2),
        "ONNX Runtime": OnnxRuntimePredictor(path, folder.signature),
    }
    expected = [answer_outputs(reference, chip.images) for chip in chips]
    return [_compare(name, precision, runtime, chips, expected) for name, runtime in runtimes.items()]


def _compare(
    name: str, precision: str, runtime: Restorer, chips: Sequence[Chip], expected: list[dict[str, NDArray[np.float32]]]
) -> Agreement:
    worst = total = worst_restored = total_restored = 0.0
    same = pixels = values = 0
    for chip, told in zip(chips, expected, strict=True):
        outputs = answer_outputs(runtime, chip.images)
        if RESTORED in told:
            restored = _apart(outputs[RESTORED], told[RESTORED])
            worst_restored = max(worst_restored, float(restored.max()))
            total_restored += float(restored.mean(dtype=np.float64)) / len(chips)
        found, truth = outputs[OUTPUT], told[OUTPUT]
        apart = _apart(found, truth)
        worst = max(worst, float(apart.max()))
        total += float(apart.sum(dtype=np.float64))
        same += int((found.argmax(axis=0) == truth.argmax(axis=0)).sum())
        pixels += truth[0].size
        values += truth.size
    return Agreement(name, precision, worst, total / values, same / pixels, pixels, worst_restored, total_restored)


def _apart(found: NDArray[np.float32], truth: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far both are from one another; an answer that is no number is as far as can be, and not no difference."""
    apart = np.abs(found - truth)
    return np.where(np.isfinite(apart), apart, np.float32(1.0))
