"""A user's own GeoTIFFs: a folder with ``index.csv``, a row a chip, and ``dataset.toml`` where the defaults do not fit.

``index.csv`` has a column ``key``; ``event``, ``place`` and ``split`` where known; for each role (``s1``, …) and
each target (``flood``, …) a column with the path of its file from the folder. A role in several files has a column a
band, ``s1:VV`` and ``s1:VH``. An empty cell is an image never taken or a label never drawn.

Files are read by the code that maps them (:class:`undercast.raster.Scene`): bands by description or name, decibels or
linear power, nodata, and alignment to the grid of the row's first role.
"""

import csv
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from undercast.bands import MODALITIES, Modality
from undercast.chip import Chip, ChipInfo
from undercast.config import Settings, load
from undercast.errors import InputError
from undercast.raster import Scene, Window, read_array
from undercast.task import NODATA, TASKS, Task

INDEX, CONFIG = "index.csv", "dataset.toml"
KNOWN = ("key", "event", "place", "split")
MODALITY_OF_ROLE = {
    **{"s1": "s1", "s1_pre": "s1", "s1_post": "s1", "dem": "dem", "occurrence": "occurrence"},
    **{"s2": "s2_l1c", "s2_pre": "s2_l1c", "s2_clear": "s2_l1c", "s2_cloudy": "s2_l1c"},
}


class DatasetConfig(Settings):
    """``dataset.toml``: what the columns of the index mean, where that is not plain from their names."""

    task: str | Task = Field(default="flood", description="a task's name, or its name and classes in full")
    roles: dict[str, str] = Field(default_factory=dict, description="role → modality, such as s2 = 's2_l2a'")
    targets: tuple[str, ...] = Field(default=(), description="label columns beside the task's own and its weak one")
    scale: dict[str, float] = Field(default_factory=dict, description="role → reflectance of one count, 1e-4 for S2")
    offset: dict[str, float] = Field(default_factory=dict, description="role → added to counts first, -1000 or 0")


