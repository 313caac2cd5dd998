"""Which chips a recipe takes: a data set, and what of it."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from undercast.chip import ChipSource
from undercast.config import Settings
from undercast.datasets import LandslideCubes, SimulatedChips, open_dataset
from undercast.datasets.split import balanced, labelled, select, without


class ChipChoice(Settings):
    """A data set and the part of it that is meant; everything left out means all."""

    source: str = Field(description="a folder, or simulated:[TASK[/REGION]:]FIRST_SEED+COUNT[@SIZE]")
    split: str = Field(default="", description="only chips of this split")
    events: tuple[str, ...] = Field(default=(), description="only chips of these events")
    without: tuple[str, ...] = Field(default=(), description="no chips of these events")
    count: int = Field(default=0, ge=0, description="so many of them, drawn by the run's seed; 0: all")
    balance: str = Field(default="", description="target whose class 1 half of the drawn chips hold; empty: by chance")

    repeat: int = Field(default=1, ge=1, description="how often each is seen where data sets are joined")

    def open(
        self, roles: Sequence[str], targets: Sequence[str], *, seed: int = 0, cache: Path | None = None
    ) -> ChipSource:
        """The chips. Simulated ones hold ``roles`` and ``targets`` only, and are kept in the folder ``cache``.

        Raises:
            InputError: there is no such data set, split, event, or not so many chips.
        """
        source = open_dataset(self.source)
        if isinstance(source, SimulatedChips):
            source = dataclasses.replace(source, roles=tuple(roles), targets=tuple(targets), cache=cache)
        elif isinstance(source, LandslideCubes):
            source = source.only(roles)
        if self.split:
            source = select(source, split=self.split)
        if self.events:
            source = select(source, event=self.events)
        if self.without:
            source = without(source, event=self.without)
        if self.count and self.balance:
            source = balanced(source, count=self.count, target=self.balance, seed=seed)
        elif self.count:
            source = labelled(source, count=self.count, seed=seed)
        return source

    def __str__(self) -> str:
        """What a model card says of it."""
        parts = [self.source]
        parts += [f"split {self.split}"] if self.split else []
        parts += [f"events {', '.join(self.events)}"] if self.events else []
        parts += [f"without {', '.join(self.without)}"] if self.without else []
        drawn = f"{self.count} drawn, half of them with {self.balance}" if self.balance else f"{self.count} drawn"
        parts += [drawn] if self.count else []
        parts += [f"each {self.repeat} times as often"] if self.repeat > 1 else []
        return ", ".join(parts)
