"""Random fields: the raw material of relief, cover, gusts, clouds and speckle.

Smooth fields are made on a coarse grid by shaping white noise in the Fourier domain and brought to full size with
B-splines, so that a chip costs a fraction of a millisecond a field and a large scene stays within memory.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft, sparse

Array = NDArray[np.float32]
Shape = tuple[int, int]

COARSE = 4
"""Pixels between nodes of the coarse grid."""


def generator(seed: int, part: str) -> np.random.Generator:
    """The stream of random numbers of one ``part`` of the scene ``seed``: leaving out a part changes no other."""
    return np.random.Generator(np.random.SFC64([seed, *part.encode()]))


def nodes(length: int, spacing: int = COARSE) -> int:
    """Coarse nodes that :func:`upsample` needs for ``length`` pixels; node ``k`` lies on pixel ``(k-1)·spacing``."""
    return (length - 1) // spacing + 4


def coarse_shape(shape: Shape, spacing: int = COARSE) -> Shape:
    """Shape of the coarse grid under an image of ``shape``."""
    return nodes(shape[0], spacing), nodes(shape[1], spacing)


def upsample(coarse: Array, shape: Shape, spacing: int = COARSE, *, smooth: bool = True) -> Array:
    """``coarse`` at every pixel, float32 ``shape``: cubic B-spline where ``smooth``, else linear between nodes."""
    rows, columns = _weights(shape[0], spacing, smooth), _weights(shape[1], spacing, smooth)
    across = (columns @ np.ascontiguousarray(coarse.T)).T
    return rows @ np.ascontiguousarray(across)  # type: ignore[no-any-return]


@lru_cache(maxsize=64)
def _weights(length: int, spacing: int, smooth: bool) -> sparse.csr_matrix:
    position = np.arange(length) / spacing
    first = np.floor(position).astype(np.int32)
    t = position - first
    if smooth:
        parts = [(1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6]
        columns = first[:, None] + np.arange(4)
    else:
        parts = [1 - t, t]
        columns = first[:, None] + np.arange(1, 3)
    weights = np.stack(parts, axis=1).astype(np.float32)
    start = np.arange(length + 1) * weights.shape[1]
    return sparse.csr_matrix((weights.ravel(), columns.ravel(), start), (length, nodes(length, spacing)))


def spectral(
    rng: np.random.Generator, shape: Shape, wavelength: float, exponent: float, stretch: tuple[float, float] = (1, 1)
) -> Array:
    """A Gaussian field of mean 0 and variance 1 whose power falls as ``frequency ** -exponent``, float32 ``shape``.

    Power is flat at wavelengths above ``wavelength`` (grid steps), so that is the size of the largest features; an
    ``exponent`` of 3 gives fractal relief, 5 smooth blobs. ``stretch`` lengthens features along rows and columns.
    """
    size = _fast(shape[0]), _fast(shape[1])
    white = rng.standard_normal((size[0], size[1] // 2 + 1, 2), np.float32).view(np.complex64)[..., 0]
    white *= _amplitude(size, wavelength, exponent, stretch)
    field = fft.irfft2(white, size, workers=1)
    return np.ascontiguousarray(field[: shape[0], : shape[1]])


def _fast(length: int) -> int:
    """A quick length to transform, longer than ``length`` so that opposite edges do not match."""
    return int(fft.next_fast_len(int(length * 1.15) + 6, real=True))


@lru_cache(maxsize=24)
def _amplitude(size: Shape, wavelength: float, exponent: float, stretch: tuple[float, float]) -> Array:
    """What white noise of half a plane is multiplied with, so that the field has variance 1."""
    rows = np.fft.fftfreq(size[0])[:, None].astype(np.float32) * np.float32(stretch[0] * wavelength)
    columns = np.fft.rfftfreq(size[1])[None, :].astype(np.float32) * np.float32(stretch[1] * wavelength)
    amplitude: Array = (1 + rows * rows + columns * columns) ** np.float32(-exponent / 4)
    amplitude[0, 0] = 0
    energy = 4 * np.square(amplitude, dtype=np.float64).sum()
    amplitude *= np.float32(np.prod(size) / np.sqrt(energy))
    return amplitude


def fractal(
    rng: np.random.Generator,
    shape: Shape,
    wavelength: float,
    exponent: float = 3.0,
    *,
    spacing: int = COARSE,
    stretch: tuple[float, float] = (1, 1),
) -> Array:
    """:func:`spectral` with ``wavelength`` in pixels, made on nodes ``spacing`` apart and brought to ``shape``."""
    if spacing == 1:
        return spectral(rng, shape, wavelength, exponent, stretch)
    return upsample(
        spectral(rng, coarse_shape(shape, spacing), wavelength / spacing, exponent, stretch), shape, spacing
    )


def blur(image: Array, sigma_rows: float, sigma_columns: float) -> Array:
    """``image`` smoothed by a Gaussian, without its outermost :data:`REACH` rows and columns."""
    down = _kernel(sigma_rows)
    across = _kernel(sigma_columns)
    height, width = image.shape[0] - 2 * REACH, image.shape[1] - 2 * REACH
    rows = image[REACH : REACH + height] * down[0]
    for k in range(1, REACH + 1):
        rows += (image[REACH - k : REACH - k + height] + image[REACH + k : REACH + k + height]) * down[k]
    out: Array = rows[:, REACH : REACH + width] * across[0]
    for k in range(1, REACH + 1):
        out += (rows[:, REACH - k : REACH - k + width] + rows[:, REACH + k : REACH + k + width]) * across[k]
    return out


REACH = 3
"""Half length of the kernel of :func:`blur`, pixels: enough for a sigma up to 1.2."""


def _kernel(sigma: float) -> Array:
    half = np.exp(-0.5 * (np.arange(REACH + 1) / max(sigma, 1e-3)) ** 2)
    kernel: Array = (half / (half[0] + 2 * half[1:].sum())).astype(np.float32)
    return kernel


def white(rng: np.random.Generator, shape: Shape, sigma_rows: float, sigma_columns: float) -> Array:
    """Gaussian noise of variance 1, float32 ``shape``; its autocorrelation is a Gaussian ``sqrt(2)·sigma`` wide."""
    field = blur(
        rng.standard_normal((shape[0] + 2 * REACH, shape[1] + 2 * REACH), np.float32), sigma_rows, sigma_columns
    )
    energy = 1.0
    for sigma in (sigma_rows, sigma_columns):
        kernel = _kernel(sigma).astype(np.float64)
        energy *= kernel[0] ** 2 + 2 * (kernel[1:] ** 2).sum()
    return field * np.float32(1 / np.sqrt(energy))


def level(field: Array, share: float) -> float:
    """The value that ``share`` (0 to 1) of ``field`` lies below, from at most some thousands of its pixels."""
    if share <= 0:
        return -np.inf
    if share >= 1:
        return np.inf
    step = max(1, int(np.sqrt(field.size / 4e3)))
    return float(np.quantile(field[::step, ::step], share))


def uniform_of(number: NDArray[np.int32], salt: int) -> Array:
    """A number in [0, 1) for each integer, the same for the same integer and ``salt``: a property of a parcel."""
    mixed = number.astype(np.uint32) * np.uint32(0x9E3779B1) + np.uint32((salt * 0x85EBCA77) & 0xFFFFFFFF)
    mixed ^= mixed >> np.uint32(15)
    mixed *= np.uint32(0x2C1B3C6D)
    mixed ^= mixed >> np.uint32(12)
    mixed *= np.uint32(0x297A2D39)
    mixed ^= mixed >> np.uint32(15)
    return (mixed >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)
