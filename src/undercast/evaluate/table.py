"""Predictor and chips → one row a chip; every statistic is a group-by of the rows.

A row holds counts, never averages: the confusion matrix at the model's threshold and a histogram of its probabilities.
Whatever is asked afterwards (per event, pooled, mean over chips, another threshold, calibration) needs no second pass.
"""

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from undercast.chip import Chip, ChipInfo, ChipSource
from undercast.errors import InputError, ModelError
from undercast.evaluate.resolution import resample
from undercast.predict import Predictor, answer
from undercast.signature import Signature
from undercast.task import NODATA

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


def score(
    predictor: Predictor,
    source: ChipSource,
    *,
    name: str | None = None,
    target: str | None = None,
    factor: float = 1.0,
    by: str | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Table:
    """Ask ``predictor`` about every chip of ``source`` that has ``target`` (the task's own by default).

    ``name`` stands for the predictor in the table. With a ``factor`` above 1 pixels that many times as long are scored
    (:mod:`~.resolution`). ``by`` names a target, such as ``cloud``, that cuts each chip in two rows by the ``split``
    :data:`CLEAR` (0 there) and :data:`COVERED` (1 to 254); its 255 is in neither. ``progress`` is called with the
    number of chips done.

    Raises:
        ModelError: the predictor answers another task, or takes a role the source has not.
        InputError: a band is missing, no chip has the target, or the pixels to score are smaller than the chips'.
    """
    if factor < 1:
        raise InputError(f"pixels {factor:g} times as long cannot be scored: they are smaller than the model's")
    signature = predictor.signature
    target = target or source.task.name
    check_fit(signature, source)
    rows = []
    for number, info in enumerate(source.index):
        chip = source[number]
        if target in chip.targets:
            images = inputs_of(signature, source, chip)
            answered = answer(predictor, images)
            rows += _rows(name or signature.name, info, signature, images, answered, chip, target, factor, by)
        progress(number + 1)
    if not rows:
        raise InputError(f"none of the {len(source)} chips has the target '{target}', so there is nothing to score")
    return Table(source.task.name, tuple(label.name for label in source.task.classes), tuple(rows))


def check_fit(signature: Signature, source: ChipSource) -> None:
    """Refuse a model that does not answer the source's task or takes what it has not. Raises ModelError, InputError."""
    asked, answered = source.task, signature.task
    if [label.name for label in asked.classes] != [label.name for label in answered.classes]:
        raise ModelError(f"model {signature.name} answers '{answered.name}', but the chips are labelled '{asked.name}'")
    signature.check_roles(set(source.modalities))
    for role, modality in signature.inputs.items():
        if role not in source.modalities:
            continue  # an optional one
        given = source.modalities[role]
        given.index(modality.bands)
        if given.unit != modality.unit:
            raise InputError(
                f"role {role}: model {signature.name} takes {modality.unit}, the chips are in {given.unit}"
            )


def inputs_of(signature: Signature, source: ChipSource, chip: Chip) -> dict[str, NDArray[np.float32]]:
    """The images of ``chip`` the model takes, bands by name and in its order: ``[C, H, W]`` by role."""
    return {
        role: chip.images[role][source.modalities[role].index(modality.bands)]
        for role, modality in signature.inputs.items()
        if role in source.modalities
    }


def decide(probabilities: NDArray[np.float32], seen: NDArray[np.bool_], threshold: float) -> NDArray[np.uint8]:
    """Classes ``[h, w]`` uint8 from ``[K, h, w]``, 255 where nothing was seen or answered.

    Of two classes, class 1 where its probability reaches ``threshold``; of more, the likeliest.
    """
    answered = seen & np.isfinite(probabilities).all(axis=0)
    if len(probabilities) == 2:
        classes = (probabilities[1] >= threshold).astype(np.uint8)
    else:
        classes = np.argmax(probabilities, axis=0).astype(np.uint8)
    return np.where(answered, classes, np.uint8(NODATA))


def observed(
    signature: Signature, images: Mapping[str, NDArray[np.float32]], shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """Where the model was shown what it needs, as a map counts it; bool, at the output's ``shape``."""
    return enlarge(signature.observed({role: seen(image) for role, image in images.items()}), shape)


def seen(image: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where every band of ``image`` ``[C, H, W]`` was seen, ``[H, W]`` bool."""
    return np.asarray(np.isfinite(image).all(axis=0), np.bool_)


def enlarge(mask: NDArray[T], shape: tuple[int, int]) -> NDArray[T]:
    """``mask`` ``[H, W]`` on another grid over the same ground, by nearest pixel."""
    if mask.shape == shape:
        return mask
    rows, cols = (((np.arange(n) + 0.5) * old / n).astype(int) for n, old in zip(shape, mask.shape, strict=True))
    return mask[np.ix_(rows, cols)]


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


def _rows(
    name: str,
    info: ChipInfo,
    signature: Signature,
    images: Mapping[str, NDArray[np.float32]],
    probabilities: NDArray[np.float32],
    chip: Chip,
    target: str,
    factor: float,
    by: str | None,
) -> list[Row]:
    truth, size = chip.targets[target], len(probabilities)
    if truth.shape != probabilities.shape[1:]:
        raise InputError(
            f"chip {info.key}: target '{target}' is {truth.shape}, the answer {probabilities.shape[1:]}; "
            f"the task's scale is {signature.task.scale}"
        )
    if truth[truth != NODATA].size and truth[truth != NODATA].max() >= size:
        raise InputError(f"chip {info.key}: target '{target}' holds {truth[truth != NODATA].max()}, which is no class")
    shown = observed(signature, images, truth.shape)
    if factor != 1:
        probabilities, shown, truth = resample(probabilities, shown, truth, factor)
    classes = decide(probabilities, shown, signature.threshold)
    rows = []
    for split, inside in _parts(chip, by, truth.shape).items():
        part = replace(info, split=split) if by else info
        rows.append(_count(name, part, signature, probabilities, np.where(inside, truth, NODATA), classes, inside))
    return rows


def _parts(chip: Chip, by: str | None, shape: tuple[int, int]) -> dict[str, NDArray[np.bool_]]:
    """Where each part of a chip is, bool ``[h, w]``; all of it where nothing cuts it."""
    if by is None:
        return {"": np.ones(shape, np.bool_)}
    if by not in chip.targets:
        raise InputError(
            f"chip {chip.key}: has no target '{by}' to tell its parts by; it has {', '.join(chip.targets)}"
        )
    cover = enlarge(chip.targets[by], shape)
    return {CLEAR: cover == 0, COVERED: (cover > 0) & (cover != NODATA)}


def _count(
    name: str,
    info: ChipInfo,
    signature: Signature,
    probabilities: NDArray[np.float32],
    truth: NDArray[np.uint8],
    classes: NDArray[np.uint8],
    inside: NDArray[np.bool_],
) -> Row:
    size = len(probabilities)
    valid = (truth != NODATA) & (classes != NODATA)
    pairs = truth[valid].astype(np.int64) * size + classes[valid]
    return Row(
        predictor=name,
        info=info,
        threshold=signature.threshold,
        pixels=int(inside.sum()),
        labelled=int((truth != NODATA).sum()),
        unseen=int((classes == NODATA)[inside].sum()),
        confusion=np.bincount(pairs, minlength=size * size).reshape(size, size).astype(np.int64),
        histogram=_histogram(probabilities[:, valid], truth[valid]),
    )


def _histogram(probabilities: NDArray[np.float32], truth: NDArray[np.uint8]) -> NDArray[np.float64]:
    if len(probabilities) == 2:
        stated, right = probabilities[1], truth == 1
    else:
        stated, right = probabilities.max(axis=0), probabilities.argmax(axis=0) == truth
    stated = np.clip(stated.astype(np.float64), 0.0, 1.0)
    bins = np.minimum((stated * BINS).astype(np.int64), BINS - 1)
    parts = ((~right).astype(np.float64), right.astype(np.float64), stated)
    return np.stack([np.bincount(bins, weights=part, minlength=BINS) for part in parts])
