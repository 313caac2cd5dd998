"""Scores: every statistic of the table against the same counted the slow way, on chips whose truth is constructed."""

import csv
import importlib.util
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.image import imread
from rich.console import Console
from typer import Typer
from typer.testing import CliRunner

from undercast.bands import S1, S2_L1C
from undercast.chip import Chip, ChipInfo
from undercast.cli.evaluate import evaluate
from undercast.cli.simulate import simulate
from undercast.datasets import Sen1Floods11, open_dataset
from undercast.datasets.split import select
from undercast.errors import ConfigError, InputError, ModelError, ProductError
from undercast.evaluate import BASELINES, FixedThreshold, OtsuThreshold, Table, baseline, report, score, scores
from undercast.evaluate.baselines import FixedThresholdConfig, otsu
from undercast.evaluate.figures import class_picture, gallery, optical_picture, radar_picture, reliability
from undercast.evaluate.report import mean_iou, pooled_iou, show, to_markdown, write
from undercast.signature import Signature
from undercast.task import FLOOD, NODATA, ClassLabel, Task

SHARED = Path(__file__).parents[2] / "shared" / "data" / "sen1floods11"
THREE = Task(
    name="sky",
    classes=tuple(ClassLabel(value=v, name=n, color="#808080") for v, n in enumerate(("clear", "thin", "thick"))),
)


class Made:
    """Chips made of arrays."""

    def __init__(self, chips: list[Chip], task: Task = FLOOD, modalities=None) -> None:
        self.chips, self.task, self.modalities = chips, task, modalities or {"s1": S1}
        self.index = [ChipInfo(chip.key, chip.event, chip.place, "test") for chip in chips]

    def __len__(self) -> int:
        return len(self.chips)

    def __getitem__(self, number: int) -> Chip:
        return self.chips[number]


class Stated:
    """Answers the first band of ``s1``, read as the probability of class 1 (or one band a class)."""

    def __init__(self, task: Task = FLOOD, threshold: float = 0.5, stride: int = 1) -> None:
        bands = ("VV",) if len(task) == 2 else ("VV", "VH")
        self.signature = Signature(
            name="stated", task=task, inputs={"s1": S1.select(bands)}, threshold=threshold, stride=stride
        )

    def predict(self, images: Mapping[str, np.ndarray]) -> np.ndarray:
        image = images["s1"]
        assert all(size % self.signature.stride == 0 for size in image.shape[2:])
        rest = 1 - image.sum(axis=1, keepdims=True)
        return np.concatenate([rest, image], axis=1)


def made(seed: int, chips: int = 6, size: int = 12, events: int = 3, holes: bool = True) -> Made:
    """Chips whose VV is a probability, with holes in image and label, and truth that mostly follows it."""
    random = np.random.default_rng(seed)
    result = []
    for number in range(chips):
        stated = random.random((size, size)).astype(np.float32)
        truth = (random.random((size, size)) < stated).astype(np.uint8)
        if holes:
            truth[random.random(truth.shape) < 0.1] = NODATA
            stated[random.random(truth.shape) < 0.1] = np.nan
        image = np.stack([stated, np.zeros_like(stated)])
        event = f"e{number % events}"
        result.append(Chip(f"c{number}", {"s1": image}, {"flood": truth}, event, f"p{number}"))
    return Made(result)


def pixels(source: Made) -> list[tuple[np.ndarray, np.ndarray]]:
    """Stated probability and truth of the scored pixels, by chip."""
    found = []
    for chip in source.chips:
        stated, truth = chip.images["s1"][0], chip.targets["flood"]
        keep = np.isfinite(stated) & (truth != NODATA)
        found.append((stated[keep], truth[keep]))
    return found


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), threshold=st.sampled_from([0.25, 0.5, 0.75]))
def test_every_count_is_that_of_the_pixels(seed, threshold):
    source = made(seed)
    table = score(Stated(threshold=threshold), source)
    for row, (stated, truth), chip in zip(table, pixels(source), source.chips, strict=True):
        water = stated >= threshold
        expected = [[np.sum((truth == t) & (water == a)) for a in (False, True)] for t in (0, 1)]
        assert row.confusion.tolist() == expected
        assert row.valid == len(truth)
        assert row.unseen == np.isnan(chip.images["s1"][0]).sum()
        assert row.labelled == (chip.targets["flood"] != NODATA).sum()
        assert row.histogram[:2].sum() == row.valid
        assert row.histogram[2].sum() == pytest.approx(stated.sum(dtype=np.float64), rel=1e-6)


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_pooled_iou_is_over_pixels_and_mean_iou_over_chips(seed):
    source = made(seed)
    table = score(Stated(), source)
    stated, truth = (np.concatenate(parts) for parts in zip(*pixels(source), strict=True))
    water = stated >= 0.5
    assert pooled_iou(table.confusion) == pytest.approx(np.sum(water & (truth == 1)) / np.sum(water | (truth == 1)))
    by_chip = [np.sum((s >= 0.5) & (t == 1)) / np.sum((s >= 0.5) | (t == 1)) for s, t in pixels(source)]
    assert mean_iou(table.confusion) == pytest.approx(np.mean(by_chip))
    one = report(table).predictors["stated"].total.classes["water"]
    assert one.precision == pytest.approx(np.mean(truth[water] == 1))
    assert one.recall == pytest.approx(np.mean(water[truth == 1]))
    assert one.f1 == pytest.approx(2 * one.precision * one.recall / (one.precision + one.recall))


