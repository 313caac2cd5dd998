"""The plots of [Böhm 2022] in our numbers, from ``results/landslide-simulated.csv`` alone: writes ``figures/``.

python benchmarks/landslide_figures.py
"""

import csv
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

HERE = Path(__file__).parent
COLORS = {
    "none": "#555555",
    "random": "#c08a2b",
    "pretrained": "#b3261e",
    "other-region": "#1f6fd6",
    "finetuned": "#3a8f5c",
}
PLOTS = (
    ("auprc", "area under precision-recall, pixels", False),
    ("fp_pixels_free", "pixels called landslide, free chips (threshold 0.5)", True),
    ("fp_pixels_free_at_recall_50", "the same where half of the landslide is found", True),
    ("count_error_median", "median size of count error, all chips", True),
    ("count_error_median_free", "median count error, free chips", True),
    ("count_error_median_landslide", "median count error, chips with landslides", False),
)


def main() -> None:
    with (HERE / "results/landslide-simulated.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["setting"].isdigit()]
    figure, axes = plt.subplots(2, 3, figsize=(13, 7), layout="constrained")
    for axis, (metric, title, logarithmic) in zip(axes.flat, PLOTS, strict=True):
        for arm, color in COLORS.items():
            found: dict[int, list[float]] = {}
            for row in rows:
                if (row["arm"], row["metric"]) == (arm, metric):
                    found.setdefault(int(row["setting"]), []).append(float(row["value"]))
            if not found:
                continue
            sizes = sorted(found)
            mean = np.array([np.mean(found[size]) for size in sizes])
            bar = np.array([np.std(found[size]) / np.sqrt(max(1, len(found[size]) - 1)) for size in sizes])
            axis.errorbar(sizes, mean, bar, color=color, label=arm, marker="o", capsize=3, linewidth=1.6)
        axis.set_xscale("log")
        axis.set_xticks([2, 5, 10, 20, 110], ["2", "5", "10", "20", "110"])
        axis.minorticks_off()
        axis.set_yscale("log" if logarithmic else "linear")
        axis.set_title(title, fontsize=10)
        axis.grid(alpha=0.25)
    for axis in axes[1]:
        axis.set_xlabel("training chips")
    axes[0, 0].legend(fontsize=9)
    figure.suptitle("Landslides, simulated: mean over seeds and its standard error (std / √N)", fontsize=11)
    (HERE / "figures").mkdir(exist_ok=True)
    figure.savefig(HERE / "figures/landslide-simulated.png", dpi=110)


if __name__ == "__main__":
    main()
