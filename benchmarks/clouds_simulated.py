"""A teacher squeezed into students a few hundred times smaller, on simulated clouds.

Arms: ``teacher`` (one network that planned itself), ``ensemble`` (all there are, in two mirrored views), ``student``
(labels alone), ``student+kd`` (labels and the ensemble's answers, also on chips nobody labelled) and its quantised
graph, ``student+kd+int8``. The labels are the same for all; a student differs from the next of its kind in its weights
and in what it is shown when. Both kinds take the same steps of the same number of chips. Test chips are of seeds that
nothing else sees.

Metrics: ``jaccard`` is the pooled IoU of cloud, as the paper's; ``jaccard_shadow``, ``jaccard_mean`` (over clear, cloud
and shadow), ``parameters``, ``macs_per_pixel``, ``bytes`` (of the graph, or of the weights where there is none) and
``ms_per_mpx`` (one thread, a chip of 256×256, teachers on torch in bf16, students on OpenVINO; only ratios within a run
count). Writes ``results/clouds-simulated.csv``.

    python benchmarks/clouds_simulated.py train --work DIR --students unet-8x5c12 --seeds 7 8 9
    python benchmarks/clouds_simulated.py score --work DIR --students unet-8x5c12 --seeds 7 8 9
    python benchmarks/clouds_figures.py
"""

import argparse
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from record import Result, record
from undercast.config import override, read_toml, validate
from undercast.datasets import SimulatedChips
from undercast.datasets.bands import OfBands
from undercast.engine.place import Place
from undercast.evaluate import score
from undercast.evaluate.scores import iou
from undercast.export import export_model, load_segmenter
from undercast.model import ONNX_INT8, WEIGHTS, ModelFolder
from undercast.nets import Segmenter
from undercast.predict import OpenVinoPredictor, Predictor
from undercast.predict.committee import Views
from undercast.recipes import clouds
from undercast.recipes.ensemble import open_ensemble

RECIPE = Path(__file__).parents[1] / "recipes/clouds/simulated.toml"
TEST = SimulatedChips(9_000_000, 200, 256, "clouds", ("s2",), ("clouds",))
BENCHMARK = "clouds-simulated"
DRAW = 7
"""Seed of the draw of labelled chips and the cut of folds."""
VIEWS: Views = 2
PLANNED = "nnunet"
IMAGE = "-image"
"""After the name of a student: each image is normalised by itself."""
VALIDATION = SimulatedChips(300_000, 60, 256, "clouds", ("s2",), ("clouds",))


def settings_of(student: str) -> list[str]:
    """``unet-8x4``, ``unet-8x4c16`` (at most 16 channels) or ``separable-8x4`` as settings of the recipe.

    ``-image`` after any of them: what it is shown is brought to mean 0 and deviation 1 by itself, crop by crop;
    nnU-Net does that to whole images, before it crops.
    """
    match = re.fullmatch(rf"(unet|separable)-(\d+)x(\d+)(?:c(\d+))?({IMAGE})?", student)
    if not match:
        raise SystemExit(f"{student}: write it as unet-8x4, unet-8x4c16, separable-8x4 or unet-8x4-image")
    body = f"base = {match[2]}, stages = {match[3]}, block = '{'plain' if match[1] == 'unet' else 'separable'}'"
    settings = [f"student.network.body={{ {body}{f', max_channels = {match[4]}' if match[4] else ''} }}"]
    return [*settings, "student.network.standardise=true"] if match[5] else settings


def train(work: Path, name: str, settings: list[str], threads: int) -> Path:
    """Train what ``settings`` say, or take the folder that is there."""
    settings = [*settings, f"cache='{work / 'chips'}'"]
    config = validate(override(_tables(), settings), clouds.Config, str(RECIPE))
    return clouds.run(config, Place(threads=threads), work / name, resume=(work / name).exists())


def _tables() -> dict[str, object]:
    tables = read_toml(RECIPE)
    tables.pop("place")
    return tables


def members(work: Path) -> list[Path]:
    """The trained members of the ensemble, in order."""
    return sorted((work / "ensemble").glob("teacher-*"))


def train_student(work: Path, arm: str, student: str, seed: int, threads: int) -> Path:
    """A student with or without the ensemble."""
    settings = [*settings_of(student), f"seed={seed}", f"draw={DRAW}"]
    if arm == "student":
        return train(work, f"{arm}-{student}-{seed}", [*settings, "arm=supervised"], threads)
    given = ", ".join(f"'{folder}'" for folder in members(work))
    return train(work, f"{arm}-{student}-{seed}", [*settings, f"teacher.given=[{given}]"], threads)


def jaccards(predictor: Predictor, test: OfBands) -> dict[str, float]:
    """Pooled IoU of the classes."""
    found = iou(score(predictor, test).confusion.sum(0))
    return {"jaccard": found[1], "jaccard_shadow": found[2], "jaccard_mean": float(np.mean(found))}


