"""Rasters on disk: the only part of undercast, beside :mod:`undercast.product`, that opens them."""

import os

# GDAL keeps decoded blocks in 5 % of the machine's memory unless told otherwise before it is first used. In megabytes:
# enough for a row of tiles of a whole Sentinel-1 scene stored in strips, which would else be decoded once a tile.
os.environ.setdefault("GDAL_CACHEMAX", "256")

from undercast.raster.geotiff import Header, read_array, read_header, write_raster
from undercast.raster.scene import Scene
from undercast.raster.windows import Window, cut

__all__ = ["Header", "Scene", "Window", "cut", "read_array", "read_header", "write_raster"]
