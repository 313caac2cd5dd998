"""The arms of ``map_peers.py``: each imports what it needs and gives back the work, from a raster to a folder.

A function here runs in the environment of its arm, so nothing is imported at the top that not every one of them has.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

WINDOW, OVERLAP, BATCH, NODATA = 512, 64, 4, 255
Work = Callable[[Path, Path], None]


def undercast(threads: int) -> Work:
    """``undercast map`` with its defaults."""
    import openvino  # noqa: F401  (it is imported when first asked; here it is part of the start)

    from undercast.mapping import MapConfig, map_scene
    from undercast.model import resolve
    from undercast.predict import MapperConfig

    def work(image: Path, out: Path) -> None:
        config = MapConfig(mapper=MapperConfig(threads=threads))
        map_scene([str(image)], resolve("flood-s1"), out, overwrite=True, config=config)

    return work


def torch_sliding(threads: int, network: Callable[[], Any]) -> Work:
    """The loop that one writes: read, cut, ask, add up, divide, write."""
    import torch

    torch.set_num_threads(threads)

    def work(path: Path, out: Path) -> None:
        ask = network()
        with rasterio.open(path) as source:
            image = source.read()
        rows, cols = image.shape[1:]
        total = np.zeros((2, rows, cols), np.float32)
        count = np.zeros((rows, cols), np.float32)
        corners = [(row, col) for row in starts(rows) for col in starts(cols)]
        with torch.inference_mode():
            for first in range(0, len(corners), BATCH):
                some = corners[first : first + BATCH]
                cut = np.stack([image[:, row : row + WINDOW, col : col + WINDOW] for row, col in some])
                answers = torch.softmax(ask(torch.from_numpy(cut)), 1).numpy()
                for (row, col), answer in zip(some, answers, strict=True):
                    total[:, row : row + WINDOW, col : col + WINDOW] += answer
                    count[row : row + WINDOW, col : col + WINDOW] += 1
        write_layers(total / count, path, out)

    return work


def starts(length: int) -> list[int]:
    """Where windows begin; the last one ends at the edge."""
    last = length - WINDOW
    return [*range(0, last, WINDOW - OVERLAP), last]


def monai(threads: int) -> Work:
    """The inferer over the whole image, as its documentation has it."""
    import torch
    from monai.inferers import sliding_window_inference

    torch.set_num_threads(threads)

    def work(path: Path, out: Path) -> None:
        ask = flood_network()
        with rasterio.open(path) as source:
            image = torch.from_numpy(source.read())[None]
        with torch.inference_mode():
            logits = sliding_window_inference(image, (WINDOW, WINDOW), BATCH, ask, overlap=0.25, mode="gaussian")
            probabilities = torch.softmax(logits, 1)[0].numpy()
        write_layers(probabilities, path, out)

    return work


def omnicloudmask(threads: int, networks: Callable[[], list[Any]]) -> Work:
    """Its engine as it is called on an array, every setting its own; it scales each patch by its mean and spread."""
    import torch

    torch.set_num_threads(threads)
    declare_operators()
    from omnicloudmask import predict_from_array

    def work(path: Path, out: Path) -> None:
        models = networks()
        with rasterio.open(path) as source:
            image = source.read()
        confidence = predict_from_array(
            image, custom_models=models, pred_classes=2, export_confidence=True, inference_device="cpu"
        )
        # what it has not answered, it leaves at 0 in every class
        confidence[:, ~confidence.any(axis=0)] = np.nan
        write_layers(confidence, path, out)

    return work


def declare_operators() -> None:
    """Torchvision without its compiled part stops at two operators that it does not find; nothing here calls them."""
    import torch

    for name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def exact(threads: int) -> Work:
    """What flood-s1 answers where nothing is cut that an answer looks at: strips with their surroundings. No arm."""
    import torch

    torch.set_num_threads(threads)

    def work(path: Path, out: Path) -> None:
        ask, around, strip = flood_network(), 56, 512
        with rasterio.open(path) as source:
            image = source.read()
        rows, cols = image.shape[1:]
        fill = [(0, 0), (around, around + -rows % strip), (around, around + -cols % 8)]
        image = np.pad(image, fill, constant_values=np.nan)
        answers = []
        with torch.inference_mode():
            for row in range(0, rows, strip):
                cut = torch.from_numpy(image[None, :, row : row + strip + 2 * around])
                answers.append(torch.softmax(ask(cut), 1)[0, :, around:-around, around : around + cols].numpy())
        write_layers(np.concatenate(answers, axis=1)[:, :rows], path, out)

    return work


def write_layers(probabilities: np.ndarray, path: Path, out: Path) -> None:
    """``class.tif`` and ``likelihood.tif`` of ``[2, H, W]``; 255 where NaN."""
    seen = ~np.isnan(probabilities).any(axis=0)
    likelihood = np.where(seen, np.rint(np.nan_to_num(probabilities[1]) * 100), NODATA).astype(np.uint8)
    classes = np.where(seen, probabilities.argmax(axis=0), NODATA).astype(np.uint8)
    with rasterio.open(path) as source:
        profile = source.profile | {"count": 1, "dtype": "uint8", "nodata": NODATA, "predictor": 1}
    out.mkdir(parents=True, exist_ok=True)
    for name, layer in (("class.tif", classes), ("likelihood.tif", likelihood)):
        with rasterio.open(out / name, "w", **profile) as target:
            target.write(layer, 1)


def flood_segmenter() -> Any:
    """The shipped network with its weights."""
    from safetensors.torch import load_file

    from undercast.model import WEIGHTS, resolve
    from undercast.nets import SegmenterConfig

    folder = resolve("flood-s1")
    segmenter = SegmenterConfig.model_validate(folder.signature.network).build(
        folder.signature.inputs, folder.signature.task
    )
    segmenter.load_state_dict(load_file(folder.path / WEIGHTS))
    segmenter.temperature = folder.signature.temperature
    return segmenter.eval()


def flood_network() -> Callable[[Any], Any]:
    """Logits, calibrated, of raw images; it takes NaN as it comes."""
    segmenter = flood_segmenter()
    return lambda images: segmenter({"s1": images}) / segmenter.temperature


def resnet_unet() -> Callable[[Any], Any]:
    """Logits of a U-Net on ResNet-34, untrained, of raw images; NaN becomes the mean."""
    import torch

    from resnet_unet import ResNetUNet

    torch.manual_seed(0)
    network = ResNetUNet(2, 2).eval()
    mean, spread = torch.tensor([-12.0, -19.0]).view(-1, 1, 1), torch.tensor([5.0, 6.0]).view(-1, 1, 1)
    return lambda images: network(torch.nan_to_num((images - mean) / spread))


def omnicloudmask_networks() -> list[Any]:
    """The two networks that its present version asks, for two bands and two classes, untrained."""
    import segmentation_models_pytorch as smp
    import torch

    torch.manual_seed(0)
    names = ("tu-regnety_004", "tu-edgenext_small")
    return [smp.Unet(name, encoder_weights=None, in_channels=2, classes=2).eval() for name in names]


ARMS: dict[str, tuple[str, Callable[[int], Work]]] = {
    "exact": ("torch", exact),
    "undercast": ("undercast", undercast),
    "torch-sliding": ("torch", lambda threads: torch_sliding(threads, resnet_unet)),
    "torch-sliding-same": ("torch", lambda threads: torch_sliding(threads, flood_network)),
    "monai": ("monai", monai),
    "omnicloudmask": ("omnicloudmask", lambda threads: omnicloudmask(threads, omnicloudmask_networks)),
    "omnicloudmask-same": ("omnicloudmask", lambda threads: omnicloudmask(threads, lambda: [flood_segmenter().body])),
}
SAME = ("undercast", "torch-sliding-same", "monai")  # the arms whose answers must be those of ``exact``
