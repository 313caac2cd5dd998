"""The planner gives nnU-Net's numbers, whatever the budget; the network is the one that was planned."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from undercast.bands import S2_L1C
from undercast.cli.main import app
from undercast.datasets import SimulatedChips
from undercast.datasets.bands import OfBands
from undercast.errors import ConfigError, InputError
from undercast.nets import NNUNetConfig, Segmenter, SegmenterConfig
from undercast.nets.plan import (
    REFERENCE,
    REFERENCE_BATCH,
    REFERENCE_GIB,
    BandFingerprint,
    Fingerprint,
    Plan,
    PlannerConfig,
    elements_of,
    fingerprint,
    make_plan,
    parameters_of,
)
from undercast.task import CLOUDS, NODATA

BAND = BandFingerprint(mean=0.2, std=0.1, median=0.2, least=0, most=1, p005=0.01, p995=0.9)
RGBN = {"s2": S2_L1C.select(("B02", "B03", "B04", "B08"))}


def found(chips: int, rows: int, cols: int | None = None, classes: int = 2) -> Fingerprint:
    bands = {"s2": dict.fromkeys(RGBN["s2"].bands, BAND)}
    shares = {str(number): 1 / classes for number in range(classes)}
    return Fingerprint(chips=chips, shape=(rows, cols or rows), classes=shares, bands=bands)


@pytest.mark.parametrize(
    ("chips", "edge", "stages", "batch", "millions"),
    [(11_748, 512, 8, 12, 46.33), (8_400, 384, 7, 22, 33.47), (100, 512, 8, 5, 46.33)],
)
def test_the_plan_is_nnu_nets(chips: int, edge: int, stages: int, batch: int, millions: float) -> None:
    plan = make_plan(found(chips, edge))
    assert plan.patch == (edge, edge)
    assert (plan.body.stages, plan.batch) == (stages, batch)
    assert round(plan.parameters / 1e6, 2) == millions
    assert plan.body.channels == [min(32 * 2**stage, 512) for stage in range(stages)]


@pytest.mark.parametrize("config", [NNUNetConfig(base=4, stages=4), NNUNetConfig(base=3, stages=5, max_channels=12)])
def test_what_was_counted_is_what_is_built(config: NNUNetConfig) -> None:
    network, seen = config.build(4, 3), []
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            layer.register_forward_hook(lambda _, __, out: seen.append(out[0].numel()))
    network(torch.randn(1, 4, 64, 32))
    assert sum(seen) == elements_of((64, 32), config, 3)
    lowest = 3 * (config.channels[-2] + 1)  # the head that nnU-Net weighs 0 is counted, and not built
    assert sum(p.numel() for p in network.parameters()) + lowest == parameters_of(config, 4, 3)


@settings(max_examples=60)
@given(
    rows=st.integers(16, 700),
    cols=st.integers(16, 700),
    chips=st.integers(1, 5000),
    memory=st.floats(0.01, 16),
    base=st.sampled_from([8, 16, 32]),
)
def test_any_plan_fits_its_budget(rows: int, cols: int, chips: int, memory: float, base: int) -> None:
    budget = REFERENCE * memory / REFERENCE_GIB
    config = PlannerConfig(memory_gib=memory, base=base)
    # The least patch there is: two stages, and an edge of 8.
    if elements_of((8, 8), NNUNetConfig(base=base, stages=2), 2) / REFERENCE_BATCH * 2 > budget:
        with pytest.raises(ConfigError, match="memory_gib"):
            make_plan(found(chips, rows, cols), config)
        return
    plan = make_plan(found(chips, rows, cols), config)
    assert all(edge % plan.body.stride == 0 for edge in plan.patch)
    assert plan.elements / REFERENCE_BATCH * 2 <= budget
    assert plan.batch >= 2
    assert plan.batch <= max(2, round(budget / plan.elements * REFERENCE_BATCH))
    assert plan.batch <= max(2, round(0.05 * chips * rows * cols / np.prod(plan.patch)))
    assert min(plan.patch) // plan.body.stride >= 4
    assert all(edge < size + plan.body.stride for edge, size in zip(plan.patch, (rows, cols), strict=True))


def test_more_memory_never_makes_a_smaller_network() -> None:
    plans = [make_plan(found(1000, 256), PlannerConfig(memory_gib=memory)) for memory in (0.02, 0.05, 0.2, 1, 8)]
    assert [plan.parameters for plan in plans] == sorted(plan.parameters for plan in plans)
    assert all(plan.batch >= 2 for plan in plans)


def test_a_small_patch_leaves_the_memory_to_the_batch() -> None:
    whole, small = (make_plan(found(1000, 256), PlannerConfig(memory_gib=2.0, most_edge=edge)) for edge in (0, 64))
    assert (whole.patch, small.patch) == ((256, 256), (64, 64))
    assert (whole.body.stages, small.body.stages) == (7, 5)
    assert small.batch > 15 * whole.batch
    assert small.batch * small.elements <= REFERENCE * 2.0 / REFERENCE_GIB * REFERENCE_BATCH * 1.01


@pytest.mark.parametrize(
    ("source", "config", "message"),
    [(found(5, 7), {}, "too small"), (found(5, 256), {"memory_gib": 1e-5}, "memory_gib")],
)
def test_what_cannot_be_planned_is_said(source: Fingerprint, config: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_plan(source, PlannerConfig.model_validate(config))


def test_a_fingerprint_is_of_the_foreground_and_is_readable() -> None:
    chips = OfBands(SimulatedChips(40, 6, 48, "clouds", ("s2",), ("clouds",)), {"s2": RGBN["s2"].bands})
    seen = fingerprint(chips, "clouds", ("s2",))
    assert seen.shape == (48, 48)
    assert sum(seen.classes.values()) == pytest.approx(1, abs=1e-5)
    front = []
    for number in range(len(chips)):
        chip, label = chips[number], chips[number].targets["clouds"]
        chosen = (label > 0) & chip.valid("s2")
        front.append(chip.images["s2"][:, chosen if chosen.any() else chip.valid("s2")])
    values = np.concatenate(front, axis=1)
    assert [band.median for band in seen.bands["s2"].values()] == pytest.approx(
        list(np.median(values, axis=1)), rel=0.01
    )
    plan = make_plan(seen, PlannerConfig(memory_gib=0.1))
    assert Plan.model_validate(json.loads(plan.model_dump_json())) == plan
    assert [low < high for low, high in plan.ranges["s2"]] == [True] * 4


def test_chips_without_labels_cannot_be_planned_for() -> None:
    chips = SimulatedChips(40, 2, 16, "clouds", ("s2",), ("clouds",))
    with pytest.raises(InputError, match="nothing to plan"):
        fingerprint(chips, "flood", ("s2",))
    assert NODATA == 255


# --- the network


def planned(**body: object) -> Segmenter:
    torch.manual_seed(0)
    config = NNUNetConfig.model_validate({"base": 4, "stages": 4} | body)
    return SegmenterConfig(roles=("s2",), body=config).build(RGBN, CLOUDS)


def test_heads_answer_at_every_resolution_but_the_lowest() -> None:
    network = planned().eval()
    images = {"s2": torch.rand(2, 4, 32, 48)}
    answers = network.resolutions(images)
    assert [tuple(answer.shape) for answer in answers] == [(2, 3, 32, 48), (2, 3, 16, 24)]
    assert torch.equal(answers[0], network(images))
    assert len(planned(deep_supervision=False).resolutions(images)) == 1


def test_instance_normalisation_looks_at_the_whole_tile_and_batch_normalisation_does_not() -> None:
    assert planned().whole_tile
    assert not planned(norm="batch").whole_tile
    with pytest.raises(ConfigError, match="further"):
        _ = planned(stages=2, depth=1, base=1).margin
    assert planned(norm="batch", stages=2).margin < 32


def test_an_image_is_standardised_over_what_was_seen() -> None:
    network = SegmenterConfig(roles=("s2",), standardise=True).build(RGBN, CLOUDS)
    image = torch.rand(3, 4, 32, 32) * torch.tensor([0.1, 0.3, 0.5, 0.9]).view(-1, 1, 1)
    image[:, :, :8] = torch.nan
    scaled = network.normalise["s2"](image)
    assert scaled[:, :, :8].abs().max() == 0
    assert scaled[:, :, 8:].mean(dim=(2, 3)).abs().max() < 1e-4
    assert (scaled[:, :, 8:].std(dim=(2, 3)) - 1).abs().max() < 0.01
    # Brightness and contrast of the whole image are gone.
    torch.testing.assert_close(network.normalise["s2"](image * 0.5 + 0.2), scaled, atol=0.02, rtol=0.02)
    assert network.whole_tile


def test_the_verb_writes_what_it_prints(tmp_path: Path) -> None:
    arguments = [
        "plan",
        "simulated:clouds:40+3@32",
        "--bands",
        "B02,B08",
        "--set",
        "base=4",
        "-o",
        str(tmp_path / "plan.json"),
    ]
    told = CliRunner().invoke(app, arguments)
    assert told.exit_code == 0, told.output
    assert "3 chips of 32×32" in told.stdout
    assert "4, 8, 16, 32 channels" in told.stdout
    whole = json.loads((tmp_path / "plan.json").read_text())
    assert list(whole["fingerprint"]["bands"]["s2"]) == ["B02", "B08"]
    assert json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout) == whole
    assert "'bases'" in str(CliRunner().invoke(app, ["plan", "simulated:clouds:40+3@32", "--set", "bases=4"]).exception)
