"""All that a run needs to go on as if it had not stopped, in one safetensors file."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from undercast.engine.average import Average
from undercast.errors import TrainingError

# What the learner is, by prefix of the tensors' names. The shuffle, the augmentation, dropout and the learning rate
# are functions of the step, so the step is all they need.
OBJECTIVE, AVERAGE, OPTIMISER = "objective.", "average.", "optimiser."


def save(
    path: Path, objective: nn.Module, average: Average, optimiser: Optimizer, *, step: int, settings: object
) -> None:
    """Write the state after ``step`` steps: aside first, then renamed, so that ``path`` is always whole."""
    tensors = {OBJECTIVE + name: tensor for name, tensor in objective.state_dict().items()}
    tensors |= {AVERAGE + name: tensor for name, tensor in average.mean.items()}
    for name, parameter in objective.named_parameters():
        for key, value in optimiser.state.get(parameter, {}).items():
            tensors[f"{OPTIMISER}{name}.{key}"] = value
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    aside = path.with_name(path.name + ".part")
    save_file(plain, aside, metadata={"step": str(step), "settings": json.dumps(settings, sort_keys=True)})
    aside.replace(path)


def restore(path: Path, objective: nn.Module, average: Average, optimiser: Optimizer, *, settings: object) -> int:
    """Put the state in ``path`` back and answer how many steps it had taken.

    Raises:
        TrainingError: the file is damaged, of another network, or of a run with other settings (the message names one).
    """
    try:
        with safe_open(path, framework="pt") as file:
            notes = file.metadata()
            _compare(path, json.loads(notes["settings"]), settings)
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise TrainingError(f"{path}: damaged checkpoint ({error}); start anew in another folder") from None
    try:
        objective.load_state_dict(_under(tensors, OBJECTIVE))
        for name, tensor in _under(tensors, AVERAGE).items():
            average.mean[name].copy_(tensor)
        _restore_optimiser(_under(tensors, OPTIMISER), objective, optimiser)
    except (KeyError, RuntimeError) as error:
        first = str(error).splitlines()[-1].strip()
        raise TrainingError(f"{path}: is of another network ({first}); start anew in another folder") from None
    return int(notes["step"])


def _restore_optimiser(state: dict[str, Tensor], objective: nn.Module, optimiser: Optimizer) -> None:
    for name, parameter in objective.named_parameters():
        for full, value in state.items():
            owner, _, key = full.rpartition(".")
            if owner != name:
                continue
            # A moment must lie in memory as its weight does: the fused update walks both side by side.
            moment = value if value.ndim == 0 else torch.empty_like(parameter, requires_grad=False).copy_(value)
            optimiser.state[parameter][key] = moment


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _compare(path: Path, was: object, now: object, key: str = "") -> None:
    now = json.loads(json.dumps(now, sort_keys=True))
    if isinstance(was, dict) and isinstance(now, dict):
        for name in sorted(was.keys() | now.keys()):
            _compare(path, was.get(name), now.get(name), f"{key}.{name}".strip("."))
    elif was != now:
        raise TrainingError(
            f"{path}: was begun with {key} = {was}, now it is {now}; resume with the same settings or start anew"
        )
