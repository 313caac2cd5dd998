"""Land cover under simulated clouds: CloudSeg part by part beside plain fusion, each sensor alone, and its teacher.

Every arm of a seed takes the same steps of the same number of crops. A few chips have labels; from the other pairs,
cloudy and clear, those arms learn that learn from more than labels (half of their crops). The test chips are of seeds
that nothing else sees; ``cover-N`` are the same grounds under another share of cloud. Scores are over pixels that both
sensors saw, cloudy where there is cloud or its shadow. Which arm is ``best`` was decided on the validation
chips of seed 0. Writes ``results/landcover-simulated.csv``.

    python benchmarks/landcover_simulated.py --seeds 0 1 2 --work /tmp/landcover-simulated
    python benchmarks/landcover_simulated.py --labelled 25 --work /tmp/landcover-simulated --arms fusion cloudseg taught
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from record import Result, record
from undercast.chip import Chip, ChipSource
from undercast.datasets import SimulatedChips
from undercast.datasets.bands import OfBands
from undercast.datasets.derived import Derived
from undercast.engine.fit import FitConfig, fit
from undercast.engine.place import Place
from undercast.engine.predictor import TorchPredictor
from undercast.evaluate import scores
from undercast.evaluate.restoration import psnr, ssim
from undercast.evaluate.scoring import score
from undercast.evaluate.table import CLEAR, COVERED
from undercast.nets import Fusion, Segmenter
from undercast.predict import answer_outputs
from undercast.recipes import landcover
from undercast.recipes.stage import Plan
from undercast.signature import Signature
from undercast.task import NODATA

BANDS = dict.fromkeys(("s2", "s2_clear"), ("B02", "B03", "B04", "B08"))
CHIPS = SimulatedChips(
    first_seed=1_000_000,
    count=1000,
    size=128,
    task_name="landcover",
    roles=("s1", "s2", "s2_clear"),
    targets=("landcover", "cloud", "opacity"),
)
LABELLED = 100
"""Chips whose labels are read; the rest are pairs."""
VALIDATION = replace(CHIPS, first_seed=3_000_000, count=60)
TEST = replace(CHIPS, first_seed=9_000_000, count=150)
FEWEST = 100
"""Pixels under cloud, and pixels of ground, of a chip whose restored image is measured."""
COVERS = {f"cover-{100 * share:.0f}": replace(TEST, count=60, cloud=share) for share in (0.0, 0.25, 0.5, 0.75, 1.0)}

ELSEWHERE = replace(CHIPS, first_seed=2_000_000)
"""Where the encoders learned that every arm starts from."""
PRETRAINED_STEPS = 1200
STEPS, RATE = 2000, 5e-3


def seeing(*roles: str, **body: Any) -> dict[str, Any]:
    return {"network": {"roles": roles, "mask_channel": True, "body": body}}


def plain(*roles: str, **body: Any) -> dict[str, Any]:
    return {"arm": "plain", "student": seeing(*roles, **body or {"kind": "fusion"})}


TURNS = {"turns": True, "flips": True}
MISSING = {"missing": {"s2": 0.15, "s1": 0.05}}
PUBLISHED = {"kind": "cloudseg", "squeeze": "global"}
FILL = {"student": seeing("s2", "s1", **PUBLISHED, fill=True)}
WITHOUT = {"gate": False, "restore": False}
ARMS: dict[str, dict[str, Any]] = {
    "teacher": {"arm": "teacher"},
    "optical": plain("s2"),
    "sar": plain("s1"),
    "fusion": plain("s2", "s1"),
    "streams": plain("s2", "s1", **PUBLISHED, **WITHOUT),
    "restore": {"through_cloud": {"hint": 0.0}},
    "cloudseg": {},
    "normalised": {"through_cloud": {"normalised": True}},
    "answers": {"through_cloud": {"answers": 1.0}},
    "start": {"start": True},
    "taught": {"start": True, "through_cloud": {"answers": 1.0, "normalised": True}},
    "missing": {"augment": MISSING},
    "soft": {"through_cloud": {"soft": True}},
    "turns": {"augment": TURNS},
    "fill": FILL,
    "all": {
        "start": True,
        "through_cloud": {"answers": 1.0, "normalised": True},
        "augment": {**TURNS, **MISSING},
        **FILL,
    },
}
"""Arm → what differs from the paper's form at this size. Every stream of every arm has the same encoder."""
TWICE = "-twice"
"""After the name of an arm: with twice the steps, as one that starts from its teacher has had altogether."""
BEST = "taught"
"""What was best on the validation chips of seed 0; recorded as ``best`` too."""


@dataclass(frozen=True)
class BothSeen(Derived):
    """Chips labelled only where every sensor saw the ground, so that all arms are scored on the same pixels."""

    def __getitem__(self, number: int) -> Chip:
        chip = self.source[number]
        seen = np.logical_and.reduce([chip.valid(role) for role in chip.images])
        label = np.where(seen, chip.targets["landcover"], NODATA).astype(np.uint8)
        return replace(chip, targets={**chip.targets, "landcover": label})


