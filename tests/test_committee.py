"""Committees and the answers kept beside chips."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from undercast.bands import S1, S2_L1C
from undercast.chip import Chip, ChipInfo
from undercast.datasets.answered import ANSWER, Answered
from undercast.errors import ModelError
from undercast.predict.committee import Committee, mirror, mirror_back
from undercast.signature import Signature
from undercast.task import FLOOD


class Slope:
    """Answers water by VV alone, a little more to the right: it is not the same for every view."""

    def __init__(self, shift: float = 0.0, stride: int = 4, name: str = "slope") -> None:
        self.signature = Signature(name=name, task=FLOOD, inputs={"s1": S1}, stride=stride)
        self.shift = shift

    def predict(self, images: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        vv = np.nan_to_num(images["s1"][:, 0])
        water = 1 / (1 + np.exp(vv + 12 - np.linspace(0, 1, vv.shape[-1]) + self.shift))
        return np.stack([1 - water, water], axis=1).astype(np.float32)


def image(seed: int, rows: int = 8, cols: int = 12) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(-12, 3, (1, 2, rows, cols)).astype(np.float32)


@given(st.integers(0, 7), st.integers(1, 6), st.integers(1, 6))
def test_mirrored_back_is_as_it_was(view: int, rows: int, cols: int):
    array = np.arange(2 * rows * cols, dtype=np.float32).reshape(2, rows, cols)
    np.testing.assert_array_equal(mirror_back(mirror(array, view), view), array)


def test_the_eight_views_are_eight():
    array = np.arange(9, dtype=np.float32).reshape(3, 3)
    assert len({mirror(array, view).tobytes() for view in range(8)}) == 8


def test_one_member_and_one_view_is_that_member():
    np.testing.assert_array_equal(Committee([Slope()]).predict({"s1": image(0)}), Slope().predict({"s1": image(0)}))


@settings(max_examples=20)
@given(seed=st.integers(0, 99), views=st.sampled_from([1, 2, 4, 8]), view=st.integers(0, 7))
def test_a_committee_is_the_mean_of_its_members_and_does_not_mind_its_own_views(seed: int, views: int, view: int):
    members = [Slope(-1.0), Slope(2.0)]
    answered = Committee(members, views).predict({"s1": image(seed)})  # type: ignore[arg-type]
    means = [Committee([member], views).predict({"s1": image(seed)}) for member in members]  # type: ignore[arg-type]
    np.testing.assert_allclose(answered, np.mean(means, axis=0), atol=1e-6)
    if view < views:
        turned = mirror_back(Committee(members, views).predict({"s1": mirror(image(seed), view)}), view)  # type: ignore[arg-type]
        np.testing.assert_allclose(turned, answered, atol=1e-6)


def test_members_must_be_of_one_kind():
    with pytest.raises(ModelError, match="no members"):
        Committee([])
    with pytest.raises(ModelError, match="slope and other differ"):
        Committee([Slope(), Slope(stride=8, name="other")])


class Pairs:
    """Two chips of another size than the stride, with an unseen corner."""

    task = FLOOD
    modalities = {"s1": S1, "s2": S2_L1C}  # noqa: RUF012
    index = (ChipInfo("a"), ChipInfo("b"))

    def __len__(self) -> int:
        return 2

    def __getitem__(self, number: int) -> Chip:
        radar = image(number, 10, 14)[0]
        radar[:, :3, :3] = np.nan
        return Chip(
            "ab"[number],
            {"s1": radar, "s2": np.zeros((13, 10, 14), np.float32)},
            {"cloud": np.zeros((10, 14), np.uint8)},
        )


@pytest.mark.parametrize("views", [1, 8])
def test_chips_carry_what_the_teacher_said_of_them_and_nothing_where_it_saw_nothing(views: int):
    source = Answered(Pairs(), Committee([Slope()], views), ("s2",))  # type: ignore[arg-type]
    assert set(source.modalities) == {"s2", ANSWER}
    assert source.modalities[ANSWER].bands == ("dry", "water")
    for number in range(len(source)):
        chip = source[number]
        assert set(chip.images) == {"s2", ANSWER}
        assert set(chip.targets) == {"cloud"}
        answered = chip.images[ANSWER]
        assert np.isnan(answered[:, :3, :3]).all()
        assert np.isfinite(answered).sum() == answered.size - 2 * 9
        np.testing.assert_allclose(np.nansum(answered, axis=0)[3:], 1, atol=1e-5)
        if views == 1:
            padded = np.pad(Pairs()[number].images["s1"], ((0, 0), (0, 2), (0, 2)), constant_values=np.nan)
            expected = Slope().predict({"s1": padded[None]})[0, :, :10, :14]
            np.testing.assert_array_equal(answered[:, 3:], expected[:, 3:])


class Counting(Slope):
    """Knows how often it was asked."""

    asked = 0

    def predict(self, images: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        self.asked += 1
        return super().predict(images)


def test_kept_answers_are_asked_for_once_by_teacher_and_by_image(tmp_path: Path):
    teacher = Counting()
    first = Answered(Pairs(), teacher, ("s2",), tmp_path, "one")  # type: ignore[arg-type]
    said = [first[number].images[ANSWER] for number in (0, 1, 0)]
    assert teacher.asked == 2
    again = Answered(Pairs(), teacher, (), tmp_path, "one")[0].images[ANSWER]  # type: ignore[arg-type]
    np.testing.assert_array_equal(again, said[0])
    np.testing.assert_array_equal(said[2], said[0])
    plain = Answered(Pairs(), Slope(), ("s2",))[0].images[ANSWER]  # type: ignore[arg-type]
    np.testing.assert_allclose(said[0], plain, atol=1e-3)
    _ = Answered(Pairs(), teacher, ("s2",), tmp_path, "another")[0]  # type: ignore[arg-type]
    assert teacher.asked == 3
