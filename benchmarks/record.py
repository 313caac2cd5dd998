"""Results as rows: ``results/NAME.csv`` with benchmark, arm, setting, seed, split, metric, value, commit, date.

A row of the same benchmark, arm, setting, seed, split and metric is written over, so that a file holds the latest
result of each and history is git's.
"""

import csv
import subprocess
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import NamedTuple

from undercast.evaluate.report import PredictorPart

RESULTS = Path(__file__).parent / "results"
COLUMNS = ("benchmark", "arm", "setting", "seed", "split", "metric", "value", "commit", "date")
KEY = 6  # the first columns say what was measured, the rest what came out


class Result(NamedTuple):
    """One figure: what was measured, under which setting, and its value."""

    arm: str
    setting: str
    metric: str
    value: float
    seed: int | str = ""
    split: str = ""


def record(benchmark: str, results: Iterable[Result], folder: Path = RESULTS) -> Path:
    """Put ``results`` into ``folder/BENCHMARK.csv``, in place of rows of the same key; returns the file."""
    path = folder / f"{benchmark}.csv"
    kept: dict[tuple[str, ...], list[str]] = {}
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            kept = {tuple(row[:KEY]): row for row in list(csv.reader(file))[1:]}
    stamp = [commit(), date.today().isoformat()]
    for result in results:
        key = (benchmark, result.arm, result.setting, str(result.seed), result.split, result.metric)
        kept[key] = [*key, f"{result.value:.6g}", *stamp]
    folder.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".csv.partial")
    with aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(kept.values())
    aside.replace(path)
    return path


def figures_of(part: PredictorPart) -> dict[str, float]:
    """The four figures of a predictor that every table of floods holds; 0 for one that it has not."""
    found = {
        "pooled_iou": part.total.pooled_iou,
        "mean_iou": part.total.mean_iou,
        "auprc": part.average_precision,
        "ece": part.calibration_error,
    }
    return {name: float(value or 0) for name, value in found.items()}


def commit() -> str:
    """The commit the code is at, short; with ``+`` where tracked source files differ from it."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "../src", "../recipes")
    return git("rev-parse", "--short=10", "HEAD") + ("+" if changed else "")
