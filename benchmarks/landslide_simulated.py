"""Landslides, whether and then where, on simulated chips of 64×64: every arm, number of labelled chips and seed.

Arms of a seed and setting have the same pixel labels, steps and validation chips; stage 1 of a seed is trained once for
each region and shared. The networks are smaller than published (recipes/landslide/simulated.toml), for a CPU. The test
chips are of seeds that nothing else sees, half of them free of landslides. ``--quirk NAME`` repeats arms with one
option of ``as_published``; ``--record`` writes ``results/landslide-simulated.csv`` from all runs in ``--work``.

    python benchmarks/landslide_simulated.py --chips 10 --seeds 0 1 2 --work /tmp/landslide
    python benchmarks/landslide_simulated.py --record --work /tmp/landslide
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from record import Result, record
from undercast.chip import ChipSource
from undercast.config import override, read_toml, validate
from undercast.datasets import SimulatedChips
from undercast.engine.fit import fit
from undercast.engine.place import Place
from undercast.engine.predictor import TorchPredictor
from undercast.evaluate import extent
from undercast.predict import Predictor
from undercast.recipes import landslide
from undercast.signature import Signature

RECIPE = Path(__file__).parents[1] / "recipes/landslide/simulated.toml"
TEST = SimulatedChips(
    9_000_000, 200, 64, "landslide", roles=("s1_pre", "s1_post"), targets=("landslide",), region="hills"
)
ARMS = ("none", "random", "pretrained", "other-region", "finetuned")
RECALLS = (0.3, 0.5, 0.7)


def config_of(
    arm: str, chips: int, seed: int, work: Path, quirk: str = "", also: tuple[str, ...] = ()
) -> landslide.Config:
    """The recipe's settings for one run."""
    tables = read_toml(RECIPE)
    tables.pop("place")
    settings = [f"arm={arm}", f"labelled.count={chips}", f"seed={seed}", f"cache='{work / 'chips'}'", *also]
    settings += [f"as_published.{quirk}=true"] if quirk else []
    return validate(override(tables, settings), landslide.Config, str(RECIPE))


def stage1(config: landslide.Config, place: Place, work: Path, quirk: str = "") -> Path | None:
    """The model folder of stage 1, trained where it is not there yet; None for arms without one."""
    if config.arm in ("none", "random"):
        return None
    region = "other" if config.arm == "other-region" else "same"
    # Drifting begins with stage 2: its stage 1 is the ordinary one.
    out = work / "-".join(["stage1", region, str(config.seed), *([quirk] if quirk in STAGE1_QUIRKS else [])])
    if not (out / "stage1" / "signature.json").is_file():
        chips = landslide.Chips.open(config)
        named = config.model_copy(update={"name": "landslide-stage1"})
        stages = named.stages(place, out, chips.validation, resume=out.exists())
        stages.complete("stage1", config.stage1, lambda: landslide.whether(config, chips))
    return out / "stage1"


STAGE1_QUIRKS = ("softmax_across_batch", "linear_statistics")


def run(
    config: landslide.Config,
    place: Place,
    work: Path,
    name: str,
    first: Path | None,
    quick: bool,
    test: ChipSource | None = None,
) -> None:
    """Train stage 2 and keep what it answers; a run that is there already is taken as it is."""
    kept = work / "runs" / f"{name}.npz"
    if kept.is_file():
        return
    chips = landslide.Chips.open(config)
    plan = landslide.where(config, chips, first)
    fit(
        plan.objective,
        plan.feeds,
        config.stage2.model_copy(update={"checkpoint_every": 0}),
        place,
        work / "fits" / name,
        seed=config.seed,
        name=name,
        resume=(work / "fits" / name).exists(),
    )
    signature = Signature(name=name, task=plan.network.task, inputs=plan.network.modalities, stride=plan.network.stride)
    predictor = TorchPredictor(plan.network, signature)
    found = {"validation": answers(predictor, chips.validation)}
    if not quick:
        found["test"] = answers(predictor, test or replace(TEST, cache=work / "chips"))
    kept.parent.mkdir(parents=True, exist_ok=True)
    aside = kept.with_name(f".{kept.name}")
    with aside.open("wb") as stream:
        np.savez_compressed(stream, **{f"{split}.{key}": a for split, part in found.items() for key, a in part.items()})
    aside.replace(kept)
    validation = [extent.Answered("", p, t) for p, t in zip(*found["validation"].values(), strict=True)]
    print(name, f"validation auprc {extent.auprc(validation):.3f}", json.dumps(measures(validation, validation)))


