"""Whether and then where on real labels: quarters of Landslide4Sense pictures, every arm, number of chips and seed.

The method of ``landslide_simulated.py`` with one optical image (red, green and blue) in place of two radar images, so
there is no change to see, only the scar. Half of all quarters are free of landslides. Splits are by blocks of 50
consecutive numbers: nothing tells where a picture is from (undercast.datasets.l4s_rgb). For the same reason *another
region* is not known to be one: ``other-region`` is stage 1 of the pictures numbered 2250 to 2599, whose colours show
another landscape or season, and which no other arm sees. ``--record`` writes ``results/landslide-l4s.csv``.

    python benchmarks/landslide_l4s.py --data DATA/landslide/l4s_rgb --chips 10 --seeds 0 1 2 --work /tmp/l4s
    python benchmarks/landslide_l4s.py --record --work /tmp/l4s
"""

import argparse
from pathlib import Path

from landslide_simulated import ARMS, load, measures, name_of, run, stage1
from record import Result, record
from undercast.config import override, read_toml, validate
from undercast.datasets import open_dataset
from undercast.datasets.split import select
from undercast.engine.place import Place
from undercast.recipes import landslide

RECIPE = Path(__file__).parents[1] / "recipes/landslide/l4s.toml"
SOURCES = ("chips", "other", "labelled", "validation")


def config_of(arm: str, chips: int, seed: int, data: Path, also: tuple[str, ...] = ()) -> landslide.Config:
    """The recipe's settings for one run."""
    tables = read_toml(RECIPE)
    tables.pop("place")
    settings = [f"arm={arm}", f"labelled.count={chips}", f"seed={seed}", *also]
    settings += [f"{name}.source='{data}'" for name in SOURCES]
    return validate(override(tables, settings), landslide.Config, str(RECIPE))


def record_all(work: Path) -> None:
    """Every run in ``work`` as rows."""
    rows = []
    for kept in sorted((work / "runs").glob("[!.]*.npz")):
        arm, chips, seed, *variant = kept.stem.split("_", 3)
        found = measures(load(kept, "test"), load(kept, "validation"))
        setting = " ".join([chips, *variant])
        rows += [Result(arm, setting, key, value, int(seed), "test") for key, value in found.items()]
    print(record("landslide-l4s", rows), f"{len(rows)} rows")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder l4s_rgb")
    parser.add_argument("--chips", type=int, nargs="+", default=[2, 5, 10, 20, 110])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--set", dest="also", nargs="+", default=[], help="further settings, with --variant")
    parser.add_argument("--variant", default="", help="name of runs with further settings")
    parser.add_argument("--work", type=Path, required=True, help="folder for models and answers")
    parser.add_argument("--quick", action="store_true", help="validation chips alone: for choosing settings")
    parser.add_argument("--record", action="store_true", help="write the results of all runs and train nothing")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    if chosen.record:
        record_all(chosen.work)
        return
    place = Place(accelerator="cpu", precision="bf16-mixed", threads=chosen.threads)
    test = select(open_dataset(chosen.data), split="test")
    for seed in chosen.seeds:
        for chips in chosen.chips:
            for arm in chosen.arms:
                config = config_of(arm, chips, seed, chosen.data, tuple(chosen.also))
                first = stage1(config, place, chosen.work)
                run(config, place, chosen.work, name_of(arm, chips, seed, chosen.variant), first, chosen.quick, test)


if __name__ == "__main__":
    main()
