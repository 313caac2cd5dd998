"""``undercast demo``: simulate a flood, map it with the shipped student, score it against the truth, draw it."""

from pathlib import Path
from typing import Annotated, Any

import typer


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the scene, the map and the picture.")] = Path(
        "undercast-demo"
    ),
    task: Annotated[str, typer.Option(help="What to show; 'flood' is what there is.")] = "flood",
    size: Annotated[int, typer.Option(min=64, help="Rows and columns of the scene, pixels of 10 m.")] = 1500,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the scene.")] = 521,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON on stdout.")] = False,
) -> None:
    """Show the whole of it in a minute: no data, no network, no torch.

    A flood scene is simulated, mapped from its Sentinel-1 image alone, and compared with the exact truth.
    """
    import json
    import shutil

    from undercast.cli.megapixels import megapixels
    from undercast.cli.simulate import simulate
    from undercast.errors import ConfigError, ProductError
    from undercast.mapping import map_scene
    from undercast.model import resolve

    if task != "flood":
        raise ConfigError(f"--task {task}: there is no demo of it; known: flood")
    if out.exists() and any(item.name not in {"scene", "map", "demo.png", "scores.json"} for item in out.iterdir()):
        raise ProductError(f"{out}: exists and holds something else; give a new folder with -o")
    model = resolve("flood-s1")
    shutil.rmtree(out / "scene", ignore_errors=True)
    simulate(out / "scene", task, 1, size, seed)
    folder = next((out / "scene").glob("scene-*"))
    with megapixels("mapping") as advance:
        map_scene([f"s1={folder / 's1.tif'}"], model, out / "map", overwrite=True, progress=advance)
    scores = _score(folder, out / "map")
    (out / "scores.json").write_text(json.dumps(scores, indent=2) + "\n", "utf-8")
    _draw(folder, out / "map", scores, out / "demo.png")
    if as_json:
        typer.echo(json.dumps({"picture": str(out / "demo.png"), **scores}, indent=2))
        return
    typer.echo(
        f"water IoU {scores['iou']:.3f} (precision {scores['precision']:.3f}, recall {scores['recall']:.3f}) "
        f"against the exact truth; the optical image saw {scores['optical_clear']:.0%} of the ground"
    )
    typer.echo(f"map      {out / 'map'}\npicture  {out / 'demo.png'}")


def _score(folder: Path, product: Path) -> dict[str, float]:
    """Scores of the product's water (codes 1 to 3) against the truth, where both answered; share of clear sky."""
    import numpy as np

    from undercast.evaluate import scores
    from undercast.raster import read_array
    from undercast.task import NODATA

    truth, answer, sky = (
        read_array(path)[0][0] for path in (folder / "flood.tif", product / "class.tif", folder / "cloud.tif")
    )
    water = (answer >= 1) & (answer <= 3)
    answered = (truth != NODATA) & ((answer == 0) | water)
    confusion = np.bincount(truth[answered] * 2 + water[answered], minlength=4).reshape(2, 2)
    return {
        "iou": float(scores.iou(confusion)[1]),
        "precision": float(scores.precision(confusion)[1]),
        "recall": float(scores.recall(confusion)[1]),
        "optical_clear": float((sky == 0).mean()),
    }


def _draw(folder: Path, product: Path, scores: dict[str, float], path: Path) -> None:
    import numpy as np

    from undercast.evaluate.figures import class_picture, optical_picture, radar_picture
    from undercast.evaluate.panels import draw_panels
    from undercast.raster import read_array
    from undercast.simulate import MODALITIES
    from undercast.task import FLOOD, NODATA

    s1, s2, classes, truth = (
        read_array(item)[0]
        for item in (folder / "s1.tif", folder / "s2.tif", product / "class.tif", folder / "flood.tif")
    )
    answer = np.where(classes[0] == NODATA, NODATA, (classes[0] >= 1) & (classes[0] <= 3)).astype(np.uint8)
    pictures: dict[str, Any] = {
        "what the optical sensor sees (Sentinel-2)": optical_picture(s2, MODALITIES["s2"].bands, (0.02, 0.28)),
        "what the radar sees (Sentinel-1: VV red, VH blue)": radar_picture(s1, MODALITIES["s1"].bands),
        "the map, from the radar alone": class_picture(answer, FLOOD),
        "the truth": class_picture(truth[0], FLOOD),
    }
    draw_panels(
        path,
        pictures,
        legend={label.name: label.color for label in FLOOD.classes} | {"not observed": "#000000"},
        pixel_size=10.0,
        title="A simulated flood, mapped through cloud",
        caption=f"water IoU {scores['iou']:.2f} against the exact truth; "
        f"{1 - scores['optical_clear']:.0%} of the ground is under cloud or its shadow",
    )
