"""Cloud masks of other packages, each asked in an environment of its own by running this file with its interpreter.

``pip install 'ukis-csmask[cpu]'`` (weights of 40 MB come in the wheel) and ``pip install s2cloudless`` (its trees do
too). OmniCloudMask and the networks of CloudSEN12 fetch their weights when first used and are not asked here.

    PYTHON clouds_peers.py NAME SETTING IMAGES.npz CLASSES.npy
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

COLOURS = {"B02": "blue", "B03": "green", "B04": "red", "B08": "nir", "B11": "swir16", "B12": "swir22"}
TEN = ("B01", "B02", "B04", "B05", "B08", "B8A", "B09", "B10", "B11", "B12")
NEEDS = {
    ("ukis-csmask", "4 bands"): ("B02", "B03", "B04", "B08"),
    ("ukis-csmask", "6 bands"): tuple(COLOURS),
    ("s2cloudless", "10 bands"): TEN,
}
"""Package and setting → the bands it takes."""


def settings(name: str, bands: Sequence[str]) -> list[str]:
    """What ``name`` can be asked with, given images of ``bands``."""
    return [setting for (package, setting), needs in NEEDS.items() if package == name and set(needs) <= set(bands)]


def classes(name: str, setting: str, images: Any, bands: Sequence[str], python: str, work: Path) -> Any:
    """Classes ``[N, H, W]`` uint8 (0 clear, 1 cloud, 2 shadow) of reflectance ``[N, C, H, W]`` with ``bands``."""
    given, answered = work / "asked.npz", work / "answered.npy"
    chosen = [list(bands).index(band) for band in NEEDS[name, setting]]
    np.savez(given, images=np.ascontiguousarray(images[:, chosen], np.float32))
    subprocess.run([python, __file__, name, setting, str(given), str(answered)], check=True)
    return np.load(answered)


def ukis_csmask(images: Any, setting: str) -> Any:
    from ukis_csmask.mask import CSmask

    order = [COLOURS[band] for band in NEEDS["ukis-csmask", setting]]
    found = []
    for image in images:
        height, width = image.shape[1:]
        # it answers in tiles of 256: a smaller image is mirrored up to one
        extra = ((0, 0), (0, max(0, 256 - height)), (0, max(0, 256 - width)))
        whole = np.pad(image, extra, mode="symmetric").transpose(1, 2, 0)
        mask = CSmask(np.ascontiguousarray(whole), order, "l1c", intra_op_num_threads=1, inter_op_num_threads=1)
        found.append(mask.csm[:height, :width, 0])
    return np.stack(found)


def s2cloudless(images: Any, setting: str) -> Any:
    from s2cloudless import S2PixelCloudDetector

    detector = S2PixelCloudDetector(threshold=0.4, average_over=1, dilation_size=1, all_bands=False)
    return detector.get_cloud_masks(images.transpose(0, 2, 3, 1))


if __name__ == "__main__":
    package, asked_with, source, target = sys.argv[1:]
    answer = {"ukis-csmask": ukis_csmask, "s2cloudless": s2cloudless}[package]
    with np.load(source) as kept:
        np.save(target, answer(kept["images"], asked_with).astype(np.uint8))