def test_a_chip_without_water_counts_one_and_one_without_pixels_is_left_out():
    confusion = np.array([[[9, 0], [0, 0]], [[4, 1], [1, 3]], [[0, 0], [0, 0]], [[5, 1], [0, 0]]])
    assert mean_iou(confusion) == pytest.approx((1 + 3 / 5 + 0) / 3)
    assert pooled_iou(confusion) == pytest.approx(3 / 6)
    assert math.isnan(mean_iou(confusion[2:3]))
    assert math.isnan(pooled_iou(confusion[:1]))


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_the_best_threshold_is_the_best_of_all_thresholds(seed):
    source = made(seed)
    table = score(Stated(), source)
    stated, truth = (np.concatenate(parts) for parts in zip(*pixels(source), strict=True))
    edge, best = scores.best_threshold(table.histogram.sum(0))
    # The bins are those of double precision; so is the comparison here.
    bins = np.floor(stated.astype(np.float64) * 100)
    tried = {t: np.sum((bins >= t) & (truth == 1)) / np.sum((bins >= t) | (truth == 1)) for t in range(1, 100)}
    assert best == pytest.approx(max(tried.values()))
    assert tried[round(edge * 100)] == pytest.approx(best)


def test_what_is_stated_truly_is_calibrated_and_what_is_squeezed_is_not():
    source = made(3, chips=4, size=128)
    honest = report(score(Stated(), source)).predictors["stated"]
    assert honest.calibration_error < 0.01
    squeezed = Made([Chip(c.key, {"s1": c.images["s1"] ** 3}, c.targets, c.event) for c in source.chips])
    # E|p - p³| for p uniform on [0, 1] is 1/4
    assert report(score(Stated(), squeezed)).predictors["stated"].calibration_error == pytest.approx(0.25, abs=0.01)


def test_average_precision_follows_the_order_alone():
    random = np.random.default_rng(0)
    truth = (random.random((64, 64)) < 0.2).astype(np.uint8)
    for stated, expected in ((truth * 0.4 + 0.3, 1.0), (np.full(truth.shape, 0.7), truth.mean())):
        chip = Chip("c", {"s1": np.stack([stated, stated]).astype(np.float32)}, {"flood": truth})
        part = report(score(Stated(), Made([chip]))).predictors["stated"]
        assert part.average_precision == pytest.approx(expected)


def test_statistics_by_event_are_those_of_its_chips():
    source = made(5, chips=7, events=3)
    whole = score(Stated(), source)
    result = report(whole).predictors["stated"]
    assert set(result.events) == {"e0", "e1", "e2"}
    alone = report(score(Stated(), select(source, event="e1"))).predictors["stated"].total
    assert result.events["e1"] == alone
    assert sum(group.valid for group in result.events.values()) == result.total.valid
    assert sum(len(part) for part in whole.groups("place").values()) == 7


def test_the_interval_draws_events_and_says_when_it_cannot():
    part = report(score(Stated(), made(1, chips=12, events=4))).predictors["stated"]
    assert (part.pooled_interval.over, part.pooled_interval.groups) == ("events", 4)
    assert part.pooled_interval.low <= part.total.pooled_iou <= part.pooled_interval.high
    few = report(score(Stated(), made(1, chips=12, events=2)))
    assert (few.predictors["stated"].mean_interval.over, few.predictors["stated"].mean_interval.groups) == ("chips", 12)
    assert "too narrow" in to_markdown(few, {})
    assert report(score(Stated(), made(1, chips=1))).predictors["stated"].pooled_interval is None


