"""When a map from the optical image alone should decline under cloud → results/landcover-decline.csv.

    python benchmarks/landcover_decline.py [--model landcover-s1s2] [--count 60] [--cache DIR]

On simulated validation chips (seeds from 3,000,000 on, 128 pixels), the model sees Sentinel-2 and no radar. Settings
``excess-T``: how much of the cloud the rule of ``codes.cloud_excess = T`` finds (``cloud_found``, ``thick_found``
where more than 60 % of the light is lost) and how much of the clear ground it takes for cloud (``clear_taken``).
Settings ``likelihood-T``: of what it takes for cloud at the default excess, the share that ``codes.cloud_likelihood =
T`` declines, and how often the class is right where it is kept and where it is declined.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from record import Result, record
from undercast.datasets import SimulatedChips
from undercast.model import resolve
from undercast.predict import OpenVinoPredictor, answer_outputs
from undercast.product.codes import CodeConfig
from undercast.task import NODATA

EXCESSES = (0.03, 0.05, 0.08, 0.1, 0.15, 0.2, 0.3)
LIKELIHOODS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="landcover-s1s2")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--cache", type=Path, help="folder for the simulated chips")
    options = parser.parse_args()
    predictor = OpenVinoPredictor(resolve(options.model), threads=1)
    roles, targets = ("s1", "s2", "s2_clear"), ("landcover", "cloud", "opacity")
    chips = SimulatedChips(3_000_000, options.count, 128, "landcover", roles, targets, options.cache)
    bands = chips.modalities["s2"].index(predictor.signature.inputs["s2"].bands)
    found: dict[str, list[np.ndarray]] = {name: [] for name in ("excess", "likelihood", "right", "opacity", "cloud")}
    for number in range(len(chips)):
        chip = chips[number]
        s2 = chip.images["s2"][bands]
        answer = answer_outputs(predictor, {"s2": s2})
        counted = np.isfinite(s2).all(axis=0) & (chip.targets["landcover"] != NODATA)
        layers = {
            "excess": (s2 - answer["restored"]).mean(axis=0),
            "likelihood": answer["probabilities"].max(axis=0),
            "right": answer["probabilities"].argmax(axis=0) == chip.targets["landcover"],
            "opacity": chip.targets["opacity"],
            "cloud": chip.targets["cloud"],
        }
        for name, layer in layers.items():
            found[name].append(layer[counted])
    pixels = {name: np.concatenate(parts) for name, parts in found.items()}
    results = list(measured(predictor.signature.name, pixels))
    for result in results:
        print(f"{result.setting:16} {result.metric:16} {result.value:.3f}")
    print(record("landcover-decline", results))


def measured(arm: str, pixels: dict[str, np.ndarray]) -> Iterator[Result]:
    default = CodeConfig()
    cloud, clear, right = pixels["cloud"] == 1, pixels["cloud"] == 0, pixels["right"]
    for name, mask in (("clear", clear), ("cloud", cloud), ("shadow", pixels["cloud"] == 2)):
        yield Result(arm, "s2", f"accuracy_{name}", float(right[mask].mean()), split="validation")
    for excess in EXCESSES:
        taken = pixels["excess"] > excess
        rates = {"cloud_found": cloud, "thick_found": cloud & (pixels["opacity"] > 60), "clear_taken": clear}
        for metric, mask in rates.items():
            yield Result(arm, f"excess-{excess:g}", metric, float(taken[mask].mean()), split="validation")
    taken = pixels["excess"] > default.cloud_excess
    for likelihood in LIKELIHOODS:
        declined = taken & (pixels["likelihood"] < likelihood)
        kept = taken & ~declined
        figures = {"declined_share": declined.sum() / max(taken.sum(), 1)}
        for name, mask in (("kept", kept), ("declined", declined)):
            figures |= {f"accuracy_{name}": right[mask].mean()} if mask.any() else {}
        for metric, value in figures.items():
            yield Result(arm, f"likelihood-{likelihood:g}", metric, float(value), split="validation")


if __name__ == "__main__":
    main()
