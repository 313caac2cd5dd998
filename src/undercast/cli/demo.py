"""``undercast demo``: simulate a scene, map it with the shipped student, score it against the truth, draw it."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the scene, the map and the picture.")] = Path(
        "undercast-demo"
    ),
    task: Annotated[str, typer.Option(help="What to show: flood, clouds, landcover or landslide.")] = "flood",
    size: Annotated[
        int | None, typer.Option(min=64, help="Rows and columns of the scene, pixels of 10 m; else the task's own.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the scene; else the task's own.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON on stdout.")] = False,
) -> None:
    """Show the whole of it in a minute: no data, no network, no torch.

    A scene is simulated, mapped by the shipped model of the task from what that model may see, and compared with the
    exact truth.
    """
    import json
    import shutil

    from undercast.cli.megapixels import megapixels
    from undercast.cli.showcase import SHOWCASES
    from undercast.cli.simulate import simulate
    from undercast.errors import ConfigError, ProductError
    from undercast.evaluate.panels import draw_panels
    from undercast.mapping import map_scene
    from undercast.model import resolve

    if task not in SHOWCASES:
        raise ConfigError(f"--task {task}: there is no demo of it; known: {', '.join(SHOWCASES)}")
    if out.exists() and any(item.name not in {"scene", "map", "demo.png", "scores.json"} for item in out.iterdir()):
        raise ProductError(f"{out}: exists and holds something else; give a new folder with -o")
    case = SHOWCASES[task]
    model = resolve(case.model)
    shutil.rmtree(out / "scene", ignore_errors=True)
    simulate(out / "scene", task, 1, size or case.size, case.seed if seed is None else seed)
    folder = next((out / "scene").glob("scene-*"))
    with megapixels("mapping") as advance:
        inputs = [f"{role}={folder / f'{role}.tif'}" for role in case.roles]
        map_scene(inputs, model, out / "map", overwrite=True, progress=advance)
    scores, pictures = case.measure(folder, out / "map")
    (out / "scores.json").write_text(json.dumps(scores, indent=2) + "\n", "utf-8")
    draw_panels(
        out / "demo.png",
        pictures,
        legend={label.name: label.color for label in case.task.classes} | {"not observed": "#000000"},
        pixel_size=10.0,
        title=case.title,
        caption=case.say(scores),
    )
    if as_json:
        typer.echo(json.dumps({"picture": str(out / "demo.png"), **scores}, indent=2))
        return
    typer.echo(f"{case.say(scores)}\nmap      {out / 'map'}\npicture  {out / 'demo.png'}")
