"""Weak labels, as a threshold on the optical image makes them, and how a map of water occurrence improves them.

The rule is [Garg 2023, Fig. 6]'s in outline; its thresholds are tried at 50, 75 and 90 %, our choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from undercast.chip import Chip
from undercast.datasets.choose import ChipChoice
from undercast.datasets.derived import Derived
from undercast.errors import InputError

OCCURRENCE = "occurrence"


def improve(label: NDArray[np.uint8], occurrence: NDArray[np.float32], at_least: float) -> NDArray[np.uint8]:
    """``label`` ``[H, W]`` with 1 wherever ``occurrence`` ``[H, W]``, percent of looks that saw water, is that high.

    A dry or unlabelled (255) pixel becomes water; where the occurrence is not known (NaN) nothing changes.
    """
    with np.errstate(invalid="ignore"):
        return np.where(occurrence >= at_least, np.uint8(1), label)


@dataclass(frozen=True)
class WeakLabels(Derived):
    """The chips of ``source``, their target ``weak`` under the name ``target``, improved if ``at_least`` is not 0.

    Raises:
        InputError: they are to be improved, and the source has no role ``occurrence``.
    """

    weak: str
    target: str
    at_least: float = 0.0

    def __post_init__(self) -> None:
        if self.at_least and OCCURRENCE not in self.source.modalities:
            known = ", ".join(self.source.modalities)
            raise InputError(f"weak labels are improved with the role '{OCCURRENCE}'; the chips have {known}")

    def __getitem__(self, number: int) -> Chip:
        """Chip ``number``, its weak label in the place of another. Raises InputError where it has none."""
        chip = self.source[number]
        if self.weak not in chip.targets:
            raise InputError(f"chip {chip.key}: has no target '{self.weak}', only {', '.join(chip.targets) or 'none'}")
        label = chip.targets[self.weak]
        if self.at_least:
            label = improve(label, chip.images[OCCURRENCE][0], self.at_least)
        return Chip(chip.key, chip.images, {self.target: label}, chip.event, chip.place)


class WeakChoice(ChipChoice):
    """Chips with weak labels."""

    weak: str = Field(default="flood_weak", description="target that holds the weak label")
    occurrence: float = Field(
        default=0.0, ge=0, le=100, description="water where it was seen in at least this percent of looks; 0: not used"
    )

    def open_as(self, roles: Sequence[str], target: str, *, seed: int = 0, cache: Path | None = None) -> "WeakLabels":
        """The chips with their weak labels as ``target``; see :meth:`ChipChoice.open`."""
        more = (OCCURRENCE,) if self.occurrence and OCCURRENCE not in roles else ()
        source = self.open((*roles, *more), (self.weak,), seed=seed, cache=cache)
        return WeakLabels(source, self.weak, target, self.occurrence)

    def __str__(self) -> str:
        """What a model card says of it."""
        improved = f", water where seen in {self.occurrence:g} % of looks" if self.occurrence else ""
        return f"{super().__str__()}, weak labels{improved}"
