"""Chips that carry what a teacher answered about them, asked once about each whole chip.

A crop, a turn or a flip of the chip is then one of the answer too, so a teacher of many networks and views costs a step
of training no more than a single one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from undercast.bands import Modality
from undercast.chip import Chip, ChipInfo, ChipSource
from undercast.errors import ConfigError
from undercast.predict import Predictor, answer
from undercast.task import Task

ANSWER = "answer"
"""The role of the answers: a probability a class, NaN where the teacher did not see all it looks at."""


@dataclass(frozen=True)
class Answered:
    """The chips of ``source`` with the role ``answer``; of their images only those of ``roles`` are kept.

    Raises:
        ConfigError: the teacher answers on another grid than the images.
    """

    source: ChipSource
    teacher: Predictor
    roles: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.teacher.signature.task.scale != 1:
            raise ConfigError(f"{self.teacher.signature.name} answers on another grid than its images: ask it in crops")

    @property
    def task(self) -> Task:
        """The task of the source."""
        return self.source.task

    @property
    def modalities(self) -> Mapping[str, Modality]:
        """What the images kept mean, and the answer: a band a class, 0 to 1."""
        classes = tuple(label.name for label in self.teacher.signature.task.classes)
        answers = Modality(instrument="teacher", bands=classes, unit="relative", valid_range=(0.0, 1.0))
        return {role: self.source.modalities[role] for role in self.roles} | {ANSWER: answers}

    @property
    def index(self) -> Sequence[ChipInfo]:
        """One entry a chip, in order."""
        return self.source.index

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, number: int) -> Chip:
        """Chip ``number`` with its answer; the teacher is asked each time, so keep what is read."""
        chip = self.source[number]
        asked = {role: chip.images[role] for role in self.teacher.signature.inputs}
        seen = np.logical_and.reduce([chip.valid(role) for role in asked])
        answered = np.where(seen, answer(self.teacher, asked), np.float32(np.nan))
        images = {role: chip.images[role] for role in self.roles}
        return Chip(chip.key, images | {ANSWER: answered.astype(np.float32)}, chip.targets, chip.event, chip.place)
