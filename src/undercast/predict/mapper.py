"""A whole scene answered block by block: reading, inferring and what the caller does with a block overlap.

Memory is bounded by the blocks under way, whatever the size of the scene.
"""

import os
from collections import deque
from collections.abc import Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from undercast.config import Settings
from undercast.errors import ModelError
from undercast.predict.predictor import Predictor
from undercast.predict.tiles import TilePlan
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
    """A block of a scene and its answer; arrays cover ``window`` exactly.

    ``probabilities`` ``[K, h, w]`` float32, NaN where not observed; ``observed`` ``[h, w]`` bool: every band the model
    takes was seen; ``near_unseen`` ``[h, w]`` bool: observed, but within the network's reach of ground that was not
    (nodata, or beyond the image); ``images`` ``[C, h, w]`` by role.
    """

    window: Window
    probabilities: NDArray[np.float32]
    observed: NDArray[np.bool_]
    near_unseen: NDArray[np.bool_]
    images: dict[str, NDArray[np.float32]]


@dataclass
class _Underway:
    """A block that has been read, and the answers of its tiles as they come."""

    window: Window
    images: dict[str, NDArray[np.float32]]
    unseen: NDArray[np.bool_]
    answers: list[tuple[Window, Future[NDArray[np.float32]]]]


def blocks_of(scene: Scene, signature: Signature, config: MapperConfig) -> list[Window]:
    """The blocks that a scene is answered in, in order."""
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
    """Answer every pixel of ``scene`` where all bands were seen, block by block in order, row by row.

    ``windows`` are the blocks wanted, of those that :func:`blocks_of` lists; all if not given. ``stand_in`` gives the
    model another image for a role (``{"s1": "s1_pre"}``: as it was before); ``also`` are roles that the model does not
    take and that come with the blocks.

    Raises:
        ModelError: the model does not answer on the input's grid, or does not answer numbers.
        InputError: a file of the scene is damaged.
    """
    config = config or MapperConfig()
    signature = predictor.signature
    source = {role: (stand_in or {}).get(role, role) for role in signature.inputs}
    signature.check_roles({role for role, name in source.items() if name in scene.images})
    wanted = [*source.values(), *also]
    if signature.task.scale != 1:
        raise ModelError(f"model {signature.name} answers at scale {signature.task.scale}; scenes are mapped at 1 only")
    plan = TilePlan.of(scene.shape, signature, config.tile)
    windows = plan.blocks(config.block) if windows is None else windows
    threads = config.threads or os.cpu_count() or 1
    reading = ThreadPoolExecutor(1, "read")
    inferring = ThreadPoolExecutor(threads, "infer")

    def begin(window: Window) -> _Underway:
        reach = plan.reach(window)
        images = scene.read(reach, wanted)
        unseen = np.zeros((reach.height, reach.width), bool)
        for band in (band for name in source.values() for band in images[name]):
            unseen |= np.isnan(band)
        tiles = []
        for core in plan.cores(window):
            if not unseen[core.slices((reach.row, reach.col))].all():
                around = core.grow(plan.margin).slices((reach.row, reach.col))
                batch = {role: images[name][None, :, *around] for role, name in source.items()}
                tiles.append((core, inferring.submit(predictor.predict, batch)))
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


def _finish(block: _Underway, plan: TilePlan, predictor: Predictor) -> AnsweredBlock:
    """Wait for the tiles of a block and put their centres together."""
    window, signature = block.window, predictor.signature
    reach = plan.reach(window)
    inner = window.slices((reach.row, reach.col))
    observed = ~block.unseen[inner]
    probabilities = np.full((len(signature.task), window.height, window.width), np.nan, np.float32)
    for core, future in block.answers:
        part = core.clip(plan.shape)
        centre = part.slices((core.row - plan.margin, core.col - plan.margin))
        probabilities[:, *part.slices((window.row, window.col))] = future.result()[0][:, *centre]
    missing = observed.size - np.count_nonzero(observed)
    if missing:
        np.copyto(probabilities, np.nan, where=~observed)
    if np.count_nonzero(np.isnan(probabilities)) != missing * len(probabilities):
        raise ModelError(f"model {signature.name} answered NaN where every band was seen; export it again")
    near = _near(block.unseen, signature.margin)[inner] & observed
    images = {role: image[:, *inner] for role, image in block.images.items()}
    return AnsweredBlock(window, probabilities, observed, near, images)


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
