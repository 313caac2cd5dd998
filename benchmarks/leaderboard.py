"""Draw ``LEADERBOARD.md`` from ``results/*.csv``: a table a benchmark and metric, mean ± standard deviation over seeds.

python benchmarks/leaderboard.py
"""

import csv
import math
import re
import statistics
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).parent
HEAD = """# Leaderboard

Drawn by `python benchmarks/leaderboard.py` from `benchmarks/results/*.csv`; nothing here is typed by hand.
A cell is the mean over seeds ± their standard deviation (n seeds), or a single figure.
What did not work is in [LOG.md](LOG.md).
"""
SETTINGS = 12
"""A benchmark of more settings than this is listed a row a setting, with its arms as columns."""

LANDSLIDES = ("auprc", "fp_pixels_free", "fp_pixels_free_at_recall_50", "count_error_median", "recall")
HEADLINES = {
    "flood-ombria": ("pooled_iou", "auprc"),
    "flood-ombria-first": ("pooled_iou", "auprc"),
    "landslide-simulated": LANDSLIDES,
    "landslide-l4s": LANDSLIDES,
}
"""Of benchmarks with dozens of metrics only these are drawn; the others stand in their CSV."""


def cell(values: list[float]) -> str:
    """Mean ± standard deviation (n), in four significant digits."""
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return "–"
    mean = f"{statistics.fmean(known):.4g}"
    return mean if len(known) == 1 else f"{mean} ± {statistics.stdev(known):.2g} ({len(known)})"


def natural(text: str) -> list[tuple[int, float, str]]:
    """A key that puts 2 before 10."""
    parts = re.split(r"(\d+(?:\.\d+)?)", text)
    return [(0, float(part), "") if index % 2 else (1, 0.0, part) for index, part in enumerate(parts)]


def table(rows: list[dict[str, str]]) -> list[str]:
    """Arms down and settings along, or the other way round where there are many settings."""
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        values[row["arm"], row["setting"]].append(float(row["value"]))
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    settings = sorted({row["setting"] for row in rows}, key=natural)
    if len(settings) > SETTINGS:
        lines = [["setting", *arms], *([s, *(cell(values.get((a, s), [])) for a in arms)] for s in settings)]
    else:
        lines = [["arm", *settings], *([a, *(cell(values.get((a, s), [])) for s in settings)] for a in arms)]
    lines.insert(1, ["---"] * len(lines[0]))
    return ["| " + " | ".join(line) + " |" for line in lines]


def main() -> None:
    parts = [HEAD]
    for path in sorted((HERE / "results").glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        groups: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
        shown = HEADLINES.get(path.stem)
        for row in rows:
            if shown is None or row["metric"] in shown:
                groups[row["metric"], row["split"]].append(row)
        parts.append(f"## {path.stem}\n")
        parts.append(f"Commits {', '.join(sorted({row['commit'] for row in rows}))}.\n")
        for (metric, split), group in groups.items():
            parts.append(f"**{metric}**{f' on {split}' if split else ''}\n")
            parts.append("\n".join(table(group)) + "\n")
    (HERE / "LEADERBOARD.md").write_text("\n".join(parts), "utf-8")


if __name__ == "__main__":
    main()
