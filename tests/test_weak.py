"""Weak labels and the map of water occurrence."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undercast.datasets import SimulatedChips
from undercast.datasets.weak import WeakChoice, WeakLabels, improve
from undercast.errors import InputError
from undercast.task import NODATA


@settings(max_examples=40)
@given(seed=st.integers(0, 999), at_least=st.sampled_from([50.0, 75.0, 90.0]))
def test_what_often_is_water_becomes_water_and_nothing_else_changes(seed: int, at_least: float):
    rng = np.random.default_rng(seed)
    label = rng.choice(np.array([0, 1, NODATA], np.uint8), (9, 7))
    occurrence = rng.choice(np.array([0, 49, 50, 75, 90, 100, np.nan], np.float32), (9, 7))
    improved = improve(label, occurrence, at_least)
    assert improved.dtype == np.uint8
    often = np.nan_to_num(occurrence, nan=-1) >= at_least
    assert (improved[often] == 1).all()
    np.testing.assert_array_equal(improved[~often], label[~often])
    assert (improve(improved, occurrence, at_least) == improved).all()


def test_a_higher_bar_changes_no_more_than_a_lower_one():
    rng = np.random.default_rng(1)
    label, occurrence = np.full((20, 20), NODATA, np.uint8), rng.uniform(0, 100, (20, 20)).astype(np.float32)
    wet = [improve(label, occurrence, at_least) == 1 for at_least in (50, 75, 90)]
    assert (wet[2] <= wet[1]).all()
    assert (wet[1] <= wet[0]).all()


@pytest.mark.parametrize("at_least", [0, 75])
def test_simulated_weak_labels_stand_under_the_name_of_the_target(at_least: float, tmp_path: Path):
    choice = WeakChoice(source="simulated:5+3@64", occurrence=at_least)
    chips = choice.open_as(("s1",), "flood", cache=tmp_path)
    plain = SimulatedChips(5, 3, 64, roles=("s1", "occurrence"), targets=("flood_weak",))
    assert len(chips) == 3
    assert [info.key for info in chips.index] == [info.key for info in plain.index]
    for number in range(3):
        chip, other = chips[number], plain[number]
        expected = other.targets["flood_weak"]
        if at_least:
            expected = improve(expected, other.images["occurrence"][0], at_least)
        np.testing.assert_array_equal(chip.targets["flood"], expected)
        np.testing.assert_array_equal(chip.images["s1"], other.images["s1"])
    assert "weak labels" in str(choice)
    assert ("75 %" in str(choice)) == bool(at_least)


def test_what_is_missing_is_named():
    with pytest.raises(InputError, match="role 'occurrence'; the chips have s1"):
        WeakLabels(SimulatedChips(0, 1, 64, roles=("s1",)), "flood_weak", "flood", 50)
    chips = WeakLabels(SimulatedChips(0, 1, 64, roles=("s1",), targets=("flood",)), "flood_weak", "flood")
    with pytest.raises(InputError, match="no target 'flood_weak', only flood"):
        chips[0]
