"""Tiles that answer with their centre, beside the same tiles blended where they overlap: what is better at equal cost.

    python benchmarks/tiles_blend.py [--model flood-s1] [--size 1024] [--tile 256] [--seeds 0 1 2]

The tiles, and so the arithmetic, are the same for every arm: ``centre`` keeps the middle of each, ``blend-linear``
fades one into the next over all that they share, ``blend-gaussian`` weighs by distance from the middle as MONAI does
(an eighth of a tile). Margins go from none to the network's reach. Each is held against the answer to the whole image
at once, which has no seam, and against the simulated truth.
"""

import argparse
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from record import Result, record
from undercast.model import resolve
from undercast.predict import OpenVinoPredictor, TilePlan
from undercast.raster.windows import Window
from undercast.simulate import simulate_scene
from undercast.task import NODATA

Image = NDArray[np.float32]


def fade(size: int, margin: int, how: str) -> Image:
    """How much each row of a tile of ``size`` counts, float32 ``[size]``."""
    place = np.arange(size) + 0.5
    if how == "centre":
        return ((place > margin) & (place < size - margin)).astype(np.float32)
    if how == "blend-gaussian":
        return np.exp(-0.5 * ((place - size / 2) / (size / 8)) ** 2).astype(np.float32)
    shared = max(2 * margin, 1)
    return np.clip(np.minimum(place, size - place) / shared, 0, 1).astype(np.float32)


ARMS = ("centre", "blend-linear", "blend-gaussian")


def answer_tiles(predictor: OpenVinoPredictor, image: Image, tile: int, margin: int) -> tuple[dict[str, Image], int]:
    """What each arm says of the positive class ``[h, w]``, and how many pixels were inferred."""
    height, width = image.shape[1:]
    plan = TilePlan((height, width), (tile - 2 * margin,) * 2, margin)
    whole = Window(0, 0, height, width)
    reach = plan.reach(whole)
    padded = np.full((2, reach.height, reach.width), np.nan, np.float32)
    padded[:, *whole.slices((reach.row, reach.col))] = image
    sums = {arm: np.zeros(padded.shape[1:]) for arm in ARMS}
    weights = {arm: np.zeros(padded.shape[1:]) for arm in ARMS}
    inferred = 0
    for core in plan.cores(whole):
        at = core.grow(margin).slices((reach.row, reach.col))
        found = predictor.predict({"s1": padded[None, :, *at]})[0, 1]
        inferred += found.size
        for arm in ARMS:
            line = fade(tile, margin, arm)
            sums[arm][at] += np.outer(line, line) * found
            weights[arm][at] += np.outer(line, line)
    inner = whole.slices((reach.row, reach.col))
    return {arm: (sums[arm][inner] / weights[arm][inner]).astype(np.float32) for arm in ARMS}, inferred


def answer_whole(predictor: OpenVinoPredictor, image: Image) -> Image:
    """The positive class ``[h, w]``, all at once."""
    margin = TilePlan.of(image.shape[1:], predictor.signature).margin
    padded = np.pad(image, ((0, 0), (margin, margin), (margin, margin)), constant_values=np.nan)
    return predictor.predict({"s1": padded[None]})[0, 1, margin:-margin, margin:-margin]


def compare(found: Image, seamless: Image, truth: NDArray[np.uint8], threshold: float) -> Mapping[str, float]:
    """How far from the answer without seams, and from the truth."""
    off, called = np.abs(found - seamless), found >= threshold
    seen, water = truth != NODATA, truth == 1
    return {
        "share_off_by_1_percent": float((off > 0.01).mean()),
        "largest_difference": float(off.max()),
        "class_changed_share": float((called != (seamless >= threshold)).mean()),
        "iou": float((called & water & seen).sum() / max(((called | water) & seen).sum(), 1)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="flood-s1", help="an installed model, or a model folder")
    parser.add_argument("--size", type=int, default=1024, help="rows and columns of a scene; a multiple of the stride")
    parser.add_argument("--tile", type=int, default=256, help="rows and columns a tile reads")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    folder = resolve(options.model)
    predictor = OpenVinoPredictor(folder, threads=1)
    reach = TilePlan.of((options.size,) * 2, folder.signature).margin
    results: list[Result] = []
    for seed in options.seeds:
        scene: Any = simulate_scene(options.size, options.size, seed=seed)
        image = np.asarray(scene.images["s1"], np.float32)
        truth = np.asarray(scene.targets["flood"])
        seamless = answer_whole(predictor, image)
        whole = compare(seamless, seamless, truth, folder.signature.threshold)
        results.append(Result("whole image", f"{options.size}x{options.size}", "iou", whole["iou"], seed))
        for margin in sorted({0, 16, 32, reach}):
            setting = f"{options.size}x{options.size}, tiles of {options.tile}, margin {margin}"
            answers, inferred = answer_tiles(predictor, image, options.tile, margin)
            for arm, found in answers.items():
                metrics = dict(compare(found, seamless, truth, folder.signature.threshold))
                metrics["cost"] = inferred / image[0].size
                print(seed, setting, arm, {name: round(value, 5) for name, value in metrics.items()}, flush=True)
                results += [Result(arm, setting, name, value, seed) for name, value in metrics.items()]
    print(record("tiles", results))


if __name__ == "__main__":
    main()
