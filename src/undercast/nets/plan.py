"""A data set's fingerprint → the plan of a network that suits it and fits the memory there is [Isensee 2021].

nnU-Net's rules for two dimensions, on any bands: the patch is the median image; stages halve it while an edge is 8 or
more; the largest batch whose convolutions' outputs fit the budget, at most 5 % of all pixels, at least 2; where even
two patches do not fit, the patch shrinks. Ours: images with unequal edges are halved as often as the shorter one
allows, so that one stride serves both; the budget may be far below a GPU's, for a teacher a processor can train; and
the patch may be held small, so that a small budget goes into more patches a step.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from undercast.chip import ChipSource
from undercast.config import Settings
from undercast.errors import ConfigError, InputError
from undercast.nets.nnunet import NNUNetConfig
from undercast.task import NODATA

PIXELS = 10_000
"""Foreground pixels drawn of a chip."""

REFERENCE = 85e6
"""Elements of all convolutions' outputs of one patch with which a batch of 12 fills 8 GiB."""
REFERENCE_BATCH, REFERENCE_GIB = 12, 8.0


class BandFingerprint(BaseModel):
    """One band's values where the label is foreground, in its unit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: float
    std: float
    median: float
    least: float
    most: float
    p005: float = Field(description="percentile 0.5")
    p995: float = Field(description="percentile 99.5")


class Fingerprint(BaseModel):
    """What a plan is made of: how many chips, how large, what values, which classes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chips: int = Field(ge=1)
    shape: tuple[int, int] = Field(description="median rows and columns")
    classes: dict[str, float] = Field(description="class → share of the labelled pixels")
    bands: dict[str, dict[str, BandFingerprint]] = Field(description="role → band")

    @property
    def channels(self) -> int:
        """Bands of all roles together."""
        return sum(len(bands) for bands in self.bands.values())


class PlannerConfig(Settings):
    """What the planner may spend, and nnU-Net's own numbers."""

    memory_gib: float = Field(default=8.0, gt=0, description="memory the training may take on nnU-Net's scale, GiB")
    base: int = Field(default=32, ge=1, description="channels of the first stage")
    max_channels: int = Field(default=512, ge=1, description="channels are not doubled beyond this (480 in version 1)")
    least_edge: int = Field(default=4, ge=1, description="of the lowest resolution, pixels")
    most_edge: int = Field(default=0, ge=0, description="of a patch, pixels; 0: that of the median image, as nnU-Net's")
    least_batch: int = Field(default=2, ge=1, description="patches a step")
    covered: float = Field(default=0.05, gt=0, le=1, description="most of the data set's pixels a step may see")
    normalisation: Literal["image", "global"] = Field(
        default="image", description="image: each band of each image to mean 0, deviation 1; global: one range for all"
    )
    norm: Literal["instance", "batch"] = Field(default="instance", description="after every convolution")


