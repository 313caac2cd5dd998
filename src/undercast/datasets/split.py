"""Which chips train and which test: by place and by event, never by chip.

Neighbouring chips of one flood are nearly copies of one another, so a split by chip measures memory
[Roberts 2017]. :func:`check_disjoint` refuses one.
"""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from undercast.chip import Chip, ChipInfo, ChipSource
from undercast.datasets.derived import Derived
from undercast.errors import InputError

Group = Literal["event", "place"]


@dataclass(frozen=True)
class Subset(Derived):
    """Some chips of a source, by number, in the order given. A :class:`~undercast.chip.ChipSource` itself."""

    numbers: tuple[int, ...]

    @property
    def index(self) -> Sequence[ChipInfo]:
        """One entry a chip, in order."""
        whole = self.source.index
        return [whole[number] for number in self.numbers]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, number: int) -> Chip:
        return self.source[self.numbers[number]]


def select(
    source: ChipSource,
    *,
    split: str | None = None,
    event: str | Collection[str] | None = None,
    place: str | Collection[str] | None = None,
    key: str | Collection[str] | None = None,
) -> Subset:
    """The chips of ``source`` that are of all that is given; each may be one name or several.

    Raises:
        InputError: a name that no chip has, or no chip that fits; the message lists the names there are.
    """
    asked = {"split": split, "event": event, "place": place, "key": key}
    wanted = {field: _names(value) for field, value in asked.items() if value is not None}
    for field, names in wanted.items():
        known = {getattr(info, field) for info in source.index}
        if unknown := sorted(names - known):
            raise InputError(f"no chip has {field} '{unknown[0]}'; there are {_listed(known)}")
    numbers = [
        number
        for number, info in enumerate(source.index)
        if all(getattr(info, field) in names for field, names in wanted.items())
    ]
    if not numbers:
        raise InputError("no chip has " + " and ".join(f"{f} {', '.join(sorted(n))}" for f, n in wanted.items()))
    return Subset(source, tuple(numbers))


def without(source: ChipSource, *, event: str | Collection[str]) -> Subset:
    """The chips of ``source`` of every other event. Raises InputError where none is left or the event is unknown."""
    dropped = {info.event for info in select(source, event=event).index}
    kept = tuple(number for number, info in enumerate(source.index) if info.event not in dropped)
    if not kept:
        raise InputError(f"without {', '.join(sorted(dropped))} no chip is left")
    return Subset(source, kept)


def leave_one_event_out(source: ChipSource) -> Iterator[tuple[str, Subset, Subset]]:
    """Each event with the chips to train on and those to test on, in the order of the events' names."""
    for event in sorted({info.event for info in source.index}):
        yield event, without(source, event=event), select(source, event=event)


def partition(source: ChipSource, share: float, *, seed: int, by: Group = "event") -> tuple[Subset, Subset]:
    """Chips to train on and chips held out, about ``share`` of the chips, cut between whole events or places.

    Groups are drawn in an order that the seed gives until ``share`` of the chips is held out; both sides hold at least
    one group.

    Raises:
        InputError: fewer than two groups, or a chip of unknown group.
    """
    _refuse_unknown(source, by)
    names = [getattr(info, by) for info in source.index]
    groups = sorted(set(names))
    if len(groups) < 2:
        raise InputError(f"all {len(source)} chips are of one {by} ('{groups[0]}'), so none can be held out")
    held: set[str] = set()
    for group in np.random.default_rng(seed).permutation(groups)[:-1]:
        if held and sum(name in held for name in names) >= share * len(names):
            break
        held.add(str(group))
    return (
        Subset(source, tuple(n for n, name in enumerate(names) if name not in held)),
        Subset(source, tuple(n for n, name in enumerate(names) if name in held)),
    )


def hold_out_places(index: Sequence[ChipInfo], *, share: float = 0.1) -> list[ChipInfo]:
    """``index`` with the split ``valid`` for the chips of about ``share`` of the places of split ``train``.

    For a data set that comes without such a split. Which places follows from their names alone; at least one where
    there are two. Chips of other splits, and those of unknown place, stay as they are.
    """
    places = sorted(
        {info.place for info in index if info.split == "train" and info.place},
        key=lambda place: hashlib.sha256(place.encode()).hexdigest(),
    )
    held = set(places[: max(1, round(share * len(places)))]) if len(places) > 1 else set()
    return [replace(info, split="valid") if info.split == "train" and info.place in held else info for info in index]


