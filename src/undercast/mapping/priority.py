"""The priority list of a map: only of landslides, where the question is where to send help first."""

from pathlib import Path
from typing import Any

from undercast.mapping.job import Job
from undercast.product.cells import Cells
from undercast.product.polygons import event_values
from undercast.product.priority import marks_of, rank, summarise_priority, write_priority
from undercast.product.summary import percent, square_km
from undercast.raster.windows import Window
from undercast.task import LANDSLIDE


def cells_of(job: Job) -> Cells | None:
    """Cells to sum the scene's blocks in; None for tasks that have no priority list."""
    if job.signature.task.name != LANDSLIDE.name:
        return None
    return Cells(job.grid, job.config.priority.cell, event_values(job.entries))


def add_priority(folder: Path, job: Job, cells: Cells) -> tuple[dict[str, Any], list[Window]]:
    """Write the list of ``cells`` into ``folder``; what the summary says of it, and the cells that the picture marks.

    Raises:
        ProductError: a file cannot be written.
    """
    config, spread = job.config.priority, job.signature.count_spread
    ranked = rank(cells, config, spread)
    write_priority(folder, cells, ranked, job.scene.acquired)
    return summarise_priority(cells, ranked, config, spread), marks_of(cells, ranked, config)


def sentence_of(summary: dict[str, Any]) -> str:
    """What the list says, in words: how much is to be expected, and where to look first."""
    (name,) = summary["expected_area_m2"]
    expected, called = summary["expected_area_m2"][name], summary["area_m2"][LANDSLIDE.classes[1].name]
    seen = f"{percent(summary['observed_share'])} of the scene was observed"
    text = f"Landslides are expected on {square_km(expected)} (called on {square_km(called)}); {seen}."
    first = summary["priority"]["first"]
    if not first or not first[0]["expected_m2"]:
        return text
    within = ""
    if first[0]["low_m2"] is not None:
        within = f" ({square_km(first[0]['low_m2'])} to {square_km(first[0]['high_m2'])})"
    return (
        f"{text} First of {summary['priority']['cells']} cells: {square_km(first[0]['expected_m2'])}{within} "
        f"around {_degrees(first[0]['latitude'], 'NS')}, {_degrees(first[0]['longitude'], 'EW')}."
    )


def _degrees(value: float, sides: str) -> str:
    return f"{abs(value):.4f}° {sides[value < 0]}"
