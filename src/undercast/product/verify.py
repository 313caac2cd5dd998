"""Whether a product is what it claims to be: its files unchanged, its layers sound, its numbers those of its layers."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError

from undercast.errors import InputError, ProductError
from undercast.product.cells import Cells
from undercast.product.codes import Entry, entries_of
from undercast.product.cog import layout_problems
from undercast.product.polygons import POLYGONS, event_values
from undercast.product.priority import PRIORITY, list_problems
from undercast.product.record import crs_name
from undercast.product.stac import ITEM, multihash
from undercast.product.summary import Tally
from undercast.product.verify_seen import wrong_inputs, wrong_restored
from undercast.product.write import CLASSES, INPUTS, LIKELIHOOD, RECORD, RESTORED, SUMMARY
from undercast.raster.geotiff import Header, open_raster, read_header, same_grid
from undercast.raster.windows import cut
from undercast.task import NODATA, TASKS

ROWS = 512
"""Rows read at a time."""


@dataclass
class Findings:
    """What was checked, and what is wrong; a line each."""

    checked: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def add(self, what: str, problems: list[str]) -> None:
        """Note that ``what`` was checked, and the problems found."""
        self.checked.append(what)
        self.problems += problems


def verify_product(folder: Path) -> Findings:
    """Check everything a product promises; reads its layers once, by window.

    Raises:
        ProductError: ``folder`` is no product at all.
    """
    if not (folder / SUMMARY).is_file():
        raise ProductError(f"{folder}: is no product: it has no {SUMMARY}; give the folder that a map was written to")
    findings = Findings()
    findings.add("checksums", list(_wrong_files(folder)))
    summary, record = _read(folder / SUMMARY, findings), _read(folder / RECORD, findings)
    task = TASKS.get(str(summary.get("task")))
    headers = {name: _header(folder / name, findings) for name in (CLASSES, LIKELIHOOD)}
    classes, likelihood = headers[CLASSES], headers[LIKELIHOOD]
    if summary and task is None:
        findings.problems.append(f"{SUMMARY}: the task {summary.get('task')} is not known to this version")
    if classes is None or likelihood is None:
        return findings
    findings.add("grid", list(_wrong_grid(classes, likelihood, record)))
    if summary.get("inputs") or (folder / INPUTS).is_file():
        findings.add("what was seen", list(wrong_inputs(folder, classes, summary)))
    if (folder / RESTORED).is_file():
        findings.add("restored image", list(wrong_restored(folder, classes)))
    if task and same_grid(classes.grid, likelihood.grid):
        tally = Tally(classes.grid, entries_of(task))
        findings.add("pixels", list(_wrong_pixels(folder, classes.grid, tally)))
        findings.add("numbers", list(_wrong_numbers(summary, tally)))
        if (folder / PRIORITY).is_file():
            findings.add("priority", list(_wrong_priority(folder, classes.grid, entries_of(task), record)))
        if (folder / POLYGONS).is_file():
            findings.add("polygons", list(_wrong_polygons(folder, tally, entries_of(task))))
    return findings


def _read(path: Path, findings: Findings) -> dict[str, Any]:
    try:
        body = json.loads(path.read_text("utf-8"))
        if isinstance(body, dict):
            return body
    except (OSError, ValueError):
        pass
    findings.problems.append(f"{path.name}: is missing or damaged")
    return {}


def _header(path: Path, findings: Findings) -> Header | None:
    """The header of a layer; what is wrong with its form goes to ``findings``."""
    try:
        header = read_header(path)
        problems = [f"{path.name}: {problem}" for problem in layout_problems(path)]
        header.grid  # noqa: B018  says so where there is none
    except InputError as error:
        findings.add(path.name, [str(error)])
        return None
    if header.dtypes != ("uint8",) or header.nodata != (NODATA,):
        problems.append(f"{path.name}: must be one band of uint8 with nodata {NODATA}")
    findings.add(path.name, problems)
    return header


def _wrong_files(folder: Path) -> Iterator[str]:
    """Files that are not as ``item.json`` lists them."""
    if not (folder / ITEM).is_file():
        yield f"{ITEM}: is missing, so nothing tells whether files have changed"
        return
    try:
        assets = json.loads((folder / ITEM).read_text("utf-8"))["assets"].values()
        listed = {str(asset["href"]).removeprefix("./"): asset for asset in assets}
        for name, asset in listed.items():
            path = folder / name
            if not path.is_file():
                yield f"{name}: is listed in {ITEM} but missing"
            elif path.stat().st_size != asset["file:size"] or multihash(path) != asset["file:checksum"]:
                yield f"{name}: has changed since the map was made"
    except (ValueError, KeyError, TypeError, AttributeError):
        yield f"{ITEM}: is damaged"
        return
    for path in sorted(folder.iterdir()):
        if path.name not in listed and path.name != ITEM:
            yield f"{path.name}: is not listed in {ITEM}"


def _wrong_grid(classes: Header, likelihood: Header, record: dict[str, Any]) -> Iterator[str]:
    if not same_grid(classes.grid, likelihood.grid):
        yield f"{LIKELIHOOD}: lies on another grid than {CLASSES}"
    grid = record.get("grid", {})
    if grid and list(classes.shape) != grid.get("shape"):
        yield f"{CLASSES}: has {classes.shape[0]}×{classes.shape[1]} pixels, but {RECORD} says {grid.get('shape')}"
    if grid and list(tuple(classes.grid.affine)[:6]) != grid.get("transform"):
        yield f"{CLASSES}: lies elsewhere than {RECORD} says"
    if grid and crs_name(classes.grid) != grid.get("crs"):
        yield f"{CLASSES}: is in {crs_name(classes.grid)}, but {RECORD} says {grid.get('crs')}"


def _wrong_pixels(folder: Path, grid: GeoBox, tally: Tally) -> Iterator[str]:
    """Go through both layers; fills ``tally``."""
    known = np.zeros(256, np.bool_)
    known[[entry.value for entry in tally.entries]] = True
    seen = np.zeros(256, np.bool_)
    disagree = beyond = 0
    try:
        with open_raster(str(folder / CLASSES)) as classes, open_raster(str(folder / LIKELIHOOD)) as likelihood:
            for window in cut((int(grid.shape[0]), int(grid.shape[1])), (ROWS, int(grid.shape[1]))):
                area = rasterio.windows.Window(window.col, window.row, window.width, window.height)
                codes, percent = classes.read(1, window=area), likelihood.read(1, window=area)
                tally.add(window, codes, np.zeros(codes.shape, np.bool_))
                seen |= np.bincount(codes.ravel(), minlength=256) > 0
                disagree += int(np.count_nonzero((codes == NODATA) != (percent == NODATA)))
                beyond += int(np.count_nonzero((percent > 100) & (percent != NODATA)))
    except RasterioError:
        yield f"{CLASSES} or {LIKELIHOOD}: cannot be read to the end; it is truncated or damaged"
    if (seen & ~known).any():
        yield f"{CLASSES}: holds codes that mean nothing: {', '.join(map(str, np.flatnonzero(seen & ~known)))}"
    if disagree:
        yield f"{LIKELIHOOD}: {disagree} pixels are observed in one layer and not in the other"
    if beyond:
        yield f"{LIKELIHOOD}: {beyond} pixels are above 100 %"


def _wrong_numbers(summary: dict[str, Any], tally: Tally) -> Iterator[str]:
    """Where ``summary.json`` does not say what the pixels say."""
    pixels, areas = tally.pixels, tally.areas()
    for entry in tally.entries:
        said = summary.get("pixels", {}).get(entry.key)
        if said != pixels[entry.value]:
            yield f"{SUMMARY}: says {said} pixels of {entry.key}, {CLASSES} has {pixels[entry.value]}"
        area = summary.get("area_m2", {}).get(entry.key)
        # written to a decimetre squared; the rest is the last bits of another processor
        if not isinstance(area, int | float) or abs(area - areas[entry.value]) > 0.06 + 1e-9 * areas[entry.value]:
            yield f"{SUMMARY}: says {area} m² of {entry.key}, {CLASSES} has {areas[entry.value]:.1f}"


def _wrong_priority(folder: Path, grid: GeoBox, entries: tuple[Entry, ...], record: dict[str, Any]) -> Iterator[str]:
    """Where the list of cells is not what the layers sum up to."""
    side = record.get("parameters", {}).get("priority", {}).get("cell")
    if not isinstance(side, int | float):
        yield f"{RECORD}: does not say the size of a cell of {PRIORITY}"
        return
    cells = Cells(grid, side, event_values(entries))
    try:
        with open_raster(str(folder / CLASSES)) as classes, open_raster(str(folder / LIKELIHOOD)) as likelihood:
            for window in cut((int(grid.shape[0]), int(grid.shape[1])), (ROWS, int(grid.shape[1]))):
                area = rasterio.windows.Window(window.col, window.row, window.width, window.height)
                percent = likelihood.read(1, window=area)
                probability = np.where(percent == NODATA, np.nan, percent / np.float32(100)).astype(np.float32)
                cells.add(window, classes.read(1, window=area), probability)
    except RasterioError:
        return  # said already: the pixels cannot be read to the end
    yield from list_problems(folder, cells)


def _wrong_polygons(folder: Path, tally: Tally, entries: tuple[Entry, ...]) -> Iterator[str]:
    """Where polygons cover more than the pixels of their class, or the footprint not what was observed."""
    pixels = tally.pixels
    try:
        for layer in ("observed_event", "excluded"):
            meta, _, _, columns = pyogrio.raw.read(folder / POLYGONS, layer=layer, read_geometry=False)
            table = dict(zip(meta["fields"], columns, strict=True))
            covered = np.bincount(table["class"].astype(np.int64), table["pixels"], 256)
            for entry in entries:
                if covered[entry.value] > pixels[entry.value]:
                    yield f"{POLYGONS}: {layer} covers more than {CLASSES} has of {entry.key}"
        meta, _, _, columns = pyogrio.raw.read(folder / POLYGONS, layer="footprint", read_geometry=False)
        observed = sum(count for value, count in pixels.items() if value != NODATA)
        if int(dict(zip(meta["fields"], columns, strict=True))["pixels"].sum()) != observed:
            yield f"{POLYGONS}: its footprint is not what was observed"
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, KeyError):
        yield f"{POLYGONS}: is damaged"
