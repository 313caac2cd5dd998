"""Chips and batches: images by role, targets by name, and what was observed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from undercast.bands import Modality
from undercast.errors import InputError
from undercast.task import Task

if TYPE_CHECKING:
    from torch import Tensor

Images = Mapping[str, NDArray[np.float32]]
Targets = Mapping[str, NDArray[np.uint8]]


@dataclass(frozen=True)
class Chip:
    """A small co-registered piece of ground.

    ``images``: role → float32 ``[C, H, W]`` in the unit of its modality, NaN where nothing was seen.
    ``targets``: name → uint8 ``[h, w]``, 255 where there is no label; absent where the chip has none of that name.
    ``key`` names the chip, ``event`` and ``place`` say what must not be shared between splits.

    Raises:
        InputError: an image or target of the wrong number of axes or dtype, or images of different sizes.
    """

    key: str
    images: Images
    targets: Targets = field(default_factory=dict)
    event: str = ""
    place: str = ""

    def __post_init__(self) -> None:
        for role, image in self.images.items():
            if image.ndim != 3 or image.dtype != np.float32:
                raise InputError(
                    f"chip {self.key}: image '{role}' must be float32 [C, H, W], not {image.dtype} {image.shape}"
                )
        for name, target in self.targets.items():
            if target.ndim != 2 or target.dtype != np.uint8:
                raise InputError(
                    f"chip {self.key}: target '{name}' must be uint8 [H, W], not {target.dtype} {target.shape}"
                )
        sizes = {role: image.shape[1:] for role, image in self.images.items()}
        if len(set(sizes.values())) > 1:
            raise InputError(f"chip {self.key}: images differ in size: {sizes}")

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the images."""
        height, width = next(iter(self.images.values())).shape[1:]
        return int(height), int(width)

    def valid(self, role: str) -> NDArray[np.bool_]:
        """Where every band of ``role`` was seen, ``[H, W]`` bool. Unlabelled is not invalid."""
        return np.asarray(np.isfinite(self.images[role]).all(axis=0), np.bool_)


@dataclass(frozen=True)
class Batch:
    """Chips of one size, stacked.

    Tensors ``[B, C, H, W]`` float32 by role (NaN where unseen) and ``[B, h, w]`` int64 by target name.

    A chip without a target of some name carries 255 everywhere there: it is unlabelled, and still valid.
    """

    images: "dict[str, Tensor]"
    targets: "dict[str, Tensor]"

    def __len__(self) -> int:
        """Number of chips."""
        return int(next(iter(self.images.values())).shape[0])


@dataclass(frozen=True)
class ChipInfo:
    """What is known of a chip without reading it: enough to split by place and event, and never by chip."""

    key: str
    event: str = ""
    place: str = ""
    split: str = ""


class ChipSource(Protocol):
    """Chips by number, with what each is, known before any is read."""

    @property
    def task(self) -> Task:
        """What the targets answer."""

    @property
    def modalities(self) -> Mapping[str, Modality]:
        """What the images of each role mean."""

    @property
    def index(self) -> Sequence[ChipInfo]:
        """One entry a chip, in order."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> Chip: ...
