"""How much is found and how much of nothing: measures against brute force on constructed answers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from undercast.chip import Chip
from undercast.datasets import SimulatedChips
from undercast.datasets.split import Subset, balanced
from undercast.errors import InputError
from undercast.evaluate import extent
from undercast.evaluate.extent import Answered
from undercast.signature import Signature


def answers(seed: int, chips: int = 6, pixels: int = 40, levels: int = 9) -> list[Answered]:
    rng = np.random.default_rng(seed)
    found = []
    for number in range(chips):
        truth = rng.random(pixels) < (0.3 if number % 2 else 0.0)
        probability = np.clip(rng.integers(0, levels, pixels) / levels + 0.3 * truth, 0, 1)
        found.append(Answered(str(number), probability, truth))
    return found


def pooled(found: list[Answered]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([one.probability for one in found]), np.concatenate([one.truth for one in found])


@given(st.integers(0, 500))
def test_auprc_is_the_sum_over_thresholds(seed: int) -> None:
    found = answers(seed)
    probability, truth = pooled(found)
    area = last = 0.0
    for threshold in sorted(set(probability), reverse=True):
        above = probability >= threshold
        reached = (above & truth).sum() / truth.sum()
        area += (reached - last) * (above & truth).sum() / above.sum()
        last = reached
    assert extent.auprc(found) == pytest.approx(area)


@given(st.integers(0, 500), st.sampled_from([0.1, 0.3, 0.5, 0.7, 1.0]))
def test_the_threshold_of_a_recall_is_the_highest_that_reaches_it(seed: int, share: float) -> None:
    found = answers(seed)
    threshold = extent.threshold_at(found, share)
    assert extent.recall(found, threshold) >= share - 1e-12
    assert extent.recall(found, np.nextafter(threshold, 2)) < share
    free = [one for one in found if not one.truth.any()]
    expected = np.mean([(one.probability >= threshold).sum() for one in free])
    assert extent.false_area(found, threshold) == pytest.approx(expected)


@given(st.integers(0, 200))
def test_nothing_monotone_changes_what_is_measured_at_equal_recall(seed: int) -> None:
    """Why a calibration alone cannot lower the false area at equal recall."""
    found = answers(seed)
    moved = [Answered(one.key, one.probability**3 / 2, one.truth) for one in found]
    assert extent.auprc(moved) == pytest.approx(extent.auprc(found))
    for share in (0.2, 0.5, 0.9):
        before, after = (extent.false_area(part, extent.threshold_at(part, share)) for part in (found, moved))
        assert before == after


def test_counts_errors_and_their_bars() -> None:
    truth = np.array([True, False, False, True])
    found = [Answered("a", np.array([0.9, 0.2, 0.1, 0.4]), truth), Answered("b", np.full(4, 0.5), np.zeros(4, bool))]
    assert extent.count_errors(found).tolist() == pytest.approx([-0.4, 2.0])
    assert extent.count_errors(found, 0.5).tolist() == [-1, 4]
    assert [one.key for one in extent.of_part(found, "free")] == ["b"]
    assert [one.key for one in extent.of_part(found, "landslide")] == ["a"]
    errors = np.array([-3.0, 1.0, 2.0, 4.0])
    told, published = extent.spread(errors), extent.spread(errors, published_bars=True)
    assert (told.mean, told.median, told.median_size, told.chips) == (1.0, 1.5, 2.5, 4)
    assert told.bar == pytest.approx(errors.std() / 2)
    assert published.bar == pytest.approx(errors.std() / 4)
    assert np.isnan(extent.spread(np.array([])).mean)


def test_calibration_finds_the_slope_and_offset_that_were_put_in() -> None:
    rng = np.random.default_rng(0)
    logit = rng.normal(-1, 2, 50_000)
    truth = rng.random(50_000) < 1 / (1 + np.exp(-logit))
    wrong = 1 / (1 + np.exp(-(3 * logit + 2)))
    found = [Answered("", wrong, truth)]
    calibrated = extent.recalibrated(found, found)[0].probability
    assert np.abs(calibrated - 1 / (1 + np.exp(-logit))).mean() < 0.01
    assert calibrated.sum() == pytest.approx(truth.sum(), rel=0.01)
    assert extent.auprc(extent.recalibrated(found, found)) == pytest.approx(extent.auprc(found), abs=1e-6)


def test_nothing_to_find_is_no_number() -> None:
    free = [one for one in answers(0) if one.free]
    assert np.isnan(extent.auprc(free))
    assert np.isnan(extent.recall(free, 0.5))
    assert np.isnan(extent.false_area([one for one in answers(0) if not one.free], 0.5))
    with pytest.raises(InputError, match="no threshold"):
        extent.threshold_at(free, 0.5)


class Change:
    """Says how much darker VH became."""

    def __init__(self, source: SimulatedChips) -> None:
        self.signature = Signature(name="change", task=source.task, inputs=dict(source.modalities))

    def predict(self, images):
        drop = (images["s1_pre"] - images["s1_post"])[:, 1]
        one = 1 / (1 + np.exp(-drop + 3))
        return np.stack([1 - one, one], axis=1).astype(np.float32)


CHIPS = SimulatedChips(0, 30, 32, "landslide", ("s1_pre", "s1_post"), ("landslide",), region="hills")


def test_a_predictor_is_asked_about_what_is_labelled_and_was_seen() -> None:
    found = extent.ask(Change(CHIPS), CHIPS)
    assert len(found) == 30
    assert all(len(one.truth) == len(one.probability) == 32 * 32 for one in found)
    assert {one.free for one in found} == {True, False}
    prevalence = pooled(found)[1].mean()
    assert extent.auprc(found) > 1.5 * prevalence
    assert [one.key for one in extent.ask(Change(CHIPS), CHIPS, keep=lambda key: key.endswith("7"))] == [
        info.key for info in CHIPS.index if info.key.endswith("7")
    ]

    class Blank:
        task, modalities, index = CHIPS.task, CHIPS.modalities, CHIPS.index

        def __len__(self) -> int:
            return 1

        def __getitem__(self, number: int) -> Chip:
            return Chip("blank", CHIPS[number].images)

    with pytest.raises(InputError, match="nothing to measure"):
        extent.ask(Change(CHIPS), Blank())


def test_half_of_a_balanced_draw_holds_landslides_and_larger_draws_hold_smaller_ones() -> None:
    drawn = {count: balanced(CHIPS, count=count, target="landslide", seed=3) for count in (2, 5, 10)}
    for count, part in drawn.items():
        holds = sum(bool((part[number].targets["landslide"] == 1).any()) for number in range(count))
        assert (len(part), holds) == (count, (count + 1) // 2)
    assert set(drawn[2].numbers) < set(drawn[5].numbers) < set(drawn[10].numbers)
    assert len(balanced(CHIPS, count=30, target="landslide")) == 30
    free = Subset(CHIPS, tuple(n for n in range(30) if not CHIPS[n].targets["landslide"].any()))
    assert len(balanced(free, count=4, target="landslide")) == 4
    with pytest.raises(InputError, match="cannot label 31"):
        balanced(CHIPS, count=31, target="landslide")
