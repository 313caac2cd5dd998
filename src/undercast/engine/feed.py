"""Chips to batches: what a step sees is a function of the seed and the step alone, so a run can stop anywhere."""

from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from undercast.chip import Batch, Chip, ChipSource, Targets
from undercast.errors import TrainingError
from undercast.task import NODATA

Transform = Callable[[Chip, np.random.Generator], Chip]
"""Augmentation: a chip and a generator → a chip; all randomness from the generator."""


class Feed:
    """Batches of chips from a source, shuffled anew every epoch.

    Sample number ``n = step · batch + j`` takes chip ``permutation(seed, epoch)[n mod count]`` and the generator
    ``(seed, n)``; nothing else is remembered, so neither resuming nor the number of processes changes what a step sees.
    Chips are read once and kept in memory up to ``cache_gib``; what does not fit is read again each time.

    Args:
        source: the chips.
        roles: images a batch carries (after ``transform``).
        targets: targets a batch carries; 255 for a chip that has none of that name.
        batch: chips a step, over all processes together.
        seed: of the shuffle and the augmentation.
        transform: augmentation of one chip.
        cache_gib: memory for chips as read, GiB.

    Raises:
        TrainingError: the source is empty, or the batch smaller than one chip.
    """

    def __init__(
        self,
        source: ChipSource,
        roles: Sequence[str],
        targets: Sequence[str] = (),
        *,
        batch: int,
        seed: int,
        transform: Transform | None = None,
        cache_gib: float = 4.0,
    ) -> None:
        if len(source) == 0:
            raise TrainingError("a feed has no chips; check the split and the counts of the recipe")
        if batch < 1:
            raise TrainingError(f"a feed needs at least one chip a step, not {batch}")
        self.source, self.roles, self.targets = source, tuple(roles), tuple(targets)
        self.size, self.seed, self.transform = batch, seed, transform
        self._cache: dict[int, tuple[dict[str, NDArray[np.floating]], Targets]] = {}
        self._room = int(cache_gib * 2**30)
        self._order: tuple[int, NDArray[np.intp]] | None = None

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """This process's share of the batch of ``step``: every ``world``-th chip, from ``rank``.

        Raises:
            TrainingError: fewer chips a step than processes, a role that a chip lacks, or chips of different sizes.
        """
        if self.size < world:
            raise TrainingError(f"a batch of {self.size} cannot be shared by {world} processes; raise fit.batch")
        first = step * self.size
        return self._stack([self._sample(number) for number in range(first + rank, first + self.size, world)])

    def _sample(self, number: int) -> Chip:
        epoch, place = divmod(number, len(self.source))
        chip = self._read(int(self._permutation(epoch)[place]))
        if self.transform is not None:
            chip = self.transform(chip, np.random.default_rng((self.seed, number)))
        return chip

    def _permutation(self, epoch: int) -> NDArray[np.intp]:
        order = self._order  # one read: another thread may put the next epoch here at any time
        if order is None or order[0] != epoch:
            order = epoch, np.random.default_rng((self.seed, epoch, 1)).permutation(len(self.source))
            self._order = order
        return order[1]

    def _read(self, number: int) -> Chip:
        if number in self._cache:
            packed, targets = self._cache[number]
            info = self.source.index[number]
            images = {role: image.astype(np.float32, copy=False) for role, image in packed.items()}
            return Chip(info.key, images, targets, info.event, info.place)
        chip = self.source[number]
        packed = {role: _pack(image) for role, image in chip.images.items()}
        size = sum(image.nbytes for image in packed.values()) + sum(target.nbytes for target in chip.targets.values())
        if size <= self._room:
            self._room -= size
            self._cache[number] = packed, chip.targets
        return chip

    def _stack(self, chips: Sequence[Chip]) -> Batch:
        for chip in chips:
            missing = [role for role in self.roles if role not in chip.images]
            if missing:
                raise TrainingError(f"chip {chip.key} has no image '{missing[0]}'; it has {', '.join(chip.images)}")
            if chip.shape != chips[0].shape:
                raise TrainingError(
                    f"chips {chips[0].key} and {chip.key} differ in size ({chips[0].shape}, {chip.shape}); set a crop"
                )
        images = {role: torch.from_numpy(np.stack([chip.images[role] for chip in chips])) for role in self.roles}
        return Batch(images, {name: self._targets(chips, name) for name in self.targets})

    @staticmethod
    def _targets(chips: Sequence[Chip], name: str) -> torch.Tensor:
        shape = next((chip.targets[name].shape for chip in chips if name in chip.targets), chips[0].shape)
        blank = np.full(shape, NODATA, np.uint8)
        return torch.from_numpy(np.stack([chip.targets.get(name, blank) for chip in chips])).long()


def _pack(image: NDArray[np.float32]) -> NDArray[np.floating]:
    """``image`` in half precision where that loses nothing, as with simulated chips and counts; else as it is."""
    with np.errstate(over="ignore"):
        half = image.astype(np.float16)
    return half if np.array_equal(half, image, equal_nan=True) else image


def prefetch(
    feeds: Mapping[str, Feed], steps: range, rank: int, world: int, *, ahead: int = 3, workers: int = 1
) -> Generator[dict[str, Batch], None, None]:
    """The batches of ``steps``, made in the background ``ahead`` steps early; an exception there is raised here."""

    def make(step: int) -> dict[str, Batch]:
        return {name: feed.batch(step, rank, world) for name, feed in feeds.items()}

    pool = ThreadPoolExecutor(workers, thread_name_prefix="feed")
    waiting: deque[Future[dict[str, Batch]]] = deque()
    try:
        for step in steps:
            waiting.append(pool.submit(make, step))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
