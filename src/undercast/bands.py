"""What pixels mean: instruments, bands by name and in order, units and the range a value may have.

Conventions of the sources, each a silent wrong answer elsewhere:
Sentinel-1 comes in dB or in linear power; Sentinel-2 counts are reflectance × 10000, and products of processing
baseline 04.00 and later carry an offset of -1000 that must be added before dividing [ESA S2 PSD 14.9].
"""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from undercast.errors import InputError

Unit = Literal["dB", "power", "reflectance", "metre", "percent", "relative", "degree"]

POWER_FLOOR = 1e-5
"""Linear power below this (-50 dB) is beneath any Sentinel-1 noise floor; zero has no logarithm."""


class Modality(BaseModel):
    """What the pixels of an image mean.

    ``bands`` are named and ordered: an image ``[C, H, W]`` of this modality has ``len(bands)`` channels in this order.
    ``valid_range`` (in ``unit``) is what a sound value may be; a model clips to it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    instrument: str = Field(min_length=1)
    bands: Annotated[tuple[str, ...], Field(min_length=1)]
    unit: Unit
    valid_range: tuple[float, float]

    @model_validator(mode="after")
    def _check(self) -> "Modality":
        if len(set(self.bands)) != len(self.bands):
            raise ValueError(f"{self.instrument} names a band twice: {list(self.bands)}")
        if not self.valid_range[0] < self.valid_range[1]:
            raise ValueError(f"valid range of {self.instrument} is empty: {self.valid_range}")
        return self

    def index(self, bands: tuple[str, ...] | list[str]) -> list[int]:
        """Channel numbers of ``bands``, in the order asked for.

        Raises:
            InputError: where a band is not of this modality; the message names it.
        """
        missing = [band for band in bands if band not in self.bands]
        if missing:
            raise InputError(
                f"{self.instrument} has no band {', '.join(missing)}; its bands are {', '.join(self.bands)}"
            )
        return [self.bands.index(band) for band in bands]

    def select(self, bands: tuple[str, ...] | list[str]) -> "Modality":
        """The same modality with only ``bands``, in that order. Raises InputError where one is missing."""
        self.index(bands)
        return self.model_copy(update={"bands": tuple(bands)})


S1 = Modality(instrument="Sentinel-1", bands=("VV", "VH"), unit="dB", valid_range=(-35.0, 10.0))
S1_POWER = Modality(instrument="Sentinel-1", bands=("VV", "VH"), unit="power", valid_range=(0.0, 10.0))
S2_L1C = Modality(
    instrument="Sentinel-2 L1C",
    bands=("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12"),
    unit="reflectance",
    valid_range=(0.0, 1.0),
)
# Surface reflectance has no cirrus band: B10 sees no ground.
S2_L2A = Modality(
    instrument="Sentinel-2 L2A",
    bands=("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"),
    unit="reflectance",
    valid_range=(0.0, 1.0),
)
LANDSAT8 = Modality(
    instrument="Landsat-8 OLI",
    bands=("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B9"),
    unit="reflectance",
    valid_range=(0.0, 1.0),
)
PLANET = Modality(
    instrument="PlanetScope", bands=("blue", "green", "red", "nir"), unit="reflectance", valid_range=(0.0, 1.0)
)
DEM = Modality(instrument="DEM", bands=("elevation",), unit="metre", valid_range=(-430.0, 8850.0))
OCCURRENCE = Modality(
    instrument="JRC water occurrence", bands=("occurrence",), unit="percent", valid_range=(0.0, 100.0)
)

MODALITIES: dict[str, Modality] = {
    "s1": S1,
    "s1_power": S1_POWER,
    "s2_l1c": S2_L1C,
    "s2_l2a": S2_L2A,
    "landsat8": LANDSAT8,
    "planet": PLANET,
    "dem": DEM,
    "occurrence": OCCURRENCE,
}


def to_decibel(power: NDArray[np.float32]) -> NDArray[np.float32]:
    """Backscatter in dB from linear power, any shape, float32.

    NaN stays NaN. A value in ``[0, 1e-5)`` is raised to the floor of -50 dB: thermal-noise removal leaves exact zeros
    inside dark water. Negative power has no meaning and becomes NaN.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        decibel = 10.0 * np.log10(np.maximum(power, POWER_FLOOR))
    return np.where(power >= 0, decibel, np.nan).astype(np.float32)


def to_reflectance(counts: NDArray[np.generic], *, offset: float = 0.0, scale: float = 1e-4) -> NDArray[np.float32]:
    """Reflectance from Sentinel-2 counts: ``(counts + offset) · scale``, float32; count 0 is no data and becomes NaN.

    ``offset`` is -1000 for processing baseline 04.00 and later, 0 before.
    """
    values = np.asarray(counts, np.float32)
    return np.where(values == 0, np.float32(np.nan), (values + np.float32(offset)) * np.float32(scale)).astype(
        np.float32
    )
