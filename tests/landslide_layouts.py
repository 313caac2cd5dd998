"""Landslide data sets of constructed pixels in the layouts they are published in."""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import zarr
from matplotlib.image import imsave
from numpy.typing import NDArray

DAYS = ("20180818", "20180830", "20180905", "20180911", "20180917", "20180923")
KAIKOURA_DAYS = ("20161018", "20161030", "20161105", "20161117", "20161123", "20161129")
ORBITS = ("d", "d", "a", "d", "a", "d")
PAIRS = ("20180806_20180818", "20180818_20180830", "20180830_20180911", "20180818_20180911", "20180911_20180923")


@dataclass(frozen=True)
class CubeSpec:
    """What a small cube is like; ``order`` is how its time series are stored, ``upward`` a y that grows."""

    rows: int = 48
    cols: int = 80
    order: tuple[str, ...] = ("x", "y", "timestep")
    zarr_format: int = 2
    upward: bool = False
    landslides: int = 3
    unseen_columns: int = 0
    sea_rows: int = 0
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class CubeTruth:
    """What was written, rows first and north up: ``power`` ``[T, h, w]`` by band, ``coherence`` by pair."""

    days: tuple[str, ...]
    power: dict[str, NDArray[np.float32]]
    landslides: NDArray[np.float32]
    dem: NDArray[np.float32]
    slope: NDArray[np.float32]
    coherence: dict[str, NDArray[np.float32]]

    def both(self, number: int) -> NDArray[np.float32]:
        """Power ``[2, h, w]`` of a pass."""
        return np.stack([self.power["vv"][number], self.power["vh"][number]])

    def mean_power(self, band: str, days: tuple[str, ...]) -> NDArray[np.float32]:
        return np.mean([self.power[band][self.days.index(day)] for day in days], axis=0)


def write_cube(path: Path, spec: CubeSpec | None = None, seed: int = 0) -> CubeTruth:
    """A cube of the four of Zenodo 7248056 in small, with the variables that are read and one that is not."""
    spec = spec or CubeSpec()
    random = np.random.default_rng(seed)
    shape = spec.rows, spec.cols
    days = KAIKOURA_DAYS if "kaikoura" in path.name else DAYS
    power = {
        band: random.gamma(4, level / 4, (len(days), *shape)).astype(np.float32)
        for band, level in (("vv", 0.2), ("vh", 0.05))
    }
    for values in power.values():
        values[:, :, : spec.unseen_columns // 2] = np.nan
        values[:, :, spec.unseen_columns // 2 : spec.unseen_columns] = 0
    slides = np.full(shape, np.nan, np.float32)
    for number in range(spec.landslides):
        row, col = random.integers(spec.sea_rows, spec.rows - 4), random.integers(0, spec.cols - 4)
        slides[row : row + 4, col : col + 3] = 1 + number % 2  # the cubes count landslides; elsewhere NaN
    dem = random.uniform(50, 900, shape).astype(np.float32)
    dem[: spec.sea_rows] = 0
    slope = random.uniform(0, 0.9, shape).astype(np.float32)
    coherence = {pair: random.uniform(0, 1, shape).astype(np.float32) for pair in PAIRS}
    truth = CubeTruth(days, power, slides, dem, slope, coherence)
    group = zarr.open_group(str(path), mode="w", zarr_format=spec.zarr_format)

    def put(name: str, values: NDArray, dimensions: tuple[str, ...], order: tuple[str, ...]) -> None:
        if name in spec.without:
            return
        if spec.upward and "y" in dimensions:
            values = np.flip(values, dimensions.index("y"))
        values = np.ascontiguousarray(values.transpose([dimensions.index(dimension) for dimension in order]))
        named = {"dimension_names": order} if spec.zarr_format == 3 else {}
        array = group.create_array(name, shape=values.shape, dtype=values.dtype, **named)
        array[...] = values
        if spec.zarr_format == 2:
            array.attrs["_ARRAY_DIMENSIONS"] = list(order)

    flat = tuple(dimension for dimension in spec.order if dimension != "timestep")
    for band, values in power.items():
        put(band, values, ("timestep", "y", "x"), spec.order)
    for name, values in (("landslides", slides), ("dem", dem), ("dem_slope_radians", slope), ("dem_curvature", dem)):
        put(name, values, ("y", "x"), flat)
    pairs = np.stack(list(coherence.values()))
    put(
        "topophase.cor_1",
        pairs,
        ("timepair", "y", "x"),
        tuple("timepair" if d == "timestep" else d for d in spec.order),
    )
    if spec.zarr_format == 2:
        put("timepair", np.array(PAIRS), ("timepair",), ("timepair",))
        put("sat:orbit_state", np.array(ORBITS), ("timestep",), ("timestep",))
        put("timestep", np.array(days), ("timestep",), ("timestep",))
    else:  # as xarray writes dates of its own; format 3 has no stable strings
        counted = (np.array([f"{d[:4]}-{d[4:6]}-{d[6:]}" for d in days], "M8[D]") - np.datetime64("2015-01-01")).astype(
            int
        )
        put("timestep", counted, ("timestep",), ("timestep",))
        group["timestep"].attrs["units"] = "days since 2015-01-01 00:00:00"
    y = 4_700_000.0 - 10 * np.arange(spec.rows)
    put("y", y, ("y",), ("y",))
    put("x", 600_000.0 + 10 * np.arange(spec.cols), ("x",), ("x",))
    return truth


def write_landslide4sense(root: Path) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
    """Three chips, the last without a mask; images ``[128, 128, 14]`` and masks by key."""
    random = np.random.default_rng(0)
    images, masks = {}, {}
    for folder, split, number in (("TrainData", "train", 2), ("TrainData", "train", 51), ("TestData", "test", 1)):
        key = f"{split}-{number:04d}"
        images[key] = random.gamma(4, 0.25, (128, 128, 14)).astype(np.float32)
        images[key][3, 5, 1] = np.nan
        for kind in ("img", "mask"):
            (root / folder / kind).mkdir(parents=True, exist_ok=True)
        with h5py.File(root / folder / "img" / f"image_{number}.h5", "w") as file:
            file["img"] = images[key].astype(np.float64)
        if split == "train":
            masks[key] = random.integers(0, 2, (128, 128)).astype(np.uint8)
            with h5py.File(root / folder / "mask" / f"mask_{number}.h5", "w") as file:
                file["mask"] = masks[key]
    return images, masks


def write_pictures(root: Path, numbers: list[int]) -> dict[int, NDArray[np.bool_]]:
    """Pictures whose red is their number, each with a landslide in one to four of its quarters; masks by number."""
    random = np.random.default_rng(0)
    masks = {}
    for kind in ("images", "masks"):
        (root / "train" / kind).mkdir(parents=True)
    for number in numbers:
        mask = np.zeros((128, 128), bool)
        for quarter in range(int(random.integers(1, 5))):
            row, col = 64 * (quarter // 2), 64 * (quarter % 2)
            mask[row + 10 : row + 20, col + 30 : col + 50] = True
        image = np.full((4, 128, 128), 255, np.uint8)
        image[0], image[1:3] = number % 256, random.integers(0, 255, (2, 128, 128))
        imsave(root / "train/images" / f"image_{number}.png", np.moveaxis(image, 0, 2))
        imsave(root / "train/masks" / f"mask_{number}.png", np.repeat(mask[:, :, None] * np.uint8(255), 4, axis=2))
        masks[number] = mask
    return masks
