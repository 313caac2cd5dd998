"""Predictor and chips → a table with one row a chip."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from undercast.chip import Chip, ChipInfo, ChipSource
from undercast.errors import InputError, ModelError
from undercast.evaluate.resolution import resample
from undercast.evaluate.table import BINS, CLEAR, COVERED, Row, Table
from undercast.predict import Predictor, answer
from undercast.signature import Signature
from undercast.task import NODATA

T = TypeVar("T", bound=np.generic)


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
