"""Label-scarcity curves from the results: pooled IoU against the number of labelled chips, arms beside one another.

Points are means over seeds, bars their standard deviation, pale dots the seeds; nothing is run. Writes
``figures/flood-label-scarcity.png``; with the folder of ``flood_ombria.py``, also ``answers.png`` in it: the
patches of one seed on which the distilled student is best and worst, beside what the supervised one answers.

    python benchmarks/flood_figures.py --work /tmp/flood-ombria
"""

import argparse
import csv
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from record import RESULTS
from undercast.datasets import open_dataset
from undercast.datasets.split import select
from undercast.evaluate import score
from undercast.evaluate.figures import GREY, INK, gallery, save_figure
from undercast.model import ModelFolder
from undercast.predict import OpenVinoPredictor

FIGURES = Path(__file__).parent / "figures"
SHOWN = "0.10-20"
"""Fraction of labels and seed of the students whose answers are shown."""
PATCHES = 334
ARMS = {
    "supervised": ("#8b949e", "o"),
    "self-distilled": ("#d9742b", "^"),
    "distilled": ("#1f6fd6", "s"),
    "teacher": ("#6a51a3", "D"),
    "weak": ("#c0392b", "X"),
    "improved-weak-75": ("#c98f1f", "P"),
}
TOLD = {
    "supervised": "S1, hand labels alone",
    "self-distilled": "S1, taught by an S1 teacher",
    "distilled": "S1, taught by an S1+S2 teacher",
    "teacher": "the teacher, S1+S2",
    "weak": "S1, 2,000 weak labels",
    "improved-weak-75": "the same, improved by occurrence",
}


def read(name: str, split: str) -> dict[str, dict[str, list[float]]]:
    """arm → setting → pooled IoU of every seed, of the arms that are drawn."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with (RESULTS / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["split"] == split and row["metric"] == "pooled_iou" and row["arm"] in ARMS:
                found[row["arm"]][row["setting"]].append(float(row["value"]))
    return found


def spread_of(values: NDArray[np.float64]) -> float:
    """Standard deviation over seeds; 0 of a single one."""
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0


def draw() -> Path:
    """Draw both panels; returns the file."""
    figure = Figure(figsize=(10.5, 4.6), facecolor="white")
    real, simulated = figure.subplots(1, 2)
    panels = (
        (real, "flood-ombria", "val", lambda s: round(float(s) * PATCHES), "Real: OMBRIA, events not trained on"),
        (simulated, "flood-simulated", "test", int, "Simulated, exact truth"),
    )
    for axes, name, split, count, title in panels:
        ticks: set[int] = set()
        for place, (arm, settings) in enumerate(
            sorted(read(name, split).items(), key=lambda item: [*ARMS].index(item[0]))
        ):
            color, marker = ARMS[arm]
            points = sorted((count(setting), np.array(values)) for setting, values in settings.items())
            if points[0][0] == 0:  # no hand labels at all: a level, not a curve
                values = points[0][1]
                axes.axhline(values.mean(), color=color, linewidth=1.3, linestyle=(0, (5, 3)), label=TOLD[arm])
                low, high = values.mean() - spread_of(values), values.mean() + spread_of(values)
                axes.axhspan(low, high, color=color, alpha=0.1)
                continue
            ticks |= {labels for labels, _ in points}
            x = np.array([labels for labels, _ in points]) * 1.05 ** (place - 1.5)
            mean = [values.mean() for _, values in points]
            spread = [spread_of(values) for _, values in points]
            axes.errorbar(
                x, mean, spread, color=color, marker=marker, markersize=5, linewidth=1.5, capsize=3, label=TOLD[arm]
            )
            for at, (_, values) in zip(x, points, strict=True):
                axes.plot(
                    np.full(len(values), at), values, ".", color=color, alpha=0.35, markersize=5, markeredgewidth=0
                )
        axes.set_xscale("log")
        axes.set_xticks(sorted(ticks), [str(labels) for labels in sorted(ticks)], minor=False)
        axes.minorticks_off()
        counts = {len(values) for settings in read(name, split).values() for values in settings.values()}
        seeds = f"{min(counts)} to {max(counts)} seeds" if len(counts) > 1 else f"{max(counts)} seeds"
        axes.set_title(f"{title} ({seeds})", loc="left", fontsize=11, color=INK)
        axes.set_xlabel("labelled chips", color=INK)
        axes.set_ylabel("pooled IoU of water" if name == "flood-simulated" else "pooled IoU of flood", color=INK)
        axes.grid(axis="y", color="#e6e9ed", linewidth=0.7)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        axes.tick_params(colors=INK, labelsize=9)
        axes.legend(frameon=False, fontsize=8, loc="best")
    figure.text(
        0.01,
        0.005,
        "Mean and standard deviation over seeds; dots are seeds. S2 alone lies far below and is not drawn.",
        fontsize=8,
        color=GREY,
    )
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    path = FIGURES / "flood-label-scarcity.png"
    save_figure(figure, path, dpi=150)
    return path


def draw_answers(work: Path) -> Path:
    """Draw patches of the validation folds as two students of one seed answer them; returns the file."""
    chips = select(open_dataset(work / "patches"), split="val")
    arms = {"supervised": "hand labels alone", "distilled": "taught by S1+S2"}
    students = {
        told: OpenVinoPredictor(ModelFolder.open(work / f"{arm}-{SHOWN}" / "student"), threads=1)
        for arm, told in arms.items()
    }
    tables = [score(student, chips, name=told) for told, student in students.items()]
    table = replace(tables[0], rows=tuple(row for part in tables for row in part.rows))
    path = work / "answers.png"  # of real patches, whose terms are not stated: not for the project
    gallery(chips, students, table, path, count=3)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="folder of flood_ombria.py with its models")
    chosen = parser.parse_args()
    print(draw())
    if chosen.work:
        print(draw_answers(chosen.work))


if __name__ == "__main__":
    main()
