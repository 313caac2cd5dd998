"""A map beside what a user would pick instead: seconds and peak memory over one image, and what becomes of nodata.

    python benchmarks/map_peers.py --work DIR [--size 4000] [--threads 2] [--rounds 1]

Every arm runs in a process and an environment of its own, which this script makes under ``--work`` and keeps:

``undercast``           the whole product of ``undercast map``: layers with overviews, polygons, picture, catalogue item
``torch-sliding``       a plain PyTorch loop over windows of 512 that overlap by 64, averaged, with a U-Net on ResNet-34
``torch-sliding-same``  the same loop with the network and weights of flood-s1, so that size is told from engine
``monai``               monai.inferers.sliding_window_inference: windows of 512, a quarter overlapping, Gaussian weights
``omnicloudmask``       omnicloudmask.predict_from_array with its two networks, untrained; all its defaults
``omnicloudmask-same``  the same with flood-s1's network; it scales every patch, so these are not flood-s1's answers

All compute in float32. The peers write a class and a likelihood, deflated and tiled, and nothing else. The image is a
simulated scene turned over and repeated, two bands, float32 in dB, NaN beyond slanting edges as of a swath.
``seconds`` begins when all is imported, ``seconds_with_start`` when the process is started; values are medians.
What flood-s1 answers is held against ``exact``: the same network over strips as wide as the image, without a seam.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio

from peers import ARMS, NODATA, SAME
from record import Result, record

ROOT = Path(__file__).parents[1]
PIECE = 1250
TORCH = ("torch>=2.6,<2.14", "numpy", "rasterio", "safetensors", "pydantic")
# torchvision may ask for gigabytes of CUDA; alone it is nothing but Python, which is enough.
OMNICLOUDMASK = (*TORCH, "tqdm", "gdown", "huggingface-hub", "platformdirs", "classcounter", "pillow", "pyyaml")
OMNICLOUDMASK_ALONE = ("omnicloudmask>=1.8", "timm>=1.0", "segmentation-models-pytorch>=0.6", "torchvision==0.28.*")


class Environment(NamedTuple):
    """What ``pip`` is asked for, and what it is asked for without what that asks for in turn."""

    wanted: tuple[str, ...]
    alone: tuple[str, ...] = ()


ENVIRONMENTS = {
    "undercast": Environment(("--editable", str(ROOT))),
    "torch": Environment(TORCH, ("--editable", str(ROOT))),
    "monai": Environment((*TORCH, "monai>=1.5"), ("--editable", str(ROOT))),
    "omnicloudmask": Environment(OMNICLOUDMASK, ("--editable", str(ROOT), *OMNICLOUDMASK_ALONE)),
}


def make_environment(work: Path, name: str) -> Path:
    """The interpreter of the environment ``name``, which is made unless it is there."""
    folder = work / "environments" / name
    if not (folder / "complete").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        for packages, how in zip(ENVIRONMENTS[name], ([], ["--no-deps"]), strict=True):
            if packages:
                install = [folder / "bin/python", "-m", "pip", "install", "--quiet", *how, *packages]
                subprocess.run(install, check=True, stdout=sys.stderr)
        (folder / "complete").touch()
    return folder / "bin/python"


def make_image(work: Path, size: int) -> Path:
    """The image, made unless it is there."""
    from undercast.simulate import simulate_scene

    path = work / f"image-{size}.tif"
    if path.is_file():
        return path
    simulated = simulate_scene(PIECE, PIECE, seed=1)
    piece = np.asarray(simulated.images["s1"], np.float32)
    # beside its mirror image on either side, a piece repeats without a seam
    turned = np.concatenate([piece, piece[:, :, ::-1]], axis=2)
    turned = np.concatenate([turned, turned[:, ::-1]], axis=1)
    repeats = -(-size // turned.shape[1])
    image = np.tile(turned, (1, repeats, repeats))[:, :size, :size]
    rows, cols = np.ogrid[:size, :size]
    edge = size // 100 + rows // 25
    image[:, (cols < edge) | (cols >= size - (size // 20 - edge))] = np.nan
    aside = path.with_suffix(".partial.tif")
    with rasterio.open(
        aside, "w", driver="GTiff", count=2, dtype="float32", height=size, width=size, crs=simulated.crs,
        transform=rasterio.Affine(*simulated.transform), nodata=np.nan,
        tiled=True, blockxsize=512, blockysize=512, compress="deflate", predictor=3,
    ) as target:  # fmt: skip
        target.write(image)
        target.descriptions = ("VV", "VH")
    aside.replace(path)
    return path


def peak_memory() -> float:
    """Megabytes this process ever held (Linux)."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return float(line.split()[1]) / 1024


