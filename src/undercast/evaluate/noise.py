"""Which labels are likely wrong: chips that models trained on the others cannot agree with.

A chip is scored by a model that did not learn from it or from its place. Where that fails on a chip and not on its
like, the label is more often at fault than the model: of On Cloud N's chips nearly a thousand are so. Someone should
look at the worst; the list does not say that they are wrong.
"""

import csv
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from undercast.chip import ChipSource
from undercast.datasets.split import check_disjoint
from undercast.errors import InputError
from undercast.evaluate.scores import iou
from undercast.evaluate.scoring import score
from undercast.evaluate.table import Table
from undercast.predict import Predictor


@dataclass(frozen=True)
class Suspect:
    """A chip and how far an answer from elsewhere is from its label, for one class.

    ``iou`` is 1 where the class is neither labelled nor answered; ``labelled`` and ``answered`` are shares of the
    ``pixels`` that are both labelled and seen. ``predictor`` answered.
    """

    rank: int
    key: str
    event: str
    place: str
    predictor: str
    iou: float
    labelled: float
    answered: float
    pixels: int


def out_of_fold(members: Sequence[tuple[Predictor, ChipSource, ChipSource]], *, target: str | None = None) -> Table:
    """One table of every chip, each answered by the member that it was held out from.

    ``members`` are a predictor, the chips it learned from and those held out of it.

    Raises:
        InputError: a member learned from a place it is asked about, or a chip is held out twice.
    """
    tables = []
    for number, (predictor, learned, held) in enumerate(members):
        check_disjoint(learned, held, by=("place",))
        tables.append(score(predictor, held, name=f"fold {number}", target=target))
    keys = [row.info.key for table in tables for row in table.rows]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise InputError(f"chip {twice[0]} is held out of two members; cut the folds apart")
    return Table(tables[0].task, tables[0].classes, tuple(row for table in tables for row in table.rows))


def rank_chips(table: Table, name: str) -> list[Suspect]:
    """The chips of ``table``, worst first by the IoU of the class called ``name``; those without a valid pixel last.

    Raises:
        InputError: the task has no such class.
    """
    if name not in table.classes:
        raise InputError(f"there is no class '{name}' to rank by; there are {', '.join(table.classes)}")
    value = table.classes.index(name)
    found = []
    for row in table.rows:
        pixels = int(row.confusion.sum())
        labelled, answered = int(row.confusion[value].sum()), int(row.confusion[:, value].sum())
        agreed = float(iou(row.confusion)[value]) if labelled + answered else 1.0
        shares = (labelled / pixels, answered / pixels) if pixels else (0.0, 0.0)
        found.append(Suspect(0, row.info.key, row.info.event, row.info.place, row.predictor, agreed, *shares, pixels))
    found.sort(key=lambda one: (one.pixels == 0, one.iou, -abs(one.labelled - one.answered), one.key))
    return [Suspect(rank, *astuple(one)[1:]) for rank, one in enumerate(found, start=1)]


def write_suspects(suspects: Sequence[Suspect], path: Path) -> None:
    """Write the ranking as CSV, a row a chip."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([field.name for field in fields(Suspect)])
        for one in suspects:
            writer.writerow([f"{value:.4f}" if isinstance(value, float) else value for value in astuple(one)])
