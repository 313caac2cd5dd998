"""Scores as tables of a paper: a row a model, at each size of pixel asked for.

[Garg 2023] tells by its captions what its tables hold: the hand-labelled test split at 16 m (2 and 3) and all water at
10 m (4). Columns and their order are ours.
"""

from collections.abc import Mapping, Sequence

from rich.table import Table as Grid

from undercast.evaluate.report import PredictorPart, Report

HEADER = ("model", "IoU", "95 % interval", "precision", "recall", "F1", "IoU, mean over chips")


def caption(result: Report, ground: float, split: str | None) -> str:
    """What a table shows, in a line."""
    chips = next(iter(result.predictors.values())).total.chips
    where = f", split {split}" if split else ""
    return f"{result.measure}, pooled over all pixels of {ground:g} m, {chips} chips{where}; percent"


def rows(result: Report) -> list[tuple[str, ...]]:
    """A row a model, in percent; – is 0 of 0."""
    return [(name, *_row(part)) for name, part in result.predictors.items()]


def to_markdown(tables: Mapping[str, Report]) -> list[str]:
    """Lines of Markdown: every table (caption → report) under a heading of its own."""
    lines: list[str] = []
    for told, result in tables.items():
        rule = ["---"] + ["--:"] * (len(HEADER) - 1)
        cells: Sequence[Sequence[str]] = (HEADER, rule, *rows(result))
        lines += ["", f"## {told}", "", *("| " + " | ".join(row) + " |" for row in cells)]
    return lines


def to_grid(told: str, result: Report) -> Grid:
    """The same for the terminal."""
    grid = Grid(title=told, title_justify="left", title_style="bold", header_style="bold")
    for number, name in enumerate(HEADER):
        grid.add_column(name, justify="left" if number == 0 else "right")
    for row in rows(result):
        grid.add_row(*(cell.replace("[", "\\[") for cell in row))
    return grid


def _row(part: PredictorPart) -> tuple[str, ...]:
    water = list(part.total.classes.values())[1]
    interval = part.pooled_interval
    told = "–" if interval is None else f"{100 * interval.low:.1f} to {100 * interval.high:.1f}"
    plain = (water.precision, water.recall, water.f1, part.total.mean_iou)
    return (_percent(part.total.pooled_iou), told, *(_percent(value) for value in plain))


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}"
