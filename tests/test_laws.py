"""The laws of the design: one test each, numbered as there."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from typer.testing import CliRunner

from undercast.bands import S1, S2_L1C, Modality
from undercast.chip import Chip, ChipInfo
from undercast.cli.main import app
from undercast.cli.train import RECIPES
from undercast.datasets.split import Subset, check_disjoint, leave_one_event_out, partition
from undercast.engine.distilled import Distilled
from undercast.engine.feed import Feed
from undercast.engine.fit import FitConfig, fit
from undercast.engine.journal import read_journal
from undercast.engine.objective import Frozen
from undercast.engine.place import Place
from undercast.engine.ranks import world_size
from undercast.engine.supervised import Supervised
from undercast.errors import InputError, TrainingError
from undercast.losses.distil import divergence
from undercast.losses.segmentation import SegmentationLossConfig
from undercast.model import ModelFolder
from undercast.nets import Pinned, Segmenter, SegmenterConfig, UNetConfig
from undercast.predict import OpenVinoPredictor, answer
from undercast.task import FLOOD, NODATA, Task

PLACE = Place(accelerator="cpu", precision="32-true", threads=1, allocator=False)
CONFIG = FitConfig(steps=6, batch=4, checkpoint_every=3, learning_rate=0.01)


class Ponds:
    """Six small chips with a pond, low in both bands of the radar and dark to the optical sensor."""

    task: Task = FLOOD
    modalities: Mapping[str, Modality] = {"s1": S1, "s2": S2_L1C}
    index = tuple(ChipInfo(f"pond_{number}", event=str(number)) for number in range(6))

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, number: int) -> Chip:
        rng = np.random.default_rng(number)
        water = np.zeros((16, 16), np.uint8)
        water[number : number + 8, 4:12] = 1
        s1 = (-12.0 - 10.0 * water + rng.normal(0, 2, (2, 16, 16))).astype(np.float32)
        s2 = (0.3 - 0.28 * water + rng.normal(0, 0.01, (13, 16, 16))).astype(np.float32)
        water[:number] = NODATA  # chips differ in how much of them is labelled
        return Chip(f"pond_{number}", {"s1": s1, "s2": s2}, {"flood": water})


def network(roles: tuple[str, ...] = ("s1",), seed: int = 0, dropout: float = 0.0) -> Segmenter:
    torch.manual_seed(seed)
    body = UNetConfig(base=4, stages=2, depth=1, dropout=dropout)
    return SegmenterConfig(roles=roles, body=body).build(Ponds.modalities, FLOOD)


def feed(batch: int = 4, seed: int = 0) -> Feed:
    return Feed(Ponds(), ("s1", "s2"), ("flood",), batch=batch, seed=seed)


def supervised(student: nn.Module | None = None, dropout: float = 0.0) -> Supervised:
    loss = SegmentationLossConfig(dice=1.0, pooled=True).terms
    return Supervised(student or network(dropout=dropout), loss, target="flood", roles=("s1",))


def distilled(teacher: Frozen, student: nn.Module | None = None) -> Distilled:
    return Distilled(
        student or network(),
        teacher,
        SegmentationLossConfig().terms,
        lambda student, teacher, weights: divergence(student, teacher, weights=weights),
        target="flood",
        roles=("s1",),
        sees={"s1": "s1", "s2": "s2"},
    )


def copies(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in tensors.items()}


def test_law_01_a_teacher_does_not_change_and_is_in_no_checkpoint(tmp_path: Path) -> None:
    original = network(("s1", "s2"), seed=1)
    teacher = Frozen(original)
    before = teacher.state()
    objective = distilled(teacher)
    student = copies(objective.student.state_dict())
    fit(objective, {"labelled": feed(2), "unlabelled": feed(2, seed=1)}, CONFIG, PLACE, tmp_path)
    after = teacher.state()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not teacher.training
    assert not all(torch.equal(student[name], tensor) for name, tensor in objective.student.state_dict().items())
    # Nothing in the checkpoint but the student, its average and its moments; no tensor of it is the teacher's.
    kept = load_file(tmp_path / "checkpoint.safetensors")
    known = tuple(f"{part}{name}" for name in student for part in ("objective.student.", "average."))
    assert all(name.startswith((*known, "optimiser.student.")) for name in kept)
    theirs = [t for name, t in before.items() if name.startswith("body") and t.numel() > 1 and t.unique().numel() > 1]
    assert not any(ours.shape == t.shape and torch.equal(ours, t) for ours in kept.values() for t in theirs)


def test_law_02_a_pinned_part_ships_and_never_changes(tmp_path: Path) -> None:
    student = network()
    student.body.encoder[0] = Pinned(student.body.encoder[0])
    pinned = {name for name in student.state_dict() if name.startswith("body.encoder.0.")}
    before = copies(student.state_dict())
    fit(supervised(student), {"labelled": feed()}, CONFIG, PLACE, tmp_path)
    after = student.state_dict()
    assert any("running_mean" in name for name in pinned)
    assert all(torch.equal(before[name], after[name]) for name in pinned)
    assert not torch.equal(before["body.encoder.1.0.weight"], after["body.encoder.1.0.weight"])
    kept = load_file(tmp_path / "checkpoint.safetensors")
    assert all(torch.equal(kept[f"average.{name}"], before[name]) for name in pinned)


def test_law_03_an_idle_parameter_is_refused_by_name_on_the_first_step(tmp_path: Path) -> None:
    student = network()
    student.forgotten = nn.Linear(3, 3)
    with pytest.raises(TrainingError, match=r"student\.forgotten\.weight, student\.forgotten\.bias"):
        fit(supervised(student), {"labelled": feed()}, CONFIG, PLACE, tmp_path)
    assert [record["event"] for record in read_journal(tmp_path / "journal.jsonl")] == ["start"]
    student.forgotten.requires_grad_(False)
    fit(supervised(student), {"labelled": feed()}, CONFIG, PLACE, tmp_path)


ONE_STAGE = {"flood": "supervised", "clouds": "supervised", "landcover": "teacher", "landslide": "none"}
"""The arm of each recipe that trains a single network."""


@pytest.mark.parametrize("recipe", RECIPES)
def test_law_10_every_recipe_runs_from_config_to_an_answering_predictor(recipe: str, tmp_path: Path) -> None:
    smoke = Path(__file__).parents[1] / "recipes" / recipe / "smoke.toml"
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["train", str(smoke), "--set", f"arm={ONE_STAGE[recipe]}", "-o", str(out), "--json"])
    assert done.exit_code == 0, done.output
    folder = ModelFolder.open(Path(json.loads(done.stdout)["model"]))
    rng = np.random.default_rng(0)
    images = {
        role: rng.uniform(*modality.valid_range, (len(modality.bands), 45, 70)).astype(np.float32)
        for role, modality in folder.signature.inputs.items()
    }
    probabilities = answer(OpenVinoPredictor(folder), images)
    assert probabilities.shape == (len(folder.signature.task), 45, 70)
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, atol=1e-5)
    assert probabilities.std() > 0


def test_law_11_two_processes_take_the_step_of_one(tmp_path: Path) -> None:
    """With batch normalisation, chips of unequal label share, a Dice term and a distilled one."""
    one, two = tmp_path / "one", tmp_path / "two"
    _fit_apart(one)
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", __file__, str(two)]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    ours, theirs = (load_file(path / "checkpoint.safetensors") for path in (one, two))
    begun = {f"objective.student.{name}": t for name, t in network().state_dict().items()}
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(theirs[name], tensor, rtol=1e-3, atol=1e-5, msg=lambda text, n=name: f"{n}: {text}")
    assert any(not torch.allclose(ours[name], begun[name], atol=1e-3) for name in begun)
    losses = [[r["loss"] for r in read_journal(p / "journal.jsonl") if r["event"] == "step"] for p in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def _fit_apart(out: Path) -> None:
    feeds = {"labelled": feed(3), "unlabelled": feed(4, seed=1)}
    config = FitConfig(steps=3, batch=7, log_every=1)
    fit(distilled(Frozen(network(("s1", "s2"), seed=1))), feeds, config, PLACE, out)


def test_law_12_resuming_equals_not_having_stopped(tmp_path: Path) -> None:
    whole, stopped = supervised(dropout=0.3), supervised(dropout=0.3)
    fit(whole, {"labelled": feed()}, CONFIG, PLACE, tmp_path / "whole")

    class PowerCutError(Exception):
        pass

    class Feeble(Feed):
        def batch(self, step: int, rank: int = 0, world: int = 1):
            if step == 4:
                raise PowerCutError
            return super().batch(step, rank, world)

    feeble = Feeble(Ponds(), ("s1", "s2"), ("flood",), batch=4, seed=0)
    with pytest.raises(PowerCutError):
        fit(stopped, {"labelled": feeble}, CONFIG, PLACE, tmp_path / "stopped")
    resumed = supervised(network(seed=99, dropout=0.3))
    torch.manual_seed(12345)
    fit(resumed, {"labelled": feed()}, CONFIG, PLACE, tmp_path / "stopped", resume=True)
    ends = [load_file(tmp_path / name / "checkpoint.safetensors") for name in ("whole", "stopped")]
    assert ends[0].keys() == ends[1].keys()
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    state = resumed.student.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in whole.student.state_dict().items())
    steps = [record["step"] for record in read_journal(tmp_path / "stopped" / "journal.jsonl")]
    assert steps == sorted(steps)


if __name__ == "__main__":  # one of the processes of law 11
    _fit_apart(Path(sys.argv[1]))
    assert world_size() == 2


class Index:
    """Chips known by their index alone: five events of three places of two chips."""

    task: Task = FLOOD
    modalities: Mapping[str, Modality] = {"s1": S1}
    index = tuple(
        ChipInfo(f"{event}-{place}-{chip}", event=f"event {event}", place=f"place {event}-{place}")
        for event in range(5)
        for place in range(3)
        for chip in range(2)
    )

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, number: int) -> Chip:
        return Chip(self.index[number].key, {"s1": np.zeros((2, 4, 4), np.float32)})


@pytest.mark.parametrize("seed", range(5))
def test_law_13_no_place_or_event_of_a_test_split_is_seen_in_training(seed: int) -> None:
    source = Index()
    train, test = partition(source, 0.4, seed=seed)
    splits = [(train, test), *((kept, left) for _, kept, left in leave_one_event_out(source))]
    for kept, left in splits:
        assert not {info.event for info in kept.index} & {info.event for info in left.index}
        check_disjoint(kept, left)
        # A single chip of a test event among those to train on is found and named.
        leaked = Subset(source, (*kept.numbers, left.numbers[-1]))
        with pytest.raises(InputError, match=f"event '{left.index[-1].event}'"):
            check_disjoint(leaked, left)
    # Another event at the same place is no excuse, and a split by chip is refused.
    with pytest.raises(InputError, match="place 'place 0-0'"):
        check_disjoint(Subset(source, (0,)), Subset(source, (1,)), by=("place",))


def test_law_15_the_field_half_imports_without_torch() -> None:
    code = """
import importlib, sys
from importlib.resources import files
from pathlib import Path

class Nowhere:  # a machine on which the lab half was never installed
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "lightning_fabric", "onnx", "onnxscript", "onnxruntime", "safetensors"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Nowhere())
root = Path(str(files("undercast")))
lab = {"nets", "losses", "engine", "recipes", "export", "__main__.py"}
paths = [path.relative_to(root) for path in sorted(root.rglob("*.py")) if path.relative_to(root).parts[0] not in lab]
for path in paths:
    importlib.import_module(".".join(("undercast", *path.with_suffix("").parts)).removesuffix(".__init__"))
print(len(paths))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 40
