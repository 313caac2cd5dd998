"""What is in a data set, split by split: how much of each class, and what its splits share that they should not."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from undercast.chip import ChipInfo, ChipSource
from undercast.task import NODATA


@dataclass(frozen=True)
class Balance:
    """One split: its chips and events, and the pixels of each class; ``unlabelled`` pixels are 255, or of no label."""

    split: str
    chips: int
    events: int
    unlabelled: int
    pixels: Mapping[str, int]

    @property
    def shares(self) -> dict[str, float]:
        """Share of the labelled pixels that is of each class; 0 where nothing is labelled."""
        total = max(sum(self.pixels.values()), 1)
        return {name: count / total for name, count in self.pixels.items()}


@dataclass(frozen=True)
class Shared:
    """What two splits have in common: names of events, places or chips."""

    first: str
    second: str
    by: str
    names: tuple[str, ...]

    def __str__(self) -> str:
        shown = ", ".join(self.names[:5]) + (f" and {len(self.names) - 5} more" if len(self.names) > 5 else "")
        return f"{self.first} and {self.second} share the {self.by} {shown}"


def balance(
    source: ChipSource, *, target: str | None = None, progress: Callable[[int], None] = lambda done: None
) -> list[Balance]:
    """Class balance of every split of ``source``, in the order they first come; reads every chip.

    Counted is ``target``; by default the task's own, or a chip's weak label (``<task>_weak``) where it has no other.
    """
    wanted = (target,) if target else (source.task.name, f"{source.task.name}_weak")
    classes = [label.name for label in source.task.classes]
    counts: dict[str, NDArray[np.int64]] = {}
    for number, info in enumerate(source.index):
        chip = source[number]
        named = next((name for name in wanted if name in chip.targets), None)
        label = chip.targets[named] if named else np.full(chip.shape, NODATA, np.uint8)
        counts[info.split] = counts.get(info.split, np.zeros(256, np.int64)) + np.bincount(label.ravel(), minlength=256)
        progress(number + 1)
    members = _by_split(source)
    return [
        Balance(
            split=split,
            chips=len(members[split]),
            events=len({info.event for info in members[split]}),
            unlabelled=int(count[len(classes) :].sum()),
            pixels=dict(zip(classes, count.tolist(), strict=False)),
        )
        for split, count in counts.items()
    ]


def leaks(source: ChipSource) -> list[Shared]:
    """Every event, place and chip that two splits of ``source`` share; reads no chip."""
    members = _by_split(source)
    names = list(members)
    found = []
    for number, first in enumerate(names):
        for second in names[number + 1 :]:
            for by in ("event", "place", "key"):
                here, there = ({getattr(info, by) for info in members[split]} - {""} for split in (first, second))
                if common := sorted(here & there):
                    found.append(Shared(first or "(no split)", second or "(no split)", by, tuple(common)))
    return found


def _by_split(source: ChipSource) -> dict[str, list[ChipInfo]]:
    members: dict[str, list[ChipInfo]] = {}
    for info in source.index:
        members.setdefault(info.split, []).append(info)
    return members
