"""A map of a scene from start to end: rasters in, product folder out. What ``undercast map`` runs."""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from undercast.bands import OCCURRENCE, Modality
from undercast.config import Settings
from undercast.model import ModelFolder
from undercast.predict import AnsweredBlock, MapperConfig, OpenVinoPredictor, answer_scene
from undercast.product.codes import CodeConfig, encode, entries_of, tell_apart, to_percent
from undercast.product.quicklook import Preview, draw_quicklook
from undercast.product.record import crs_name, describe_inputs, digest, versions, write_json
from undercast.product.summary import Tally, VerdictConfig, percent, square_km, summarise
from undercast.product.write import CLASSES, LIKELIHOOD, QUICKLOOK, RECORD, SUMMARY, LayerWriter, ProductWriter
from undercast.raster.backscatter import RadarUnit
from undercast.raster.scene import Scene
from undercast.signature import Signature
from undercast.task import FLOOD

Progress = Callable[[int, int], None]
"""Told after each block how many pixels are done, and of how many."""


REFERENCE = Modality(instrument="reference water", bands=("water",), unit="percent", valid_range=(0.0, 100.0))
"""A mask or share of water that is always there: anything above 0 is water."""


class ReferenceConfig(Settings):
    """What counts as water that is there without a flood."""

    minimum_occurrence: float = Field(
        default=50.0, gt=0, le=100, description="role occurrence: water at least this often is permanent, percent"
    )


class MapConfig(Settings):
    """How a scene is mapped."""

    mapper: MapperConfig = Field(default=MapperConfig(), description="how the work is cut")
    codes: CodeConfig = Field(default=CodeConfig(), description="when a pixel is called a class")
    reference: ReferenceConfig = Field(default=ReferenceConfig(), description="what counts as permanent water")
    verdict: VerdictConfig = Field(default=VerdictConfig(), description="when a scene is called flooded")


def map_scene(
    inputs: Sequence[str],
    model: ModelFolder,
    out: Path,
    *,
    unit: RadarUnit | None = None,
    nodata: float | None = None,
    precision: str = "fp32",
    overwrite: bool = False,
    config: MapConfig | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Map one scene into the folder ``out`` and return its summary (the body of ``summary.json``).

    ``inputs`` are as in :meth:`undercast.raster.Scene.open`, ``unit`` declares that of radar images, ``nodata``
    overrides what the files declare. Flood is told apart from other water by any of the roles ``occurrence`` (how often
    there is water, percent), ``reference`` (a mask) and the model's own with ``_pre`` (an image from before, mapped
    too); where all of these see nothing, water is not told apart.

    Raises:
        InputError: an input cannot be used.
        ModelError: the model folder is incomplete or does not fit the input.
        ProductError: ``out`` exists, or cannot be written.
    """
    config = config or MapConfig()
    signature = model.signature
    with ExitStack() as stack:
        product = stack.enter_context(ProductWriter(out, overwrite=overwrite))
        modalities = _roles(signature)
        scene = stack.enter_context(Scene.open(inputs, modalities, list(signature.inputs), unit=unit, nodata=nodata))
        predictor = OpenVinoPredictor(model, precision, config.mapper.threads or None)
        hashing = stack.enter_context(ThreadPoolExecutor(1, "hash"))
        paths = dict.fromkeys(item.header.path for image in scene.images.values() for item in image.bands)
        digests = {path: hashing.submit(digest, path) for path in paths}
        entries = entries_of(signature.task)
        tally, preview = Tally(scene.grid, entries), Preview(scene.shape)
        _write_layers(product.aside, scene, predictor, config, tally, preview, progress)
        is_flood = signature.task.name == FLOOD.name
        summary: dict[str, Any] = {"task": signature.task.name, "scene": scene.name}
        summary |= summarise(tally, config.verdict, reference=set(scene.images) > set(signature.inputs), flood=is_flood)
        summary |= {
            "acquired": f"{scene.acquired:%Y-%m-%dT%H:%M:%SZ}" if scene.acquired else None,
            "crs": crs_name(scene.grid),
            "shape": list(scene.shape),
            "model": {"name": model.name, "version": signature.version, "precision": precision},
            "notes": scene.notes,
        }
        write_json(summary, product.aside / SUMMARY)
        record = {
            "versions": versions(),
            "model": summary["model"] | {"sha256": model.digest(precision), "threshold": signature.threshold},
            "inputs": describe_inputs(scene, {path: future.result() for path, future in digests.items()}),
            "parameters": _parameters(config, unit, nodata),
            "grid": {"crs": crs_name(scene.grid), "transform": list(scene.grid.affine)[:6], "shape": list(scene.shape)},
        }
        write_json(record, product.aside / RECORD)
        shown = next(iter(scene.images.values()))
        draw_quicklook(
            product.aside / QUICKLOOK,
            class_map=product.aside / CLASSES,
            preview=preview,
            grid=scene.grid,
            entries=entries,
            areas=tally.areas(),
            title=headline(summary),
            scene=summary["scene"],
            band=f"{shown.modality.instrument} {shown.bands[0].band} ({shown.modality.unit})",
            acquired=scene.acquired,
            credit=f"undercast · {model.name} {signature.version} · {percent(summary['observed_share'])} observed",
        )
    return summary


def _write_layers(
    folder: Path,
    scene: Scene,
    predictor: OpenVinoPredictor,
    config: MapConfig,
    tally: Tally,
    preview: Preview,
    progress: Progress | None,
) -> None:
    """Answer the scene block by block into ``class.tif`` and ``likelihood.tif``, counting as it goes."""
    signature = predictor.signature
    shown = next(iter(signature.inputs))
    tags = {"UNDERCAST_MODEL": f"{signature.name} {signature.version}", "UNDERCAST_TASK": signature.task.name}
    classes = LayerWriter(
        folder / CLASSES, scene.grid, description="class", overviews="mode", entries=tally.entries, tags=tags
    )
    what = signature.task.classes[1].name if len(signature.task) == 2 else "the likeliest class"
    likelihood = LayerWriter(
        folder / LIKELIHOOD, scene.grid, description=f"likelihood of {what}, %", overviews="average", tags=tags
    )
    whole, done = scene.shape[0] * scene.shape[1], 0
    try:
        # closed here and not when the garbage is collected: no thread may read a scene that is being closed
        with closing(_coded_blocks(scene, predictor, config)) as blocks:
            for block, codes in blocks:
                classes.write(block.window, codes)
                likelihood.write(block.window, to_percent(block.probabilities))
                tally.add(block.window, codes, block.near_unseen)
                preview.add(block.window, block.images[shown][0])
                done += block.window.height * block.window.width
                if progress:
                    progress(done, whole)
        classes.finish()
        likelihood.finish()
    finally:
        classes.abandon()
        likelihood.abandon()


def _coded_blocks(
    scene: Scene, predictor: OpenVinoPredictor, config: MapConfig
) -> Generator[tuple[AnsweredBlock, NDArray[np.uint8]], None, None]:
    """The scene's blocks and their codes, flood told apart from other water where the scene has what it takes."""
    signature = predictor.signature
    also = [role for role in ("occurrence", "reference") if role in scene.images]
    with (
        closing(answer_scene(scene, predictor, config.mapper, also=also)) as blocks,
        closing(_before(scene, predictor, config)) as earlier,
    ):
        for block, before in zip(blocks, earlier, strict=False):
            codes = encode(block.probabilities, signature.task, signature.threshold, config.codes)
            if before or also:
                codes = tell_apart(codes, *_reference(block, before, signature, config.reference))
            yield block, codes


