"""One scene on one sheet: what the optical sensor sees, what the radar sees, the map, and the truth."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from undercast.evaluate.figures import GREY, INK, PAPER, save_figure

SIDE = 4.6
"""Side of one panel, inches."""


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
    figure = Figure(figsize=(2 * SIDE + 0.1, 2 * SIDE + 1.5), facecolor=PAPER)
    panels = figure.subplots(2, 2)
    for axes, (name, picture) in zip(panels.flat, pictures.items(), strict=True):
        axes.imshow(picture, interpolation="antialiased")
        axes.set_title(name, fontsize=12, color=INK, loc="left", pad=6)
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(color=GREY, linewidth=0.5)
    width = next(iter(pictures.values())).shape[1]
    _scale_bar(panels.flat[0], width, pixel_size)
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.065, top=0.885, wspace=0.03, hspace=0.09)
    figure.text(0.01, 0.972, title, fontsize=17, color=INK, weight="bold", va="top")
    figure.text(0.01, 0.94, caption, fontsize=11, color=INK, va="top")
    handles = [Patch(facecolor=color, edgecolor=GREY, linewidth=0.6, label=name) for name, color in legend.items()]
    figure.legend(handles=handles, loc="lower left", ncol=len(handles), frameon=False, fontsize=11, handlelength=1.3)
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
    where: dict[str, Any] = {"transform": axes.transAxes, "color": INK}
    axes.text((left + right) / 2, low + 0.012, label, ha="center", va="bottom", fontsize=10, bbox=box, **where)
    axes.plot([left, right], [low, low], linewidth=3.5, solid_capstyle="butt", **where)
