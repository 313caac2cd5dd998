"""What a student must beat: water by a threshold on one band, fixed or found by Otsu in each image.

Both are predictors like any other and stand in the same table by name.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from undercast.bands import S1
from undercast.config import Settings
from undercast.predict import Predictor
from undercast.signature import Signature
from undercast.task import FLOOD

Image = NDArray[np.float32]


class FixedThresholdConfig(Settings):
    """Water is what is darker than a fixed backscatter."""

    band: Literal["VV", "VH"] = Field(default="VH", description="the band that is looked at")
    decibel: float = Field(default=-21.0, description="below this is water, dB; the default is in use on Sen1Floods11")
    softness: float = Field(default=1.0, gt=0, description="dB from an even chance to 73 %; moves no decision")


class OtsuConfig(Settings):
    """Water is the darker of the two modes of the image, which Otsu's threshold parts [Otsu 1979]."""

    band: Literal["VV", "VH"] = Field(default="VH", description="the band that is looked at")
    bins: int = Field(default=256, ge=2, description="bins of the histogram over S1's valid range")
    softness: float = Field(default=1.0, gt=0, description="dB from an even chance to 73 %; moves no decision")


class FixedThreshold:
    """Water where the band < ``decibel``; probability by a logistic curve around it, which moves no decision."""

    def __init__(self, config: FixedThresholdConfig | None = None) -> None:
        self.config = config or FixedThresholdConfig()
        self.signature = _signature("threshold", self.config)

    def predict(self, images: Mapping[str, Image]) -> Image:
        """Probabilities ``[B, 2, H, W]`` of the band ``[B, 1, H, W]`` dB in role ``s1``; NaN where it is."""
        band = images["s1"][:, 0]
        return _probabilities(band, np.full((len(band), 1, 1), self.config.decibel, np.float32), self.config.softness)


class OtsuThreshold:
    """Water where the band is below Otsu's threshold of the image's own observed pixels.

    An image of one mode is still cut in two: that is Otsu's known failure on dry scenes. Where there is nothing to
    part (one value, or nothing observed) nothing is water.
    """

    def __init__(self, config: OtsuConfig | None = None) -> None:
        self.config = config or OtsuConfig()
        self.signature = _signature("otsu", self.config)

    def predict(self, images: Mapping[str, Image]) -> Image:
        """Probabilities ``[B, 2, H, W]`` of the band ``[B, 1, H, W]`` dB in role ``s1``; NaN where it is."""
        band = images["s1"][:, 0]
        cuts = [otsu(image[np.isfinite(image)], self.config.bins) for image in band]
        return _probabilities(band, np.array(cuts, np.float32)[:, None, None], self.config.softness)


def otsu(values: NDArray[np.float32], bins: int = 256) -> float:
    """The threshold in dB that parts ``values`` into the two classes furthest apart [Otsu 1979].

    It maximises the variance between the classes, ``w0·w1·(m0 - m1)²``, over the edges of a histogram of S1's valid
    range. Where several edges do equally (an empty stretch between two modes) it is their middle; minus infinity where
    the values fall into one bin or there are none.
    """
    low, high = S1.valid_range
    counts, edges = np.histogram(np.clip(values, low, high), bins=bins, range=(low, high))
    centres = (edges[:-1] + edges[1:]) / 2
    below = counts.cumsum()[:-1].astype(np.float64)
    above = counts.sum() - below
    parted = (below > 0) & (above > 0)
    if not parted.any():
        return -np.inf
    lower = (counts * centres).cumsum()[:-1]
    upper = (counts * centres).sum() - lower
    means = np.divide(lower, below, where=parted, out=np.zeros_like(lower))
    gap = np.divide(upper, above, where=parted, out=np.zeros_like(upper)) - means
    between = np.where(parted, below * above * gap**2, -1.0)
    best = edges[1:-1][np.isclose(between, between.max(), rtol=1e-12)]
    return float((best[0] + best[-1]) / 2)


BASELINES: dict[str, Callable[[], FixedThreshold | OtsuThreshold]] = {
    "threshold": FixedThreshold,
    "otsu": OtsuThreshold,
    "threshold-vv": partial(FixedThreshold, FixedThresholdConfig(band="VV", decibel=-16.0)),
    "otsu-vv": partial(OtsuThreshold, OtsuConfig(band="VV")),
}
"""Baselines by the name they carry on the command line and in a table."""


def baseline(name: str) -> Predictor:
    """The baseline called ``name``, with its defaults. KeyError where there is none."""
    return BASELINES[name]()


def _signature(name: str, config: FixedThresholdConfig | OtsuConfig) -> Signature:
    return Signature(
        name=name if config.band == "VH" else f"{name}-{config.band.lower()}",
        task=FLOOD,
        inputs={"s1": S1.select((config.band,))},
        network={"kind": name, **config.model_dump()},
        training_data=("none: a rule",),
    )


def _probabilities(decibel: Image, cuts: Image, softness: float) -> Image:
    water = (1.0 / (1.0 + np.exp(np.clip((decibel - cuts) / np.float32(softness), -80, 80)))).astype(np.float32)
    # Strictly below is water: the curve alone would call a pixel at the threshold, or rounded to it, water too.
    even = np.float32(0.5)
    water = np.where(decibel < cuts, np.maximum(water, even), np.minimum(water, np.nextafter(even, np.float32(0))))
    water = np.where(np.isfinite(decibel), water, np.nan).astype(np.float32)
    return np.stack([1 - water, water], axis=1)
