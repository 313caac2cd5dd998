"""Labels of other land-cover maps, brought down to the six classes of the task where that can be done.

What has no counterpart is 255, *no answer*, and never a seventh class.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from undercast.errors import InputError
from undercast.task import LANDCOVER, NODATA

FOREST, RANGELAND, AGRICULTURE, URBAN, BARREN, WATER = (label.value for label in LANDCOVER.classes)

# [Xu 2024]: snow (70), mangroves (95) and moss and lichen (100) are unknown; herbaceous wetland (90) counts as water.
WORLDCOVER: Mapping[int, int] = {
    **{0: NODATA, 10: FOREST, 20: RANGELAND, 30: RANGELAND, 40: AGRICULTURE, 50: URBAN, 60: BARREN},
    **{70: NODATA, 80: WATER, 90: WATER, 95: NODATA, 100: NODATA},
}
"""ESA WorldCover → the six classes."""

# Flooded vegetation (3) holds rice paddies, mangroves and marsh, which WorldCover keeps in three classes; snow (7) and
# cloud (8) are no cover. So no label of this map says barren under snow, or water under reeds.
ESRI: Mapping[int, int] = {
    **{0: NODATA, 1: WATER, 2: FOREST, 3: NODATA, 4: AGRICULTURE, 5: URBAN, 6: BARREN, 7: NODATA, 8: NODATA},
    **{9: RANGELAND},
}
"""The ten-metre map of Esri, numbered without gaps as in TerraMesh → the six classes."""


def recode(values: NDArray[np.generic], table: Mapping[int, int], source: str) -> NDArray[np.uint8]:
    """Labels ``[H, W]`` uint8 from ``values`` ``[H, W]`` of another map; 255 stays 255.

    Raises:
        InputError: a value that the map does not have; the message names ``source``.
    """
    known = np.zeros(256, np.bool_)
    known[[*table, NODATA]] = True
    codes = np.full(256, NODATA, np.uint8)
    for value, code in table.items():
        codes[value] = code
    found = np.unique(values).tolist()
    if strange := [value for value in found if not 0 <= value <= NODATA or value % 1 or not known[int(value)]]:
        raise InputError(f"{source}: label holds {strange[0]:g}; known here are {', '.join(map(str, table))}")
    return codes[np.asarray(values, np.intp)]
