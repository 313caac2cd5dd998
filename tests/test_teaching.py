"""How a student hears its teacher: soft or hard, weighed or not, and silence where the teacher saw nothing."""

import pytest
import torch

from undercast.losses.distil import divergence, log_probabilities
from undercast.recipes.teaching import DistillationConfig


def answers(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Student logits, the logits that stand for a teacher's probabilities (NaN in a corner), and where they count."""
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(2, 2, 6, 6, generator=generator).requires_grad_()
    teacher = log_probabilities(torch.randn(2, 2, 6, 6, generator=generator).softmax(dim=1))
    weights = torch.ones(2, 6, 6)
    teacher[:, :, :2, :2], weights[:, :2, :2] = float("nan"), 0
    return student, teacher, weights


@pytest.mark.parametrize("confident", [False, True])
@pytest.mark.parametrize("labels", ["soft", "hard"])
def test_what_the_teacher_did_not_see_teaches_nothing(labels: str, confident: bool):
    student, teacher, weights = answers()
    total = DistillationConfig(labels=labels, confident=confident).loss()(student, teacher, weights)  # type: ignore[arg-type]
    total.mean().backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()
    assert (student.grad[:, :, :2, :2] == 0).all()
    assert (student.grad[:, :, 2:, 2:] != 0).any()
    if not confident:
        assert total.count == weights.sum()


def test_soft_answers_are_compared_by_the_divergence_at_the_temperature_given():
    student, teacher, weights = answers(1)
    told = DistillationConfig(temperature=2.0).loss()(student, teacher, weights)
    expected = divergence(student, teacher, temperature=2.0, weights=weights)
    torch.testing.assert_close(told.sum, expected.sum)


def test_hard_answers_want_the_likelier_class():
    student, teacher, weights = answers(2)
    DistillationConfig(labels="hard").loss()(student, teacher, weights).mean().backward()
    assert student.grad is not None
    wanted = teacher.nan_to_num().argmax(dim=1)
    pulled = (-student.grad).argmax(dim=1)
    assert (pulled == wanted)[weights > 0].all()


def test_one_teacher_may_be_given_alone():
    assert len(DistillationConfig(teacher="a").teacher) == 1  # type: ignore[arg-type]
    assert len(DistillationConfig(teacher=("a", "b"), ask="chip").teacher) == 2  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="ask"):
        DistillationConfig(teacher=("a", "b"))  # type: ignore[arg-type]
