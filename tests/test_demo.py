"""The demo, at the size of a stamp: a scene, its map, its score and its picture."""

import json
from pathlib import Path

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


def test_the_demo_leaves_other_folders_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").touch()
    result = CliRunner().invoke(app, ["demo", "-o", str(tmp_path)])
    assert result.exit_code != 0
    assert "holds something else" in str(result.exception)
