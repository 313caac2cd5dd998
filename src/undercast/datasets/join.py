"""Several data sets as one, so that a student can learn from simulated and real labels side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from undercast.bands import Modality
from undercast.chip import Chip, ChipInfo, ChipSource
from undercast.errors import InputError
from undercast.task import Task


@dataclass(frozen=True)
class Joined:
    """The chips of ``parts`` one after the other, as far as ``roles`` go; a part may be given several times.

    Raises:
        InputError: there are no parts, or they differ in the task or in what the pixels of a role mean.
    """

    parts: tuple[ChipSource, ...]
    roles: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise InputError("there is nothing to join: name at least one data set")
        for part in self.parts[1:]:
            if part.task != self.task:
                raise InputError(f"data sets of task '{self.task.name}' and '{part.task.name}' cannot be joined")
            for role in self.roles:
                if part.modalities.get(role) != self.modalities[role]:
                    raise InputError(f"data sets to join differ in role '{role}': {part.modalities.get(role)}")

    @property
    def task(self) -> Task:
        """The task of all parts."""
        return self.parts[0].task

    @property
    def modalities(self) -> Mapping[str, Modality]:
        """What the images of the joined roles mean."""
        return {role: self.parts[0].modalities[role] for role in self.roles}

    @cached_property
    def index(self) -> Sequence[ChipInfo]:
        """One entry a chip, part after part."""
        return [info for part in self.parts for info in part.index]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, number: int) -> Chip:
        """Chip ``number`` with its images of the joined roles. Raises IndexError beyond the end."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        for part in self.parts:
            if number < len(part):
                break
            number -= len(part)
        chip = part[number]
        images = {role: chip.images[role] for role in self.roles}
        return Chip(chip.key, images, chip.targets, event=chip.event, place=chip.place)
