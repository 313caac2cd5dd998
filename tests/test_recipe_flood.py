from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from smoke import PLACE, RECIPES, smoke_recipe
from undercast.cli.main import app
from undercast.config import load, read_toml, validate
from undercast.engine.calibrate import fit_temperature, fit_threshold
from undercast.engine.journal import read_journal
from undercast.errors import ConfigError, InputError, TrainingError
from undercast.evaluate.leakage import Trained
from undercast.export import load_segmenter
from undercast.model import ModelFolder
from undercast.recipes.flood import Config, run

smoke = partial(smoke_recipe, "flood")


@pytest.fixture(scope="module")
def distilled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole recipe, teacher and student, once."""
    out = tmp_path_factory.mktemp("flood") / "out"
    assert run(smoke(), PLACE, out) == out / "student"
    return out


def test_teacher_and_student_are_model_folders_that_say_what_they_are(distilled: Path):
    teacher, student = (ModelFolder.open(distilled / name) for name in ("teacher", "student"))
    assert set(teacher.signature.inputs) == {"s1", "s2"}
    assert set(student.signature.inputs) == {"s1"}
    assert len(teacher.signature.training_data) == 1  # the teacher saw no pairs
    assert any("pairs" in seen for seen in student.signature.training_data)
    assert student.signature.training_domain["s1"]["VV"].p01 < student.signature.training_domain["s1"]["VV"].p99
    assert "validation pooled_iou" in student.signature.scores
    assert load(distilled / "student" / "config.toml", Config) == smoke()
    terms = read_journal(distilled / "student" / "journal.jsonl")[1]
    assert {"cross_entropy", "teacher", "loss", "chips_per_second"} <= terms.keys()
    assert not (distilled / "training").exists()


def test_a_model_tells_which_chips_it_was_trained_on(distilled: Path):
    teacher, student = (Trained.read(distilled / name) for name in ("teacher", "student"))
    assert teacher is not None
    assert student is not None
    assert teacher.keys == {f"simulated-{number:08d}" for number in range(4)}
    assert student.keys == teacher.keys | {f"simulated-{number:08d}" for number in range(1000, 1004)}


def test_another_student_of_the_same_teacher_is_the_same_student(distilled: Path, tmp_path: Path):
    config = smoke(f"distillation.teacher={distilled / 'teacher'}")
    folder = run(config, PLACE, tmp_path / "out")
    first, second = (load_file(path / "weights.safetensors") for path in (distilled / "student", folder))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not (tmp_path / "out" / "teacher").exists()


def test_a_teacher_asked_once_about_whole_chips_is_several_networks(distilled: Path, tmp_path: Path):
    settings = ["distillation.ask=chip", "distillation.members=2", "distillation.views=2", "distillation.labels=hard"]
    folder = run(smoke(*settings), PLACE, tmp_path / "out")
    assert sorted(path.name for path in folder.parent.iterdir()) == ["student", "teacher", "teacher-2"]
    first, second = (load_file(tmp_path / "out" / name / "weights.safetensors") for name in ("teacher", "teacher-2"))
    alone = load_file(distilled / "teacher" / "weights.safetensors")
    assert all(torch.equal(first[name], alone[name]) for name in first)
    assert any(not torch.equal(first[name], second[name]) for name in first)
    assert read_journal(folder / "journal.jsonl")[1]["teacher"] > 0


def test_a_student_of_hand_and_weak_labels_says_so(tmp_path: Path):
    weak = ["weak.source=simulated:1000+3@64", "weak.occurrence=75", "labelled.repeat=2"]
    folder = run(smoke("arm=supervised", "labels=hand+weak", *weak), PLACE, tmp_path / "out")
    told = ModelFolder.open(folder).signature.training_data
    assert told[-1].endswith("weak labels, water where seen in 75 % of looks")
    assert len(told) == 2
    seen = Trained.read(folder)
    assert seen is not None
    assert {f"simulated-{number:08d}" for number in (0, 3, 1000, 1002)} <= seen.keys


def test_a_student_of_fewer_bands_takes_only_those_and_may_start_from_one_of_more(distilled: Path, tmp_path: Path):
    more = ['bands={s1=["VV"]}', f"student.start={distilled / 'student'}", "student.fit.steps=2"]
    folder = run(smoke("arm=supervised", *more), PLACE, tmp_path / "out")
    signature = ModelFolder.open(folder).signature
    assert signature.inputs["s1"].bands == ("VV",)
    assert set(signature.training_domain["s1"]) == {"VV"}


def test_weak_labels_must_be_given():
    with pytest.raises(ConfigError, match=r"give \[weak\] a source"):
        smoke("arm=supervised", "labels=weak")


def test_several_views_are_asked_about_whole_chips():
    with pytest.raises(ConfigError, match='set ask = "chip"'):
        smoke("distillation.views=4")


def test_a_complete_run_is_refused_without_resume_and_kept_with_it(distilled: Path):
    with pytest.raises(TrainingError, match="--resume"):
        run(smoke(), PLACE, distilled)
    before = (distilled / "student" / "model.onnx").stat().st_mtime_ns
    assert run(smoke(), PLACE, distilled, resume=True) == distilled / "student"
    assert (distilled / "student" / "model.onnx").stat().st_mtime_ns == before


def test_a_start_must_hold_the_recipes_network(distilled: Path, tmp_path: Path):
    student = load_segmenter(ModelFolder.open(distilled / "student"))
    assert student.config == smoke().student.network
    other = smoke("arm=supervised", f"student.start={distilled / 'student'}", "student.network.body.base=16")
    with pytest.raises(ConfigError, match="another network"):
        run(other, PLACE, tmp_path / "out")


def test_training_may_not_share_ground_with_validation(tmp_path: Path):
    with pytest.raises(InputError, match="is in training and in test"):
        run(smoke("validation.source=simulated:3+2@64"), PLACE, tmp_path / "out")
    with pytest.raises(InputError, match="is in training and in test"):
        run(smoke("unlabelled.source=simulated:2001+2@64"), PLACE, tmp_path / "out")


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("recipe=fluud", "key 'recipe' is 'fluud'; put the name of one at the top (known: flood"),
        ("student.fit.step=3", "unknown key 'student.fit.step'; known here: steps"),
        ("place.precision=half", "table [place]: key 'precision'"),
        ("arm=guess", "key 'arm'"),
        ("labelled.source=nowhere", "nowhere: no such folder"),
        ("student.network.roles=['s3']", "'s3'"),
    ],
)
def test_what_is_wrong_with_a_configuration_is_said_in_a_line(assignment: str, message: str, tmp_path: Path):
    arguments = ["train", str(RECIPES / "flood" / "smoke.toml"), "--set", assignment, "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert message in str(done.exception)
    assert "\n" not in str(done.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("missing", ["unlabelled", "labelled", "validation"])
def test_a_recipe_without_chips_is_refused(missing: str):
    tables = read_toml(RECIPES / "flood" / "smoke.toml")
    tables.pop("place")
    tables.pop(missing)
    with pytest.raises(ConfigError, match=missing):
        validate(tables, Config, "smoke.toml")


# --- calibration


@pytest.mark.parametrize("true", [0.3, 1.0, 4.0])
def test_the_temperature_that_made_the_labels_is_found(true: float):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (40_000, 3)).astype(np.float32)
    probabilities = np.exp(logits / true) / np.exp(logits / true).sum(1, keepdims=True)
    truth = (probabilities.cumsum(1) < rng.random((len(logits), 1))).sum(1).clip(0, 2).astype(np.uint8)
    assert fit_temperature(logits, truth) == pytest.approx(true, rel=0.05)


def test_the_threshold_is_the_middle_of_the_best():
    truth = np.repeat([False, True], 500)
    probability = np.concatenate([np.linspace(0, 0.295, 500), np.linspace(0.705, 1, 500)])
    assert fit_threshold(probability, truth) == pytest.approx(0.5, abs=0.02)
    rare = np.concatenate([np.linspace(0, 0.8, 500), np.linspace(0.6, 1, 500)])
    scores = {
        t: (rare[truth] >= t).sum() / ((rare >= t).sum() + (rare[truth] < t).sum()) for t in np.arange(2, 99) / 100
    }
    assert scores[round(fit_threshold(rare, truth), 2)] >= max(scores.values()) - 0.002
