"""docs/how-to/flood.md: its four commands run as they stand, on a small copy of Sen1Floods11 of simulated chips."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from undercast.chip import Chip
from undercast.cli.main import app
from undercast.datasets import SimulatedChips, open_dataset
from undercast.model import ModelFolder
from undercast.raster import write_raster
from undercast.task import NODATA

ROOT = Path(__file__).parents[1]
DEGREES = ("EPSG:4326", (1e-4, 0.0, 10.0, 0.0, -1e-4, 45.0))
SPLITS = {
    "train": ["India_1", "Ghana_1"],
    "valid": ["India_2"],
    "test": ["Ghana_2", "India_3"],
    "bolivia": ["Bolivia_1"],
}
WEAK = ["India_7", "Ghana_7", "Bolivia_7"]
SMALL = [
    *("place.precision=32-true", "place.threads=1", "augment.crop=32"),
    *(f"{who}.fit.{key}" for who in ("teacher", "student") for key in ("steps=3", "batch=4")),
    *(f"{who}.network.body={{base=8, stages=2, depth=1}}" for who in ("teacher", "student")),
]


def commands() -> list[list[str]]:
    text = (ROOT / "docs/how-to/flood.md").read_text("utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [shlex.split(line)[1:] for block in blocks for line in block.splitlines()]


def write_chip(folder: Path, key: str, chip: Chip, weak: bool) -> None:
    """A simulated chip as the data set stores one: dB, counts with 0 for unseen, labels with -1."""
    part, label, target = ("Weak", "S2IndexLabelWeak", "flood_weak") if weak else ("Hand", "LabelHand", "flood")
    counts = np.nan_to_num(np.clip(chip.images["s2"], 0.0001, 2) * 1e4).astype(np.int16)
    truth = chip.targets[target].astype(np.int16)
    truth[truth == NODATA] = -1
    layers: dict[str, NDArray[np.generic]] = {f"S1{part}": chip.images["s1"], f"S2{part}": counts, label: truth}
    for layer, array in layers.items():
        path = folder / ("WeaklyLabeled" if weak else "HandLabeled") / layer / f"{key}_{layer}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_raster(path, array, DEGREES)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "data" / "sen1floods11"
    made = SimulatedChips(40, 20, 64, roles=("s1", "s2"), targets=("flood", "flood_weak"))
    keys = [key for split in SPLITS.values() for key in split]
    for number, key in enumerate([*keys, *WEAK]):
        write_chip(root / "v1.1/data/flood_events", key, made[number], weak=key in WEAK)
    folder = root / "v1.1/splits/flood_handlabeled"
    folder.mkdir(parents=True)
    for split, members in SPLITS.items():
        rows = [f"{key}_S1Hand.tif,{key}_LabelHand.tif\n" for key in members]
        (folder / f"flood_{split}_data.csv").write_text("".join(rows))
    return root


def test_from_the_download_to_the_table_in_four_commands(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    told = commands()
    assert [words[0] for words in told] == ["data", "train", "train", "evaluate"]
    shown = []
    for words in told:
        small = [word for setting in SMALL for word in ("--set", setting)] if words[0] == "train" else []
        assert app([*words, *small], standalone_mode=False) in (0, None), words
        shown.append(capsys.readouterr())
    assert "weak-bolivia" in shown[0].out
    assert "train and test share the event Ghana, India" in " ".join(shown[0].out.split())
    assert "shares the events India" in shown[1].err
    # The student never saw Bolivia, hand-labelled or weak.
    student = tmp_path / "runs/distilled/student"
    assert not any("Bolivia" in line for line in (student / "journal.jsonl").read_text("utf-8").splitlines())
    assert set(ModelFolder.open(student).signature.inputs) == {"s1"}
    assert "pooled over all pixels of 16 m, 2 chips, split test" in " ".join(shown[3].out.split())
    assert "trained on other chips of the events scored: Ghana, India" in " ".join(shown[3].err.split())
    report = (tmp_path / "runs/table/report.md").read_text("utf-8")
    for metres in (10, 16):
        assert f"pixels of {metres} m" in report
    for name in ("threshold", "supervised/student", "distilled/student"):
        assert f"| {name} |" in report
    scored = json.loads((tmp_path / "runs/table/report.json").read_text("utf-8"))["predictors"]
    assert {part["total"]["chips"] for part in scored.values()} == {2}
    assert (tmp_path / "runs/table/chips.png").is_file()


def test_the_copy_is_read_as_it_was_made(data: Path):
    source = open_dataset(f"{data}@hand+weak")
    assert len(source) == 9
    made = SimulatedChips(40, 20, 64, roles=("s1", "s2"), targets=("flood", "flood_weak"))
    number = [info.key for info in source.index].index("India_1")
    chip = source[number]
    np.testing.assert_array_equal(chip.images["s1"], made[0].images["s1"])
    np.testing.assert_array_equal(chip.targets["flood"], made[0].targets["flood"])
