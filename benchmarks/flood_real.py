"""Water on the real Sen1Floods11 chips at hand: the student beside a fixed threshold and Otsu → results/flood-real.csv.

    python benchmarks/flood_real.py [--model flood-s1] [--leave-one-out India=DIR ...] [--zero-shot DIR] [--data DIR]

Four chips can be scored (the others hold no water, no label or no radar). A model that saw an event in training may not
be scored on it: ``--leave-one-out EVENT=DIR`` names the model that answers the chips of that event; without it the
model is taken for one that has seen no real chip, as the shipped one has not. ``--zero-shot`` is a student of simulated
chips alone beside one that is not. ``…, uncalibrated`` is the same model at temperature 1, before its calibration.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from record import Result, record
from undercast.datasets import Sen1Floods11
from undercast.datasets.split import Subset, select
from undercast.errors import ConfigError
from undercast.evaluate import Table, baseline, report, score
from undercast.evaluate.figures import gallery, reliability
from undercast.evaluate.scores import iou
from undercast.model import resolve
from undercast.predict import OpenVinoPredictor, Predictor

SCORED = ("India_900498", "Somalia_699062", "Spain_7370579", "USA_905409")
DRY = ("Ghana_53713",)
DATA = Path(__file__).parents[2] / "shared" / "data" / "sen1floods11"


class Student:
    """One model, and for the chips of some events another that never saw them."""

    def __init__(self, default: Predictor, instead: dict[str, Predictor]) -> None:
        self.default, self.instead = default, instead

    def uncalibrated(self) -> "Student":
        """The same models before calibration."""
        return Student(Uncalibrated(self.default), {name: Uncalibrated(one) for name, one in self.instead.items()})

    def on(self, event: str) -> Predictor:
        return self.instead.get(event, self.default)

    def score(self, source: Subset, name: str = "student") -> Table:
        events = dict.fromkeys(info.event for info in source.index)
        tables = [score(self.on(event), select(source, event=event), name=name) for event in events]
        return sum(tables[1:], start=tables[0])


class Uncalibrated:
    """A predictor as it was before calibration: its probabilities at temperature 1."""

    def __init__(self, calibrated: Predictor) -> None:
        self.calibrated, self.signature = calibrated, calibrated.signature

    def predict(self, images: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Probabilities ``[B, K, h, w]`` without the temperature."""
        logarithms = np.log(np.maximum(self.calibrated.predict(images), 1e-12))
        return softmax(logarithms * np.float32(self.signature.temperature), axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="flood-s1")
    parser.add_argument("--leave-one-out", nargs="*", default=[], metavar="EVENT=DIR")
    parser.add_argument("--zero-shot", type=Path, metavar="DIR", help="model of simulated chips alone")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--figures", type=Path, help="folder for the reliability diagram and the chips")
    options = parser.parse_args()

    source = Sen1Floods11(options.data)
    wet, dry = select(source, key=SCORED), select(source, key=DRY)
    student = Student(opened(options.model), dict(left_out(text) for text in options.leave_one_out))
    alone = student.default.signature.inputs["s1"].bands == ("VV",)
    asked, suffix = ("VV alone", "-vv") if alone else ("student", "")
    trained = {asked: student}
    if options.zero_shot:
        trained["zero-shot"] = Student(opened(str(options.zero_shot)), {})
    trained |= {f"{name}, uncalibrated": model.uncalibrated() for name, model in trained.items()}
    rules = {name + suffix: baseline(name + suffix) for name in ("threshold", "otsu")}
    tables = {name: model.score(wet, name) for name, model in trained.items()}
    tables |= {name: score(rule, wet) for name, rule in rules.items()}
    results = [result for arm, table in tables.items() for result in rows_of(arm, table)]
    # Dry ground that a model learned from says nothing of its false alarms.
    events = {info.event for info in dry.index}
    plain = {name: one for name, one in trained.items() if not name.endswith("uncalibrated")}
    unseen = {name: one for name, one in plain.items() if not one.instead or events <= set(one.instead)}
    on_dry = [score(rule, dry) for rule in rules.values()] + [one.score(dry, n) for n, one in unseen.items()]
    alarms = sum(on_dry[1:], start=on_dry[0])
    results += [Result(r.predictor, r.info.key, "false_alarm_share", r.confusion[0, 1] / r.valid) for r in alarms]
    for result in results:
        print(f"{result.arm:24} {result.setting:16} {result.metric:18} {result.value:.3f}")
    print(record("flood-real", results))
    if options.figures:
        whole = sum((tables[rule] for rule in rules), start=tables[asked])
        reliability(whole + tables[f"{asked}, uncalibrated"], options.figures / "flood-real-reliability.png")
        for info in wet.index:
            shown = {**rules, asked: student.on(info.event)}
            gallery(
                select(wet, key=info.key), shown, whole.groups("key")[info.key], options.figures / f"{info.key}.png"
            )


def rows_of(arm: str, table: Table) -> list[Result]:
    """IoU of each chip, pooled and the mean over chips; beside them AUPRC and the calibration error."""
    part = report(table).predictors[table.predictors[0]]
    figures = {"pooled": part.total.pooled_iou, "mean": part.total.mean_iou}
    rows = [Result(arm, row.info.key, "iou", float(np.nan_to_num(iou(row.confusion)[1]))) for row in table]
    rows += [Result(arm, setting, "iou", value) for setting, value in figures.items() if value is not None]
    extra = {"average_precision": part.average_precision, "calibration_error": part.calibration_error}
    return rows + [Result(arm, "pooled", metric, value) for metric, value in extra.items() if value is not None]


def opened(model: str) -> Predictor:
    return OpenVinoPredictor(resolve(model), threads=2)


def left_out(text: str) -> tuple[str, Predictor]:
    event, sign, folder = text.partition("=")
    if not sign:
        raise ConfigError(f"--leave-one-out {text}: write it as EVENT=DIR, for example India=runs/without-india")
    return event, opened(folder)


if __name__ == "__main__":
    main()