def _roles(signature: Signature) -> dict[str, Modality]:
    """What may be given: what the model takes, and for flood what tells it apart from other water."""
    if signature.task.name != FLOOD.name:
        return dict(signature.inputs)
    before = {f"{role}_pre": modality for role, modality in signature.inputs.items()}
    return dict(signature.inputs) | before | {"occurrence": OCCURRENCE, "reference": REFERENCE}


def _before(
    scene: Scene, predictor: OpenVinoPredictor, config: MapConfig
) -> Generator[AnsweredBlock | None, None, None]:
    """The scene as it was before, block by block; None for each where no such image was given."""
    stand_in = {role: f"{role}_pre" for role in predictor.signature.inputs if f"{role}_pre" in scene.images}
    if stand_in:
        yield from answer_scene(scene, predictor, config.mapper, stand_in=stand_in)
    else:
        yield from repeat(None)


def _reference(
    block: AnsweredBlock, before: AnsweredBlock | None, signature: Signature, config: ReferenceConfig
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where a block has water without a flood, and where anything is known of that: both ``[h, w]`` bool."""
    water = np.zeros(block.observed.shape, bool)
    known = np.zeros(block.observed.shape, bool)
    for role, least in (("occurrence", config.minimum_occurrence), ("reference", np.nextafter(0.0, 1.0))):
        if role in block.images:
            values = block.images[role][0]
            known |= np.isfinite(values)
            water |= values >= least
    if before is not None:
        known |= before.observed
        water |= before.probabilities[1] >= signature.threshold
    return water, known


def headline(summary: dict[str, Any]) -> str:
    """The verdict in a few words, with the area that it rests on."""
    verdict = str(summary.get("verdict") or f"{summary['task']} map")
    area = summary["area_m2"].get({"flood": "flood", "water detected": "water"}.get(verdict, ""), 0.0)
    return verdict.capitalize() + (f": {square_km(area)}" if area else "")


def _parameters(config: MapConfig, unit: RadarUnit | None, nodata: float | None) -> dict[str, Any]:
    """What may change a map's bytes; how the work was cut may not, and is left out."""
    kept = config.model_dump(mode="json")
    kept["mapper"] = {"tile": config.mapper.tile}
    return kept | {"unit": unit, "nodata": nodata}
