"""Frames of a strip and what becomes of each: sent down, or dropped because it is cloud.

After the in-orbit demonstrator Φ-sat-1, which drops frames with more than 70 % cloud and was to do so with an accuracy
of at least 85 % and at most 1.2 % false positives, in at most 5 MB [Giuffrida 2020].
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from undercast.config import Settings
from undercast.errors import ModelError
from undercast.mapping.domain import DomainConfig, Guard
from undercast.predict import AnsweredLines, Predictor, Strip, StripConfig
from undercast.product.codes import encode, overrule
from undercast.task import NODATA

CLOUDY = 0.7
"""Share of cloud above which a frame is not worth sending."""
DROP_ABOVE, ACCURACY, FALSE_POSITIVES = "downlink drop_above", "downlink accuracy", "downlink false positives"
"""Scores of a signature: the answered share above which a frame is best dropped, then the share of frames so decided
right, and the share of the frames worth sending that were dropped."""


class StreamConfig(Settings):
    """How a strip becomes frames, and when a frame is dropped."""

    frame: int = Field(default=256, ge=1, description="lines of a frame")
    drop_above: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="a frame with more cloud is dropped, share; None: the model's own, or 0.7",
    )
    strip: StripConfig = Field(default=StripConfig(), description="how the strip is cut")
    domain: DomainConfig = Field(default=DomainConfig(), description="when a pixel is outside the model's training")


@dataclass(frozen=True)
class Frame:
    """Lines ``first`` to ``first + lines - 1`` of a strip and what becomes of them.

    ``observed`` is the share of pixels seen; ``shares`` those of the classes, of the pixels seen, empty where none was.
    ``codes`` ``[lines, W]`` uint8 are what a map of the strip says there.
    """

    number: int
    first: int
    lines: int
    observed: float
    shares: dict[str, float]
    decision: Literal["downlink", "drop"]
    codes: NDArray[np.uint8]

    def as_json(self) -> dict[str, Any]:
        """The frame without its pixels, shares to four decimals."""
        shares = {name: round(share, 4) for name, share in self.shares.items()}
        where = {"frame": self.number, "first_line": self.first, "lines": self.lines}
        return where | {"observed": round(self.observed, 4), **shares, "decision": self.decision}


class Stream:
    """Lines of a strip to frames, with constant memory.

    Raises:
        ModelError: the model tells no cloud.
    """

    def __init__(self, predictor: Predictor, width: int, config: StreamConfig | None = None) -> None:
        self.config, self.signature = config or StreamConfig(), predictor.signature
        self._names = [label.name for label in self.signature.task.classes]
        if "cloud" not in self._names:
            raise ModelError(f"model {self.signature.name} answers {', '.join(self._names)}, and none of them is cloud")
        own = self.signature.scores.get(DROP_ABOVE, CLOUDY)
        self.drop_above = own if self.config.drop_above is None else self.config.drop_above
        self._strip = Strip(predictor, width, self.config.strip)
        self._guard = Guard.of_pixels(self.signature, self.config.domain)
        self._waiting = np.empty((2, 0, width), np.uint8)
        self._first = self._number = 0

    def push(self, lines: Mapping[str, NDArray[np.float32]]) -> list[Frame]:
        """Take ``lines`` (see :meth:`undercast.predict.Strip.push`) and give the frames that are complete."""
        return self._frames(self._strip.push(lines))

    def finish(self) -> list[Frame]:
        """The frames that are left, the last as long as it came to be."""
        frames = self._frames(self._strip.finish())
        return [*frames, self._cut(self._waiting.shape[1])] if self._waiting.shape[1] else frames

    def stated(self) -> dict[str, Any]:
        """What the decisions rest on: the model, the threshold, and how often they are wrong, where that was measured.

        The rates are those of the model's own signature; None where it states none, or the threshold is another.
        """
        scores = self.signature.scores if self.drop_above == self.signature.scores.get(DROP_ABOVE, CLOUDY) else {}
        rates = {name: scores.get(name) for name in (ACCURACY, FALSE_POSITIVES)}
        model = {"model": self.signature.name, "version": self.signature.version}
        return model | {"drop_above": self.drop_above, **{k.replace(" ", "_"): v for k, v in rates.items()}}

    def _frames(self, answers: Iterable[AnsweredLines]) -> list[Frame]:
        frames = []
        for answer in answers:
            called = encode(answer.probabilities, self.signature.task, self.signature.threshold)
            codes = overrule(called, self._guard.outside(answer.images))
            self._waiting = np.concatenate([self._waiting, np.stack([called, codes])], axis=1)
            while self._waiting.shape[1] >= self.config.frame:
                frames.append(self._cut(self.config.frame))
        return frames

    def _cut(self, lines: int) -> Frame:
        called, codes = self._waiting[:, :lines].copy()
        self._waiting = self._waiting[:, lines:].copy()
        counts = np.bincount(called[called != NODATA], minlength=len(self._names))
        seen = int(counts.sum())
        shares = {name: float(count) / seen for name, count in zip(self._names, counts, strict=True)} if seen else {}
        # a frame of which nothing was seen has nothing to send
        drop = not seen or shares["cloud"] > self.drop_above
        number, first = self._number, self._first
        self._number, self._first = number + 1, first + lines
        return Frame(number, first, lines, seen / called.size, shares, "drop" if drop else "downlink", codes)
