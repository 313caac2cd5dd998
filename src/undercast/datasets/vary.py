"""What nnU-Net varies beyond flips and crops [Isensee 2021]: rotation and size, and how well the image was taken.

Probabilities and ranges are its own for two dimensions. Its noise is for images of deviation 1; here it is relative to
the deviation of the image, so that any unit will do. NaN stays NaN, and grows by a pixel where an image is resampled.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from undercast.config import Settings
from undercast.task import NODATA

Image = NDArray[np.float32]
T = TypeVar("T", bound=np.generic)


class Warp(Settings):
    """Any rotation and size about the middle of the window."""

    on: bool = Field(default=False, description="rotate and resize")
    rotation: float = Field(default=0.2, ge=0, le=1, description="probability of a rotation, by any angle")
    resize: float = Field(default=0.2, ge=0, le=1, description="probability of another size")
    sizes: tuple[float, float] = Field(default=(0.7, 1.4), description="ground shown beside that of the window, range")

    def draw(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """The matrix from offsets in the result to offsets in the chip, rows before columns; often the identity."""
        angle = rng.uniform(-np.pi, np.pi) if rng.random() < self.rotation else 0.0
        size = rng.uniform(*self.sizes) if rng.random() < self.resize else 1.0
        return size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def warp(
    array: NDArray[T], matrix: NDArray[np.float64], window: tuple[int, int, int, int], scale: Fraction
) -> NDArray[T]:
    """The ``window`` (top, left, rows, columns, in pixels of the images) of ``array`` ``[…, H, W]`` seen by ``matrix``.

    Images are interpolated, targets (uint8) take the nearest; beyond the chip is NaN or 255. ``scale`` is that of the
    array's pixels, rows and columns a pixel of the images.
    """
    top, left, rows, cols = (float(edge * scale) for edge in window)
    half = np.array([rows - 1, cols - 1]) / 2
    # The middle of the window stays where it is.
    offset = np.array([top, left]) + half - matrix @ half
    discrete = array.dtype == np.uint8
    planes = [
        ndimage.affine_transform(
            plane,
            matrix,
            offset,
            (round(rows), round(cols)),
            order=0 if discrete else 1,
            cval=NODATA if discrete else np.nan,
            prefilter=False,
        )
        for plane in array.reshape(-1, *array.shape[-2:])
    ]
    return np.stack(planes).reshape(*array.shape[:-2], round(rows), round(cols))


class Quality(Settings):
    """How well an image was taken: noise, blur, brightness, contrast, resolution, gamma; each with its probability."""

    on: bool = Field(default=False, description="change the quality of images")
    noise: float = Field(default=0.1, ge=0, le=1, description="probability of noise")
    variance: float = Field(default=0.1, ge=0, description="largest variance of the noise, that of the image being 1")
    blur: float = Field(default=0.2, ge=0, le=1, description="probability of blur, each band in half of these")
    sigma: tuple[float, float] = Field(default=(0.5, 1.0), description="of the blur, pixels, range")
    brightness: float = Field(default=0.15, ge=0, le=1, description="probability of another brightness")
    contrast: float = Field(default=0.15, ge=0, le=1, description="probability of another contrast")
    change: tuple[float, float] = Field(default=(0.75, 1.25), description="factor of brightness and contrast, range")
    coarse: float = Field(default=0.25, ge=0, le=1, description="probability of low resolution, half of the bands")
    zoom: tuple[float, float] = Field(default=(0.5, 1.0), description="resolution that is left, range")
    gamma: float = Field(default=0.3, ge=0, le=1, description="probability of a gamma curve")
    gamma_inverted: float = Field(default=0.1, ge=0, le=1, description="probability of one on the inverted image")
    exponents: tuple[float, float] = Field(default=(0.7, 1.5), description="of the gamma curve, range")

    def apply(self, image: Image, rng: np.random.Generator) -> Image:
        """A copy of ``image`` ``[C, H, W]`` in any unit, taken worse or otherwise; NaN stays NaN."""
        seen = np.isfinite(image)
        if not seen.any():
            return image
        # What was not seen is the band's mean meanwhile, so that filters have something to look at.
        filled = np.where(seen, image, _mean(image, seen))
        if rng.random() < self.noise:
            level = np.sqrt(rng.uniform(0, self.variance)) * filled.std(axis=(1, 2), keepdims=True)
            filled = filled + level.astype(np.float32) * rng.standard_normal(image.shape, np.float32)
        if rng.random() < self.blur:
            filled = self._each_second(
                filled, rng, lambda band: ndimage.gaussian_filter(band, rng.uniform(*self.sigma))
            )
        if rng.random() < self.brightness:
            filled = filled * rng.uniform(*self.change, (len(image), 1, 1)).astype(np.float32)
        if rng.random() < self.contrast:
            filled = self._contrast(filled, rng.uniform(*self.change, (len(image), 1, 1)).astype(np.float32))
        if rng.random() < self.coarse:
            filled = self._each_second(filled, rng, lambda band: _coarsened(band, rng.uniform(*self.zoom)))
        if rng.random() < self.gamma_inverted:
            filled = -_curved(-filled, rng.uniform(*self.exponents))
        if rng.random() < self.gamma:
            filled = _curved(filled, rng.uniform(*self.exponents))
        return np.where(seen, filled, np.float32(np.nan)).astype(np.float32)

    @staticmethod
    def _contrast(image: Image, factor: Image) -> Image:
        """Spread about the mean changed, within the range there was."""
        mean = image.mean(axis=(1, 2), keepdims=True)
        low, high = image.min(axis=(1, 2), keepdims=True), image.max(axis=(1, 2), keepdims=True)
        changed: Image = np.clip((image - mean) * factor + mean, low, high)
        return changed

    @staticmethod
    def _each_second(image: Image, rng: np.random.Generator, change: Callable[[Image], Image]) -> Image:
        """Each band changed with probability one half."""
        return np.stack([change(band) if rng.random() < 0.5 else band for band in image])


def _coarsened(band: Image, zoom: float) -> Image:
    """``band`` at the nearest pixels of a grid ``zoom`` times as fine, brought back by splines."""
    kept = [np.linspace(0, size - 1, max(2, round(size * zoom))).round().astype(int) for size in band.shape]
    factors = [size / len(rows) for size, rows in zip(band.shape, kept, strict=True)]
    return np.asarray(ndimage.zoom(band[np.ix_(*kept)], factors, order=3), np.float32)


def _curved(image: Image, exponent: float) -> Image:
    """Each band's values raised to ``exponent`` within its range; mean and deviation stay."""
    low, high = image.min(axis=(1, 2), keepdims=True), image.max(axis=(1, 2), keepdims=True)
    curved = ((image - low) / np.maximum(high - low, 1e-7)) ** np.float32(exponent)
    mean, deviation = curved.mean(axis=(1, 2), keepdims=True), curved.std(axis=(1, 2), keepdims=True)
    back: Image = (curved - mean) / np.maximum(deviation, 1e-7) * image.std(axis=(1, 2), keepdims=True)
    back += image.mean(axis=(1, 2), keepdims=True)
    return back


def _mean(image: Image, seen: NDArray[np.bool_]) -> Image:
    count = np.maximum(seen.sum(axis=(1, 2), keepdims=True), 1)
    mean: Image = (image.sum(axis=(1, 2), keepdims=True, where=seen) / count).astype(np.float32)
    return mean
