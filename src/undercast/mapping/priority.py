"""The priority list of a map: only of landslides, where the question is where to send help first."""

from pathlib import Path
from typing import Any

from undercast.mapping.job import Job
from undercast.product.cells import Cells
from undercast.product.polygons import event_values
from undercast.product.priority import marks_of, rank, summarise_priority, write_priority
from undercast.raster.windows import Window
from undercast.task import LANDSLIDE


def cells_of(job: Job) -> Cells | None:
    """Cells to sum the scene's blocks in; None for tasks that have no priority list."""
    if job.signature.task.name != LANDSLIDE.name:
        return None
    return Cells(job.scene.grid, job.config.priority.cell, event_values(job.entries))


def add_priority(folder: Path, job: Job, cells: Cells) -> tuple[dict[str, Any], list[Window]]:
    """Write the list of ``cells`` into ``folder``; what the summary says of it, and the cells that the picture marks.

    Raises:
        ProductError: a file cannot be written.
    """
    config, spread = job.config.priority, job.signature.count_spread
    ranked = rank(cells, config, spread)
    write_priority(folder, cells, ranked, job.scene.acquired)
    return summarise_priority(cells, ranked, config, spread), marks_of(cells, ranked, config)
