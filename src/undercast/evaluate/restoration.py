"""How near a restored image comes to the one taken under a clear sky: PSNR and SSIM, over the pixels one asks for."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

RADIUS = 5
SIGMA = 1.5
"""The window of SSIM: a Gaussian of 11 × 11 pixels [Wang 2004]."""

Image = NDArray[np.float32]


def psnr(image: Image, clear: Image, where: NDArray[np.bool_] | None = None) -> float:
    """Peak signal-to-noise ratio in dB of ``image`` ``[C, H, W]`` against ``clear``, both 0 to 1 (the peak is 1).

    Over the pixels of ``where`` ``[H, W]`` bool (all if not given) that both saw; NaN where there is none, infinite
    where they are equal.
    """
    both = _both(image, clear, where)
    if not both.any():
        return float("nan")
    error = float(np.square((image - clear)[:, both], dtype=np.float64).mean())
    return float("inf") if error == 0 else -10 * float(np.log10(error))


def ssim(image: Image, clear: Image, where: NDArray[np.bool_] | None = None) -> float:
    """Structural similarity of ``image`` ``[C, H, W]`` and ``clear``, both 0 to 1: 1 where they are equal [Wang 2004].

    The mean over bands and over the pixels of ``where`` whose window of 11 × 11 both saw; NaN where there is none.
    """
    unseen = ~_both(image, clear, None)
    whole = ~ndimage.binary_dilation(unseen, np.ones((2 * RADIUS + 1, 2 * RADIUS + 1), bool))
    counted = whole if where is None else whole & where
    if not counted.any():
        return float("nan")
    bands = [[np.where(unseen, 0, band).astype(np.float64) for band in pair] for pair in zip(image, clear, strict=True)]
    return float(np.mean([_similarity(*pair)[counted].mean() for pair in bands]))


def _similarity(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    def smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(ndimage.gaussian_filter(values, SIGMA, radius=RADIUS, mode="reflect"))

    first, second = smooth(one), smooth(other)
    spread_one, spread_other = smooth(one * one) - first**2, smooth(other * other) - second**2
    common = smooth(one * other) - first * second
    little, less = 0.01**2, 0.03**2  # of a range of 1
    above = (2 * first * second + little) * (2 * common + less)
    below = (first**2 + second**2 + little) * (spread_one + spread_other + less)
    return np.asarray(above / below)


def _both(image: Image, clear: Image, where: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    seen = np.isfinite(image).all(axis=0) & np.isfinite(clear).all(axis=0)
    return np.asarray(seen if where is None else seen & where, np.bool_)
