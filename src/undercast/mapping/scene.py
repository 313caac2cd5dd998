"""One scene into one product folder."""

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from undercast.mapping.codes import coded_blocks
from undercast.mapping.config import MapConfig
from undercast.mapping.finish import Counted, finish_product
from undercast.mapping.job import Job, open_job
from undercast.model import ModelFolder
from undercast.predict import OpenVinoPredictor
from undercast.product.codes import to_percent
from undercast.product.quicklook import Preview
from undercast.product.summary import Tally
from undercast.product.write import CLASSES, LIKELIHOOD, LayerWriter, ProductWriter
from undercast.raster.backscatter import RadarUnit

Progress = Callable[[int, int], None]
"""Told after each block how many pixels are done, and of how many."""


def map_scene(
    inputs: Sequence[str],
    model: ModelFolder,
    out: Path,
    *,
    unit: RadarUnit | None = None,
    nodata: float | None = None,
    precision: str = "fp32",
    areas: str | None = None,
    overwrite: bool = False,
    config: MapConfig | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Map one scene into the folder ``out`` and return its summary (the body of ``summary.json``).

    ``inputs`` are as in :meth:`undercast.raster.Scene.open`, ``unit`` declares that of radar images, ``nodata``
    overrides what the files declare. Flood is told apart from other water by any of the roles ``occurrence`` (how often
    there is water, percent), ``reference`` (a mask) and the model's own with ``_pre`` (an image from before, mapped
    too); where all of these see nothing, water is not told apart. The role ``dem`` excludes ground where no flood can
    be. ``areas`` is a vector file, or ``FILE:LAYER``, for whose polygons areas are counted.

    Raises:
        InputError: an input cannot be used, or is outside the model's training and the settings refuse that.
        ModelError: the model folder is incomplete or does not fit the input.
        ProductError: ``out`` exists, or cannot be written.
    """
    config = config or MapConfig()
    with (
        ProductWriter(out, overwrite=overwrite) as product,
        open_job(inputs, model, config, unit=unit, nodata=nodata, precision=precision, areas=areas) as job,
    ):
        counted = write_layers(product.aside, job, progress)
        return finish_product(product.aside, job, counted)


def write_layers(folder: Path, job: Job, progress: Progress | None = None) -> Counted:
    """Answer the scene block by block into ``class.tif`` and ``likelihood.tif``, counting as it goes."""
    scene, signature = job.scene, job.signature
    predictor = OpenVinoPredictor(job.model, job.precision, job.config.mapper.threads or None)
    counted = Counted(Tally(scene.grid, job.entries), Preview(scene.shape))
    shown = next(iter(signature.inputs))
    tags = {"UNDERCAST_MODEL": f"{signature.name} {signature.version}", "UNDERCAST_TASK": signature.task.name}
    classes = LayerWriter(
        folder / CLASSES, scene.grid, description="class", overviews="mode", entries=job.entries, tags=tags
    )
    what = signature.task.classes[1].name if len(signature.task) == 2 else "the likeliest class"
    likelihood = LayerWriter(
        folder / LIKELIHOOD, scene.grid, description=f"likelihood of {what}, %", overviews="average", tags=tags
    )
    whole, done = scene.shape[0] * scene.shape[1], 0
    try:
        # closed here and not when the garbage is collected: no thread may read a scene that is being closed
        with closing(coded_blocks(job, predictor)) as blocks:
            for block, codes, called in blocks:
                classes.write(block.window, codes)
                likelihood.write(block.window, to_percent(block.probabilities))
                counted.tally.add(block.window, codes, block.near_unseen, called, block.probabilities)
                counted.preview.add(block.window, block.images[shown][0])
                done += block.window.height * block.window.width
                if progress:
                    progress(done, whole)
        classes.finish()
        likelihood.finish()
    finally:
        classes.abandon()
        likelihood.abandon()
    return counted
