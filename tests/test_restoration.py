"""PSNR and SSIM against what they are by definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undercast.evaluate.restoration import psnr, ssim


def image(seed: int, shape=(3, 24, 30)) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 1, shape).astype(np.float32)


@settings(max_examples=30)
@given(seed=st.integers(0, 99), error=st.floats(1e-3, 0.5))
def test_psnr_of_a_constant_error_is_known(seed, error):
    clear = image(seed)
    assert psnr(clear + np.float32(error), clear) == pytest.approx(-20 * np.log10(error), abs=0.02)


def test_only_what_is_asked_and_was_seen_counts():
    clear, restored = image(1), image(1)
    restored[:, :5] += 0.5
    restored[0, 10, 10] = np.nan
    there = np.zeros((24, 30), bool)
    there[12:] = True
    assert psnr(restored, clear, there) == float("inf")
    assert psnr(restored, clear, ~there) < 20
    assert np.isnan(psnr(restored, clear, np.zeros_like(there)))
    assert np.isnan(ssim(np.full_like(clear, np.nan), clear))
    there[:] = False
    there[20:, 20:] = True  # further than a window from both
    assert ssim(restored, clear, there) == pytest.approx(1)


@settings(max_examples=10)
@given(seed=st.integers(0, 99))
def test_ssim_is_the_formula_at_a_pixel(seed):
    one, other = image(seed), image(seed + 100)
    where = np.zeros((24, 30), bool)
    where[12, 14] = True
    steps = np.arange(-5, 6)
    weight = np.exp(-(steps**2) / (2 * 1.5**2))
    weight = np.outer(weight, weight) / weight.sum() ** 2
    values = []
    for band in range(3):
        x, y = (i[band, 7:18, 9:20].astype(np.float64) for i in (one, other))
        mx, my = (weight * x).sum(), (weight * y).sum()
        vx, vy = (weight * x * x).sum() - mx**2, (weight * y * y).sum() - my**2
        cov = (weight * x * y).sum() - mx * my
        values.append((2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4)))
    assert ssim(one, other, where) == pytest.approx(np.mean(values), abs=1e-6)


def test_noise_costs_similarity_and_nothing_costs_none():
    clear = image(3)
    assert ssim(clear, clear) == pytest.approx(1)
    noisy = [clear + np.random.default_rng(0).normal(0, s, clear.shape).astype(np.float32) for s in (0.02, 0.1, 0.4)]
    scores = [ssim(n, clear) for n in noisy]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.98
