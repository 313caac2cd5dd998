"""A push-broom strip answered while it comes in: lines go in, answered lines come out, and memory stays what it is.

The strip is answered in bands of lines, each seen with the network's reach above and below it, so an answer comes as
soon as the lines it rests on are there, and is the one that a map of the whole strip gives. How many lines are pushed
at a time changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from undercast.config import Settings
from undercast.errors import InputError, ModelError
from undercast.predict.predictor import Predictor
from undercast.predict.tiles import TilePlan
from undercast.raster.windows import Window

Image = NDArray[np.float32]


class StripConfig(Settings):
    """How a strip is cut. More lines at once are faster and take more memory; the answer is the same."""

    lines: int = Field(default=256, ge=1, description="lines answered at once, rounded up to the network's stride")
    columns: int = Field(default=2048, ge=16, description="columns answered at once, the reach included, pixels")


@dataclass(frozen=True)
class AnsweredLines:
    """Lines of a strip and their answer, from line ``first`` of the strip on.

    ``probabilities`` ``[K, n, W]`` float32, NaN where not observed; ``observed`` ``[n, W]`` bool: every band was seen;
    ``images`` ``[C, n, W]`` float32 by role.
    """

    first: int
    probabilities: Image
    observed: NDArray[np.bool_]
    images: dict[str, Image]


class Strip:
    """Answers a strip of ``width`` pixels with ``predictor``, on the thread that pushes the lines.

    Raises:
        ModelError: the model does not answer on the grid of its input.
    """

    def __init__(self, predictor: Predictor, width: int, config: StripConfig | None = None) -> None:
        config, signature = config or StripConfig(), predictor.signature
        if signature.task.scale != 1:
            raise ModelError(f"model {signature.name} answers at scale {signature.task.scale}, strips only at 1")
        margin = TilePlan.of((1, width), signature, config.columns).margin
        rows = -(-config.lines // signature.stride) * signature.stride
        columns = TilePlan.of((1, width), signature, config.columns).core[1]
        self.predictor, self.width = predictor, width
        self._plan = TilePlan((rows, width), (rows, columns), margin)
        self._answered = 0
        # above the first line nothing was seen; to the left and right of the strip nothing ever is
        self._held = {role: [self._unseen(role, margin)] for role in signature.inputs}
        self._count = 0

    def push(self, lines: Mapping[str, Image]) -> list[AnsweredLines]:
        """Take ``lines``, float32 ``[C, n, W]`` by role, NaN where unseen; answer those that can be.

        Raises:
            InputError: lines of another width or number of bands than the strip.
        """
        given = self.predictor.signature.complete(lines)
        for role, new in given.items():
            bands = len(self.predictor.signature.inputs[role].bands)
            if new.ndim != 3 or (new.shape[0], new.shape[2]) != (bands, self.width):
                raise InputError(f"lines of role {role} are {new.shape}; the strip takes ({bands}, n, {self.width})")
        for role, new in given.items():
            self._held[role].append(self._beside(new))
        self._count += next(iter(given.values())).shape[1]
        rows, margin, answers = self._plan.core[0], self._plan.margin, []
        while self._count >= rows + margin:
            answers.append(self._answer(rows))
        return answers

    def finish(self) -> list[AnsweredLines]:
        """Answer what is left: below the last line nothing was seen. The strip takes no more lines."""
        rows, margin, answers = self._plan.core[0], self._plan.margin, []
        for role, held in self._held.items():
            held.append(self._unseen(role, rows + margin))
        while self._count > 0:
            answers.append(self._answer(min(rows, self._count)))
        return answers

    def _answer(self, count: int) -> AnsweredLines:
        """Answer the first ``count`` lines held that are not yet, and let go of what no later line will look at."""
        plan, signature = self._plan, self.predictor.signature
        rows, margin = plan.core[0], plan.margin
        whole = {role: np.concatenate(held, axis=1) for role, held in self._held.items()}
        band = {role: image[:, : rows + 2 * margin] for role, image in whole.items()}
        where = {role: np.asarray(np.isfinite(image).all(axis=0), bool) for role, image in band.items()}
        seen = signature.observed(where)
        observed = seen[margin : margin + count, margin : margin + self.width]
        answer = np.full((len(signature.task), rows, self.width), np.nan, np.float32)
        for core in plan.cores(Window(0, 0, rows, self.width)):
            around = slice(core.col, core.col + core.width + 2 * margin)
            if seen[margin : margin + count, core.col + margin : core.col + margin + core.width].any():
                tile = self.predictor.predict({role: image[None, :, :, around] for role, image in band.items()})[0]
                part = tile[:, margin : margin + rows, margin : margin + core.width]
                answer[:, :, core.col : core.col + core.width] = part[:, :, : self.width - core.col]
        answer = np.where(observed, answer[:, :count], np.float32(np.nan))
        if np.isnan(answer[:, observed]).any():
            raise ModelError(f"model {signature.name} answered NaN where every band was seen; export it again")
        images = {r: image[:, margin : margin + count, margin : margin + self.width] for r, image in band.items()}
        first, self._answered = self._answered, self._answered + count
        self._count -= count
        self._held = {role: [image[:, rows:].copy()] for role, image in whole.items()}
        return AnsweredLines(first, answer, observed, images)

    @property
    def _across(self) -> int:
        """Columns held: whole tiles and the reach on both sides."""
        columns = self._plan.core[1]
        return -(-self.width // columns) * columns + 2 * self._plan.margin

    def _unseen(self, role: str, rows: int) -> Image:
        return np.full((len(self.predictor.signature.inputs[role].bands), rows, self._across), np.nan, np.float32)

    def _beside(self, lines: Image) -> Image:
        left = self._plan.margin
        right = self._across - self.width - left
        return np.pad(lines.astype(np.float32, copy=False), ((0, 0), (0, 0), (left, right)), constant_values=np.nan)
