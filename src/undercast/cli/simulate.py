"""``undercast simulate``: scenes with exact truth, as GeoTIFFs a map can be made of and a folder one can train from."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from undercast.errors import ProductError

if TYPE_CHECKING:
    from undercast.simulate import SimulatedScene


def simulate(
    out: Annotated[Path, typer.Argument(help="Folder for the scenes and their index.csv.")],
    task: Annotated[str, typer.Option(help="What the scenes are of.")] = "flood",
    count: Annotated[int, typer.Option(min=1, help="Number of scenes.")] = 1,
    size: Annotated[int, typer.Option(min=16, help="Rows and columns of a scene, pixels of 10 m.")] = 512,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first scene; the next ones follow.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON on stdout.")] = False,
) -> None:
    """Simulate COUNT scenes into DIR, a folder a scene: images by role, truth by name, and their parameters.

    DIR is a data set for 'train' and 'evaluate', and the images of each scene can be mapped.
    """
    import json

    from undercast.cli.progress import track
    from undercast.errors import ConfigError
    from undercast.simulate import MODALITIES, draw_parameters, simulate_scene
    from undercast.simulate.scene import TARGETS
    from undercast.task import TASKS

    if task not in TASKS:
        raise ConfigError(f"--task {task}: cannot be simulated; known: {', '.join(TASKS)}")
    if out.exists() and not _may_extend(out):
        raise ProductError(f"{out}: exists and holds something else; give a new folder")
    layers = {*MODALITIES, *TARGETS, task} - ({"s1_post"} if task != "landslide" else set())
    rows = []
    with track("simulating", count) as advance:
        for number in range(count):
            name = f"scene-{seed + number:08d}"
            parameters = draw_parameters(seed + number, task)
            scene = simulate_scene(size, size, seed + number, parameters=parameters, only=layers)
            rows.append({"key": name, "event": name, "place": name, "split": "", **_write(scene, out, name)})
            advance(number + 1)
    _write_index(out, task, rows)
    if as_json:
        typer.echo(json.dumps({"folder": str(out), "scenes": [row["key"] for row in rows]}, indent=2))
    else:
        typer.echo(f"{out / 'index.csv'}: {count} scene{'s' if count > 1 else ''} of {size}×{size}")


def _may_extend(out: Path) -> bool:
    """Whether ``out`` is empty or was written by this verb before, whose scenes are then replaced."""
    return out.is_dir() and all(item.name.startswith(("scene-", "index.csv", "dataset.toml")) for item in out.iterdir())


def _write(scene: "SimulatedScene", out: Path, name: str) -> dict[str, str]:
    """Write one scene into a folder that appears only when complete; the path of each role and target from ``out``."""
    import shutil

    import numpy as np

    from undercast.raster import write_raster
    from undercast.simulate import MODALITIES
    from undercast.task import NODATA

    grid = (scene.crs, scene.transform)
    aside, folder = out / f".{name}.partial", out / name
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(parents=True)
        for role, image in scene.images.items():
            tags = {"UNIT": MODALITIES[role].unit, "SIMULATED": "yes"}
            write_raster(
                aside / f"{role}.tif", image, grid, nodata=np.nan, descriptions=MODALITIES[role].bands, tags=tags
            )
        for target, labels in scene.targets.items():
            write_raster(aside / f"{target}.tif", labels, grid, nodata=NODATA, descriptions=(target,))
        (aside / "parameters.json").write_text(scene.parameters.model_dump_json(indent=2) + "\n", "utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
    except OSError as error:
        raise ProductError(f"{folder}: cannot be written ({error.strerror or error})") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return {layer: f"{name}/{layer}.tif" for layer in (*scene.images, *scene.targets)}


def _write_index(out: Path, task: str, rows: list[dict[str, str]]) -> None:
    """Write ``index.csv`` and the ``dataset.toml`` that tells images from labels."""
    import csv

    from undercast.config import dump_toml
    from undercast.datasets.folder import CONFIG, INDEX, MODALITY_OF_ROLE, DatasetConfig

    columns = list(dict.fromkeys(column for row in rows for column in row))
    targets = [name for name in columns[4:] if name not in MODALITY_OF_ROLE and name not in (task, f"{task}_weak")]
    (out / CONFIG).write_text(dump_toml(DatasetConfig(task=task, targets=tuple(targets))), "utf-8")
    with (out / INDEX).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
