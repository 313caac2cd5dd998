"""The fingerprint of the training images, against which a scene is held before its map is believed."""

from collections.abc import Sequence

import numpy as np

from undercast.chip import ChipSource
from undercast.signature import BandStatistics

CHIPS, PIXELS = 200, 4096


def training_domain(sources: Sequence[ChipSource], roles: Sequence[str]) -> dict[str, dict[str, BandStatistics]]:
    """How each band of ``roles`` is distributed over ``sources``, in its own unit: role → band → statistics.

    From at most 4096 pixels of each of at most 200 chips a source, evenly chosen; always the same for the same chips.
    A band that was seen nowhere is left out.
    """
    drawn: dict[str, list[np.ndarray[tuple[int, int], np.dtype[np.float32]]]] = {role: [] for role in roles}
    for source in sources:
        for number in np.unique(np.linspace(0, len(source) - 1, min(CHIPS, len(source))).astype(int)):
            images = source[int(number)].images
            for role in roles:
                pixels = images[role].reshape(len(images[role]), -1)
                drawn[role].append(pixels[:, :: max(1, pixels.shape[1] // PIXELS)])
    domain: dict[str, dict[str, BandStatistics]] = {}
    for role in roles:
        values = np.concatenate(drawn[role], axis=1)
        bands = zip(sources[0].modalities[role].bands, values, strict=True)
        domain[role] = {band: _statistics(seen) for band, row in bands if (seen := row[np.isfinite(row)]).size}
    return domain


def _statistics(values: np.ndarray[tuple[int], np.dtype[np.float32]]) -> BandStatistics:
    low, middle, high = (float(f"{value:.5g}") for value in np.percentile(values, (1, 50, 99)))
    mean, std = float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))
    return BandStatistics(mean=float(f"{mean:.5g}"), std=float(f"{std:.5g}"), p01=low, p50=middle, p99=high)
