"""What the numbers of a radar image mean: what was not seen, and whether they are dB or linear power.

A flood map of linear power taken for dB is all water, and one of dB taken for power is all dry: both look like maps.
So the unit is never assumed: it is declared, and held against the numbers, or found from the numbers and said aloud.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from undercast.bands import to_decibel
from undercast.errors import InputError

RadarUnit = Literal["dB", "power"]

POSSIBLE_DECIBEL = (-90.0, 60.0)
"""No radar measures backscatter outside: what lies there is a fill value that nobody declared (-9999, 1e20)."""

FILLS = 8
"""Values outside that may all be fills."""


@dataclass(frozen=True)
class Evidence:
    """What the sampled numbers of one band look like, and why; ``unit`` is None where they do not tell."""

    unit: Literal["dB", "power", "counts"] | None
    text: str
    seen: bool


def judge(sample: NDArray[np.float32], integers: bool) -> Evidence:
    """What a sample of one band, finite and with fill values as NaN, looks like.

    Backscatter in dB is negative for all but the brightest targets; linear power is never negative and its median lies
    well under 1; digital numbers are integers, or in the tens to thousands. ``integers``: the file stores whole numbers
    without a scale.
    """
    stored = sample[np.isfinite(sample) & (sample != 0)]
    values = stored[stored > POSSIBLE_DECIBEL[0]]
    # a fill value that nobody declared is one or a few; an image has many
    if integers and 2 * values.size < stored.size and np.unique(stored).size > FILLS:
        text = f"whole numbers with a median of {np.median(stored):.4g}; of dB times 100, say so by a scale of 0.01"
        return Evidence("counts", text, seen=True)
    if values.size == 0:
        return Evidence(None, "no value was seen", seen=False)
    negative, median = float((values < 0).mean()), float(np.median(values))
    text = f"{negative:.0%} of {values.size} sampled values are negative, their median is {median:.4g}"
    if integers:
        return Evidence("counts", f"whole numbers, {text}", seen=True)
    if negative >= 0.5:
        return Evidence("dB", text, seen=True)
    if negative <= 0.01 and median <= 2:
        return Evidence("power", text, seen=True)
    if negative <= 0.01 and median >= 20:
        return Evidence("counts", text, seen=True)
    return Evidence(None, text, seen=True)


def settle_unit(
    evidence: dict[str, Evidence], declared: RadarUnit | None, files: dict[str, str]
) -> tuple[RadarUnit, str]:
    """The unit of an image and why, from what each band looks like and what the user declared.

    ``evidence`` and ``files`` are by band name.

    Raises:
        InputError: the bands hold digital numbers, contradict one another or the declaration, or do not tell.
    """
    for band, found in evidence.items():
        if found.unit == "counts":
            raise InputError(
                f"{files[band]}: band {band} holds raw digital numbers ({found.text}); "
                "calibrate it to sigma0 or gamma0 in dB or linear power first (SNAP, pyroSAR)"
            )
    units = {band: found.unit for band, found in evidence.items() if found.unit}
    if len(set(units.values())) > 1:
        parts = " but ".join(f"band {band} looks like {unit} ({evidence[band].text})" for band, unit in units.items())
        raise InputError(f"{next(iter(files.values()))}: {parts}; give both bands in one unit")
    why = "; ".join(f"{band}: {found.text}" for band, found in evidence.items())
    if units:
        band, unit = next(iter(units.items()))
        if declared and declared != unit:
            option = "db" if unit == "dB" else "power"
            raise InputError(
                f"{files[band]}: declared as {declared}, but band {band} looks like {unit} ({evidence[band].text}); "
                f"use --unit {option}"
            )
        return ("dB" if unit == "dB" else "power"), f"{'declared' if declared else 'detected'}: {why}"
    if declared:
        return declared, f"declared: {why}"
    if any(found.seen for found in evidence.values()):
        band = next(band for band, found in evidence.items() if found.seen)
        raise InputError(
            f"{files[band]}: cannot tell whether band {band} is dB or linear power ({evidence[band].text}); "
            "say it with --unit db or --unit power"
        )
    return "dB", "no value was seen, so the unit does not matter"


def unseen_to_nan(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Infinities, and zeros in every band at once, made NaN: ``[C, H, W]`` float32, changed in place and returned.

    Zero in every band is how processors fill the border of a scene when they declare nothing.
    """
    np.copyto(values, np.nan, where=np.isinf(values))
    return _zeros_to_nan(values)


def to_backscatter(values: NDArray[np.float32], unit: RadarUnit) -> NDArray[np.float32]:
    """dB with NaN where nothing was seen, from ``[C, H, W]`` float32 in ``unit`` with fill values as NaN."""
    if unit == "power":
        values = to_decibel(unseen_to_nan(values))
    low, high = POSSIBLE_DECIBEL
    if values.size and not (values.min() >= low and values.max() <= high):
        possible = values >= low
        possible &= values <= high  # neither infinities nor NaN are
        np.copyto(values, np.nan, where=~possible)
    return _zeros_to_nan(values) if unit == "dB" else values


def _zeros_to_nan(values: NDArray[np.float32]) -> NDArray[np.float32]:
    zero = values == 0
    if zero.any():
        np.copyto(values, np.nan, where=(zero | np.isnan(values)).all(axis=0))
    return values
