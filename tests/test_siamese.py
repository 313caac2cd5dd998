"""Whether, then where: sizes as published, one network for both images, and a stage 1 that stays as it is."""

import math

import pytest
import torch
from torch import Tensor

from undercast.bands import S1
from undercast.chip import Batch
from undercast.engine.supervised import Presence, whole_labels, whole_logits
from undercast.errors import ConfigError
from undercast.losses.presence import presence, presence_across_batch
from undercast.losses.segmentation import dice
from undercast.nets import (
    EmbeddingConfig,
    PlainConfig,
    Segmenter,
    SegmenterConfig,
    Siamese,
    SiameseConfig,
    Staged,
    StagedConfig,
    UNetConfig,
)
from undercast.nets.siamese import settle
from undercast.task import CLOUDS, LANDSLIDE, NODATA

ROLES = ("s1_pre", "s1_post")
SMALL = EmbeddingConfig(stem=4, out=3)
TRUNK = PlainConfig(channels=(5,), kernel=3)


def network(body: SiameseConfig | StagedConfig, roles: tuple[str, ...] = ROLES, seed: int = 0) -> Segmenter:
    torch.manual_seed(seed)
    return SegmenterConfig(roles=roles, body=body).build(dict.fromkeys(roles, S1), LANDSLIDE)


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def images(batch: int = 2, size: int = 16, seed: int = 0) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return {role: -15 + 4 * torch.randn(batch, 2, size, size) for role in ROLES}


def test_sizes_are_those_of_the_published_code() -> None:
    without = network(StagedConfig()).body
    beside = network(StagedConfig(embedding=EmbeddingConfig())).body
    assert count(without.trunk) == count(beside.trunk) == 76_040
    assert count(without.head) == 266_433
    assert count(beside.head) == 1_057_153
    # The stem of a ResNet-34 for two bands, and one step of the decoder.
    assert count(beside.embedding) == 64 * 2 * 49 + 128 + 32 * 64 * 9 + 64 + 32 * 32 * 9 + 64
    assert count(network(SiameseConfig()).body.compare) == 64 * 8 * 8 + 1 + 2


@pytest.mark.parametrize("size", [(16, 16), (2, 10), (18, 6)])
@pytest.mark.parametrize(
    "body",
    [
        SiameseConfig(embedding=SMALL, kernel=4),
        StagedConfig(trunk=TRUNK, embedding=SMALL, kernel=4),
        StagedConfig(trunk=TRUNK, kernel=3),
        StagedConfig(trunk=UNetConfig(base=4, stages=2, depth=1), features=6, embedding=SMALL, kernel=3),
    ],
)
def test_every_pixel_is_answered_at_full_resolution(body: SiameseConfig | StagedConfig, size: tuple[int, int]) -> None:
    net = network(body).eval()
    given = {role: torch.randn(2, 2, *size) for role in ROLES}
    given["s1_post"][0, :, :1] = math.nan
    logits = net(given)
    assert logits.shape == (2, 2, *size)
    assert logits.isfinite().all()
    assert (logits[:, 0] == 0).all()
    assert SegmenterConfig.model_validate(net.config.model_dump(mode="json")) == net.config


def test_both_images_go_through_one_network() -> None:
    net = network(SiameseConfig(embedding=SMALL, kernel=1)).eval()
    body = net.body
    assert isinstance(body, Siamese)
    given = images()
    seen: list[Tensor] = []
    body.embedding.register_forward_hook(lambda module, inputs, output: seen.append(output))
    net(given)
    net({"s1_pre": given["s1_post"], "s1_post": given["s1_pre"]})
    # Swapping the images swaps what was found in them, and nothing else.
    first, swapped = (part.reshape(2, 2, 3, 16, 16) for part in seen)
    assert torch.allclose(first[:, 0], swapped[:, 1])
    assert torch.allclose(first[:, 1], swapped[:, 0])


