"""The cloud recipe: plan, folds, ensemble, kept answers and a student that ships."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from smoke import PLACE, RECIPES, smoke_recipe
from undercast.config import load, override, read_toml, validate
from undercast.datasets import SimulatedChips
from undercast.datasets.answered import ANSWER
from undercast.datasets.bands import OfBands
from undercast.engine.journal import read_journal
from undercast.errors import ConfigError, InputError, ModelError
from undercast.export import load_segmenter
from undercast.export.folder import export_model
from undercast.model import ModelFolder
from undercast.nets import NNUNetConfig
from undercast.predict import OpenVinoPredictor, answer
from undercast.predict.windows import Windows
from undercast.recipes.clouds import Config, run
from undercast.recipes.ensemble import open_ensemble

smoke = partial(smoke_recipe, "clouds")


@pytest.fixture(scope="module")
def distilled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ensemble and student, once."""
    out = tmp_path_factory.mktemp("clouds") / "out"
    assert run(smoke(), PLACE, out) == out / "student"
    return out


def test_the_ensemble_is_what_was_planned_and_ships_no_graph(distilled: Path) -> None:
    plan = json.loads((distilled / "plan.json").read_text())
    assert plan["fingerprint"]["chips"] == 4
    assert list(plan["fingerprint"]["bands"]["s2"]) == ["B02", "B03", "B04", "B08"]
    members = [ModelFolder.open(distilled / f"teacher-{number}") for number in range(2)]
    for member in members:
        network = load_segmenter(member)
        assert network.config.body == NNUNetConfig.model_validate(plan["plan"]["body"])
        assert network.config.standardise
        with pytest.raises(ModelError, match="holds no model"):
            member.graph()
        with pytest.raises(ModelError, match="whole tile"):
            export_model(member, [])
    first, second = (load_file(member.path / "weights.safetensors") for member in members)
    assert any(not torch.equal(first[name], second[name]) for name in first)
    steps = [record for record in read_journal(distilled / "teacher-0" / "journal.jsonl") if record["event"] == "step"]
    assert {"cross_entropy", "dice", "cross_entropy/2", "dice/4"} <= steps[-1].keys()


def test_the_student_answers_and_says_what_it_learned_from(distilled: Path) -> None:
    model = ModelFolder.open(distilled / "student")
    assert [label.name for label in model.signature.task.classes] == ["clear", "cloud", "shadow"]
    assert model.signature.inputs["s2"].bands == ("B02", "B03", "B04", "B08")
    assert any("4 chips without labels" in seen for seen in model.signature.training_data)
    probabilities = answer(OpenVinoPredictor(model), {"s2": np.full((4, 30, 21), 0.3, np.float32)})
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, atol=1e-5)
    assert load(distilled / "student" / "config.toml", Config) == smoke()
    steps = [record for record in read_journal(distilled / "student" / "journal.jsonl") if record["event"] == "step"]
    assert {"cross_entropy", "dice", "teacher"} <= steps[-1].keys()


def test_labelled_chips_of_another_instrument_are_the_students_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image, mask = rng.random((64, 64, 6)).astype(np.float32), rng.choice([0, 3, 4], (64, 64, 1)).astype(np.uint8)
    (tmp_path / "real").mkdir()
    np.savez(tmp_path / "real" / "sentinel2.npz", img=image, msk=mask)
    tables = override(read_toml(RECIPES / "clouds" / "smoke.toml"), ["arm=supervised", "student.fit.steps=2"])
    tables.pop("place")
    tables["also"] = [{"source": str(tmp_path / "real"), "repeat": 2}]
    model = ModelFolder.open(run(validate(tables, Config, "smoke.toml"), PLACE, tmp_path / "out"))
    assert model.signature.inputs["s2"].instrument == "Sentinel-2 L1C"
    assert any("each 2 times as often" in seen for seen in model.signature.training_data)


def test_answers_are_kept_once_and_are_the_ensembles(distilled: Path) -> None:
    kept = sorted((distilled / "answers").glob("*/*.npy"))
    assert len(kept) == 8
    chips = OfBands(SimulatedChips(0, 4, 64, "clouds", ("s2",), ("clouds",)), {"s2": ("B02", "B03", "B04", "B08")})
    ensemble = open_ensemble([distilled / "teacher-0", distilled / "teacher-1"], views=2)
    said = np.log(np.maximum(answer(ensemble, chips[0].images), 1e-7))
    stored = [np.log(np.maximum(np.load(file).astype(np.float32), 1e-7)) for file in kept]
    assert min(np.abs(said - other)[np.isfinite(other)].max() for other in stored) < 0.01
    assert ANSWER == "answer"


def test_windows_of_an_image_give_its_answer_where_all_agree(distilled: Path) -> None:
    member = open_ensemble([distilled / "teacher-0"], views=1)
    even = {"s2": np.full((1, 4, 96, 64), 0.25, np.float32)}
    whole, cut = member.predict(even), open_ensemble([distilled / "teacher-0"], views=1, tile=32).predict(even)
    assert cut.shape == whole.shape
    np.testing.assert_allclose(cut.sum(axis=1), 1, atol=1e-5)
    small = {"s2": even["s2"][:, :, :32, :32]}
    np.testing.assert_allclose(Windows(member, 32).predict(small), member.predict(small), atol=1e-5)
    with pytest.raises(ConfigError, match="do not fit"):
        Windows(member, 30)


def test_an_assistant_stands_between_and_without_unlabelled_chips_all_of_a_batch_is_labelled(
    distilled: Path, tmp_path: Path
) -> None:
    settings = [
        f"teacher.given=['{distilled / 'teacher-0'}']",
        "assistant.network.body={base = 4, stages = 1, depth = 1}",
    ]
    settings += ["squeeze.hint=0.5", "assistant.fit.steps=2", "assistant.fit.batch=2", "assistant.augment.crop=32"]
    tables = override(read_toml(RECIPES / "clouds" / "smoke.toml"), [*settings, 'assistant.network.roles=["s2"]'])
    tables.pop("place")
    tables.pop("unlabelled")
    folder = run(validate(tables, Config, "smoke.toml"), PLACE, tmp_path / "out")
    assert folder == tmp_path / "out/student"
    assert not (tmp_path / "out" / "teacher-0").exists()
    assert load_segmenter(ModelFolder.open(tmp_path / "out" / "assistant")).stride == 1
    assert len(ModelFolder.open(folder).signature.training_data) == 1
    assert "hint" in read_journal(folder / "journal.jsonl")[1]
    assert not any("adapt" in name for name in load_file(folder / "weights.safetensors"))
    assert len(list((tmp_path / "out" / "answers").glob("*/*.npy"))) == 8  # the ensemble's, and the assistant's


@pytest.mark.parametrize(
    ("assignment", "error", "message"),
    [
        ("validation.source=simulated:clouds:3+2@64", InputError, "in training and in test"),
        ("teacher.members=[0, 2]", ConfigError, "not all of folds"),
        ("teacher.folds=9", InputError, "cannot be cut into 9 folds"),
        ("bands=['B02', 'B42']", InputError, "B42"),
        ("squeeze.weight=0", ConfigError, "nothing of the teacher"),
    ],
)
def test_what_does_not_fit_is_said(assignment: str, error: type[Exception], message: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=message):
        run(smoke(assignment), PLACE, tmp_path / "out")
