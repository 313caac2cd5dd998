"""The demo, at the size of a stamp: a scene, its map, its score and its picture."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from undercast.cli.main import app


def test_the_demo_maps_what_it_simulated_and_says_how_well(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    for _ in range(2):  # a second time over its own results
        result = CliRunner().invoke(app, ["demo", "-o", str(out), "--size", "160", "--json"], catch_exceptions=False)
        assert result.exit_code == 0
    told = json.loads(result.stdout[result.stdout.index("{") :])
    assert told["iou"] > 0.3  # far above an empty or a full map of this scene
    assert told == {"picture": str(out / "demo.png")} | json.loads((out / "scores.json").read_text())
    assert (out / "map" / "class.tif").is_file()
    assert (out / "demo.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("task", "score", "by_chance"),
    [("clouds", "iou", 0.3), ("landcover", "right_cloudy", 0.2), ("landslide", "iou", 0.05)],
)
def test_every_task_has_a_demo(tmp_path: Path, task: str, score: str, by_chance: float) -> None:
    command = ["demo", "--task", task, "-o", str(tmp_path / "demo"), "--size", "256", "--json"]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    told = json.loads(result.stdout[result.stdout.index("{") :])
    assert told[score] > by_chance
    assert (tmp_path / "demo" / "demo.png").stat().st_size > 10_000


def test_a_demo_of_nothing_says_what_there_is(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["demo", "--task", "snow", "-o", str(tmp_path / "demo")])
    assert "known: flood, clouds, landcover, landslide" in str(result.exception)


def test_the_demo_leaves_other_folders_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").touch()
    result = CliRunner().invoke(app, ["demo", "-o", str(tmp_path)])
    assert result.exit_code != 0
    assert "holds something else" in str(result.exception)
