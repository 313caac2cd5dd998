"""The squeeze on simulated clouds as a figure and as a table, from ``results/clouds-simulated.csv``.

Writes ``figures/clouds-simulated.png``, Jaccard against parameters, and prints the table of what flies.

    python benchmarks/clouds_figures.py
"""

import csv
from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib import pyplot as plt

from record import RESULTS

PLANNED = "nnunet"
SMALLER = 280
"""How many times smaller than its teacher the paper's student is."""

Rows = Callable[[str, str], dict[str, list[float]]]
"""Arm and metric → the values of its seeds, by setting."""


def read(file: Path) -> Rows:
    """What ``file`` holds."""
    with file.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))

    def of(arm: str, metric: str) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {}
        for row in rows:
            if row["arm"] == arm and row["metric"] == metric:
                found.setdefault(row["setting"], []).append(float(row["value"]))
        return found

    return of


def figure(of: Rows, path: Path) -> None:
    """Jaccard against parameters, every seed a dot; an arrow from the mean of labels alone to that of the taught."""
    looks = {
        "student": ("o", "#8a8f98", "student, labels alone"),
        "student+kd": ("o", "#1f6fd6", "student, taught by the ensemble"),
        "student+kd+int8": ("x", "#1f6fd6", "the same in int8"),
        "teacher": ("s", "#b3261e", "teacher"),
        "ensemble": ("D", "#b3261e", "ensemble, mirrored views"),
    }
    drawing, axes = plt.subplots(figsize=(7.5, 4.5), layout="constrained")
    teacher, large = np.mean(of("teacher", "jaccard")[PLANNED]), of("teacher", "parameters")[PLANNED][0]
    axes.axhspan(teacher - 0.01, teacher, color="#b3261e", alpha=0.12, lw=0, label="within a point of the teacher")
    axes.axvline(large / SMALLER, color="#b3261e", lw=1, ls=":")
    axes.text(large / SMALLER * 1.08, 0.02, f"{SMALLER} times smaller\nthan the teacher: left of this",
              transform=axes.get_xaxis_transform(), fontsize=8, color="#b3261e")  # fmt: skip
    for arm, (marker, color, label) in looks.items():
        sizes, scores = of(arm, "parameters"), of(arm, "jaccard")
        points = sorted((sizes[name][0], name, values) for name, values in scores.items() if name in sizes)
        if not points:
            continue
        axes.plot(
            [size for size, _, values in points for _ in values],
            [value for *_, values in points for value in values],
            marker, color=color, label=label, fillstyle="none", markersize=6, ls="none",
        )  # fmt: skip
        if arm == "student+kd":
            alone = of("student", "jaccard")
            for place, (size, name, values) in enumerate(points):
                ends = {"xy": (size, np.mean(values)), "xytext": (size, np.mean(alone[name]))}
                axes.annotate(
                    "", **ends, arrowprops={"arrowstyle": "-|>", "color": color, "lw": 1.5, "shrinkA": 0, "shrinkB": 0}
                )
                above = 1.01 + 0.04 * (place % 4)  # names of sizes near one another stand above each other
                axes.text(size, above, name, transform=axes.get_xaxis_transform(), fontsize=8, ha="center")
    axes.set_xscale("log")
    axes.margins(0.16, 0.1)
    axes.set_xlabel("parameters")
    axes.set_ylabel("Jaccard of cloud, held-out scenes")
    axes.legend(frameon=False, fontsize=8, loc="center", bbox_to_anchor=(0.58, 0.72))
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(path, dpi=160)


def table(of: Rows) -> list[str]:
    """The lines of a table: what a network costs on board, and what it finds without and with a teacher."""
    teacher = of("teacher", "parameters")[PLANNED][0]
    lines = [
        "| network | parameters | teacher's, times | MACs a pixel | kB, fp32 / int8 | ms a megapixel, fp32 / int8 "
        "| labels alone | taught | taught, int8 |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, (parameters, *_) in sorted(of("student+kd", "parameters").items(), key=lambda item: item[1]):

        def one(metric: str, arm: str = "student+kd", name: str = name) -> float:
            return of(arm, metric)[name][0]

        pair = {
            metric: (one(metric), one(metric, "student+kd+int8"))
            for metric in ("bytes", "ms_per_mpx", "macs_per_pixel")
        }
        cells = [
            name, f"{parameters:,.0f}", f"{teacher / parameters:.0f}", f"{pair['macs_per_pixel'][0]:,.0f}",
            f"{pair['bytes'][0] / 1e3:.0f} / {pair['bytes'][1] / 1e3:.0f}",
            f"{pair['ms_per_mpx'][0]:.0f} / {pair['ms_per_mpx'][1]:.0f}",
            *(_mean(of(arm, "jaccard")[name]) for arm in ("student", "student+kd", "student+kd+int8")),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    for arm in ("teacher", "ensemble"):
        size, macs = of(arm, "parameters")[PLANNED][0], of(arm, "macs_per_pixel")[PLANNED][0]
        lines.append(f"| {arm} | {size:,.0f} | | {macs:,.0f} | | | {_mean(of(arm, 'jaccard')[PLANNED])} | | |")
    return lines


def _mean(values: list[float]) -> str:
    """Mean ± standard deviation over seeds."""
    return f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else f"{values[0]:.4f}"


def main() -> None:
    of = read(RESULTS / "clouds-simulated.csv")
    figure(of, Path(__file__).parent / "figures/clouds-simulated.png")
    print(*table(of), sep="\n")


if __name__ == "__main__":
    main()
