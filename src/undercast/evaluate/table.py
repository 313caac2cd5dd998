"""One row a chip; every statistic is a group-by of the rows.

A row holds counts, never averages: the confusion matrix at the model's threshold and a histogram of its probabilities.
Whatever is asked afterwards (per event, pooled, mean over chips, another threshold, calibration) needs no second pass.
"""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from undercast.chip import ChipInfo
from undercast.errors import InputError

T = TypeVar("T", bound=np.generic)

TABLE, HISTOGRAMS = "table.csv", "histograms.npz"
COLUMNS = (
    *("predictor", "key", "event", "place", "split", "threshold"),
    *("pixels", "labelled", "unseen", "valid", "nodata_share"),
)
CLEAR, COVERED = "clear", "covered"
"""Parts of a chip by a target that says where there is cloud."""
BINS = 100
"""Bins of the probability histogram, so that a threshold is known to a hundredth."""


@dataclass(frozen=True)
class Row:
    """What one predictor answered on one chip, in counts of output pixels.

    ``confusion`` is ``[K, K]``, truth down the rows. ``histogram`` is ``[3, BINS]`` (see :mod:`~.scores`): of two
    classes, the probability of class 1 against truth; of more, the highest probability against being right.
    ``pixels`` of the chip, ``labelled`` of them, ``unseen`` where a band the model takes was not observed. Only pixels
    both labelled and seen are counted in ``confusion``.
    """

    predictor: str
    info: ChipInfo
    threshold: float
    pixels: int
    labelled: int
    unseen: int
    confusion: NDArray[np.int64]
    histogram: NDArray[np.float64]

    @property
    def valid(self) -> int:
        """Pixels scored."""
        return int(self.confusion.sum())

    @property
    def nodata_share(self) -> float:
        """Share of the chip that was not observed."""
        return self.unseen / self.pixels if self.pixels else 0.0


@dataclass(frozen=True)
class Table:
    """Rows of one task; ``classes`` are its class names in order. May hold several predictors on the same chips."""

    task: str
    classes: tuple[str, ...]
    rows: tuple[Row, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    @property
    def predictors(self) -> tuple[str, ...]:
        """Names of the predictors, in the order they were scored."""
        return tuple(dict.fromkeys(row.predictor for row in self.rows))

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Confusion matrices of all rows, ``[N, K, K]``."""
        size = len(self.classes)
        return np.stack([row.confusion for row in self.rows]) if self.rows else np.zeros((0, size, size), np.int64)

    @property
    def histogram(self) -> NDArray[np.float64]:
        """Histograms of all rows, ``[N, 3, BINS]``."""
        return np.stack([row.histogram for row in self.rows]) if self.rows else np.zeros((0, 3, BINS))

    @property
    def events(self) -> list[str]:
        """The event of each row."""
        return [row.info.event for row in self.rows]

    def of(self, predictor: str) -> "Table":
        """The rows of one predictor."""
        return Table(self.task, self.classes, tuple(row for row in self.rows if row.predictor == predictor))

    def groups(self, field: str) -> "dict[str, Table]":
        """The table cut by ``event``, ``place``, ``split`` or ``key``, by name."""
        names = sorted({getattr(row.info, field) for row in self.rows})
        return {
            name: Table(self.task, self.classes, tuple(row for row in self.rows if getattr(row.info, field) == name))
            for name in names
        }

    def __add__(self, other: "Table") -> "Table":
        if (self.task, self.classes) != (other.task, other.classes):
            raise InputError(f"a table of '{self.task}' and one of '{other.task}' cannot be joined")
        return Table(self.task, self.classes, self.rows + other.rows)

    def save(self, folder: Path) -> None:
        """Write ``table.csv`` (a row a chip, a column a pair of classes ``truth>answer``) and ``histograms.npz``."""
        pairs = [f"{truth}>{answered}" for truth in self.classes for answered in self.classes]
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / TABLE).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([*COLUMNS, *pairs])
            for row in self.rows:
                info = row.info
                told = (row.predictor, info.key, info.event, info.place, info.split, row.threshold)
                counted = (row.pixels, row.labelled, row.unseen, row.valid, f"{row.nodata_share:.6f}")
                writer.writerow([*told, *counted, *row.confusion.ravel().tolist()])
        with (folder / HISTOGRAMS).open("wb") as stream:
            np.savez_compressed(stream, task=self.task, classes=np.array(self.classes), histogram=self.histogram)

    @classmethod
    def load(cls, folder: Path) -> "Table":
        """The table that :meth:`save` wrote into ``folder``. Raises InputError where a file is missing or unsound."""
        try:
            with np.load(folder / HISTOGRAMS) as arrays:
                task, names, histogram = str(arrays["task"]), tuple(map(str, arrays["classes"])), arrays["histogram"]
            with (folder / TABLE).open(newline="", encoding="utf-8") as file:
                lines = list(csv.DictReader(file))
            if len(lines) != len(histogram):
                raise ValueError(f"{len(lines)} rows, but {len(histogram)} histograms")
            return cls(task, names, tuple(_read_row(*pair, names) for pair in zip(lines, histogram, strict=True)))
        except (OSError, KeyError, ValueError) as error:
            raise InputError(f"{folder}: holds no table of scores ({error}); write one with Table.save") from None


def _read_row(line: Mapping[str, str], histogram: NDArray[np.float64], names: tuple[str, ...]) -> Row:
    counts = [int(line[f"{truth}>{answered}"]) for truth in names for answered in names]
    return Row(
        predictor=line["predictor"],
        info=ChipInfo(line["key"], line["event"], line["place"], line["split"]),
        threshold=float(line["threshold"]),
        pixels=int(line["pixels"]),
        labelled=int(line["labelled"]),
        unseen=int(line["unseen"]),
        confusion=np.array(counts, np.int64).reshape(len(names), len(names)),
        histogram=histogram,
    )
