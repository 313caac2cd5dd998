"""Several trained networks as one teacher: opened, asked about whole chips, and its answers kept."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch

from undercast.chip import ChipSource
from undercast.datasets.answered import Answered
from undercast.engine.place import Place
from undercast.engine.predictor import TorchPredictor
from undercast.export import load_segmenter
from undercast.model import WEIGHTS, ModelFolder
from undercast.predict import Predictor
from undercast.predict.committee import Committee, Views
from undercast.predict.windows import Windows


def open_ensemble(
    folders: Sequence[Path], *, views: Views = 4, tile: int = 0, device: "torch.device | str" = "cpu"
) -> Predictor:
    """The mean of the networks in ``folders`` over mirrored ``views``, and over windows of ``tile`` where it is not 0.

    Probabilities are as learned, before any calibration.
    """
    models = [ModelFolder.open(folder) for folder in folders]
    members: list[Predictor] = [
        TorchPredictor(load_segmenter(model).to(device), model.signature.model_copy(update={"temperature": 1.0}))
        for model in models
    ]
    return Committee([Windows(member, tile) for member in members] if tile else members, views)


def answered_by(
    folders: Sequence[Path],
    source: ChipSource,
    roles: tuple[str, ...],
    kept: Path,
    place: Place,
    *,
    views: Views = 4,
    tile: int = 0,
) -> Answered:
    """The chips of ``source`` with what the ensemble says of each, all asked now and kept in the folder ``kept``."""
    fabric = place.launch()
    digest = hashlib.sha256(f"{views} {tile} {place.precision}".encode())
    for folder in folders:
        digest.update(hashlib.sha256((folder / WEIGHTS).read_bytes()).digest())
    ensemble = open_ensemble(folders, views=views, tile=tile, device=fabric.device)
    chips = Answered(source, ensemble, roles, kept, digest.hexdigest())
    # All now: the threads that feed a training know nothing of this one's precision.
    with fabric.autocast():
        for number in range(len(chips)):
            chips[number]
    return chips
