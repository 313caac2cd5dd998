"""One scene on one sheet: what the optical sensor sees, what the radar sees, the map, and the truth."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import Normal, Stroke
from numpy.typing import NDArray

from undercast.evaluate.figures import GREY, INK, PAPER, save_figure

SIDE, GAP, TITLE, LEGEND, HEAD = 4.6, 0.15, 0.3, 0.42, 0.8
"""Side of a panel, space between panels, and heights of a panel's title, of the legend and of the head, inches."""


def draw_panels(
    path: Path,
    pictures: Mapping[str, NDArray[Any]],
    *,
    legend: Mapping[str, str],
    pixel_size: float,
    title: str,
    caption: str,
) -> None:
    """Draw ``pictures`` (title → RGB ``[H, W, 3]``, all of one ground) two by two with a scale bar and a legend.

    Args:
        path: the PNG to write.
        pictures: four pictures, in reading order.
        legend: name → ``#rrggbb``.
        pixel_size: ground distance of a pixel, metres.
        title: of the sheet.
        caption: a line under it: what was measured.
    """
    # Laid out in inches from the bottom left, so that the panels are square and the space between them is even.
    width, height = 2 * SIDE + 3 * GAP, 2 * (SIDE + TITLE) + LEGEND + HEAD
    figure = Figure(figsize=(width, height), facecolor=PAPER)
    columns = next(iter(pictures.values())).shape[1]
    for number, (name, picture) in enumerate(pictures.items()):
        row, col = divmod(number, 2)
        left, low = GAP + col * (SIDE + GAP), LEGEND + (1 - row) * (SIDE + TITLE)
        axes = figure.add_axes((left / width, low / height, SIDE / width, SIDE / height))
        axes.imshow(picture, interpolation="antialiased")
        axes.set_title(name, fontsize=11, color=INK, loc="left", pad=5)
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(color=GREY, linewidth=0.5)
        if number == 0:
            _scale_bar(axes, columns, pixel_size)
    figure.text(GAP / width, 1 - 0.14 / height, title, fontsize=17, color=INK, weight="bold", va="top")
    figure.text(GAP / width, 1 - 0.50 / height, caption, fontsize=11, color=INK, va="top")
    handles = [Patch(facecolor=color, edgecolor=GREY, linewidth=0.6, label=name) for name, color in legend.items()]
    style: dict[str, Any] = {"frameon": False, "handlelength": 1.3, "borderaxespad": 0.0, "ncol": max(4, len(handles))}
    style |= {"fontsize": 11} if len(handles) <= 4 else {"fontsize": 10, "columnspacing": 1.2}
    figure.legend(handles=handles, loc="lower left", bbox_to_anchor=(GAP / width, 0.08 / height), **style)
    save_figure(figure, path, dpi=110)


def _scale_bar(axes: Any, width: int, pixel_size: float) -> None:
    """A bar of a round length, about a fifth of the picture."""
    target = width * pixel_size / 5
    step = 10 ** np.floor(np.log10(target))
    length = max(factor * step for factor in (1, 2, 5) if factor * step <= target)
    label = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    low, left = 0.045, 0.035
    right = left + length / pixel_size / width
    box = {"boxstyle": "square,pad=0.35", "facecolor": PAPER, "edgecolor": "none", "alpha": 0.85}
    halo = [Stroke(linewidth=6, foreground=PAPER), Normal()]  # seen on dark ground too
    where: dict[str, Any] = {"transform": axes.transAxes, "color": INK}
    axes.text((left + right) / 2, low + 0.012, label, ha="center", va="bottom", fontsize=10, bbox=box, **where)
    axes.plot([left, right], [low, low], linewidth=3.5, solid_capstyle="butt", path_effects=halo, **where)
