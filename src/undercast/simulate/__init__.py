"""Paired scenes with exact truth: relief, cover, flood, radar, optics and sky from one seed; numpy and scipy only."""

from undercast.simulate.draw import draw_parameters
from undercast.simulate.ground import Ground
from undercast.simulate.parameters import SceneParameters
from undercast.simulate.scene import MODALITIES, SimulatedScene, simulate_chip, simulate_scene

__all__ = [
    "MODALITIES",
    "Ground",
    "SceneParameters",
    "SimulatedScene",
    "draw_parameters",
    "simulate_chip",
    "simulate_scene",
]
