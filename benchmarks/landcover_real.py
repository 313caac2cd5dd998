"""Land cover and restored images on the real chips at hand → results/landcover-real.csv, and pictures of them.

    python benchmarks/landcover_real.py [--model landcover-s1s2] [--data DIR] [--figures DIR]

TerraMesh chips under simulated cloud (three draws each), whose truth is known to the pixel: cloudy is cloud and its
shadow. SEN12MS-CR pairs under real cloud: cloudy is where the first image is 0.06 brighter in the mean of the bands.
The restored image is held against the clear one, beside simply copying the cloudy one (``copy``), filling the cloud,
whose place is given, with the median of what is not cloudy (``median``). Maps of the clear image are made from L1C
and, where there is one, from L2A. Labels of land cover are Esri's map of the year: made by a network, and missing where
it says snow, cloud or flooded vegetation.
"""

import argparse
import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from record import Result, record
from undercast.chip import Chip, ChipSource
from undercast.datasets import Clouded, CloudedConfig, open_dataset
from undercast.evaluate.restoration import psnr, ssim
from undercast.evaluate.scores import iou
from undercast.model import WEIGHTS, ModelFolder, resolve
from undercast.predict import OpenVinoPredictor, answer_outputs
from undercast.signature import Signature
from undercast.task import NODATA

DATA = Path(__file__).parents[2] / "shared" / "data" / "landcover"
DRAWS = 3
BRIGHTER = 0.06
AUTHORS = 203e6
"""Parameters of the published network [Xu 2024]; its speed was not measured here."""
SEEN = {"s2+s1": ("s2", "s1"), "s2": ("s2",), "s1": ("s1",)}
CORRECTED = "s2_l2a"
"""Role of the clear image with the air taken out."""
Image = NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="landcover-s1s2")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--figures", type=Path, help="folder for pictures")
    options = parser.parse_args()

    folder = resolve(options.model)
    predictor = OpenVinoPredictor(folder, threads=1)
    sources: list[tuple[str, int, ChipSource]] = [
        ("terramesh", draw, Clouded(open_dataset(options.data / "terramesh"), CloudedConfig(seed=draw)))
        for draw in range(DRAWS)
    ]
    sources.append(("sen12mscr", 0, open_dataset(options.data / "sen12mscr")))
    results = list(size_and_speed(folder, predictor))
    for name, draw, source in sources:
        for number in range(len(source)):
            chip = source[number]
            if np.isfinite(chip.images["s2"]).any() and np.isfinite(chip.images["s2_clear"]).any():
                results += score(predictor, source, chip, name, draw, options.figures)
    results += means(results)
    for result in results:
        print(f"{result.arm:32} {result.setting:40} {result.seed!s:4} {result.metric:14} {result.value:.4g}")
    print(record("landcover-real", results))


def score(
    predictor: OpenVinoPredictor, source: ChipSource, chip: Chip, name: str, draw: int, figures: Path | None
) -> Iterator[Result]:
    """Restoration and land cover of one chip; the setting is the data set and the chip."""
    signature, setting = predictor.signature, f"{name}/{chip.key}"
    index = {role: source.modalities[role].index(signature.inputs[role].bands) for role in ("s2", "s1")}
    index["s2_clear"] = index["s2"]
    images = {role: chip.images[role][bands] for role, bands in index.items()}
    cloudy, clear = np.clip(images["s2"], 0, 1), np.clip(images["s2_clear"], 0, 1)
    cloud = chip.targets["cloud"] != 0 if "cloud" in chip.targets else (cloudy - clear).mean(axis=0) > BRIGHTER
    yield Result("copy", setting, "cloud_share", float(cloud.mean()), draw)
    restored: dict[str, Image] = {"copy": cloudy}
    if not cloud.all():
        ground = np.nanmedian(cloudy[:, ~cloud], axis=1)[:, None, None]
        restored["median"] = np.where(cloud, ground, cloudy).astype(np.float32)
    maps: dict[str, Image] = {}
    for arm, roles in SEEN.items():
        answered = answer_outputs(predictor, {role: images[role] for role in roles})
        maps[arm] = answered["probabilities"]
        if "s2" in roles:
            restored[arm] = answered["restored"]
    clear_skies = {"s2_clear": images["s2_clear"]}
    if CORRECTED in chip.images:
        bands = source.modalities[CORRECTED].index(signature.inputs["s2"].bands)
        clear_skies[CORRECTED] = chip.images[CORRECTED][bands]
    for role, image in clear_skies.items():
        maps[f"{role}+s1"] = answer_outputs(predictor, {"s2": image, "s1": images["s1"]})["probabilities"]
    for arm, image in restored.items():
        for where, mask in (("cloudy", cloud), ("clear", ~cloud)):
            if mask.any():
                named = arm if arm in ("copy", "median") else f"{signature.name} {arm}"
                yield Result(named, setting, f"psnr_{where}", psnr(image, clear, mask), draw)
                yield Result(named, setting, f"ssim_{where}", ssim(image, clear, mask), draw)
    if signature.task.name in chip.targets:
        label = chip.targets[signature.task.name]
        for arm, probabilities in maps.items():
            for where, mask in (("all", np.ones_like(cloud)), ("clear", ~cloud), ("cloudy", cloud)):
                if (mask & (label != NODATA)).any():
                    found = accuracy(probabilities, label, mask)
                    yield Result(f"{signature.name} {arm}", setting, f"accuracy_{where}", found[0], draw)
                    yield Result(f"{signature.name} {arm}", setting, f"miou_{where}", found[1], draw)
    if figures:
        draw_chip(figures / f"landcover-real-{name}-{chip.key}-{draw}.png", images, restored, maps, chip, signature)


