"""A trained network as one ONNX graph: raw images in, calibrated probabilities out."""

import copy
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from undercast.nets import Segmenter
from undercast.predict.predictor import PROBABILITIES, RESTORED
from undercast.signature import Signature

OUTPUT = PROBABILITIES


class Deployed(nn.Module):
    """What ships: a segmenter in evaluation mode on the CPU, its temperature and the softmax; a copy of what is given.

    Takes one raw image ``[B, C, H, W]`` a role, in the order of the segmenter's roles; gives probabilities
    ``[B, K, h, w]`` and, of a network that restores, the restored image ``[B, C, H, W]`` within its valid range.
    """

    def __init__(self, segmenter: Segmenter, temperature: float = 1.0) -> None:
        super().__init__()
        self.segmenter = copy.deepcopy(segmenter).cpu().float().eval().requires_grad_(False)
        self.temperature = temperature

    def forward(self, *images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """See the class."""
        given = dict(zip(self.segmenter.roles, images, strict=True))
        role = self.segmenter.config.restores
        if role is None:
            logits: Tensor = self.segmenter(given)
            return (logits / self.temperature).softmax(dim=1)
        found = self.segmenter.answer(given)
        assert found.restored is not None
        restored = found.restored.clamp(*self.segmenter.modalities[role].valid_range)
        return (found.logits / self.temperature).softmax(dim=1), restored


def export_onnx(segmenter: Segmenter, signature: Signature, path: Path) -> None:
    """Write ``segmenter`` to ``path`` as an ONNX graph that fulfils ``signature``.

    Inputs are named by role, ``[batch, C, rows, columns]`` with batch free and rows and columns any multiple of the
    stride; the output is ``probabilities``, and of a network that restores the second one ``restored``. BatchNorm is
    folded into the convolutions, normalisation and the handling of NaN stay inside, and nothing of the machine that
    wrote it remains in the file.
    """
    deployed = Deployed(segmenter, signature.temperature).eval()
    batch, rows, columns = (torch.export.Dim(name) for name in ("batch", "rows", "columns"))
    free = {0: batch, 2: segmenter.stride * rows, 3: segmenter.stride * columns}
    # Two of everything: the tracer takes a size of 1 for a constant.
    examples = tuple(
        torch.zeros(2, len(modality.bands), 4 * segmenter.stride, 6 * segmenter.stride)
        for modality in segmenter.modalities.values()
    )
    with _quiet():
        program = torch.onnx.export(
            deployed,
            examples,
            dynamo=True,
            dynamic_shapes=(tuple(free for _ in examples),),
            input_names=list(segmenter.roles),
            output_names=[OUTPUT, RESTORED] if segmenter.config.restores else [OUTPUT],
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("the exporter gave no graph")
    graph = program.model_proto
    strip(graph)
    path.write_bytes(graph.SerializeToString(deterministic=True))


def strip(model: Any) -> None:
    """Take out of an ONNX model what is no part of the function: stack traces, file names and other notes."""
    model.ClearField("metadata_props")
    model.ClearField("doc_string")
    parts: Sequence[Any] = [model.graph, *model.graph.node, *model.graph.initializer, *model.graph.value_info]
    for part in [*parts, *model.graph.input, *model.graph.output, *model.functions]:
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's own noise, which a user can do nothing about."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registration.level
    # It tells on every run that torchvision, which we do not use, is not installed.
    registration.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # torch's own use of its own deprecated class.
            warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\)", category=FutureWarning)
            # The images of several roles share their axes, as they should.
            warnings.filterwarnings("ignore", message="# The axis name: .* will not be used", category=UserWarning)
            yield
    finally:
        registration.setLevel(level)