def test_several_passes_or_one_alone_are_taken_too() -> None:
    passes = ("first", "second", "third")
    net = network(StagedConfig(images=3, trunk=TRUNK, embedding=SMALL, kernel=3), passes).eval()
    assert net({role: torch.randn(1, 2, 8, 8) for role in passes}).shape == (1, 2, 8, 8)
    alone = network(StagedConfig(images=1, trunk=TRUNK, embedding=SMALL, kernel=3), ("rgb",)).eval()
    assert alone({"rgb": torch.randn(1, 2, 8, 8)}).shape == (1, 2, 8, 8)


@pytest.mark.parametrize(("keeping", "weights", "buffers"), [("pinned", 0, 0), ("drifting", 0, 1), ("free", 1, 1)])
def test_stage_1_is_kept_as_was_asked(keeping: str, weights: int, buffers: int) -> None:
    net = network(StagedConfig(trunk=TRUNK, embedding=SMALL, keeping=keeping, kernel=3))
    net.body.adopt(network(SiameseConfig(embedding=SMALL, kernel=3), seed=5).body.embedding)
    part = net.body.embedding
    before = {name: tensor.clone() for name, tensor in part.state_dict().items()}
    net.train()
    optimiser = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1)
    net(images())[:, 1].square().mean().backward()
    optimiser.step()
    changed = {name for name, tensor in part.state_dict().items() if not torch.equal(before[name], tensor)}
    assert any(name.endswith("weight") for name in changed) == bool(weights)
    assert any("running" in name for name in changed) == bool(buffers)
    assert any(p.grad is not None for p in net.body.trunk.parameters())


def test_stage_2_looks_through_the_weights_of_stage_1_and_its_own_statistics() -> None:
    stage1 = network(SiameseConfig(embedding=SMALL.model_copy(update={"statistics": ((0.5, 2.0), (0.1, 1.0))})), seed=3)
    own = SMALL.model_copy(update={"statistics": ((-0.2, 0.3), (-0.4, 0.2))})
    net = network(StagedConfig(trunk=TRUNK, embedding=own, kernel=3))
    net.body.adopt(stage1.body.embedding)
    part = net.body.embedding.part
    assert torch.equal(part.stem[0].weight, stage1.body.embedding.stem[0].weight)
    assert part.scale.mean.flatten().tolist() == pytest.approx([-0.2, -0.4])
    with pytest.raises(ConfigError, match="another shape"):
        net.body.adopt(network(SiameseConfig(embedding=EmbeddingConfig(stem=5, out=3))).body.embedding)
    with pytest.raises(ConfigError, match="no place"):
        network(StagedConfig(trunk=TRUNK, kernel=3)).body.adopt(stage1.body.embedding)


