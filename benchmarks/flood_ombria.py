"""Real floods, few labels: does a student on radar gain from a teacher that also sees the optical image? (OMBRIA)

Event folds of ``groups.csv``, patches averaged to half their resolution (128², truth by majority). A fraction of the
training patches is labelled, drawn by the seed; all training pairs serve unlabelled. Arms of one seed and fraction
share labels, and students of all arms steps and patches a step: first those of ``begun``, which learns from labels and
which all of them continue, then their own. A teacher is two networks, asked about each patch and its mirror images;
``self-distilled`` has the supervised student of its seed for a teacher, asked the same way. The decision threshold of
each arm is the best on the training folds; scores are of the validation folds, together and each.
Every run leaves its figures beside its model, so what is there is not run again; ``--collect`` writes
``results/flood-ombria.csv`` from them.

    python benchmarks/flood_ombria.py --data ../shared/data/ombria --work /tmp/flood-ombria --settings 0.10 --seeds 20
    python benchmarks/flood_ombria.py --work /tmp/flood-ombria --collect
    python benchmarks/flood_ombria.py --report
"""

import argparse
import csv
import json
import shutil
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from record import RESULTS, Result, record
from undercast.chip import Chip, ChipSource
from undercast.cli.train import read_recipe
from undercast.datasets import open_dataset
from undercast.evaluate import Table, score
from undercast.evaluate.scores import average_precision, best_threshold
from undercast.model import ModelFolder
from undercast.predict import OpenVinoPredictor
from undercast.predict.committee import Committee
from undercast.recipes import flood

NAME = "flood-ombria"
RECIPE = Path(__file__).parents[1] / "recipes/flood/ombria.toml"
SEEDS = {"0.10": (20, 21, 22, 23, 24), "0.25": (20, 21, 22), "0.05": (20, 21, 22), "1.00": (20, 21, 22)}
"""Setting (fraction of the training patches that is labelled) → seeds."""
PATCHES = 334
"""Of the training folds."""

BEGUN = ("arm=supervised", "student.fit.steps=600", "student.fit.learning_rate=6e-3")
# arm → settings; a teacher comes before the students that need it
ARMS: dict[str, tuple[str, ...]] = {
    "supervised": ("arm=supervised",),
    "teacher": ("arm=teacher",),
    "distilled": ("arm=distilled",),
    "self-distilled": ("arm=self_distilled", 'teacher.network.roles=["s1", "s1_pre"]'),
    "s2-only": ("arm=teacher", 'teacher.network.roles=["s2", "s2_pre"]'),
}
TAUGHT_BY = {"distilled": "teacher", "self-distilled": "supervised"}


class Found(NamedTuple):
    """One figure of a model."""

    split: str
    metric: str
    value: float


def halved(data: Path, out: Path) -> Path:
    """The data set ``data`` at half its resolution, in the folder ``out``; a copy that is there is taken as it is."""
    if not (out / "groups.csv").is_file():
        for file in sorted(data.glob("Ombria*/*/*/*.png")):
            smaller = out / file.relative_to(data)
            smaller.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(file) as image:
                image.reduce(2).save(smaller)
        shutil.copy(data / "groups.csv", out)  # last, so that it tells a whole copy
    return out


def train(arm: str, setting: str, seed: int, data: Path, work: Path, more: list[str]) -> list[Path]:
    """The model folders of one run, several where a teacher is; what is there already is taken as it is."""
    out = work / f"{arm}-{setting}-{seed}"
    count = round(float(setting) * PATCHES)
    settings = [*(BEGUN if arm == "begun" else ARMS[arm]), f"seed={seed}", f"labelled.count={count}", *more]
    settings += [f"{part}.source='{data}'" for part in ("labelled", "unlabelled", "validation")]
    if arm in TAUGHT_BY:
        teacher = train(TAUGHT_BY[arm], setting, seed, data, work, more)
        settings.append(f"distillation.teacher={[str(folder) for folder in teacher]}")
    if arm in ("supervised", *TAUGHT_BY):
        (begun,) = train("begun", setting, seed, data, work, more)
        settings.append(f"student.start='{begun}'")
    config, place = read_recipe(RECIPE, settings)
    if not list(out.glob("*/signature.json")):
        flood.run(config, place, out, resume=out.exists())
    kind = "teacher*" if config.arm == "teacher" else "student"
    return sorted(file.parent for file in out.glob(f"{kind}/signature.json"))


def examine(folders: list[Path], chips: ChipSource) -> Iterator[Found]:
    """What a model, or several that answer together, scores at the threshold that is best on the training folds."""
    members = [OpenVinoPredictor(ModelFolder.open(folder), threads=1) for folder in folders]
    table = score(Committee(members), chips)
    by_split = table.groups("split")
    train_folds, held_out = by_split["train"], by_split["val"]
    threshold, at_threshold = best_threshold(_pooled(train_folds))
    yield Found("train", "pooled_iou", at_threshold)
    yield Found("train", "threshold", threshold)
    yield Found("train", "auprc", average_precision(_pooled(train_folds)))
    for name, part in {"val": held_out, **held_out.groups("event")}.items():
        histogram = _pooled(part)
        yield Found(name, "pooled_iou", iou_at(histogram, threshold))
        yield Found(name, "pooled_iou_at_half", iou_at(histogram, 0.5))
        yield Found(name, "auprc", average_precision(histogram))