def chips_of(source: SimulatedChips, work: Path) -> ChipSource:
    return OfBands(replace(source, cache=work / "chips"), BANDS)


@dataclass(frozen=True)
class Run:
    """What all arms of a seed share."""

    seed: int
    work: Path
    place: Place
    steps: int = STEPS
    labelled: int = LABELLED

    def chips(self) -> landcover.Chips:
        """The chips with labels, those to calibrate on, and the pairs without labels."""
        hand, calibration = chips_of(replace(CHIPS, count=self.labelled), self.work), chips_of(VALIDATION, self.work)
        if self.labelled == CHIPS.count:
            return landcover.Chips(hand, calibration)
        first, count = CHIPS.first_seed + self.labelled, CHIPS.count - self.labelled
        return landcover.Chips(hand, calibration, chips_of(replace(CHIPS, first_seed=first, count=count), self.work))

    def named(self, setting: str) -> str:
        """``setting``, told apart from that of the usual number of labels and steps."""
        labels = "" if self.labelled == LABELLED else f"-{self.labelled}-labels"
        return setting + labels + ("" if self.steps == STEPS else f"-{self.steps}-steps")

    def file(self, arm: str) -> str:
        """Name of what is kept of ``arm``, without its suffix."""
        return f"{self.named(arm)}-{self.seed}"


def settings(arm: str, seed: int, steps: int) -> landcover.Config:
    own = ARMS[arm.removesuffix(TWICE)]
    steps = 2 * steps if arm.endswith(TWICE) else steps
    run = {"steps": steps, "batch": 16, "learning_rate": RATE, "log_every": 50, "checkpoint_every": 0}
    return landcover.Config.model_validate(
        {
            **own,
            "seed": seed,
            "training": {"source": "simulated:landcover:1000000+1000@128"},
            "validation": {"source": "simulated:landcover:3000000+60@128"},
            "augment": landcover.PAPER.model_dump() | {"crop": 64} | own.get("augment", {}),
            "teacher": {**seeing("s2_clear", "s1", **PUBLISHED, **WITHOUT), "fit": run},
            "student": {**seeing("s2", "s1", **PUBLISHED), **own.get("student", {}), "fit": run},
        }
    )


def trained(arm: str, run: Run) -> Segmenter:
    """The network of an arm; one that was trained already is read."""
    config, chips = settings(arm, run.seed, run.steps), run.chips()
    learner = config.teacher if arm == "teacher" else config.student
    if config.arm == "cloudseg":
        teacher = trained("teacher", run) if config.taught else None
        plan = landcover.through_cloud(config, chips, teacher)
    else:
        plan = landcover.on_labels(config, learner, chips)
    name = run.file(arm)
    if not (run.work / f"{name}.safetensors").is_file() and not config.start:
        # The teacher that another starts from began so itself.
        begin(plan.network, {role: pretrained(role, run) for role in ("s2_clear", "s1")})
    return finished(plan, learner, name, run.seed, run)


def pretrained(role: str, run: Run) -> Segmenter:
    """A network that saw one sensor alone under a clear sky, on chips that no arm sees: the paper's is ImageNet."""
    config = settings("optical", 0, STEPS)
    network = config.student.network.model_copy(update={"roles": (role,)})
    learner = landcover.LearnerConfig(network=network, fit=FitConfig(steps=PRETRAINED_STEPS, checkpoint_every=0))
    chips = chips_of(ELSEWHERE, run.work)
    plan = landcover.on_labels(config, learner, landcover.Chips(chips, chips))
    return finished(plan, learner, f"pretrained-{role}", 0, run)


def begin(network: Segmenter, taught: Mapping[str, Segmenter]) -> None:
    """Give every stream of ``network`` the stages of its sensor; the cross stream, which has none, the optical's."""
    stages = {role: segmenter.body.streams[0] for role, segmenter in taught.items()}
    optical, radar, body = stages["s2_clear"], stages["s1"], network.body
    if isinstance(body, Fusion):
        pairs = [(body.streams[k], radar if role == "s1" else optical) for k, role in enumerate(network.roles)]
    else:
        pairs = [(body.optical, optical), (body.radar, radar), (body.cross, optical[1:])]
    for own, given in pairs:
        own.load_state_dict(given.state_dict())


def finished(plan: Plan, learner: landcover.LearnerConfig, name: str, seed: int, run: Run) -> Segmenter:
    """The network of ``plan``, trained, or read where that was done."""
    file = run.work / f"{name}.safetensors"
    if file.is_file():
        plan.network.load_state_dict(load_file(file))
        return plan.network.eval()
    began = time.process_time()
    fit(plan.objective, plan.feeds, learner.fit, run.place, run.work / name, seed=seed, name=name, resume=True)
    weights = sum(parameter.numel() for parameter in plan.network.parameters())
    print(f"{name}: {time.process_time() - began:.0f} s of processor time, {weights:,} weights", flush=True)
    save_file({name: tensor.contiguous() for name, tensor in plan.network.state_dict().items()}, file)
    return plan.network.eval()


