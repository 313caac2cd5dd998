"""How a scene is mapped: the settings of every part of it."""

from typing import Any

from pydantic import Field

from undercast.config import Settings
from undercast.mapping.domain import DomainConfig
from undercast.predict import MapperConfig
from undercast.product.areas import AreasConfig
from undercast.product.codes import CodeConfig
from undercast.product.polygons import PolygonConfig
from undercast.product.priority import PriorityConfig
from undercast.product.summary import VerdictConfig
from undercast.raster.exclusion import TerrainConfig
from undercast.raster.flat import FlatConfig
from undercast.task import LANDSLIDE, Task


class ReferenceConfig(Settings):
    """What counts as water that is there without a flood."""

    minimum_occurrence: float = Field(
        default=50.0, gt=0, le=100, description="role occurrence: water at least this often is permanent, percent"
    )


class MapConfig(Settings):
    """How a scene is mapped."""

    mapper: MapperConfig = Field(default=MapperConfig(), description="how the work is cut")
    codes: CodeConfig = Field(default=CodeConfig(), description="when a pixel is called a class")
    reference: ReferenceConfig = Field(default=ReferenceConfig(), description="what counts as permanent water")
    terrain: TerrainConfig = Field(default=TerrainConfig(), description="role dem: where the relief excludes flood")
    flat: FlatConfig = Field(default=FlatConfig(), description="role dem: where the relief excludes landslides")
    domain: DomainConfig = Field(default=DomainConfig(), description="when input is outside the model's training")
    verdict: VerdictConfig = Field(default=VerdictConfig(), description="when a scene is called flooded")
    polygons: PolygonConfig = Field(default=PolygonConfig(), description="how classes become polygons")
    priority: PriorityConfig = Field(default=PriorityConfig(), description="landslides: which cells come first")
    areas: AreasConfig = Field(default=AreasConfig(), description="how areas by unit are counted")

    def recorded(self, task: Task) -> dict[str, Any]:
        """What may change the bytes of a map of ``task``; how the work was cut may not, and is left out."""
        kept = self.model_dump(mode="json", exclude={"areas": {"window"}, "polygons": {"rows"}})
        kept["mapper"] = {"tile": self.mapper.tile}
        if task.name != LANDSLIDE.name:
            del kept["priority"], kept["flat"]
        return {name: part for name, part in kept.items() if part}
