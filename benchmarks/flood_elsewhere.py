"""Real radar of another maker, which no model has learned from: flattened gamma nought with land cover beside it.

    python benchmarks/flood_elsewhere.py flood-s1 [NAME=FOLDER ...]

Three TerraMesh chips: a shore, fields and range without water, and ground that is called snow and ice. Land cover is of
the year and not of the day, so *recall* of water and *false alarms* on the rest are what can be asked, roughly. Writes
``results/flood-elsewhere.csv``.
"""

import argparse
from pathlib import Path

import numpy as np

from record import Result, record
from simulator_realism import real_radar
from undercast.bands import S1
from undercast.evaluate import baseline
from undercast.model import resolve
from undercast.predict import OpenVinoPredictor, Predictor, answer

SHARED = Path(__file__).parents[2] / "shared" / "data"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="NAME[=FOLDER]")
    parser.add_argument("--shared", type=Path, default=SHARED)
    chosen = parser.parse_args()
    asked: dict[str, Predictor] = {}
    for text in chosen.models:
        name, _, folder = text.partition("=")
        asked[name] = OpenVinoPredictor(resolve(folder or name), threads=1)
    asked |= {rule: baseline(rule) for rule in ("threshold", "otsu")}
    results = []
    for name, image, water, dry in real_radar(chosen.shared):
        if not name.startswith("terramesh"):
            continue
        for arm, predictor in asked.items():
            bands = S1.index(predictor.signature.inputs["s1"].bands)
            called = answer(predictor, {"s1": image[bands]})[1] >= predictor.signature.threshold
            seen = np.isfinite(image).all(axis=0)
            for metric, where in (("false_alarm_share", dry & seen), ("recall", water & seen)):
                if where.any():
                    results.append(Result(arm, name.removeprefix("terramesh "), metric, float(called[where].mean())))
    for result in results:
        print(f"{result.arm:14} {result.setting:18} {result.metric:18} {result.value:.3f}")
    print(record("flood-elsewhere", results))


if __name__ == "__main__":
    main()
