"""Chips that carry what a teacher answered about them, asked once about each whole chip.

A crop, a turn or a flip of the chip is then one of the answer too, so a teacher of many networks and views costs a step
of training no more than a single one. Kept on disk by digest, they are there for the next student too.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from undercast.bands import Modality
from undercast.chip import Chip
from undercast.datasets.derived import Derived
from undercast.errors import ConfigError
from undercast.predict import Predictor, answer

ANSWER = "answer"
"""The role of the answers: a probability a class, NaN where the teacher did not see all it looks at."""


@dataclass(frozen=True)
class Answered(Derived):
    """The chips of ``source`` with the role ``answer``; of their images only those of ``roles`` are kept.

    With ``folder`` an answer is asked for once and kept there, in half precision, under the ``digest`` of the teacher
    and that of the images it was asked about, so that no answer outlives a change of either.

    Raises:
        ConfigError: the teacher answers on another grid than the images.
    """

    teacher: Predictor
    roles: tuple[str, ...]
    folder: Path | None = None
    digest: str = ""

    def __post_init__(self) -> None:
        if self.teacher.signature.task.scale != 1:
            raise ConfigError(f"{self.teacher.signature.name} answers on another grid than its images: ask it in crops")

    @property
    def modalities(self) -> Mapping[str, Modality]:
        """What the images kept mean, and the answer: a band a class, 0 to 1."""
        classes = tuple(label.name for label in self.teacher.signature.task.classes)
        answers = Modality(instrument="teacher", bands=classes, unit="relative", valid_range=(0.0, 1.0))
        return {role: self.source.modalities[role] for role in self.roles} | {ANSWER: answers}

    def __getitem__(self, number: int) -> Chip:
        """Chip ``number`` with its answer; without a folder the teacher is asked each time, so keep what is read."""
        chip = self.source[number]
        images = {role: chip.images[role] for role in self.roles}
        return Chip(chip.key, images | {ANSWER: self._answer(chip)}, chip.targets, chip.event, chip.place)

    def _answer(self, chip: Chip) -> NDArray[np.float32]:
        asked = {role: chip.images[role] for role in self.teacher.signature.inputs}
        file = self._file(asked)
        if file is not None and file.is_file():
            return np.asarray(np.load(file), np.float32)
        seen = np.logical_and.reduce([chip.valid(role) for role in asked])
        answered = np.where(seen, answer(self.teacher, asked), np.float32(np.nan)).astype(np.float32)
        if file is None:
            return answered
        _write(file, answered.astype(np.float16))
        # As it will be read, so that what a chip carries does not depend on when it was asked about.
        return answered.astype(np.float16).astype(np.float32)

    def _file(self, asked: Mapping[str, NDArray[np.float32]]) -> Path | None:
        if self.folder is None:
            return None
        state = hashlib.sha256()
        for role, image in asked.items():
            state.update(f"{role} {image.shape}".encode() + image.tobytes())
        return self.folder / self.digest[:16] / f"{state.hexdigest()[:32]}.npy"


def _write(file: Path, answers: NDArray[np.float16]) -> None:
    """Aside first, so that an answer half written by a killed run is never read."""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    with aside.open("wb") as stream:
        np.save(stream, answers)
    aside.replace(file)
