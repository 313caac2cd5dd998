"""Law 14: every command in the README runs, and every shipped recipe loads."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from undercast.cli.main import app
from undercast.cli.simulate import simulate
from undercast.config import read_toml
from undercast.task import FLOOD

ROOT = Path(__file__).parents[1]


def commands() -> list[list[str]]:
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    lines = [shlex.split(line) for block in blocks for line in block.splitlines()]
    return [words[1:] for words in lines if words[0] == "undercast"]


@pytest.mark.slow
def test_law_14_every_command_in_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    simulate(tmp_path / "made", FLOOD.name, 1, 200, 11)
    scene = next((tmp_path / "made").glob("scene-*"))
    (tmp_path / "scenes").mkdir()
    shutil.copy(scene / "s1.tif", tmp_path / "scenes/monday.tif")
    (scene / "s1.tif").rename("sentinel1.tif")
    (scene / "occurrence.tif").rename("water-occurrence.tif")
    (scene / "dem.tif").rename("dem.tif")
    told = commands()
    assert len(told) >= 6
    for words in told:
        assert app(words, standalone_mode=False) in (0, None), words
    assert (tmp_path / "flood-map" / "class.tif").is_file()


def test_the_make_targets_of_the_readme_exist() -> None:
    made = set(re.findall(r"^make (\S+)", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE))
    assert made == {"demo", "test"}
    assert made <= set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").rglob("*.toml")), ids=lambda path: path.stem)
def test_law_14_every_shipped_recipe_loads(path: Path) -> None:
    from undercast.cli.train import read_recipe

    assert read_recipe(path, [])[0].recipe == read_toml(path)["recipe"]
