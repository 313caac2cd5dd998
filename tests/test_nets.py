"""Networks: normalisation, pinned parts, measured reach and the U-Net family."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from undercast.bands import S1, S2_L1C
from undercast.errors import ConfigError
from undercast.nets import Normalise, Pinned, Segmenter, SegmenterConfig, UNetConfig, measure_reach
from undercast.nets.narrow import narrowed
from undercast.task import FLOOD

MODALITIES = {"s1": S1, "s2": S2_L1C}


def small(**settings: object) -> SegmenterConfig:
    return SegmenterConfig(body=UNetConfig.model_validate({"base": 4, "stages": 3} | settings))


def warmed(config: SegmenterConfig, seed: int = 0) -> Segmenter:
    """A network whose BatchNorm statistics are those of some data, in evaluation mode."""
    torch.manual_seed(seed)
    network = config.build(MODALITIES, FLOOD)
    for _ in range(3):
        network({role: decibels(4, len(MODALITIES[role].bands), 32, 32) for role in network.roles})
    return network.eval()


def decibels(*shape: int) -> torch.Tensor:
    return torch.randn(*shape) * 5 - 12


# --- Normalise ---


@given(st.floats(-1e6, 1e6, width=32))
def test_normalise_maps_its_range_to_one_and_stays_inside(value: float) -> None:
    part = Normalise([(-30.0, 0.0)])
    answer = float(part(torch.full((1, 1, 1, 1), value)))
    assert -1 <= answer <= 1
    assert answer == pytest.approx(max(-1, min(1, (value + 15) / 15)), abs=1e-6)


@pytest.mark.parametrize("unseen", [float("nan"), float("inf"), float("-inf")])
def test_unseen_becomes_zero_and_is_told_in_the_mask(unseen: float) -> None:
    image = torch.full((1, 2, 3, 3), -5.0)
    image[0, 1, 1, 1] = unseen
    plain, masked = Normalise([(-30, 0)] * 2)(image), Normalise([(-30, 0)] * 2, mask_channel=True)(image)
    assert torch.isfinite(plain).all()
    assert plain[0, 1, 1, 1] == 0
    assert masked.shape[1] == 3
    assert torch.equal(masked[:, :2], plain)
    expected = torch.ones(3, 3)
    expected[1, 1] = 0
    assert torch.equal(masked[0, 2], expected)


def test_the_unseen_gets_no_gradient_and_breaks_none() -> None:
    image = torch.tensor([[[[-5.0, float("nan")]]]], requires_grad=True)
    Normalise([(-30, 0)])(image).sum().backward()
    assert image.grad is not None
    assert image.grad.flatten().tolist() == pytest.approx([1 / 15, 0])


def test_ranges_travel_with_the_weights() -> None:
    part = Normalise([(-30, 0), (-40, 10)])
    other = Normalise([(0, 1), (0, 1)])
    other.load_state_dict(part.state_dict())
    image = decibels(1, 2, 4, 4)
    assert torch.equal(part(image), other(image))


@pytest.mark.parametrize("bad", [(0.0, 0.0), (1.0, -1.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_an_empty_range_is_refused(bad: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match="range"):
        Normalise([bad])


# --- Pinned ---


def test_a_pinned_part_never_changes_but_ships() -> None:
    part = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
    network = nn.Sequential(Pinned(part), nn.Conv2d(4, 2, 1)).train()
    before = copy.deepcopy(part.state_dict())
    image = decibels(2, 2, 8, 8).requires_grad_()
    optimiser = torch.optim.SGD(network.parameters(), lr=1.0)
    for _ in range(2):
        network(image).square().sum().backward()
        optimiser.step()
    assert all(torch.equal(before[key], value) for key, value in part.state_dict().items())
    assert not any(module.training for module in part.modules())
    assert {key.removeprefix("0.part.") for key in network.state_dict()} >= set(before)
    assert image.grad is not None
    assert image.grad.abs().sum() > 0, "gradients flow through to what lies before"


def test_a_pinned_part_cannot_be_thawed() -> None:
    pinned = Pinned(nn.Linear(2, 2)).requires_grad_(True)
    assert not any(parameter.requires_grad for parameter in pinned.parameters())


# --- reach ---


@pytest.mark.parametrize("layers", [1, 2, 5])
@pytest.mark.parametrize("dilation", [1, 3, 36])
def test_reach_of_plain_convolutions_is_known(layers: int, dilation: int) -> None:
    body = nn.Sequential(*[nn.Conv2d(1, 1, 3, padding=dilation, dilation=dilation) for _ in range(layers)])
    assert measure_reach(body, 1, 1) == layers * dilation


def test_reach_counts_weights_of_zero_and_both_axes() -> None:
    body = nn.Conv2d(1, 1, (1, 7), padding=(0, 3))
    nn.init.zeros_(body.weight)
    assert measure_reach(body, 1, 1) == 3
    assert measure_reach(nn.Conv2d(1, 1, (9, 1), padding=(4, 0)), 1, 1) == 4


def test_reach_of_pooling_depends_on_where_in_the_cell_a_pixel_lies() -> None:
    body = nn.Sequential(nn.MaxPool2d(4), nn.Upsample(scale_factor=4))
    assert measure_reach(body, 1, 4) == 3


def test_a_network_that_looks_everywhere_is_refused() -> None:
    class Everywhere(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image + image.mean(dim=(2, 3), keepdim=True)

    with pytest.raises(ConfigError, match="further than"):
        measure_reach(Everywhere(), 1, 1)


# --- the U-Net family ---


@pytest.mark.parametrize(
    ("base", "stages", "count"),
    [(8, 3, 30e3), (6, 4, 69e3), (8, 4, 122e3), (12, 4, 273e3), (16, 4, 484e3), (16, 5, 1.9e6)],
)
@pytest.mark.parametrize("up", ["nearest", "transposed"])
def test_student_grid_has_the_known_sizes(base: int, stages: int, count: float, up: str) -> None:
    config = UNetConfig.model_validate({"base": base, "stages": stages, "up": up})
    parameters = sum(parameter.numel() for parameter in config.build(4, 2).parameters())
    # [clouds.md] gives two digits of 1.9 M and three of the others, for one of the two ways up.
    assert parameters == pytest.approx(count, rel=0.035 if count > 1e6 else 0.015)


VARIANTS = [
    {},
    {"block": "separable", "base": 8},
    {"up": "bilinear"},
    {"up": "transposed"},
    {"join": "add"},
    {"join": "add", "up": "transposed"},
    {"stages": 1},
    {"depth": 1, "max_channels": 6},
    {"output_stride": 2},
    {"output_stride": 4},
    {"input_stride": 2},
    {"input_stride": 2, "output_stride": 2, "stages": 2},
]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_a_map_does_not_depend_on_where_it_was_cut(variant: dict[str, object]) -> None:
    network = warmed(small(**variant))
    margin, stride = -(-network.margin // network.stride) * network.stride, network.stride
    image = decibels(1, 2, 2 * margin + 4 * stride, 2 * margin + 6 * stride)
    with torch.no_grad():
        whole = network({"s1": image})
        cut = network({"s1": image[..., stride:, 2 * stride :]})
    inside = whole[..., margin + stride :, margin + 2 * stride :]
    assert inside.numel() > 0
    torch.testing.assert_close(cut[..., margin:, margin:], inside, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_the_margin_is_no_larger_than_needed(variant: dict[str, object]) -> None:
    """Some pixel at exactly the margin moves an answer, and none beyond does."""
    network = small(**variant).build(MODALITIES, FLOOD).eval()
    for name, parameter in network.body.named_parameters():
        # All positive, so nothing cancels; no bias, so an answer that was not reached is exactly 0.
        nn.init.constant_(parameter, 0.0 if name.endswith("bias") else 1.0)
    size = 4 * network.stride * (1 + network.margin // network.stride)
    body = copy.deepcopy(network.body).double()
    reached = 0
    for phase in range(network.stride):
        here = size // 2 + phase
        image = torch.zeros(1, 2, size, network.stride, dtype=torch.float64)
        image[..., here, :] = 1
        with torch.no_grad():
            moved = body(image).amax(dim=(0, 1, 3)).nonzero().flatten()
        reached = max(reached, here - int(moved.min()), int(moved.max()) - here)
    assert reached == network.margin


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_the_loss_reaches_every_parameter(variant: dict[str, object]) -> None:
    torch.manual_seed(0)
    network = small(**variant).build(MODALITIES, FLOOD)
    logits = network({"s1": decibels(2, 2, 16, 24)})
    assert logits.shape == (2, 2, 16, 24)
    # A sum would not do: BatchNorm takes the mean away.
    (logits * torch.randn_like(logits)).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


# --- Segmenter ---


def test_segmenter_sees_its_roles_in_order_and_no_others() -> None:
    config = SegmenterConfig(roles=("s2", "s1"), mask_channel=True, body=UNetConfig(base=4, stages=2))
    network = warmed(config)
    assert network.roles == ("s2", "s1")
    assert network.in_channels == 13 + 1 + 2 + 1
    images = {"s1": decibels(1, 2, 8, 8), "s2": torch.rand(1, 13, 8, 8)}
    with torch.no_grad():
        answer = network(images)
        assert torch.equal(network(images | {"dem": torch.full((1, 1, 8, 8), float("nan"))}), answer)
        assert not torch.equal(network(images | {"s2": torch.rand(1, 13, 8, 8)}), answer)


def test_an_image_nobody_saw_still_gives_finite_logits() -> None:
    network = warmed(small())
    assert torch.isfinite(network({"s1": torch.full((1, 2, 8, 8), float("nan"))})).all()


def test_segmenter_is_rebuilt_from_its_settings() -> None:
    config = SegmenterConfig(ranges={"s1": ((-30.0, 0.0), (-35.0, -5.0))}, body=UNetConfig(base=4, stages=2))
    network = warmed(config)
    again = SegmenterConfig.model_validate_json(config.model_dump_json()).build({"s1": S1}, FLOOD).eval()
    again.load_state_dict(network.state_dict())
    image = {"s1": decibels(1, 2, 8, 8)}
    assert torch.equal(network(image), again(image))


@pytest.mark.parametrize(
    "wrong",
    [{"roles": ("s1", "lidar")}, {"ranges": {"s1": ((0.0, 1.0),) * 3}}, {"ranges": {"s2": ((0.0, 1.0),)}}],
    ids=str,
)
def test_what_does_not_fit_the_data_is_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"lidar|s1|s2"):
        SegmenterConfig.model_validate(wrong).build(MODALITIES, FLOOD)


@settings(max_examples=10)
@given(st.integers(1, 4), st.integers(1, 4))
def test_any_multiple_of_the_stride_is_answered(rows: int, columns: int) -> None:
    network = small().build(MODALITIES, FLOOD).eval()
    shape = rows * network.stride, columns * network.stride
    with torch.no_grad():
        assert network({"s1": decibels(1, 2, *shape)}).shape == (1, 2, *shape)


# --- narrowed ---


@pytest.mark.parametrize("mask_channel", [False, True])
def test_a_network_of_fewer_bands_answers_as_if_it_had_not_seen_the_others(mask_channel: bool) -> None:
    config = small().model_copy(update={"roles": ("s2", "s1"), "mask_channel": mask_channel})
    network = warmed(config)
    narrow = narrowed(network, {"s2": S2_L1C.select(("B03", "B08")), "s1": S1.select(("VV",))}).eval()
    image = {"s2": torch.rand(1, 13, 24, 24), "s1": decibels(1, 2, 24, 24)}
    middle = {"s2": torch.full((1, 13, 24, 24), 0.5), "s1": torch.full((1, 2, 24, 24), -12.5)}
    for role, bands in (("s2", [2, 7]), ("s1", [0])):
        middle[role][:, bands] = image[role][:, bands]
    with torch.no_grad():
        asked = narrow({"s2": image["s2"][:, [2, 7]], "s1": image["s1"][:, :1]})
        torch.testing.assert_close(asked, network(middle), atol=1e-4, rtol=1e-4)
    with pytest.raises(ConfigError, match="role 's1'"):
        narrowed(network, {"s2": S2_L1C})
