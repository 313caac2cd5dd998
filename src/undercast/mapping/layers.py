"""What the blocks of a scene go into: the rasters and polygons of a product, and what is counted on the way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undercast.mapping.job import Job
from undercast.mapping.priority import cells_of
from undercast.mapping.result import BlockResult
from undercast.mapping.views import View, views_of
from undercast.product.cells import Cells
from undercast.product.codes import input_entries
from undercast.product.layer import LayerWriter
from undercast.product.polygons import PolygonWriter
from undercast.product.quicklook import Preview
from undercast.product.summary import Tally
from undercast.product.trace import Strip
from undercast.product.write import CLASSES, INPUTS, LIKELIHOOD, RESTORED


@dataclass(frozen=True)
class Layers:
    """Layers and polygons, not yet finished, and what was counted.

    ``inputs`` is there where a model can do without some of its images, ``restored`` where it restores one that the
    scene has; ``seen`` ``[256]`` are pixels by what ``inputs`` says of them.
    """

    classes: LayerWriter
    likelihood: LayerWriter
    inputs: LayerWriter | None
    restored: LayerWriter | None
    polygons: PolygonWriter
    tally: Tally
    cells: Cells | None
    seen: NDArray[np.int64]
    views: Sequence[View]
    previews: Sequence[Sequence[Preview]]

    @property
    def rasters(self) -> list[LayerWriter]:
        """The layers there are."""
        return [layer for layer in (self.classes, self.likelihood, self.inputs, self.restored) if layer]

    def write(self, row: int, strip: Mapping[str, NDArray[Any]]) -> None:
        """Take in the next whole rows, from ``row`` on, of the layers on the map's grid."""
        self.classes.write(strip["codes"])
        self.likelihood.write(strip["likelihood"])
        self.polygons.take(Strip(row, strip["codes"], strip["likelihood"]))
        if self.inputs:
            self.inputs.write(strip["inputs"])

    def count(self, block: BlockResult) -> None:
        """Add what a block says of areas, of what was seen, and of the pictures."""
        self.tally.put(block.window, block.part("tally"))
        if self.cells:
            self.cells.put(block.window, block.part("cells"))
        if "inputs" in block.arrays:
            self.seen[:] += np.bincount(block.arrays["inputs"].ravel(), minlength=256)
        for number, bands in enumerate(self.previews):
            for band, preview in enumerate(bands):
                preview.put(block.source, block.part(f"preview.{number}.{band}"))


def open_layers(folder: Path, job: Job) -> Layers:
    """What the blocks of ``job`` go into, in ``folder``."""
    signature, grid, views = job.signature, job.grid, views_of(job)
    tags = {"UNDERCAST_MODEL": f"{signature.name} {signature.version}", "UNDERCAST_TASK": signature.task.name}
    what = signature.task.classes[1].name if len(signature.task) == 2 else "the likeliest class"
    return Layers(
        classes=LayerWriter(
            folder / CLASSES, grid, description="class", overviews="mode", entries=job.entries, tags=tags
        ),
        likelihood=LayerWriter(
            folder / LIKELIHOOD, grid, description=f"likelihood of {what}, %", overviews="average", tags=tags
        ),
        inputs=_inputs(folder, job, tags) if signature.optional else None,
        restored=_restored(folder, job, tags) if signature.restores in job.scene.images else None,
        polygons=PolygonWriter(folder, grid, job.entries, job.config.polygons, job.scene.acquired),
        tally=Tally(grid, job.entries),
        cells=cells_of(job),
        seen=np.zeros(256, np.int64),
        views=views,
        previews=[[Preview(job.scene.shape) for _ in view.channels] for view in views],
    )


def _inputs(folder: Path, job: Job, tags: dict[str, str]) -> LayerWriter:
    """Which images were seen: on the map's grid, a bit an image."""
    roles = list(job.signature.inputs)
    bits = ", ".join(f"{1 << bit} {role}" for bit, role in enumerate(roles))
    entries = input_entries(roles)
    return LayerWriter(
        folder / INPUTS, job.grid, description=f"images seen ({bits})", overviews="mode", entries=entries, tags=tags
    )


def _restored(folder: Path, job: Job, tags: dict[str, str]) -> LayerWriter:
    """The image as it would be under a clear sky: on the scene's grid, reflectance, a band a band."""
    role = str(job.signature.restores)
    bands = job.signature.inputs[role].bands
    tags = tags | {"UNIT": job.signature.inputs[role].unit, "RESTORED": "yes"}
    return LayerWriter(
        folder / RESTORED, job.scene.grid, description=bands, overviews="average", tags=tags, dtype="float32"
    )
