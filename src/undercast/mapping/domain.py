"""Whether a scene looks like what its model was trained on: a network answers anything, and knows not what it knows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from undercast.config import Settings
from undercast.errors import InputError
from undercast.raster.scene import Scene
from undercast.raster.windows import Window
from undercast.signature import BandStatistics, Signature

SIDES = (8, 32)
"""Patches along each side of a scene that are looked at; the second where those of the first show nothing."""
PATCH = 64
"""Rows and columns of a patch."""
POLARISATIONS = (("VV", "VH"), ("HH", "HV"))
"""Like and cross: what comes back as it was sent, and what has been turned, which on any ground is less."""
SWAPPED = 0.9
"""Share of pixels on which the cross-polarised band may be the stronger one; noise makes it so here and there."""


class DomainConfig(Settings):
    """When a scene, or a pixel, is outside what the model was trained on."""

    policy: Literal["flag", "refuse", "off"] = Field(
        default="flag", description="a scene outside: flag it in the summary, or refuse it; off: pixels neither"
    )
    maximum_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="a scene is outside where more of a band lies beyond the 1st and 99th percentile of training",
    )
    beyond: float = Field(
        default=4.0,
        ge=0,
        description="a pixel is outside (code 252) so far beyond those percentiles, standard deviations of training",
    )


@dataclass(frozen=True)
class Guard:
    """What a scene was found to be, and the limits of its pixels.

    ``found`` is for the summary: ``verdict`` (``inside``, ``outside`` or ``not checked``), and by role and band the
    median and the share of pixels beyond the training percentiles. ``limits`` are lowest and highest by role,
    ``[C, 1, 1]`` each.
    """

    found: Mapping[str, Any]
    notes: tuple[str, ...]
    limits: Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32]]]

    @classmethod
    def of(cls, scene: Scene, signature: Signature, config: DomainConfig) -> "Guard":
        """Hold ``scene`` against the training of ``signature``, from the same pixels however the work is cut.

        Raises:
            InputError: the scene is outside, and the policy is to refuse it.
        """
        if config.policy == "off":
            return cls({"verdict": "not checked", "why": "switched off"}, (), {})
        bands: dict[str, Any] = {}
        notes = []
        for role, image in scene.images.items():
            domain = signature.training_domain
            known = domain.get(role, domain.get(role.removesuffix("_pre"), {}))
            pair = next((pair for pair in POLARISATIONS if set(pair) <= set(image.modality.bands)), None)
            sample = _sample(scene, role) if known or pair else np.empty((0, 0), np.float32)
            if pair and (swapped := _swapped(role, pair, sample[image.modality.index(pair)])):
                notes.append(swapped)
            for channel, band in enumerate(image.modality.bands if known else ()):
                values = sample[channel][np.isfinite(sample[channel])]
                if band not in known or not values.size:
                    continue
                seen = _compare(values, known[band])
                bands.setdefault(role, {})[band] = seen
                if seen["share_beyond"] > config.maximum_share:
                    notes.append(_sentence(f"{role} {band}", seen, known[band], image.modality.unit))
        if notes and config.policy == "refuse":
            raise InputError(f"{scene.name}: {notes[0]}; map it all the same with --set domain.policy=flag")
        limits = _limits(signature, config.beyond)
        if not bands and not notes:
            looked = "nothing was seen where it was looked at"
            why = looked if signature.training_domain else "the model does not say what it was trained on"
            return cls({"verdict": "not checked", "why": why}, (), limits)
        return cls({"verdict": "outside" if notes else "inside", "bands": bands}, tuple(notes), limits)

    @classmethod
    def of_pixels(cls, signature: Signature, config: DomainConfig) -> "Guard":
        """Only the limits of pixels, for a scene that cannot be looked at beforehand."""
        limits = {} if config.policy == "off" else _limits(signature, config.beyond)
        return cls({"verdict": "not checked", "why": "the scene was not there yet"}, (), limits)

    def outside(self, images: Mapping[str, NDArray[np.float32]]) -> NDArray[np.bool_]:
        """Where any band of a block, ``[C, h, w]`` by role, is beyond the limits: ``[h, w]`` bool."""
        outside = np.zeros(next(iter(images.values())).shape[1:], np.bool_)
        for role, limits in self.limits.items():
            if role not in images:
                continue
            with np.errstate(invalid="ignore"):
                for band, low, high in zip(images[role], *limits, strict=True):
                    outside |= band < low
                    outside |= band > high
        return outside


def _limits(signature: Signature, beyond: float) -> dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]:
    limits = {}
    for role, known in signature.training_domain.items():
        if role in signature.inputs:
            each = [known.get(band) for band in signature.inputs[role].bands]
            low = [band.p01 - beyond * band.std if band else -np.inf for band in each]
            high = [band.p99 + beyond * band.std if band else np.inf for band in each]
            limits[role] = np.array(low, np.float32)[:, None, None], np.array(high, np.float32)[:, None, None]
    return limits


def _swapped(role: str, pair: tuple[str, str], values: NDArray[np.float32]) -> str | None:
    """A sentence where the like-polarised band of ``values`` ``[2, N]`` is mostly the weaker one; None where not."""
    seen = np.isfinite(values).all(axis=0)
    share = float((values[0, seen] < values[1, seen]).mean()) if seen.any() else 0.0
    if share <= SWAPPED:
        return None
    like, cross = pair
    return (
        f"{role} {like} lies below {cross} on {share:.0%} of its pixels, as of no ground there is; "
        f"they seem swapped, say which is which by {role}:{like}=FILE@1 {role}:{cross}=FILE@2 or the other way round"
    )


def _compare(values: NDArray[np.float32], known: BandStatistics) -> dict[str, float]:
    beyond = float(((values < np.float32(known.p01)) | (values > np.float32(known.p99))).mean())
    return {"median": float(f"{np.median(values):.5g}"), "share_beyond": round(beyond, 4)}


def _sentence(name: str, seen: Mapping[str, float], known: BandStatistics, unit: str) -> str:
    return (
        f"{name} is outside what the model was trained on: {seen['share_beyond']:.0%} of its pixels lie beyond "
        f"{known.p01:g} to {known.p99:g} {unit}, their median is {seen['median']:g}; check unit, calibration and bands"
    )


def _sample(scene: Scene, role: str) -> NDArray[np.float32]:
    """Values ``[C, N]`` of patches spread evenly over the scene."""
    height, width = scene.shape
    values = np.empty((0, 0), np.float32)
    for side in SIDES:
        rows, cols = _starts(height, side), _starts(width, side)
        windows = [Window(row, col, PATCH, PATCH).clip(scene.shape) for row in rows for col in cols]
        patches = [scene.read(window, [role])[role] for window in windows]
        values = np.concatenate([patch.reshape(len(patch), -1) for patch in patches], axis=1)
        if np.isfinite(values).any():
            break
    return values


def _starts(size: int, count: int) -> list[int]:
    """Where ``count`` patches that do not overlap begin, from end to end; all of them where they are no more."""
    if size <= count * PATCH:
        return list(range(0, size, PATCH))
    return [int(start) for start in np.linspace(0, size - PATCH, count)]
