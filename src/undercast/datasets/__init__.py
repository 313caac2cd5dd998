"""Layouts on disk → chips; splits by place and event, never by chip."""

import re
from collections.abc import Callable
from pathlib import Path

from undercast.chip import ChipSource
from undercast.datasets.cloud38 import Cloud38, is_cloud38
from undercast.datasets.clouded import Clouded, CloudedConfig
from undercast.datasets.cloudsen12 import CloudSEN12, is_cloudsen12
from undercast.datasets.folder import INDEX, FolderChips
from undercast.datasets.l4s_rgb import L4sRgb, is_l4s_rgb
from undercast.datasets.landslide4sense import Landslide4Sense, is_landslide4sense
from undercast.datasets.landslide_cubes import CubeConfig, LandslideCubes, cubes_at
from undercast.datasets.m3rcr import M3RCR, is_m3rcr
from undercast.datasets.ombria import Ombria
from undercast.datasets.on_cloud_n import OnCloudN, is_on_cloud_n
from undercast.datasets.sen1floods11 import LAYERS as SEN1FLOODS11_PARTS
from undercast.datasets.sen1floods11 import Sen1Floods11, version_folder
from undercast.datasets.sen12mscr import Sen12MSCR, is_sen12mscr
from undercast.datasets.simulated import SimulatedChips
from undercast.datasets.terramesh import TerraMesh, is_terramesh
from undercast.datasets.ukis_csmask import UkisCsmask, is_ukis_csmask
from undercast.datasets.whu_opt_sar import WhuOptSar, is_whu_opt_sar
from undercast.errors import InputError

__all__ = [
    "M3RCR",
    "Cloud38",
    "CloudSEN12",
    "Clouded",
    "CloudedConfig",
    "FolderChips",
    "L4sRgb",
    "Landslide4Sense",
    "LandslideCubes",
    "Ombria",
    "OnCloudN",
    "Sen1Floods11",
    "Sen12MSCR",
    "SimulatedChips",
    "TerraMesh",
    "UkisCsmask",
    "WhuOptSar",
    "open_dataset",
]

LAYOUTS: dict[str, tuple[Callable[[Path], bool], Callable[[Path], ChipSource]]] = {
    "sen1floods11": (lambda path: version_folder(path) is not None, Sen1Floods11),
    "ombria": (lambda path: (path / "groups.csv").is_file() and (path / "OmbriaS1").is_dir(), Ombria),
    "m3rcr": (is_m3rcr, M3RCR),
    "whu_opt_sar": (is_whu_opt_sar, WhuOptSar),
    "terramesh": (is_terramesh, TerraMesh),
    "sen12mscr": (is_sen12mscr, Sen12MSCR),
    "landslide_cubes": (lambda path: bool(cubes_at(path)), LandslideCubes),
    "landslide4sense": (is_landslide4sense, Landslide4Sense),
    "l4s_rgb": (is_l4s_rgb, L4sRgb),
    "on_cloud_n": (is_on_cloud_n, OnCloudN),
    "cloud38": (is_cloud38, Cloud38),
    "cloudsen12": (is_cloudsen12, CloudSEN12),
    "ukis_csmask": (is_ukis_csmask, UkisCsmask),
    "folder": (lambda path: (path / INDEX).is_file() or path.suffix == ".csv", FolderChips),
}
"""Layout name → whether a path is laid out so, and how it is opened."""


def open_dataset(spec: str | Path, *, roles: tuple[str, ...] | None = None, cache: Path | None = None) -> ChipSource:
    """The chips at a path, or simulated ones: ``simulated:FIRST+COUNT``, ``simulated:FIRST+COUNT@SIZE``.

    Of Sen1Floods11 a path alone is the hand-labelled part; ``PATH@weak`` and ``PATH@hand+weak`` are others. Of
    landslide cubes ``PATH@3`` is the mean of three passes before the event, and of three after it.

    ``simulated:TASK:FIRST+COUNT`` are of another task than floods, ``clouds``, ``landcover`` or ``landslide``, with the
    target of its name; ``simulated:landslide/REGION:FIRST+COUNT`` are of one region. ``roles`` and ``cache`` are for
    simulated chips (see :class:`SimulatedChips`).

    ``clouded:PATH`` lays clouds of the simulator over the clear optical images at a path (:class:`Clouded`), and
    ``clouded@7:PATH`` those of another seed.

    Raises:
        InputError: there is no such path, no layout fits it, or the chips cannot be read.
    """
    if str(spec).startswith("simulated:"):
        return _simulated(str(spec), roles, cache)
    if match := re.fullmatch(r"clouded(?:@(\d+))?:(.+)", str(spec)):
        return Clouded(open_dataset(match[2]), CloudedConfig(seed=int(match[1] or 0)))
    path = Path(spec)
    if not path.exists() and "@" in path.name:
        return _parts(str(spec))
    if not path.exists():
        raise InputError(f"{spec}: no such folder; give one, or simulated:FIRST_SEED+COUNT")
    for recognises, opened in LAYOUTS.values():
        if recognises(path):
            return opened(path)
    raise InputError(f"{spec}: is laid out as none of {', '.join(LAYOUTS)}; your own rasters need an {INDEX} there")


def _parts(spec: str) -> ChipSource:
    """``FOLDER@hand``, ``FOLDER@weak`` or ``FOLDER@hand+weak`` of Sen1Floods11; ``FOLDER@PASSES`` of cubes."""
    folder, _, named = spec.rpartition("@")
    if named.isdigit() and cubes_at(Path(folder)):
        return LandslideCubes(folder, config=CubeConfig(passes=int(named)))
    parts = tuple(named.split("+"))
    if unknown := [part for part in parts if part not in SEN1FLOODS11_PARTS]:
        raise InputError(
            f"{spec}: no part '{unknown[0]}'; the parts of Sen1Floods11 are {', '.join(SEN1FLOODS11_PARTS)}"
        )
    return Sen1Floods11(folder, parts)  # type: ignore[arg-type]


def _simulated(spec: str, roles: tuple[str, ...] | None, cache: Path | None) -> SimulatedChips:
    match = re.fullmatch(r"simulated:(?:([a-z]+)(?:/([a-z]+))?:)?(\d+)\+(\d+)(?:@(\d+))?", spec)
    if not match:
        raise InputError(
            f"{spec}: write it as simulated:FIRST_SEED+COUNT or simulated:FIRST_SEED+COUNT@SIZE; the task before the "
            "seed where it is not floods, as in simulated:clouds:0+10 or simulated:landslide/hills:0+10"
        )
    task, region = match[1] or "flood", match[2] or ""
    first, count, size = int(match[3]), int(match[4]), int(match[5] or 256)
    targets = ("flood", "flood_weak") if task == "flood" else (task,)
    return SimulatedChips(first, count, size, task, roles or _ROLES.get(task, ("s1", "s2")), targets, cache, region)


_ROLES = {"clouds": ("s2",), "landcover": ("s1", "s2", "s2_clear"), "landslide": ("s1_pre", "s1_post")}