def report_arm(arm: str, image: Path, out: Path, threads: int) -> None:
    """Do an arm's work and print what it took; runs in the process started for it."""
    work = ARMS[arm][1](threads)
    before = time.perf_counter()
    work(image, out)
    found = {"seconds": time.perf_counter() - before, "peak_mb": peak_memory()}
    print(json.dumps({"found": found, "versions": dict(versions())}))


def versions() -> Iterator[tuple[str, str]]:
    for name in ("undercast", "openvino", "torch", "monai", "omnicloudmask", "torchvision"):
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


def run_alone(arm: str, work: Path, image: Path, threads: int) -> dict[str, float]:
    """Run one arm in a process of its own."""
    python = make_environment(work, ARMS[arm][0])
    command = [python, __file__, "--arm", arm, "--work", work, "--image", image, "--threads", str(threads)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    before = time.perf_counter()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    told = json.loads(done.stdout.splitlines()[-1])
    found = told["found"] | {"seconds_with_start": time.perf_counter() - before}
    print(f"{arm:20s}", {metric: round(value, 2) for metric, value in found.items()}, told["versions"], file=sys.stderr)
    return found


def look(arm: str, work: Path, image: Path) -> dict[str, float]:
    """What an arm's layers say where there is nothing, where there is something, and against ``exact``."""

    def layer(name: str, layer: str) -> np.ndarray:
        with rasterio.open(work / "out" / name / layer) as source:
            return source.read(1)

    with rasterio.open(image) as source:
        unseen = np.isnan(source.read()).any(axis=0)
    answered = layer(arm, "class.tif") != NODATA
    found = {
        "nodata_answered_share": float(answered[unseen].mean()),
        "observed_unanswered_share": float((~answered[~unseen]).mean()),
    }
    if arm in SAME:
        # beyond the image a peer may see what it likes, so nothing is compared that looks there
        inner = np.s_[56:-56, 56:-56]
        off = np.abs(layer(arm, "likelihood.tif").astype(int) - layer("exact", "likelihood.tif").astype(int))
        off = off[inner][~unseen[inner]]
        found |= {"likelihood_off_share": float((off > 1).mean()), "likelihood_off_most": float(off.max())}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the environments, the image and the maps")
    parser.add_argument("--size", type=int, default=4000, help="rows and columns of the image")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1, help="every arm is run as often, in turn")
    parser.add_argument("--arms", nargs="+", choices=list(ARMS)[1:], default=list(ARMS)[1:])
    parser.add_argument("--no-record", action="store_true", help="only print what came out")
    parser.add_argument("--arm", help=argparse.SUPPRESS)
    parser.add_argument("--image", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    work = options.work.resolve()
    if options.arm:
        return report_arm(options.arm, options.image, work / "out" / options.arm, options.threads)
    work.mkdir(parents=True, exist_ok=True)
    image = make_image(work, options.size)
    for arm in ("exact", *options.arms):
        make_environment(work, ARMS[arm][0])
    run_alone("exact", work, image, options.threads)
    runs: dict[str, list[dict[str, float]]] = {arm: [] for arm in options.arms}
    for _ in range(options.rounds):
        for arm in options.arms:
            runs[arm].append(run_alone(arm, work, image, options.threads))
    setting = f"peers, {options.size}x{options.size}, {options.threads} threads"
    results, medians = [], {}
    for arm, found in runs.items():
        middle = {metric: statistics.median(run[metric] for run in found) for metric in found[0]}
        middle["mpx_per_s"] = options.size**2 / 1e6 / middle["seconds"]
        medians[arm] = middle | look(arm, work, image)
        print(f"{arm:20s}", {metric: round(value, 4) for metric, value in medians[arm].items()}, flush=True)
        results += [Result(arm, setting, metric, value) for metric, value in medians[arm].items()]
    if "undercast" in medians:
        for arm, middle in medians.items():
            ratios = {
                name: middle[name] / medians["undercast"][name] for name in ("seconds", "seconds_with_start", "peak_mb")
            }
            print(f"{arm:20s} over undercast:", ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items()))
    if not options.no_record:
        print(record("map-speed", results))
    return None


if __name__ == "__main__":
    main()
