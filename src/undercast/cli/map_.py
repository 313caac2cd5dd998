"""``undercast map``: a scene into a product folder."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer


def map_(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="Rasters: FILE, ROLE=FILE or ROLE:BAND=FILE; FILE@2 is its second band. Permanent water is told from "
            "flood by occurrence=FILE (JRC, percent), reference=FILE (a mask) or s1_pre=FILE (an image from before); "
            "dem=FILE (metres) excludes ground where no flood can be.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to make; it appears when the map is complete.")],
    model: Annotated[str, typer.Option("--model", "-m", help="An installed model, or a model folder.")] = "flood-s1",
    unit: Annotated[
        Literal["db", "power"] | None, typer.Option(help="Unit of radar images; found from the numbers if not said.")
    ] = None,
    nodata: Annotated[
        float | None, typer.Option(help="Value that means 'not observed', instead of what the files declare.")
    ] = None,
    precision: Annotated[Literal["fp32", "int8"], typer.Option(help="Which graph of the model to run.")] = "fp32",
    areas: Annotated[
        str | None,
        typer.Option(metavar="FILE[:LAYER]", help="Polygons, any vector file: count areas in each, for areas.csv."),
    ] = None,
    assign: Annotated[
        list[str] | None, typer.Option("--set", help="A setting, as key=value: codes.uncertain_band=0.05.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a product that is there already.")] = False,
    json_out: Annotated[bool, typer.Option("--json", help="Write the summary to stdout as JSON.")] = False,
) -> None:
    """Map a scene: classes, likelihood, numbers and a picture, on the grid of the input."""
    from undercast.cli.megapixels import megapixels
    from undercast.config import override, validate
    from undercast.mapping import MapConfig, map_scene
    from undercast.model import resolve

    config = validate(override({}, assign or []), MapConfig, "--set")
    folder = resolve(model)
    with megapixels("map") as advance:
        summary = map_scene(
            inputs,
            folder,
            out,
            unit={"db": "dB", "power": "power", None: None}[unit],
            nodata=nodata,
            precision=precision,
            areas=areas,
            overwrite=overwrite,
            config=config,
            progress=advance,
        )
    if json_out:
        typer.echo(json.dumps({"product": str(out)} | summary, indent=2, ensure_ascii=False))
        return
    for note in summary["notes"]:
        typer.secho(f"note: {note}", fg="yellow", err=True)
    typer.echo(summary.get("sentence") or f"mapped {summary['observed_share']:.1%} of the scene")
    typer.echo(str(out))
