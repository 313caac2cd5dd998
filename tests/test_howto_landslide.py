"""docs/how-to/landslide.md: its commands run as they stand, on a small cube in the official layout."""

import csv
import json
import re
import shlex
from pathlib import Path

import pytest

from landslide_layouts import CubeSpec, write_cube
from undercast.bands import to_decibel
from undercast.cli.main import app
from undercast.model import ModelFolder
from undercast.raster import write_raster

ROOT = Path(__file__).parents[1]
UTM = ("EPSG:32654", (10.0, 0.0, 600000.0, 0.0, -10.0, 4700000.0))
# four places, each with some landslides; what is not read here is left out
SPEC = CubeSpec(rows=1024, cols=1024, landslides=14, without=("topophase.cor_1", "dem_curvature"))
SMALL = [
    *("place.precision=32-true", "place.threads=1", "kernel=3", "embedding.stem=4", "embedding.out=2"),
    *('trunk={kind="plain", channels=[4], kernel=3}', "labelled.count=4"),
    *(f"stage{number}.{key}" for number in (1, 2) for key in ("steps=2", "batch=2")),
]


def commands() -> list[list[str]]:
    text = (ROOT / "docs/how-to/landslide.md").read_text("utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [shlex.split(line)[1:] for block in blocks for line in block.splitlines()]


@pytest.mark.slow
def test_every_command_runs_from_a_cube_to_a_priority_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = write_cube(tmp_path / "cubes/hokkaido_japan.zarr", SPEC)
    for name, number in (("before.tif", 1), ("after.tif", 3)):
        image = to_decibel(truth.both(number)[:, :150, :200])
        write_raster(tmp_path / name, image, UTM, descriptions=("VV", "VH"))
    write_raster(tmp_path / "dem.tif", truth.dem[:150, :200], UTM)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    told = commands()
    assert [words[0] for words in told] == ["data", "train", "evaluate", "map", "verify"]
    for words in told:
        small = [part for setting in SMALL for part in ("--set", setting)] if words[0] == "train" else []
        assert app([*words, *small], standalone_mode=False) in (0, None), words
        capsys.readouterr()
    student = ModelFolder.open(tmp_path / "runs/hokkaido/student")
    assert list(student.signature.inputs) == ["s1_pre", "s1_post"]
    assert student.signature.count_spread is None
    assert (tmp_path / "runs/hokkaido-test/report.md").is_file()
    summary = json.loads((tmp_path / "maps/hokkaido/summary.json").read_text("utf-8"))
    assert summary["scene"] == "after"
    with (tmp_path / "maps/hokkaido/priority.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == summary["priority"]["cells"] == 4
    text = (ROOT / "docs/how-to/landslide.md").read_text("utf-8")
    for column in rows[0]:
        assert f"`{column}`" in text
