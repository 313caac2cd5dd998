"""Augmentation: what else a chip could have looked like.

*Geometry* (crop, quarter turns, flips) moves all images and targets of a chip alike. *Radiometry* (gain, contrast,
speckle) and *cut-outs* change images only, each image on its own. Whoever must see the same ground without those, as a
teacher does, gets the images kept aside before them (``keep``).
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import lcm
from typing import Annotated, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from undercast.bands import Modality
from undercast.chip import Chip
from undercast.config import Settings
from undercast.datasets.vary import Quality, Warp, warp
from undercast.task import NODATA

CLEAN = "clean_"
"""Before the name of a role: the same image with the geometry of the chip and its own radiometry."""

Image = NDArray[np.float32]
T = TypeVar("T", bound=np.generic)


class RadarJitter(Settings):
    """How radar images in dB vary beyond what the chips show: calibration, incidence, wind, moisture, looks."""

    on: bool = Field(default=True, description="change radar images")
    offset: float = Field(default=1.0, ge=0, description="standard deviation of an offset of all bands, dB")
    band_offset: float = Field(default=0.5, ge=0, description="standard deviation of a further offset of each band, dB")
    contrast: float = Field(default=0.1, ge=0, lt=1, description="largest relative change of the spread about the mean")
    speckle: float = Field(default=0.3, ge=0, le=1, description="probability of extra speckle")
    looks: tuple[float, float] = Field(default=(6.0, 40.0), description="equivalent looks of the extra speckle, range")

    def apply(self, image: Image, rng: np.random.Generator) -> Image:
        """A copy of ``image`` ``[C, H, W]`` in dB, jittered; NaN stays NaN."""
        bands = image.shape[0]
        shift = rng.normal(0, self.offset) + rng.normal(0, self.band_offset, (bands, 1, 1))
        gain = 1 + rng.uniform(-self.contrast, self.contrast)
        seen = np.isfinite(image)
        count = np.maximum(seen.sum(axis=(1, 2), keepdims=True), 1)
        mean = image.sum(axis=(1, 2), keepdims=True, where=seen) / count
        result: Image = image * np.float32(gain) + (mean * (1 - gain) + shift).astype(np.float32)
        if rng.random() < self.speckle:
            looks = rng.uniform(*self.looks)
            noise = rng.standard_gamma(looks, size=image.shape, dtype=np.float32) / np.float32(looks)
            result += 10 * np.log10(np.maximum(noise, 1e-3))
        return result


class OpticalJitter(Settings):
    """How reflectance varies beyond what the chips show: haze, sun, processing."""

    on: bool = Field(default=True, description="change optical images")
    gain: float = Field(default=0.1, ge=0, lt=1, description="largest relative change of all bands")
    band_gain: float = Field(default=0.05, ge=0, lt=1, description="largest further relative change of each band")
    offset: float = Field(default=0.01, ge=0, description="standard deviation of an offset of all bands, reflectance")

    def apply(self, image: Image, rng: np.random.Generator) -> Image:
        """A copy of ``image`` ``[C, H, W]`` in reflectance, jittered; NaN stays NaN."""
        bands = 1 + rng.uniform(-self.band_gain, self.band_gain, (image.shape[0], 1, 1))
        gain = bands * (1 + rng.uniform(-self.gain, self.gain))
        result: Image = image * gain.astype(np.float32) + np.float32(rng.normal(0, self.offset))
        return result


class CutOut(Settings):
    """Rectangles where an image saw nothing, as at the edge of a swath."""

    on: bool = Field(default=True, description="cut rectangles out of radar images")
    probability: float = Field(default=0.1, ge=0, le=1, description="that an image loses a rectangle")
    extent: tuple[float, float] = Field(default=(0.1, 0.5), description="least and most of the chip's rows and columns")

    def apply(self, image: Image, rng: np.random.Generator) -> Image:
        """A copy of ``image`` with NaN in a rectangle."""
        height, width = image.shape[1:]
        rows, cols = (max(1, round(size * rng.uniform(*self.extent))) for size in (height, width))
        # It may hang over the edge, so that corners and borders are lost as often as the middle.
        top, left = rng.integers(1 - rows, height), rng.integers(1 - cols, width)
        result = image.copy()
        result[:, max(0, top) : top + rows, max(0, left) : left + cols] = np.nan
        return result


class Augmentation(Settings):
    """What is varied; a crop of 0, and a part whose ``on`` is false, is off."""

    crop: int = Field(default=0, ge=0, description="rows and columns of a random window, pixels; 0: the whole chip")
    turns: bool = Field(default=True, description="quarter turns")
    flips: bool = Field(default=True, description="left to right")
    warp: Warp = Field(default=Warp(), description="any angle and size, as nnU-Net does")
    quality: Quality = Field(default=Quality(), description="of images: noise, blur, gamma, … as nnU-Net does")
    radar: RadarJitter = Field(default=RadarJitter(), description="of images in dB")
    optical: OpticalJitter = Field(default=OpticalJitter(), description="of images in reflectance, or stretched")
    cut_out: CutOut = Field(default=CutOut(), description="of images in dB")
    pairs: bool = Field(
        default=False, description="change images of one unit alike, so that a cloudy image still fits its clear one"
    )
    missing: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        default_factory=dict, description="role → how often it is missing from a chip altogether; one of them at most"
    )

    def for_chips(
        self, modalities: Mapping[str, Modality], *, vary: Sequence[str], keep: Sequence[str] = ()
    ) -> "Augmenter":
        """What varies chips of ``modalities`` (role → modality).

        Each role of ``vary`` comes out under its own name, varied; each role of ``keep`` as ``clean_<role>``, with the
        geometry of the chip and its own radiometry, nothing cut. Other images are dropped.
        """
        return Augmenter(self, {role: modalities[role].unit for role in vary}, tuple(keep))


class Augmenter:
    """Varies one chip at a time; made by :meth:`Augmentation.for_chips`."""

    def __init__(self, config: Augmentation, units: Mapping[str, str], keep: Sequence[str]) -> None:
        self.config, self.units, self.keep = config, dict(units), tuple(keep)

    def __call__(self, chip: Chip, rng: np.random.Generator) -> Chip:
        """A varied copy of ``chip``; the same for the same state of ``rng``."""
        wanted = {role: image for role, image in chip.images.items() if role in self.units or role in self.keep}
        chip = _move(Chip(chip.key, wanted, chip.targets, chip.event, chip.place), self.config, rng)
        seed = int(rng.integers(2**32)) if self.config.pairs else 0
        images = {}
        for role, unit in self.units.items():
            # Where pairs stay pairs every image of a unit is given the same draws.
            draws = np.random.default_rng((seed, *unit.encode())) if self.config.pairs else rng
            images[role] = self._vary(unit, chip.images[role], draws)
        images |= self._lose(images, rng)
        images |= {CLEAN + role: chip.images[role] for role in self.keep}
        return Chip(chip.key, images, chip.targets, chip.event, chip.place)

    def _lose(self, images: Mapping[str, Image], rng: np.random.Generator) -> dict[str, Image]:
        """The one image that is missing from this chip, if any: all NaN."""
        if not self.config.missing:
            return {}
        draw, passed = rng.random(), 0.0
        for role, chance in self.config.missing.items():
            passed += chance
            if draw < passed:
                return {role: np.full_like(images[role], np.nan)}
        return {}

    def _vary(self, unit: str, image: Image, rng: np.random.Generator) -> Image:
        config = self.config
        if unit == "dB" and config.radar.on:
            image = config.radar.apply(image, rng)
        if unit == "dB" and config.cut_out.on and rng.random() < config.cut_out.probability:
            image = config.cut_out.apply(image, rng)
        if unit in ("reflectance", "relative") and config.optical.on:
            image = config.optical.apply(image, rng)
        if config.quality.on:
            image = config.quality.apply(image, rng)
        return image


def _move(chip: Chip, config: Augmentation, rng: np.random.Generator) -> Chip:
    """Crop, turn and flip images and targets alike; a target may have pixels of another size than the images."""
    scales = {name: Fraction(target.shape[0], chip.shape[0]) for name, target in chip.targets.items()}
    if config.crop and min(chip.shape) < config.crop:
        chip = _pad(chip, config.crop, scales)
    height, width = (config.crop, config.crop) if config.crop else chip.shape
    # A window must start between pixels of every target too.
    unit = lcm(*(scale.denominator for scale in scales.values()))
    spare = chip.shape[0] - height, chip.shape[1] - width
    top, left = (int(rng.integers(length // unit + 1)) * unit for length in spare)
    turns = int(rng.integers(4)) if config.turns else 0
    flip = bool(rng.integers(2)) if config.flips else False
    matrix = config.warp.draw(rng) if config.warp.on else np.eye(2)
    still = bool((matrix == np.eye(2)).all())

    def move(array: NDArray[T], scale: Fraction) -> NDArray[T]:
        row, col, rows, cols = (int(length * scale) for length in (top, left, height, width))
        cut = array[..., row : row + rows, col : col + cols]
        if not still:
            cut = warp(array, matrix, (top, left, height, width), scale)
        piece = np.rot90(cut, turns, axes=(-2, -1))
        return np.ascontiguousarray(piece[..., ::-1] if flip else piece)

    images = {role: move(image, Fraction(1)) for role, image in chip.images.items()}
    targets = {name: move(target, scales[name]) for name, target in chip.targets.items()}
    return Chip(chip.key, images, targets, chip.event, chip.place)


def _pad(chip: Chip, size: int, scales: Mapping[str, Fraction]) -> Chip:
    """``chip`` with at least ``size`` rows and columns; below and to the right of it nothing was seen."""

    def pad(array: NDArray[T], wanted: int, blank: float) -> NDArray[T]:
        lacking = [(0, max(0, wanted - length)) for length in array.shape[-2:]]
        return np.pad(array, [(0, 0)] * (array.ndim - 2) + lacking, constant_values=blank)

    images = {role: pad(image, size, np.nan) for role, image in chip.images.items()}
    targets = {name: pad(target, int(size * scales[name]), NODATA) for name, target in chip.targets.items()}
    return Chip(chip.key, images, targets, chip.event, chip.place)
