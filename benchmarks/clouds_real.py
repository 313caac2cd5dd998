"""Clouds and shadows on real images with a human reference: trained on simulation, with and without the other sensor.

The two labelled images of ukis-csmask, Sentinel-2 and Landsat-7. Arms ``simulation``, ``simulation+sentinel2`` and
``simulation+landsat7`` are one small U-Net each, trained for the same steps of the same number of chips; what saw a
sensor is tested on the other one only. Beside them ``threshold`` (blue for cloud, near infrared for shadow, both fitted
to the simulated training chips), models named on the command line, and what installs from PyPI with its own weights,
each in an environment of its own: ``ukis-csmask`` (whose authors publish these two images: whether it learned from them
is not known) and ``s2cloudless``, which needs ten bands and so is asked about simulated chips alone. The reference
images are of about 30 m, so the simulated ones are averaged to that.

    python benchmarks/clouds_real.py DATA/clouds/ukis-csmask --work DIR --seeds 0 1 2 --bands 4 6
    python benchmarks/clouds_real.py DATA/clouds/ukis-csmask --work DIR --models clouds-s2
    python benchmarks/clouds_real.py DATA/clouds/ukis-csmask --work DIR --peers ukis-csmask=PYTHON s2cloudless=PYTHON
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import clouds_peers as ask
from record import Result, record
from undercast.bands import Modality
from undercast.chip import Chip, ChipInfo
from undercast.datasets import SimulatedChips, UkisCsmask
from undercast.datasets.ukis_csmask import SIX_BANDS
from undercast.evaluate.scores import iou, recall
from undercast.model import ModelFolder, resolve
from undercast.predict import OpenVinoPredictor, Predictor, answer
from undercast.task import CLOUDS, NODATA, Task

FIRST, TRAIN, VALID, TEST, SIDE = 5_000_000, 800, 80, 60, 128
STEPS, BATCH, REAL = 220, 16, 0.25
FOUR = ("B02", "B03", "B04", "B08")
BANDS = {4: FOUR, 6: SIX_BANDS.bands}
Confusion = NDArray[np.int64]


@dataclass(frozen=True)
class InMemory:
    """Chips held in memory."""

    chips: Sequence[Chip]
    modality: Modality
    task: Task = CLOUDS
    index: Sequence[ChipInfo] = field(init=False)

    def __post_init__(self) -> None:
        index = [ChipInfo(chip.key, chip.event, chip.place) for chip in self.chips]
        object.__setattr__(self, "index", index)

    @property
    def modalities(self) -> Mapping[str, Modality]:
        return {"s2": self.modality}

    def __len__(self) -> int:
        return len(self.chips)

    def __getitem__(self, number: int) -> Chip:
        return self.chips[number]


def coarse(work: Path, first: int, count: int) -> tuple[NDArray[np.float32], NDArray[np.uint8], Modality]:
    """Simulated chips of 10 m averaged to 30 m: images ``[N, 13, H, W]``, classes ``[N, H, W]``; kept in ``work``."""
    source = SimulatedChips(first, count, 3 * SIDE, "clouds", roles=("s2",), targets=("clouds",))
    file = work / f"simulated-{first}-{count}.npz"
    if not file.is_file():
        images, labels = [], []
        for number in range(count):
            chip = source[number]
            image = chip.images["s2"].reshape(-1, SIDE, 3, SIDE, 3).mean(axis=(2, 4))
            images.append(image.astype(np.float16))
            labels.append(chip.targets["clouds"][1::3, 1::3])
        np.savez(file, images=np.stack(images), labels=np.stack(labels))
    with np.load(file) as kept:
        return kept["images"].astype(np.float32), kept["labels"], source.modalities["s2"]


def simulated(work: Path, first: int, count: int, bands: Sequence[str]) -> list[Chip]:
    images, labels, modality = coarse(work, first, count)
    chosen = modality.index(bands)
    names = [f"simulated-{first + number}" for number in range(count)]
    return [
        Chip(name, {"s2": np.ascontiguousarray(image[chosen])}, {"clouds": label}, name, name)
        for name, image, label in zip(names, images, labels, strict=True)
    ]


def real(data: Path, bands: Sequence[str]) -> dict[str, Chip]:
    chosen = SIX_BANDS.index(bands)
    return {
        chip.key: Chip(chip.key, {"s2": chip.images["s2"][chosen]}, chip.targets, chip.event, chip.place)
        for chip in UkisCsmask(data)
    }


def quarters(chip: Chip) -> list[Chip]:
    """``chip`` in four, so that it can stand beside many small ones."""
    half = chip.shape[0] // 2
    parts = [(slice(top, top + half), slice(left, left + half)) for top in (0, half) for left in (0, half)]
    return [
        Chip(f"{chip.key}-{n}", {"s2": chip.images["s2"][:, *part]}, {"clouds": chip.targets["clouds"][part]},
             chip.event, chip.place)
        for n, part in enumerate(parts)
    ]  # fmt: skip


def train(arm: str, count: int, seed: int, data: Path, work: Path) -> Path:
    """Train one arm; the model folder. A folder that is there already is taken as it is."""
    import torch

    from undercast.datasets.augment import Augmentation, OpticalJitter
    from undercast.engine.feed import Feed
    from undercast.engine.fit import FitConfig
    from undercast.engine.place import Place
    from undercast.engine.supervised import Supervised
    from undercast.losses.segmentation import SegmentationLossConfig
    from undercast.nets import SegmenterConfig, UNetConfig
    from undercast.recipes.stage import Plan, Stages

    out, bands = work / f"{arm}-{count}-{seed}", BANDS[count]
    if (out / "student/signature.json").is_file():
        return out / "student"
    modality = SIX_BANDS.select(bands)
    chips = simulated(work, FIRST, TRAIN, bands)
    seen = [f"{TRAIN} simulated chips of 30 m"]
    if "+" in arm:
        sensor = arm.partition("+")[2]
        pieces = quarters(real(data, bands)[sensor])
        chips += pieces * round(TRAIN * REAL / (1 - REAL) / len(pieces))
        seen.append(f"the {sensor} image of ukis-csmask")
    source = InMemory(chips, modality)
    validation = InMemory(simulated(work, FIRST + TRAIN, VALID, bands), modality)
    fit = FitConfig(steps=STEPS, batch=BATCH, average=0.99)
    stages = Stages(name=f"clouds-{arm}", place=Place(threads=1), out=out, seed=seed, target="clouds",
                    validation=validation, config_toml="", resume=out.exists())  # fmt: skip
    jitter = OpticalJitter(gain=0.2, band_gain=0.1, offset=0.02)

    def prepare() -> Plan:
        torch.manual_seed(seed)
        network = SegmenterConfig(roles=("s2",), body=UNetConfig(base=8)).build(source.modalities, CLOUDS)
        transform = Augmentation(crop=SIDE, optical=jitter).for_chips(source.modalities, vary=("s2",))
        feed = Feed(source, ("s2",), ("clouds",), batch=BATCH, seed=seed, transform=transform)
        loss = SegmentationLossConfig(dice=1.0).terms
        objective = Supervised(network, loss, target="clouds", roles=("s2",))
        return Plan(network, objective, {"labelled": feed}, [source], tuple(seen), "Clouds and shadows at 30 m.")

    return stages.complete("student", fit, prepare)


def confusion(classes: NDArray[np.uint8], truth: NDArray[np.uint8]) -> Confusion:
    valid = (truth != NODATA) & (classes != NODATA)
    pairs = truth[valid].astype(np.int64) * 3 + classes[valid]
    return np.bincount(pairs, minlength=9).reshape(3, 3)


def measured(arm: str, setting: str, split: str, seed: int | str, found: Confusion) -> list[Result]:
    """Balanced accuracy over what the arm can say, and IoU of cloud and of shadow."""
    recalls, ious = recall(found), iou(found)
    values = {"iou_cloud": ious[1]}
    if found[:, 2].any():
        values |= {"balanced_accuracy": float(np.nanmean(recalls)), "iou_shadow": ious[2]}
    else:  # cloud and clear alone: shadow is ground that is not cloud
        two = np.array([[found[::2, ::2].sum(), found[::2, 1].sum()], [found[1, ::2].sum(), found[1, 1]]])
        values |= {"balanced_accuracy_of_two": float(recall(two).mean())}
    print(f"{arm:24} {setting:8} {split:10} {seed!s:3}", {k: round(float(v), 4) for k, v in values.items()}, flush=True)
    return [Result(arm, setting, name, float(value), seed, split) for name, value in values.items()]


def asked(predictor: Predictor, chip: Chip) -> Confusion:
    probabilities = answer(predictor, {"s2": chip.images["s2"]})
    return confusion(probabilities.argmax(axis=0).astype(np.uint8), chip.targets["clouds"])


@dataclass(frozen=True)
class Threshold:
    """Cloud where blue is above one reflectance, else shadow where near infrared is below another."""

    blue: float
    near: float

    @classmethod
    def fitted(cls, chips: Sequence[Chip]) -> "Threshold":
        """The pair with the best balanced accuracy on ``chips``."""
        pixels = np.concatenate([chip.images["s2"][:, ::4, ::4].reshape(4, -1) for chip in chips], axis=1)
        truth = np.concatenate([chip.targets["clouds"][::4, ::4].ravel() for chip in chips])
        grid = [cls(float(b), float(n)) for b in np.arange(0.12, 0.42, 0.02) for n in np.arange(0.04, 0.26, 0.02)]
        return max(grid, key=lambda one: float(recall(confusion(one.classes(pixels), truth)).mean()))

    def classes(self, bands: NDArray[np.float32]) -> NDArray[np.uint8]:
        return np.where(bands[0] > self.blue, 1, np.where(bands[3] < self.near, 2, 0)).astype(np.uint8)


def given(data: Path, work: Path, models: Sequence[str]) -> list[Result]:
    """The threshold, and ``models`` of these bands; what learned from an image is not tested on it."""
    rule = Threshold.fitted(simulated(work, FIRST, TRAIN, FOUR))
    print(rule)
    chips = real(data, FOUR) | {"simulated": None}
    results: list[Result] = []
    for split, chip in chips.items():
        several = simulated(work, FIRST + 10_000, TEST, FOUR) if chip is None else [chip]
        found = sum(confusion(rule.classes(one.images["s2"]), one.targets["clouds"]) for one in several)
        results += measured("threshold", "4 bands", split, "", found)
        for folder in map(resolve, models):
            learned = chip is not None and any("ukis-csmask" in told for told in folder.signature.training_data)
            predictor = OpenVinoPredictor(folder, threads=1)
            found = sum(asked(predictor, one) for one in several)
            results += measured(folder.name, "4 bands", f"{split}, learned from" if learned else split, "", found)
    return results


def peers(named: Sequence[str], data: Path, work: Path) -> list[Result]:
    """What others' packages answer, each with the interpreter of its environment."""
    results: list[Result] = []
    images, labels, modality = coarse(work, FIRST + 10_000, TEST)
    sets = {key: (chip.images["s2"][None], chip.targets["clouds"][None]) for key, chip in real(data, BANDS[6]).items()}
    sets["simulated"] = (images, labels)
    for name, python in (item.split("=", 1) for item in named):
        for split, (values, truth) in sets.items():
            bands = modality.bands if split == "simulated" else BANDS[6]
            for setting in ask.settings(name, bands):
                classes = ask.classes(name, setting, values, bands, python, work)
                results += measured(name, setting, split, "", confusion(classes, truth))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of ukis-csmask's images")
    parser.add_argument("--work", type=Path, required=True, help="folder for models and simulated chips")
    parser.add_argument("--seeds", type=int, nargs="*", default=[])
    parser.add_argument("--bands", type=int, nargs="+", choices=(4, 6), default=[4, 6])
    parser.add_argument("--arms", nargs="+", default=["simulation", "simulation+sentinel2", "simulation+landsat7"])
    parser.add_argument("--peers", nargs="*", default=[], help="NAME=PYTHON of its environment")
    parser.add_argument("--models", nargs="*", help="score the threshold, and these models of four bands")
    chosen = parser.parse_args()
    chosen.work.mkdir(parents=True, exist_ok=True)
    for count in chosen.bands:
        for seed in chosen.seeds:
            for arm in chosen.arms:
                predictor = OpenVinoPredictor(
                    ModelFolder.open(train(arm, count, seed, chosen.data, chosen.work)), threads=1
                )
                for split, chip in real(chosen.data, BANDS[count]).items():
                    if split not in arm:
                        record("clouds-real", measured(arm, f"{count} bands", split, seed, asked(predictor, chip)))
    if chosen.models is not None:
        record("clouds-real", given(chosen.data, chosen.work, chosen.models))
    if chosen.peers:
        record("clouds-real", peers(chosen.peers, chosen.data, chosen.work))


if __name__ == "__main__":
    main()
