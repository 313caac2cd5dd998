"""The open question of [Böhm 2022]: does a shift of the threshold alone explain fewer false alarms?

Reads ``results/landslide-simulated.csv`` (or ``landslide-l4s``) and prints, for every number of training chips, the
false-positive area on landslide-free chips of each arm *at equal recall* on chips with landslides, as pairs of the same
seed. Anything that keeps the order of pixels (a threshold, a temperature, Platt scaling) changes no number at equal
recall.

    python benchmarks/landslide_question.py --against none --arm pretrained
    python benchmarks/landslide_question.py --results landslide-l4s
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from scipy import stats

RESULTS = Path(__file__).parent / "results"
METRICS = (
    "fp_pixels_free",
    "recall",
    "fp_pixels_free_at_recall_30",
    "fp_pixels_free_at_recall_50",
    "fp_pixels_free_at_recall_70",
    "fp_pixels_free_validation_50",
    "recall_validation_50",
    "count_error_median",
    "count_error_median_calibrated",
    "auprc",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arm", default="pretrained")
    parser.add_argument("--against", default="none")
    parser.add_argument("--results", default="landslide-simulated", help="which benchmark's")
    chosen = parser.parse_args()
    values: dict[tuple[str, str, str], dict[str, float]] = {}
    with (RESULTS / f"{chosen.results}.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            values.setdefault((row["arm"], row["setting"], row["metric"]), {})[row["seed"]] = float(row["value"])
    settings = sorted({setting for arm, setting, _ in values if arm == chosen.arm and setting.isdigit()}, key=int)
    for setting in settings:
        print(f"{setting} training chips: {chosen.arm} against {chosen.against}, mean [95 % interval] over seeds")
        for metric in METRICS:
            ours, theirs = (values.get((arm, setting, metric), {}) for arm in (chosen.arm, chosen.against))
            seeds = sorted(ours.keys() & theirs.keys())
            pairs = np.array([(ours[seed], theirs[seed]) for seed in seeds])
            told = " against ".join(interval(column) for column in pairs.T)
            ratio = pairs[:, 0].mean() / pairs[:, 1].mean() if pairs[:, 1].mean() else float("nan")
            print(f"  {metric:32s} {told}   ratio {ratio:.2f}   difference {interval(pairs[:, 0] - pairs[:, 1])}")


def interval(found: np.ndarray) -> str:
    if len(found) < 2:
        return f"{found.mean():.3g}"
    half = stats.t.ppf(0.975, len(found) - 1) * found.std(ddof=1) / np.sqrt(len(found))
    return f"{found.mean():.3g} ± {half:.2g} (n={len(found)})"


if __name__ == "__main__":
    main()
