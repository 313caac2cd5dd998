"""``undercast data``: brings published data sets here, and says what is in one."""

import json
from pathlib import Path
from typing import Annotated

import typer

from undercast.errors import ConfigError

data = typer.Typer(help="Brings published data sets here, and says what is in one.", no_args_is_help=True)

DATASETS = {"sen1floods11": ("splits", "hand", "weak")}
"""Data set → its parts, the small ones first."""


@data.callback()
def _root() -> None:
    pass


@data.command("fetch")
def fetch(
    dataset: Annotated[str, typer.Argument(help=f"Which: {', '.join(DATASETS)}.")],
    folder: Annotated[Path, typer.Argument(help="Where to; what is there and whole is left alone.")],
    part: Annotated[
        list[str] | None,
        typer.Option(help="hand (1.8 GB with its splits), weak (12 GB) or splits; repeat for several. Default: hand."),
    ] = None,
    base_url: Annotated[str | None, typer.Option(help="A mirror of the bucket's server.")] = None,
    connections: Annotated[int | None, typer.Option(min=1, max=32, help="Files at once; 4 by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="What came, as JSON on stdout.")] = False,
) -> None:
    """Download a data set; stopped or cut off, the same command goes on from there."""
    from undercast.cli.transfer import transfer_progress
    from undercast.datasets.bucket import FetchConfig
    from undercast.datasets.fetch import fetch_sen1floods11

    if dataset not in DATASETS:
        raise ConfigError(f"unknown data set '{dataset}'; known: {', '.join(DATASETS)}")
    asked = set(part or ["hand"])
    if unknown := sorted(asked - set(DATASETS[dataset])):
        raise ConfigError(
            f"--part {unknown[0]}: {dataset} has no such part; its parts are {', '.join(DATASETS[dataset])}"
        )
    # The hand-labelled chips mean little without the official splits, which are a few kilobytes.
    parts = [name for name in DATASETS[dataset] if name in asked or (name == "splits" and "hand" in asked)]
    given = {"base_url": base_url and base_url.rstrip("/"), "connections": connections}
    config = FetchConfig.model_validate({key: value for key, value in given.items() if value is not None})
    with transfer_progress(f"{dataset} {'+'.join(parts)}") as watch:
        result = fetch_sen1floods11(folder, parts, config, watch)  # type: ignore[arg-type]
    if as_json:
        typer.echo(json.dumps({"folder": str(folder), "parts": parts, **vars(result)}))
    else:
        came, there = result.new_bytes / 1e6, result.bytes / 1e6
        typer.echo(f"{folder}: {result.files} files, {there:.1f} MB, all checked; {came:.1f} MB came now")


@data.command("check")
def check(
    source: Annotated[str, typer.Argument(help="Folder of chips, or simulated:FIRST_SEED+COUNT[@SIZE].")],
    target: Annotated[
        str | None, typer.Option(help="The label to count; the task's own (or a weak one) by default.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON on stdout.")] = False,
) -> None:
    """Class balance of every split, and the events, places and chips that splits share."""
    from rich.console import Console
    from rich.table import Table

    from undercast.cli.progress import track
    from undercast.datasets import open_dataset
    from undercast.datasets.audit import balance, leaks

    chips = open_dataset(source)
    with track("counting", len(chips)) as advance:
        found, shared = balance(chips, target=target, progress=advance), leaks(chips)
    if as_json:
        rows = [{**vars(split), "shares": split.shares} for split in found]
        typer.echo(json.dumps({"splits": rows, "shared": [vars(leak) for leak in shared]}, indent=2))
        return
    classes = [label.name for label in chips.task.classes]
    grid = Table(title=f"{source}: {target or chips.task.name}", title_justify="left")
    for name in ("split", "chips", "events", *classes, "no label"):
        grid.add_column(name, justify="left" if name == "split" else "right")
    for split in found:
        pixels = split.unlabelled + sum(split.pixels.values())
        told = [f"{share:.1%}" for share in split.shares.values()]
        row = (split.split or "(none)", f"{split.chips:,}", f"{split.events:,}", *told)
        grid.add_row(*row, f"{split.unlabelled / pixels:.1%}")
    console = Console()
    console.print(grid)
    for leak in shared:
        console.print(f"shared: {leak}", style="yellow", highlight=False)
    if not shared:
        typer.echo("No two splits share an event, a place or a chip.")
