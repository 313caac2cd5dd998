"""The priority list on simulated scenes: does the interval of a cell hold the truth, and do the first cells hold most?

How true counts scatter is fitted on some scenes and its coverage measured on others, of seeds that nothing else sees;
both regions of the simulator in equal parts. Arms: ``measured`` (the fitted spread), ``independent`` (as if pixels were
independent: Poisson-binomial), and ``other-region`` (fitted on scenes of one region, measured on those of the other).
``--write`` puts the spread into the model's signature, from where maps take it.

    python benchmarks/landslide_priority.py --model landslide-s1 --cells 50 100
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from record import Result, record
from undercast.evaluate.counts import CellCounts, count_cells, covered, fit_spread
from undercast.model import resolve, write_signature
from undercast.predict import OpenVinoPredictor, Predictor, answer
from undercast.product.priority import interval
from undercast.signature import CountSpread
from undercast.simulate import simulate_chip

VALIDATION, TEST = 9_400_000, 9_500_000
REGIONS = ("hills", "ranges")
LEVEL = 0.9
WANTED = ("s1_pre", "s1_post", "landslide")


def answers(
    predictor: Predictor, first: int, count: int, size: int, region: str
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.uint8]]]:
    """Probability of a landslide and truth of ``count`` scenes."""
    for seed in range(first, first + count):
        chip = simulate_chip(seed, size, "landslide", only=WANTED, region=region)
        images = {role: chip.images[role] for role in predictor.signature.inputs}
        yield answer(predictor, images)[1], chip.targets["landslide"]


def joined(parts: list[CellCounts]) -> CellCounts:
    return CellCounts(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def measures(counts: CellCounts, spread: CountSpread) -> dict[str, float]:
    """Coverage of the interval, its width, and what the order is worth."""
    held = covered(counts, spread, LEVEL)
    low, high = interval(counts.expected, counts.scatter, counts.answered, spread, LEVEL)
    order = np.argsort(-counts.expected, kind="stable")
    first = order[: max(1, len(order) // 10)]
    slid = counts.truth > 0
    best = np.sort(counts.truth)[::-1][: len(first)].sum()
    return {
        "coverage": held.mean(),
        "coverage_with_landslide": held[slid].mean(),
        "coverage_first_tenth": held[first].mean(),
        "above_interval": (counts.truth > high).mean(),
        "below_interval": (counts.truth < low).mean(),
        "median_width_over_expected_first_tenth": np.median((high - low)[first] / counts.expected[first]),
        "true_over_expected": counts.truth.sum() / counts.expected.sum(),
        "area_in_first_tenth": counts.truth[first].sum() / counts.truth.sum(),
        "area_in_best_tenth": best / counts.truth.sum(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="landslide-s1", help="an installed model or a model folder")
    parser.add_argument("--cells", type=int, nargs="+", default=[100], help="sides of a cell, pixels")
    parser.add_argument("--scenes", type=int, default=20, help="of each region, to fit and again to measure")
    parser.add_argument("--size", type=int, default=600, help="rows and columns of a scene, pixels")
    parser.add_argument("--write", action="store_true", help="put the spread at the last of --cells into the signature")
    chosen = parser.parse_args()
    folder = resolve(chosen.model)
    predictor = OpenVinoPredictor(folder, threads=1)
    asked = {
        (first, region): list(answers(predictor, first, chosen.scenes, chosen.size, region))
        for first in (VALIDATION, TEST)
        for region in REGIONS
    }
    rows = []
    for side in chosen.cells:
        counts = {key: count_cells(pairs, side) for key, pairs in asked.items()}
        fitted = joined([counts[VALIDATION, region] for region in REGIONS])
        tested = joined([counts[TEST, region] for region in REGIONS])
        source = f"{2 * chosen.scenes} simulated scenes of both regions, seeds from {VALIDATION}"
        spread = fit_spread(fitted, side * side, source)
        alone = CountSpread(factor=1, relative=0, cells=1, pixels=side * side)
        found = {"measured": measures(tested, spread), "independent": measures(tested, alone)}
        crossed = [
            measures(counts[TEST, there], fit_spread(counts[VALIDATION, here], side * side))
            for here, there in (REGIONS, REGIONS[::-1])
        ]
        found["other-region"] = {name: float(np.mean([part[name] for part in crossed])) for name in crossed[0]}
        setting = f"{side} pixels"
        for arm, values in found.items():
            print(setting, len(tested.truth), "cells", arm, {name: round(float(v), 3) for name, v in values.items()})
            rows += [Result(arm, setting, name, float(value), split="test") for name, value in values.items()]
        for name in ("factor", "relative"):
            rows.append(Result("measured", setting, name, getattr(spread, name), split="validation"))
        print(f"{setting}: {spread}")
    print(record("landslide-priority", rows))
    if chosen.write:
        write_signature(folder.signature.model_copy(update={"count_spread": spread}), Path(folder.path))
        print(f"written to {folder.path}")


if __name__ == "__main__":
    main()
