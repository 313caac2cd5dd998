"""Does a handful of real chips help the shipped student? Each real event left out once, and the model of all of them.

    undercast train recipes/flood/flood-s1.toml -o runs/flood-s1 --set cache=runs/chips
    python benchmarks/flood_ship.py --simulated runs/flood-s1 --out runs/ship --cache runs/chips
    python benchmarks/flood_real.py --model runs/ship/all/student --leave-one-out India=runs/ship/India/student …

Writes one model folder an event under ``--out`` (the model that never saw it) and ``all``.
"""

import argparse
from pathlib import Path

from undercast.config import override, read_toml, validate
from undercast.datasets import Sen1Floods11
from undercast.engine.place import Place
from undercast.recipes import flood

RECIPE = Path(__file__).parents[1] / "recipes/flood/flood-s1-real.toml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulated", type=Path, required=True, help="run of recipes/flood/flood-s1.toml")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True, help="folder of simulated chips")
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data/sen1floods11")
    parser.add_argument("--events", nargs="+", default=["India", "USA", "Somalia", "Spain", "all"])
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    known = {info.event for info in Sen1Floods11(chosen.data).index}
    tables = read_toml(RECIPE)
    place = validate({**tables.pop("place"), "threads": chosen.threads}, Place, str(RECIPE))
    real = next(choice for choice in tables["also"] if not choice["source"].startswith("simulated:"))
    for event in chosen.events:
        real |= {"source": str(chosen.data), "without": [event] if event in known else []}
        settings = [f"cache='{chosen.cache}'", f"student.start='{chosen.simulated / 'student'}'"]
        config = validate(override(tables, settings), flood.Config, str(RECIPE))
        print(flood.run(config, place, chosen.out / event), flush=True)


if __name__ == "__main__":
    main()
