"""Which file holds which band of which role: what a user types, matched to bands by name.

Bands without names count by their place only where a file holds just the bands that are asked for, or all of
Sentinel-2 (13 of L1C, 12 of L2A, B01 first); the record says so.

An input is ``PATH``, ``ROLE=PATH`` or ``ROLE:BAND=PATH``; ``PATH@2`` takes the second band of the file. A STAC item
stands for the rasters among its assets (:mod:`undercast.raster.item`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from undercast.bands import S2_L1C, S2_L2A, Modality
from undercast.errors import InputError
from undercast.raster.geotiff import Header, read_header
from undercast.raster.item import Asset, is_item, read_item

POLARISATIONS = ("VV", "VH", "HH", "HV")
# The names that catalogues and exports give the bands of Sentinel-2, beside their own.
COLOURS = {
    "B02": ("blue",),
    "B03": ("green",),
    "B04": ("red",),
    "B08": ("nir",),
    "B11": ("swir16", "swir1"),
    "B12": ("swir22", "swir2"),
}


@dataclass(frozen=True)
class Request:
    """What the user typed: a file, and as much as was said of its role, band name and band number (from 1)."""

    path: str
    role: str | None = None
    band: str | None = None
    number: int | None = None


@dataclass(frozen=True)
class BandFile:
    """One band of a role: band ``number`` (from 1) of the file behind ``header``; ``why`` says how it was found."""

    band: str
    header: Header
    number: int
    why: str


def parse_request(text: str) -> Request:
    """Read one input. A path that exists as it stands is a path, whatever it contains."""
    if Path(text).exists():
        return Request(text)
    role, band, path = None, None, text
    if match := re.fullmatch(r"([a-z][a-z0-9_]*)(?::([A-Za-z0-9]+))?=(.+)", text):
        role, band, path = match.groups()
    number = None
    if not Path(path).exists() and (match := re.fullmatch(r"(.+)@([1-9][0-9]*)", path)):
        path, number = match[1], int(match[2])
    return Request(path, role, band, number)


def assign_bands(
    texts: Sequence[str], modalities: Mapping[str, Modality], required: Sequence[str]
) -> dict[str, tuple[BandFile, ...]]:
    """The bands of every role, in the order of its modality, from what the user typed.

    A bare path goes to the only required role. Bands are found by description, else by the file's name, else by count
    and order (``why`` then says so).

    Raises:
        InputError: an unknown role or band, a band that is missing, given twice or cannot be told, or no raster.
    """
    found: dict[str, dict[str, BandFile]] = {}
    for text in texts:
        request = parse_request(text)
        role = _role_of(request, modalities, required)
        of = _bands_of_item if is_item(request.path) else _bands_of
        for file in of(request, role, modalities[role]):
            bands = found.setdefault(role, {})
            if file.band in bands:
                raise InputError(
                    f"band {file.band} of {role} is given twice: {bands[file.band].header.path} and {file.header.path}"
                )
            bands[file.band] = file
    for role in required:
        if role not in found:
            needs = " and ".join(modalities[role].bands)
            raise InputError(f"no image for role {role}: the model needs {modalities[role].instrument} {needs}")
    for role, bands in found.items():
        missing = [band for band in modalities[role].bands if band not in bands]
        if missing:
            given = "; ".join(f"{item.header.path} holds {item.band}" for item in bands.values())
            raise InputError(
                f"band {' and '.join(missing)} of {role} is missing: it needs {', '.join(modalities[role].bands)}; "
                f"{given}; give the file that holds {' and '.join(missing)} as well"
            )
    return {role: tuple(bands[band] for band in modalities[role].bands) for role, bands in found.items()}


def _role_of(request: Request, modalities: Mapping[str, Modality], required: Sequence[str]) -> str:
    if request.role is None:
        if len(required) == 1:
            return required[0]
        raise InputError(f"{request.path}: say what it is, for example {required[0]}={request.path}")
    if request.role not in modalities:
        raise InputError(f"{request.role}={request.path}: unknown role; known here: {', '.join(modalities)}")
    return request.role


def _bands_of_item(request: Request, role: str, modality: Modality) -> list[BandFile]:
    """The bands among the assets of a STAC item; each raster also has the item's tags, where its own do not say."""
    if request.band or request.number:
        raise InputError(f"{request.path}: is a STAC item, whose assets name their bands; give it as {role}=…")
    item = read_item(request.path)
    best: dict[str, list[tuple[Asset, int]]] = {}
    for asset in sorted(item.assets, key=lambda asset: asset.rank):
        for number, words in enumerate(asset.bands, start=1):
            names = [band for band in _names_in(words, modality) if band in modality.bands]
            if len(names) == 1 and (names[0] not in best or best[names[0]][0][0].rank == asset.rank):
                best.setdefault(names[0], []).append((asset, number))
    if not best:
        keys = ", ".join(asset.key for asset in item.assets) or "none that is a raster"
        raise InputError(f"{request.path}: no asset holds {' or '.join(modality.bands)} for {role}; assets: {keys}")
    found = []
    for band, ((asset, number), *others) in best.items():
        if others:
            keys = " and ".join(one.key for one, _ in (best[band]))
            raise InputError(
                f"{request.path}: band {band} is in the assets {keys}; say which, {role}:{band}={asset.href}"
            )
        header = read_header(asset.href)
        header = replace(header, tags=dict(item.tags) | dict(header.tags))
        found.append(BandFile(band, header, number, f"asset {asset.key} of the STAC item {item.name}"))
    return found


