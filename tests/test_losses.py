"""Losses: what is not labelled changes nothing, parts add up to the whole, and gradients are the known ones."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from undercast.losses import distil
from undercast.losses.segmentation import (
    EdgeConfig,
    SegmentationLossConfig,
    Total,
    cross_entropy,
    dice,
    edge_cross_entropy,
    edge_weights,
    focal,
)
from undercast.task import NODATA

Loss = Callable[[Tensor, Tensor], Total]

LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "class_weighted": lambda z, y: cross_entropy(z, y, class_weights=torch.tensor([0.5, 2.0, 1.0])[: z.shape[1]]),
    "pixel_weighted": lambda z, y: cross_entropy(z, y, pixel_weights=0.5 + (y % 7).float()),
    "edge": lambda z, y: edge_cross_entropy(z, y, EdgeConfig(inner=2, outer=0.5)),
    "focal": focal,
    "dice": dice,
}
LABELLED = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def sample(
    seed: int, batch: int = 4, classes: int = 2, size: int = 9, unlabelled: float = 0.3
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, classes, size, size, generator=generator) * 3
    target = torch.randint(0, classes, (batch, size, size), generator=generator)
    hidden = torch.rand(batch, size, size, generator=generator) < unlabelled
    return logits.requires_grad_(), torch.where(hidden, NODATA, target)


def gradient(total: Tensor, logits: Tensor) -> Tensor:
    (result,) = torch.autograd.grad(total, logits, retain_graph=True)
    return result


# --- what holds for every loss against labels ---


@LABELLED
@pytest.mark.parametrize("classes", [2, 3])
def test_unlabelled_pixels_change_nothing(loss: Loss, classes: int) -> None:
    logits, target = sample(0, classes=classes)
    hidden = (target == NODATA).unsqueeze(1)
    other = torch.where(hidden, torch.full_like(logits, 40.0) * torch.randn_like(logits), logits).detach()
    assert torch.allclose(loss(logits, target).sum, loss(other, target).sum)
    assert torch.equal(loss(logits, target).count, loss(other, target).count)
    assert (gradient(loss(logits, target).sum, logits) * hidden).abs().max() == 0


@LABELLED
@pytest.mark.parametrize("cut", [1, 2, 3])
def test_parts_of_a_batch_add_up_to_the_whole(loss: Loss, cut: int) -> None:
    logits, target = sample(1)
    whole = loss(logits, target)
    first, second = loss(logits[:cut], target[:cut]), loss(logits[cut:], target[cut:])
    torch.testing.assert_close(first.sum + second.sum, whole.sum)
    torch.testing.assert_close(first.count + second.count, whole.count)


@LABELLED
def test_no_label_at_all_is_zero_with_a_gradient_of_zero(loss: Loss) -> None:
    logits, target = sample(2)
    total = loss(logits, torch.full_like(target, NODATA))
    assert total.count == 0
    assert total.mean() == 0
    assert gradient(total.mean(), logits).abs().max() == 0


@LABELLED
def test_a_perfect_answer_costs_nothing_and_a_wrong_one_does(loss: Loss) -> None:
    _, target = sample(3, size=16)
    sure = 60.0 * torch.stack([target == 0, target == 1], dim=1).float()
    assert loss(sure, target).mean() < 1e-3
    assert loss(sure.flip(1), target).mean() > 0.9


@LABELLED
def test_half_precision_logits_are_computed_in_single(loss: Loss) -> None:
    logits, target = sample(4)
    half = logits.detach().to(torch.bfloat16)
    total = loss(half, target)
    assert total.sum.dtype == torch.float32
    torch.testing.assert_close(total.sum, loss(half.float(), target).sum)


@LABELLED
def test_the_gradient_is_that_of_the_function(loss: Loss) -> None:
    """Against finite differences along random directions."""
    logits, target = sample(5, batch=2, size=4)
    slope = gradient(loss(logits, target).sum, logits)
    for seed in range(3):
        step = torch.randn(logits.shape, generator=torch.Generator().manual_seed(seed)) * 1e-2
        with torch.no_grad():
            change = loss(logits + step, target).sum - loss(logits - step, target).sum
        assert float(change) == pytest.approx(2 * float((slope * step).sum()), rel=0.02, abs=2e-3)


# --- closed forms ---


def test_gradient_of_cross_entropy_is_probability_minus_truth() -> None:
    logits, target = sample(6, classes=3)
    known = (target != NODATA).unsqueeze(1)
    truth = torch.stack([target == value for value in range(3)], dim=1).float()
    expected = (logits.softmax(dim=1) - truth) * known
    torch.testing.assert_close(gradient(cross_entropy(logits, target).sum, logits), expected)


def test_cross_entropy_counts_labelled_pixels() -> None:
    logits, target = sample(7)
    assert cross_entropy(logits, target).count == (target != NODATA).sum()


def test_equal_class_weights_leave_the_mean_alone() -> None:
    logits, target = sample(8)
    plain = cross_entropy(logits, target).mean()
    weighted = cross_entropy(logits, target, class_weights=torch.tensor([7.0, 7.0])).mean()
    torch.testing.assert_close(plain, weighted)


def test_a_class_of_weight_two_counts_as_if_seen_twice() -> None:
    logits, target = sample(9, batch=1, unlabelled=0)
    twice = torch.cat([logits, logits]), torch.cat([target, torch.where(target == 1, target, NODATA)])
    weighted = cross_entropy(logits, target, class_weights=torch.tensor([1.0, 2.0]))
    torch.testing.assert_close(weighted.mean(), cross_entropy(*twice).mean())


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_loss_is_its_formula(gamma: float) -> None:
    logits, target = sample(10, unlabelled=0)
    true = logits.softmax(dim=1).gather(1, target.unsqueeze(1))
    torch.testing.assert_close(
        focal(logits, target, gamma=gamma).sum, (-((1 - true) ** gamma) * true.log()).sum(), rtol=1e-4, atol=1e-4
    )


def test_focal_loss_without_focus_is_cross_entropy() -> None:
    logits, target = sample(11)
    torch.testing.assert_close(focal(logits, target, gamma=0).sum, cross_entropy(logits, target).sum)


def test_dice_of_hard_masks_is_one_minus_their_dice() -> None:
    target = torch.zeros(1, 8, 8, dtype=torch.int64)
    target[0, :4] = 1
    answer = torch.zeros(1, 8, 8)
    answer[0, 2:6] = 1
    logits = 100 * torch.stack([1 - answer, answer], dim=1)
    assert float(dice(logits, target, smooth=1e-6).mean()) == pytest.approx(1 - 2 * 16 / (32 + 32), abs=1e-5)


def test_dice_counts_chips_with_labels() -> None:
    logits, target = sample(12)
    target[1] = NODATA
    assert dice(logits, target).count == len(target) - 1


# --- edges ---


@pytest.mark.parametrize("width", [1, 2, 3])
def test_edge_bands_of_a_square(width: int) -> None:
    target = torch.zeros(1, 30, 30, dtype=torch.int64)
    target[0, 10:20, 10:20] = 1
    weights = edge_weights(target, EdgeConfig(inner=3, outer=5, width=width))[0]
    assert int((weights == 4).sum()) == 10**2 - (10 - 2 * width) ** 2
    assert int((weights == 6).sum()) == (10 + 2 * width) ** 2 - 10**2
    assert int((weights == 1).sum()) == 900 - (10 + 2 * width) ** 2 + (10 - 2 * width) ** 2
    assert (weights[10, 10:20] == 4).all()
    assert (weights[9, 9:21] == 6).all()


@given(st.integers(0, 10**6))
@settings(max_examples=20)
def test_edges_turn_and_flip_with_the_target(seed: int) -> None:
    _, target = sample(seed, size=12)
    config = EdgeConfig(inner=2, outer=3)
    turned = torch.rot90(target, 1, (1, 2)).flip(2)
    assert torch.equal(edge_weights(turned, config), torch.rot90(edge_weights(target, config), 1, (1, 2)).flip(2))


def test_there_is_no_edge_towards_the_unknown_or_the_border() -> None:
    target = torch.full((1, 12, 12), NODATA)
    target[0, :, :6] = 1
    assert (edge_weights(target, EdgeConfig()) == 1).all()
    assert (edge_weights(torch.ones_like(target), EdgeConfig()) == 1).all()


def test_edge_weights_of_zero_are_plain_cross_entropy() -> None:
    logits, target = sample(13)
    plain, edged = cross_entropy(logits, target), edge_cross_entropy(logits, target, EdgeConfig(inner=0, outer=0))
    assert plain == edged


def test_the_configured_sum_holds_what_was_asked_for() -> None:
    logits, target = sample(14)
    config = SegmentationLossConfig(cross_entropy=0.5, edge=EdgeConfig(), class_weights=(1, 3), focal=2, dice=1)
    terms = config.terms(logits, target)
    assert {name: weight for name, (_, weight) in terms.items()} == {"cross_entropy": 0.5, "focal": 2, "dice": 1}
    expected = edge_cross_entropy(logits, target, EdgeConfig(), class_weights=torch.tensor([1.0, 3.0]))
    assert terms["cross_entropy"][0] == expected
    assert set(SegmentationLossConfig().terms(logits, target)) == {"cross_entropy"}


# --- distillation ---

DISTILLATION = pytest.mark.parametrize("loss", [distil.divergence, distil.soft_cross_entropy])


@DISTILLATION
@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
@pytest.mark.parametrize("classes", [2, 5])
def test_gradient_of_distillation_is_the_difference_of_probabilities(
    loss: Callable[..., Total], temperature: float, classes: int
) -> None:
    """T·(softmax(student/T) - softmax(teacher/T)): also with two classes, where others have none."""
    student, teacher = sample(20, classes=classes)[0], sample(21, classes=classes)[0]
    slope = gradient(loss(student, teacher, temperature=temperature).sum, student)
    expected = temperature * ((student / temperature).softmax(1) - (teacher / temperature).softmax(1))
    torch.testing.assert_close(slope, expected, rtol=1e-4, atol=1e-5)
    assert slope.abs().mean() > 0.05


@given(st.integers(0, 10**6), st.floats(0.5, 8))
@settings(max_examples=25)
def test_divergence_is_zero_exactly_where_both_agree(seed: int, temperature: float) -> None:
    student, teacher = sample(seed, classes=3)[0], sample(seed + 1, classes=3)[0]
    shifted = teacher + torch.randn(4, 1, 9, 9)
    assert abs(float(distil.divergence(shifted, teacher, temperature=temperature).sum.detach())) < 1e-3
    assert distil.divergence(student, teacher, temperature=temperature).sum > 1e-2


@DISTILLATION
def test_parts_of_a_distilled_batch_add_up(loss: Callable[..., Total]) -> None:
    student, teacher = sample(22)[0], sample(23)[0]
    weights = torch.rand(4, 9, 9)
    whole = loss(student, teacher, weights=weights)
    parts = [loss(student[part], teacher[part], weights=weights[part]) for part in (slice(1), slice(1, 4))]
    torch.testing.assert_close(parts[0].sum + parts[1].sum, whole.sum)
    torch.testing.assert_close(parts[0].count + parts[1].count, whole.count)


@DISTILLATION
def test_what_the_teacher_did_not_see_teaches_nothing(loss: Callable[..., Total]) -> None:
    student, teacher = sample(24)[0], sample(25)[0].detach().clone()
    weights = torch.ones(4, 9, 9)
    weights[:, 3:] = 0
    teacher[:, :, 3:] = float("nan")
    total = loss(student, teacher, weights=weights)
    slope = gradient(total.sum, student)
    assert total.count == 4 * 3 * 9
    assert torch.isfinite(total.sum)
    assert slope[:, :, 3:].abs().max() == 0
    assert slope[:, :, :3].abs().min() > 0
    torch.testing.assert_close(total.sum, loss(student[:, :, :3], teacher[:, :, :3]).sum)


@DISTILLATION
def test_the_teacher_gets_no_gradient(loss: Callable[..., Total]) -> None:
    student, teacher = sample(26)[0], sample(27)[0]
    loss(student, teacher).sum.backward()
    assert teacher.grad is None


def test_soft_cross_entropy_of_a_sure_teacher_is_cross_entropy() -> None:
    student, target = sample(28, unlabelled=0)
    teacher = 100 * torch.stack([target == 0, target == 1], dim=1).float()
    torch.testing.assert_close(distil.soft_cross_entropy(student, teacher).sum, cross_entropy(student, target).sum)


def test_probabilities_stand_in_for_logits() -> None:
    student, teacher = sample(29)[0], sample(30)[0]
    stand_in = distil.log_probabilities(teacher.softmax(dim=1))
    for temperature in (1.0, 3.0):
        torch.testing.assert_close(
            distil.divergence(student, stand_in, temperature=temperature).sum,
            distil.divergence(student, teacher, temperature=temperature).sum,
            rtol=1e-3,
            atol=1e-3,
        )
    certain = distil.log_probabilities(torch.tensor([1.0, 0.0]).view(1, 2, 1, 1))
    assert torch.isfinite(distil.divergence(torch.zeros(1, 2, 1, 1), certain).sum)


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_confidence_goes_from_chance_to_certainty(classes: int) -> None:
    teacher = torch.zeros(1, classes, 1, 2)
    teacher[0, 0, 0, 1] = 50
    assert distil.confidence(teacher).flatten().tolist() == pytest.approx([0, 1], abs=1e-5)
    middling = torch.tensor([0.7, 0.3]).log().view(1, 2, 1, 1)
    assert float(distil.confidence(middling)) == pytest.approx(0.4, abs=1e-5)
    assert float(distil.confidence(middling, floor=0.5)) == 0


def test_hardened_labels_leave_out_what_is_unsure() -> None:
    teacher = torch.tensor([[0.9, 0.4], [0.1, 0.6]]).log().view(1, 2, 1, 2)
    assert distil.harden(teacher).flatten().tolist() == [0, 1]
    assert distil.harden(teacher, threshold=0.8).flatten().tolist() == [0, NODATA]
