"""nnU-Net's augmentation: where things go, what keeps its statistics, and what was not seen."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undercast.bands import S2_L1C
from undercast.chip import Chip
from undercast.datasets.augment import Augmentation
from undercast.datasets.vary import Quality, Warp, warp
from undercast.task import NODATA

OFF = {"optical": {"on": False}, "turns": False, "flips": False}


def picture(size: int = 40, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[:size, :size] / size
    wave = 0.3 + 0.2 * np.sin(6 * rows + 2) * np.cos(5 * cols)
    return (wave + 0.01 * rng.normal(size=(13, size, size))).astype(np.float32)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_rotation_by_quarters_is_a_quarter_turn(turns: int) -> None:
    image = picture()
    angle = turns * np.pi / 2
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned = warp(image, matrix, (0, 0, 40, 40), Fraction(1))
    expected = np.rot90(image, turns, axes=(1, 2))
    inside = np.isfinite(turned)
    assert inside.mean() > 0.9
    assert (
        min(np.abs(turned - other)[inside].max() for other in (expected, np.rot90(image, -turns, axes=(1, 2)))) < 1e-4
    )


def test_half_the_size_shows_twice_the_ground_and_nothing_beyond_the_chip() -> None:
    image, label = picture(), np.ones((40, 40), np.uint8)
    wide = warp(image, 2 * np.eye(2), (0, 0, 40, 40), Fraction(1))
    assert np.isnan(wide[:, 0, 0]).all()
    np.testing.assert_allclose(
        wide[:, 15:25, 15:25], warp(image, np.eye(2) * 2, (10, 10, 20, 20), Fraction(1))[:, 5:15, 5:15]
    )
    target = warp(label, 2 * np.eye(2), (0, 0, 40, 40), Fraction(1))
    assert set(np.unique(target)) == {1, NODATA}
    assert target.dtype == np.uint8


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32))
def test_images_and_targets_are_warped_alike(seed: int) -> None:
    rows, cols = np.mgrid[:48, :48]
    ball = ((rows - 24) ** 2 + (cols - 17) ** 2 < 100).astype(np.uint8)
    chip = Chip("ball", {"s2": np.repeat(ball[None].astype(np.float32), 13, axis=0)}, {"clouds": ball})
    config = Augmentation(crop=32, warp=Warp(on=True, rotation=1, resize=1), **OFF)
    moved = config.for_chips({"s2": S2_L1C}, vary=("s2",))(chip, np.random.default_rng(seed))
    image, label = moved.images["s2"][0], moved.targets["clouds"]
    sure = np.isfinite(image) & (label != NODATA) & (np.abs(image - 0.5) > 0.45)
    assert sure.mean() > 0.3
    assert ((image > 0.5) == (label == 1))[sure].all()


def test_what_is_off_changes_no_chip_that_was_drawn_before() -> None:
    chip = Chip("one", {"s2": picture()}, {"clouds": np.zeros((40, 40), np.uint8)})
    plain = Augmentation(crop=16).for_chips({"s2": S2_L1C}, vary=("s2",))
    still = Augmentation(crop=16, warp=Warp(on=True, rotation=0, resize=0)).for_chips({"s2": S2_L1C}, vary=("s2",))
    first = plain(chip, np.random.default_rng(3)).images["s2"]
    assert first.shape == still(chip, np.random.default_rng(3)).images["s2"].shape
    assert np.isfinite(first).all()


SINGLE = ("noise", "blur", "brightness", "contrast", "coarse", "gamma", "gamma_inverted")


def only(name: str) -> Quality:
    return Quality.model_validate({"on": True} | {part: float(part == name) for part in SINGLE})


@pytest.mark.parametrize("name", SINGLE)
def test_every_part_changes_the_image_and_leaves_the_unseen_unseen(name: str) -> None:
    image = picture()
    image[:, :5] = np.nan
    before = image.copy()
    changed = [only(name).apply(image, np.random.default_rng(seed)) for seed in range(6)]
    np.testing.assert_array_equal(image, before)
    assert all((np.isfinite(one) == np.isfinite(image)).all() and one.dtype == np.float32 for one in changed)
    assert max(np.nanmax(np.abs(one - image)) for one in changed) > 0.01


@pytest.mark.parametrize("name", ["gamma", "gamma_inverted", "contrast"])
def test_curves_and_contrast_keep_the_mean(name: str) -> None:
    image = picture()
    for seed in range(4):
        changed = only(name).apply(image, np.random.default_rng(seed))
        np.testing.assert_allclose(changed.mean(axis=(1, 2)), image.mean(axis=(1, 2)), atol=5e-3)


@pytest.mark.parametrize("name", ["blur", "coarse"])
def test_blur_and_low_resolution_take_away_detail(name: str) -> None:
    noisy = picture() + 0.1 * np.random.default_rng(1).standard_normal((13, 40, 40)).astype(np.float32)
    changed = [only(name).apply(noisy, np.random.default_rng(seed)) for seed in range(6)]
    detail = [np.abs(np.diff(one, axis=2)).mean() for one in changed]
    assert max(detail) <= np.abs(np.diff(noisy, axis=2)).mean() + 1e-6
    assert min(detail) < 0.95 * np.abs(np.diff(noisy, axis=2)).mean()


def test_an_image_nobody_saw_stays_so() -> None:
    blank = np.full((13, 8, 8), np.nan, np.float32)
    assert np.isnan(Quality(on=True).apply(blank, np.random.default_rng(0))).all()
