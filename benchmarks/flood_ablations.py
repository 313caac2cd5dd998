"""What each choice of the flood recipe is worth, one at a time, on simulated floods at a small budget.

The base is the distilled student of ``recipes/flood/few-labels.toml`` with 20 hand labels, 500 pairs of which cloudy
pixels teach nothing, a U-Net at half resolution and 300 steps of 8 chips. Every variant changes one setting; all of a
seed share labels, pairs, and a teacher of their own (the same U-Net, 500 steps). 200 test chips of 128² that nothing
else sees. Differences within the spread of the seeds mean nothing. Writes ``results/flood-ablations.csv``:
the arm is the choice, the setting its value.

    python benchmarks/flood_ablations.py --work /tmp/flood-ablations --seeds 0 1 2
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

from record import Result, figures_of, record
from undercast.config import override, read_toml, validate
from undercast.datasets import SimulatedChips
from undercast.engine.place import Place
from undercast.evaluate import report, score
from undercast.model import ModelFolder
from undercast.predict import OpenVinoPredictor
from undercast.recipes import flood

NAME = "flood-ablations"
RECIPE = Path(__file__).parents[1] / "recipes/flood/few-labels.toml"
TEST = SimulatedChips(first_seed=9_000_000, count=200, size=128, roles=("s1", "s2"), targets=("flood",))
BASE = (
    "labelled.count=20",
    "unlabelled.source=simulated:200000+500@128",
    "validation.source=simulated:300000+40@128",
    "distillation.cloud=cloud",
    "student.network.body={base=8, stages=4, input_stride=2}",
    "teacher.network.body={base=8, stages=4, input_stride=2}",
    "student.fit={steps=300, batch=8, average=0.99}",
    "teacher.fit={steps=500, batch=8, average=0.99}",
    "loss={cross_entropy=1.0, edge={}}",
)
DEEPLAB = "student.network.body={{kind='deeplab', base=16, depth=1, pyramid=32, skip=16, output_stride={stride}}}"
# (choice, value) → what differs from the base; the names of the losses are those of the paper's Table 6
VARIANTS: dict[tuple[str, str], tuple[str, ...]] = {
    ("base", "edge-CE, U-Net, T 1, weight 1, soft, clouds masked"): (),
    ("loss", "CE"): ("loss={cross_entropy=1.0}",),
    ("loss", "weighted CE"): ("loss={cross_entropy=1.0, class_weights=[1.0, 3.0]}",),
    ("loss", "focal"): ("loss={cross_entropy=0.0, focal=1.0}",),
    ("loss", "Dice"): ("loss={cross_entropy=0.0, dice=1.0}",),
    ("loss", "CE + Dice"): ("loss={cross_entropy=1.0, dice=1.0}",),
    ("decoder stride", "DeepLab, 4"): (DEEPLAB.format(stride=4),),
    ("decoder stride", "DeepLab, 2"): (DEEPLAB.format(stride=2),),
    ("temperature", "2"): ("distillation.temperature=2.0",),
    ("weight", "0.3"): ("distillation.weight=0.3",),
    ("weight", "3"): ("distillation.weight=3.0",),
    ("labels", "hard"): ("distillation.labels=hard",),
    ("clouds", "not masked"): ("distillation.cloud=",),
    ("teacher", "none"): ("arm=supervised",),
}


def run(choice: tuple[str, str], seed: int, work: Path, threads: int) -> Path:
    """The student of one variant; a teacher that is there already is taken as it is."""
    teacher = work / f"teacher-{seed}"
    shared = [*BASE, f"seed={seed}", f"cache='{work / 'chips'}'"]
    if not (teacher / "teacher/signature.json").is_file():
        train([*shared, "arm=teacher"], teacher, threads)
    settings = [*shared, *VARIANTS[choice]]
    if choice[0] != "teacher":
        settings.append(f"distillation.teacher='{teacher / 'teacher'}'")
    return train(settings, work / f"{list(VARIANTS).index(choice)}-{seed}", threads)


def train(settings: list[str], out: Path, threads: int) -> Path:
    config = validate(override(read_toml(RECIPE), settings), flood.Config, str(RECIPE))
    return flood.run(config, Place(threads=threads), out, resume=out.exists())


def collect(work: Path) -> Path:
    """Write what all runs in ``work`` left as rows."""
    rows = [row for file in sorted(work.glob("*/found.json")) for row in json.loads(file.read_text("utf-8"))]
    return record(NAME, [Result(**row) for row in rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for models and the cache of chips")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", help="choices, such as loss")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--collect", action="store_true", help="write the rows of all runs in --work and stop")
    chosen = parser.parse_args()
    if chosen.collect:
        return print(collect(chosen.work))
    test = replace(TEST, cache=chosen.work / "chips")
    for seed in chosen.seeds:
        for number, (choice, value) in enumerate(VARIANTS):
            file = chosen.work / f"{number}-{seed}" / "found.json"
            if file.is_file() or (chosen.only and choice not in chosen.only):
                continue
            folder = run((choice, value), seed, chosen.work, chosen.threads)
            table = score(OpenVinoPredictor(ModelFolder.open(folder), threads=1), test, name="student")
            figures = figures_of(report(table).predictors["student"])
            rows = [Result(choice, value, name, figure, seed, "test") for name, figure in figures.items()]
            file.write_text(json.dumps([row._asdict() for row in rows]), "utf-8")
            print(choice, value, seed, {name: round(figure, 4) for name, figure in figures.items()}, flush=True)


if __name__ == "__main__":
    main()
