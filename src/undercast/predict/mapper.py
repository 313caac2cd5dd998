"""A whole scene answered block by block: reading, inferring and what the caller does with a block overlap.

Memory is bounded by the blocks under way, whatever the size of the scene.
"""

import os
from collections import deque
from collections.abc import Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from undercast.config import Settings
from undercast.errors import ModelError
from undercast.predict.predictor import PROBABILITIES, RESTORED, Predictor, Restorer
from undercast.predict.tiles import TilePlan, touched
from undercast.raster.scene import Scene
from undercast.raster.windows import Window
from undercast.signature import Signature


class MapperConfig(Settings):
    """How the work is cut. Of these only ``tile`` may change a map, and that by rounding alone."""

    tile: int = Field(default=1024, ge=16, description="rows and columns a tile reads, its margin included, pixels")
    block: int = Field(default=1, ge=1, description="tiles along each side of a block, read and written at once")
    ahead: int = Field(default=4, ge=1, description="blocks read and inferred ahead of the one being written")
    threads: int = Field(default=0, ge=0, description="threads that infer; 0: one a core")


@dataclass(frozen=True)
class AnsweredBlock:
    """A block of a scene and its answer.

    ``window`` is where it lies on the grid of the answer, ``source`` on the scene's own: the same unless the task has a
    scale. On the first: ``probabilities`` ``[K, h, w]`` float32, NaN where not observed; ``observed`` ``[h, w]`` bool:
    enough was seen for an answer to count (:meth:`~undercast.signature.Signature.observed`); ``near_unseen``
    ``[h, w]`` bool: observed, but within the network's reach of ground that was not (nodata, or beyond the image);
    ``seen`` by role, ``[h, w]`` bool. A pixel of the answer saw what all pixels of the scene that it touches saw. On
    the second: ``images`` ``[C, H, W]`` by role, and ``restored`` ``[C, H, W]`` of a model that restores an image.
    """

    window: Window
    source: Window
    probabilities: NDArray[np.float32]
    observed: NDArray[np.bool_]
    near_unseen: NDArray[np.bool_]
    seen: dict[str, NDArray[np.bool_]]
    images: dict[str, NDArray[np.float32]]
    restored: NDArray[np.float32] | None = None


Outputs: TypeAlias = dict[str, NDArray[np.float32]]


@dataclass
class _Underway:
    """A block that has been read, and the answers of its tiles as they come; ``unseen`` ``[H, W]`` by role."""

    window: Window
    images: dict[str, NDArray[np.float32]]
    unseen: dict[str, NDArray[np.bool_]]
    answers: list[tuple[Window, Future[Outputs]]]


def blocks_of(scene: Scene, signature: Signature, config: MapperConfig) -> list[Window]:
    """The blocks that a scene is answered in, in order: windows of the answer's grid."""
    return list(TilePlan.of(scene.shape, signature, config.tile).blocks(config.block))


def answer_scene(
    scene: Scene,
    predictor: Predictor,
    config: MapperConfig | None = None,
    *,
    stand_in: Mapping[str, str] | None = None,
    also: Iterable[str] = (),
    windows: Iterable[Window] | None = None,
) -> Generator[AnsweredBlock, None, None]:
    """Answer every pixel of ``scene`` where enough was seen, block by block in order, row by row.

    ``windows`` are the blocks wanted, of those that :func:`blocks_of` lists; all if not given. ``stand_in`` gives the
    model another image for a role (``{"s1": "s1_pre"}``: as it was before); ``also`` are roles that the model does not
    take and that come with the blocks. Optional roles of the model may be missing from the scene.

    Raises:
        ModelError: the scene lacks a role the model cannot do without, or the model does not answer numbers.
        InputError: a file of the scene is damaged.
    """
    config = config or MapperConfig()
    signature = predictor.signature
    named = {role: (stand_in or {}).get(role, role) for role in signature.inputs}
    source = {role: name for role, name in named.items() if name in scene.images}
    signature.check_roles(set(source))
    wanted = [*source.values(), *also]
    plan = TilePlan.of(scene.shape, signature, config.tile)
    windows = plan.blocks(config.block) if windows is None else windows
    threads = config.threads or os.cpu_count() or 1
    reading = ThreadPoolExecutor(1, "read")
    inferring = ThreadPoolExecutor(threads, "infer")

    def begin(window: Window) -> _Underway:
        reach = plan.reach(window)
        images = scene.read(reach, wanted)
        unseen = {role: _unseen(images[name]) for role, name in source.items()}
        ignored = _ignored(signature, unseen)
        tiles = []
        for core in plan.cores(window):
            if not ignored[core.slices((reach.row, reach.col))].all():
                around = core.grow(plan.margin).slices((reach.row, reach.col))
                batch = {role: images[name][None, :, *around] for role, name in source.items()}
                tiles.append((core, inferring.submit(_ask, predictor, batch)))
        return _Underway(window, images, unseen, tiles)

    underway: deque[Future[_Underway]] = deque()
    try:
        for window in windows:
            underway.append(reading.submit(begin, window))
            if len(underway) > config.ahead:
                yield _finish(underway.popleft().result(), plan, predictor)
        while underway:
            yield _finish(underway.popleft().result(), plan, predictor)
    finally:
        reading.shutdown(wait=True, cancel_futures=True)
        inferring.shutdown(wait=True, cancel_futures=True)


