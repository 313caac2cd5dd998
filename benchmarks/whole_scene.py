"""A whole Sentinel-1 scene: wall time and peak memory of a map, beside reading alone and inferring alone.

    python benchmarks/whole_scene.py --work DIR --model MODEL [--rows 25000 --cols 16700] [--compress zstd]

The scene is a mosaic of one simulated piece, turned over and repeated: two bands, float32 in dB, tiled by 512. It is
made once and kept in ``--work``. Three arms, each in a process of its own: ``undercast`` is what ``undercast map``
does, to the finished product; ``read-floor`` reads the same windows and drops them; ``inference-floor`` infers as many
tiles of the same size from memory, on as many threads. The same again at half the rows shows whether memory grows.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import rasterio

from record import Result, record
from undercast.mapping import MapConfig, map_scene
from undercast.model import resolve
from undercast.predict import OpenVinoPredictor, TilePlan
from undercast.raster.scene import Scene
from undercast.simulate import simulate_scene

PIECE, TILE = 1280, 512
ARMS = ("read-floor", "inference-floor", "undercast")


def make_scene(work: Path, rows: int, cols: int, compress: str) -> Path:
    """The scene's file, made unless it is there; written by rows of tiles so that this process stays small."""
    path = work / f"scene-{rows}x{cols}-{compress}.tif"
    if path.is_file():
        return path
    work.mkdir(parents=True, exist_ok=True)
    simulated = simulate_scene(PIECE, PIECE, seed=1)
    piece = np.asarray(simulated.images["s1"], np.float32)
    # beside its mirror image on either side, a piece repeats without a seam
    turned = np.concatenate([piece, piece[:, :, ::-1]], axis=2)
    turned = np.concatenate([turned, turned[:, ::-1]], axis=1)
    across = np.tile(turned, (1, 1, -(-cols // turned.shape[2])))[:, :, :cols]
    options = {"zstd": {"zstd_level": 1}, "deflate": {"zlevel": 6}}[compress]
    aside = path.with_suffix(".partial.tif")
    with rasterio.open(
        aside, "w", driver="GTiff", count=2, dtype="float32", height=rows, width=cols, crs=simulated.crs,
        transform=rasterio.Affine(*simulated.transform), nodata=np.nan, tiled=True, blockxsize=TILE, blockysize=TILE,
        compress=compress, predictor=3, bigtiff="YES", num_threads="ALL_CPUS", **options,
    ) as target:  # fmt: skip
        for band, name in enumerate(("VV", "VH"), start=1):
            target.set_band_description(band, name)
        for row in range(0, rows, TILE):
            height = min(TILE, rows - row)
            strip = across[:, (np.arange(row, row + height)) % across.shape[1]]
            target.write(strip, window=rasterio.windows.Window(0, row, cols, height))
    aside.replace(path)
    return path


def map_it(path: Path, model: str, out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)
    map_scene([str(path)], resolve(model), out)


def read_it(path: Path, model: str) -> None:
    """The windows of the map, read and dropped, in whole tiles and in the order of the map."""
    folder, config = resolve(model), MapConfig().mapper
    with rasterio.open(path) as source:
        plan = TilePlan.of(source.shape, folder.signature, config.tile)
        for block in plan.blocks(config.block):
            window = plan.reach(block).clip(source.shape)
            source.read(window=rasterio.windows.Window(window.col, window.row, window.width, window.height))


def infer_it(path: Path, model: str) -> None:
    """As many tiles as the map has, of its size, the same few again and again, on its number of threads."""
    folder, config = resolve(model), MapConfig().mapper
    threads = config.threads or os.cpu_count() or 1
    roles = folder.signature.inputs
    with Scene.open([str(path)], roles) as scene:
        plan = TilePlan.of(scene.shape, folder.signature, config.tile)
        tiles = [core.grow(plan.margin) for block in plan.blocks(config.block) for core in plan.cores(block)]
        images = [scene.read(tile) for tile in tiles[:: max(1, len(tiles) // 4)][:4]]
    held = [{role: image[role][None] for role in roles} for image in images]
    predictor = OpenVinoPredictor(folder, threads=threads)
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(lambda number: predictor.predict(held[number % len(held)]) is None, range(len(tiles))):
            pass


def run_alone(arm: str, path: Path, model: str) -> dict[str, float]:
    """Run one arm in a process of its own."""
    command = [sys.executable, __file__, "--arm", arm, "--work", str(path), "--model", model]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def report_arm(arm: str, path: Path, model: str) -> None:
    """Time an arm and print what came out; runs in the process started for it."""
    before, processor = time.perf_counter(), time.process_time()
    if arm == "undercast":
        map_it(path, model, path.parent / "product")
    else:
        {"read-floor": read_it, "inference-floor": infer_it}[arm](path, model)
    found = {"seconds": time.perf_counter() - before, "processor_seconds": time.process_time() - processor}
    print(json.dumps(found | {"peak_mb": peak_memory()}))


def peak_memory() -> float:
    """Megabytes this process ever held; what getrusage says would count the process that started it too (Linux)."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return float(line.split()[1]) / 1024


def measure(path: Path, model: str, rows: int, cols: int, compress: str) -> list[Result]:
    """The three arms over one scene, told as they end."""
    setting, results, seconds = f"{rows}x{cols}, {compress}", [], {}
    for arm in ARMS:
        found = run_alone(arm, path, model)
        seconds[arm] = found["seconds"]
        found["mpx_per_s"] = rows * cols / 1e6 / found["seconds"]
        print(f"{setting:24s} {arm:16s}", {name: round(value, 2) for name, value in found.items()}, flush=True)
        results += [Result(arm, setting, metric, value) for metric, value in found.items()]
    ratio = seconds["undercast"] / max(seconds["read-floor"], seconds["inference-floor"])
    print(f"{setting:24s} map / larger floor: {ratio:.2f}", flush=True)
    return [*results, Result("undercast", setting, "over_larger_floor", ratio)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the scene and the product")
    parser.add_argument("--model", default="flood-s1", help="an installed model, or a model folder")
    parser.add_argument("--rows", type=int, default=25_000)
    parser.add_argument("--cols", type=int, default=16_700)
    parser.add_argument("--compress", choices=("zstd", "deflate"), default="zstd")
    parser.add_argument("--no-record", action="store_true", help="only print what came out")
    parser.add_argument("--arm", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm:
        return report_arm(options.arm, options.work, options.model)
    results = []
    for rows in (options.rows, options.rows // 2):
        path = make_scene(options.work, rows, options.cols, options.compress)
        results += measure(path, options.model, rows, options.cols, options.compress)
    if not options.no_record:
        print(record("map-speed", results))
    return None


if __name__ == "__main__":
    main()
