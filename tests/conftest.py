"""A real small model for the tests of maps, and rasters to map."""

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from undercast.bands import S1, S2_L1C
from undercast.model import ModelFolder, write_signature
from undercast.raster import write_raster
from undercast.signature import Signature
from undercast.task import CLOUDS, FLOOD, LANDCOVER

# How long an example takes says how busy the machine is.
settings.register_profile("anywhere", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("anywhere")

UTM = ("EPSG:32631", (10.0, 0.0, 500000.0, 0.0, -10.0, 4900000.0))


def write_tiny_model(folder: Path) -> ModelFolder:
    """A convolutional network with a stride of 4 and a reach of 11 pixels whose answer is about ``VH < -20 dB``.

    NaN → 0 after scaling, 3×3 average, 4×4 pooling and back, 5×5 average, softmax: every step a real map's network has.
    """
    folder.mkdir(parents=True)
    weights = {
        "offset": np.array([10.0, 20.0], np.float32).reshape(1, 2, 1, 1),
        "tenth": np.array(0.1, np.float32),
        "zero": np.array(0.0, np.float32),
        "mix": np.tile(np.array([[0.2, 0.8]], np.float32)[:, :, None, None], (1, 1, 3, 3)) / 9,
        "bias": np.array([0.05], np.float32),
        "smooth": np.full((1, 1, 5, 5), 1 / 25, np.float32),
        "logit": np.array([12.0, -12.0], np.float32).reshape(2, 1, 1, 1),
        "scales": np.array([1, 1, 4, 4], np.float32),
    }
    nodes = [
        helper.make_node("Add", ["s1", "offset"], ["shifted"]),
        helper.make_node("Mul", ["shifted", "tenth"], ["scaled"]),
        helper.make_node("IsNaN", ["scaled"], ["unseen"]),
        helper.make_node("Where", ["unseen", "zero", "scaled"], ["filled"]),
        helper.make_node("Conv", ["filled", "mix", "bias"], ["local"], pads=[1, 1, 1, 1]),
        helper.make_node("AveragePool", ["local"], ["coarse"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Conv", ["coarse", "smooth"], ["context"], pads=[2, 2, 2, 2]),
        helper.make_node("Resize", ["context", "", "scales"], ["fine"], mode="nearest"),
        helper.make_node("Sum", ["local", "fine"], ["score"]),
        helper.make_node("Conv", ["score", "logit"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("s1", TensorProto.FLOAT, ["B", 2, "H", "W"])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["B", 2, "H", "W"])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), folder / "model.onnx"
    )
    write_signature(Signature(name="tiny", version="1", task=FLOOD, inputs={"s1": S1}, stride=4, margin=12), folder)
    return ModelFolder.open(folder)


S2 = S2_L1C.select(("B02", "B03", "B04", "B08"))


def write_cover_model(folder: Path, scale: Fraction = Fraction(1)) -> ModelFolder:
    """A small network for land cover that can do without either of its images, and restores the optical one.

    What was not seen counts as 0; six mixtures of 3×3 pixels, brought to the scale by averaging, are the logits. The
    restored image is what it saw, no brighter than 0.3.
    """
    folder.mkdir(parents=True)
    random = np.random.default_rng(4)
    up, down = scale.numerator, scale.denominator
    weights = {
        "zero": np.array(0.0, np.float32),
        "ten": np.array(0.1, np.float32),
        "five": np.array(5.0, np.float32),
        "mix": random.normal(0, 1, (6, 6, 3, 3)).astype(np.float32),
        "up": np.array([1, 1, up, up], np.float32),
        "low": np.array(0.0, np.float32),
        "high": np.array(0.3, np.float32),
    }
    nodes = [
        helper.make_node("IsNaN", ["s2"], ["no_light"]),
        helper.make_node("Where", ["no_light", "zero", "s2"], ["light"]),
        helper.make_node("Mul", ["light", "five"], ["strong"]),
        helper.make_node("IsNaN", ["s1"], ["no_echo"]),
        helper.make_node("Mul", ["s1", "ten"], ["weak"]),
        helper.make_node("Where", ["no_echo", "zero", "weak"], ["echo"]),
        helper.make_node("Concat", ["strong", "echo"], ["both"], axis=1),
        helper.make_node("Conv", ["both", "mix"], ["local"], pads=[1, 1, 1, 1]),
        helper.make_node("Resize", ["local", "", "up"], ["fine"], mode="nearest"),
        helper.make_node("AveragePool", ["fine"], ["logits"], kernel_shape=[down, down], strides=[down, down]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("Clip", ["light", "low", "high"], ["restored"]),
    ]
    shapes = {"s2": ["B", 4, "H", "W"], "s1": ["B", 2, "H", "W"]}
    out = {"probabilities": ["B", 6, "h", "w"], "restored": ["B", 4, "H", "W"]}
    graph = helper.make_graph(
        nodes,
        "cover",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in out.items()],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), folder / "model.onnx"
    )
    signature = Signature(
        name="cover", version="1", task=LANDCOVER.model_copy(update={"scale": scale}), inputs={"s2": S2, "s1": S1},
        optional=("s2", "s1"), restores="s2", stride=2, margin=2,
    )  # fmt: skip
    write_signature(signature, folder)
    return ModelFolder.open(folder)


@pytest.fixture(scope="session", params=["1", "3/10"])
def cover_model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    """The small network for land cover, answering on the grid of the images and on one ten thirds as coarse."""
    return write_cover_model(tmp_path_factory.mktemp("models") / "cover", Fraction(request.param))


def cover_scene(height: int, width: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Four optical bands in reflectance, with a bright cloud in the middle, and VV and VH in dB."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(0.03, 0.28, (4, height // 8 + 1, width // 8 + 1))
    s2 = np.repeat(np.repeat(coarse, 8, axis=1), 8, axis=2)[:, :height, :width]
    s2 = s2 + random.normal(0, 0.004, s2.shape).clip(-0.02, 0.02)
    s2[:, height // 3 : height // 2, width // 3 : 2 * width // 3] = 0.75
    return s2.astype(np.float32), backscatter(height, width, seed)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    """The small model, in a folder of its own."""
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


def backscatter(height: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    """VV and VH ``[2, H, W]`` in dB: land with speckle, and a dark lake in the upper left quarter."""
    random = np.random.default_rng(seed)
    image = np.array([-10.0, -16.0])[:, None, None] + random.normal(0, 1.5, (2, height, width))
    image[:, : height // 2, : width // 2] -= 9.0
    return image.astype(np.float32)


@pytest.fixture
def write_scene(tmp_path: Path) -> Callable[..., str]:
    """Writes an image ``[C, H, W]`` as a raster with VV and VH, on a UTM grid of 10 m unless told otherwise."""

    def write(image: NDArray[np.generic], name: str = "scene.tif", grid=UTM, bands=("VV", "VH"), **options) -> str:
        path = tmp_path / name
        write_raster(path, image, grid, descriptions=bands, **options)
        return str(path)

    return write


def read_json(path: Path) -> dict:
    """A JSON file as a dictionary."""
    return json.loads(path.read_text("utf-8"))


FOUR_BANDS = S2_L1C.select(("B02", "B03", "B04", "B08"))


def write_tiny_cloud_model(folder: Path) -> ModelFolder:
    """A convolutional network of stride 4 and a reach of 9 pixels: cloud is blue above 0.3, shadow B08 below 0.15.

    NaN → 0, 3×3 average of a score for each class, 4×4 pooling and back, softmax.
    """
    folder.mkdir(parents=True)
    scores = np.zeros((3, 4, 3, 3), np.float32)
    scores[1, 0], scores[2, 3] = 20 / 9, -40 / 9
    weights = {
        "zero": np.array(0.0, np.float32),
        "mix": scores,
        "bias": np.array([0.0, -6.0, 6.0], np.float32),
        "smooth": np.tile(np.eye(3, dtype=np.float32)[:, :, None, None], (1, 1, 3, 3)) / 9,
        "scales": np.array([1, 1, 4, 4], np.float32),
    }
    nodes = [
        helper.make_node("IsNaN", ["s2"], ["unseen"]),
        helper.make_node("Where", ["unseen", "zero", "s2"], ["filled"]),
        helper.make_node("Conv", ["filled", "mix", "bias"], ["local"], pads=[1, 1, 1, 1]),
        helper.make_node("AveragePool", ["local"], ["coarse"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Conv", ["coarse", "smooth"], ["context"], pads=[1, 1, 1, 1]),
        helper.make_node("Resize", ["context", "", "scales"], ["fine"], mode="nearest"),
        helper.make_node("Sum", ["local", "fine"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny-clouds",
        [helper.make_tensor_value_info("s2", TensorProto.FLOAT, ["B", 4, "H", "W"])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["B", 3, "H", "W"])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), folder / "model.onnx"
    )
    signature = Signature(name="tiny-clouds", task=CLOUDS, inputs={"s2": FOUR_BANDS}, stride=4, margin=12)
    write_signature(signature, folder)
    return ModelFolder.open(folder)


@pytest.fixture(scope="session")
def tiny_clouds(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    """The small cloud model, in a folder of its own."""
    return write_tiny_cloud_model(tmp_path_factory.mktemp("models") / "tiny-clouds")


def reflectance(height: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    """Blue, green, red and near infrared ``[4, H, W]``: land, a cloud, and its shadow beside it."""
    random = np.random.default_rng(seed)
    image = np.array([0.1, 0.11, 0.1, 0.3])[:, None, None] + random.normal(0, 0.01, (4, height, width))
    image[:, height // 3 : 2 * height // 3, width // 4 : width // 2] = 0.6 + random.normal(0, 0.05)
    image[:, height // 3 : 2 * height // 3, width // 2 : 2 * width // 3] *= 0.3
    return np.clip(image, 0.005, None).astype(np.float32)
