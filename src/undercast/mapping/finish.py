"""The rest of a product, from its layers: polygons, areas by unit, numbers, record, picture and catalogue item."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undercast.mapping.job import Job
from undercast.mapping.layers import Layers
from undercast.mapping.priority import add_priority, sentence_of
from undercast.mapping.views import pictures
from undercast.product.areas import split_layer, write_areas
from undercast.product.codes import FLOOD as FLOODED
from undercast.product.codes import PERMANENT, WATER, input_entries
from undercast.product.polygons import PolygonCount, Source
from undercast.product.quicklook import draw_quicklook
from undercast.product.record import crs_name, describe_inputs, versions, write_json
from undercast.product.stac import write_item
from undercast.product.summary import percent, square_km, summarise
from undercast.product.write import CLASSES, QUICKLOOK, RECORD, SUMMARY
from undercast.raster.exclusion import TerrainMask
from undercast.raster.windows import Window
from undercast.signature import Signature
from undercast.task import FLOOD, LANDSLIDE


def finish_product(folder: Path, job: Job, layers: Layers) -> dict[str, Any]:
    """Finish ``layers``, add everything else to ``folder``, and return the summary.

    Raises:
        ProductError: a file cannot be written, or does not read back as it was written.
    """
    with ThreadPoolExecutor(2, "finish") as finishing:
        finished = [finishing.submit(layer.finish) for layer in layers.rasters]
        polygons = layers.polygons.finish(_sources(job))
        for layer in finished:
            layer.result()
        checked = [finishing.submit(layer.check) for layer in layers.rasters]
        if job.units:
            write_areas(folder, job.units, job.entries, job.config.areas)
        summary, marks = _summary(job, layers, polygons), list[Window]()
        if layers.cells:
            summary["priority"], marks = add_priority(folder, job, layers.cells)
            summary["sentence"] = sentence_of(summary)
        write_json(summary, folder / SUMMARY)
        write_json(describe(job), folder / RECORD)
        _draw(folder, job, layers, summary, marks)
        for layer in checked:
            layer.result()
    write_item(folder, job.entries)
    return summary


def headline(summary: dict[str, Any]) -> str:
    """The verdict in a few words, with the area that it rests on."""
    if summary["task"] == LANDSLIDE.name:
        return f"Landslides expected on {square_km(summary['expected_area_m2'][LANDSLIDE.classes[1].name])}"
    verdict = str(summary.get("verdict") or f"{summary['task']} map")
    area = summary["area_m2"].get({"flood": "flood", "flood or permanent water": "water"}.get(verdict, ""), 0.0)
    return verdict.capitalize() + (f": {square_km(area)}" if area else "")


def _summary(job: Job, layers: Layers, polygons: PolygonCount) -> dict[str, Any]:
    scene, signature = job.scene, job.signature
    keys = {entry.value: entry.key for entry in job.entries}
    body: dict[str, Any] = {"task": signature.task.name, "scene": scene.name}
    is_flood = signature.task.name == FLOOD.name
    body |= summarise(layers.tally, job.config.verdict, reference=bool(job.references), flood=is_flood)
    expected = layers.tally.expected()
    looked_for = signature.task.classes[1 if signature.task.background else 0 :]
    body["expected_area_m2"] = {label.name: round(expected.get(label.value, 0.0), 1) for label in looked_for}
    if layers.inputs:
        body["inputs"] = _inputs(signature, layers.seen)
    if is_flood:
        areas = layers.tally.areas()
        body["water_area_m2"] = round(sum(areas[value] for value in (PERMANENT, FLOODED, WATER)), 1)
    body["domain"] = job.guard.found
    body["polygons"] = {
        "minimum_area_m2": job.config.polygons.minimum_area,
        "layers": polygons.layers,
        "left_out": {keys[value]: count for value, count in polygons.dropped.items()},
        "left_out_pixels": {keys[value]: count for value, count in polygons.dropped_pixels.items()},
    }
    if job.areas and job.units:
        body["areas"] = {"file": Path(split_layer(job.areas)[0]).name, "units": len(job.units.shapes)}
    return body | {
        "acquired": f"{scene.acquired:%Y-%m-%dT%H:%M:%SZ}" if scene.acquired else None,
        "crs": crs_name(job.grid),
        "shape": _shape(job),
        "model": _model(job),
        "notes": [*scene.notes, *job.guard.notes, *_cautions(job, body)],
    }


def _shape(job: Job) -> list[int]:
    return [int(length) for length in job.grid.shape]


def _inputs(signature: Signature, seen: NDArray[np.int64]) -> dict[str, Any]:
    """What the model had, in pixels of the map: by each set of its images, and what each stands for in the layer."""
    roles = list(signature.inputs)
    return {
        "bits": {role: 1 << bit for bit, role in enumerate(roles)},
        "pixels": {entry.key: int(seen[entry.value]) for entry in input_entries(roles)},
    }


def _cautions(job: Job, body: dict[str, Any]) -> list[str]:
    """What a reader of the numbers should know before resting on them."""
    found = []
    if isinstance(job.relief, TerrainMask) and job.relief.unknown:
        found.append(
            f"dem: the elevation is unknown on {percent(job.relief.unknown)} of the scene; nothing is excluded there"
        )
    mapped = body.get("water_area_m2", np.inf)
    expected = body["expected_area_m2"].get("water", 0.0)
    if expected - mapped > max(mapped, job.config.verdict.minimum_area):
        found.append(
            f"expected_area_m2 of water is {square_km(expected)}, of which {square_km(mapped)} are mapped: the rest is "
            "the sum of small likelihoods over dry ground; rest on the mapped area where a scene is nearly dry"
        )
    return found


def _model(job: Job) -> dict[str, Any]:
    return {"name": job.model.name, "version": job.signature.version, "precision": job.precision}


def _declared(job: Job) -> dict[str, Any]:
    """What the user said of the inputs."""
    optical = {"optical": job.optical} if job.optical else {}
    return {"unit": job.unit, **optical, "nodata": job.nodata}


def describe(job: Job) -> dict[str, Any]:
    """The run record: all that the product's bytes depend on. Waits for what goes in to be hashed."""
    scene, digests = job.scene, {path: future.result() for path, future in job.digests.items()}
    body = {
        "versions": versions(),
        "model": _model(job) | {"sha256": job.model.digest(job.precision), "threshold": job.signature.threshold},
        "inputs": describe_inputs(scene, digests),
        "parameters": job.config.recorded(job.signature.task) | _declared(job),
        "grid": {"crs": crs_name(job.grid), "transform": list(job.grid.affine)[:6], "shape": _shape(job)},
    }
    if job.areas:
        path, layer = split_layer(job.areas)
        body["areas"] = {"file": Path(path).name, "layer": layer, "sha256": digests[path]}
    return body


def _sources(job: Job) -> list[Source]:
    """Every file that went in, once for each role that it serves."""
    sources = []
    for role, image in job.scene.images.items():
        for path in dict.fromkeys(item.header.path for item in image.bands):
            header = next(item.header for item in image.bands if item.header.path == path)
            acquired = f"{header.acquired:%Y-%m-%dT%H:%M:%SZ}" if header.acquired else None
            sources.append(
                Source(role, image.modality.instrument, Path(path).name, acquired, job.digests[path].result())
            )
    return sources


def _draw(folder: Path, job: Job, layers: Layers, summary: dict[str, Any], marks: list[Window]) -> None:
    scene = job.scene
    draw_quicklook(
        folder / QUICKLOOK,
        class_map=folder / CLASSES,
        pictures=pictures(layers.views, layers.previews),
        marks=marks,
        grid=scene.grid,
        entries=job.entries,
        areas=layers.tally.areas(),
        title=headline(summary),
        scene=summary["scene"],
        acquired=scene.acquired,
        credit=f"undercast · {job.model.name} {job.signature.version} · {percent(summary['observed_share'])} observed",
    )
