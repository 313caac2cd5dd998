"""The recipes that run from end to end in seconds, for the tests of each."""

from pathlib import Path
from typing import Any

from undercast.cli.train import read_recipe
from undercast.engine.place import Place

RECIPES = Path(__file__).parents[1] / "recipes"
PLACE = Place(accelerator="cpu", precision="32-true", threads=1, allocator=False)


def smoke_recipe(name: str, *assignments: str) -> Any:
    """The settings of ``recipes/NAME/smoke.toml`` with ``assignments`` over them."""
    return read_recipe(RECIPES / name / "smoke.toml", assignments)[0]
