"""A table of scores → what a person reads: in the terminal, as ``report.json`` and as ``report.md``."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.table import Table as Grid

from undercast.evaluate import scores
from undercast.evaluate.table import CLEAR, COVERED, Table

SHOWN_EVENTS = 20
"""Events listed in the terminal; with more of them only report.md lists them."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class IntervalPart(_Part):
    """A 95 % bootstrap interval, and what was drawn again: events, or chips where there are fewer than three events."""

    low: float
    high: float
    over: str
    groups: int


class ClassPart(_Part):
    """Pooled over all valid pixels; None is 0 of 0."""

    iou: float | None
    precision: float | None
    recall: float | None
    f1: float | None


class GroupPart(_Part):
    """One event, or everything: ``pooled_iou`` over its pixels, ``mean_iou`` over its chips.

    Both are of class 1 where the task has two classes, else the mean over classes. They are different measures and
    must not be mixed: on Sen1Floods11's test split one model scores 0.41 by the second and 0.66 by the first.
    """

    chips: int
    valid: int
    nodata_share: float
    accuracy: float | None
    pooled_iou: float | None
    mean_iou: float | None
    classes: dict[str, ClassPart]


class PredictorPart(_Part):
    """What one predictor scored.

    ``best_threshold`` is chosen on these very chips: it shows what a better threshold could give, and is no score.
    """

    threshold: float
    total: GroupPart
    pooled_interval: IntervalPart | None
    mean_interval: IntervalPart | None
    calibration_error: float | None
    average_precision: float | None
    best_threshold: float | None
    best_threshold_iou: float | None
    events: dict[str, GroupPart]
    sky: dict[str, GroupPart] = {}


class Report(_Part):
    """Every statistic of a table, by predictor."""

    task: str
    measure: str
    predictors: dict[str, PredictorPart]


def report(table: Table) -> Report:
    """All statistics of ``table``. Thresholds and AUPRC are None where the task has more than two classes."""
    number = 1 if len(table.classes) == 2 else None
    return Report(
        task=table.task,
        measure=f"IoU of {table.classes[1]}" if number else "mean IoU of classes",
        predictors={name: _predictor(table.of(name), number) for name in table.predictors},
    )


def pooled_iou(confusion: NDArray[np.int64], number: int | None = 1) -> float:
    """IoU of class ``number`` over the pixels of chips ``[N, K, K]`` together; None: the mean over classes present."""
    return scores.ratio_of_sums(*_of_class(scores.pooled_parts(confusion), number))


def mean_iou(confusion: NDArray[np.int64], number: int | None = 1) -> float:
    """Mean over chips of the IoU of class ``number`` (:func:`scores.chip_parts`); None: the mean over classes too."""
    return scores.ratio_of_sums(*_of_class(scores.chip_parts(confusion), number))


def _of_class(parts: tuple[scores.Array, scores.Array], number: int | None) -> tuple[scores.Array, scores.Array]:
    kept = slice(None) if number is None else slice(number, number + 1)
    return parts[0][:, kept], parts[1][:, kept]


