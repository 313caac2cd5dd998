"""Balanced splits: whole places are dealt to parts, and each part has as many chips without the event as with it."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def deal(weights: Mapping[str, int], shares: Mapping[str, float], seed: int = 0) -> dict[str, str]:
    """A part for each place, so that the parts hold about their ``shares`` of all ``weights`` (event chips a place).

    Places come in an order that ``seed`` gives, heavy ones first, and go to the part that lacks most; those of weight 0
    are dealt by number. The same for the same places.
    """
    shuffled = [str(name) for name in np.random.default_rng(seed).permutation(sorted(weights))]
    order = sorted(shuffled, key=lambda name: -weights[name])
    total, empty = sum(weights.values()), sum(weight == 0 for weight in weights.values())
    held, placed = dict.fromkeys(shares, 0), dict.fromkeys(shares, 0)
    found = {}
    for name in order:
        if weights[name]:
            part = max(shares, key=lambda part: shares[part] * total - held[part])
            held[part] += weights[name]
        else:
            part = max(shares, key=lambda part: shares[part] * empty - placed[part])
            placed[part] += 1
        found[name] = part
    return found


def draw_balanced(
    positive: Sequence[T], negative: Sequence[T], seed: int = 0, sound: Callable[[T], bool] = lambda _: True
) -> list[T]:
    """All of ``positive`` that are ``sound`` and as many of ``negative``, drawn by ``seed``, as far as there are.

    ``negative`` are asked whether they are sound only until enough were found. Both keep the order they were given in.
    """
    kept = [item for item in positive if sound(item)]
    chosen: list[int] = []
    for number in np.random.default_rng(seed).permutation(len(negative)):
        if len(chosen) == len(kept):
            break
        if sound(negative[int(number)]):
            chosen.append(int(number))
    return kept + [negative[number] for number in sorted(chosen)]