def accuracy(probabilities: Image, label: NDArray[np.uint8], mask: NDArray[np.bool_]) -> tuple[float, float]:
    """Share of labelled pixels of ``mask`` that are right, and mean IoU over the classes the label has there."""
    counted = mask & (label != NODATA) & np.isfinite(probabilities[0])
    truth, found = label[counted].astype(int), probabilities.argmax(axis=0)[counted]
    size = len(probabilities)
    confusion = np.bincount(truth * size + found, minlength=size * size).reshape(size, size)
    present = confusion.sum(axis=1) > 0
    return float((truth == found).mean()), float(np.nan_to_num(iou(confusion))[present].mean())


def means(results: list[Result]) -> Iterator[Result]:
    """Over the chips of each data set, and the draws of cloud."""
    groups: dict[tuple[str, str, str], list[float]] = {}
    for result in results:
        if "/" in result.setting and np.isfinite(result.value):
            groups.setdefault((result.arm, result.setting.split("/")[0], result.metric), []).append(result.value)
    for (arm, name, metric), values in groups.items():
        yield Result(arm, f"{name}-mean", metric, float(np.mean(values)))


def size_and_speed(folder: ModelFolder, predictor: OpenVinoPredictor) -> Iterator[Result]:
    """Parameters, and megapixels a second on one thread in tiles of 512; beside the authors' parameters."""
    yield Result("authors", "size", "parameters", AUTHORS)
    with (folder.path / WEIGHTS).open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        tensors = json.loads(stream.read(length))
    running = ("running_mean", "running_var", "num_batches_tracked")
    kept = [np.prod(t["shape"]) for name, t in tensors.items() if name != "__metadata__" and not name.endswith(running)]
    yield Result(folder.name, "size", "parameters", float(sum(kept)))
    random = np.random.default_rng(0)
    batch = {
        role: random.uniform(*modality.valid_range, (1, len(modality.bands), 512, 512)).astype(np.float32)
        for role, modality in folder.signature.inputs.items()
    }
    predictor.outputs(batch)
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        predictor.outputs(batch)
        times.append(time.perf_counter() - begun)
    yield Result(folder.name, "size", "megapixels_per_second", 512 * 512 / 1e6 / float(np.median(times)))


def draw_chip(
    path: Path,
    images: dict[str, Image],
    restored: dict[str, Image],
    maps: dict[str, Image],
    chip: Chip,
    signature: Signature,
) -> None:
    """One row: what was seen, what was restored, the clear image; below it radar, the maps and the label."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rgb = signature.inputs["s2"].index(("B04", "B03", "B02"))
    clear = images["s2_clear"][rgb]
    top = float(np.nanpercentile(clear, 98)) * 1.15

    def light(image: Image) -> Image:
        return np.clip(np.moveaxis(image, 0, -1) / top, 0, 1)

    colours = signature.task.palette()
    upper = [("cloudy", light(images["s2"][rgb]))]
    upper += [(f"restored from {arm}", light(restored[arm][rgb])) for arm in ("s2+s1", "s2")]
    upper += [("clear", light(clear)), ("VV, dB", images["s1"][0])]
    lower = [(f"map from {arm}", colours[maps[arm].argmax(axis=0)]) for arm in (*SEEN, "s2_clear+s1")]
    label = chip.targets.get(signature.task.name)
    lower += [("label", colours[label] if label is not None else np.full((2, 2, 3), 255, np.uint8))]
    figure, axes = plt.subplots(2, 5, figsize=(16, 7.0), layout="constrained")
    for axis, (title, picture) in zip(axes.ravel(), upper + lower, strict=True):
        axis.imshow(picture, cmap="gray")
        axis.set_title(title, fontsize=10)
        axis.axis("off")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=70)
    plt.close(figure)


if __name__ == "__main__":
    main()