def test_events_that_differ_make_a_wider_interval_than_their_chips():
    random = np.random.default_rng(0)
    good, bad = np.array([[50, 2], [2, 46]]), np.array([[50, 30], [10, 10]])
    confusion = np.stack([good + random.integers(0, 3, (2, 2)) for _ in range(20)] + [bad] * 20)
    parts = [values[:, 1:] for values in scores.pooled_parts(confusion)]
    by_event = scores.bootstrap(*parts, ["a"] * 10 + ["b"] * 10 + ["c"] * 10 + ["d"] * 10)
    by_chip = scores.bootstrap(*parts, ["a"] * 20 + ["b"] * 20)
    assert (by_event.over, by_chip.over) == ("events", "chips")
    assert by_event.high - by_event.low > 1.3 * (by_chip.high - by_chip.low)


def test_a_table_is_read_back_as_it_was(tmp_path):
    source = made(2)
    table = score(Stated(), source) + score(Stated(), source, name="again, with a comma")
    table.save(tmp_path)
    back = Table.load(tmp_path)
    assert (back.task, back.classes, back.predictors) == (table.task, table.classes, table.predictors)
    assert report(back) == report(table)
    assert [row.info for row in back] == [row.info for row in table]
    (tmp_path / "table.csv").write_text("predictor\n")
    with pytest.raises(InputError, match="holds no table"):
        Table.load(tmp_path)


def test_more_than_two_classes_are_scored_by_the_likeliest():
    random = np.random.default_rng(0)
    shares = random.dirichlet((1, 1, 1), (32, 32)).astype(np.float32)
    truth = (random.random((32, 32, 1)) > shares.cumsum(-1)).sum(-1).clip(0, 2).astype(np.uint8)
    chip = Chip("c", {"s1": np.moveaxis(shares[..., 1:], -1, 0).copy()}, {"sky": truth})
    table = score(Stated(THREE), Made([chip], THREE))
    said = shares.argmax(-1)
    assert table.confusion[0].tolist() == [[np.sum((truth == t) & (said == a)) for a in range(3)] for t in range(3)]
    part = report(table).predictors["stated"]
    assert part.average_precision is None
    assert part.total.accuracy == pytest.approx(np.mean(said == truth))
    assert part.total.pooled_iou == pytest.approx(np.nanmean(scores.iou(table.confusion[0])))
    assert part.calibration_error < 0.1


def test_an_answer_of_any_size_is_asked_in_multiples_of_the_stride():
    source = made(4, size=13)
    assert score(Stated(stride=8), source).confusion.tolist() == score(Stated(), source).confusion.tolist()


def test_what_does_not_fit_is_refused():
    source = made(0)
    with pytest.raises(InputError, match="target 'flood_weak'"):
        score(Stated(), source, target="flood_weak")
    with pytest.raises(ModelError, match="answers 'sky'"):
        score(Stated(THREE), source)
    optical = Made(source.chips, modalities={"s2": S2_L1C})
    with pytest.raises(ModelError, match=r"needs s1 \(VV\)"):
        score(Stated(), optical)
    power = Made(source.chips, modalities={"s1": S1.model_copy(update={"unit": "power"})})
    with pytest.raises(InputError, match="takes dB, the chips are in power"):
        score(Stated(), power)
    only_vv = Made(source.chips, modalities={"s1": S1.select(("VV",))})
    with pytest.raises(InputError, match="no band VH"):
        score(FixedThreshold(), only_vv)
    broken = Chip("c", source.chips[0].images, {"flood": np.full((12, 12), 4, np.uint8)})
    with pytest.raises(InputError, match="chip c: target 'flood' holds 4"):
        score(Stated(), Made([broken]))


# --- baselines --------------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), decibel=st.floats(-25, -15))
def test_the_fixed_threshold_cuts_where_it_says(seed, decibel):
    rule = FixedThreshold(FixedThresholdConfig(decibel=decibel))
    vh = np.random.default_rng(seed).normal(-20, 5, (2, 1, 9, 7)).astype(np.float32)
    vh[0, 0, 0, 0], vh[0, 0, 0, 1] = np.nan, np.float32(decibel)
    answered = rule.predict({"s1": vh})
    water = answered[:, 1] >= rule.signature.threshold
    assert np.array_equal(water, vh[:, 0] < np.float32(decibel))
    assert np.isnan(answered[0, :, 0, 0]).all()
    assert np.allclose(np.nansum(answered, axis=1)[np.isfinite(vh[:, 0])], 1)


@pytest.mark.parametrize("name", list(BASELINES))
def test_a_rule_looks_at_the_band_it_is_named_after(name):
    rule = baseline(name)
    assert rule.signature.name == name
    assert rule.signature.inputs["s1"].bands == (("VV",) if name.endswith("vv") else ("VH",))


