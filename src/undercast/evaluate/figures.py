"""Pictures of a score: the reliability diagram, and the best and worst chips in the paper's colours."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from undercast.chip import Chip, ChipSource
from undercast.evaluate import scores
from undercast.evaluate.scoring import decide, enlarge, inputs_of, observed, seen
from undercast.evaluate.table import Row, Table
from undercast.predict import Predictor, answer
from undercast.task import NODATA, Task

# The colours of [Garg 2023], Fig. 8: blue water, peach dry (both from the task), black invalid, white cloud.
INVALID, CLOUD = "#000000", "#ffffff"
INK, GREY, PAPER = "#22272e", "#8b949e", "#ffffff"
LINES = ("#1f6fd6", "#d9742b", "#6a51a3", "#2b8a5f", "#c0392b")
Drawing = Callable[[NDArray[np.float32], Sequence[str]], NDArray[np.float32]]
PANEL = 2.25
"""Side of one panel of a gallery, inches."""


def reliability(table: Table, path: Path, bins: int = 20) -> None:
    """Draw how often class 1 was true against how likely each predictor called it, and how often it said so."""
    figure = Figure(figsize=(5.2, 5.8), facecolor=PAPER)
    upper, lower = figure.subplots(2, 1, height_ratios=(4, 1), sharex=True, gridspec_kw={"hspace": 0.08})
    upper.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)), label="perfect")
    for name, color in zip(table.predictors, LINES * len(table.predictors), strict=False):
        histogram = table.of(name).histogram.sum(0)
        wrong, right, total = scores.coarsen(histogram, bins)
        pixels = wrong + right
        drawn = pixels > 0
        error = scores.calibration_error(histogram, bins)
        label = f"{name}   (ECE {error:.3f})"
        points = total[drawn] / pixels[drawn], right[drawn] / pixels[drawn]
        upper.plot(*points, "o-", color=color, markersize=4, linewidth=1.6, label=label)
        share = pixels / max(pixels.sum(), 1)
        lower.step(np.linspace(0, 1, bins + 1), np.append(share, share[-1]), where="post", color=color, linewidth=1.4)
    stated = f"probability of {table.classes[1]}" if len(table.classes) == 2 else "probability of the likeliest class"
    upper.set(ylabel="share observed", xlim=(0, 1), ylim=(0, 1))
    upper.legend(frameon=False, loc="upper left", fontsize=9)
    lower.set(xlabel=f"{stated}, as answered", ylabel="pixels", yscale="log")
    for axes in (upper, lower):
        _quiet(axes)
    save_figure(figure, path, dpi=160)


def gallery(
    source: ChipSource,
    predictors: Mapping[str, Predictor],
    table: Table,
    path: Path,
    *,
    count: int = 3,
    target: str | None = None,
) -> None:
    """Draw the ``count`` best and worst chips of the last predictor, beside the truth and what the others answered.

    Chips are ordered by the IoU of class 1 (of two classes) or by accuracy; those that hold nothing to be found, or
    nothing valid, are left out. ``table`` holds the rows of ``predictors`` on ``source``.
    """
    target = target or source.task.name
    main = list(predictors)[-1]
    ranked = sorted((row for row in table.of(main) if np.isfinite(_grade(row))), key=_grade, reverse=True)
    if not ranked:
        return
    rows = ranked if len(ranked) <= 2 * count else ranked[:count] + ranked[-count:]
    numbers = {info.key: number for number, info in enumerate(source.index)}
    roles = [role for role in ("s1", "s2") if role in source.modalities]
    titles = [{"s1": "radar", "s2": "optical"}[role] for role in roles] + ["truth", *predictors]
    figure = Figure(figsize=(PANEL * len(titles) + 0.3, PANEL * len(rows) + 0.75), facecolor=PAPER)
    panels = figure.subplots(len(rows), len(titles), squeeze=False)
    for line, row in zip(panels, rows, strict=True):
        chip = source[numbers[row.info.key]]
        pictures = _pictures(source, chip, predictors, roles, target)
        marks = [""] * (len(roles) + 1) + [_mark(table, name, row.info.key) for name in predictors]
        for axes, picture, mark in zip(line, pictures, marks, strict=True):
            _panel(axes, picture, mark)
        line[0].set_ylabel(row.info.key, fontsize=8, color=INK, labelpad=4)
    for axes, title in zip(panels[0], titles, strict=True):
        axes.set_title(title, fontsize=10, color=INK, pad=6)
    side, top = 0.3 / figure.get_figwidth(), 1 - 0.32 / figure.get_figheight()
    low = 0.42 / figure.get_figheight()
    figure.subplots_adjust(left=side, right=1 - side / 6, top=top, bottom=low, wspace=0.03, hspace=0.03)
    _legend(figure, source.task)
    save_figure(figure, path, dpi=130)


def radar_picture(s1: NDArray[np.float32], bands: Sequence[str]) -> NDArray[np.float32]:
    """RGB ``[H, W, 3]`` 0 to 1 of radar ``[C, H, W]``: red VV, blue VH, green between; one band is grey; unseen black.

    Water is dark, forest bluish, town reddish. The stretch is fixed in dB, so that two places can be compared.
    """
    if "VV" in bands and "VH" in bands:
        vv, vh = s1[list(bands).index("VV")], s1[list(bands).index("VH")]
        red, blue = _stretch(vv, -22, -2), _stretch(vh, -29, -9)
        channels = [red, np.float32(0.35) * red + np.float32(0.65) * blue, blue]
    else:
        low, high = (-22.0, -3.0) if np.nanmin(s1[0], initial=0) < 0 else (0.0, 1.0)
        channels = [_stretch(s1[0], low, high)] * 3
    picture: NDArray[np.float32] = np.stack(channels, axis=-1)
    return np.nan_to_num(picture, nan=0.0)


def optical_picture(
    s2: NDArray[np.float32], bands: Sequence[str], limits: tuple[float, float] | None = None
) -> NDArray[np.float32]:
    """RGB ``[H, W, 3]`` 0 to 1: true colour where B04, B03, B02 are there, else the first three bands; unseen black.

    One stretch for the three bands, so that colours stay true: ``limits`` in their unit, or else from the 1st to the
    98th percentile of the chip.
    """
    names = list(bands)
    order = [names.index(band) for band in ("B04", "B03", "B02")] if {"B04", "B03", "B02"} <= set(names) else [0, 1, 2]
    chosen = s2[[channel for channel in order if channel < len(s2)]]
    seen = chosen[np.isfinite(chosen)]
    if seen.size == 0:
        return np.zeros((*s2.shape[1:], 3), np.float32)
    low, high = limits or tuple(np.percentile(seen, [1, 98]).tolist())
    picture = np.moveaxis(_stretch(chosen, float(low), float(high)), 0, -1) ** np.float32(0.8)
    return np.nan_to_num(np.broadcast_to(picture, (*picture.shape[:2], 3)), nan=0.0)


def class_picture(classes: NDArray[np.uint8], task: Task, cloud: NDArray[np.bool_] | None = None) -> NDArray[np.uint8]:
    """RGB ``[h, w, 3]`` of classes in the task's colours; 255 is black, and white where ``cloud`` says so."""
    picture = task.palette()[classes]
    picture[classes == NODATA] = (0, 0, 0)
    if cloud is not None:
        picture[(classes == NODATA) & cloud] = (255, 255, 255)
    return picture


