"""A data set with fewer bands than it has: what a smaller instrument would have seen."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from undercast.bands import Modality
from undercast.chip import Chip
from undercast.datasets.derived import Derived


@dataclass(frozen=True)
class OfBands(Derived):
    """The chips of ``source``, the images of the roles in ``bands`` with those bands only, in that order.

    ``instrument`` stands for the one that took them, where another's bands of the same names shall do as well.

    Raises:
        InputError: the source has no such role or band, once the modalities or a chip is asked for.
    """

    bands: Mapping[str, tuple[str, ...]]
    instrument: str = ""

    @cached_property
    def modalities(self) -> Mapping[str, Modality]:
        """The modalities of the source, with the bands that are left."""
        return {
            role: self._taken(modality.select(self.bands[role])) if role in self.bands else modality
            for role, modality in self.source.modalities.items()
        }

    def _taken(self, modality: Modality) -> Modality:
        return modality.model_copy(update={"instrument": self.instrument}) if self.instrument else modality

    def __getitem__(self, number: int) -> Chip:
        chip = self.source[number]
        images = {
            role: image[self.source.modalities[role].index(self.bands[role])] if role in self.bands else image
            for role, image in chip.images.items()
        }
        return Chip(chip.key, images, chip.targets, event=chip.event, place=chip.place)