def macs_per_pixel(network: Segmenter, size: int = 256) -> float:
    """Multiplications of all convolutions for one pixel of the image."""
    total = 0

    def count(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
        a_place = layer.weight[0].numel() if isinstance(layer, nn.Conv2d) else layer.weight[:, 0].numel()
        # A transposed convolution of stride 2 uses a quarter of its kernel for each pixel it makes.
        share = 1 if isinstance(layer, nn.Conv2d) else 1 / (layer.stride[0] * layer.stride[1])
        total += round(output[0].numel() * a_place * share)

    hooks = [
        layer.register_forward_hook(count)
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
    ]
    with torch.no_grad():
        network({role: torch.zeros(1, len(m.bands), size, size) for role, m in network.modalities.items()})
    for hook in hooks:
        hook.remove()
    return total / size**2


def speeds(
    asked: Mapping[tuple[str, str], Callable[[], object]], pixels: int, rounds: int = 15
) -> dict[tuple[str, str], float]:
    """Milliseconds a megapixel of each, on one thread: processor time, the best of ``rounds`` taken in turn."""
    best = dict.fromkeys(asked, np.inf)
    for _ in range(rounds):
        for name, ask in asked.items():
            start = time.process_time()
            ask()
            best[name] = min(best[name], time.process_time() - start)
    return {name: 1e3 * seconds / (pixels / 1e6) for name, seconds in best.items()}


def score_all(work: Path, students: list[str], seeds: list[int]) -> None:
    """Score every folder that is there, and time one of each kind in one run."""
    torch.set_num_threads(1)
    bands = {"s2": ("B02", "B03", "B04", "B08")}
    test = OfBands(replace(TEST, cache=work / "chips"), bands)
    tiles = OfBands(replace(VALIDATION, cache=work / "chips"), bands)
    image = {"s2": np.nan_to_num(test[1].images["s2"][None], nan=0.2)}
    timed: dict[tuple[str, str], Callable[[], object]] = {}
    what: dict[tuple[str, str], dict[str, float]] = {}
    if folders := members(work):
        _score_teachers(folders, test, what)
        single = open_ensemble(folders[:1], views=1)
        timed["teacher", PLANNED] = lambda: single.predict(image)
    for student in students:
        for arm, seed in ((arm, seed) for arm in ("student", "student+kd") for seed in seeds):
            folder = work / f"{arm}-{student}-{seed}" / "student"
            if not (folder / "signature.json").is_file():
                continue
            model = ModelFolder.open(folder)
            if student.endswith(IMAGE):  # it looks at the whole tile, so it has no graph
                _record(arm, student, jaccards(open_ensemble([folder], views=1), test), seed)
                continue
            if arm == "student+kd" and not (folder / ONNX_INT8).is_file():
                found = export_model(model, [tiles[number] for number in range(16)], int8=True)
                print(*found, sep="\n")
            for precision in ("fp32", "int8") if arm == "student+kd" else ("fp32",):
                predictor = OpenVinoPredictor(model, precision, threads=1)
                name = arm if precision == "fp32" else f"{arm}+int8"
                _record(name, student, jaccards(predictor, test), seed)
                what[name, student] = sizes(load_segmenter(model), model.graph(precision))
                timed.setdefault((name, student), partial(predictor.predict, image))
    with torch.autocast("cpu", torch.bfloat16):
        taken = speeds(timed, image["s2"].shape[2] * image["s2"].shape[3])
    for key, values in what.items():
        _record(*key, values | ({"ms_per_mpx": taken[key]} if key in taken else {}), "")


def _score_teachers(folders: list[Path], test: OfBands, what: dict[tuple[str, str], dict[str, float]]) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        for number, folder in enumerate(folders):
            _record("teacher", PLANNED, jaccards(open_ensemble([folder], views=1), test), DRAW + number)
        _record("ensemble", PLANNED, jaccards(open_ensemble(folders, views=VIEWS), test), DRAW)
    one = sizes(load_segmenter(ModelFolder.open(folders[0])), folders[0] / WEIGHTS)
    what["teacher", PLANNED] = one
    asked = {"parameters": len(folders), "bytes": len(folders), "macs_per_pixel": len(folders) * VIEWS}
    what["ensemble", PLANNED] = {name: one[name] * times for name, times in asked.items()}


def sizes(network: Segmenter, file: Path) -> dict[str, float]:
    """Parameters, multiplications a pixel, and bytes of ``file``."""
    parameters = float(sum(p.numel() for p in network.parameters()))
    return {
        "parameters": parameters, "macs_per_pixel": macs_per_pixel(network), "bytes": float(file.stat().st_size),
    }  # fmt: skip


def _record(arm: str, setting: str, values: Mapping[str, float], seed: int | str) -> None:
    print(arm, setting, seed, {name: round(value, 4) for name, value in values.items()}, flush=True)
    record(BENCHMARK, [Result(arm, setting, name, value, seed, "test") for name, value in values.items()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["ensemble", "train", "score"])
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("runs/clouds-simulated"),
        help="folder for models, answers and the cache of chips",
    )
    parser.add_argument("--students", nargs="+", default=["unet-8x5c12"])
    parser.add_argument("--arms", nargs="+", default=["student", "student+kd"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8, 9])
    parser.add_argument("--members", type=int, default=2, help="folds of the labelled chips to train a teacher for")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    if chosen.what in ("ensemble", "train"):
        train(
            chosen.work,
            "ensemble",
            ["arm=ensemble", f"seed={DRAW}", f"teacher.members={chosen.members}"],
            chosen.threads,
        )
    if chosen.what == "train":
        for student in chosen.students:
            for seed in chosen.seeds:
                for arm in chosen.arms:
                    train_student(chosen.work, arm, student, seed, chosen.threads)
    if chosen.what == "score":
        score_all(chosen.work, chosen.students, chosen.seeds)


if __name__ == "__main__":
    main()