class Plan(BaseModel):
    """A network and how to feed it; ``elements`` are those of all convolutions' outputs for one patch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    patch: tuple[int, int]
    batch: int
    normalisation: Literal["image", "global"]
    ranges: dict[str, tuple[tuple[float, float], ...]] = Field(description="role → (low, high) a band")
    body: NNUNetConfig
    parameters: int
    elements: int


def fingerprint(source: ChipSource, target: str, roles: Sequence[str]) -> Fingerprint:
    """Read every chip of ``source`` that is labelled with ``target``, and say how the data set is.

    Foreground is every class but 0; a chip without any gives pixels of class 0, so that an empty data set has a
    fingerprint too.

    Raises:
        InputError: no chip has a labelled pixel that was seen.
    """
    shapes, counts = [], np.zeros(len(source.task), np.int64)
    drawn: dict[str, list[np.ndarray[tuple[int, int], np.dtype[np.float32]]]] = {role: [] for role in roles}
    for number in range(len(source)):
        chip = source[number]
        if target not in chip.targets:
            continue
        label = chip.targets[target]
        known = (label != NODATA) & np.logical_and.reduce([chip.valid(role) for role in roles])
        if not known.any():
            continue
        shapes.append(chip.shape)
        counts += np.bincount(label[known], minlength=len(source.task))[: len(source.task)]
        front = known & (label > 0)
        pixels = np.flatnonzero(front if front.any() else known)
        pixels = pixels[:: max(1, len(pixels) // PIXELS)]
        for role in roles:
            drawn[role].append(chip.images[role].reshape(len(chip.images[role]), -1)[:, pixels])
    if not shapes:
        raise InputError(f"no chip has a labelled pixel of '{target}', so there is nothing to plan for")
    shares = dict(zip((label.name for label in source.task.classes), counts / counts.sum(), strict=True))
    return Fingerprint(
        chips=len(shapes),
        shape=tuple(int(edge) for edge in np.median(np.array(shapes), axis=0)),  # type: ignore[arg-type]
        classes={name: round(float(share), 6) for name, share in shares.items()},
        bands={
            role: dict(zip(source.modalities[role].bands, map(_band, np.concatenate(drawn[role], axis=1)), strict=True))
            for role in roles
        },
    )


def _band(values: np.ndarray[tuple[int], np.dtype[np.float32]]) -> BandFingerprint:
    low, middle, high = np.percentile(values, (0.5, 50, 99.5))
    found = (values.mean(dtype=np.float64), values.std(dtype=np.float64), middle, values.min(), values.max(), low, high)
    return BandFingerprint(
        **dict(zip(BandFingerprint.model_fields, (float(f"{value:.5g}") for value in found), strict=True))
    )


def make_plan(found: Fingerprint, config: PlannerConfig | None = None) -> Plan:
    """The plan for a data set of that fingerprint.

    Raises:
        ConfigError: the budget does not hold two patches of the least size, or the images are below it.
    """
    config = config or PlannerConfig()
    budget = REFERENCE * config.memory_gib / REFERENCE_GIB
    classes = len(found.classes)
    most = config.most_edge or max(found.shape)
    patch = min(found.shape[0], most), min(found.shape[1], most)
    stages = stages_of(patch, config.least_edge)
    if stages < 2:
        raise ConfigError(f"images of {patch[0]}×{patch[1]} are too small to plan for (least_edge {config.least_edge})")
    patch = _divisible(patch, stages)
    while (elements := elements_of(patch, _body(config, stages), classes)) / REFERENCE_BATCH * 2 > budget:
        patch = _shrunk(patch, found.shape, 2 ** (stages - 1))
        stages = stages_of(patch, config.least_edge)
        if stages < 2:
            raise ConfigError(f"memory_gib = {config.memory_gib:g} holds no patch of the least size; raise it")
        patch = _divisible(patch, stages)
    covered = found.chips * found.shape[0] * found.shape[1] * config.covered / (patch[0] * patch[1])
    batch = max(min(round(budget / elements * REFERENCE_BATCH), round(covered)), config.least_batch)
    body = _body(config, stages)
    return Plan(
        patch=patch,
        batch=batch,
        normalisation=config.normalisation,
        ranges={role: tuple((band.p005, band.p995) for band in bands.values()) for role, bands in found.bands.items()},
        body=body,
        parameters=parameters_of(body, found.channels, classes),
        elements=elements,
    )


def stages_of(patch: tuple[int, int], least_edge: int = 4) -> int:
    """Resolutions of a network for ``patch``: it is halved while the shorter edge stays at ``least_edge`` or more."""
    edge, stages = min(patch), 1
    while edge >= 2 * least_edge:
        edge, stages = edge // 2, stages + 1
    return stages


def elements_of(patch: tuple[int, int], body: NNUNetConfig, classes: int) -> int:
    """Elements of the outputs of all convolutions for one patch, with the head of the full resolution."""
    pixels = patch[0] * patch[1]
    planes = [channels * (pixels >> 2 * stage) for stage, channels in enumerate(body.channels)]
    # On the way up each stage has a transposed convolution more.
    return body.depth * sum(planes) + (body.depth + 1) * sum(planes[:-1]) + classes * pixels


def parameters_of(body: NNUNetConfig, channels: int, classes: int) -> int:
    """Parameters as nnU-Net counts them: with a head at every stage of the decoder, the one it weighs 0 included."""
    widths = body.channels
    total, before = 0, channels
    for width in widths:
        total += _convolutions(before, width, body.depth)
        before = width
    for beside, below in pairwise(widths):
        total += 4 * below * beside + beside + _convolutions(2 * beside, beside, body.depth) + classes * (beside + 1)
    return total


def _convolutions(before: int, after: int, depth: int) -> int:
    """Weights, biases and the two parameters a channel of the normalisation."""
    return 9 * after * (before + (depth - 1) * after) + 3 * depth * after


def _body(config: PlannerConfig, stages: int) -> NNUNetConfig:
    return NNUNetConfig(base=config.base, stages=stages, max_channels=config.max_channels, norm=config.norm)


def _divisible(patch: tuple[int, int], stages: int) -> tuple[int, int]:
    """``patch`` with edges raised to multiples of the stride."""
    stride = 2 ** (stages - 1)
    return -(-patch[0] // stride) * stride, -(-patch[1] // stride) * stride


def _shrunk(patch: tuple[int, int], shape: tuple[int, int], step: int) -> tuple[int, int]:
    """``patch`` less one step along the edge that is largest beside the images'; to half where a step is all of it."""
    longest = 0 if patch[0] / shape[0] >= patch[1] / shape[1] else 1
    edges = list(patch)
    edges[longest] = edges[longest] - step if edges[longest] > step else edges[longest] // 2
    return edges[0], edges[1]
