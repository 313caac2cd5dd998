"""Scenes by their STAC items: the rasters among the assets of an item, and what the item alone knows of them.

An item is a file or an address: ``ITEM.json``, or ``ITEMS.json#ID`` in a collection of items; what a STAC API answers
to ``…/search?collections=…&bbox=…`` is such a collection, whose further pages are followed [STAC API item search].
"""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pystac

from undercast.errors import InputError
from undercast.raster.reflectance import OFFSET_TAKEN

RASTER_TYPES = ("image/tiff", "image/vnd.stac.geotiff", "image/jp2", "application/x-netcdf", "application/netcdf")
RASTER_ENDINGS = (".tif", ".tiff", ".vrt", ".jp2", ".img", ".nc")
LOOKS = {"thumbnail", "overview", "metadata", "visual", "preview", "rendered_preview", "tci"}
"""Roles and keys of assets that are for looking at: their bands are called red, green and blue too."""
PAGES = 1000
TIMEOUT = 60.0


@dataclass(frozen=True)
class Asset:
    """A raster of an item: its ``bands`` hold, in order, all the words by which each is known."""

    key: str
    href: str
    bands: tuple[str, ...]

    @property
    def rank(self) -> tuple[bool, bool]:
        """Which of two assets with the same band to take, the lower: a GeoTIFF, and a file of that band alone."""
        return urlparse(self.href).path.lower().endswith(".jp2"), len(self.bands) > 1


@dataclass(frozen=True)
class Item:
    """A scene; ``tags`` are what a raster's own might not say: when it was taken, and how it was processed."""

    name: str
    assets: tuple[Asset, ...]
    tags: Mapping[str, str]


def is_item(path: str) -> bool:
    """Whether ``path`` names STAC items, by its ending or its place in an API; nothing is read."""
    place = urlparse(path).path if "://" in path else path.partition("#")[0]
    if place.lower().endswith((".json", ".geojson")):
        return True
    return path.startswith(("http://", "https://")) and (
        place.endswith("/search") or ("/items" in place and not place.lower().endswith(RASTER_ENDINGS))
    )


def is_collection(place: str) -> bool:
    """Whether ``place`` holds a collection of items, be it of one or of none. Raises InputError as it is read."""
    return bool(_read(place).get("type") == "FeatureCollection")


def read_item(path: str) -> Item:
    """The one item at ``path``, or that of its id after ``#``.

    Raises:
        InputError: nothing is there, it is no STAC item, or there are several; the message names ``path``.
    """
    place, _, name = path.partition("#")
    items = {item.name: item for item in read_items(place)}
    if name and name not in items:
        raise InputError(f"{place}: holds no item '{name}'; it holds {_some(list(items))}")
    if not name and len(items) != 1:
        raise InputError(f"{place}: holds {len(items)} items; say which, {place}#ID, with ID of {_some(list(items))}")
    return items[name] if name else next(iter(items.values()))


def read_items(place: str) -> tuple[Item, ...]:
    """All items at ``place``: of an item, a collection of items, or a search with all its pages.

    Raises:
        InputError: it cannot be read, or holds no STAC items.
    """
    return _read_items(place, _stamp(place))


@lru_cache(maxsize=8)  # a batch asks for each of its items by one place
def _read_items(place: str, _: int) -> tuple[Item, ...]:
    return tuple(_item(feature, page) for page, feature in _features(place))


def _stamp(place: str) -> int:
    """Another number once a file is another; answers of a service are taken once a run."""
    try:
        return 0 if "://" in place else Path(place).stat().st_mtime_ns
    except OSError:
        return 0


def _features(place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every item as read, and the page it stood on."""
    page: str | None = place
    for _ in range(PAGES):
        if page is None:
            return
        body = _read(page)
        kind = body.get("type")
        if kind == "Feature":
            yield page, body
            return
        if kind != "FeatureCollection" or not isinstance(body.get("features"), list):
            raise InputError(f"{page}: is no STAC item and no collection of items; it is {kind or 'of no type'}")
        yield from ((page, feature) for feature in body["features"])
        page = _next(page, body)
    raise InputError(f"{place}: has more than {PAGES} pages of items; ask for less ground or time")


def _next(page: str, body: dict[str, Any]) -> str | None:
    link = next((link for link in body.get("links", []) if link.get("rel") == "next"), None)
    if link is None:
        return None
    if link.get("method", "GET").upper() != "GET":
        raise InputError(f"{page}: its next page must be asked for by {link['method']}; save all items to a file first")
    return str(link["href"])


def _read(place: str) -> dict[str, Any]:
    try:
        if "://" in place:
            request = urllib.request.Request(place, headers={"Accept": "application/geo+json, application/json"})
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                body = json.load(answer)
        else:
            body = json.loads(Path(place).read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(f"{place}: no such file") from None
    except (urllib.error.URLError, TimeoutError, OSError) as error:
        raise InputError(f"{place}: cannot be read ({error})") from None
    except ValueError as error:
        raise InputError(f"{place}: is no JSON ({error})") from None
    if not isinstance(body, dict):
        raise InputError(f"{place}: is no STAC item and no collection of items; it is a {type(body).__name__}")
    return body


def _item(body: dict[str, Any], page: str) -> Item:
    try:
        item = pystac.Item.from_dict(body, href=page)
    except (pystac.STACError, pystac.STACTypeError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{page}: holds something that is no STAC item ({type(error).__name__}: {error})") from None
    assets = tuple(
        Asset(key, _local(asset.get_absolute_href() or asset.href), _bands(key, asset))
        for key, asset in item.assets.items()
        if _is_raster(key, asset)
    )
    return Item(item.id, assets, _tags(item))


def _is_raster(key: str, asset: pystac.Asset) -> bool:
    if LOOKS.intersection([key.lower(), *(role.lower() for role in asset.roles or [])]):
        return False
    if asset.media_type:
        return asset.media_type.startswith(RASTER_TYPES)
    return urlparse(asset.href).path.lower().endswith(RASTER_ENDINGS)


def _bands(key: str, asset: pystac.Asset) -> tuple[str, ...]:
    """The words for each band: of the band itself (STAC 1.1, or ``eo`` before it), its polarisation, else the key."""
    more = asset.extra_fields
    described = more.get("bands") or more.get("eo:bands") or []
    words = [
        " ".join(str(band[name]) for name in ("name", "eo:common_name", "common_name") if name in band)
        for band in described
    ]
    named = words if any(words) else list(more.get("sar:polarizations") or [])
    return (key,) if len(named) < 2 and not named[:1] else tuple(named)


def _tags(item: pystac.Item) -> dict[str, str]:
    when = item.datetime or item.common_metadata.start_datetime
    baseline = item.properties.get("s2:processing_baseline") or item.properties.get("processing:version")
    tags = {"ACQUISITION_DATETIME": f"{when:%Y-%m-%dT%H:%M:%S}"} if when else {}
    tags |= {"PROCESSING_BASELINE": str(baseline)} if baseline else {}
    # Earth Search's items keep the baseline and say so where the offset that came with it is gone.
    applied = item.properties.get("earthsearch:boa_offset_applied")
    return tags | ({OFFSET_TAKEN: "true"} if applied is True else {})


def _local(href: str) -> str:
    return urllib.request.url2pathname(urlparse(href).path) if href.startswith("file://") else href


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
