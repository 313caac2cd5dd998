"""Whether ``inputs.tif`` and ``restored.tif`` of a product are what they claim to be."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.errors import RasterioError
from rasterio.windows import Window as Area

from undercast.errors import InputError
from undercast.product.codes import TERRAIN, input_entries
from undercast.product.cog import layout_problems
from undercast.product.write import CLASSES, INPUTS, RESTORED, SUMMARY
from undercast.raster.geotiff import Header, open_raster, read_header, same_grid
from undercast.raster.windows import cut
from undercast.task import NODATA

ROWS = 512


def wrong_inputs(folder: Path, classes: Header, summary: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with ``inputs.tif``: its form, its sets of images, their numbers, and a class that saw nothing."""
    said = summary.get("inputs")
    if not (folder / INPUTS).is_file():
        if said:
            yield f"{INPUTS}: is missing, but {SUMMARY} counts what was seen"
        return
    if not isinstance(said, dict) or not {"bits", "pixels"} <= said.keys():
        yield f"{SUMMARY}: does not say what the bits of {INPUTS} are"
        return
    try:
        header = read_header(folder / INPUTS)
        yield from (f"{INPUTS}: {problem}" for problem in layout_problems(folder / INPUTS))
    except InputError as error:
        yield str(error)
        return
    if [*header.dtypes, *header.nodata] != ["uint8", NODATA]:
        yield f"{INPUTS}: must be one band of uint8 with nodata {NODATA}"
        return
    if not same_grid(header.grid, classes.grid):
        yield f"{INPUTS}: lies on another grid than {CLASSES}"
        return
    counts = np.zeros(256, np.int64)
    blind = 0
    try:
        with open_raster(str(folder / INPUTS)) as seen, open_raster(str(folder / CLASSES)) as called:
            for window in cut(header.shape, (ROWS, header.shape[1])):
                area = Area(window.col, window.row, window.width, window.height)
                flags = seen.read(1, window=area)
                counts += np.bincount(flags.ravel(), minlength=256)
                blind += int(np.count_nonzero((flags == NODATA) & (called.read(1, window=area) < TERRAIN)))
    except RasterioError:
        yield f"{INPUTS}: cannot be read to the end; it is truncated or damaged"
        return
    entries = input_entries(list(said["bits"]))
    if unknown := sorted(set(np.flatnonzero(counts).tolist()) - {entry.value for entry in entries}):
        yield f"{INPUTS}: holds {unknown[0]}, which is no set of {', '.join(said['bits'])}"
    if blind:
        yield f"{INPUTS}: {blind} pixels have a class in {CLASSES} where nothing was seen"
    for entry in entries:
        number = said["pixels"].get(entry.key)
        if number != counts[entry.value]:
            yield f"{SUMMARY}: says {number} pixels of {entry.name}, {INPUTS} has {counts[entry.value]}"


def wrong_restored(folder: Path, classes: Header) -> Iterator[str]:
    """What is wrong with ``restored.tif``: its form, its bands, its place, and values that are no reflectance."""
    path = folder / RESTORED
    if not path.is_file():
        return
    try:
        header = read_header(path)
        yield from (f"{RESTORED}: {problem}" for problem in layout_problems(path))
    except InputError as error:
        yield str(error)
        return
    if set(header.dtypes) != {"float32"} or not all(value is not None and np.isnan(value) for value in header.nodata):
        yield f"{RESTORED}: must be float32 with nodata NaN"
        return
    if not all(header.descriptions) or len(set(header.descriptions)) != header.count:
        yield f"{RESTORED}: must name each of its bands"
    if header.grid.crs != classes.grid.crs or not header.grid.extent.intersects(classes.grid.extent):
        yield f"{RESTORED}: lies elsewhere than {CLASSES}"
    beyond = 0
    try:
        with open_raster(str(path)) as source:
            for window in cut(header.shape, (ROWS, header.shape[1])):
                values = source.read(window=Area(window.col, window.row, window.width, window.height))
                partly = np.isnan(values).any(axis=0) & ~np.isnan(values).all(axis=0)
                with np.errstate(invalid="ignore"):
                    beyond += int(np.count_nonzero(((values < 0) | (values > 2)).any(axis=0) | partly))
    except RasterioError:
        yield f"{RESTORED}: cannot be read to the end; it is truncated or damaged"
    if beyond:
        yield f"{RESTORED}: {beyond} pixels are no reflectance in some band"
