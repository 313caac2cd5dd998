"""The shipped landcover-s1s2: the arm ``all`` of the land-cover benchmark, seed 0, calibrated, proven and described.

    python benchmarks/landcover_simulated.py --arms teacher all --seeds 0 --work runs/landcover
    python benchmarks/landcover_ship.py --work runs/landcover --out runs/landcover-ship

``recipes/landcover/simulated.toml`` holds the same settings. Writes the model folder ``OUT/student``.
"""

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

import torch

from landcover_simulated import BANDS, CHIPS, VALIDATION, chips_of, settings, trained
from undercast.config import dump_toml
from undercast.engine.place import Place
from undercast.export import load_segmenter, write_model
from undercast.model import CARD, CONFIG, JOURNAL, ModelFolder
from undercast.recipes import landcover
from undercast.recipes.stage import Plan, Stages

ARM, SEED = "all", 0
TOLD = (
    "It has seen simulated scenes alone, and few steps of them: on simulated scenes that nothing else saw its mean IoU "
    "of six classes is 0.43 (0.52 where the sky is clear, 0.35 under cloud, 0.25 without s2, 0.33 without s1). On real "
    "scenes it has no score."
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the benchmark")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=400, help="as the benchmark was run")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    plain = settings(ARM, SEED, chosen.steps)
    network = plain.student.network.model_copy(update={"optional": ("s2", "s1")})
    student = plain.student.model_copy(update={"network": network})
    config = plain.model_copy(update={"name": "landcover-s1s2", "bands": BANDS, "student": student})
    chips = landcover.Chips(chips_of(CHIPS, chosen.work), chips_of(VALIDATION, chosen.work))
    place = Place(threads=chosen.threads)
    teacher = trained("teacher", SEED, chosen.steps, chosen.work, place)
    # The run of the benchmark, taken up where it ended.
    shutil.copytree(chosen.work / f"{ARM}-{SEED}", chosen.out / "training" / "student", dirs_exist_ok=True)
    stages = Stages(
        name=config.name,
        place=place,
        out=chosen.out,
        seed=SEED,
        target=config.target,
        validation=chips.validation,
        config_toml=dump_toml(config),
        resume=True,
    )

    def prepare() -> Plan:
        plan = landcover.through_cloud(config, chips, teacher)
        return replace(plan, about=f"{plan.about} {TOLD}")

    folder = ModelFolder.open(stages.complete("student", config.student.fit, prepare))
    rounded = load_segmenter(folder)
    with torch.no_grad():
        for tensor in rounded.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(tensor.half())  # weights of two bytes each make the file half as large
    told = {"card": CARD, "config_toml": CONFIG, "journal": JOURNAL}
    texts = {name: (folder.path / file).read_text("utf-8") for name, file in told.items()}
    proof = [chips.validation[number] for number in range(8)]
    for found in write_model(folder.path, rounded, folder.signature, chips=proof, **texts):
        print(found)


if __name__ == "__main__":
    main()
