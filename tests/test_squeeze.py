"""Losses of a student against its teacher: zero at agreement, blind to what was not seen, and the binary traps."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from undercast.errors import ConfigError
from undercast.losses import Total
from undercast.losses.segmentation import dice
from undercast.losses.squeeze import (
    SqueezeConfig,
    channel_divergence,
    hint,
    inter_class,
    intra_class,
    soft_dice,
    standardise,
)

LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Total]] = {
    "channel": lambda s, t, w: channel_divergence(s, t, weights=w),
    "intra": lambda s, t, w: intra_class(s, t, weights=w),
    "inter": lambda s, t, w: inter_class(s, t, weights=w),
    "hint": lambda s, t, w: hint(s, t, weights=w),
    "dice": lambda s, t, w: soft_dice(s, t, weights=w),
}
CERTAIN = [name for name in LOSSES if name != "dice"]
"""Those that an unsure teacher's own answer costs nothing."""
EACH = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def pair(seed: int, classes: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (torch.randn(2, classes, 8, 6, generator=generator) * 2 for _ in range(2))
    return student.requires_grad_(), teacher, torch.ones(2, 8, 6)


@pytest.mark.parametrize("loss", [LOSSES[name] for name in CERTAIN], ids=CERTAIN)
@pytest.mark.parametrize("seed", range(4))
def test_agreement_costs_nothing_and_disagreement_does(loss: Callable[..., Total], seed: int) -> None:
    student, teacher, weights = pair(seed)
    assert float(loss(teacher.clone(), teacher, weights).mean()) == pytest.approx(0, abs=1e-4)
    assert float(loss(student.detach(), teacher, weights).mean()) > 0.05


@EACH
def test_a_step_downhill_brings_the_student_nearer(loss: Callable[..., Total]) -> None:
    student, teacher, weights = pair(5)
    before = loss(student, teacher, weights).mean()
    (slope,) = torch.autograd.grad(before, student)
    after = loss(student - 0.1 * slope / slope.norm(), teacher, weights).mean()
    assert after < before


def test_a_sure_teacher_is_a_label_to_the_overlap_and_a_rare_class_counts_as_much() -> None:
    student, teacher, weights = pair(3)
    sure = 50 * teacher
    as_labels = dice(student, sure.argmax(dim=1), smooth=1e-5, pooled=True)
    torch.testing.assert_close(soft_dice(student, sure, weights=weights).mean(), as_labels.mean(), atol=2e-3, rtol=0)
    assert float(soft_dice(sure, sure, weights=weights).mean()) == pytest.approx(0, abs=5e-3)
    rare = torch.zeros(1, 3, 8, 8)
    rare[:, 0] = 20.0
    rare[:, 1, :4], rare[:, 2, 7, 7] = 40.0, 40.0
    missed = rare.clone()
    missed[:, 2] = 0.0
    assert float(soft_dice(missed, rare, weights=torch.ones(1, 8, 8)).mean()) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("name", ["channel", "intra", "inter", "dice"])
def test_what_was_not_seen_teaches_nothing(name: str) -> None:
    student, teacher, weights = pair(6)
    weights = weights.clone()
    weights[0, :3] = 0
    other = teacher.clone()
    other[0, :, :3] = 30 * torch.randn(3, 3, 6)
    first, second = LOSSES[name](student, teacher, weights), LOSSES[name](student, other, weights)
    torch.testing.assert_close(first.sum, second.sum)
    (slope,) = torch.autograd.grad(first.sum, student)
    assert slope[0, :, :3].abs().max() == 0
    assert torch.isfinite(slope).all()
    nothing = LOSSES[name](student, teacher, torch.zeros_like(weights))
    assert nothing.count == 0
    assert nothing.mean() == 0


@pytest.mark.parametrize("name", ["channel", "intra", "inter"])
def test_parts_of_a_batch_add_up(name: str) -> None:
    student, teacher, weights = pair(7)
    whole = LOSSES[name](student, teacher, weights)
    parts = [LOSSES[name](student[k : k + 1], teacher[k : k + 1], weights[k : k + 1]) for k in range(2)]
    torch.testing.assert_close(parts[0].sum + parts[1].sum, whole.sum)
    torch.testing.assert_close(parts[0].count + parts[1].count, whole.count)


def test_channel_divergence_does_not_see_how_likely_a_class_is_everywhere() -> None:
    student, teacher, weights = pair(8)
    shifted = teacher + torch.tensor([3.0, -1.0, 0.5]).view(1, 3, 1, 1)
    torch.testing.assert_close(
        channel_divergence(student, shifted, weights=weights).sum,
        channel_divergence(student, teacher, weights=weights).sum,
    )


def test_hints_are_brought_to_the_teachers_grid() -> None:
    teacher = torch.randn(2, 5, 4, 4)
    fine = torch.nn.functional.interpolate(teacher, scale_factor=2, mode="nearest")
    assert float(hint(fine, teacher).mean()) == pytest.approx(0, abs=1e-5)
    hidden = torch.zeros(2, 8, 8)
    assert hint(fine, teacher, weights=hidden).count == 0


@pytest.mark.parametrize("seed", range(3))
def test_the_binary_traps_have_no_gradient_and_that_is_why_they_are_refused(seed: int) -> None:
    """Of two classes, standardised logits and correlations within a pixel are constants; of three they are not."""
    for classes, idle in ((2, True), (3, False)):
        student, teacher, weights = pair(seed, classes)
        apart = (standardise(student) - standardise(teacher)).square().sum()
        (slope,) = torch.autograd.grad(apart, student)
        assert ((slope.abs() < 1e-3).float().mean() > 0.9) == idle
        probabilities = student.softmax(dim=1)
        centred = probabilities - probabilities.mean(dim=1, keepdim=True)
        other = teacher.softmax(dim=1) - 1 / classes
        cosine = (centred * other).sum(dim=1) / (centred.norm(dim=1) * other.norm(dim=1))
        (slope,) = torch.autograd.grad(cosine.sum(), student)
        assert ((slope.abs() < 1e-3).float().mean() > 0.9) == idle
    with pytest.raises(ConfigError, match="no gradient"):
        inter_class(*pair(0, 2)[:2], weights=weights)


@pytest.mark.parametrize("setting", [{"inter": 1.0}, {"standardised": True}])
def test_a_configuration_that_cannot_teach_two_classes_is_refused(setting: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"two classes.*no gradient"):
        SqueezeConfig.model_validate(setting).check(2)
    SqueezeConfig.model_validate(setting).check(3)


def test_every_part_that_weighs_is_there_and_nothing_is_refused() -> None:
    student, teacher, weights = pair(9)
    config = SqueezeConfig(weight=1, channel=2, intra=3, inter=4, dice=5)
    terms = config.terms(student, teacher, weights)
    assert {name: weight for name, (_, weight) in terms.items()} == {
        "teacher": 1,
        "teacher_dice": 5,
        "teacher_channel": 2,
        "teacher_intra": 3,
        "teacher_inter": 4,
    }
    with pytest.raises(ConfigError, match="nothing of the teacher"):
        SqueezeConfig(weight=0).check(3)
