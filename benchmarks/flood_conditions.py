"""Water on simulated scenes under one condition at a time: wind, drought, noise, relief → results/flood-conditions.csv.

    python benchmarks/flood_conditions.py flood-s1 [NAME=FOLDER ...] [--split test] [--count 200]

Every condition changes the radar or picks the scenes, of seeds that nothing is trained or calibrated on; ``val`` are
other seeds, to decide on. Beside the models stand the two thresholds. On ``dry`` scenes there is no water at all: the
measure is the share of pixels that are called water.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np

from record import Result, figures_of, record
from undercast.bands import S1, Modality
from undercast.chip import Chip, ChipInfo
from undercast.evaluate import BASELINES, baseline, report, score
from undercast.model import resolve
from undercast.predict import OpenVinoPredictor, Predictor
from undercast.simulate import SceneParameters, draw_parameters, simulate_scene
from undercast.simulate.parameters import Radar, Water
from undercast.task import TASKS, Task

FIRST = {"test": 9_000_000, "val": 310_000}
SIZE = 256

Condition = Callable[[SceneParameters, np.random.Generator], SceneParameters | None]
"""Parameters as drawn → as they are wanted, or None where the scene is none of these."""


def _radar(change: Callable[[Radar, np.random.Generator], dict[str, object]]) -> Condition:
    return lambda scene, rng: scene.model_copy(
        update={"radar": scene.radar.model_copy(update=change(scene.radar, rng))}
    )


def _within(landscape: str) -> Condition:
    return lambda scene, rng: scene if scene.place.landscape == landscape else None


def _noisy(_: Radar, rng: np.random.Generator) -> dict[str, object]:
    noise = float(rng.uniform(-25, -22))
    return {"noise": (noise, noise), "noise_left": 1.0}


def _off(radar: Radar, rng: np.random.Generator) -> dict[str, object]:
    shift = rng.choice([-1.5, 1.5], 2)
    return {"offset": (radar.offset[0] + float(shift[0]), radar.offset[1] + float(shift[1]))}


CONDITIONS: dict[str, Condition] = {
    "ordinary": lambda scene, rng: scene,
    "rough": _radar(lambda radar, rng: {"wind": float(rng.uniform(8, 14))}),
    "arid": _within("arid"),
    "mountain": _within("mountain"),
    "noisy": _radar(_noisy),
    "off by 1.5 dB": _radar(_off),
    "filtered": _radar(lambda radar, rng: {"filtered": 7}),
    "dry": lambda scene, rng: scene.model_copy(update={"water": Water(channel_cells=1e9, rivers=0, ponds=0, flood=0)}),
}


class Scenes:
    """``count`` simulated chips of VV and VH under a condition; ``plain`` has the radar of the other tasks."""

    def __init__(self, name: str, count: int, first: int) -> None:
        self.name, self.count, self.first = name, count, first

    @property
    def task(self) -> Task:
        return TASKS["flood"]

    @property
    def modalities(self) -> Mapping[str, Modality]:
        return {"s1": S1}

    @cached_property
    def index(self) -> Sequence[ChipInfo]:
        return [ChipInfo(chip.key, event=chip.event, split="simulated") for chip in self.chips]

    @cached_property
    def chips(self) -> list[Chip]:
        found, seed = [], self.first
        while len(found) < self.count:
            if (parameters := self._parameters(seed)) is not None:
                scene = simulate_scene(SIZE, SIZE, seed, parameters=parameters, only=("s1", "flood"))
                found.append(Chip(str(seed), scene.images, scene.targets, event=str(seed)))
            seed += 1
        return found

    def _parameters(self, seed: int) -> SceneParameters | None:
        drawn = draw_parameters(seed)
        if self.name == "plain":
            return drawn.model_copy(update={"radar": draw_parameters(seed, "clouds").radar})
        return CONDITIONS[self.name](drawn, np.random.default_rng(seed))

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Chip:
        return self.chips[number]


def measure(arm: str, predictor: Predictor, scenes: Scenes, split: str) -> list[Result]:
    table = score(predictor, scenes, name=arm)
    if scenes.name == "dry":
        share = sum(int(row.confusion[0, 1]) for row in table) / max(1, sum(row.valid for row in table))
        over = float(np.mean([row.confusion[0, 1] > 0.01 * row.valid for row in table if row.valid]))
        found = {"false_alarm_share": share, "scenes_above_1_percent": over}
    else:
        found = figures_of(report(table).predictors[arm])
    return [Result(arm, scenes.name, metric, value, split=split) for metric, value in found.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="NAME[=FOLDER]")
    parser.add_argument("--split", choices=list(FIRST), default="test")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--conditions", nargs="+", default=["plain", *CONDITIONS])
    parser.add_argument("--rules", nargs="*", default=list(BASELINES), help="thresholds to stand beside")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    asked: dict[str, Predictor] = {}
    for text in chosen.models:
        name, _, folder = text.partition("=")
        asked[name] = OpenVinoPredictor(resolve(folder or name), threads=chosen.threads)
    asked |= {rule: baseline(rule) for rule in chosen.rules}
    for condition in chosen.conditions:
        scenes = Scenes(condition, chosen.count, FIRST[chosen.split])
        for arm, predictor in asked.items():
            results = measure(arm, predictor, scenes, chosen.split)
            print(f"{condition:14} {arm:20}", *(f"{r.metric} {r.value:.4f}" for r in results), flush=True)
            record("flood-conditions", results)


if __name__ == "__main__":
    main()
