"""``undercast map``: a scene into a product folder, or many scenes into a folder of products."""

import json
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer


def map_(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="Rasters: FILE, ROLE=FILE or ROLE:BAND=FILE; FILE@2 is its second band. Models of several images take "
            "s2=FILE s1=FILE, and may do without one. Permanent water is told from flood by occurrence=FILE (JRC, "
            "percent), reference=FILE (a mask) or s1_pre=FILE (an image from before); "
            "dem=FILE (metres) excludes ground where no flood can be. A FOLDER is a batch: each folder in it is a "
            "scene, and so is each name of rasters in it (a_VV.tif, a_VH.tif and a_dem.tif are one). A STAC item, "
            "ITEM.json or its address, stands for its rasters; a file of items or the address of a search is a batch.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="Folder to make; it appears when the map is complete. Of a batch: where products go."
        ),
    ],
    model: Annotated[str, typer.Option("--model", "-m", help="An installed model, or a model folder.")] = "flood-s1",
    unit: Annotated[
        Literal["db", "power"] | None, typer.Option(help="Unit of radar images; found from the numbers if not said.")
    ] = None,
    optical: Annotated[
        Literal["counts", "counts-1000", "reflectance"] | None,
        typer.Option(
            help="What optical images hold, if not found: reflectance × 10000, that with 1000 added (from processing "
            "baseline 04.00 on), or reflectance."
        ),
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
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from what a killed map left; keep products that are complete.")
    ] = False,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="local|ADDRESS", help="Answer on Dask workers: one a core here, or those of a scheduler."),
    ] = None,
    json_out: Annotated[bool, typer.Option("--json", help="Write the summary to stdout as JSON.")] = False,
) -> None:
    """Map a scene: classes, likelihood, numbers and a picture, on the grid of the input."""
    from undercast.batch import holds_scenes
    from undercast.cli.megapixels import megapixels
    from undercast.config import override, validate
    from undercast.errors import InputError
    from undercast.mapping import MapConfig, map_scene
    from undercast.mapping.cluster import connect
    from undercast.model import resolve

    config = validate(override({}, assign or []), MapConfig, "--set")
    folder = resolve(model)
    batches = [text for text in inputs if holds_scenes(text)]
    if batches and len(batches) < len(inputs):
        rest = next(text for text in inputs if text not in batches)
        raise InputError(
            f"{batches[0]} holds scenes and {rest} does not; give the files of one scene, or folders of scenes alone"
        )
    with connect(cluster) if cluster else nullcontext() as client:
        map_one = partial(
            map_scene,
            model=folder,
            unit={"db": "dB", "power": "power", None: None}[unit],
            optical=optical,
            nodata=nodata,
            precision=precision,
            areas=areas,
            overwrite=overwrite,
            resume=resume,
            cluster=client,
            config=config,
        )
        if batches:
            return _map_batches(batches, out, folder.signature, map_one, json_out)
        with megapixels("map") as advance:
            summary = map_one(inputs, out=out, progress=advance)
    if json_out:
        typer.echo(json.dumps({"product": str(out)} | summary, indent=2, ensure_ascii=False))
        return None
    for note in summary["notes"]:
        typer.secho(f"note: {note}", fg="yellow", err=True)
    typer.echo(_sentence(summary))
    typer.echo(str(out))
    return None


def _map_batches(batches: Sequence[str], out: Path, signature: Any, map_one: Any, json_out: bool) -> None:
    """Map each scene of ``batches``, telling what was found and what became of each; exits with 1 if any failed."""
    from undercast.batch import FoundScene, SceneState, find_scenes, map_scenes
    from undercast.cli.megapixels import megapixels

    scenes = find_scenes(batches, signature)
    typer.echo(f"{len(scenes)} scenes found:", err=True)
    for scene in scenes:
        typer.echo(f"  {scene.name}: {', '.join(scene.inputs)}", err=True)

    def map_it(scene: FoundScene, target: Path) -> dict[str, Any]:
        with megapixels(scene.name) as advance:
            summary: dict[str, Any] = map_one(scene.inputs, out=target, progress=advance)
            return summary

    def told(state: SceneState) -> None:
        if state.error:
            typer.secho(f"{state.scene}: failed: {state.error}", fg="red", err=True)
        elif not json_out:
            typer.echo(f"{state.scene}: {_sentence(state.summary or {})}")

    states = map_scenes(scenes, out, map_it, told)
    if json_out:
        typer.echo(json.dumps({"scenes": [state.as_json() for state in states]}, indent=2, ensure_ascii=False))
    failed = sum(state.state == "failed" for state in states)
    typer.echo(f"{len(states) - failed} of {len(states)} scenes are mapped, in {out}", err=True)
    if failed:
        raise typer.Exit(1)


def _sentence(summary: dict[str, Any]) -> str:
    return str(summary.get("sentence") or f"mapped {summary['observed_share']:.1%} of the scene")
