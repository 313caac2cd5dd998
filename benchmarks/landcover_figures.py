"""Land cover through simulated clouds as a figure, from ``results/landcover-simulated.csv``.

Writes ``figures/landcover-simulated.png``: mIoU against cloud cover, under cloud by arm, and against labels.

    python benchmarks/landcover_figures.py
"""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from record import RESULTS

COLOURS = {
    "teacher": "#8a8a8a",
    "optical": "#d1495b",
    "sar": "#3a6ea5",
    "fusion": "#edae49",
    "restore": "#7fb069",
    "cloudseg": "#2a7f62",
    "best": "#1b1b3a",
}
"""In the order in which they are drawn; ``best`` is whichever arm was best on validation chips."""
COVERS = (0, 25, 50, 75, 100)
LABELS = {25: "mixed-25-labels", 100: "mixed", 1000: "mixed-1000-labels"}
"""Chips with labels → setting."""

Values = Callable[[str, str, str], list[float]]
"""Arm, setting and metric → the values of its seeds."""


def read(file: Path) -> Values:
    """What ``file`` holds of test chips."""
    with file.open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] == "test"]

    def of(*wanted: str) -> list[float]:
        return [float(row["value"]) for row in rows if (row["arm"], row["setting"], row["metric"]) == wanted]

    return of


def curve(axes: Axes, arm: str, x: Sequence[float], values: Sequence[list[float]]) -> None:
    """The mean over seeds, lowest to highest shaded, where there are values."""
    found = [(place, of) for place, of in zip(x, values, strict=True) if of]
    if found:
        places = [place for place, _ in found]
        mean, low, high = (np.array([f(of) for _, of in found]) for f in (np.mean, np.min, np.max))
        line = "--" if arm == "teacher" else "-"
        axes.plot(places, mean, marker="o", color=COLOURS[arm], label=arm, linestyle=line, markersize=4)
        axes.fill_between(places, low, high, color=COLOURS[arm], alpha=0.15, linewidth=0)


def under_cloud(axes: Axes, of: Values) -> None:
    """A bar an arm, every seed a dot."""
    for place, (arm, colour) in enumerate(COLOURS.items()):
        if values := of(arm, "mixed", "miou_cloudy"):
            axes.barh(place, np.mean(values), color=colour, alpha=0.35)
            axes.plot(values, [place] * len(values), "o", color=colour, markersize=4)
            axes.text(max(values) + 0.01, place, f"{np.mean(values):.3f}", va="center", fontsize=9)
    axes.set(yticks=range(len(COLOURS)), yticklabels=list(COLOURS), xlabel="mIoU of six classes, pixels under cloud")
    axes.invert_yaxis()
    axes.set_xlim(right=axes.get_xlim()[1] * 1.1)
    axes.set_title("Pixels under cloud, 100 labels", fontsize=10)


def main() -> None:
    of = read(RESULTS / "landcover-simulated.csv")
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14, 4.4), layout="constrained", width_ratios=(5, 4, 4))
    for arm in COLOURS:
        curve(left, arm, COVERS, [of(arm, f"cover-{cover}", "miou_all") for cover in COVERS])
        curve(right, arm, list(LABELS), [of(arm, setting, "miou_cloudy") for setting in LABELS.values()])
    left.set(xlabel="cloud cover, %", ylabel="mIoU of six classes, all pixels", xticks=COVERS)
    left.set_title("All pixels, the same grounds under more and more cloud", fontsize=10)
    under_cloud(middle, of)
    right.set(xlabel="chips with labels", ylabel="mIoU of six classes, pixels under cloud", xscale="log")
    right.set_xticks(list(LABELS), [str(count) for count in LABELS])
    right.minorticks_off()
    right.set_xlim(min(LABELS) * 0.8, max(LABELS) * 1.25)
    right.set_title("Pixels under cloud, by labels", fontsize=10)
    left.legend(frameon=False, ncols=2, fontsize=9)
    for axes in (left, middle, right):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    seeds = max(len(of(arm, "mixed", "miou_cloudy")) for arm in COLOURS)
    of_seeds = f"mean of up to {seeds} seeds, lowest to highest shaded"
    figure.suptitle(f"Land cover through simulated clouds ({of_seeds})", fontsize=11)
    path = Path(__file__).parent / "figures/landcover-simulated.png"
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=130)
    print(path)


if __name__ == "__main__":
    main()
