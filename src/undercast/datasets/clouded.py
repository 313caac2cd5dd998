"""Clouds of the simulator laid over a clear optical data set: real ground, and cloud whose truth is known exactly.

Thickness, cirrus, transmission and the shadow the sun throws are those of :mod:`undercast.simulate.sky`; what they do
to a band is what the simulator does to its own [Bohren 1987]. Light is lost in the shadow, a share of the ground is
replaced by white where there is cloud, and bands of 20 m and 60 m see a cloud as coarse as they see the ground.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from undercast.bands import S2_L1C, Modality
from undercast.chip import Chip
from undercast.config import Settings
from undercast.datasets.derived import Derived
from undercast.errors import InputError
from undercast.simulate import draw_parameters
from undercast.simulate.fields import generator
from undercast.simulate.optics import CLOUD_WHITE, PIXEL_OF
from undercast.simulate.sky import Clouds, cloud_class, make_clouds, opacity
from undercast.simulate.terrain import PIXEL
from undercast.task import NODATA

Image = NDArray[np.float32]

SAME_AS = {
    **{"blue": "B02", "green": "B03", "red": "B04", "nir": "B08"},
    **{"B1": "B01", "B2": "B02", "B3": "B03", "B4": "B04", "B5": "B8A", "B6": "B11", "B7": "B12", "B9": "B10"},
}
"""Bands of other instruments (PlanetScope, Gaofen-1, Landsat-8) by the Sentinel-2 band that sees the same light."""
DARKEST = 0.1
"""Percentile of a band taken for the light of the air alone, which no shadow takes away [Chavez 1988]."""


class CloudedConfig(Settings):
    """How much cloud, and how it is drawn."""

    cover: tuple[float, float] = Field(
        default=(0.1, 0.9), description="least and most share of the chip under the cloud field, drawn evenly"
    )
    seed: int = Field(default=0, ge=0, description="another number, other clouds over the same chips")
    pixel_size: float = Field(default=PIXEL, gt=0, description="metres of a pixel of the optical images")


@dataclass(frozen=True)
class Clouded(Derived):
    """The chips of ``source`` with clouds over role ``over``: what was clear becomes ``s2_clear``, ``s2`` is cloudy.

    Targets ``cloud`` (0 clear, 1 cloud, 2 shadow), ``transmission`` (percent of the light from the ground that cloud
    lets pass) and ``opacity`` (percent that cloud and its shadow take away) are added, 255 where the optical image saw
    nothing; other roles and targets stay. A chip's clouds
    follow from its key, its size and the seed alone. ``over`` is ``s2_clear`` where the source has it, else ``s2``.

    Raises:
        InputError: the source has no such role, or a band that no cloud is known for.
    """

    config: CloudedConfig = field(default_factory=CloudedConfig)
    over: str = ""

    def __post_init__(self) -> None:
        role = self.over or ("s2_clear" if "s2_clear" in self.source.modalities else "s2")
        if role not in self.source.modalities:
            raise InputError(f"no role '{role}' to lay clouds over; there are {', '.join(self.source.modalities)}")
        object.__setattr__(self, "over", role)
        _bands(self.source.modalities[role])

    @cached_property
    def modalities(self) -> Mapping[str, Modality]:
        """The modalities of the source; ``s2`` and ``s2_clear`` have that of the role under the clouds."""
        optical = self.source.modalities[self.over]
        return {**self.source.modalities, "s2": optical, "s2_clear": optical}

    def __getitem__(self, number: int) -> Chip:
        chip = self.source[number]
        clear = chip.images[self.over]
        clouds = clouds_of(chip.key, chip.shape, self.config)
        cloudy = overlay(clear, clouds, self.modalities["s2"])
        seen = np.isfinite(clear).all(axis=0)
        percent = np.rint(100 * clouds.transmission).astype(np.uint8)
        truth = {"cloud": cloud_class(clouds), "transmission": percent, "opacity": opacity(clouds)}
        targets = {name: np.where(seen, layer, NODATA).astype(np.uint8) for name, layer in truth.items()}
        images = {**chip.images, "s2": cloudy, "s2_clear": clear}
        return Chip(chip.key, images, {**chip.targets, **targets}, chip.event, chip.place)


def clouds_of(key: str, shape: tuple[int, int], config: CloudedConfig) -> Clouds:
    """The clouds over the chip called ``key``."""
    seed = int.from_bytes(hashlib.sha256(f"{config.seed} {key}".encode()).digest()[:6], "big")
    rng = generator(seed, "overlay")
    drawn = draw_parameters(seed)
    # A field that covers all has no edge to measure its depth from.
    cover = min(float(rng.uniform(*config.cover)), 0.999)
    # The simulator counts in pixels of its own size: on a finer grid the same cloud is more of them.
    finer = PIXEL / config.pixel_size
    sky = drawn.sky.model_copy(
        update={
            "cover": cover,
            "size": drawn.sky.size * finer,
            "height": drawn.sky.height * finer,
        }
    )
    return make_clouds(generator(seed, "sky"), shape, sky, drawn.optics)


def overlay(clear: Image, clouds: Clouds, modality: Modality) -> Image:
    """``clear`` ``[C, H, W]``, reflectance or stretched 0 to 1, as it is seen through ``clouds``; NaN stays NaN."""
    cloudy = np.empty_like(clear)
    coarse = {1: clouds}
    for channel, band in enumerate(_bands(modality)):
        side = PIXEL_OF[band] if modality.bands[channel].startswith("B") else 1
        if side not in coarse:
            coarse[side] = clouds.average(lambda layer, side=side: _blocks(layer, side))  # type: ignore[misc]
        cloudy[channel] = _seen(clear[channel], coarse[side], band)
    return cloudy


def _seen(clear: Image, clouds: Clouds, band: int) -> Image:
    seen = clear[np.isfinite(clear)]
    path = np.float32(np.percentile(seen, DARKEST) if seen.size else 0)
    skylight = np.float32(0.25 if band < 3 else 0.12)
    lit = clouds.sunlight * (1 - skylight) + skylight
    ground = np.maximum(clear - path, 0) * lit + np.minimum(clear, path)
    if S2_L1C.bands[band] == "B10":
        ice = clouds.cirrus * np.float32(0.35)
        return np.asarray(ground + np.float32(0.9) * ice / (1 + ice), np.float32)
    white = np.float32(CLOUD_WHITE[band])
    return np.asarray((ground - white) * clouds.transmission + white, np.float32)


def _blocks(layer: Image, side: int) -> Image:
    """``layer`` with every block of ``side`` × ``side`` at its mean; incomplete blocks at the end by what there is."""
    height, width = layer.shape
    padded = np.pad(layer, ((0, -height % side), (0, -width % side)), mode="edge")
    rows, cols = padded.shape[0] // side, padded.shape[1] // side
    means = padded.reshape(rows, side, cols, side).mean(axis=(1, 3), dtype=np.float32)
    return np.repeat(np.repeat(means, side, axis=0), side, axis=1)[:height, :width]


def _bands(modality: Modality) -> list[int]:
    """The number, in Sentinel-2 L1C, of the band that sees what each band of ``modality`` does."""
    if modality.unit not in ("reflectance", "relative"):
        raise InputError(f"clouds are laid over reflectance, and {modality.instrument} is in {modality.unit}")
    names = [SAME_AS.get(band, band) for band in modality.bands]
    if missing := [band for band, name in zip(modality.bands, names, strict=True) if name not in S2_L1C.bands]:
        raise InputError(f"{modality.instrument} {missing[0]}: no cloud is known in this band")
    return [S2_L1C.bands.index(name) for name in names]
