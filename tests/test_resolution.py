"""Scores on larger pixels, the tables made of them, and what is said where a model was trained on what is scored."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undercast.chip import ChipInfo
from undercast.datasets import SimulatedChips
from undercast.errors import InputError
from undercast.evaluate import baseline, paper, report, score
from undercast.evaluate.leakage import Trained, journal_line
from undercast.evaluate.report import truth_shares
from undercast.evaluate.resolution import resample
from undercast.task import NODATA


def chip(seed: int, rows: int, cols: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    water = rng.random((rows, cols)).astype(np.float32)
    truth = rng.choice(np.array([0, 1, NODATA], np.uint8), (rows, cols), p=[0.5, 0.4, 0.1])
    return np.stack([1 - water, water]), rng.random((rows, cols)) < 0.9, truth


@settings(max_examples=30)
@given(seed=st.integers(0, 99), rows=st.integers(1, 20), cols=st.integers(1, 20))
def test_pixels_of_the_same_size_are_the_same(seed: int, rows: int, cols: int):
    probabilities, observed, truth = chip(seed, rows, cols)
    same = resample(probabilities, observed, truth, 1.0)
    np.testing.assert_array_equal(same.truth, truth)
    np.testing.assert_array_equal(same.observed, observed)
    np.testing.assert_allclose(same.probabilities[:, observed], probabilities[:, observed], atol=1e-6)


@settings(max_examples=30)
@given(seed=st.integers(0, 99), factor=st.sampled_from([2, 3]))
def test_whole_multiples_are_blocks(seed: int, factor: int):
    probabilities, observed, truth = chip(seed, 12, 18)
    small = resample(probabilities, observed, truth, factor)
    assert small.truth.shape == (12 // factor, 18 // factor)
    for row in range(12 // factor):
        for col in range(18 // factor):
            part = np.s_[row * factor : (row + 1) * factor, col * factor : (col + 1) * factor]
            seen, labels = observed[part], truth[part]
            assert small.observed[row, col] == (seen.mean() >= 0.5)
            if seen.any():
                mean = probabilities[(slice(None), *part)][:, seen].mean(axis=1)
                np.testing.assert_allclose(small.probabilities[:, row, col], mean, atol=1e-5)
            wet, dry = (labels == 1).sum(), (labels == 0).sum()
            if wet != dry:
                expected = NODATA if wet + dry < labels.size / 2 else int(wet > dry)
                assert small.truth[row, col] == expected


@settings(max_examples=30)
@given(factor=st.floats(1, 4), share=st.floats(0, 1), size=st.integers(16, 40))
def test_what_is_even_stays_even_at_any_factor(factor: float, share: float, size: int):
    probabilities = np.stack([np.full((size, size), 1 - share), np.full((size, size), share)]).astype(np.float32)
    probabilities[:, :4] = np.nan  # not answered there, whatever it is
    observed = np.ones((size, size), bool)
    small = resample(probabilities, observed, np.ones((size, size), np.uint8), factor)
    assert small.truth.shape == (int(size / factor + 1e-9),) * 2
    assert (small.truth == 1).all()
    np.testing.assert_allclose(small.probabilities[1][small.observed], share, atol=1e-6)
    assert small.observed[int(np.ceil(4 / factor)) :].all()


def test_sixteen_metres_of_ten_are_320_of_512():
    probabilities, observed, truth = chip(0, 512, 16)
    assert resample(probabilities, observed, truth, 1.6).truth.shape == (320, 10)


def test_a_table_of_each_size_of_pixel_is_told_in_percent():
    chips = SimulatedChips(3, 2, 64, roles=("s1",), targets=("flood",))
    rule = baseline("threshold")
    plain, larger = (report(score(rule, chips, factor=factor)) for factor in (1.0, 1.6))
    assert plain.predictors["threshold"].total.valid > 2 * larger.predictors["threshold"].total.valid
    tables = {paper.caption(result, metres, "test"): result for metres, result in ((10, plain), (16, larger))}
    text = "\n".join(paper.to_markdown(tables))
    assert "## IoU of water, pooled over all pixels of 16 m, 2 chips, split test; percent" in text
    iou = plain.predictors["threshold"].total.pooled_iou
    assert iou is not None
    assert f"| threshold | {100 * iou:.2f} |" in text
    assert paper.to_grid("a", plain).row_count == 1
    with pytest.raises(InputError, match="smaller than the model's"):
        score(rule, chips, factor=0.5)


def test_the_balance_of_what_was_scored_is_that_of_the_truth():
    chips = SimulatedChips(3, 2, 64, roles=("s1",), targets=("flood",))
    table = score(baseline("threshold"), chips)
    wet = sum((chips[n].targets["flood"] == 1)[chips[n].valid("s1")].sum() for n in range(2))
    (line,) = truth_shares(table)
    assert f"{wet / table.confusion.sum():.1%} water" in line
    assert line.startswith("Split simulated: 2 chips of 2 events")


# --- trained on what is scored


def infos(*pairs: tuple[str, str]) -> list[ChipInfo]:
    return [ChipInfo(key, event) for key, event in pairs]


def test_chips_and_events_of_training_are_told(tmp_path: Path):
    trained = infos(("1", "India"), ("2", "Ghana"), ("simulated-5", "simulated-5"))
    (tmp_path / "journal.jsonl").write_text('{"event": "start"}\n' + journal_line([trained, trained]))
    found = Trained.read(tmp_path)
    assert found is not None
    assert found.keys == {"1", "2", "simulated-5"}
    assert "trained on 1 of these 2 chips (such as 1)" in found.warnings("m", infos(("1", "India"), ("9", "Peru")))[0]
    assert found.warnings("m", infos(("7", "Ghana"))) == ["m was trained on other chips of the events scored: Ghana"]
    assert "trained on 1 of" in found.warnings("m", infos(("simulated-5", "simulated-5")))[0]
    assert found.warnings("m", infos(("1", "Peru"))) == []  # the same number in another data set
    assert found.warnings("m", infos(("8", "Peru"))) == []


@settings(max_examples=60)
@given(st.lists(st.from_regex(r"\A[ab_.]{0,2}[0-9]{0,3}\Z"), max_size=12))
def test_names_of_chips_are_told_briefly_and_read_back(tmp_path_factory: pytest.TempPathFactory, keys: list[str]):
    folder = tmp_path_factory.mktemp("model")
    (folder / "journal.jsonl").write_text(journal_line([infos(*((key, "") for key in keys))]))
    found = Trained.read(folder)
    assert found is not None
    assert found.keys == set(keys)


def test_a_thousand_numbered_chips_are_one_entry():
    line = journal_line([[ChipInfo(f"simulated-{number:08d}") for number in range(95, 1095)]])
    assert json.loads(line)["keys"] == ["simulated-00000095..00001094"]


def test_a_model_that_names_nothing_is_known_as_such(tmp_path: Path):
    assert Trained.read(tmp_path) is None
    (tmp_path / "journal.jsonl").write_text(json.dumps({"event": "start"}) + "\n")
    assert Trained.read(tmp_path) is None
