"""Clouds of one chip laid over the ground of another: as many skies over each ground as there are chips.

The winners of On Cloud N pasted the clouds of one chip into another with little cover. Here the shadow comes with the
cloud: not its pixels, which show other ground, but by how much the donor's ground is darker in shadow, band by band.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from undercast.chip import Chip, ChipInfo
from undercast.datasets.derived import Derived
from undercast.errors import InputError
from undercast.task import NODATA

CLEAR, CLOUD, SHADOW = 0, 1, 2
SOFT = 1.5
"""Standard deviation over which a pasted edge blends into the ground, pixels."""


def paste(receiver: Chip, donor: Chip, *, role: str = "s2", target: str = "clouds") -> Chip:
    """``receiver`` under the clouds of ``donor``, chips of one size labelled clear, cloud and shadow.

    Where the donor is cloud the receiver's pixels are the donor's, blended at the edge; where it is shadow the
    receiver's are darkened. What the receiver has of cloud stays, and so does what it never saw. Pixels the donor did
    not see or has no label for are left as they were. Other roles and targets stay as they are.

    Raises:
        InputError: the chips differ in size, or one has no such label.
    """
    for chip in (receiver, donor):
        if target not in chip.targets:
            raise InputError(f"chip {chip.key}: has no label '{target}', so its clouds are not known")
    ground, sky = receiver.images[role], donor.images[role]
    labels, theirs = receiver.targets[target], donor.targets[target]
    if ground.shape != sky.shape or labels.shape != theirs.shape or labels.shape != ground.shape[1:]:
        raise InputError(f"chips {receiver.key} and {donor.key} differ in size or bands, or labels from images")
    seen, from_sky = receiver.valid(role), donor.valid(role)
    open_ground = seen & (labels != CLOUD) & (labels != NODATA)
    cloud = (theirs == CLOUD) & from_sky & open_ground
    shadow = (theirs == SHADOW) & from_sky & open_ground & ~cloud
    image = ground.copy()
    image[:, shadow & (labels != SHADOW)] *= _darkening(sky, theirs, from_sky)[:, None]
    # soft on the cloud's own side only: beyond it the donor's pixels are another ground
    weight = np.clip(2 * ndimage.gaussian_filter(cloud.astype(np.float32), SOFT) - 0.5, 0.5, 1)
    image = np.where(cloud, weight * np.where(cloud, sky, 0) + (1 - weight) * image, image).astype(np.float32)
    merged = np.where(cloud, CLOUD, np.where(shadow, SHADOW, labels)).astype(np.uint8)
    images, targets = {**receiver.images, role: image}, {**receiver.targets, target: merged}
    return Chip(receiver.key, images, targets, receiver.event, receiver.place)


def _darkening(sky: NDArray[np.float32], labels: NDArray[np.uint8], seen: NDArray[np.bool_]) -> NDArray[np.float32]:
    """By how much shadow dims each band of a chip, ``[C]``, 0.2 to 1; 1 where it shows no shadow or no clear ground."""
    dim, lit = sky[:, seen & (labels == SHADOW)], sky[:, seen & (labels == CLEAR)]
    if not dim.size or not lit.size:
        return np.ones(len(sky), np.float32)
    ratio = np.median(dim, axis=1) / np.maximum(np.median(lit, axis=1), 1e-3)
    return np.clip(ratio, 0.2, 1).astype(np.float32)


@dataclass(frozen=True)
class Pasted(Derived):
    """The chips of ``source``, and ``copies`` of each under the clouds of other chips of it.

    A copy's donor follows from ``seed`` and its number, and is of another event where there is one. Copies keep place
    and event of the ground; give a training set only, since its clouds go everywhere.

    Raises:
        InputError: fewer than two chips; sizes or labels that do not fit, once a chip is asked for.
    """

    copies: int = 1
    seed: int = 0
    role: str = "s2"
    target: str = "clouds"

    def __post_init__(self) -> None:
        if len(self.source) < 2:
            raise InputError("clouds can be pasted between at least two chips; there are fewer")

    @cached_property
    def index(self) -> Sequence[ChipInfo]:
        """The chips of the source, then its copies, each called after its ground."""
        own = list(self.source.index)
        pasted = [
            ChipInfo(f"{info.key}~{copy}", info.event, info.place, info.split)
            for copy in range(1, self.copies + 1)
            for info in own
        ]
        return own + pasted

    def __len__(self) -> int:
        return len(self.source) * (self.copies + 1)

    def __getitem__(self, number: int) -> Chip:
        """Chip ``number``. Raises IndexError beyond the end."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        copy, place = divmod(number, len(self.source))
        chip = self.source[place]
        if copy == 0:
            return chip
        chip = paste(chip, self.source[self.donor(number)], role=self.role, target=self.target)
        return Chip(self.index[number].key, chip.images, chip.targets, chip.event, chip.place)

    def donor(self, number: int) -> int:
        """Whose clouds copy ``number`` is under."""
        own = number % len(self.source)
        index = self.source.index
        others = [n for n, info in enumerate(index) if n != own and info.event != index[own].event]
        others = others or [n for n in range(len(index)) if n != own]
        return others[int(np.random.default_rng((self.seed, number)).integers(len(others)))]
