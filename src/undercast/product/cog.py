"""Whether a GeoTIFF is laid out to be read in part over a network: a cloud-optimised GeoTIFF [OGC 21-026]."""

from pathlib import Path
from typing import Any

from undercast.raster.geotiff import open_raster

SMALL = 512
"""Up to so many rows and columns a file needs neither tiles nor overviews."""


def layout_problems(path: Path) -> list[str]:
    """What keeps a file from being a cloud-optimised GeoTIFF, one line each; nothing where it is one.

    It is tiled and has overviews, the directory of the image comes first and those of ever smaller overviews follow,
    then the pixels: those of the smallest overview first and those of the image last.

    Raises:
        InputError: the file is no raster that can be read.
    """
    with open_raster(str(path)) as source:
        if source.driver != "GTiff":
            return [f"is a {source.driver} file and no GeoTIFF"]
        height, width = source.shape
        large = max(height, width) > SMALL
        problems = []
        block = source.block_shapes[0]
        if large and block[1] == width:
            problems.append("is not tiled")
        factors = source.overviews(1)
        if large and not factors:
            problems.append("has no overviews")
        if factors and list(factors) != sorted(factors):
            problems.append("has overviews that are not in order of size")
        if Path(f"{path}.ovr").exists():
            problems.append("has its overviews in another file")
        directories = [_offset(source, "IFD_OFFSET", level) for level in (None, *range(len(factors)))]
        pixels = [_offset(source, "BLOCK_OFFSET_0_0", level) for level in (None, *range(len(factors)))]
    known = [offset for offset in directories if offset]
    if known != sorted(known):
        problems.append("has its directories out of order")
    written = [offset for offset in pixels if offset]  # a tile of nodata alone may be left out
    if written != sorted(written, reverse=True):
        problems.append("has the pixels of the image before those of its overviews")
    if written and known and min(written) < max(known):
        problems.append("has pixels before a directory")
    return problems


def _offset(source: Any, item: str, overview: int | None) -> int:
    """Where in the file a directory or the first tile of an overview lies; 0 where it was not written."""
    text = source.get_tag_item(item, "TIFF", bidx=1, ovr=overview)
    return int(text) if text else 0
