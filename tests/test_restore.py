"""The restoration loss and the hint, against the paper's formulas written out, and what they must not touch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from undercast.losses.restore import RestorationConfig, hint, restoration


def case(seed: int, share: float = 0.5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    one, other = torch.rand(2, 4, 5, 6, generator=rng), torch.rand(2, 4, 5, 6, generator=rng)
    covered = (torch.rand(2, 5, 6, generator=rng) < share).float()
    return one, other, covered, torch.rand(2, 5, 6, generator=rng) < 0.8


@given(st.integers(0, 1000), st.floats(0, 1))
def test_both_are_the_papers_formulas(seed: int, share: float):
    restored, clear, covered, _ = case(seed, share)
    everywhere = torch.ones_like(covered, dtype=torch.bool)
    x, y, m = restored.numpy().astype(np.float64), clear.numpy().astype(np.float64), covered.numpy()[:, None]
    expected = ((1 + 5 * m) * ((x - y) ** 2 + 1e-6) ** 0.45).mean()
    assert restoration(restored, clear, covered, everywhere).mean().item() == pytest.approx(expected, rel=1e-4)
    expected = ((1 - m) * (x - y) ** 2).mean()
    assert hint(restored, clear, covered, everywhere).mean().item() == pytest.approx(expected, rel=1e-4, abs=1e-9)


@given(st.integers(0, 1000))
def test_the_normalised_hint_is_the_mean_over_clear_pixels(seed: int):
    student, teacher, covered, known = case(seed)
    counted = (known & (covered == 0)).unsqueeze(1).expand_as(student)
    expected = (student - teacher)[counted].square().mean() if counted.any() else torch.tensor(0.0)
    found = hint(student, teacher, covered, known, normalised=True).mean()
    assert found.item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-7)


def test_what_is_not_known_is_nowhere_not_even_in_a_gradient():
    restored, clear, covered, known = case(3)
    dirty = torch.where(known.unsqueeze(1), clear, torch.full_like(clear, torch.nan))
    for loss in (restoration, hint):
        grads = []
        for other in (clear, dirty):
            student = restored.clone().requires_grad_()
            loss(student, other, covered, known).mean().backward()
            assert student.grad is not None
            grads.append(student.grad)
        assert torch.equal(*grads)
        assert grads[0][~known.unsqueeze(1).expand_as(clear)].abs().max() == 0


def test_a_teacher_is_not_taught_and_full_cover_gives_no_hint():
    student, teacher, covered, known = case(4)
    teacher.requires_grad_()
    student.requires_grad_()
    hint(student, teacher, covered, known).mean().backward()
    assert teacher.grad is None
    assert hint(student, teacher, torch.ones_like(covered), known, normalised=True).mean().item() == 0


def test_thin_cloud_weighs_between_clear_and_thick():
    restored, clear, _, known = case(5)
    clouds = [torch.full((2, 5, 6), share) for share in (0.0, 0.4, 1.0)]
    losses = [restoration(restored, clear, cover, known, RestorationConfig()).mean().item() for cover in clouds]
    hints = [hint(restored, clear, cover, known).mean().item() for cover in clouds]
    assert losses[0] < losses[1] < losses[2] == pytest.approx(6 * losses[0], rel=1e-4)
    assert hints[0] > hints[1] > hints[2] == 0