def folds(source: ChipSource, count: int, *, seed: int, by: Group = "place") -> list[tuple[Subset, Subset]]:
    """``count`` times chips to train on and chips held out; every chip is held out once, cut between whole groups.

    Groups are dealt out in an order that the seed gives, each to the fold with the fewest chips so far.

    Raises:
        InputError: fewer groups than folds, or a chip of unknown group.
    """
    _refuse_unknown(source, by)
    names = [getattr(info, by) for info in source.index]
    groups = sorted(set(names))
    if not 2 <= count <= len(groups):
        raise InputError(f"{len(groups)} {by}s cannot be cut into {count} folds; ask for 2 to {len(groups)}")
    fold_of: dict[str, int] = {}
    held = [0] * count
    for group in np.random.default_rng(seed).permutation(groups):
        fold = held.index(min(held))
        fold_of[str(group)] = fold
        held[fold] += names.count(str(group))
    return [
        (
            Subset(source, tuple(n for n, name in enumerate(names) if fold_of[name] != fold)),
            Subset(source, tuple(n for n, name in enumerate(names) if fold_of[name] == fold)),
        )
        for fold in range(count)
    ]


def labelled(source: ChipSource, *, count: int | None = None, fraction: float | None = None, seed: int = 0) -> Subset:
    """``count`` chips, or ``fraction`` of them (at least one), drawn by ``seed`` and kept in the source's order.

    With one seed a larger draw holds the smaller one, so that more labels never means other labels.

    Raises:
        InputError: not exactly one of the two is given, or more chips than there are.
    """
    if (count is None) == (fraction is None):
        raise InputError("give either a count or a fraction of chips to label")
    if count is None:
        assert fraction is not None
        if not 0 < fraction <= 1:
            raise InputError(f"the fraction of labelled chips must be above 0 and at most 1, not {fraction}")
        count = max(1, round(fraction * len(source)))
    if not 0 < count <= len(source):
        raise InputError(f"cannot label {count} of {len(source)} chips")
    drawn = np.random.default_rng(seed).permutation(len(source))[:count]
    return Subset(source, tuple(sorted(int(number) for number in drawn)))


def balanced(source: ChipSource, *, count: int, target: str, seed: int = 0) -> Subset:
    """``count`` chips, half of which (the larger half) hold class 1 of ``target``, drawn by ``seed``, in order.

    With one seed a larger draw holds the smaller one. Where there are not enough chips of one kind, others take their
    place. Reads the chips in the order they are drawn, as far as it needs.

    Raises:
        InputError: more chips than there are.
    """
    if not 0 < count <= len(source):
        raise InputError(f"cannot label {count} of {len(source)} chips")
    kinds: dict[bool, list[int]] = {True: [], False: []}
    wanted = {True: (count + 1) // 2, False: count // 2}
    for number in np.random.default_rng(seed).permutation(len(source)).tolist():
        if all(len(kinds[kind]) >= wanted[kind] for kind in kinds):
            break
        labels = source[number].targets.get(target)
        kinds[labels is not None and bool((labels == 1).any())].append(number)
    drawn = [number for kind in kinds for number in kinds[kind][: wanted[kind]]]
    spare = [number for kind in kinds for number in kinds[kind][wanted[kind] :]]
    return Subset(source, tuple(sorted([*drawn, *spare[: count - len(drawn)]])))


def check_disjoint(train: ChipSource, test: ChipSource, *, by: Sequence[Group] = ("event", "place")) -> None:
    """Refuse a test set that shares an event or a place with the training set.

    ``by=("place",)`` alone is for published splits that share events, such as Sen1Floods11's: say so beside the score.

    Raises:
        InputError: the message names a shared event, place or chip, or a chip of which neither is known.
    """
    for source in (train, test):
        for info in source.index:
            if not any(getattr(info, group) for group in by):
                raise InputError(
                    f"chip {info.key}: {' and '.join(by)} unknown, so it cannot be kept apart; add it to the index"
                )
    for field in (*by, "key"):
        seen = {getattr(info, field) for info in train.index} - {""}
        if shared := sorted(seen & {getattr(info, field) for info in test.index}):
            more = f" and {len(shared) - 1} more" if len(shared) > 1 else ""
            raise InputError(f"{field} '{shared[0]}'{more} is in training and in test; split by event and by place")


def _names(value: str | Collection[str]) -> set[str]:
    return {value} if isinstance(value, str) else set(value)


def _refuse_unknown(source: ChipSource, by: Group) -> None:
    for info in source.index:
        if not getattr(info, by):
            raise InputError(f"chip {info.key}: {by} unknown; add it to the index")


def _listed(names: Collection[str]) -> str:
    shown = sorted(name or "(none)" for name in names)
    return ", ".join(shown[:12]) + (f" and {len(shown) - 12} more" if len(shown) > 12 else "")
