"""The DeepLabv3+ body: sizes, reach, and the seam it shares with the U-Net."""

import pytest
import torch

from undercast.bands import S1, S2_L1C
from undercast.config import dump_toml, load
from undercast.errors import ConfigError
from undercast.nets import DeepLab, DeepLabConfig, Segmenter, SegmenterConfig, UNetConfig
from undercast.task import FLOOD

MODALITIES = {"s1": S1, "s2": S2_L1C}
SMALL = {"base": 4, "pyramid": 8, "skip": 6, "rates": (1, 2)}
VARIANTS = [
    {},
    {"output_stride": 2},
    {"encoder_stride": 16},
    {"block": "plain", "depth": 1},
    {"rates": (3,), "encoder_stride": 16, "output_stride": 2},
]


def network(variant: dict[str, object], roles: tuple[str, ...] = ("s1",)) -> Segmenter:
    torch.manual_seed(0)
    body = DeepLabConfig.model_validate(SMALL | variant)
    return SegmenterConfig(roles=roles, body=body).build(MODALITIES, FLOOD)


def decibels(*shape: int) -> torch.Tensor:
    return torch.randn(*shape) * 5 - 12


def test_the_default_has_the_size_it_says() -> None:
    assert sum(p.numel() for p in DeepLabConfig().build(2, 2).parameters()) == pytest.approx(0.24e6, rel=0.03)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_a_map_does_not_depend_on_where_it_was_cut(variant: dict[str, object]) -> None:
    model = network(variant)
    for _ in range(3):
        model({"s1": decibels(4, 2, 48, 48)})  # so that BatchNorm has statistics
    model.eval()
    stride = model.stride
    margin = -(-model.margin // stride) * stride
    image = decibels(1, 2, 2 * margin + 3 * stride, 2 * margin + 4 * stride)
    with torch.no_grad():
        whole = model({"s1": image})
        cut = model({"s1": image[..., stride:, 2 * stride :]})
    inside = whole[..., margin + stride :, margin + 2 * stride :]
    assert inside.numel() > 0
    torch.testing.assert_close(cut[..., margin:, margin:], inside, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_the_loss_reaches_every_parameter(variant: dict[str, object]) -> None:
    model = network(variant, ("s1", "s2"))
    logits = model({"s1": decibels(2, 2, 48, 64), "s2": torch.rand(2, 13, 48, 64)})
    assert logits.shape == (2, 2, 48, 64)
    (logits * torch.randn_like(logits)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("output_stride", [2, 4])
def test_logits_are_interpolated_from_the_output_stride(output_stride: int) -> None:
    model = network({"output_stride": output_stride}).eval()
    assert isinstance(model.body, DeepLab)
    coarse: list[torch.Tensor] = []
    model.body.head.register_forward_hook(lambda _module, _inputs, answer: coarse.append(answer))
    model({"s1": decibels(1, 2, 32, 48)})
    assert coarse[0].shape == (1, 2, 32 // output_stride, 48 // output_stride)


def test_wider_dilations_reach_further() -> None:
    near, far = (network({"rates": rates}).margin for rates in ((1, 2), (1, 6)))
    assert far - near == 8 * (6 - 2)


@pytest.mark.parametrize("body", [UNetConfig(base=4), DeepLabConfig(base=8, rates=(2, 4))], ids=type)
def test_either_body_survives_a_settings_file(body: UNetConfig | DeepLabConfig, tmp_path) -> None:
    config = SegmenterConfig(roles=("s2",), body=body)
    path = tmp_path / "net.toml"
    path.write_text(dump_toml(config), "utf-8")
    assert load(path, SegmenterConfig) == config
    assert SegmenterConfig.model_validate_json(config.model_dump_json()) == config


def test_a_table_without_a_kind_is_a_unet_and_a_wrong_one_is_refused(tmp_path) -> None:
    path = tmp_path / "net.toml"
    path.write_text("[body]\nbase = 4\n", "utf-8")
    assert load(path, SegmenterConfig).body == UNetConfig(base=4)
    for wrong in ("body.kind=segformer", "body.rates=[1]", "body.kind=7"):
        with pytest.raises(ConfigError, match="body"):
            load(path, SegmenterConfig, [wrong])
