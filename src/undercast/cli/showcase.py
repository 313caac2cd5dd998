"""What ``undercast demo`` shows of each task: the model, what it is given, how it is scored, and four pictures."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undercast.evaluate import scores
from undercast.evaluate.figures import class_picture, optical_picture, radar_picture
from undercast.product.codes import TERRAIN
from undercast.raster import read_array
from undercast.simulate import MODALITIES
from undercast.task import CLOUDS, FLOOD, LANDCOVER, LANDSLIDE, NODATA, Task

Labels = NDArray[np.uint8]
Pictures = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Showcase:
    """One task's demo.

    ``roles`` are the images the ``model`` is given and ``truth`` the target it is held against; ``size`` (pixels of
    10 m) and ``seed`` choose the scene. ``draw`` makes four pictures of the scene's folder and the product's, from the
    answer and the truth ``[H, W]``; ``say`` puts scores into a line.
    """

    task: Task
    model: str
    roles: tuple[str, ...]
    truth: str
    seed: int
    size: int
    title: str
    score: Callable[[Labels, Labels, Labels | None], dict[str, float]]
    draw: Callable[[Path, Path, Labels, Labels], Pictures]
    say: Callable[[dict[str, float]], str]

    def measure(self, scene: Path, product: Path) -> tuple[dict[str, float], Pictures]:
        """Scores of the product against the exact truth where both answer, and the pictures."""
        answer, truth = self._answer(product), read_array(scene / f"{self.truth}.tif")[0][0]
        sky = read_array(scene / "cloud.tif")[0][0] if (scene / "cloud.tif").is_file() else None
        answered = (truth != NODATA) & (answer != NODATA)
        found = self.score(truth[answered], answer[answered], None if sky is None else sky[answered])
        return found, self.draw(scene, product, answer, truth)

    def _answer(self, product: Path) -> Labels:
        """The classes of the task, from the codes of ``class.tif``: 255 where the map gives none of them."""
        codes = read_array(product / "class.tif")[0][0]
        if self.task.name == FLOOD.name:
            return np.where(codes == NODATA, NODATA, (codes >= 1) & (codes <= 3)).astype(np.uint8)
        return np.where(codes < TERRAIN, codes, NODATA).astype(np.uint8)


def _confusion(truth: Labels, answer: Labels, classes: int) -> NDArray[np.int64]:
    counts = np.bincount(truth.astype(np.int64) * classes + answer, minlength=classes * classes)
    return counts.reshape(classes, classes)


def _of_class_1(truth: Labels, answer: Labels, sky: Labels | None) -> dict[str, float]:
    """IoU, precision and recall of class 1, and the share of clear sky."""
    confusion = _confusion(truth, answer, 2)
    found = {
        "iou": float(scores.iou(confusion)[1]),
        "precision": float(scores.precision(confusion)[1]),
        "recall": float(scores.recall(confusion)[1]),
    }
    return found if sky is None else found | {"optical_clear": float((sky == 0).mean())}


def _of_the_sky(truth: Labels, answer: Labels, sky: Labels | None) -> dict[str, float]:
    clear, cloud, shadow = (float(value) for value in scores.iou(_confusion(truth, answer, len(CLOUDS))))
    return {"iou": cloud, "iou_clear": clear, "iou_shadow": shadow, "optical_clear": float((truth == 0).mean())}


def _of_the_cover(truth: Labels, answer: Labels, sky: Labels | None) -> dict[str, float]:
    """Mean IoU of the classes there are, and the share of pixels right under a clear sky and under cloud."""
    there = np.bincount(truth, minlength=len(LANDCOVER))[: len(LANDCOVER)] > 0
    found = {"miou": float(scores.iou(_confusion(truth, answer, len(LANDCOVER)))[there].mean())}
    if sky is not None:
        found |= {"optical_clear": float((sky == 0).mean())}
        for name, part in (("right_clear", sky == 0), ("right_cloudy", sky == 1)):
            if part.any():
                found[name] = float((truth[part] == answer[part]).mean())
    return found


def _optical(path: Path) -> NDArray[Any]:
    return optical_picture(read_array(path)[0], MODALITIES["s2"].bands, (0.02, 0.28))


def _radar(path: Path) -> NDArray[Any]:
    return radar_picture(read_array(path)[0], MODALITIES["s1"].bands)


def _flood(scene: Path, product: Path, answer: Labels, truth: Labels) -> Pictures:
    return {
        "what the optical sensor sees (Sentinel-2)": _optical(scene / "s2.tif"),
        "what the radar sees (Sentinel-1: VV red, VH blue)": _radar(scene / "s1.tif"),
        "the map, from the radar alone": class_picture(answer, FLOOD),
        "the truth": class_picture(truth, FLOOD),
    }


def _clouds(scene: Path, product: Path, answer: Labels, truth: Labels) -> Pictures:
    return {
        "what the optical sensor sees (Sentinel-2)": _optical(scene / "s2.tif"),
        "the ground, had the sky been clear": _optical(scene / "s2_clear.tif"),
        "the mask": class_picture(answer, CLOUDS),
        "the truth": class_picture(truth, CLOUDS),
    }


def _cover(scene: Path, product: Path, answer: Labels, truth: Labels) -> Pictures:
    restored, _ = read_array(product / "restored.tif")
    return {
        "what the optical sensor sees (Sentinel-2)": _optical(scene / "s2.tif"),
        "the optical image, restored": optical_picture(restored, ("B02", "B03", "B04", "B08"), (0.02, 0.28)),
        "the map, from optical and radar": class_picture(answer, LANDCOVER),
        "the truth": class_picture(truth, LANDCOVER),
    }


def _slides(scene: Path, product: Path, answer: Labels, truth: Labels) -> Pictures:
    return {
        "the radar before (Sentinel-1: VV red, VH blue)": _radar(scene / "s1_pre.tif"),
        "the radar after": _radar(scene / "s1_post.tif"),
        "the map, from both": class_picture(answer, LANDSLIDE),
        "the truth": class_picture(truth, LANDSLIDE),
    }


SHOWCASES = {
    case.task.name: case
    for case in (
        Showcase(
            FLOOD,
            "flood-s1",
            ("s1",),
            "flood",
            seed=521,
            size=1500,
            title="A simulated flood, mapped through cloud",
            score=_of_class_1,
            draw=_flood,
            say=lambda found: (
                f"water IoU {found['iou']:.2f} against the exact truth; "
                f"{1 - found['optical_clear']:.0%} of the ground is under cloud or its shadow"
            ),
        ),
        Showcase(
            CLOUDS,
            "clouds-s2",
            ("s2",),
            "cloud",
            seed=6,
            size=1024,
            title="A simulated sky, masked by a network small enough to fly",
            score=_of_the_sky,
            draw=_clouds,
            say=lambda found: f"cloud IoU {found['iou']:.2f}, shadow IoU {found['iou_shadow']:.2f} against the truth",
        ),
        Showcase(
            LANDCOVER,
            "landcover-s1s2",
            ("s2", "s1"),
            "landcover",
            seed=521,
            size=1024,
            title="Simulated land, mapped under cloud",
            score=_of_the_cover,
            draw=_cover,
            say=lambda found: (
                f"mean IoU {found['miou']:.2f}; right are {found.get('right_clear', np.nan):.0%} of pixels "
                f"under a clear sky, {found.get('right_cloudy', np.nan):.0%} under cloud"
            ),
        ),
        Showcase(
            LANDSLIDE,
            "landslide-s1",
            ("s1_pre", "s1_post"),
            "landslide",
            seed=521,
            size=1024,
            title="Simulated landslides, from radar before and after",
            score=_of_class_1,
            draw=_slides,
            say=lambda found: (
                f"landslide IoU {found['iou']:.2f} against the exact truth: "
                f"{found['precision']:.0%} of what is called is there, {found['recall']:.0%} of what is there is called"
            ),
        ),
    )
}
"""Name of a task → its demo."""
