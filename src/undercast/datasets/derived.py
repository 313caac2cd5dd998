"""Chips made from the chips of another source."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from undercast.bands import Modality
from undercast.chip import Chip, ChipInfo, ChipSource
from undercast.task import Task


@dataclass(frozen=True)
class Derived(ABC):
    """A :class:`~undercast.chip.ChipSource` that is like ``source`` but for what a subclass says otherwise."""

    source: ChipSource

    @property
    def task(self) -> Task:
        """The task of the source."""
        return self.source.task

    @property
    def modalities(self) -> Mapping[str, Modality]:
        """The modalities of the source."""
        return self.source.modalities

    @property
    def index(self) -> Sequence[ChipInfo]:
        """One entry a chip, in order."""
        return self.source.index

    def __len__(self) -> int:
        return len(self.source)

    @abstractmethod
    def __getitem__(self, number: int) -> Chip:
        """Chip ``number``."""
