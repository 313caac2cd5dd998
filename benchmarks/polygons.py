"""Polygons of a noisy mask: seconds and peak memory, beside rasterio.features.shapes over the whole raster.

    python benchmarks/polygons.py [--size 10000] [--noise 0.02]

Smooth patches of water with single pixels turned over. Each arm runs in a process of its own and writes a GeoPackage
of everything from 1000 m² up. The arm of undercast runs at two strip heights, whose files must be the same to the byte,
and whose polygons must add up to the raster's pixels; and over a raster twice as high, to see whether memory grows.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyogrio
import rasterio
import shapely
from rasterio import features
from scipy import ndimage

from record import Result, record
from undercast.product.codes import FLOOD_ENTRIES, NO_ANSWER_ENTRIES
from undercast.product.polygons import PolygonConfig, write_polygons

MINIMUM = 1000.0
ENTRIES = FLOOD_ENTRIES + NO_ANSWER_ENTRIES


def write_mask(folder: Path, height: int, width: int, noise: float) -> None:
    """``class.tif`` and ``likelihood.tif``, written in strips so that this process stays small."""
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    patches = ndimage.gaussian_filter(random.normal(size=(height // 10, width // 10)).astype(np.float32), 6)
    profile = {
        "driver": "GTiff", "count": 1, "dtype": "uint8", "height": height, "width": width, "nodata": 255,
        "crs": "EPSG:32631", "transform": rasterio.Affine(10, 0, 500000, 0, -10, 4900000),
        "tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate",
    }  # fmt: skip
    with (
        rasterio.open(folder / "class.tif", "w", **profile) as classes,
        rasterio.open(folder / "likelihood.tif", "w", **profile) as likelihood,
    ):
        for row in range(0, height, 2560):
            rows = min(2560, height - row)
            smooth = patches[row // 10 : -(-(row + rows) // 10)].repeat(10, 0).repeat(10, 1)[:rows]
            water = (smooth > 0.02) ^ (random.random((rows, width), dtype=np.float32) < noise)
            window = rasterio.windows.Window(0, row, width, rows)
            percent = np.where(water, 80, 15).astype(np.uint8)
            codes = np.where(water, 3, 0).astype(np.uint8)
            codes[:, : width // 40] = percent[:, : width // 40] = 255
            classes.write(codes, 1, window=window)
            likelihood.write(percent, 1, window=window)


def by_undercast(folder: Path, rows: int) -> dict[str, float]:
    counts = write_polygons(folder, ENTRIES, config=PolygonConfig(minimum_area=MINIMUM, rows=rows))
    return {"polygons": counts.layers["observed_event"], "dropped_pixels": sum(counts.dropped_pixels.values())}


def by_rasterio(folder: Path) -> dict[str, float]:
    with rasterio.open(folder / "class.tif") as source:
        codes, transform, crs = source.read(1), source.transform, source.crs.to_string()
    shapes = []
    for shape, _ in features.shapes(codes, mask=codes == 3, connectivity=4, transform=transform):
        polygon = shapely.geometry.shape(shape)
        if polygon.area >= MINIMUM:
            shapes.append(polygon)
    area = shapely.area(np.array(shapes, object))
    pyogrio.raw.write(
        folder / "rasterio.gpkg", shapely.to_wkb(np.array(shapes, object)), [area], ["area"], driver="GPKG",
        geometry_type="Polygon", crs=crs,
    )  # fmt: skip
    return {"polygons": len(shapes)}


def run_alone(folder: Path, arm: str) -> dict[str, float]:
    """Run one arm in a process of its own."""
    command = [sys.executable, __file__, "--arm", arm, "--folder", str(folder)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def report_arm(folder: Path, arm: str) -> None:
    """Time an arm and print what came out; runs in the process started for it."""
    before, processor = time.perf_counter(), time.process_time()
    found = by_rasterio(folder) if arm == "rasterio" else by_undercast(folder, int(arm))
    found |= {"seconds": time.perf_counter() - before, "processor_seconds": time.process_time() - processor}
    print(json.dumps(found | {"peak_mb": peak_memory()}))


def peak_memory() -> float:
    """Megabytes this process ever held; what getrusage says would count the process that started it too (Linux)."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return float(line.split()[1]) / 1024


def check(folder: Path, dropped: float) -> None:
    """The polygons written, and those dropped, are the raster's pixels."""
    meta, _, _, columns = pyogrio.raw.read(folder / "polygons.gpkg", layer="observed_event", read_geometry=False)
    kept = int(dict(zip(meta["fields"], columns, strict=True))["pixels"].sum())
    water = 0
    with rasterio.open(folder / "class.tif") as source:
        for _, window in source.block_windows(1):
            water += int(np.count_nonzero(source.read(1, window=window) == 3))
    assert kept + dropped == water, (kept, dropped, water)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=10_000)
    parser.add_argument("--noise", type=float, default=0.02)
    parser.add_argument("--arm", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm:
        return report_arm(options.folder, options.arm)
    size, results, digests = options.size, [], {}
    with TemporaryDirectory() as scratch:
        mask, double = Path(scratch) / "mask", Path(scratch) / "double"
        write_mask(mask, size, size, options.noise)
        write_mask(double, 2 * size, size, options.noise)
        runs = [(mask, "512"), (mask, "2048"), (double, "512"), (mask, "rasterio")]
        for folder, arm in runs:
            found = run_alone(folder, arm)
            name = "rasterio" if arm == "rasterio" else f"undercast, strips of {arm} rows"
            setting = f"{size * (2 if folder is double else 1)}x{size}, noise {options.noise}"
            if arm != "rasterio":
                check(folder, found["dropped_pixels"])
                digests[folder, arm] = hashlib.sha256((folder / "polygons.gpkg").read_bytes()).hexdigest()
            print(setting, name, found, flush=True)
            results += [
                Result(name, setting, metric, found[metric])
                for metric in ("seconds", "processor_seconds", "peak_mb", "polygons")
            ]
        assert digests[mask, "512"] == digests[mask, "2048"], "the file depends on the strips"
    print(record("polygons", results))
    return None


if __name__ == "__main__":
    main()
