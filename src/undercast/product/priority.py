"""Where to look first: cells of a grid, ranked by the area of the event to be expected in each.

``priority.gpkg`` (layer ``priority``) and ``priority.csv`` hold the same rows, first things first. The expected area is
the sum of calibrated probabilities times the area of a pixel. Its interval stands on how the true number of pixels was
found to scatter about the expected one on chips that nothing was trained on: negative binomial, with variance
``factor · Σp(1 - p) + (relative · Σp)²``. The first term is that of pixels which come in clumps, the second that of a
model which is off by a share in a whole place. A model of which this was never measured gets no interval.
"""

import csv
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from pydantic import Field
from scipy.stats import nbinom

from undercast.config import Settings
from undercast.errors import ProductError
from undercast.product.cells import Cells
from undercast.product.polygons import gdal_set
from undercast.product.record import crs_name
from undercast.product.write import explained
from undercast.raster.windows import Window
from undercast.signature import CountSpread

PRIORITY, PRIORITY_CSV = "priority.gpkg", "priority.csv"
LAYER = "priority"


class PriorityConfig(Settings):
    """The priority list of maps of landslides."""

    cell: float = Field(default=1000.0, gt=0, description="side of a cell, metres; rounded to whole pixels")
    level: float = Field(default=0.9, gt=0, lt=1, description="share of cells whose true area the interval should hold")
    top: int = Field(default=10, ge=0, description="cells repeated in the summary and marked in the quicklook")


class Ranked(NamedTuple):
    """Cells with any answered pixel, first things first; arrays of one length.

    ``number`` is the cell's, row by row. Areas in m² on the ellipsoid: ``expected``, ``low`` and ``high`` of the event
    (NaN without an interval), ``called`` the event by the map, and ``area`` of the whole cell. ``seen``: share of the
    cell that was answered. ``centre`` ``[N, 2]``: longitude and latitude in degrees.
    """

    number: NDArray[np.intp]
    expected: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    called: NDArray[np.float64]
    area: NDArray[np.float64]
    seen: NDArray[np.float64]
    centre: NDArray[np.float64]

    def columns(self) -> dict[str, NDArray[Any]]:
        """What is written of them, by column."""
        return {
            "rank": np.arange(1, len(self.number) + 1, dtype=np.int32),
            "expected_m2": np.round(self.expected, 1),
            "low_m2": np.round(self.low, 1),
            "high_m2": np.round(self.high, 1),
            "called_m2": np.round(self.called, 1),
            "observed_share": np.round(self.seen, 4),
            "cell_m2": np.round(self.area, 1),
            "longitude": np.round(self.centre[:, 0], 6),
            "latitude": np.round(self.centre[:, 1], 6),
        }


def rank(cells: Cells, config: PriorityConfig, spread: CountSpread | None) -> Ranked:
    """The cells in order of the area to be expected; of equal ones the northern, then the western comes first."""
    pixel_area, expected_pixels = cells.pixel_area().ravel(), cells.expected.ravel()
    known = np.flatnonzero(cells.answered.ravel())
    number = known[np.lexsort((known, -(expected_pixels * pixel_area)[known]))]
    pixel, expected, answered = pixel_area[number], expected_pixels[number], cells.answered.ravel()[number]
    low, high = interval(expected, cells.scatter.ravel()[number], answered, spread, config.level)
    whole = cells.pixels.ravel()[number]
    return Ranked(
        number=number,
        expected=expected * pixel,
        low=low * pixel,
        high=high * pixel,
        called=cells.called.ravel()[number] * pixel,
        area=whole * pixel,
        seen=answered / whole,
        centre=cells.centres(number),
    )


