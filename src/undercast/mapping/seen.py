"""Which of its images a model had at every pixel, and where that was too little: cloud, and no radar below it."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from undercast.predict import AnsweredBlock
from undercast.predict.tiles import touched
from undercast.product.codes import CodeConfig
from undercast.signature import Signature
from undercast.task import NODATA

FILL = 65535
"""Of a restored image in whole ten-thousandths: nothing to be seen there."""
PARTS = np.float32(10_000)


def flags_of(seen: Mapping[str, NDArray[np.bool_]], roles: Sequence[str]) -> NDArray[np.uint8]:
    """Which of ``roles`` were seen, ``[h, w]`` uint8: 1 for the first, 2 for the second, 4 …; 255 where none was."""
    shape = next(iter(seen.values())).shape
    flags = np.zeros(shape, np.uint8)
    for bit, role in enumerate(roles):
        if role in seen:
            flags |= seen[role].view(np.uint8) << np.uint8(bit)
    flags[flags == 0] = NODATA
    return flags


def declined(block: AnsweredBlock, signature: Signature, config: CodeConfig) -> NDArray[np.bool_] | None:
    """Where cloud hides the ground from the only image there is, and the answer is a guess: ``[h, w]`` bool.

    Three things together: of all its images the model saw the one alone that it restores; that is brighter than it
    would be under a clear sky, as the model restores it, by ``cloud_excess`` in the mean of its bands; and the
    likeliest class has less than ``cloud_likelihood``. A pixel of the answer is cloudy where any pixel it touches is.
    None where the model restores nothing, or did not see the image.
    """
    role = signature.restores
    if role is None or block.restored is None:
        return None
    with np.errstate(invalid="ignore"):
        excess = (block.images[role] - block.restored).mean(axis=0)
        cloudy = touched(excess > np.float32(config.cloud_excess), signature.task.scale)
        guess = block.probabilities.max(axis=0) < np.float32(config.cloud_likelihood)
    alone = block.seen[role].copy()
    for other, seen in block.seen.items():
        if other != role:
            alone &= ~seen
    return np.asarray(cloudy & guess & alone, np.bool_)


def restored_counts(
    block: AnsweredBlock, signature: Signature, codes_declined: NDArray[np.bool_] | None
) -> NDArray[np.uint16] | None:
    """The restored image of a block in whole ten-thousandths ``[C, H, W]``; 65535 where it was not seen or is declined.

    What the model would make up of an optical image where none was taken is no measurement, and left out.
    """
    if block.restored is None or signature.restores is None:
        return None
    image = block.images[signature.restores]
    with np.errstate(invalid="ignore"):
        counts = np.rint(np.clip(block.restored, 0, 6) * PARTS)
    hidden = np.isnan(counts).any(axis=0) | np.isnan(image).any(axis=0)
    if codes_declined is not None and codes_declined.any():
        hidden |= under(codes_declined, signature, hidden.shape)
    counts[:, hidden] = FILL
    return np.asarray(counts, np.uint16)


def under(mask: NDArray[np.bool_], signature: Signature, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """``mask`` of the answer ``[h, w]`` on the grid of the image: the answer's pixel that holds each pixel's centre."""
    scale = signature.task.scale
    if scale == 1:
        return mask
    rows, cols = (
        (2 * np.arange(length) + 1) * scale.numerator // (2 * scale.denominator) for length in (shape[0], shape[1])
    )
    return np.asarray(mask[rows[:, None], cols[None, :]])


def reflectance(counts: NDArray[np.uint16]) -> NDArray[np.float32]:
    """What :func:`restored_counts` gave as reflectance, NaN where there is nothing."""
    return np.where(counts == FILL, np.float32(np.nan), counts / PARTS).astype(np.float32)