def iou_at(histogram: NDArray[np.float64], threshold: float) -> float:
    """IoU of class 1, answered where ``p >= threshold``, a multiple of 1/N, of a histogram ``[3, N]``."""
    first = round(threshold * histogram.shape[1])
    answered = histogram[:2, first:].sum(axis=1)
    return float(answered[1] / (histogram[1].sum() + answered[0]))


def report(name: str) -> None:
    """Print mean and standard deviation over seeds, and what each arm adds to the supervised one of its seed."""
    found: dict[tuple[str, str, str], dict[str, float]] = defaultdict(dict)
    for row in _rows(name):
        found[row["setting"], row["arm"], f"{row['split']} {row['metric']}"][row["seed"]] = float(row["value"])

    def gains(setting: str, arm: str, metric: str) -> NDArray[np.float64]:
        base = found[setting, "supervised", metric]
        return np.array([value - base[seed] for seed, value in found[setting, arm, metric].items() if seed in base])

    for metric in ("val pooled_iou", "val auprc", "train pooled_iou"):
        print(f"\n{metric}: mean ± std over seeds; difference to supervised of the same seed")
        for setting in sorted(SEEDS):
            for arm in ARMS:
                levels = np.array(list(found[setting, arm, metric].values()))
                if len(levels):
                    print(f"  {setting} {arm:15s} {_told(levels)}   {_told(gains(setting, arm, metric))}")
    print("\npooled_iou of each fold: supervised; difference of distilled to it")
    for fold in sorted({metric.split()[0] for _, _, metric in found if metric.startswith("F")}):
        for setting in sorted(SEEDS):
            metric = f"{fold} pooled_iou"
            levels = np.array(list(found[setting, "supervised", metric].values()))
            print(f"  {fold} {setting} {_told(levels)}   {_told(gains(setting, 'distilled', metric))}")


def _told(values: NDArray[np.float64]) -> str:
    spread = values.std(ddof=1) if len(values) > 1 else float("nan")
    return f"{values.mean():+.4f} ± {spread:.4f} ({len(values)})" if len(values) else "–"


def _pooled(table: Table) -> NDArray[np.float64]:
    pooled: NDArray[np.float64] = table.histogram.sum(axis=0)
    return pooled


def _rows(name: str) -> list[dict[str, Any]]:
    path = RESULTS / f"{name}.csv"
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@dataclass(frozen=True)
class InMemory:
    """A data set read once; it scores many models."""

    source: ChipSource

    task = property(lambda self: self.source.task)
    modalities = property(lambda self: self.source.modalities)
    index = property(lambda self: self.source.index)

    @cached_property
    def chips(self) -> list[Chip]:
        return [self.source[number] for number in range(len(self.source))]

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, number: int) -> Chip:
        return self.chips[number]


def collect(work: Path, name: str) -> Path:
    """Write what the runs in ``work`` left as rows of ``results/NAME.csv``."""
    found = [json.loads(file.read_text("utf-8")) for file in sorted(work.glob("*/found.json"))]
    return record(
        name,
        [
            Result(run["arm"], run["setting"], metric, value, run["seed"], split)
            for run in found
            for split, metric, value in run["found"]
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data/ombria")
    parser.add_argument("--work", type=Path, help="folder for the models and their figures")
    parser.add_argument("--settings", nargs="+", default=list(SEEDS), choices=list(SEEDS))
    parser.add_argument("--seeds", type=int, nargs="+", help="instead of those of each setting")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--set", dest="more", action="append", default=[], help="key=value over the recipe, to try out")
    parser.add_argument("--collect", action="store_true", help="write the rows of all runs in --work and stop")
    parser.add_argument("--name", default=NAME, help="of the results, where another design is kept beside")
    parser.add_argument("--report", action="store_true", help="print the rows, seeds together, and stop")
    chosen = parser.parse_args()
    if chosen.report:
        return report(chosen.name)
    if chosen.work is None:
        parser.error("--work is needed")
    if chosen.collect:
        return print(collect(chosen.work, chosen.name))
    data = halved(chosen.data, chosen.work.resolve() / "patches")
    chips = InMemory(open_dataset(data))
    for setting in chosen.settings:
        for seed in chosen.seeds or SEEDS[setting]:
            for arm in chosen.arms:
                file = chosen.work / f"{arm}-{setting}-{seed}" / "found.json"
                if file.is_file():
                    continue
                folders = train(arm, setting, seed, data, chosen.work, chosen.more)
                found = list(examine(folders, chips))
                file.write_text(json.dumps({"arm": arm, "setting": setting, "seed": seed, "found": found}), "utf-8")
                shown = {part.metric: round(part.value, 4) for part in found if part.split in ("val", "")}
                print(arm, setting, seed, shown, flush=True)


if __name__ == "__main__":
    main()
