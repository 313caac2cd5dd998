"""One scene into one product folder."""

import json
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from undercast.mapping.codes import answered_blocks
from undercast.mapping.config import MapConfig
from undercast.mapping.finish import describe, finish_product
from undercast.mapping.job import Job, open_job
from undercast.mapping.kept import KeptBlocks, fingerprint
from undercast.mapping.layers import Layers, open_layers
from undercast.mapping.result import BlockResult
from undercast.mapping.seen import reflectance
from undercast.model import ModelFolder
from undercast.predict import OpenVinoPredictor, blocks_of
from undercast.product.layer import Strips
from undercast.product.write import RECORD, SUMMARY, ProductWriter
from undercast.raster.backscatter import RadarUnit
from undercast.raster.reflectance import OpticalForm

Progress = Callable[[int, int], None]
"""Told after each block how many pixels are done, and of how many."""


def map_scene(
    inputs: Sequence[str],
    model: ModelFolder,
    out: Path,
    *,
    unit: RadarUnit | None = None,
    optical: OpticalForm | None = None,
    nodata: float | None = None,
    precision: str = "fp32",
    areas: str | None = None,
    overwrite: bool = False,
    resume: bool = False,
    cluster: Any = None,
    config: MapConfig | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Map one scene into the folder ``out`` and return its summary (the body of ``summary.json``).

    ``inputs`` are as in :meth:`undercast.raster.Scene.open`, ``unit`` declares that of radar images, ``optical`` what
    optical ones hold, and ``nodata`` overrides what the files declare. Flood is told apart from other water by any of
    the roles ``occurrence`` (how often there is water, percent), ``reference`` (a mask) and the model's own with
    ``_pre`` (an image from before, mapped too); where all of these see nothing, water is not told apart. The role
    ``dem`` excludes ground where no flood can be. ``areas`` is a vector file, or ``FILE:LAYER``, for whose polygons
    areas are counted.

    ``resume`` goes on from the blocks that a killed map of the same scene left, and takes a complete product of the
    same scene as it is. ``cluster`` is a Dask client (:func:`undercast.mapping.cluster.connect`) whose workers answer
    the blocks. Neither changes a byte.

    Raises:
        InputError: an input cannot be used, or is outside the model's training and the settings refuse that.
        ModelError: the model folder is incomplete or does not fit the input.
        ProductError: ``out`` exists, or cannot be written.
    """
    config = config or MapConfig()
    declared: dict[str, Any] = {"unit": unit, "optical": optical, "nodata": nodata}
    with open_job(inputs, model, config, **declared, precision=precision, areas=areas) as job:
        if resume and (complete := _complete(out, job)):
            return complete
        with ProductWriter(out, overwrite=overwrite) as product:
            with (
                KeptBlocks(product.kept, fingerprint(describe(job)), resume=resume) as kept,
                closing(_blocks(inputs, job, kept, cluster)) as blocks,
            ):
                layers = _write_layers(product.aside, job, blocks, progress)
            return finish_product(product.aside, job, layers)


def _complete(out: Path, job: Job) -> dict[str, Any] | None:
    """The summary of a product that is there already, of the same inputs, model and settings; else None."""
    if not (out / RECORD).is_file() or not (out / SUMMARY).is_file():
        return None
    if json.loads((out / RECORD).read_text("utf-8")) != json.loads(json.dumps(describe(job))):
        return None
    summary: dict[str, Any] = json.loads((out / SUMMARY).read_text("utf-8"))
    return summary


def _blocks(inputs: Sequence[str], job: Job, kept: KeptBlocks, cluster: Any) -> Generator[BlockResult, None, None]:
    """The blocks of the scene, in order: those that are kept, and the others answered and kept."""
    windows = blocks_of(job.scene, job.signature, job.config.mapper)
    here = kept.windows
    missing = [window for window in windows if window not in here]
    if cluster:
        from undercast.mapping.cluster import Request, blocks_from

        answers = blocks_from(cluster, Request.of(inputs, job), missing)
    else:
        predictor = OpenVinoPredictor(job.model, job.precision, job.config.mapper.threads or None)
        answers = answered_blocks(job, predictor, missing)
    # closed here and not when the garbage is collected: no thread may read a scene that is being closed
    with closing(answers):
        for window in windows:
            if window in here:
                yield kept.get(window)
            else:
                block = next(answers)
                kept.add(block)
                yield block


def _write_layers(
    folder: Path, job: Job, blocks: Generator[BlockResult, None, None], progress: Progress | None
) -> Layers:
    """Write ``blocks`` into layers and polygons, strip by strip, counting as they come."""
    height, width = (int(length) for length in job.grid.shape)
    layers, strips, restored = open_layers(folder, job), Strips((height, width)), Strips(job.scene.shape)
    whole, done = height * width, 0
    try:
        for block in blocks:
            pixels = {name: block.arrays[name] for name in ("codes", "likelihood", "inputs") if name in block.arrays}
            for row, strip in strips.put(block.window, pixels):
                layers.write(row, strip)
            if layers.restored:
                for _, strip in restored.put(block.source, {"restored": block.arrays["restored"]}):
                    layers.restored.write(reflectance(strip["restored"]))
            layers.count(block)
            done += block.window.height * block.window.width
            if progress:
                progress(done, whole)
    except BaseException:
        for layer in layers.rasters:
            layer.abandon()
        raise
    return layers
