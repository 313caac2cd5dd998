"""What lies where: natural patches, farmed parcels, towns, roads; and the parcels themselves."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from undercast.simulate.fields import Array, Shape, fractal, level, uniform_of
from undercast.simulate.ground import CROPS, NATURAL, Ground
from undercast.simulate.parameters import Cover
from undercast.simulate.terrain import Terrain, slope_of


@dataclass(frozen=True)
class Parcels:
    """Fields, blocks and basins: ``number`` int32 ``[H, W]``, and ``edge``, pixels to the nearest boundary, float32."""

    number: NDArray[np.int32]
    edge: Array

    def draw(self, salt: int) -> Array:
        """A number in [0, 1) that is the same all over a parcel, ``[H, W]`` float32."""
        return uniform_of(self.number, salt)


@dataclass(frozen=True)
class Land:
    """Ground before any water: ``cover`` uint8 ``[H, W]`` of :class:`Ground`, and where a bank is raised.

    ``farmed`` and ``raised`` are bool ``[H, W]``; ``vigour`` and ``grain`` are fields of variance about 1, ``[H, W]``.
    """

    cover: NDArray[np.uint8]
    parcels: Parcels
    farmed: NDArray[np.bool_]
    raised: NDArray[np.bool_]
    vigour: Array
    grain: Array


def make_land(rng: np.random.Generator, shape: Shape, cover: Cover, terrain: Terrain) -> Land:
    """Cover of ``shape``: nature first, farms over it on gentle ground, then marsh, towns, roads and a runway."""
    grain = fractal(rng, shape, 12.0, 2.2, spacing=2)
    nature = fractal(rng, shape, cover.patch, 3.0)
    zones = fractal(rng, shape, 160.0, 3.2)
    vigour = fractal(rng, shape, 80.0, 3.0)
    parcels = make_parcels(rng, shape, cover)
    mixed = np.float32(cover.blend) * rng.standard_normal(shape, np.float32)
    ground = _natural(nature + 0.35 * grain + mixed, cover)
    down, across = slope_of(terrain.elevation)
    gentle = down * down + across * across < 0.02
    farmed = (zones + 0.12 * grain < level(zones, cover.farmed)) & gentle
    ground[farmed] = _choose(parcels.draw(1)[farmed], CROPS, cover.crops)
    edges = (parcels.edge < 0.5 + parcels.draw(2)) & (parcels.draw(3) < cover.hedges) & farmed
    ground[edges] = _choose(
        parcels.draw(4)[edges], (Ground.SHRUB, Ground.GRASS, Ground.FOREST, Ground.SOIL), (4, 3, 2, 2)
    )
    low = terrain.above_drainage + 0.3 * np.abs(grain) + 0.5 * vigour
    marsh = (nature > 0.2) & (low < level(low, cover.wetland)) & (cover.wetland > 0)
    ground[marsh] = Ground.WETLAND
    settled = _settle(rng, shape, ground, cover, parcels, grain)
    raised = edges | (settled & (parcels.edge < 1))
    raised |= _lines(rng, shape, ground, cover)
    if cover.runway:
        _runway(rng, shape, ground)
    return Land(ground, parcels, farmed & ~settled, raised, vigour, grain)


def make_parcels(rng: np.random.Generator, shape: Shape, cover: Cover) -> Parcels:
    """Parcels in rows, each row with its own lengths; rows bend with the land."""
    rows, columns = np.arange(shape[0], dtype=np.float32)[:, None], np.arange(shape[1], dtype=np.float32)[None, :]
    bend = fractal(rng, shape, 200.0, 4.0) * np.float32(cover.bend)
    # A second direction beyond a diffuse border: estates were not laid out together.
    turn = np.where(fractal(rng, shape, 250.0, 4.0) > 0.4, np.float32(rng.uniform(0.2, 1.4)), np.float32(0))
    angle = turn + np.float32(cover.orientation)
    sine, cosine = np.sin(angle), np.cos(angle)
    u = columns * cosine + rows * sine + 0.6 * bend + np.float32(5000)
    v = rows * cosine - columns * sine + bend + np.float32(5000)
    down = v / np.float32(cover.parcel_length)
    across = down - np.floor(down)
    block = np.floor(down).astype(np.int32)
    width = np.float32(cover.parcel_width) * (0.5 + 1.3 * uniform_of(block, 11))
    along = u / width + 7 * uniform_of(block, 12)
    column = np.floor(along).astype(np.int32)
    fraction = along - np.floor(along)
    edge = np.minimum(
        np.minimum(fraction, 1 - fraction) * width, np.minimum(across, 1 - across) * np.float32(cover.parcel_length)
    )
    return Parcels(block * np.int32(7919) + column + np.int32(104729) * (turn > 0), edge)


def _natural(field: Array, cover: Cover) -> NDArray[np.uint8]:
    """Classes of nature in order along one field, so that forest meets shrub and shrub meets grass."""
    weights = np.cumsum(cover.natural) / np.sum(cover.natural)
    bounds = [level(field, float(weight)) for weight in weights[:-1]]
    table = np.array(NATURAL, np.uint8)
    return table[np.searchsorted(np.array(bounds, np.float32), field.ravel()).reshape(field.shape)]


def _choose(draw: Array, classes: tuple[Ground, ...], weights: tuple[float, ...]) -> NDArray[np.uint8]:
    """The class of each number in [0, 1), by weight."""
    bounds = np.cumsum(np.array(weights, np.float32)) / np.float32(np.sum(weights))
    return np.array(classes, np.uint8)[np.minimum(np.searchsorted(bounds, draw, side="right"), len(classes) - 1)]


def _settle(
    rng: np.random.Generator, shape: Shape, ground: NDArray[np.uint8], cover: Cover, parcels: Parcels, grain: Array
) -> NDArray[np.bool_]:
    """Towns with their halls in the middle of villages, put on ``ground``; returns where."""
    field = fractal(rng, shape, 90.0, 3.4) + 0.3 * grain
    town = field > level(field, 1 - cover.towns)
    village = (field > level(field, 1 - min(1.0, cover.towns + cover.villages))) & ~town
    ground[village] = np.where(
        parcels.draw(5)[village] + 0.2 * grain[village] < 0.6, np.uint8(Ground.VILLAGE), ground[village]
    )
    ground[town] = np.where(parcels.draw(6)[town] < cover.industry, np.uint8(Ground.INDUSTRY), np.uint8(Ground.TOWN))
    # A few halls stand alone among the fields.
    lone = (parcels.draw(7) < 0.02 * cover.industry) & (parcels.edge > 1)
    ground[lone] = Ground.INDUSTRY
    return town | village | lone


def _lines(rng: np.random.Generator, shape: Shape, ground: NDArray[np.uint8], cover: Cover) -> NDArray[np.bool_]:
    """Roads, put on ``ground``: near-straight lines bent by a smooth field; returns where."""
    rows, columns = np.arange(shape[0], dtype=np.float32)[:, None], np.arange(shape[1], dtype=np.float32)[None, :]
    found = np.zeros(shape, np.bool_)
    if cover.roads == 0:
        return found
    bend = fractal(rng, shape, 220.0, 4.5)
    for _ in range(cover.roads):
        angle, amount, half = rng.uniform(0, np.pi), rng.uniform(-25, 25), rng.choice([0.5, 0.5, 0.7, 1.0, 1.6])
        middle = rng.uniform(0, shape[0]) * np.cos(angle) + rng.uniform(0, shape[1]) * np.sin(angle)
        distance = rows * np.float32(np.cos(angle)) + columns * np.float32(np.sin(angle))
        found |= np.abs(distance + bend * np.float32(amount) - np.float32(middle)) < half
    ground[found] = Ground.ASPHALT
    return found


def _runway(rng: np.random.Generator, shape: Shape, ground: NDArray[np.uint8]) -> None:
    """An airport: grass around a long strip of asphalt and its apron."""
    rows, columns = np.arange(shape[0], dtype=np.float32)[:, None], np.arange(shape[1], dtype=np.float32)[None, :]
    angle = rng.uniform(0, np.pi)
    row, column = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
    along = np.abs((columns - column) * np.cos(angle) + (rows - row) * np.sin(angle))
    across = (rows - row) * np.cos(angle) - (columns - column) * np.sin(angle)
    length = rng.uniform(60, 180)
    ground[(along < length + 10) & (np.abs(across) < 22)] = Ground.GRASS
    ground[(along < length) & (np.abs(across) < rng.uniform(1.5, 3.5))] = Ground.ASPHALT
    ground[(along < length * rng.uniform(0.1, 0.4)) & (np.abs(across - 12) < rng.uniform(3, 9))] = Ground.ASPHALT