def segmented(predictor: Any, source: ChipSource) -> dict[str, float]:
    table = score(predictor, BothSeen(source), by="cloud")
    sky = table.groups("split")
    found = {"miou_all": table.confusion.sum(0)}
    found |= {
        f"miou_{name}": sky[part].confusion.sum(0)
        for name, part in (("clear", CLEAR), ("cloudy", COVERED))
        if part in sky
    }
    return {name: float(np.nanmean(scores.iou(confusion))) for name, confusion in found.items() if confusion.sum()}


Restore = Callable[[Chip, NDArray[np.bool_]], NDArray[Any]]
"""A chip and where it is covered → its optical image as it might be under a clear sky."""


def copied(chip: Chip, covered: NDArray[np.bool_]) -> NDArray[Any]:
    return chip.images["s2"].clip(0, 1)


def one_colour(chip: Chip, covered: NDArray[np.bool_]) -> NDArray[Any]:
    image = copied(chip, covered)
    return np.where(covered, np.nanmedian(image[:, ~covered], axis=1)[:, None, None], image)


def restored(restore: Restore, source: ChipSource) -> dict[str, float]:
    """PSNR of all covered pixels together and the mean SSIM of chips, of those that show some ground and some cloud."""
    errors, weights, likeness = [], [], []
    for number in range(len(source)):
        chip = source[number]
        seen, cloud = chip.valid("s2"), chip.targets["cloud"]
        covered = (cloud > 0) & (cloud != NODATA) & seen
        if covered.sum() < FEWEST or (seen & ~covered).sum() < FEWEST:
            continue
        image, clear = restore(chip, covered), chip.images["s2_clear"].clip(0, 1)
        errors.append(10 ** (-psnr(image, clear, covered) / 10))
        weights.append(covered.sum())
        likeness.append(ssim(image, clear, covered))
    error = np.average(errors, weights=weights)
    return {"psnr_cloudy": float(-10 * np.log10(error)), "ssim_cloudy": float(np.nanmean(likeness))}


def measured(arm: str, run: Run, network: Segmenter) -> list[Result]:
    """All figures of an arm; those that were measured already are read."""
    file = run.work / f"{run.file(arm)}.json"
    if not file.is_file():
        signature = Signature(
            name=arm,
            task=network.task,
            inputs=network.modalities,
            stride=network.stride,
            restores=network.config.restores,
        )
        predictor = TorchPredictor(network, signature)
        sets = {("mixed", "validation"): VALIDATION, ("mixed", "test"): TEST} | {
            (k, "test"): v for k, v in COVERS.items()
        }
        rows = []
        for (setting, split), source in sets.items():
            chips = chips_of(source, run.work)
            found = segmented(predictor, chips)
            if signature.restores and setting == "mixed":
                found |= restored(lambda chip, _: answer_outputs(predictor, chip.images)["restored"], chips)
            rows += [(setting, split, metric, value) for metric, value in found.items()]
        file.write_text(json.dumps(rows))
    rows = json.loads(file.read_text())
    return [Result(arm, run.named(setting), metric, value, run.seed, split) for setting, split, metric, value in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", default=list(ARMS))
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--labelled", type=int, default=LABELLED, help=f"chips with labels, of {CHIPS.count}")
    parser.add_argument("--work", type=Path, required=True, help="folder for weights and the cache of chips")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--fill", action="store_true", help="only fill the cache of chips")
    chosen = parser.parse_args()
    if chosen.fill:
        for source in (CHIPS, ELSEWHERE, VALIDATION, TEST, *COVERS.values()):
            replace(source, cache=chosen.work / "chips").fill(chosen.threads)
        return
    place = Place(threads=chosen.threads)
    for seed in chosen.seeds:
        run = Run(seed, chosen.work, place, chosen.steps, chosen.labelled)
        for arm in chosen.arms:
            network = trained(arm, run)
            rows = measured(arm, run, network)
            record("landcover-simulated", rows)
            if arm == BEST:
                record("landcover-simulated", [row._replace(arm="best") for row in rows])
            told = {r.metric: round(r.value, 4) for r in rows if r.split == "validation"}
            print(arm, seed, told, flush=True)
    for split, source in (("validation", VALIDATION), ("test", TEST)):
        for name, restore in (("copy", copied), ("median", one_colour)):
            rows = restored(restore, chips_of(source, chosen.work)).items()
            record("landcover-simulated", [Result(name, "mixed", metric, value, "", split) for metric, value in rows])


if __name__ == "__main__":
    main()