def test_a_random_stage_1_settles_on_what_it_is_shown_and_keeps_its_weights() -> None:
    net = network(StagedConfig(trunk=TRUNK, embedding=SMALL, kernel=3))
    assert isinstance(net.body, Staged)
    weights = {name: p.clone() for name, p in net.body.embedding.named_parameters()}
    settle(net.body, [net.stack(images(seed=seed)) for seed in range(4)])
    assert all(torch.equal(weights[name], p) for name, p in net.body.embedding.named_parameters())
    assert not net.body.embedding.training
    norm = net.body.embedding.part.stem[1]
    outputs: list[Tensor] = []
    norm.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    net(images(batch=8, seed=9))
    assert outputs[0].mean().abs() < 0.3
    assert outputs[0].std() == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (SiameseConfig(images=3), "not 3 images"),
        (StagedConfig(statistics=((0.0, 1.0),)), "do not fit"),
        (StagedConfig(statistics=((0.0, 1.0), (0.0, 0.0))), "do not fit"),
    ],
)
def test_what_does_not_fit_is_said(body: SiameseConfig | StagedConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        network(body)


def test_more_than_two_classes_are_refused() -> None:
    with pytest.raises(ConfigError, match="not 3 classes"):
        SegmenterConfig(roles=("s1",), body=SiameseConfig(images=1)).build({"s1": S1}, CLOUDS)


# --- labels of whole chips


def test_the_label_of_a_chip_is_whether_it_holds_class_1() -> None:
    target = torch.zeros(4, 6, 6, dtype=torch.long)
    target[1, 2, 3] = 1
    target[2] = NODATA
    target[3] = NODATA
    target[3, 0, 0] = 0
    assert whole_labels(target).tolist() == [0, 1, NODATA, 0]


def test_the_logit_of_a_chip_is_the_mean_of_the_valid_convolution() -> None:
    """As published: a valid convolution, BatchNorm, LeakyReLU, the spatial mean."""
    net = network(SiameseConfig(embedding=SMALL, kernel=8)).eval()
    body, given = net.body, images()
    features: list[Tensor] = []
    body.compare[0].register_forward_pre_hook(lambda module, inputs: features.append(inputs[0]))
    logit = whole_logits(net(given), body.rim)
    convolution, norm, activation = body.compare[1:]
    valid = torch.nn.functional.conv2d(features[0], convolution.weight, convolution.bias)
    assert valid.shape[2:] == (9, 9)
    assert torch.allclose(logit, activation(norm(valid)).mean(dim=(1, 2, 3)), atol=1e-6)


def test_presence_is_learned_from_chips_that_were_seen() -> None:
    target = torch.zeros(2, 16, 16, dtype=torch.long)
    target[0, 3, 3] = 1
    given = images()
    given["s1_pre"][0, :, 3, 3] = given["s1_post"][0, :, 3, 3] = math.nan
    net = network(SiameseConfig(embedding=SMALL, kernel=4))
    labels: list[Tensor] = []

    def loss(logits: Tensor, label: Tensor):
        labels.append(label)
        return presence(logits, label)

    step = Presence(net, loss, target="landslide", roles=ROLES, rim=(1, 2))(
        {"labelled": Batch(given, {"landslide": target})}
    )
    assert labels[0].tolist() == [0, 0]  # the only landslide pixel was seen by nobody
    assert step.terms["presence"].total.count == 2


def test_presence_is_binary_cross_entropy_and_ignores_unlabelled_chips() -> None:
    logits = torch.tensor([0.3, -1.2, 2.0], requires_grad=True)
    target = torch.tensor([1, 0, NODATA])
    total = presence(logits, target)
    expected = math.log1p(math.exp(-0.3)) + math.log1p(math.exp(-1.2))
    assert float(total.sum.detach()) == pytest.approx(expected, rel=1e-5)
    assert float(total.count) == 2
    total.sum.backward()
    assert logits.grad[2] == 0


def test_the_published_loss_is_a_softmax_across_the_batch() -> None:
    logits = torch.randn(5)
    for truth in ([0, 0, 0, 0, 0], [1, 0, 0, 1, 0]):
        target = torch.tensor(truth)
        expected = torch.nn.functional.cross_entropy(logits, target.float())
        assert float(presence_across_batch(logits, target).mean()) == pytest.approx(float(expected), abs=1e-6)
    assert presence_across_batch(logits, torch.zeros(5, dtype=torch.long)).mean() == 0
    # The level of the logits does not matter to it: it cannot learn how likely a landslide is.
    assert float(presence_across_batch(logits + 7, target).sum) == pytest.approx(float(expected), abs=1e-5)


def test_pooled_dice_is_that_of_one_chip_made_of_all() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(4, 2, 5, 5), torch.randint(0, 2, (4, 5, 5))
    target[2] = 0
    target[3, 0] = NODATA
    pooled = dice(logits, target, pooled=True)
    joined = logits.movedim(0, 1).reshape(1, 2, 20, 5), target.reshape(1, 20, 5)
    assert float(pooled.mean()) == pytest.approx(float(dice(*joined).mean()), rel=1e-5)
    assert float(pooled.count) == 1
    assert float(dice(logits, torch.full_like(target, NODATA), pooled=True).count) == 0