class FolderChips:
    """The chips of an ``index.csv`` (see the module). ``path`` is the folder or the index file itself.

    Raises:
        InputError: the index is missing or empty, a column is unknown, a key or path is missing or given twice.
        ConfigError: ``dataset.toml`` is unsound.
    """

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        self.file = path / INDEX if path.is_dir() else path
        self.folder = self.file.parent
        config = self.folder / CONFIG
        self.config = load(config, DatasetConfig) if config.is_file() else DatasetConfig()
        self._task = self._find_task()
        self._rows, columns = _read_index(self.file)
        self._targets = self._target_columns(columns)
        self._inputs = [name for name in columns if name not in KNOWN and name not in self._targets]
        self._modalities = self._find_modalities()
        self._check_rows()

    @property
    def task(self) -> Task:
        """The task of ``dataset.toml``; flood by default."""
        return self._task

    @property
    def modalities(self) -> Mapping[str, Modality]:
        """The modality of each role that has a column."""
        return self._modalities

    @cached_property
    def index(self) -> Sequence[ChipInfo]:
        """One entry a row, in order."""
        return [ChipInfo(*(row.get(name, "") for name in KNOWN)) for row in self._rows]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> Chip:
        row, info = self._rows[number], self.index[number]
        given = [f"{name}={self.folder / row[name]}" for name in self._inputs if row[name]]
        roles = [role for role in self._modalities if any(row[c] for c in self._inputs if c.partition(":")[0] == role)]
        with Scene.open(given, self._modalities, roles, settle=False) as scene:
            images = scene.read(Window(0, 0, *scene.shape))
            shape = scene.shape
        for role, modality in self._modalities.items():
            absent = np.full((len(modality.bands), *shape), np.nan, np.float32)
            images[role] = self._scaled(role, images[role], info.key) if role in images else absent
        images = {role: images[role] for role in self._modalities}
        targets = {name: self._read_target(name, row[name], shape) for name in self._targets if row[name]}
        return Chip(info.key, images, targets, info.event, info.place)

    def _scaled(self, role: str, image: NDArray[np.float32], key: str) -> NDArray[np.float32]:
        if self._modalities[role].unit != "reflectance":
            return image
        image = (image + np.float32(self.config.offset.get(role, 0.0))) * np.float32(self.config.scale.get(role, 1.0))
        seen = image[np.isfinite(image)]
        if seen.size and np.median(seen) > 2:
            raise InputError(
                f"{self.file}: row {key}, column {role}: reflectance of {np.median(seen):.0f} looks like counts; "
                f"write [scale] {role} = 0.0001 into {self.folder / CONFIG} (and [offset] {role} = -1000 from "
                "baseline 04.00 on)"
            )
        return image

    def _read_target(self, name: str, cell: str, shape: tuple[int, int]) -> NDArray[np.uint8]:
        path = self.folder / cell
        raw, header = read_array(path)
        expected = tuple(int(size * self._task.scale) for size in shape) if name in self._own() else raw.shape[1:]
        if raw.shape != (1, *expected):
            raise InputError(f"{path}: target '{name}' is {raw.shape[1:]} with {len(raw)} bands, not {expected} with 1")
        values = raw[0].astype(np.float64)
        unlabelled = ~np.isfinite(values) | (values == NODATA)
        if header.nodata[0] is not None:
            unlabelled |= values == header.nodata[0]
        labels = np.where(unlabelled, NODATA, values)
        most = len(self._task) if name in self._own() else NODATA
        if (wrong := labels[~unlabelled & ((labels < 0) | (labels >= most) | (labels % 1 != 0))]).size:
            raise InputError(f"{path}: target '{name}' holds {wrong[0]:g}, which is no class; unlabelled is {NODATA}")
        return labels.astype(np.uint8)

    def _own(self) -> tuple[str, str]:
        return self._task.name, f"{self._task.name}_weak"

    def _find_task(self) -> Task:
        task = self.config.task
        if isinstance(task, Task):
            return task
        if task not in TASKS:
            raise InputError(f"{self.folder / CONFIG}: unknown task '{task}'; known: {', '.join(TASKS)}")
        return TASKS[task]

    def _target_columns(self, columns: Sequence[str]) -> list[str]:
        if missing := [name for name in self.config.targets if name not in columns]:
            raise InputError(f"{self.file}: no column '{missing[0]}', which {CONFIG} calls a target")
        return [name for name in columns if name in (*self._own(), *self.config.targets)]

    def _find_modalities(self) -> dict[str, Modality]:
        named = MODALITY_OF_ROLE | self.config.roles
        found = {}
        for column in self._inputs:
            role = column.partition(":")[0]
            if role not in named:
                raise InputError(
                    f"{self.file}: unknown column '{column}'; if it holds images write [roles] {role} = 's1' (or "
                    f"another modality) into {self.folder / CONFIG}, if it holds labels add it to targets there"
                )
            if named[role] not in MODALITIES:
                raise InputError(
                    f"{self.folder / CONFIG}: role {role}: unknown modality '{named[role]}'; "
                    f"known: {', '.join(MODALITIES)}"
                )
            found[role] = MODALITIES[named[role]]
        if not found:
            raise InputError(f"{self.file}: has no column with images, such as s1")
        return found

    def _check_rows(self) -> None:
        seen: set[str] = set()
        for line, row in enumerate(self._rows, start=2):
            key = row.get("key", "")
            if not key or key in seen:
                raise InputError(f"{self.file}: line {line}: key '{key}' is {'given twice' if key else 'missing'}")
            seen.add(key)
            for column in (*self._inputs, *self._targets):
                cell = row[column]
                if cell and not (self.folder / cell).exists() and "@" not in cell:
                    raise InputError(f"{self.file}: line {line}, column {column}: no such file {self.folder / cell}")
            if not any(row[column] for column in self._inputs):
                raise InputError(f"{self.file}: line {line}: chip {key} has no image")


def _read_index(path: Path) -> tuple[list[dict[str, str]], list[str]]:
    if not path.is_file():
        raise InputError(
            f"{path}: no such index; it is a CSV with the columns key, event, place, split, s1, … and flood"
        )
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, restval="")
        try:
            rows = [{(name or "").strip(): str(cell).strip() for name, cell in row.items()} for row in reader]
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{path}: is no CSV ({error})") from None
    columns = [name.strip() for name in reader.fieldnames or ()]
    if "key" not in columns or not rows:
        raise InputError(f"{path}: {'has no row' if 'key' in columns else 'has no column key'}")
    if any("" in row for row in rows):
        line = next(n for n, row in enumerate(rows, start=2) if "" in row)
        raise InputError(f"{path}: line {line} has more cells than the header")
    return rows, columns
