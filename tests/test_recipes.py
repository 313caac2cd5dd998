"""Every recipe of the project reads, and what a model keeps of its settings reads as the same."""

from pathlib import Path

import pytest

from smoke import RECIPES
from undercast.cli.train import read_recipe
from undercast.config import dump_toml, load


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*/*.toml")), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_recipe_loads_and_round_trips(path: Path, tmp_path: Path) -> None:
    config, _ = read_recipe(path, [])
    assert config.recipe == path.parent.name
    (tmp_path / "again.toml").write_text(dump_toml(config))
    assert load(tmp_path / "again.toml", type(config)) == config
