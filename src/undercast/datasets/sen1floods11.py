"""Sen1Floods11 in its official layout: hand-labelled and weakly labelled floods in Sentinel-1 and -2 [Bonafilia 2020].

``v1.1/data/flood_events/HandLabeled/{S1Hand,S2Hand,LabelHand}/<EVENT>_<ID>_<LAYER>.tif`` and
``.../WeaklyLabeled/{S1Weak,S2Weak,S2IndexLabelWeak}/``; the official split in
``v1.1/splits/flood_handlabeled/flood_{train,valid,test,bolivia}_data.csv``. 512×512 pixels of about 10 m. Beside the
hand labels lies JRC's permanent water, ``JRCWaterHand``. A map of water occurrence is no part of the data set; one cut
to the chips (percent, ``Occurrence{Hand,Weak}/<EVENT>_<ID>_Occurrence{Hand,Weak}.tif``) is read where it is there.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from undercast.bands import OCCURRENCE, S1, S2_L1C, Modality
from undercast.chip import Chip, ChipInfo
from undercast.errors import InputError
from undercast.raster import read_array
from undercast.task import FLOOD, NODATA, Task

Part = Literal["hand", "weak"]

EVENTS = Path("data") / "flood_events"
# part → folder, suffix of the file names, layer of the labels, name of the target
LAYERS: dict[Part, tuple[str, str, str, str]] = {
    "hand": ("HandLabeled", "Hand", "LabelHand", "flood"),
    "weak": ("WeaklyLabeled", "Weak", "S2IndexLabelWeak", "flood_weak"),
}
PERMANENT = "JRCWaterHand"
APART = "Bolivia"
"""The event that the official split holds out whole."""
SPLITS = ("train", "valid", "test", "bolivia")


def version_folder(root: Path) -> Path | None:
    """The folder that holds ``data/flood_events``, at ``root`` or in its ``v1.1``; None where there is none."""
    return next((folder for folder in (root, root / "v1.1") if (folder / EVENTS).is_dir()), None)


class Sen1Floods11:
    """Chips of Sen1Floods11: ``parts`` ``hand`` (target ``flood``), ``weak`` (target ``flood_weak``), or both.

    Roles ``s1`` (VV, VH dB), ``s2`` (13 bands, top of atmosphere) and, where there is a map of it, ``occurrence``. A
    chip has all of them, so that any chips make a batch: where the file of one is missing its image is NaN throughout.
    Label -1 (no data, or cloud) is 255. Where JRC's permanent water is there, so are the targets ``permanent`` and
    ``flood_event``: the label with permanent water 255, for water that was not there before; our reading of "flood".

    The official split shares its events between training and test, all but Bolivia: the place of a chip is the chip
    itself, and only :func:`~undercast.datasets.split.check_disjoint` ``by=("place",)`` passes it. A chip in none of the
    split files has the split ``''``; a weakly labelled one ``weak``, or ``weak-bolivia``, which belongs in no training.

    Raises:
        InputError: ``root`` is not laid out so, or a part holds no chip.
    """

    def __init__(self, root: str | Path, parts: Sequence[Part] = ("hand",)) -> None:
        folder = version_folder(Path(root))
        if folder is None:
            raise InputError(f"{root}: is not laid out as Sen1Floods11 (v1.1/{EVENTS}/HandLabeled/S1Hand/…)")
        self.folder = folder
        self.parts = tuple(parts)
        self._chips = [(part, info) for part in self.parts for info in self._list(part)]

    @property
    def task(self) -> Task:
        """Water or dry; water is permanent water and flood together."""
        return FLOOD

    @property
    def modalities(self) -> Mapping[str, Modality]:
        """Sentinel-1 in dB, Sentinel-2 top of atmosphere."""
        found = {"s1": S1, "s2": S2_L1C}
        if any(self._folder(part, f"Occurrence{LAYERS[part][1]}").is_dir() for part in self.parts):
            found["occurrence"] = OCCURRENCE
        return found

    @cached_property
    def index(self) -> Sequence[ChipInfo]:
        """One entry a chip, by part and then by name."""
        return [info for _, info in self._chips]

    def __len__(self) -> int:
        return len(self._chips)

    def __getitem__(self, number: int) -> Chip:
        part, info = self._chips[number]
        _, suffix, layer, target = LAYERS[part]
        s1, _ = read_array(self._path(part, info.key, f"S1{suffix}"))
        images = {"s1": self._sized(s1.astype(np.float32), 2, self._path(part, info.key, f"S1{suffix}"))}
        optical = self._path(part, info.key, f"S2{suffix}")
        images["s2"] = np.full((13, *s1.shape[1:]), np.nan, np.float32)
        if optical.is_file():
            images["s2"] = _reflectance(self._sized(read_array(optical)[0], 13, optical))
        if "occurrence" in self.modalities:
            images["occurrence"] = self._occurrence(self._path(part, info.key, f"Occurrence{suffix}"), s1.shape[1:])
        return Chip(info.key, images, self._targets(part, info.key, layer, target), info.event, info.place)

    def _targets(self, part: Part, key: str, layer: str, target: str) -> dict[str, NDArray[np.uint8]]:
        file, permanent = self._path(part, key, layer), self._path(part, key, PERMANENT)
        found = {target: _label(read_array(file)[0][0], file)} if file.is_file() else {}
        if part == "hand" and permanent.is_file():
            values = read_array(permanent)[0][0]
            found["permanent"] = np.where(np.isin(values, (0, 1)), values, NODATA).astype(np.uint8)
            if target in found:
                found["flood_event"] = np.where(found["permanent"] == 1, np.uint8(NODATA), found[target])
        return found

    @staticmethod
    def _occurrence(path: Path, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Percent ``[1, H, W]``, NaN where it is not known (JRC writes 255)."""
        if not path.is_file():
            return np.full((1, *shape), np.nan, np.float32)
        values = read_array(path)[0][:1].astype(np.float32)
        return np.where((values >= 0) & (values <= 100), values, np.float32(np.nan))

    def _folder(self, part: Part, layer: str) -> Path:
        return self.folder / EVENTS / LAYERS[part][0] / layer

    def _path(self, part: Part, key: str, layer: str) -> Path:
        return self._folder(part, layer) / f"{key}_{layer}.tif"

    def _list(self, part: Part) -> Iterator[ChipInfo]:
        layer = f"S1{LAYERS[part][1]}"
        files = sorted(self._folder(part, layer).glob(f"*_{layer}.tif"))
        if not files:
            raise InputError(f"{self._folder(part, layer)}: holds no chip; is this part downloaded?")
        splits = _read_splits(self.folder / "splits" / "flood_handlabeled") if part == "hand" else {}
        for file in files:
            key = file.name.removesuffix(f"_{layer}.tif")
            event = key.partition("_")[0]
            weak = f"weak-{APART.lower()}" if event == APART else "weak"
            yield ChipInfo(key, event, place=key, split=splits.get(key, "") if part == "hand" else weak)

    @staticmethod
    def _sized(image: NDArray[np.generic], bands: int, path: Path) -> NDArray[np.float32]:
        if len(image) != bands:
            raise InputError(f"{path}: has {len(image)} bands, Sen1Floods11 has {bands} here")
        return image.astype(np.float32)


def _read_splits(folder: Path) -> dict[str, str]:
    """Chip key → split, from the official files; the first column of a row is the Sentinel-1 file."""
    found: dict[str, str] = {}
    for split in SPLITS:
        path = folder / f"flood_{split}_data.csv"
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                found |= {row[0].removesuffix("_S1Hand.tif"): split for row in csv.reader(file) if row}
    return found


def _reflectance(counts: NDArray[np.float32]) -> NDArray[np.float32]:
    """Reflectance of ``[13, H, W]`` counts. Only a pixel that is 0 in every band is unseen: B10 alone may well be 0."""
    return np.where((counts == 0).all(axis=0), np.float32(np.nan), counts * np.float32(1e-4))


def _label(values: NDArray[np.int16], path: Path) -> NDArray[np.uint8]:
    if strange := sorted(set(np.unique(values).tolist()) - {-1, 0, 1}):
        raise InputError(f"{path}: label holds {strange[0]}; Sen1Floods11's are -1, 0 and 1")
    return np.where(values < 0, NODATA, values).astype(np.uint8)
