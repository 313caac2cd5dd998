"""What the pixels of a scene are called: a network's answer, and what else is known of the ground."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from undercast.mapping.config import ReferenceConfig
from undercast.mapping.job import Job
from undercast.mapping.priority import cells_of
from undercast.mapping.result import BlockResult
from undercast.mapping.seen import declined, flags_of, reflectance, restored_counts
from undercast.mapping.views import views_of
from undercast.predict import AnsweredBlock, OpenVinoPredictor, answer_scene
from undercast.predict.tiles import touched
from undercast.product.codes import decline, encode, overrule, tell_apart, to_percent
from undercast.product.quicklook import Preview
from undercast.product.summary import Tally
from undercast.raster.windows import Window
from undercast.signature import Signature


class CodedBlock(NamedTuple):
    """A block, its codes ``[h, w]`` uint8, the classes ``[h, w]`` that it had where the answer did not count, and where
    ``[h, w]`` the model declines under cloud; None where it never does."""

    block: AnsweredBlock
    codes: NDArray[np.uint8]
    called: NDArray[np.uint8]
    cloud: NDArray[np.bool_] | None


def answered_blocks(
    job: Job, predictor: OpenVinoPredictor, windows: Sequence[Window] | None = None
) -> Generator[BlockResult, None, None]:
    """What each block of the scene contributes to its map; those of ``windows``, or all, in order."""
    signature, tally = job.signature, Tally(job.grid, job.entries)
    views, preview, cells = views_of(job), Preview(job.scene.shape), cells_of(job)
    with closing(coded_blocks(job, predictor, windows)) as blocks:
        for block, codes, called, cloud in blocks:
            counts = tally.counts(block.window, codes, block.near_unseen, called, block.probabilities)
            arrays: dict[str, NDArray[Any]] = {"codes": codes, "likelihood": to_percent(block.probabilities)}
            if signature.optional:
                arrays["inputs"] = flags_of(block.seen, list(signature.inputs))
            clear = None
            if (restored := restored_counts(block, signature, cloud)) is not None:
                arrays["restored"], clear = restored, reflectance(restored)
            arrays |= _named("tally", counts)
            for number, view in enumerate(views):
                for band, image in enumerate(view.of(block, clear)):
                    arrays |= _named(f"preview.{number}.{band}", preview.sums(block.source, image))
            if cells:
                arrays |= _named("cells", cells.sums(block.window, codes, block.probabilities[1]))
            yield BlockResult(block.window, block.source, arrays)


def _named(name: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {f"{name}.{key}": array for key, array in arrays.items()}


def coded_blocks(
    job: Job, predictor: OpenVinoPredictor, windows: Sequence[Window] | None = None
) -> Generator[CodedBlock, None, None]:
    """The scene's blocks and their codes, flood told apart from other water where the scene has what it takes."""
    signature, config = predictor.signature, job.config
    also = [role for role in ("occurrence", "reference") if role in job.scene.images]
    with (
        closing(answer_scene(job.scene, predictor, config.mapper, also=also, windows=windows)) as blocks,
        closing(_before(job, predictor, windows)) as earlier,
    ):
        for block, before in zip(blocks, earlier, strict=False):
            called = encode(block.probabilities, signature.task, signature.threshold, config.codes)
            if before or also:
                called = tell_apart(called, *_reference(block, before, signature, config.reference))
            scale = signature.task.scale
            relief = job.relief.of(block.source) if job.relief else (None, None)
            excluded = [mask if mask is None else touched(mask, scale) for mask in relief]
            codes = overrule(called, touched(job.guard.outside(block.images), scale), *excluded)
            cloud = declined(block, signature, config.codes)
            yield CodedBlock(block, codes if cloud is None else decline(codes, cloud), called, cloud)


def _before(
    job: Job, predictor: OpenVinoPredictor, windows: Sequence[Window] | None
) -> Generator[AnsweredBlock | None, None, None]:
    """The scene as it was before, block by block; None for each where no such image was given."""
    stand_in = {role: f"{role}_pre" for role in predictor.signature.inputs if f"{role}_pre" in job.scene.images}
    if stand_in:
        yield from answer_scene(job.scene, predictor, job.config.mapper, stand_in=stand_in, windows=windows)
    else:
        yield from repeat(None)


def _reference(
    block: AnsweredBlock, before: AnsweredBlock | None, signature: Signature, config: ReferenceConfig
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where a block has water without a flood, and where anything is known of that: both ``[h, w]`` bool."""
    water = np.zeros((block.source.height, block.source.width), bool)
    known = np.zeros(water.shape, bool)
    for role, least in (("occurrence", config.minimum_occurrence), ("reference", np.nextafter(0.0, 1.0))):
        if role in block.images:
            values = block.images[role][0]
            known |= np.isfinite(values)
            water |= values >= least
    # Of the answer's pixels, known is what is known of all that they touch.
    water, known = touched(water, signature.task.scale), ~touched(~known, signature.task.scale)
    if before is not None:
        known |= before.observed
        water |= before.probabilities[1] >= signature.threshold
    return water, known
