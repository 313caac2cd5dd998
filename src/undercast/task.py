"""What is asked of a pixel."""

from fractions import Fraction
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_serializer, field_validator, model_validator

NODATA = 255
"""No answer, and never a class: losses and scores ignore a label of 255; a product pixel of 255 was not observed."""


class ClassLabel(BaseModel):
    """One class: the value a label raster holds, its name, and the colour it is drawn in (``#rrggbb``)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: int = Field(ge=0, lt=250)
    name: str = Field(min_length=1)
    color: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green and blue, 0 to 255."""
        return int(self.color[1:3], 16), int(self.color[3:5], 16), int(self.color[5:7], 16)


class Task(BaseModel):
    """What is asked of a pixel: its classes, and how many output pixels there are for one input pixel.

    Classes are numbered 0, 1, 2 … in order, so that channel ``k`` of a probability array is class ``k``.
    Values from 250 up are kept for what is not a class (see :data:`NODATA`). ``scale`` is exact: 3/10 means ten input
    pixels meet three output pixels [Xu 2024]. Of a task with a ``background`` class 0 is the ground that nothing was
    found on; without one every class is an answer like any other.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    classes: tuple[ClassLabel, ...] = Field(min_length=2)
    scale: Fraction = Fraction(1)
    background: bool = True

    @field_validator("scale", mode="before")
    @classmethod
    def _read_scale(cls, value: object) -> object:
        return Fraction(value) if isinstance(value, str) else value

    @field_serializer("scale")
    def _write_scale(self, scale: Fraction) -> str:
        return str(scale)

    @model_validator(mode="after")
    def _check(self) -> "Task":
        values = [label.value for label in self.classes]
        if values != list(range(len(values))):
            raise ValueError(f"classes of task '{self.name}' must be numbered 0, 1, 2 … in order, not {values}")
        if len({label.name for label in self.classes}) != len(self.classes):
            raise ValueError(f"task '{self.name}' names a class twice")
        if self.scale <= 0:
            raise ValueError(f"scale of task '{self.name}' must be positive, not {self.scale}")
        return self

    def __len__(self) -> int:
        """Number of classes."""
        return len(self.classes)

    def value_of(self, name: str) -> int:
        """The value of the class called ``name``; KeyError where there is none."""
        for label in self.classes:
            if label.name == name:
                return label.value
        raise KeyError(f"task '{self.name}' has no class '{name}'; it has {[label.name for label in self.classes]}")

    def palette(self) -> NDArray[np.uint8]:
        """Colours of all 256 values, ``[256, 3]`` uint8; values that are no class are black."""
        table = np.zeros((256, 3), np.uint8)
        for label in self.classes:
            table[label.value] = label.rgb
        return table


# Blue water and peach land are the colours of the figures of [Garg 2023].
FLOOD = Task(
    name="flood",
    classes=(ClassLabel(value=0, name="dry", color="#f3d9b8"), ClassLabel(value=1, name="water", color="#1f6fd6")),
)

CLOUDS = Task(
    name="clouds",
    classes=(
        ClassLabel(value=0, name="clear", color="#7fae72"),
        ClassLabel(value=1, name="cloud", color="#ffffff"),
        ClassLabel(value=2, name="shadow", color="#3a3550"),
    ),
)

# The six classes that WorldCover is brought down to in [Xu 2024]; what is none of them is no answer.
LANDCOVER = Task(
    name="landcover",
    background=False,
    classes=(
        ClassLabel(value=0, name="forest", color="#1f6b3a"),
        ClassLabel(value=1, name="rangeland", color="#b8c76a"),
        ClassLabel(value=2, name="agriculture", color="#e6b450"),
        ClassLabel(value=3, name="urban", color="#c8403a"),
        ClassLabel(value=4, name="barren", color="#b9a99a"),
        ClassLabel(value=5, name="water", color="#1f6fd6"),
    ),
)

LANDSLIDE = Task(
    name="landslide",
    classes=(
        ClassLabel(value=0, name="no landslide", color="#cfd8c8"),
        ClassLabel(value=1, name="landslide", color="#b3261e"),
    ),
)

TASKS: dict[str, Task] = {task.name: task for task in (FLOOD, CLOUDS, LANDCOVER, LANDSLIDE)}
"""Tasks by the name they carry on the command line and in an index."""
