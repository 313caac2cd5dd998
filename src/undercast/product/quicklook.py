"""The picture an analyst looks at first: what the sensor saw beside what the map says."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling

from undercast.product.area import ground_size
from undercast.product.codes import Entry
from undercast.product.summary import square_km
from undercast.raster.windows import Window

SIDE = 1100
"""Rows or columns of the larger side of the picture of a scene, pixels."""

INK, PAPER, FAINT = "#1f2933", "#ffffff", "#66707a"


class Preview:
    """A small version of one band, averaged over square cells while the scene goes by.

    Sums are kept in whole hundredths, so that the picture does not depend on the order or size of blocks.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.step = max(1, math.ceil(max(shape) / SIDE))
        small = -(-shape[0] // self.step), -(-shape[1] // self.step)
        self._sum = np.zeros(small, np.int64)
        self._count = np.zeros(small, np.int64)

    def add(self, window: Window, band: NDArray[np.float32]) -> None:
        """Take in a block of the band, ``[h, w]`` float32, NaN where unseen."""
        self.put(window, self.sums(window, band))

    def sums(self, window: Window, band: NDArray[np.float32]) -> dict[str, NDArray[np.int32]]:
        """What a block adds to the cells that it touches; see :meth:`add`. Changes nothing."""
        whole = band * np.float32(100)
        np.rint(whole, out=whole)
        rows, cols = (_cells(*side, self.step)[0] for side in ((window.row, window.height), (window.col, window.width)))
        if np.isfinite(whole.sum(dtype=np.float32)):
            count = np.outer(np.diff(rows, append=window.height), np.diff(cols, append=window.width))
        else:
            seen = np.isfinite(whole)
            np.copyto(whole, 0, where=~seen)
            count = _over_cells(seen.view(np.uint8), rows, cols, np.int32)
        # single precision adds whole numbers exactly up to 2²⁴: a thousand rows of a hundred decibels
        return {"sum": _over_cells(whole, rows, cols, np.float32), "count": count.astype(np.int32)}

    def put(self, window: Window, sums: Mapping[str, NDArray[np.int32]]) -> None:
        """Add what :meth:`sums` gave for ``window``."""
        height, width = sums["sum"].shape
        row, col = window.row // self.step, window.col // self.step
        self._sum[row : row + height, col : col + width] += sums["sum"]
        self._count[row : row + height, col : col + width] += sums["count"]

    def image(self) -> NDArray[np.float32]:
        """The averages ``[h, w]`` float32, NaN where nothing was seen."""
        average = self._sum / np.maximum(self._count, 1) / 100
        return np.where(self._count > 0, average, np.nan).astype(np.float32)


def _over_cells(values: NDArray[Any], rows: NDArray[np.intp], cols: NDArray[np.intp], dtype: type) -> NDArray[np.int32]:
    """Sums over the cells that begin at ``rows`` and ``cols``, by rows first, in ``dtype``, which goes along memory."""
    strips = [values[first:last].sum(axis=0, dtype=dtype) for first, last in pairwise([*rows, len(values)])]
    return np.add.reduceat(np.stack(strips).astype(np.int32), cols, axis=1)


def _cells(first: int, size: int, step: int) -> tuple[NDArray[np.intp], int]:
    """Where the cells that ``size`` pixels from ``first`` on touch begin within them, and the first cell's number."""
    starts = np.arange(first // step, -(-(first + size) // step)) * step - first
    return np.maximum(starts, 0).astype(np.intp), first // step


class Picture(NamedTuple):
    """What is shown beside the map: one band in grey, or red, green and blue; ``clear`` where the sky is."""

    title: str
    bands: tuple[Preview, ...]
    clear: bool = False


def draw_quicklook(
    path: Path,
    *,
    class_map: Path,
    pictures: Sequence[Picture],
    grid: GeoBox,
    entries: tuple[Entry, ...],
    areas: dict[int, float],
    title: str,
    scene: str,
    acquired: datetime | None,
    credit: str,
    marks: Sequence[Window] = (),
) -> None:
    """Draw the scene beside its map, with legend, scale bar and date: a PNG, the same bytes each time.

    ``grid`` is that of the pictures. Those in colour are stretched alike, as one under a clear sky asks. ``marks`` are
    framed on the map and numbered in their order.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    background = pictures[0].bands[0].image()
    height, width = background.shape
    with rasterio.open(class_map) as source:
        codes = source.read(1, out_shape=(height, width), resampling=Resampling.nearest)
    tall, wide = ground_size(grid)
    rows = math.ceil(sum(areas[entry.value] > 0 for entry in entries) / 3)
    size, boxes, sheet = _layout((height * tall) / (width * wide), len(pictures) + 1, max(rows - 2, 0) * 0.24)
    figure = Figure(figsize=sheet, dpi=110, facecolor=PAPER)
    FigureCanvasAgg(figure)
    figure.text(0.3 / sheet[0], 1 - 0.52 / sheet[1], title, fontsize=19, fontweight="bold", color=INK)
    when = f"{acquired:%d %B %Y, %H:%M} UTC" if acquired else "date not known"
    figure.text(0.3 / sheet[0], 1 - 0.86 / sheet[1], f"{scene}  ·  {when}", fontsize=10.5, color=FAINT)
    drawn = [*_images(pictures), _paint(codes, background, entries)]
    names = [*(picture.title for picture in pictures), "Map"]
    for (left, bottom), image, name in zip(boxes, drawn, names, strict=True):
        axes = figure.add_axes((left / sheet[0], bottom / sheet[1], size[0] / sheet[0], size[1] / sheet[1]))
        axes.imshow(image, aspect="auto", origin="lower" if grid.affine.e > 0 else "upper")
        axes.set_title(name, fontsize=10.5, color=INK, loc="left", pad=5)
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_color("#c4cad0")
    step = pictures[0].bands[0].step
    _frame(axes, marks, step, (height, width))
    _scale_bar(axes, width * step * wide, size)
    _legend(figure, entries, areas, codes, credit, boxes[-1][1] - 0.11)
    figure.savefig(path, metadata={"Software": None})


def _layout(
    ratio: float, count: int, below: float
) -> tuple[tuple[float, float], list[tuple[float, float]], tuple[float, float]]:
    """Width and height of a panel, left and bottom of each of ``count``, and the sheet's size, all in inches.

    ``ratio`` is the scene's height over its width on the ground; wide scenes stand above one another, others beside.
    ``below`` is room for a longer legend.
    """
    foot = 0.95 + below
    if ratio < 0.62:
        wide, high = 11.0, max(11.0 * ratio, 0.7)
        boxes = [(0.3, foot + (count - 1 - panel) * (high + 0.4)) for panel in range(count)]
        return (wide, high), boxes, (wide + 0.6, foot + count * (high + 0.4) + 0.9)
    side, most = (6.2, 9.0) if count == 2 else (5.0, 7.5)
    high = min(side * ratio, most)
    wide = max(high / ratio, 1.0)
    boxes = [(0.3 + panel * (wide + 0.2), foot) for panel in range(count)]
    return (wide, high), boxes, (max(count * (wide + 0.2) + 0.4, 9.0), foot + high + 1.3)


def _images(pictures: Sequence[Picture]) -> list[NDArray[np.float32]]:
    """The pictures ``[h, w, 3]``, 0 to 1."""
    model = next((picture for picture in pictures if picture.clear), pictures[0])
    colours = np.stack([band.image() for band in model.bands])
    seen = colours[np.isfinite(colours)]
    low, high = np.percentile(seen, (1, 99)) if seen.size else (0.0, 1.0)
    images = []
    for picture in pictures:
        if len(picture.bands) == 1:
            images.append(_grey(picture.bands[0].image()))
            continue
        image = np.stack([band.image() for band in picture.bands], axis=-1)
        shown = np.clip((image - low) / max(high - low, 1e-6), 0, 1)
        images.append(np.where(np.isfinite(image), shown, 0.15).astype(np.float32))
    return images


def _grey(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """The band as grey ``[h, w, 3]``, stretched between its 1st and 99th percentile; unseen in the colour of 255."""
    seen = image[np.isfinite(image)]
    low, high = np.percentile(seen, (1, 99)) if seen.size else (0.0, 1.0)
    shade = np.clip((image - low) / max(high - low, 1e-6), 0, 1)
    grey = np.repeat(shade[:, :, None], 3, axis=2).astype(np.float32)
    grey[~np.isfinite(image)] = np.array([0.15, 0.15, 0.15], np.float32)
    return grey


def _paint(
    codes: NDArray[np.uint8], background: NDArray[np.float32], entries: tuple[Entry, ...]
) -> NDArray[np.float32]:
    """The classes in their colours ``[h, w, 3]``; the background keeps a little of the image, so that land is known."""
    table = np.zeros((256, 3), np.float32)
    for entry in entries:
        table[entry.value] = np.array(entry.rgb, np.float32) / 255
    painted = table[codes]
    first = np.zeros(codes.shape, bool) if entries[0].event else codes == entries[0].value
    shade = 0.62 + 0.38 * _grey(background)
    painted[first] *= shade[first]
    return painted


def _frame(axes: Any, marks: Sequence[Window], step: int, shape: tuple[int, int]) -> None:
    """A numbered frame around each of ``marks``; ``step`` pixels are one of the picture, which is of ``shape``."""
    from matplotlib.patches import Rectangle

    for number, mark in enumerate(marks, start=1):
        top, left = mark.row / step, mark.col / step
        bottom, right = min((mark.row + mark.height) / step, shape[0]), min((mark.col + mark.width) / step, shape[1])
        # pixel 0 of a picture reaches from -0.5 to 0.5
        place = (left - 0.5, top - 0.5), right - left, bottom - top
        axes.add_patch(Rectangle(*place, fill=False, edgecolor=INK, linewidth=1.1))
        axes.text(
            left - 0.5, top - 0.5, f" {number} ", fontsize=8, color=PAPER, ha="left", va="top",
            bbox={"facecolor": INK, "edgecolor": "none", "pad": 0.8}, clip_on=True,
        )  # fmt: skip


def _scale_bar(axes: Any, metres: float, size: tuple[float, float]) -> None:
    """A bar of a round length in the lower left corner of a picture ``metres`` wide that is ``size`` inches."""
    from matplotlib.patches import Rectangle

    wanted = metres * min(0.3, 1.6 / size[0])
    power = 10.0 ** math.floor(math.log10(wanted))
    length = max(step * power for step in (1, 2, 5) if step * power <= wanted)
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    share = length / metres
    x, y = 0.16 / size[0], 0.16 / size[1]

    def bar(left: float, bottom: float, width: float, height: float, **style: Any) -> None:
        axes.add_patch(Rectangle((left, bottom), width, height, transform=axes.transAxes, edgecolor="none", **style))

    bar(x / 2, y / 2, share + x, 0.38 / size[1], facecolor="white", alpha=0.85)
    bar(x, y, share, 0.05 / size[1], facecolor=INK)
    axes.text(
        x + share / 2,
        y + 0.09 / size[1],
        text,
        transform=axes.transAxes,
        fontsize=9,
        color=INK,
        ha="center",
        va="bottom",
    )


def _legend(
    figure: Any, entries: tuple[Entry, ...], areas: dict[int, float], codes: NDArray[np.uint8], credit: str, top: float
) -> None:
    """One patch and area for every class there is, from ``top`` inches down, and who made the map."""
    from matplotlib.patches import Patch

    present = [entry for entry in entries if areas[entry.value] > 0]
    handles = [
        Patch(facecolor=entry.color, edgecolor="#9aa3ab", label=f"{entry.name}  {square_km(areas[entry.value])}")
        for entry in present
    ]
    full_width, full_height = figure.get_size_inches()
    # As many to a row as the sheet is wide for; the longest name needs about two and a half inches.
    columns = max(3, min(len(handles), int(full_width / 2.4)))
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(0.22 / full_width, top / full_height), ncols=columns,
        frameon=False, fontsize=10, handlelength=1.2, handleheight=1.0, columnspacing=1.8, borderpad=0.2,
    )  # fmt: skip
    figure.text(0.3 / full_width, 0.16 / full_height, credit, fontsize=8, color=FAINT)
