"""Few labels on simulated floods: students of hand labels, weak labels and a teacher, and the teacher itself.

Every arm of a seed and setting has the same hand labels and validation chips; students of all arms take the same steps
of the same number of chips. Weak labels are a threshold on the optical image of the very pairs the distilled student
gets unlabelled; ``improved-weak-T`` adds water where it occurs in at least T percent of looks. Arms without hand labels
have the setting 0. ``--quality`` scores the weak labels themselves against the truth (split ``labels``). The test chips
are of seeds that nothing else sees. Writes ``results/flood-simulated.csv``.

    python benchmarks/flood_simulated.py --labels 20 100 --seeds 0 1 2 --work /tmp/flood-simulated
    python benchmarks/flood_simulated.py --labels 0 --arms weak improved-weak-75 --work /tmp/flood-simulated
    python benchmarks/flood_simulated.py --quality --work /tmp/flood-simulated
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from record import Result, figures_of, record
from undercast.config import override, read_toml, validate
from undercast.datasets import SimulatedChips
from undercast.datasets.weak import improve
from undercast.engine.place import Place
from undercast.evaluate import report, score
from undercast.model import ModelFolder
from undercast.predict import OpenVinoPredictor
from undercast.recipes import flood
from undercast.task import NODATA

RECIPE = Path(__file__).parents[1] / "recipes/flood/few-labels.toml"
HALF = 2000
"""Weak labels at hand: hand labels are repeated as often, so that half of all crops are of each kind."""
TEST = SimulatedChips(first_seed=9_000_000, count=200, size=256, roles=("s1", "s2"), targets=("flood",))


# arm → settings over the recipe
ARMS: dict[str, tuple[str, ...]] = {
    "teacher": ("arm=teacher",),
    "distilled": ("arm=distilled",),
    "supervised": ("arm=supervised",),
    "weak": ("arm=supervised", "labels=weak"),
    **{f"improved-weak-{t}": ("arm=supervised", "labels=weak", f"weak.occurrence={t}") for t in (50, 75, 90)},
    "hand+weak": ("arm=supervised", "labels=hand+weak"),
}


def run(arm: str, labels: int, seed: int, work: Path, threads: int) -> Path:
    """Train one arm; the model folder. A folder that is there already is taken as it is."""
    out = work / f"{arm}-{labels}-{seed}"
    folder = out / ("teacher" if arm == "teacher" else "student")
    if (folder / "signature.json").is_file():
        return folder
    settings = [*ARMS[arm], f"seed={seed}", f"cache='{work / 'chips'}'"]
    if labels:
        settings.append(f"labelled.count={labels}")
    if arm == "hand+weak":
        settings.append(f"labelled.repeat={HALF // labels}")
    if arm == "distilled":
        settings.append(f"distillation.teacher='{work / f'teacher-{labels}-{seed}' / 'teacher'}'")
    config = validate(override(read_toml(RECIPE), settings), flood.Config, str(RECIPE))
    return flood.run(config, Place(threads=threads), out, resume=out.exists())


def quality(work: Path) -> None:
    """How good the weak labels are: pooled IoU of water, precision and recall over labelled pixels, coverage."""
    targets = ("flood", "flood_weak")
    chips = SimulatedChips(200_000, 300, 128, roles=("occurrence",), targets=targets, cache=work / "chips")
    for name, at_least in {"weak": 0, "improved-weak-50": 50, "improved-weak-75": 75, "improved-weak-90": 90}.items():
        counts = np.zeros(5)
        for number in range(len(chips)):
            chip = chips[number]
            truth, label = chip.targets["flood"], chip.targets["flood_weak"]
            if at_least:
                label = improve(label, chip.images["occurrence"][0], at_least)
            known, wet, said = label != NODATA, truth == 1, label == 1
            counts += [(wet & said).sum(), (said & ~wet).sum(), (wet & known & ~said).sum(), known.sum(), truth.size]
        hit, false, missed, known_pixels, pixels = counts
        values = {
            "pooled_iou": hit / (hit + false + missed),
            "precision": hit / (hit + false),
            "recall": hit / (hit + missed),
            "coverage": known_pixels / pixels,
        }
        print(name, {key: round(value, 4) for key, value in values.items()})
        record("flood-simulated", [Result(name, "0", key, value, split="labels") for key, value in values.items()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, nargs="+", default=[20, 100])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", default=["teacher", "distilled", "supervised"], choices=list(ARMS))
    parser.add_argument("--quality", action="store_true", help="score the weak labels themselves, and stop")
    parser.add_argument("--work", type=Path, required=True, help="folder for models and the cache of chips")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    if chosen.quality:
        return quality(chosen.work)
    test = replace(TEST, cache=chosen.work / "chips")
    for seed in chosen.seeds:
        for labels in chosen.labels:
            for arm in chosen.arms:
                folder = run(arm, labels, seed, chosen.work, chosen.threads)
                table = score(OpenVinoPredictor(ModelFolder.open(folder), threads=1), test, name=arm)
                values = figures_of(report(table).predictors[arm])
                print(arm, labels, seed, values, flush=True)
                rows = [Result(arm, str(labels), key, value, seed, "test") for key, value in values.items()]
                record("flood-simulated", rows)


if __name__ == "__main__":
    main()