def _bands_of(request: Request, role: str, modality: Modality) -> list[BandFile]:
    header = read_header(request.path)
    complex_bands = [dtype for dtype in header.dtypes if dtype.startswith("complex")]
    if complex_bands:
        raise InputError(f"{request.path}: holds complex numbers (an SLC); detect, calibrate and terrain-correct it")
    if request.number and request.number > header.count:
        raise InputError(f"{request.path}: has no band {request.number}; it has {header.count}")
    if request.band:
        band = request.band.upper() if request.band.upper() in modality.bands else request.band
        modality.index([band])
        if request.number is None and header.count > 1:
            raise InputError(f"{request.path}: has {header.count} bands; say which, {role}:{band}={request.path}@1")
        return [BandFile(band, header, request.number or 1, "named by the user")]
    if request.number:
        raise InputError(f"{request.path}@{request.number}: say which band it is, {role}:{modality.bands[0]}=…")
    return (
        _by_description(header, role, modality) or _by_name(header, role, modality) or _by_order(header, role, modality)
    )


def names_of(modality: Modality) -> dict[str, tuple[str, ...]]:
    """Every band that files of the instrument may hold → the words, in small letters, by which it is known."""
    bands = dict.fromkeys(modality.bands)
    if "VV" in bands:
        bands |= dict.fromkeys(POLARISATIONS)
    if not modality.instrument.startswith("Sentinel-2"):
        return {band: (band.lower(),) for band in bands}
    bands |= dict.fromkeys(S2_L1C.bands)
    return {band: (band.lower(), band.replace("B0", "b").lower(), *COLOURS.get(band, ())) for band in bands}


def _names_in(text: str, modality: Modality) -> list[str]:
    words = set(re.split(r"[^a-z0-9]+", text.lower()))
    return [band for band, names in names_of(modality).items() if words.intersection(names)]


def _by_description(header: Header, role: str, modality: Modality) -> list[BandFile]:
    named = [_names_in(text, modality) for text in header.descriptions]
    found = [
        BandFile(names[0], header, number, f"described as '{header.descriptions[number - 1]}'")
        for number, names in enumerate(named, start=1)
        if len(names) == 1 and names[0] in modality.bands
    ]
    # A name that all bands share names none of them.
    if not found and header.count > 1 and any(header.descriptions) and len(set(header.descriptions)) > 1:
        names = ", ".join(text or "(unnamed)" for text in header.descriptions)
        raise InputError(
            f"{header.path}: its bands are {names}, and none of them is {' or '.join(modality.bands)}; "
            f"say which is which, for example {role}:{modality.bands[0]}={header.path}@1"
        )
    return found


def _by_name(header: Header, role: str, modality: Modality) -> list[BandFile]:
    if header.count != 1 or len(modality.bands) == 1:
        return []
    names = _names_in(f"{header.descriptions[0]} {Path(header.path).stem}", modality)
    if len(names) == 1 and names[0] not in modality.bands:
        raise InputError(f"{header.path}: holds {names[0]}, and {role} needs {' and '.join(modality.bands)}")
    if len(names) != 1:
        example = f"{role}:{modality.bands[0]}={header.path}"
        raise InputError(f"{header.path}: cannot tell which band it holds; say it, for example {example}")
    return [BandFile(names[0], header, 1, "from the name of the file")]


def _orders(modality: Modality) -> tuple[tuple[str, ...], ...]:
    """Orders in which a file may hold its bands without saying so; of two as long the last counts."""
    whole = (S2_L1C.bands, S2_L2A.bands) if modality.instrument.startswith("Sentinel-2") else ()
    return (*whole, modality.bands)


def _by_order(header: Header, role: str, modality: Modality) -> list[BandFile]:
    order = {len(bands): bands for bands in _orders(modality)}.get(header.count)
    if order is None:
        raise InputError(
            f"{header.path}: has {header.count} unnamed bands and {role} needs {len(modality.bands)} "
            f"({', '.join(modality.bands)}); name them, for example {role}:{modality.bands[0]}={header.path}@1"
        )
    why = "assumed from the order of the bands, which have no names"
    if header.count == 1:
        why = "the only band"
    elif order != modality.bands:
        why = f"assumed from Sentinel-2's own order of {header.count} bands, which have no names"
    return [BandFile(band, header, number, why) for number, band in enumerate(order, start=1) if band in modality.bands]
