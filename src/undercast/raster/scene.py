"""Co-registered rasters by role on one grid, read by window and never held whole."""

import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT

from undercast.bands import Modality
from undercast.errors import InputError
from undercast.raster.align import Layer, fill_of, layers_of
from undercast.raster.backscatter import RadarUnit, judge, settle_unit, to_backscatter, unseen_to_nan
from undercast.raster.geotiff import open_raster
from undercast.raster.inputs import BandFile, assign_bands
from undercast.raster.reflectance import OpticalForm, settle_form, to_reflectance
from undercast.raster.windows import Window, cut

AS_DECLARED = "as declared by the role"


@dataclass(frozen=True)
class RoleImage:
    """All bands of a role: what they mean, their files, the unit of those, and the nodata value said by the user."""

    modality: Modality
    bands: tuple[BandFile, ...]
    layers: tuple[Layer, ...]
    unit: str
    why_unit: str
    nodata: float | None = None


class Scene:
    """Co-registered rasters by role on one grid.

    Reading is safe from several threads: each has its own file handles. Use it as a context manager, or close it.
    """

    def __init__(self, grid: GeoBox, images: Mapping[str, RoleImage]) -> None:
        self.grid = grid
        self.images = images
        self._local = threading.local()
        self._opened: list[Any] = []
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls,
        inputs: Sequence[str],
        modalities: Mapping[str, Modality],
        required: Sequence[str] | None = None,
        *,
        unit: RadarUnit | None = None,
        optical: OpticalForm | None = None,
        nodata: float | None = None,
        settle: bool = True,
    ) -> "Scene":
        """Open what the user gave: ``PATH``, ``ROLE=PATH`` or ``ROLE:BAND=PATH`` (see :mod:`undercast.raster.inputs`).

        ``required`` are the roles that must be there (all of ``modalities`` if not given); the first band of the first
        gives the grid, and what lies on another grid is aligned to it. ``unit`` declares that of radar images
        and ``optical`` what optical ones hold; both are found otherwise, or, without ``settle``, optical images are
        left as they are stored. ``nodata`` overrides what radar images and required roles declare.

        Raises:
            InputError: a file, band, grid or unit cannot be used; the message names it and says what to do.
        """
        required = list(modalities) if required is None else list(required)
        found = assign_bands(inputs, modalities, required)
        grid = found[required[0]][0].header.grid
        images: dict[str, RoleImage] = {}
        for role in sorted(found, key=lambda name: (name not in required, list(modalities).index(name))):
            modality = modalities[role]
            layers = layers_of(found[role], grid, modality)
            fill = nodata if role in required or modality.unit == "dB" else None
            plain = RoleImage(modality, found[role], layers, modality.unit, AS_DECLARED, fill)
            with cls(grid, {role: plain}) as probe:
                images[role] = probe._settled(role, unit, optical, settle)
        return cls(grid, images)

    def __enter__(self) -> "Scene":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every file; no other thread may be reading."""
        with self._lock:
            for source in reversed(self._opened):
                source.close()
            self._opened.clear()
            self._local = threading.local()

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.grid.shape[0]), int(self.grid.shape[1])

    @property
    def name(self) -> str:
        """What the scene is called: its first file's name, less the band where each band has a file of its own."""
        items = next(iter(self.images.values())).bands
        stem = Path(items[0].header.path).stem
        if len({item.header.path for item in items}) == 1:
            return stem
        rest = re.sub(rf"(?i)(^|[^a-z0-9]){items[0].band}(?=$|[^a-z0-9])", "", stem).strip("-_ ")
        return rest or Path(items[0].header.path).resolve().parent.name or stem

    @property
    def acquired(self) -> datetime | None:
        """When the first image was taken; None where neither its tags nor its name say."""
        return next(iter(self.images.values())).bands[0].header.acquired

    @property
    def notes(self) -> list[str]:
        """What was decided about the inputs and an analyst should know: band order, unit, alignment. One line each."""
        lines = []
        for role, image in self.images.items():
            lines += [
                f"{role} {item.band}: band {item.number} of {item.header.path}, {item.why}"
                for item in image.bands
                if "assumed" in item.why
            ]
            if image.why_unit != AS_DECLARED:
                lines.append(f"{role} is in {image.unit} ({image.why_unit})")
            for layer in image.layers:
                if layer.resampling:
                    names = "/".join(image.modality.bands[channel] for channel in layer.channels)
                    lines.append(f"{role} {names}: {layer.header.path} is aligned to the grid by {layer.resampling}")
        return lines

    def read(self, window: Window, roles: Iterable[str] | None = None) -> dict[str, NDArray[np.float32]]:
        """Images ``[C, h, w]`` float32 by role in the unit of their modality, NaN where nothing was seen.

        The window may reach beyond the scene; there is nothing to be seen there. All roles unless ``roles`` says which.

        Raises:
            InputError: a file is damaged.
        """
        chosen = self.images if roles is None else roles
        return {role: self._to_unit(self._read_raw(role, window), self.images[role]) for role in chosen}

    def _read_raw(self, role: str, window: Window) -> NDArray[np.float32]:
        image = self.images[role]
        count = len(image.modality.bands)
        if image.layers[0].channels == tuple(range(count)) and window.clip(self.shape) == window:
            return self._read_layer(image.layers[0], window, image.nodata)
        whole = np.full((count, window.height, window.width), np.nan, np.float32)
        inside = window.clip(self.shape)
        if inside.height and inside.width:
            rows, cols = inside.slices((window.row, window.col))
            for layer in image.layers:
                whole[list(layer.channels), rows, cols] = self._read_layer(layer, inside, image.nodata)
        return whole

    def _read_layer(self, layer: Layer, window: Window, nodata: float | None) -> NDArray[np.float32]:
        source = self._source(layer)
        header = layer.header
        area = rasterio.windows.Window(window.col, window.row, window.width, window.height)
        try:
            raw = source.read(list(layer.numbers), window=area)
            mask = source.read_masks(1, window=area) if header.masked else None
        except RasterioError:
            raise InputError(
                f"{header.path}: cannot be read near row {window.row}, column {window.col}: "
                "the file is truncated or damaged; copy or download it again"
            ) from None
        values: NDArray[np.float32] = raw.astype(np.float32, copy=False)
        for channel, number in enumerate(layer.numbers):
            fill = nodata if nodata is not None else header.nodata[number - 1]
            if fill is not None and np.isfinite(fill):
                values[channel][raw[channel] == np.asarray(fill).astype(raw.dtype)] = np.nan
            scale, offset = header.scales[number - 1], header.offsets[number - 1]
            if (scale, offset) != (1.0, 0.0):
                values[channel] = values[channel] * np.float32(scale) + np.float32(offset)
        if mask is not None:
            values[:, mask == 0] = np.nan
        return values

    def _source(self, layer: Layer) -> Any:
        handles: dict[int, Any] | None = getattr(self._local, "handles", None)
        if handles is None:
            handles = self._local.handles = {}
        if id(layer) not in handles:
            source = open_raster(layer.header.path)
            opened = [source]
            if layer.resampling:
                source = WarpedVRT(
                    source, crs=str(self.grid.crs), transform=self.grid.affine, width=self.grid.width,
                    height=self.grid.height, resampling=Resampling[layer.resampling], nodata=fill_of(layer.header),
                )  # fmt: skip
                opened.append(source)
            handles[id(layer)] = source
            with self._lock:
                self._opened += opened
        return handles[id(layer)]

    def _to_unit(self, values: NDArray[np.float32], image: RoleImage) -> NDArray[np.float32]:
        if image.modality.unit == "dB":
            return to_backscatter(values, "dB" if image.unit == "dB" else "power")
        if image.modality.unit == "reflectance":
            return to_reflectance(unseen_to_nan(values), _form_of(image.unit))
        low, high = image.modality.valid_range
        with np.errstate(invalid="ignore"):
            np.copyto(values, np.nan, where=(values < low) | (values > high))
        return values

    def _settled(self, role: str, declared: RadarUnit | None, optical: OpticalForm | None, settle: bool) -> RoleImage:
        """The image of ``role`` with its unit settled from the numbers."""
        image = self.images[role]
        if image.modality.unit == "reflectance" and settle:
            headers = {item.band: item.header for item in image.bands}
            form, why = settle_form(self._sample(role), headers, optical)
            return replace(image, unit=form, why_unit=why)
        if image.modality.unit != "dB":
            return image
        sample = self._sample(role)
        evidence, files = {}, {}
        for channel, item in enumerate(image.bands):
            integers = np.dtype(item.header.dtypes[item.number - 1]).kind in "iu"
            unscaled = (item.header.scales[item.number - 1], item.header.offsets[item.number - 1]) == (1.0, 0.0)
            evidence[item.band] = judge(sample[channel], integers and unscaled)
            files[item.band] = item.header.path
        unit, why = settle_unit(evidence, declared, files)
        return replace(image, unit=unit, why_unit=why)

    def _sample(self, role: str) -> NDArray[np.float32]:
        """Values ``[C, N]`` of up to 25 patches spread over the scene; of the whole of it where they show nothing."""
        height, width = self.shape
        patches = []
        for row in np.linspace(0, max(height - 128, 0), 5).astype(int):
            for col in np.linspace(0, max(width - 128, 0), 5).astype(int):
                window = Window(int(row), int(col), 128, 128).clip(self.shape)
                patches.append(unseen_to_nan(self._read_raw(role, window)).reshape(len(self.images[role].bands), -1))
        sample = np.concatenate(patches, axis=1)
        if np.isfinite(sample).any():
            return sample
        for window in cut(self.shape, (1024, 1024)):
            values = unseen_to_nan(self._read_raw(role, window)).reshape(len(sample), -1)
            if np.isfinite(values).any():
                return values
        return sample


def _form_of(unit: str) -> OpticalForm:
    return "counts" if unit == "counts" else "counts-1000" if unit == "counts-1000" else "reflectance"
