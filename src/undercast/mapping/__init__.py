"""A map of a scene from start to end: rasters in, product folder out. What ``undercast map`` runs."""

from undercast.mapping.config import MapConfig, ReferenceConfig
from undercast.mapping.finish import headline
from undercast.mapping.scene import map_scene

__all__ = ["MapConfig", "ReferenceConfig", "headline", "map_scene"]
