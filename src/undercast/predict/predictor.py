"""What answers: raw images in, calibrated class probabilities out. The runtime is OpenVINO, reading the ONNX file."""

import os
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from undercast.errors import ModelError
from undercast.model import ModelFolder
from undercast.signature import Signature

COMPILED_SHAPES = 4
"""Graphs kept compiled, one for each shape asked for; a map needs one, chips of a data set one or two."""


PROBABILITIES, RESTORED = "probabilities", "restored"
"""Outputs of a graph; the second only of a model that restores."""


class Predictor(Protocol):
    """Anything that answers class probabilities for raw images; asked from several threads at once."""

    @property
    def signature(self) -> Signature:
        """What it takes and answers."""

    def predict(self, images: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Probabilities ``[B, K, h, w]`` float32 of images ``[B, C, H, W]`` float32 by role, NaN where unseen.

        ``H`` and ``W`` are multiples of the signature's stride; optional roles may be missing.
        """


@runtime_checkable
class Restorer(Predictor, Protocol):
    """A predictor whose model also answers an image as it would be under a clear sky (``signature.restores``)."""

    def outputs(self, images: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """In one pass ``probabilities`` as :meth:`predict` gives them and, of a model that restores, ``restored``
        ``[B, C, H, W]`` float32 in the unit of the restored role, never NaN."""


class OpenVinoPredictor:
    """A model folder's graph on the CPU, one stream a thread, each running on one core.

    A single thread computes each image whatever ``threads`` is, and the precision is said explicitly (the default
    would be bfloat16 on processors that have it), so an answer does not depend on how many threads there are.

    Raises:
        ModelError: the graph cannot be read or does not take what its signature says.
    """

    def __init__(self, folder: ModelFolder, precision: str = "fp32", threads: int | None = None) -> None:
        import openvino

        self.folder = folder
        self.precision = precision
        self.threads = threads or os.cpu_count() or 1
        path = folder.graph(precision)
        self._core = openvino.Core()
        try:
            self._model = self._core.read_model(path)
        except RuntimeError as error:
            raise ModelError(f"{path}: is no graph OpenVINO can read ({' '.join(str(error).split())[:160]})") from None
        names = {name for port in self._model.inputs for name in port.get_names()}
        missing = [role for role in folder.signature.inputs if role not in names]
        if missing:
            raise ModelError(f"{path}: takes {', '.join(sorted(names))}, but its signature says {', '.join(missing)}")
        # OpenVINO's binding sets up its tables of types at the first exchange of an array each way; two threads that do
        # it at once wait for one another for ever.
        _ = openvino.Tensor(np.zeros(1, np.float32)).data
        self._compiled: OrderedDict[tuple[tuple[str, tuple[int, ...]], ...], Any] = OrderedDict()
        self._lock = threading.Lock()
        self._local = threading.local()

    @property
    def signature(self) -> Signature:
        """What the model takes and answers."""
        return self.folder.signature

    def predict(self, images: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Probabilities ``[B, K, h, w]`` float32; see :meth:`Predictor.predict`. Safe from several threads.

        Raises:
            ModelError: a role is missing, or a size is no multiple of the stride.
        """
        return self._run(images, (PROBABILITIES,))[PROBABILITIES]

    def outputs(self, images: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """All outputs in one pass: ``probabilities`` and, of a model that restores, ``restored``; see Restorer.

        Raises:
            ModelError: as :meth:`predict`.
        """
        return self._run(images, (PROBABILITIES, RESTORED) if self.signature.restores else (PROBABILITIES,))

    def restore(self, images: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """The image of ``signature.restores`` under a clear sky, ``[B, C, H, W]`` float32 in its unit.

        Raises:
            ModelError: as :meth:`predict`, or the model restores nothing.
        """
        if not self.signature.restores:
            raise ModelError(f"model {self.signature.name} restores no image; landcover models do")
        return self.outputs(images)[RESTORED]

    def _run(self, images: Mapping[str, NDArray[np.float32]], names: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        complete = self.signature.complete(images)
        inputs = {role: np.ascontiguousarray(image, np.float32) for role, image in complete.items()}
        for role, image in inputs.items():
            if image.shape[2] % self.signature.stride or image.shape[3] % self.signature.stride:
                raise ModelError(
                    f"model {self.signature.name} takes rows and columns in multiples of {self.signature.stride}, "
                    f"and '{role}' is {image.shape[2]}×{image.shape[3]}; ask through predict.answer"
                )
        request = self._request(tuple((role, image.shape) for role, image in inputs.items()))
        request.infer(inputs, share_inputs=True)
        # A copy: the runtime writes the next answer into the same memory.
        return {name: np.array(request.get_tensor(name).data, np.float32) for name in names}

    def _request(self, shapes: tuple[tuple[str, tuple[int, ...]], ...]) -> Any:
        """This thread's own request for graphs of these shapes."""
        requests: dict[int, Any] | None = getattr(self._local, "requests", None)
        if requests is None:
            requests = self._local.requests = {}
        with self._lock:
            if shapes not in self._compiled:
                self._compiled[shapes] = self._compile(shapes)
                if len(self._compiled) > COMPILED_SHAPES:
                    self._compiled.popitem(last=False)
            self._compiled.move_to_end(shapes)
            compiled = self._compiled[shapes]
        if id(compiled) not in requests:
            kept = {id(graph) for graph in self._compiled.values()}
            for stale in [key for key in requests if key not in kept]:
                del requests[stale]
            requests[id(compiled)] = compiled.create_infer_request()
        return requests[id(compiled)]

    def _compile(self, shapes: tuple[tuple[str, tuple[int, ...]], ...]) -> Any:
        model = self._model.clone()
        model.reshape({role: list(shape) for role, shape in shapes})
        return self._core.compile_model(
            model,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": "f32",
                "NUM_STREAMS": str(self.threads),
                "INFERENCE_NUM_THREADS": str(self.threads),
                "ENABLE_CPU_PINNING": "NO",
            },
        )


def answer(predictor: Predictor, images: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Probabilities ``[K, h, w]`` of one chip of any size, images ``[C, H, W]`` float32 by role.

    Rows and columns are filled up to a multiple of the stride with NaN (nothing seen there) and cut off again.

    Raises:
        ModelError: a role is missing that the model cannot do without.
    """
    height, width, padded = _pad(predictor, images)
    scale = predictor.signature.task.scale
    probabilities: NDArray[np.float32] = predictor.predict(padded)[0]
    return probabilities[:, : int(height * scale), : int(width * scale)]


def answer_outputs(predictor: Restorer, images: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """All outputs for one chip of any size: ``probabilities`` ``[K, h, w]`` and, if it restores, ``restored``
    ``[C, H, W]``; else as :func:`answer`."""
    height, width, padded = _pad(predictor, images)
    scale = predictor.signature.task.scale
    found = {name: output[0] for name, output in predictor.outputs(padded).items()}
    cut = {PROBABILITIES: (int(height * scale), int(width * scale)), RESTORED: (height, width)}
    return {name: output[:, : cut[name][0], : cut[name][1]] for name, output in found.items()}


def _pad(
    predictor: Predictor, images: Mapping[str, NDArray[np.float32]]
) -> tuple[int, int, dict[str, NDArray[np.float32]]]:
    """Rows and columns, and every input of one chip as a batch whose size is a multiple of the stride."""
    signature = predictor.signature
    complete = signature.complete(images)
    height, width = next(iter(complete.values())).shape[1:]
    rows, cols = -height % signature.stride, -width % signature.stride
    padded = {
        role: np.pad(image, ((0, 0), (0, rows), (0, cols)), constant_values=np.nan)[None]
        for role, image in complete.items()
    }
    return height, width, padded