def _pictures(
    source: ChipSource, chip: Chip, predictors: Mapping[str, Predictor], roles: Sequence[str], target: str
) -> list[NDArray[Any] | None]:
    drawn: Mapping[str, Drawing] = {"s1": radar_picture, "s2": optical_picture}
    pictures: list[NDArray[Any] | None] = []
    for role in roles:
        image = chip.images[role]
        taken = np.isfinite(image).any()
        pictures.append(drawn[role](image, source.modalities[role].bands) if taken else None)
    truth = chip.targets[target]
    pictures.append(class_picture(truth, source.task, _unlabelled_but_seen(chip, truth)))
    for predictor in predictors.values():
        signature = predictor.signature
        images = inputs_of(signature, source, chip)
        classes = decide(answer(predictor, images), observed(signature, images, truth.shape), signature.threshold)
        pictures.append(class_picture(classes, source.task))
    return pictures


def _unlabelled_but_seen(chip: Chip, truth: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where there is no label though the radar saw the ground: the labeller, who looked at S2, saw cloud."""
    role = "s1" if "s1" in chip.images else next(iter(chip.images))
    unlabelled: NDArray[np.bool_] = truth == NODATA
    return unlabelled & enlarge(seen(chip.images[role]), truth.shape)


def _grade(row: Row) -> float:
    if row.valid == 0:
        return float("nan")
    return float(scores.iou(row.confusion)[1] if len(row.confusion) == 2 else scores.accuracy(row.confusion))


def _mark(table: Table, name: str, key: str) -> str:
    grade = next((_grade(row) for row in table.of(name) if row.info.key == key), float("nan"))
    return f"{grade:.2f}" if np.isfinite(grade) else "–"


def _stretch(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    shares: NDArray[np.float32] = (values - np.float32(low)) / np.float32(max(high - low, 1e-6))
    return shares.clip(0, 1)


def _panel(axes: Any, picture: NDArray[Any] | None, mark: str) -> None:
    if picture is None:
        axes.set_facecolor("#eef0f3")
        axes.set_box_aspect(1)
        axes.text(0.5, 0.5, "no image", transform=axes.transAxes, ha="center", va="center", fontsize=8, color=GREY)
    else:
        axes.imshow(picture, interpolation="nearest" if picture.shape[0] <= 256 else "antialiased")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color=GREY, linewidth=0.4)
    if mark:
        box = {"boxstyle": "round,pad=0.25", "facecolor": PAPER, "edgecolor": "none", "alpha": 0.88}
        axes.text(
            0.965, 0.035, mark, transform=axes.transAxes, ha="right", va="bottom", fontsize=8, color=INK, bbox=box
        )


def _legend(figure: Figure, task: Task) -> None:
    entries = {label.name: label.color for label in task.classes} | {"not observed": INVALID, "no label (cloud)": CLOUD}
    handles = [Patch(facecolor=color, edgecolor=GREY, linewidth=0.6, label=name) for name, color in entries.items()]
    figure.legend(handles=handles, loc="lower center", ncol=len(handles), frameon=False, fontsize=9, handlelength=1.2)


def _quiet(axes: Any) -> None:
    axes.tick_params(colors=INK, labelsize=8, length=3)
    axes.grid(visible=True, color="#e6e9ed", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GREY)


def save_figure(figure: Figure, path: Path, dpi: int) -> None:
    """Write ``figure`` to ``path``, whose folder is made, the same bytes for the same picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure)
    # No software tag: the same scores give the same bytes.
    figure.savefig(path, dpi=dpi, facecolor=PAPER, metadata={"Software": None}, bbox_inches="tight", pad_inches=0.12)
