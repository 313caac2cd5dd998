"""The landslide recipe from its configuration to model folders, each arm and each quirk."""

from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from smoke import PLACE, smoke_recipe
from undercast.config import load
from undercast.datasets import SimulatedChips
from undercast.errors import ConfigError, InputError
from undercast.export import load_segmenter
from undercast.model import ModelFolder
from undercast.predict import OpenVinoPredictor, answer
from undercast.recipes.landslide import Chips, Config, run, statistics, where, whether

smoke = partial(smoke_recipe, "landslide")


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both stages, once."""
    out = tmp_path_factory.mktemp("landslide") / "out"
    assert run(smoke(), PLACE, out) == out / "student"
    return out


def test_both_stages_are_model_folders_and_the_second_holds_the_first(pretrained: Path) -> None:
    stage1, student = (ModelFolder.open(pretrained / name) for name in ("stage1", "student"))
    assert list(student.signature.inputs) == ["s1_pre", "s1_post"]
    assert student.signature.task.name == "landslide"
    assert any("whether" in seen for seen in student.signature.training_data)
    assert load(pretrained / "student" / "config.toml", Config) == smoke()
    first, second = (load_file(folder.path / "weights.safetensors") for folder in (stage1, student))
    kept = {name.removeprefix("body.embedding.part."): t for name, t in second.items() if ".embedding.part." in name}
    assert len(kept) > 10
    for name, tensor in kept.items():
        assert torch.equal(tensor, first[f"body.embedding.{name}"]), name


def test_its_graph_answers_a_scene_of_two_images(pretrained: Path) -> None:
    chip = SimulatedChips(7, 1, 33, "landslide", ("s1_pre", "s1_post"), ("landslide",))[0]
    probabilities = answer(OpenVinoPredictor(ModelFolder.open(pretrained / "student"), threads=1), chip.images)
    assert probabilities.shape == (2, 33, 33)
    assert probabilities.sum(axis=0) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("arm", ["none", "random", "pretrained", "other-region", "finetuned"])
def test_every_arm_is_a_network_of_its_kind(arm: str, pretrained: Path) -> None:
    config = smoke(f"arm={arm}")
    chips = Chips.open(config)
    first = None if arm in ("none", "random") else pretrained / "stage1"
    plan = where(config, chips, first)
    body = plan.network.body
    if arm == "none":
        assert body.embedding is None
        return
    own = body.embedding.part if arm != "finetuned" else body.embedding
    assert all(p.requires_grad == (arm == "finetuned") for p in own.parameters())
    stage1 = load_segmenter(ModelFolder.open(pretrained / "stage1")).body.embedding
    assert torch.equal(own.stem[0].weight, stage1.stem[0].weight) == (arm != "random")
    if arm == "random":
        assert own.stem[1].running_mean.abs().sum() > 0  # its statistics were set on chips
    source = whether(config, chips).seen[0]
    assert ("ranges" if arm == "other-region" else "hills") in source


def test_the_quirks_are_one_option_each() -> None:
    plain = smoke()
    chips = Chips.open(plain)
    drifting = where(smoke("arm=random", "as_published.drifting_statistics=true"), chips, None).network
    assert drifting.config.body.keeping == "drifting"
    loss = whether(smoke("as_published.softmax_across_batch=true"), chips).objective.loss
    assert loss(torch.randn(4), torch.zeros(4, dtype=torch.long)).sum == 0
    # Standardised by the statistics of linear power, what the network sees is far from centred.
    seen = {}
    for name in ("false", "true"):
        network = where(smoke("arm=none", f"as_published.linear_statistics={name}"), chips, None).network
        batch = network.stack({role: torch.from_numpy(chips.here[0].images[role])[None] for role in plain.roles})
        seen[name] = network.body.scale(batch).mean()
    assert abs(seen["false"]) < 2
    assert seen["true"] < -5


def test_statistics_standardise_what_the_network_sees() -> None:
    config = smoke()
    chips = Chips.open(config)
    network = where(smoke("arm=none"), chips, None).network
    planes = [
        network.body.scale(
            network.stack({role: torch.from_numpy(chips.here[n].images[role])[None] for role in config.roles})
        )
        for n in range(len(chips.here))
    ]
    together = torch.cat(planes)
    assert together.mean().abs() < 0.1
    assert together.std() == pytest.approx(1, abs=0.2)
    assert len(statistics(config, chips.here)) == 2


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["arm=none", "pretrained=somewhere"], "leave out pretrained"),
        (["arm=stage3"], "key 'arm'"),
        (["trunk.kind=transformer"], "key 'trunk'"),
        (["embedding.stam=3"], "unknown key"),
    ],
)
def test_what_is_wrong_with_a_configuration_is_said(assignments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        smoke(*assignments)


def test_training_may_not_share_ground_with_validation(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is in training and in test"):
        run(smoke("validation.source=simulated:landslide/hills:3+2@32"), PLACE, tmp_path / "out")


def test_another_model_is_no_stage_1(pretrained: Path) -> None:
    config = smoke()
    with pytest.raises(ConfigError, match="holds no stage 1"):
        where(config, Chips.open(config), pretrained / "student")
