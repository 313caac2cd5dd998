"""Few labels on simulated floods: a student without a teacher, a student distilled from one, and the teacher.

Every arm of a seed and setting has the same hand labels and validation chips; both students take the same steps of the
same number of chips. The test chips are of seeds that nothing else sees. Writes ``results/flood-simulated.csv``.

    python benchmarks/flood_simulated.py --labels 20 100 --seeds 0 1 2 --work /tmp/flood-simulated
"""

import argparse
from dataclasses import replace
from pathlib import Path

from record import Result, record
from undercast.config import override, read_toml, validate
from undercast.datasets import SimulatedChips
from undercast.engine.place import Place
from undercast.evaluate import report, score
from undercast.model import ModelFolder
from undercast.predict import OpenVinoPredictor
from undercast.recipes import flood

RECIPE = Path(__file__).parents[1] / "recipes/flood/few-labels.toml"
TEST = SimulatedChips(first_seed=9_000_000, count=200, size=256, roles=("s1", "s2"), targets=("flood",))


def run(arm: str, labels: int, seed: int, work: Path, threads: int) -> Path:
    """Train one arm; the model folder. A folder that is there already is taken as it is."""
    out = work / f"{arm}-{labels}-{seed}"
    folder = out / ("teacher" if arm == "teacher" else "student")
    if (folder / "signature.json").is_file():
        return folder
    settings = [f"arm={arm}", f"labelled.count={labels}", f"seed={seed}", f"cache='{work / 'chips'}'"]
    if arm == "distilled":
        settings.append(f"distillation.teacher='{work / f'teacher-{labels}-{seed}' / 'teacher'}'")
    config = validate(override(read_toml(RECIPE), settings), flood.Config, str(RECIPE))
    return flood.run(config, Place(threads=threads), out, resume=out.exists())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, nargs="+", default=[20, 100])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", default=["teacher", "distilled", "supervised"])
    parser.add_argument("--work", type=Path, required=True, help="folder for models and the cache of chips")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    test = replace(TEST, cache=chosen.work / "chips")
    for seed in chosen.seeds:
        for labels in chosen.labels:
            for arm in chosen.arms:
                folder = run(arm, labels, seed, chosen.work, chosen.threads)
                table = score(OpenVinoPredictor(ModelFolder.open(folder), threads=1), test, name=arm)
                found = report(table).predictors[arm]
                values = {
                    "pooled_iou": found.total.pooled_iou,
                    "mean_iou": found.total.mean_iou,
                    "auprc": found.average_precision,
                    "ece": found.calibration_error,
                }
                print(arm, labels, seed, values, flush=True)
                rows = [Result(arm, str(labels), key, float(value or 0), seed, "test") for key, value in values.items()]
                record("flood-simulated", rows)


if __name__ == "__main__":
    main()
