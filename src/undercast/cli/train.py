"""``undercast train``: a recipe and its settings → a model folder."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from undercast.engine.place import Place

# name in the TOML → module with a ``Config`` and ``run(config, place, out, resume=…)``
RECIPES = {
    "flood": "undercast.recipes.flood",
    "clouds": "undercast.recipes.clouds",
    "landcover": "undercast.recipes.landcover",
    "landslide": "undercast.recipes.landslide",
}


def train(
    recipe: Annotated[Path, typer.Argument(help='A TOML file with recipe = "…" and its settings.')],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the model folders.")],
    assignments: Annotated[list[str] | None, typer.Option("--set", help="key=value over the file; repeatable.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an earlier run into DIR stopped.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the model's folder and scores as JSON.")] = False,
) -> None:
    """Train RECIPE into DIR. With several processes: torchrun --nproc-per-node=N -m undercast train …

    The table [place] of the file says on what device, in what precision and with how many threads.
    """
    import json

    from undercast.model import ModelFolder

    config, place = read_recipe(recipe, assignments or [])
    folder = import_module(RECIPES[config.recipe]).run(config, place, out, resume=resume)
    if not place.launch().is_global_zero:
        return
    model = ModelFolder.open(folder)
    if as_json:
        typer.echo(json.dumps({"model": str(folder), "scores": model.signature.scores}, indent=2))
    else:
        typer.echo(f"{folder}: {', '.join(f'{name} {value:.4f}' for name, value in model.signature.scores.items())}")


def read_recipe(path: Path, assignments: Sequence[str]) -> "tuple[Any, Place]":
    """The ``Config`` of the recipe that ``path`` names, with ``assignments`` over it, and where it is to run.

    Raises:
        ConfigError: there is no such recipe, or a key or value that does not fit; the message names it.
    """
    from undercast.config import override, read_toml, validate
    from undercast.engine.place import Place
    from undercast.errors import ConfigError

    tables = override(read_toml(path), assignments)
    name = tables.get("recipe")
    if name not in RECIPES:
        known = ", ".join(RECIPES)
        raise ConfigError(f"{path}: key 'recipe' is {name!r}; put the name of one at the top (known: {known})")
    place = validate(tables.pop("place", {}), Place, f"{path}, table [place]")
    return validate(tables, import_module(RECIPES[name]).Config, str(path)), place
