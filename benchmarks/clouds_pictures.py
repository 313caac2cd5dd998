"""Pictures to look at: a cloud model on real chips without labels, the image beside the map.

On Cloud N's test chips and a Landsat-8 cut, whose counts get the scale and offset of its metadata as tags. Nothing is
measured here.

    python benchmarks/clouds_pictures.py DATA/clouds --model clouds-s2 --work DIR
"""

import argparse
import math
import re
import shutil
from pathlib import Path

import numpy as np
import rasterio
from matplotlib.figure import Figure

from undercast.evaluate.figures import class_picture, optical_picture, save_figure
from undercast.mapping import map_scene
from undercast.model import resolve
from undercast.raster import Scene, Window, read_array

BANDS = ("B02", "B03", "B04", "B08")
OLI = {"B02": 2, "B03": 3, "B04": 4, "B08": 5}


def landsat(source: Path, out: Path) -> list[str]:
    """Blue, green, red and near infrared of the cut under Sentinel-2's names, with scale and offset as tags."""
    text = (source / "l8_MTL.txt").read_text("utf-8")
    found = {key: float(value) for key, value in re.findall(r"(SUN_ELEVATION|REFLECTANCE_\w+) = (\S+)", text)}
    sine = math.sin(math.radians(found["SUN_ELEVATION"]))
    out.mkdir(parents=True, exist_ok=True)
    for band, number in OLI.items():
        shutil.copy(source / f"l8_B{number}.tif", out / f"{band}.tif")
        (out / f"{band}.tif").chmod(0o644)
        with rasterio.open(out / f"{band}.tif", "r+") as file:
            file.scales = [found[f"REFLECTANCE_MULT_BAND_{number}"] / sine]
            file.offsets = [found[f"REFLECTANCE_ADD_BAND_{number}"] / sine]
    return [str(out / f"{band}.tif") for band in BANDS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="clouds-s2")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--work", type=Path, required=True)
    chosen = parser.parse_args()
    model = resolve(chosen.model)
    scenes = {
        chip.name: [str(chip / f"{band}.tif") for band in BANDS]
        for chip in sorted((chosen.data / "on_cloud_n/test_features").iterdir())
    }
    scenes["landsat8"] = landsat(chosen.data / "landsat8_cut", chosen.work / "landsat8")
    figure = Figure(figsize=(4.2 * len(scenes), 8.6), layout="constrained")
    axes = figure.subplots(2, len(scenes))
    for column, (name, inputs) in enumerate(scenes.items()):
        summary = map_scene(inputs, model, chosen.work / f"map-{name}", overwrite=True, precision=chosen.precision)
        with Scene.open(inputs, model.signature.inputs) as scene:
            image = scene.read(Window(0, 0, *scene.shape))["s2"]
        codes, _ = read_array(chosen.work / f"map-{name}/class.tif")
        seen = np.count_nonzero(codes != 255)
        shares = {label.name: np.count_nonzero(codes == label.value) / seen for label in model.signature.task.classes}
        print(name, {key: round(share, 3) for key, share in shares.items()}, summary["domain"], summary["notes"])
        axes[0, column].imshow(optical_picture(image, BANDS))
        axes[1, column].imshow(class_picture(codes[0], model.signature.task))
        axes[0, column].set_title(name)
        axes[1, column].set_title(", ".join(f"{key} {share:.0%}" for key, share in shares.items()))
        for row in (0, 1):
            axes[row, column].set(xticks=[], yticks=[])
    save_figure(figure, chosen.work / f"{model.name}.png", dpi=100)


if __name__ == "__main__":
    main()
