"""Where a training runs: devices, precision, threads."""

import logging
import os
from functools import lru_cache
from typing import Literal

import torch
from lightning_fabric import Fabric
from pydantic import Field

from undercast.config import Settings
from undercast.engine.allocator import tune_allocator


class Place(Settings):
    """Where a training runs. None of it changes what is learnt, beyond rounding."""

    accelerator: Literal["auto", "cpu", "cuda", "mps"] = Field(default="auto", description="kind of device")
    devices: int = Field(default=1, ge=1, description="devices, a process each; under torchrun its own count")
    nodes: int = Field(default=1, ge=1, description="machines; under torchrun its own count")
    precision: Literal["32-true", "bf16-mixed"] = Field(
        default="bf16-mixed", description="of matrix products; sums are 32 bit"
    )
    threads: int = Field(default=0, ge=0, description="CPU threads a process; 0: as torch chooses")
    channels_last: bool = Field(
        default=True, description="keep images channels-last, which CPU and GPU convolutions prefer"
    )
    allocator: bool = Field(default=True, description="keep freed memory in the process (glibc only)")

    def launch(self) -> Fabric:
        """The running Fabric of this place, started on the first call; with several devices, in every process."""
        return _launch(self)


@lru_cache(maxsize=1)
def _launch(place: Place) -> Fabric:
    if place.threads:
        torch.set_num_threads(place.threads)
    if place.allocator:
        tune_allocator()
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it greets on every launch
    devices, nodes = _processes(place)
    fabric = Fabric(
        accelerator=place.accelerator,
        devices=devices,
        num_nodes=nodes,
        strategy="ddp" if devices * nodes > 1 else "auto",
        precision=place.precision,
    )
    fabric.launch()
    return fabric


def _processes(place: Place) -> tuple[int, int]:
    """Processes a machine and machines: torchrun's where it started us, else the place's."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return place.devices, place.nodes
    local, world = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
    return local, world // local
