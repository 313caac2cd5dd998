import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undercast.bands import S1, S2_L1C
from undercast.chip import Chip
from undercast.datasets.augment import Augmentation, CutOut, OpticalJitter, RadarJitter
from undercast.task import NODATA

OFF = {"radar": {"on": False}, "optical": {"on": False}, "cut_out": {"on": False}}
MODALITIES = {"s1": S1, "s2": S2_L1C}


def chip(height: int = 24, width: int = 24, scale: int = 1) -> Chip:
    """Every pixel of every layer holds its own number."""
    number = np.arange(height * width, dtype=np.float32).reshape(height, width)
    coarse = np.add.outer(np.arange(height // scale) * 16, np.arange(width // scale)).astype(np.uint8)
    images = {"s1": np.stack([number, -number]), "s2": np.stack([number / 100 + band for band in range(13)])}
    return Chip("numbers", {role: image.astype(np.float32) for role, image in images.items()}, {"flood": coarse})


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), crop=st.sampled_from([0, 8, 24, 32]))
def test_geometry_moves_all_layers_alike(seed, crop):
    source = chip()
    moved = Augmentation(crop=crop, **OFF).for_chips(MODALITIES, vary=("s1", "s2"))(source, np.random.default_rng(seed))
    size = crop or 24
    assert moved.shape == (size, size)
    seen = np.isfinite(moved.images["s1"][0])
    assert seen.sum() == min(size, 24) ** 2
    number = moved.images["s1"][0][seen].astype(int)
    assert len(set(number)) == len(number)
    np.testing.assert_array_equal(moved.images["s1"][1][seen], -number)
    np.testing.assert_array_equal(moved.images["s2"][:, seen], source.images["s2"].reshape(13, -1)[:, number])
    np.testing.assert_array_equal(moved.targets["flood"][seen], source.targets["flood"].reshape(-1)[number])
    assert (moved.targets["flood"][~seen] == NODATA).all()
    assert np.isnan(moved.images["s2"][:, ~seen]).all()


@pytest.mark.parametrize("seed", range(8))
def test_a_coarse_target_stays_in_place(seed):
    source = chip(scale=3)
    moved = Augmentation(crop=12, **OFF).for_chips(MODALITIES, vary=("s1", "s2"))(source, np.random.default_rng(seed))
    assert moved.targets["flood"].shape == (4, 4)
    number = moved.images["s1"][0].astype(int)[1::3, 1::3]
    np.testing.assert_array_equal(moved.targets["flood"], number // 24 // 3 * 16 + number % 24 // 3)


def test_all_eight_positions_occur():
    augment = Augmentation(**OFF).for_chips(MODALITIES, vary=("s1", "s2"))
    corners = {
        tuple(augment(chip(), np.random.default_rng(seed)).images["s1"][0, [0, 0, -1], [0, -1, 0]])
        for seed in range(200)
    }
    assert len(corners) == 8


def test_the_same_generator_gives_the_same_chip_and_the_source_is_untouched():
    source, before = chip(), chip()
    augment = Augmentation(crop=8).for_chips(MODALITIES, vary=("s1", "s2"))
    first, second, other = (augment(source, np.random.default_rng(seed)) for seed in (1, 1, 2))
    for role in MODALITIES:
        np.testing.assert_array_equal(first.images[role], second.images[role])
        np.testing.assert_array_equal(source.images[role], before.images[role])
    assert not np.array_equal(first.images["s1"], other.images["s1"])


def test_what_is_kept_has_the_geometry_and_its_own_radiometry():
    augment = Augmentation(crop=8, cut_out=CutOut(probability=1.0)).for_chips(
        MODALITIES, vary=("s1",), keep=("s1", "s2")
    )
    varied = augment(chip(), np.random.default_rng(3))
    assert set(varied.images) == {"s1", "clean_s1", "clean_s2"}
    clean = varied.images["clean_s1"]
    number = clean[0].astype(int)
    np.testing.assert_array_equal(clean[1], -number)
    np.testing.assert_array_equal(varied.images["clean_s2"], chip().images["s2"].reshape(13, -1)[:, number])
    assert not np.array_equal(varied.images["s1"], clean)
    assert np.isnan(varied.images["s1"]).any()
    assert np.isfinite(clean).all()
    np.testing.assert_array_equal(varied.targets["flood"], chip().targets["flood"].reshape(-1)[number])


def test_radar_jitter_has_the_size_it_says():
    image = np.random.default_rng(0).normal(-15, 3, (2, 16, 16)).astype(np.float32)
    image[:, :2] = np.nan
    calm = RadarJitter(offset=1.0, band_offset=0.5, contrast=0.0, speckle=0.0)
    shifts = np.array([calm.apply(image, np.random.default_rng(s)) - image for s in range(400)])
    assert np.isnan(shifts[:, :, :2]).all()
    bands = shifts[:, :, 2:].mean(axis=(2, 3))
    assert np.ptp(shifts[:, :, 2:], axis=(2, 3)).max() < 1e-4
    assert bands[:, 0].std() == pytest.approx(np.sqrt(1 + 0.25), rel=0.15)
    assert (bands[:, 0] - bands[:, 1]).std() == pytest.approx(0.5 * np.sqrt(2), rel=0.15)
    spread = [
        RadarJitter(contrast=0.2, speckle=0).apply(image, np.random.default_rng(s))[0, 2:].std() / image[0, 2:].std()
        for s in range(200)
    ]
    assert 0.8 <= min(spread) < 0.85
    assert 1.15 < max(spread) <= 1.2001


def test_extra_speckle_is_gamma_of_the_looks_asked_for():
    flat = np.full((2, 64, 64), -10.0, np.float32)
    jitter = RadarJitter(offset=0, band_offset=0, contrast=0, speckle=1.0, looks=(9.0, 9.0))
    power = 10 ** ((jitter.apply(flat, np.random.default_rng(0)) + 10) / 10)
    assert power.mean() == pytest.approx(1.0, abs=0.02)
    assert power.mean() ** 2 / power.var() == pytest.approx(9.0, rel=0.1)


def test_optical_jitter_is_a_gain_and_an_offset_for_each_band():
    image = np.random.default_rng(0).uniform(0, 0.5, (13, 8, 8)).astype(np.float32)
    varied = OpticalJitter(gain=0.1, band_gain=0.05, offset=0.01).apply(image, np.random.default_rng(1))
    for band in range(13):
        slope, offset = np.polyfit(image[band].ravel(), varied[band].ravel(), 1)
        assert 0.9 * 0.95 <= slope <= 1.1 * 1.05
        assert abs(offset) < 0.05


def test_cut_outs_reach_corners_and_stay_within_their_size():
    image = np.zeros((2, 20, 20), np.float32)
    shares, corners = [], 0
    for seed in range(300):
        lost = np.isnan(CutOut(extent=(0.1, 0.5)).apply(image, np.random.default_rng(seed)))
        assert (lost[0] == lost[1]).all()
        shares.append(lost[0].mean())
        corners += bool(lost[0][[0, 0, -1, -1], [0, -1, 0, -1]].any())
    assert min(shares) > 0
    assert max(shares) <= 0.25
    assert corners > 15