def write(result: Report, folder: Path, figures: dict[str, str], more: Sequence[str] = ()) -> None:
    """Write ``report.json`` and ``report.md`` into ``folder``; ``figures`` maps a caption to a file name there.

    ``more`` are further lines of Markdown, before the figures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(result.model_dump(mode="json"), indent=2) + "\n", "utf-8")
    (folder / "report.md").write_text(to_markdown(result, figures, more), "utf-8")


def to_markdown(result: Report, figures: dict[str, str], more: Sequence[str] = ()) -> str:
    """The report as Markdown, with ``more`` lines and then ``figures`` (caption → file) at its end."""
    lines = [
        f"# Scores: {result.task}",
        "",
        f"The measure is the {result.measure}, with a 95 % bootstrap interval.",
        "",
    ]
    header, rows = _overview(result)
    lines += _markdown_table(header, rows)
    lines += ["", *_notes(result)]
    if any(part.sky for part in result.predictors.values()):
        lines += ["", "## Under a clear sky and under cloud", "", *_markdown_table(*_by_sky(result))]
    if any(len(part.events) > 1 for part in result.predictors.values()):
        lines += ["", "## By event", "", *_markdown_table(*_by_event(result))]
    lines += more
    for caption, file in figures.items():
        lines += ["", f"![{caption}]({file})", "", f"*{caption}*"]
    return "\n".join(lines) + "\n"


def show(result: Report, console: Console) -> None:
    """Print the report."""
    header, rows = _overview(result)
    # A column a predictor: what a terminal of 80 characters holds.
    names, *measures = (list(column) for column in zip(header, *rows, strict=True))
    console.print(_grid(f"{result.task}: {result.measure}", ["", *names[1:]], measures))
    events = max(len(part.events) for part in result.predictors.values())
    if 1 < events <= SHOWN_EVENTS:
        console.print(_grid("by event", *_by_event(result)))
    for note in _notes(result):
        console.print(note, style="dim", highlight=False)


def _predictor(table: Table, number: int | None) -> PredictorPart:
    confusion, histogram = table.confusion, table.histogram.sum(0)
    pooled = scores.bootstrap(*_of_class(scores.pooled_parts(confusion), number), table.events)
    mean = scores.bootstrap(*_of_class(scores.chip_parts(confusion), number), table.events)
    edge, at_edge = scores.best_threshold(histogram) if number else (math.nan, math.nan)
    return PredictorPart(
        threshold=table.rows[0].threshold,
        total=_group(table, number),
        pooled_interval=_interval(pooled),
        mean_interval=_interval(mean),
        calibration_error=_told(scores.calibration_error(histogram)),
        average_precision=_told(scores.average_precision(histogram)) if number else None,
        best_threshold=_told(edge),
        best_threshold_iou=_told(at_edge),
        sky={part: _group(rows, number) for part, rows in table.groups("split").items() if part in (CLEAR, COVERED)},
        events={name: _group(part, number) for name, part in table.groups("event").items()},
    )


def _group(table: Table, number: int | None) -> GroupPart:
    confusion = table.confusion
    total = confusion.sum(0)
    parts = (scores.iou(total), scores.precision(total), scores.recall(total), scores.f1(total))
    return GroupPart(
        chips=len(table),
        valid=int(total.sum()),
        nodata_share=sum(row.unseen for row in table) / max(1, sum(row.pixels for row in table)),
        accuracy=_told(float(scores.accuracy(total))),
        pooled_iou=_told(pooled_iou(confusion, number)),
        mean_iou=_told(mean_iou(confusion, number)),
        classes={
            name: ClassPart(**dict(zip(ClassPart.model_fields, (_told(float(p[k])) for p in parts), strict=True)))
            for k, name in enumerate(table.classes)
        },
    )


def _interval(found: scores.Interval | None) -> IntervalPart | None:
    return None if found is None else IntervalPart(**vars(found))


def _told(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _figure(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _span(interval: IntervalPart | None) -> str:
    return "–" if interval is None else f"{interval.low:.2f} to {interval.high:.2f}"


def _overview(result: Report) -> tuple[list[str], list[list[str]]]:
    binary = any(part.average_precision is not None for part in result.predictors.values())
    header = ["predictor", "chips", "pooled IoU", "95 % of pooled", "mean over chips", "95 % of mean"]
    header += (
        ["precision", "recall", "F1", "AUPRC", "ECE", "best threshold", "IoU there"] if binary else ["accuracy", "ECE"]
    )
    rows = []
    for name, part in result.predictors.items():
        row = [
            name,
            str(part.total.chips),
            _figure(part.total.pooled_iou),
            _span(part.pooled_interval),
            _figure(part.total.mean_iou),
            _span(part.mean_interval),
        ]
        if binary:
            one = list(part.total.classes.values())[1]
            row += [_figure(value) for value in (one.precision, one.recall, one.f1, part.average_precision)]
            best = (_figure(part.best_threshold, 2), _figure(part.best_threshold_iou))
            row += [_figure(part.calibration_error), *best]
        else:
            row += [_figure(part.total.accuracy), _figure(part.calibration_error)]
        rows.append(row)
    return header, rows


def _by_event(result: Report) -> tuple[list[str], list[list[str]]]:
    names = list(result.predictors)
    events = dict.fromkeys(event for part in result.predictors.values() for event in part.events)
    rows = []
    for event in events:
        groups = [result.predictors[name].events.get(event) for name in names]
        known = next(group for group in groups if group is not None)
        row = [event or "(unknown)", str(known.chips), f"{known.nodata_share:.0%}"]
        rows.append(row + [_figure(group.pooled_iou if group else None) for group in groups])
    return ["event", "chips", "not observed", *names], rows


def _by_sky(result: Report) -> tuple[list[str], list[list[str]]]:
    rows = [
        [name, sky, str(group.valid), _figure(group.pooled_iou), _figure(group.accuracy)]
        for name, part in result.predictors.items()
        for sky, group in part.sky.items()
    ]
    return ["predictor", "sky", "pixels", "pooled IoU", "accuracy"], rows


def _notes(result: Report) -> list[str]:
    notes = []
    over = {p.pooled_interval.over for p in result.predictors.values() if p.pooled_interval is not None}
    if "chips" in over:
        notes.append("Fewer than three events: the intervals draw chips, which are alike, and are too narrow.")
    elif over:
        notes.append("The intervals draw whole events.")
    notes.append(
        "Mean over chips: a chip without the class in truth and answer counts 1; one that shows nothing is out."
    )
    if any(part.best_threshold is not None for part in result.predictors.values()):
        notes.append("The best threshold is chosen on these chips and is no score.")
    return notes


def _markdown_table(header: list[str], rows: list[list[str]]) -> list[str]:
    rule = ["---"] + ["--:"] * (len(header) - 1)
    return ["| " + " | ".join(cells) + " |" for cells in (header, rule, *rows)]


def _grid(title: str, header: list[str], rows: list[list[str]]) -> Grid:
    grid = Grid(title=title, title_justify="left", title_style="bold", header_style="bold")
    for number, name in enumerate(header):
        grid.add_column(name, justify="left" if number == 0 else "right", no_wrap=True)
    for row in rows:
        grid.add_row(*(cell.replace("[", "\\[") for cell in row))
    return grid


def truth_shares(table: Table) -> list[str]:
    """The class balance of what was scored, a line a split: shares of the labelled and observed pixels."""
    first = table.of(table.predictors[0])
    lines = []
    for split, part in first.groups("split").items():
        counts = part.confusion.sum((0, 2))
        total, pixels = max(int(counts.sum()), 1), sum(row.pixels for row in part)
        shares = ", ".join(f"{count / total:.1%} {name}" for count, name in zip(counts, table.classes, strict=True))
        events = len({row.info.event for row in part})
        left_out = f"{1 - counts.sum() / pixels:.1%} of the pixels not labelled or not observed"
        lines.append(f"Split {split or '(none)'}: {len(part)} chips of {events} events; {shares}; {left_out}.")
    return lines


def summary(result: Report) -> dict[str, Any]:
    """The few figures that scripts want: predictor → pooled and mean IoU."""
    return {
        name: {"pooled_iou": part.total.pooled_iou, "mean_iou": part.total.mean_iou}
        for name, part in result.predictors.items()
    }
