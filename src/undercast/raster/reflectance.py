"""What the numbers of an optical image mean: reflectance, counts, or counts with the offset of baseline 04.00.

Sentinel-2 counts are reflectance × 10000; from processing baseline 04.00 on (25 January 2022, and older images that
were processed anew) 1000 is added to them [ESA S2 PSD 14.9]. Counts taken for reflectance are all cloud, and an offset
that is missed makes every dark pixel a tenth brighter: both look like maps. So the form is never assumed: it is
declared and held against the numbers, or found from file and numbers and said aloud.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from undercast.errors import InputError
from undercast.raster.geotiff import Header

OpticalForm = Literal["reflectance", "counts", "counts-1000"]
"""What a file holds: reflectance, 0 to 1; counts, 10000 times that; or counts with 1000 added to them."""

COUNT = np.float32(1e-4)
ADDED = np.float32(1000)
DARKEST = 900.0
"""Counts with 1000 added lie below this where reflectance is below -0.01, which is nowhere but in noise."""
OFFSET_TAKEN = "BOA_OFFSET_APPLIED"
"""Tag, from the STAC item of a catalogue that has subtracted the 1000 itself: then the baseline says nothing."""
BASELINE_04 = datetime(2022, 1, 25, tzinfo=UTC)


def settle_form(
    sample: NDArray[np.float32], headers: Mapping[str, Header], declared: OpticalForm | None
) -> tuple[OpticalForm, str]:
    """What the bands of an image hold, and why.

    ``sample`` are values ``[C, N]`` as read, NaN where unseen; ``headers`` by band, in that order.

    Raises:
        InputError: the numbers contradict the declaration, or do not tell.
    """
    first = next(iter(headers.values()))
    seen = sample[np.isfinite(sample)]
    if not seen.size:
        return declared or "reflectance", "no value was seen, so it does not matter"
    middle = float(np.median(seen))
    text = f"the median of {seen.size} sampled values is {middle:.4g}"
    as_counts = middle >= 20
    if not as_counts and middle > 5:
        raise InputError(f"{first.path}: {text}, which is neither reflectance nor counts of a Sentinel-2 image")
    if declared:
        if (declared != "reflectance") != as_counts:
            like = "counts" if as_counts else "reflectance"
            raise InputError(f"{first.path}: declared as {declared}, but {text}, as of {like}; use --optical {like}")
        if declared == "counts-1000" and (dark := _too_dark(sample, headers)):
            raise InputError(f"{first.path}: declared as counts-1000, but {dark}; use --optical counts")
        return declared, f"declared: {text}"
    if not as_counts:
        return "reflectance", f"detected: {text}"
    return _find_offset(sample, headers, text)


def to_reflectance(values: NDArray[np.float32], form: OpticalForm) -> NDArray[np.float32]:
    """``values`` ``[C, H, W]`` float32 in ``form``, NaN where unseen, turned into reflectance in place and returned."""
    if form == "counts-1000":
        values -= ADDED
    if form != "reflectance":
        values *= COUNT
    return values


def _find_offset(sample: NDArray[np.float32], headers: Mapping[str, Header], text: str) -> tuple[OpticalForm, str]:
    first = next(iter(headers.values()))
    if dark := _too_dark(sample, headers):
        return "counts", f"detected: {text}; no offset of 1000, for {dark}"
    if first.tags.get(OFFSET_TAKEN) == "true":
        return "counts", f"detected: {text}; its STAC item says that the offset of 1000 was taken off"
    if baseline := _baseline(first):
        form: OpticalForm = "counts-1000" if baseline >= 400 else "counts"
        return form, f"detected: {text}; processing baseline {baseline // 100:02d}.{baseline % 100:02d} by {first.path}"
    if first.acquired and first.acquired < BASELINE_04:
        return "counts", f"detected: {text}; taken on {first.acquired:%Y-%m-%d}, before baseline 04.00"
    raise InputError(
        f"{first.path}: holds counts ({text}), and neither its name nor its darkest pixels tell whether 1000 was added "
        "to them, as from processing baseline 04.00 on; say it with --optical counts or --optical counts-1000"
    )


def _too_dark(sample: NDArray[np.float32], headers: Mapping[str, Header]) -> str:
    """Which band is darker than counts with an offset can be, in words; empty where none is."""
    for band, values in zip(headers, sample, strict=True):
        values = values[np.isfinite(values)]
        if values.size and (low := float(np.percentile(values, 1))) < DARKEST:
            return f"1 % of {band} is below {low:.0f}"
    return ""


def _baseline(header: Header) -> int:
    """The processing baseline that tags or name give, 400 for 04.00; 0 where neither does."""
    tagged = [value for key, value in header.tags.items() if key.upper().endswith("PROCESSING_BASELINE")]
    for text, pattern in [*((value, r"(\d\d)\.(\d\d)") for value in tagged), (header.path, r"_N(\d\d)(\d\d)[_./\\]")]:
        if match := re.search(pattern, text):
            return int(match[1]) * 100 + int(match[2])
    return 0
