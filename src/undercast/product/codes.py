"""What a pixel of ``class.tif`` says, in which colour; probabilities to codes.

Dry, not observed, excluded, cloudy and out of the model's domain are five different answers.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from undercast.config import Settings
from undercast.errors import ModelError
from undercast.task import NODATA, Task

DRY, PERMANENT, FLOOD, WATER, UNCERTAIN = 0, 1, 2, 3, 4
TERRAIN, HIDDEN, OUTSIDE, CLOUD = 250, 251, 252, 253


class Entry(NamedTuple):
    """One code: its value, its key in ``summary.json``, its name in words, and its colour (``#rrggbb``).

    ``event``: it is what the map is made to find, and gets polygons.
    """

    value: int
    key: str
    name: str
    color: str
    event: bool = False

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green and blue, 0 to 255."""
        return int(self.color[1:3], 16), int(self.color[3:5], 16), int(self.color[5:7], 16)


# Blue water and peach land are the colours of the figures of [Garg 2023].
FLOOD_ENTRIES = (
    Entry(DRY, "dry", "dry", "#f3d9b8"),
    Entry(PERMANENT, "permanent_water", "permanent or reference water", "#0b2f6b"),
    Entry(FLOOD, "flood", "flood", "#e4572e", event=True),
    Entry(WATER, "water", "water, not told apart", "#1f6fd6", event=True),
    Entry(UNCERTAIN, "uncertain", "uncertain", "#b58bd1"),
)
NO_ANSWER_ENTRIES = (
    Entry(TERRAIN, "excluded_terrain", "excluded: terrain", "#8c7b6b"),
    Entry(HIDDEN, "layover_shadow", "layover or shadow", "#6b5f57"),
    Entry(OUTSIDE, "outside_domain", "outside the training domain", "#c2b280"),
    Entry(CLOUD, "cloud", "cloud", "#ffffff"),
    Entry(NODATA, "not_observed", "not observed", "#262626"),
)


class CodeConfig(Settings):
    """When a pixel is called a class."""

    uncertain_band: float = Field(
        default=0.02, ge=0, lt=0.5, description="flood: 'uncertain' nearer to the threshold than this, probability"
    )
    cloud_excess: float = Field(
        default=0.1,
        gt=0,
        description="an image that the model restores is cloudy where it is this much brighter, mean reflectance",
    )
    cloud_likelihood: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="code 253 where it is cloudy, nothing else was seen and the likeliest class has less; 0: never",
    )


def entries_of(task: Task) -> tuple[Entry, ...]:
    """The codes a product of ``task`` may hold, in order of value."""
    if task.name == "flood":
        return FLOOD_ENTRIES + NO_ANSWER_ENTRIES
    own = tuple(
        Entry(
            label.value, label.name.replace(" ", "_"), label.name, label.color, label.value > 0 or not task.background
        )
        for label in task.classes
    )
    keys = {entry.key for entry in own}  # where cloud is what was asked for, it is a class and no reason for none
    return own + tuple(entry for entry in NO_ANSWER_ENTRIES if entry.key not in keys)


def encode(
    probabilities: NDArray[np.float32], task: Task, threshold: float, config: CodeConfig | None = None
) -> NDArray[np.uint8]:
    """Codes ``[h, w]`` uint8 of probabilities ``[K, h, w]``; 255 where they are NaN.

    Flood: 3 (water not told apart) from ``threshold`` up, 4 within the uncertain band around it, else 0. Other tasks:
    class 1 from ``threshold`` up where there are two, else the most probable class.
    """
    config = config or CodeConfig()
    codes: NDArray[np.uint8]
    unseen = _unseen(probabilities[-1])
    if len(task) > 2:
        codes = probabilities.argmax(axis=0).astype(np.uint8)
    else:
        positive = probabilities[1]
        codes = (positive >= threshold).astype(np.uint8)
        if task.name == "flood":
            codes *= WATER
            codes[np.abs(positive - threshold) < config.uncertain_band] = UNCERTAIN
    if unseen is not None:
        codes[unseen] = NODATA
    return codes


def tell_apart(codes: NDArray[np.uint8], reference: NDArray[np.bool_], known: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Flood codes ``[h, w]`` with water (3) told apart where a reference is ``known``: 1 where it is water, else 2."""
    water = (codes == WATER) & known
    return np.where(water, np.where(reference, PERMANENT, FLOOD), codes).astype(np.uint8)


def overrule(
    codes: NDArray[np.uint8],
    outside: NDArray[np.bool_],
    terrain: NDArray[np.bool_] | None = None,
    hidden: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """Codes ``[h, w]`` where the answer does not count, each mask ``[h, w]``: 252, over it 250, over both 251.

    Terrain that holds no flood water leaves permanent water as it is: there a reference and the image agree.
    """
    observed, permanent = codes != NODATA, codes == PERMANENT
    codes = codes.copy()
    codes[outside & observed] = OUTSIDE
    if terrain is not None:
        codes[terrain & observed & ~permanent] = TERRAIN
    if hidden is not None:
        codes[hidden & observed] = HIDDEN
    return codes


def decline(codes: NDArray[np.uint8], cloud: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Codes ``[h, w]`` with 253 where a class was called and ``cloud`` ``[h, w]`` says that it is a guess."""
    return np.where(cloud & (codes < TERRAIN), np.uint8(CLOUD), codes)


def input_entries(roles: Sequence[str]) -> tuple[Entry, ...]:
    """What ``inputs.tif`` may hold for a model of ``roles``: each set of them as a sum of 1, 2, 4 …, and 255 for none.

    Raises:
        ModelError: there are more than seven roles, so that they do not fit a byte beside 255.
    """
    if len(roles) > 7:
        raise ModelError(f"a model of {len(roles)} images cannot be mapped: {', '.join(roles)} do not fit in 7 bits")
    sets = [[role for bit, role in enumerate(roles) if flags >> bit & 1] for flags in range(1, 2 ** len(roles))]
    named = [
        Entry(flags, "_and_".join(some), " and ".join(some), _shade(flags)) for flags, some in enumerate(sets, start=1)
    ]
    return (*named, Entry(NODATA, "none", "nothing seen", "#262626"))


def _shade(flags: int) -> str:
    """A colour for a set of images: those that come often, apart from one another."""
    return ("#e6b450", "#5b7fa6", "#7fae72", "#b58bd1", "#c8403a", "#8c7b6b", "#4f9d9d")[(flags - 1) % 7]


def to_percent(probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Likelihood ``[h, w]`` uint8, 0 to 100, 255 where NaN: of class 1 where there are two, else of the likeliest."""
    chosen = probabilities[1] if len(probabilities) == 2 else probabilities.max(axis=0)
    percent = chosen * np.float32(100)
    np.rint(percent, out=percent)
    np.clip(percent, 0, 100, out=percent)
    unseen = _unseen(percent)
    if unseen is not None:
        percent[unseen] = NODATA
    codes: NDArray[np.uint8] = percent.astype(np.uint8)
    return codes


def _unseen(values: NDArray[np.float32]) -> NDArray[np.bool_] | None:
    """Where ``values`` are NaN; None where nowhere, as a minimum tells in a tenth of the time."""
    return np.isnan(values) if values.size and np.isnan(values.min()) else None