def interval(
    expected: NDArray[np.float64],
    scatter: NDArray[np.float64],
    answered: NDArray[np.int64],
    spread: CountSpread | None,
    level: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bounds ``[N]`` each of the true number of pixels (see the module); NaN where ``spread`` is not known.

    They hold the expected number too: a rare event's quantiles may both be 0. No bound is above ``answered`` pixels.
    """
    if spread is None:
        return np.full(expected.shape, np.nan), np.full(expected.shape, np.nan)
    size, chance = negative_binomial(expected, scatter, spread.factor, spread.relative)
    low, high = (np.nan_to_num(nbinom.ppf(tail, size, chance)) for tail in ((1 - level) / 2, (1 + level) / 2))
    return np.minimum(low, expected), np.clip(high, expected, answered)


def negative_binomial(
    expected: NDArray[np.float64], scatter: NDArray[np.float64], factor: float, relative: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Size and chance of the negative binomial of that mean and variance; a little more than Poisson at least."""
    mean = np.maximum(expected, 1e-9)
    variance = np.maximum(factor * scatter + (relative * mean) ** 2, mean * (1 + 1e-6))
    return mean**2 / (variance - mean), mean / variance


def write_priority(folder: Path, cells: Cells, ranked: Ranked, stamp: datetime | None = None) -> None:
    """Write ``priority.gpkg`` and ``priority.csv`` into ``folder``; ``stamp`` is the date the first carries.

    Raises:
        ProductError: a file cannot be written.
    """
    columns = ranked.columns()
    path = folder / PRIORITY
    path.unlink(missing_ok=True)
    outlines = shapely.to_wkb(shapely.polygons(cells.corners(ranked.number)))
    with explained(path), gdal_set(stamp):
        try:
            pyogrio.raw.write(
                path, np.asarray(outlines, object), list(columns.values()), list(columns), layer=LAYER, driver="GPKG",
                geometry_type="Polygon", crs=crs_name(cells.grid),
            )  # fmt: skip
        except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, pyogrio.errors.FeatureError) as error:
            raise ProductError(f"{path}: cannot be written ({error}); free some space") from None
    path = folder / PRIORITY_CSV
    with explained(path), path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns)
        for row in zip(*(column.tolist() for column in columns.values()), strict=True):
            table.writerow("" if value != value else value for value in row)


def summarise_priority(
    cells: Cells, ranked: Ranked, config: PriorityConfig, spread: CountSpread | None
) -> dict[str, Any]:
    """What ``summary.json`` says of the list: how it was made, and its first cells."""
    columns = {name: values[: config.top].tolist() for name, values in ranked.columns().items()}
    rows = zip(*columns.values(), strict=True)
    return {
        "cell_m": config.cell,
        "cells": len(ranked.number),
        "unseen_cells": int(np.count_nonzero(cells.answered == 0)),
        "interval": None if spread is None else {"level": config.level, **spread.model_dump(mode="json")},
        "first": [
            {name: None if value != value else value for name, value in zip(columns, row, strict=True)} for row in rows
        ],
    }


def marks_of(cells: Cells, ranked: Ranked, config: PriorityConfig) -> list[Window]:
    """The first cells, as pixels of the map, for the picture; none of which nothing is expected."""
    return [
        cells.window(number)
        for number, expected in zip(ranked.number[: config.top], ranked.expected, strict=False)
        if expected > 0
    ]


def list_problems(folder: Path, cells: Cells) -> Sequence[str]:
    """Where the list does not say what ``class.tif`` and ``likelihood.tif`` say, of which ``cells`` are the sums."""
    try:
        meta, _, _, values = pyogrio.raw.read(folder / PRIORITY, layer=LAYER, read_geometry=False)
        with (folder / PRIORITY_CSV).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        table = {str(name): np.asarray(column) for name, column in zip(meta["fields"], values, strict=True)}
        said = {name: [float(row[name] or "nan") for row in rows] for name in table}
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, OSError, KeyError, ValueError):
        return [f"{PRIORITY} or {PRIORITY_CSV}: is missing or damaged"]
    problems = []
    if any(not np.array_equal(said[name], table[name].astype(float), equal_nan=True) for name in table):
        problems.append(f"{PRIORITY_CSV}: does not hold what {PRIORITY} holds")
    expected = table["expected_m2"]
    if (np.diff(expected) > 0.05).any() or not np.array_equal(table["rank"], np.arange(1, len(expected) + 1)):
        problems.append(f"{PRIORITY}: is not in order of the expected area")
    known = np.flatnonzero(cells.answered.ravel())
    at = {
        tuple(place): number
        for number, place in zip(known.tolist(), np.round(cells.centres(known), 6).tolist(), strict=True)
    }
    numbers: list[int] = [
        at.get(place, -1) for place in zip(table["longitude"].tolist(), table["latitude"].tolist(), strict=True)
    ]
    if sorted(numbers) != known.tolist():
        return [*problems, f"{PRIORITY}: its cells are not those of the map"]
    order = np.array(numbers, np.intp)
    pixel, likely = cells.pixel_area().ravel()[order], cells.expected.ravel()[order]
    answered, called = cells.answered.ravel()[order], cells.called.ravel()[order]
    if not np.allclose(table["called_m2"], called * pixel, rtol=1e-9, atol=0.06):
        problems.append(f"{PRIORITY}: says another area called a landslide than the map")
    # likelihood.tif is rounded to whole percent
    if (np.abs(expected - likely * pixel) > 0.00501 * answered * pixel + 0.06).any():
        problems.append(f"{PRIORITY}: expects another area than the likelihood of the map")
    return problems
