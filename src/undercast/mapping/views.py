"""What a product's picture shows beside the map: the first image in its own colours, and what was restored of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from undercast.bands import Modality
from undercast.mapping.job import Job
from undercast.predict import AnsweredBlock
from undercast.product.quicklook import Picture, Preview

COLOURS = (("B04", "B03", "B02"), ("red", "green", "blue"))
"""Bands by which an image is drawn in natural colour."""


@dataclass(frozen=True)
class View:
    """One picture of the scene: ``channels`` of a role's image, one or three, or of what was restored of it.

    ``gain`` brings values to the hundredths that previews are kept in: a reflectance of 0.01 would be one of them.
    """

    title: str
    role: str
    channels: tuple[int, ...]
    restored: bool
    gain: float

    def of(self, block: AnsweredBlock, restored: NDArray[np.float32] | None) -> Sequence[NDArray[np.float32]]:
        """The bands ``[H, W]`` of a block, and of what is ``restored`` ``[C, H, W]``, that the picture is made of."""
        image = restored if self.restored and restored is not None else block.images[self.role]
        bands = [image[channel] for channel in self.channels]
        return bands if self.gain == 1 else [band * np.float32(self.gain) for band in bands]


def views_of(job: Job) -> list[View]:
    """The pictures of a scene: its first image, and that image as the model restores it."""
    role = job.shown
    modality = job.scene.images[role].modality
    channels = _natural(modality)
    named = "in natural colour" if len(channels) == 3 else f"{modality.bands[0]} ({modality.unit})"
    gain = 100.0 if modality.unit == "reflectance" else 1.0
    instrument = modality.instrument.removesuffix(" L1C")  # which level a file is of, it does not say
    views = [View(f"Seen: {instrument} {named}", role, channels, False, gain)]
    if job.signature.restores == role:
        views.append(View("Restored by the model", role, channels, True, gain))
    return views


def pictures(views: Sequence[View], previews: Sequence[Sequence[Preview]]) -> list[Picture]:
    """``views`` with the previews of their bands; restored and seen are stretched alike, as the clear sky asks."""
    return [Picture(view.title, tuple(bands), view.restored) for view, bands in zip(views, previews, strict=True)]


def _natural(modality: Modality) -> tuple[int, ...]:
    for bands in COLOURS:
        if set(bands) <= set(modality.bands):
            return tuple(modality.index(bands))
    return (0,)