def answers(predictor: Predictor, source: ChipSource) -> dict[str, np.ndarray]:
    """Probabilities ``[N, n]`` and truth ``[N, n]`` of whole chips."""
    found = extent.ask(predictor, source)
    return {
        "probability": np.stack([one.probability for one in found]).astype(np.float32),
        "truth": np.stack([one.truth for one in found]),
    }


def load(kept: Path, split: str) -> list[extent.Answered]:
    """What :func:`run` kept."""
    with np.load(kept) as arrays:
        pairs = zip(arrays[f"{split}.probability"].astype(np.float64), arrays[f"{split}.truth"], strict=True)
        return [extent.Answered(str(number), *pair) for number, pair in enumerate(pairs)]


def measures(test: list[extent.Answered], validation: list[extent.Answered]) -> dict[str, float]:
    """Every measure of one run on ``test``; thresholds and calibration of ``validation`` where the names say so."""
    calibrated = extent.recalibrated(test, validation)
    found = {
        "auprc": extent.auprc(test),
        "recall": extent.recall(test, 0.5),
        "fp_pixels_free": extent.false_area(test, 0.5),
        "recall_calibrated": extent.recall(calibrated, 0.5),
        "fp_pixels_free_calibrated": extent.false_area(calibrated, 0.5),
    }
    for level in RECALLS:
        percent = round(100 * level)
        found[f"fp_pixels_free_at_recall_{percent}"] = extent.false_area(test, extent.threshold_at(test, level))
        chosen = extent.threshold_at(validation, level)
        found[f"fp_pixels_free_validation_{percent}"] = extent.false_area(test, chosen)
        found[f"recall_validation_{percent}"] = extent.recall(test, chosen)
    for label, given in (("", test), ("_calibrated", calibrated)):
        for part, suffix in (("all", ""), ("landslide", "_landslide"), ("free", "_free")):
            errors = extent.count_errors(extent.of_part(given, part))
            told = extent.spread(errors)
            found |= {
                f"count_error_median{suffix}{label}": told.median_size if part == "all" else told.median,
                f"count_error_mean{suffix}{label}": told.mean,
                f"count_error_bar{suffix}{label}": told.bar,
                f"count_error_published_bar{suffix}{label}": extent.spread(errors, published_bars=True).bar,
            }
    for threshold in (0.1, 0.5, 0.9):
        errors = extent.count_errors(test, threshold)
        found[f"count_error_median_at_{round(100 * threshold)}"] = extent.spread(errors).median_size
    return {name: round(value, 6) for name, value in found.items()}


def name_of(arm: str, chips: int, seed: int, variant: str) -> str:
    return "_".join([arm, str(chips), str(seed), variant]).rstrip("_")


def record_all(work: Path) -> None:
    """Every run in ``work`` as rows; the setting of a variant names it."""
    rows = []
    for kept in sorted((work / "runs").glob("[!.]*.npz")):
        arm, chips, seed, *variant = kept.stem.split("_", 3)
        setting = " ".join([chips, *variant])
        measured = kept.with_suffix(".json")
        if not measured.is_file():
            measured.write_text(json.dumps(measures(load(kept, "test"), load(kept, "validation"))))
        found = json.loads(measured.read_text())
        rows += [Result(arm, setting, key, value, int(seed), "test") for key, value in found.items()]
    print(record("landslide-simulated", rows), f"{len(rows)} rows")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chips", type=int, nargs="+", default=[2, 5, 10, 20, 110])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--quirk", default="", help="an option of as_published")
    parser.add_argument("--set", dest="also", nargs="+", default=[], help="further settings, with --variant")
    parser.add_argument("--variant", default="", help="name of runs with further settings")
    parser.add_argument("--work", type=Path, required=True, help="folder for models, answers and the cache of chips")
    parser.add_argument("--only-stage1", action="store_true")
    parser.add_argument("--quick", action="store_true", help="validation chips alone: for choosing settings")
    parser.add_argument("--record", action="store_true", help="write the results of all runs and train nothing")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    if chosen.record:
        record_all(chosen.work)
        return
    place = Place(accelerator="cpu", precision="bf16-mixed", threads=chosen.threads)
    for seed in chosen.seeds:
        for chips in chosen.chips:
            for arm in chosen.arms:
                config = config_of(arm, chips, seed, chosen.work, chosen.quirk, tuple(chosen.also))
                first = stage1(config, place, chosen.work, chosen.quirk)
                if not chosen.only_stage1:
                    name = name_of(arm, chips, seed, chosen.variant or chosen.quirk)
                    run(config, place, chosen.work, name, first, chosen.quick)


if __name__ == "__main__":
    main()
