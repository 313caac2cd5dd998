"""Real floods, few labels: does a student on radar gain from a teacher that also sees the optical image? (OMBRIA)

Event folds of ``groups.csv``. A fraction of the training patches is labelled, drawn by the seed; all training pairs
serve unlabelled. Arms of one seed and fraction share labels, steps, chips a step and validation. ``self-distilled``
has the supervised student of its seed for a teacher. The decision threshold of each model is the best on the training
folds; scores are of the validation folds, together and each. Writes ``results/flood-ombria.csv`` row by row: what is
there already is not run again.

    python benchmarks/flood_ombria.py --data ../shared/data/ombria --work /tmp/flood-ombria
    python benchmarks/flood_ombria.py --report
"""

import argparse
import csv
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from record import RESULTS, Result, record
from undercast.cli.train import read_recipe
from undercast.datasets import open_dataset
from undercast.evaluate import Table, score
from undercast.evaluate.scores import average_precision, best_threshold
from undercast.model import ModelFolder
from undercast.predict import OpenVinoPredictor
from undercast.recipes import flood

NAME = "flood-ombria"
RECIPE = Path(__file__).parents[1] / "recipes/flood/ombria.toml"
SEEDS = {"0.10": 5, "0.25": 3, "0.05": 3, "1.00": 3}
"""Setting (fraction of the training patches that is labelled) → seeds."""
PATCHES = 334
"""Of the training folds."""

# arm → settings; a teacher comes before the students that need it
ARMS: dict[str, tuple[str, ...]] = {
    "supervised": ("arm=supervised",),
    "teacher": ("arm=teacher",),
    "distilled": ("arm=distilled",),
    "self-distilled": ("arm=self_distilled", 'teacher.network.roles=["s1", "s1_pre"]'),
    "s2-only": ("arm=teacher", 'teacher.network.roles=["s2", "s2_pre"]'),
}
TAUGHT_BY = {"distilled": "teacher", "self-distilled": "supervised"}


def train(arm: str, setting: str, seed: int, data: Path, work: Path, more: list[str]) -> Path:
    """The model folder of one run; one that is there already is taken as it is."""
    out = work / f"{arm}-{setting}-{seed}"
    folder = _folder(arm, setting, seed, work)
    if (folder / "signature.json").is_file():
        return folder
    count = round(float(setting) * PATCHES)
    settings = [*ARMS[arm], f"seed={seed}", f"labelled.count={count}", *more]
    settings += [f"{part}.source='{data}'" for part in ("labelled", "unlabelled", "validation")]
    if arm in TAUGHT_BY:
        settings.append(f"distillation.teacher='{train(TAUGHT_BY[arm], setting, seed, data, work, more)}'")
    config, place = read_recipe(RECIPE, settings)
    return flood.run(config, place, out, resume=out.exists())


def examine(folder: Path, data: Path) -> Iterator[tuple[str, str, float]]:
    """(split, metric, value) of a model, at the threshold that is best on the training folds."""
    table = score(OpenVinoPredictor(ModelFolder.open(folder), threads=1), open_dataset(data))
    by_split = table.groups("split")
    train_folds, held_out = by_split["train"], by_split["val"]
    threshold, at_threshold = best_threshold(_pooled(train_folds))
    yield "train", "pooled_iou", at_threshold
    yield "train", "threshold", threshold
    for name, part in {"val": held_out, **held_out.groups("event")}.items():
        histogram = _pooled(part)
        yield name, "pooled_iou", iou_at(histogram, threshold)
        yield name, "pooled_iou_at_half", iou_at(histogram, 0.5)
        yield name, "auprc", average_precision(histogram)


def iou_at(histogram: NDArray[np.float64], threshold: float) -> float:
    """IoU of class 1, answered where ``p >= threshold``, a multiple of 1/N, of a histogram ``[3, N]``."""
    first = round(threshold * histogram.shape[1])
    answered = histogram[:2, first:].sum(axis=1)
    return float(answered[1] / (histogram[1].sum() + answered[0]))


def report() -> None:
    """Print mean and standard deviation over seeds, and what distillation adds to the same seed without it."""
    found: dict[tuple[str, str, str], dict[str, float]] = defaultdict(dict)
    for row in _rows():
        found[row["setting"], row["arm"], f"{row['split']} {row['metric']}"][row["seed"]] = float(row["value"])
    for metric in ("val pooled_iou", "val auprc", "val pooled_iou_at_half"):
        print(f"\n{metric}: mean ± std over seeds; difference to supervised of the same seed")
        for setting in sorted(SEEDS):
            base = found[setting, "supervised", metric]
            for arm in ARMS:
                values = found[setting, arm, metric]
                if values:
                    gains = np.array([value - base[seed] for seed, value in values.items() if seed in base])
                    print(f"  {setting} {arm:15s} {_told(np.array(list(values.values())))}   {_told(gains)}")


def _told(values: NDArray[np.float64]) -> str:
    spread = values.std(ddof=1) if len(values) > 1 else float("nan")
    return f"{values.mean():+.4f} ± {spread:.4f} ({len(values)})" if len(values) else "–"


def _folder(arm: str, setting: str, seed: int, work: Path) -> Path:
    kind = "teacher" if ARMS[arm][0] == "arm=teacher" else "student"
    return work / f"{arm}-{setting}-{seed}" / kind


def _pooled(table: Table) -> NDArray[np.float64]:
    pooled: NDArray[np.float64] = table.histogram.sum(axis=0)
    return pooled


def _rows() -> list[dict[str, Any]]:
    path = RESULTS / f"{NAME}.csv"
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data/ombria")
    parser.add_argument("--work", type=Path, help="folder for the models")
    parser.add_argument("--settings", nargs="+", default=list(SEEDS), choices=list(SEEDS))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(max(SEEDS.values()))))
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--set", dest="more", action="append", default=[], help="key=value over the recipe, to try out")
    parser.add_argument("--report", action="store_true", help="print what was found and stop")
    chosen = parser.parse_args()
    if chosen.report:
        return report()
    if chosen.work is None:
        parser.error("--work is needed to train")
    for seed in chosen.seeds:
        for setting in chosen.settings:
            for arm in chosen.arms if seed < SEEDS[setting] else ():
                there = {(row["arm"], row["setting"], row["seed"]) for row in _rows()}
                if (arm, setting, str(seed)) in there and not chosen.more:
                    continue
                folder = train(arm, setting, seed, chosen.data.resolve(), chosen.work, chosen.more)
                values = list(examine(folder, chosen.data))
                shown = {f"{split} {metric}": round(value, 4) for split, metric, value in values if split == "val"}
                print(arm, setting, seed, shown, flush=True)
                if not chosen.more:  # a trial with other settings is no result
                    record(NAME, [Result(arm, setting, metric, value, seed, split) for split, metric, value in values])


if __name__ == "__main__":
    main()