def variance_within(values: np.ndarray, cut: float) -> float:
    low, high = values[values < cut], values[values >= cut]
    return (len(low) * low.var() + len(high) * high.var()) / len(values)


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), share=st.floats(0.1, 0.9))
def test_no_other_cut_leaves_less_variance_within_the_classes_than_otsus(seed, share):
    random = np.random.default_rng(seed)
    values = np.where(random.random(2000) < share, random.normal(-24, 1, 2000), random.normal(-14, 1.5, 2000))
    values = values.astype(np.float32)
    cut = otsu(values)
    assert -23 < cut < -15
    others = np.linspace(values.min() + 0.1, values.max() - 0.1, 80)
    assert variance_within(values, cut) <= 1.01 * min(variance_within(values, other) for other in others)


def test_otsu_finds_a_threshold_in_each_image_from_what_was_seen():
    random = np.random.default_rng(0)
    water = random.random((2, 40, 40)) < 0.4
    vh = np.where(water, -24, -14) + random.normal(0, 1, water.shape) + np.array([0, 6])[:, None, None]
    vh = vh.astype(np.float32)
    vh[:, :5] = np.nan
    answered = OtsuThreshold().predict({"s1": vh[:, None]})[:, 1]
    assert np.mean((answered >= 0.5)[:, 5:] == water[:, 5:]) > 0.999
    assert np.isnan(answered[:, :5]).all()


@pytest.mark.parametrize("vh", [np.full((1, 1, 4, 4), -24.0), np.full((1, 1, 4, 4), np.nan)])
def test_otsu_calls_nothing_water_where_there_is_nothing_to_part(vh):
    answered = OtsuThreshold().predict({"s1": vh.astype(np.float32)})
    assert not (answered[:, 1] >= 0.5).any()


EXPECTED = {"India_900498": 0.74, "USA_905409": 0.70, "Somalia_699062": 0.09, "Spain_7370579": 0.57}


def test_the_fixed_threshold_scores_on_real_chips_what_was_measured_before():
    if not SHARED.is_dir():
        pytest.skip("shared data absent")
    table = score(FixedThreshold(), Sen1Floods11(SHARED))
    measured = {row.info.key: float(scores.iou(row.confusion)[1]) for row in table}
    for key, expected in EXPECTED.items():
        assert measured[key] == pytest.approx(expected, abs=0.006)
    paraguay = next(row for row in table if row.info.key == "Paraguay_34417")
    assert (paraguay.valid, paraguay.nodata_share) == (0, 1.0)
    assert paraguay.labelled > 0


# --- report and figures -----------------------------------------------------------------------------------------------


def test_a_report_tells_the_same_in_every_form(tmp_path):
    source = made(6, chips=8, events=4)
    table = score(Stated(), source) + score(Stated(threshold=0.9), source, name="careful")
    result = report(table)
    write(result, tmp_path, {"A caption": "picture.png"})
    told = json.loads((tmp_path / "report.json").read_text())
    pooled = told["predictors"]["careful"]["total"]["pooled_iou"]
    assert pooled == pytest.approx(pooled_iou(table.of("careful").confusion))
    text = (tmp_path / "report.md").read_text()
    console = Console(width=80, record=True, file=io.StringIO())
    show(result, console)
    printed = console.export_text()
    for form in (text, printed):
        assert f"{pooled:.3f}" in form
        assert "careful" in form
    assert "![A caption](picture.png)" in text
    assert "…" not in printed  # nothing is cut off in 80 columns


def test_the_gallery_shows_the_best_and_the_worst_in_the_colours_of_the_task(tmp_path):
    random = np.random.default_rng(0)
    chips = []
    for number, noise in enumerate((0.0, 0.1, 0.2, 0.3, 0.4)):
        truth = np.zeros((32, 32), np.uint8)
        truth[8:24, 4:20] = 1
        wrong = random.random(truth.shape) < noise
        vh = np.where((truth == 1) ^ wrong, -25, -12).astype(np.float32)
        chips.append(Chip(f"chip-{number}", {"s1": np.stack([vh + 6, vh])}, {"flood": truth}, f"e{number}"))
    source = Made(chips)
    rules = {name: baseline(name) for name in ("threshold", "otsu")}
    table = score(rules["threshold"], source) + score(rules["otsu"], source)
    gallery(source, rules, table, tmp_path / "chips.png", count=1)
    reliability(table, tmp_path / "reliability.png")
    picture = (imread(tmp_path / "chips.png")[..., :3] * 255).round().astype(int).reshape(-1, 3)
    for label in FLOOD.classes:
        assert (picture == label.rgb).all(axis=1).sum() > 1000
    first = (tmp_path / "chips.png").read_bytes()
    gallery(source, rules, table, tmp_path / "chips.png", count=1)
    assert (tmp_path / "chips.png").read_bytes() == first


