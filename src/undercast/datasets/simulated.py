"""Simulated chips, numbered by seed: as many as one likes, each its own place, its own event and its own truth."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undercast.bands import Modality
from undercast.chip import Chip, ChipInfo
from undercast.errors import InputError
from undercast.simulate import MODALITIES, simulate_chip
from undercast.task import TASKS, Task


def _digest_of_simulator() -> str:
    state = hashlib.sha256()
    for file in sorted(Path(str(files("undercast.simulate"))).glob("*.py")):
        state.update(file.read_bytes())
    return state.hexdigest()


# Taken when the simulator is loaded, so that a source edited later does not lend its name to older code.
SIMULATOR = _digest_of_simulator()
"""sha256 of the simulator's source, hexadecimal: another simulator makes other chips from the same seed."""


@dataclass(frozen=True)
class SimulatedChips:
    """Chips of ``size`` × ``size`` pixels simulated from the seeds ``first_seed`` to ``first_seed + count - 1``.

    ``roles`` and ``targets`` are those kept, and alone simulated. Images are rounded to half precision (0.02 dB, 5e-4
    of reflectance), the DEM excepted, so that a chip is the same whether it was simulated or read from ``cache``, a
    folder of one file a chip. Its folders' names tell task, size, layers and simulator: what another simulator made is
    never read. ``region`` is for the task landslide: ``hills``, ``ranges``, or either of them where empty. ``cloud`` is
    the share of cloud of every chip, in place of the one drawn for it: the same ground under other skies.

    Raises:
        InputError: unknown task or role, a negative seed, count or size, or a share of cloud beyond 0 to 1.
        ConfigError: unknown target, once a chip is asked for.
    """

    first_seed: int
    count: int
    size: int = 256
    task_name: str = "flood"
    roles: tuple[str, ...] = ("s1", "s2")
    targets: tuple[str, ...] = ("flood", "flood_weak")
    cache: Path | None = None
    region: str = ""
    cloud: float | None = None

    def __post_init__(self) -> None:
        if self.first_seed < 0 or self.count < 1 or self.size < 1:
            raise InputError(f"cannot simulate {self.count} chips of {self.size} pixels from seed {self.first_seed}")
        if self.cloud is not None and not 0 <= self.cloud <= 1:
            raise InputError(f"a share of cloud of {self.cloud} cannot be; give one from 0 to 1")
        if self.task_name not in TASKS:
            raise InputError(f"cannot simulate task '{self.task_name}'; known: {', '.join(TASKS)}")
        if unknown := [role for role in self.roles if role not in MODALITIES] or not self.roles:
            raise InputError(f"cannot simulate role {unknown}; known: {', '.join(MODALITIES)}")

    @property
    def task(self) -> Task:
        """What the targets answer."""
        return TASKS[self.task_name]

    @property
    def modalities(self) -> Mapping[str, Modality]:
        """The modalities of ``roles``."""
        return {role: MODALITIES[role] for role in self.roles}

    @cached_property
    def index(self) -> Sequence[ChipInfo]:
        """One entry a seed: a scene of its own is a place and an event of its own."""
        return [ChipInfo(name, event=name, place=name, split="simulated") for name in map(_name, self._seeds)]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Chip:
        seed = self._seeds[number]
        file = self._file(seed)
        if file is not None and file.is_file():
            return self._read(file, seed)
        chip = self._simulate(seed)
        if file is not None:
            _write(file, chip)
        return chip

    def fill(self, workers: int = 2, progress: Callable[[int], None] = lambda done: None) -> None:
        """Simulate what ``cache`` lacks, over ``workers`` processes; ``progress`` is called with the chips there are.

        Raises:
            InputError: there is no cache to fill.
        """
        if self.cache is None:
            raise InputError("there is no cache to fill; give a folder")
        missing = [n for n, seed in enumerate(self._seeds) if (file := self._file(seed)) and not file.is_file()]
        progress(self.count - len(missing))
        if not missing:
            return
        # spawn: a forked child inherits the locks of threads that numpy or torch may hold.
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            for done, _ in enumerate(pool.map(self._touch, missing, chunksize=4), start=1):
                progress(self.count - len(missing) + done)

    @property
    def _seeds(self) -> range:
        return range(self.first_seed, self.first_seed + self.count)

    def _touch(self, number: int) -> None:
        self[number]

    def _file(self, seed: int) -> Path | None:
        if self.cache is None:
            return None
        layers = "+".join((*self.roles, *self.targets))
        name = f"{self.task_name}-{self.region}" if self.region else self.task_name
        sky = "" if self.cloud is None else f"-cloud{self.cloud:g}"
        folder = f"{name}-{self.size}-{layers}{sky}-{SIMULATOR[:8]}"
        return self.cache / folder / f"{seed:08d}.npz"

    def _simulate(self, seed: int) -> Chip:
        layers = (*self.roles, *self.targets)
        whole = simulate_chip(seed, self.size, self.task_name, layers, self.region, cloud=self.cloud)
        images = {role: _stored(role, whole.images[role]).astype(np.float32) for role in self.roles}
        name = _name(seed)
        targets = {target: whole.targets[target] for target in self.targets}
        return Chip(name, images, targets, event=name, place=name)

    def _read(self, file: Path, seed: int) -> Chip:
        with np.load(file) as arrays:
            images = {role: arrays[f"image:{role}"].astype(np.float32) for role in self.roles}
            targets = {target: arrays[f"target:{target}"] for target in self.targets}
        name = _name(seed)
        return Chip(name, images, targets, event=name, place=name)


def _name(seed: int) -> str:
    return f"simulated-{seed:08d}"


def _stored(role: str, image: NDArray[np.float32]) -> NDArray[np.generic]:
    return image if MODALITIES[role].unit == "metre" else image.astype(np.float16)


def _write(file: Path, chip: Chip) -> None:
    """Written aside and renamed, so that a chip half written by a killed run is never read."""
    file.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {f"image:{role}": _stored(role, image) for role, image in chip.images.items()}
    arrays |= {f"target:{name}": target for name, target in chip.targets.items()}
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    with aside.open("wb") as stream:
        np.savez(stream, **arrays)
    aside.replace(file)