def _ask(predictor: Predictor, batch: Mapping[str, NDArray[np.float32]]) -> Outputs:
    """All that a model answers, of a batch of one."""
    if predictor.signature.restores and isinstance(predictor, Restorer):
        return {name: output[0] for name, output in predictor.outputs(batch).items()}
    return {PROBABILITIES: predictor.predict(batch)[0]}


def _unseen(image: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where any band of ``[C, H, W]`` is NaN."""
    unseen = np.zeros(image.shape[1:], np.bool_)
    for band in image:
        # a minimum is NaN where anything is, and found in a tenth of the time that it takes to look at each
        if np.isnan(band.min()):
            unseen |= np.isnan(band)
    return unseen


def _ignored(signature: Signature, unseen: Mapping[str, NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """Where too little was seen for an answer to count."""
    if len(unseen) == 1:
        return next(iter(unseen.values()))
    return ~signature.observed({role: ~mask for role, mask in unseen.items()})


def _finish(block: _Underway, plan: TilePlan, predictor: Predictor) -> AnsweredBlock:
    """Wait for the tiles of a block and put their centres together."""
    window, signature = block.window, predictor.signature
    reach, source = plan.reach(window), plan.source(window)
    inner = source.slices((reach.row, reach.col))
    seen = {role: ~touched(mask[inner], plan.scale) for role, mask in block.unseen.items()}
    observed = next(iter(seen.values())) if len(seen) == 1 else signature.observed(seen)
    missing = observed.size - np.count_nonzero(observed)
    probabilities = np.empty((len(signature.task), window.height, window.width), np.float32)
    if missing:
        probabilities.fill(np.nan)
    restored = None
    if signature.restores in block.unseen:
        bands = len(signature.inputs[signature.restores].bands)
        restored = np.full((bands, source.height, source.width), np.nan, np.float32)
    for core, future in block.answers:
        outputs = future.result()
        whole, begun = plan.answer(core), plan.answer(core.grow(plan.margin))
        _place(probabilities, window, outputs[PROBABILITIES], whole.clip(plan.answered), begun)
        if restored is not None and RESTORED in outputs:
            _place(restored, source, outputs[RESTORED], core.clip(plan.shape), core.grow(plan.margin))
    if missing:
        np.copyto(probabilities, np.nan, where=~observed)
    if np.isnan(probabilities.min()) and np.count_nonzero(np.isnan(probabilities)) != missing * len(probabilities):
        raise ModelError(f"model {signature.name} answered NaN where every band was seen; export it again")
    near = _near(_ignored(signature, block.unseen), signature.margin)[inner]
    near = touched(near, plan.scale) & observed
    images = {role: image[:, *inner] for role, image in block.images.items()}
    return AnsweredBlock(window, source, probabilities, observed, near, seen, images, restored)


def _place(
    target: NDArray[np.float32], window: Window, answer: NDArray[np.float32], part: Window, begun: Window
) -> None:
    """Copy ``part`` of an answer that begins at ``begun`` to its place in ``target``, which covers ``window``."""
    target[:, *part.slices((window.row, window.col))] = answer[:, *part.slices((begun.row, begun.col))]


def _near(unseen: NDArray[np.bool_], distance: int) -> NDArray[np.bool_]:
    """Where anything of ``unseen`` ``[H, W]`` lies within ``distance`` rows and columns (a square, as kernels are)."""
    if not unseen.any():
        return unseen
    return _spread(_spread(unseen, distance).T, distance).T


def _spread(mask: NDArray[np.bool_], distance: int) -> NDArray[np.bool_]:
    """``mask`` spread by ``distance`` rows up and down; what has been spread is spread again, in doubling steps."""
    rows, wanted, reached = len(mask), 2 * distance + 1, 1
    spread = np.pad(mask, ((distance, distance), (0, 0)))
    while reached < wanted:
        step = min(reached, wanted - reached)
        spread[:-step] |= spread[step:]
        reached += step
    return spread[:rows]