def test_pictures_are_colours_wherever_something_was_seen():
    random = np.random.default_rng(0)
    s1 = random.normal(-15, 5, (2, 8, 8)).astype(np.float32)
    s2 = random.random((13, 8, 8)).astype(np.float32)
    s1[:, 0], s2[:, 0] = np.nan, np.nan
    for picture in (
        radar_picture(s1, S1.bands),
        radar_picture(s1[:1], ("VV",)),
        optical_picture(s2, S2_L1C.bands),
        optical_picture(s2[:1], ("B11",)),
        optical_picture(np.full_like(s2, np.nan), S2_L1C.bands),
    ):
        assert picture.shape == (8, 8, 3)
        assert (picture[0] == 0).all()
        assert np.isfinite(picture).all()
        assert 0 <= picture.min() <= picture.max() <= 1
    classes = np.array([[0, 1], [NODATA, NODATA]], np.uint8)
    cloud = np.array([[True, True], [True, False]])
    expected = [[FLOOD.classes[0].rgb, FLOOD.classes[1].rgb], [(255, 255, 255), (0, 0, 0)]]
    assert class_picture(classes, FLOOD, cloud).tolist() == [[list(rgb) for rgb in row] for row in expected]


# --- command line -----------------------------------------------------------------------------------------------------


app = Typer()
app.command("evaluate")(evaluate)
app.command("simulate")(simulate)


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def test_what_is_simulated_can_be_evaluated(tmp_path):
    scenes, out = tmp_path / "scenes", tmp_path / "scores"
    written = json.loads(run("simulate", scenes, "--count", 3, "--size", 64, "--seed", 11, "--json").stdout)
    assert written["scenes"] == ["scene-00000011", "scene-00000012", "scene-00000013"]
    told = json.loads(run("evaluate", "threshold", scenes, "-o", out, "--baseline", "otsu", "--json").stdout)
    assert list(told["predictors"]) == ["otsu", "threshold"]
    assert told == json.loads((out / "report.json").read_text())
    files = {"table.csv", "histograms.npz", "report.json", "report.md", "reliability.png", "chips.png"}
    assert {path.name for path in out.iterdir()} == files
    # The files hold what the simulator made: the same scores come from the chips themselves.
    table = Table.load(out).of("threshold")
    direct = score(FixedThreshold(), open_dataset("simulated:11+3@64"))
    moved = np.abs(table.confusion - direct.confusion).sum() / 2
    assert moved <= 0.002 * table.confusion.sum()  # chips are kept in half precision


def test_simulating_again_gives_the_same_files(tmp_path):
    for name in ("one", "two"):
        run("simulate", tmp_path / name, "--size", 48)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert len(files) > 10
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    parameters = json.loads((tmp_path / "one" / "scene-00000000" / "parameters.json").read_text())
    assert parameters


def test_simulating_does_not_write_over_something_else(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ProductError, match="holds something else"):
        run("simulate", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_unknown_model_split_or_event_is_refused_before_anything_is_written(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(ModelError, match="no model 'nonesuch'"):
        run("evaluate", "nonesuch", "simulated:0+1@32", "-o", out)
    with pytest.raises(InputError, match="no chip has split 'test'"):
        run("evaluate", "otsu", "simulated:0+1@32", "-o", out, "--split", "test")
    with pytest.raises(InputError, match="no such folder"):
        run("evaluate", "otsu", tmp_path / "gone", "-o", out)
    with pytest.raises(ConfigError, match="two predictors are called 'otsu'"):
        run("evaluate", "otsu", "simulated:0+1@32", "-o", out, "--baseline", "otsu")
    assert not out.exists()


def test_a_result_of_the_same_key_is_written_over(tmp_path):
    path = Path(__file__).parents[1] / "benchmarks" / "record.py"
    spec = importlib.util.spec_from_file_location("record", path)
    record = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(record)
    result = record.Result("student", "pooled", "iou", 0.5, seed=1)
    record.record("made", [result, result._replace(arm="otsu")], tmp_path)
    file = record.record("made", [result._replace(value=2 / 3), result._replace(seed=2)], tmp_path)
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert [(row["arm"], row["seed"], row["value"]) for row in rows] == [
        ("student", "1", "0.666667"),
        ("otsu", "1", "0.5"),
        ("student", "2", "0.5"),
    ]
    assert rows[0]["commit"]
    assert rows[0]["date"]
