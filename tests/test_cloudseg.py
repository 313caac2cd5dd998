"""The three-stream network, its encoders, and what it is held against."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from undercast.bands import S1, S2_L1C
from undercast.errors import ConfigError
from undercast.nets import CloudSegConfig, ConvEncoder, FusionConfig, MitEncoder, SegmenterConfig
from undercast.nets.clearing import Filled
from undercast.nets.cloudseg import Exchange, Gate, Give, MultiScale, SqueezeExcite
from undercast.nets.decoder import Rescale
from undercast.nets.segmenter import Body, Segmenter
from undercast.task import LANDCOVER

OPTICAL = S2_L1C.select(("B02", "B03", "B04", "B08"))
MODALITIES = {"s2": OPTICAL, "s1": S1}
SMALL = ConvEncoder(widths=(4, 6, 8, 8), depth=1)


def network(body: Body, roles: tuple[str, ...] = ("s2", "s1"), scale: Fraction = Fraction(1)) -> Segmenter:
    torch.manual_seed(0)
    task = LANDCOVER.model_copy(update={"scale": scale})
    return SegmenterConfig(roles=roles, mask_channel=True, body=body).build(MODALITIES, task).eval()


def images(size: int | tuple[int, int] = 64, batch: int = 2, seed: int = 0) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    shape = (size, size) if isinstance(size, int) else size
    s2 = 0.4 * torch.rand(batch, 4, *shape, generator=rng)
    return {"s2": s2, "s1": -15 + 5 * torch.randn(batch, 2, *shape, generator=rng)}


@given(st.integers(1, 140), st.integers(1, 140), st.booleans())
@settings(max_examples=8)
def test_any_size_is_answered_and_restored_at_its_own_size(rows: int, cols: int, fill: bool):
    with torch.no_grad():
        found = network(CloudSegConfig(encoder=SMALL, fill=fill)).answer(images((rows, cols), batch=1))
    assert found.logits.shape == (1, 6, rows, cols)
    assert found.restored is not None
    assert found.restored.shape == (1, 4, rows, cols)
    assert found.features.shape[1] == 16


@pytest.mark.parametrize("body", [CloudSegConfig(encoder=SMALL), FusionConfig(encoder=SMALL)])
def test_labels_of_ten_metres_meet_images_of_three(body: Body):
    net = network(body, scale=Fraction(3, 10))
    with torch.no_grad():
        assert net(images(160)).shape == (2, 6, 48, 48)
    assert net.stride % 10 == 0


def test_the_other_grid_gets_means_over_its_own_pixels():
    image = torch.rand(1, 2, 20, 30)
    scaled = Rescale(Fraction(3, 10))(image)
    thirds = np.kron(image.numpy(), np.ones((1, 1, 3, 3))).reshape(1, 2, 6, 10, 9, 10).mean((3, 5))
    assert np.allclose(scaled.numpy(), thirds, atol=1e-6)
    assert torch.equal(Rescale(Fraction(1))(image), image)


@pytest.mark.parametrize("gate", [True, False])
@pytest.mark.parametrize("restore", [True, False])
@pytest.mark.parametrize("fill", [True, False])
def test_the_loss_reaches_every_parameter(gate: bool, restore: bool, fill: bool):
    net = network(CloudSegConfig(encoder=SMALL, gate=gate, restore=restore, fill=fill)).train()
    found = net.answer(images())
    assert (found.restored is not None) == restore
    (found.logits.square().mean() + (found.restored.square().mean() if found.restored is not None else 0)).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None] == []
    assert any("gate" in name for name, _ in net.named_parameters()) == gate


@pytest.mark.parametrize("lost", ["s1", "s2"])
@pytest.mark.parametrize("fill", [True, False])
def test_a_missing_role_is_answered_and_its_values_are_nowhere(lost: str, fill: bool):
    net, given = network(CloudSegConfig(encoder=SMALL, fill=fill)), images()
    blind = given | {lost: torch.full_like(given[lost], torch.nan)}
    with torch.no_grad():
        seen, found = net.answer(given), net.answer(blind)
    assert found.logits.isfinite().all()
    assert found.restored is not None
    assert found.restored.isfinite().all()
    assert not torch.allclose(found.logits, seen.logits)


@pytest.mark.parametrize("fill", [True, False])
def test_answer_and_restored_image_move_with_the_image_by_whole_strides(fill: bool):
    body = CloudSegConfig(encoder=ConvEncoder(widths=(4, 6, 8), depth=1), fill=fill)
    net, whole = network(body).double(), images(448, batch=1)
    whole = {role: image.double() for role, image in whole.items()}
    step, margin = net.stride, net.margin
    assert 0 < margin < 448
    part = {role: image[..., step:, step:] for role, image in whole.items()}
    with torch.no_grad():
        of_all, of_part = net.answer(whole), net.answer(part)
    inner = slice(margin, None)
    for far, near in ((of_all.logits, of_part.logits), (of_all.restored, of_part.restored)):
        assert far is not None
        assert near is not None
        far = far[..., step:, step:]
        assert torch.allclose(far[..., inner, inner], near[..., inner, inner], atol=1e-9)
        assert not torch.allclose(far, near, atol=1e-9)


def test_what_looks_at_the_whole_image_has_no_reach():
    for body in (CloudSegConfig(encoder=SMALL, squeeze="global"), FusionConfig(encoder=MitEncoder())):
        with pytest.raises(ConfigError, match="whole image"):
            _ = network(body).margin


def test_what_is_believed_stays_and_the_rest_is_filled_with_the_colours_around():
    fill = Filled(features=1, hidden=2, bands=2, stride=2)
    with torch.no_grad():
        for parameter in fill.parameters():
            parameter.zero_()
        fill.draw.draw[1].bias[-1] = 20.0  # believe all that was seen
        image, seen = torch.rand(1, 2, 64, 64), torch.ones(1, 1, 64, 64)
        image[:, 1], seen[..., 20:44, 20:44] = 0.5, 0.0
        filled = fill(torch.zeros(1, 1, 32, 32), torch.cat([image, seen], dim=1))
    hidden = (seen == 0).expand_as(image)
    assert torch.allclose(filled[~hidden], image[~hidden], atol=1e-6)
    assert (filled[:, 1][hidden[:, 1]] - 0.5).abs().max() < 0.06
    assert (filled[:, 0][hidden[:, 0]] - 0.5).abs().max() < 0.2


# --- the fusion block, part by part, as [Xu 2024] has it


def test_scales_are_mixed_from_the_image_and_its_pooled_copies():
    mix, x = MultiScale(3), torch.randn(1, 3, 8, 8)
    copies = [x]
    for size in (2, 4):
        blocks = x.reshape(1, 3, 8 // size, size, 8 // size, size).amax(dim=(3, 5))
        copies.append(torch.kron(blocks, torch.ones(1, 1, size, size)))
    weight = torch.cat([mix.of_one.weight, mix.of_two.weight, mix.of_four.weight], dim=1)[..., 0, 0]
    assert mix.of_one.bias is not None
    expected = torch.einsum("oc,bchw->bohw", weight, torch.cat(copies, dim=1)) + mix.of_one.bias.view(1, -1, 1, 1)
    assert torch.allclose(mix(x), expected.relu(), atol=1e-5)


def test_the_gate_only_lessens_the_optical_feature_and_looks_at_the_difference():
    gate = Gate().eval()
    optical, radar = torch.randn(2, 5, 8, 8), torch.randn(2, 5, 8, 8)
    share = gate(optical, radar) / optical
    assert ((share > 0) & (share < 1)).all()
    assert torch.allclose(share, share[:, :1].expand_as(share), atol=1e-5)  # one number a pixel
    assert torch.allclose(gate(optical, radar), gate(optical + 1, radar + 1) * optical / (optical + 1), atol=1e-4)


def test_the_squeeze_weighs_channels_and_sums_the_features():
    config = CloudSegConfig(encoder=SMALL, squeeze="global", reduction=2)
    squeeze, parts = SqueezeExcite(4, 3, config), [torch.randn(1, 4, 8, 8) for _ in range(3)]
    stacked = torch.cat(parts, dim=1)
    weights = squeeze.excite(stacked.mean(dim=(2, 3), keepdim=True)).sigmoid()
    expected = sum((stacked * weights).chunk(3, dim=1))
    assert torch.allclose(squeeze(parts), expected, atol=1e-5)
    local = SqueezeExcite(4, 3, config.model_copy(update={"squeeze": "local"}))
    local.load_state_dict(squeeze.state_dict())
    flat = [part.mean(dim=(2, 3), keepdim=True).expand_as(part) for part in parts]
    assert torch.allclose(local(flat), squeeze(flat), atol=1e-5)  # of even features both say the same


def test_a_stream_is_given_what_it_lacks_and_nothing_if_it_lacks_nothing():
    give, difference = Give(3), torch.randn(1, 3, 6, 6)
    assert torch.allclose(give(difference), give.convolution(difference).sigmoid() * difference)
    assert give(torch.zeros(1, 3, 6, 6)).abs().max() == 0


def test_the_cross_stream_begins_at_the_second_stage_and_the_last_exchange_gives_only_to_decoders():
    config = CloudSegConfig(encoder=SMALL)
    stages = [Exchange(config, stage) for stage in range(4)]
    assert [stage.mix_cross is not None for stage in stages] == [False, True, True, True]
    assert [stage.give_radar is not None for stage in stages] == [True, True, True, False]
    assert stages[3].give_optical is not None
    assert Exchange(config.model_copy(update={"restore": False}), 3).give_optical is None


# --- sizes


def count(body: Body, roles: tuple[str, ...] = ("s2", "s1")) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in network(body, roles).parameters())


def test_encoders_come_from_under_a_million_parameters_to_the_authors_size():
    sizes = [count(CloudSegConfig()), count(CloudSegConfig(encoder=MitEncoder(size="b4")))]
    assert sizes[0] < 1_000_000
    assert 150_000_000 < sizes[1] < 250_000_000


@pytest.mark.parametrize(("size", "millions"), [("b0", 3.4), ("b1", 13.1), ("b2", 24.2), ("b4", 60.8)])
def test_the_transformer_has_the_parameters_of_the_paper(size: str, millions: float):
    encoder = MitEncoder(size=size)  # type: ignore[arg-type]
    with torch.device("meta"):
        stages = [encoder.stage(k, (3, *encoder.channels)[k]) for k in range(4)]
    assert sum(p.numel() for stage in stages for p in stage.parameters()) == pytest.approx(1e6 * millions, rel=0.03)


def test_a_transformer_sees_any_size_and_everything_in_it():
    net = network(CloudSegConfig(encoder=MitEncoder()))
    given = images((70, 90), batch=1)
    moved = given | {"s1": given["s1"].clone()}
    moved["s1"][..., :4, :4] += 5
    with torch.no_grad():
        before, after = net(given), net(moved)
    assert before.shape == (1, 6, 70, 90)
    assert (before != after)[..., -8:, -8:].any()


@pytest.mark.parametrize("roles", [("s2",), ("s1",), ("s2", "s1")])
def test_plain_fusion_takes_one_stream_a_role(roles: tuple[str, ...]):
    net = network(FusionConfig(encoder=SMALL), roles)
    with torch.no_grad():
        assert net(images((50, 34))).shape == (2, 6, 50, 34)
    assert len(net.body.streams) == len(roles)  # type: ignore[union-attr,arg-type]
    net.train()(images()).square().mean().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None] == []


def test_cloudseg_wants_two_roles():
    with pytest.raises(ConfigError, match="two roles"):
        network(CloudSegConfig(encoder=SMALL), ("s2",))
