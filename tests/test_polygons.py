"""Polygons: exact, valid, the same however the raster was cut, and as large as the ground they cover."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyogrio
import pyproj
import pytest
import rasterio.features
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from scipy import ndimage

from undercast.errors import InputError
from undercast.product.codes import FLOOD_ENTRIES, NO_ANSWER_ENTRIES, Entry
from undercast.product.polygons import PolygonConfig, Source, event_values, to_polygons, write_polygons
from undercast.product.runs import RunArea
from undercast.product.summary import Tally
from undercast.product.trace import Figures, Strip, Tracer
from undercast.raster import Window, write_raster

ENTRIES = FLOOD_ENTRIES + NO_ANSWER_ENTRIES
UTM = Affine(10, 0, 500000, 0, -10, 4900000)
CROSS = ndimage.generate_binary_structure(2, 1)


def grid_of(shape: tuple[int, int], affine: Affine = UTM, crs: str = "EPSG:32631") -> GeoBox:
    return GeoBox(shape, affine, crs)


def traced(codes: NDArray[np.uint8], likelihood: NDArray[np.uint8], rows: int, values=(2, 3), minimum=0.0):
    """Figures and polygons in pixel coordinates of everything in a raster, read ``rows`` rows at a time."""
    table = np.zeros(256, np.uint8)
    table[list(values)] = values
    table[255] = 255
    tracer = Tracer(codes.shape, table, RunArea(grid_of(codes.shape)), minimum)
    parts = [tracer.take(Strip(r, codes[r : r + rows], likelihood[r : r + rows])) for r in range(0, len(codes), rows)]
    parts.append(tracer.finish())
    figures = Figures._make(np.concatenate(column) for column in zip(*(part.figures for part in parts), strict=True))
    pixels = grid_of(codes.shape, Affine.identity())
    shapes = [to_polygons(part, pixels) for part in parts if len(part.figures.value)]
    return figures, np.concatenate([np.zeros(0, object), *shapes]), tracer


def rasters(most: int = 14):
    """Small rasters with two classes, background and unseen ground."""

    def build(height: int, width: int, seed: int, seen: float) -> NDArray[np.uint8]:
        random = np.random.default_rng(seed)
        codes = random.choice([0, 2, 3], size=(height, width), p=[0.35, 0.45, 0.2]).astype(np.uint8)
        codes[random.random((height, width)) > seen] = 255
        return codes

    return st.builds(
        build, st.integers(1, most), st.integers(1, most), st.integers(0, 10**6), st.sampled_from([1, 0.9])
    )


@settings(max_examples=60)
@given(rasters(), st.integers(1, 5))
def test_strips_of_any_height_give_the_same_polygons(codes: NDArray[np.uint8], rows: int) -> None:
    likelihood = np.random.default_rng(0).integers(0, 101, codes.shape).astype(np.uint8)
    figures, polygons, _ = traced(codes, likelihood, len(codes))
    again, others, _ = traced(codes, likelihood, rows)
    assert all(np.array_equal(one, other) for one, other in zip(figures, again, strict=True))
    assert [polygon.wkb for polygon in polygons] == [polygon.wkb for polygon in others]
    assert list(zip(figures.last, figures.first, strict=True)) == sorted(zip(figures.last, figures.first, strict=True))


@settings(max_examples=60)
@given(rasters())
def test_polygons_are_those_of_a_labelled_image(codes: NDArray[np.uint8]) -> None:
    likelihood = np.random.default_rng(1).integers(0, 101, codes.shape).astype(np.uint8)
    figures, polygons, _ = traced(codes, likelihood, 3)
    unseen = np.pad(codes == 255, 1, constant_values=True)
    beside_unseen = ndimage.binary_dilation(unseen, CROSS)[1:-1, 1:-1]
    found = {}
    for value, first, *rest in zip(
        figures.value,
        figures.first,
        figures.pixels,
        figures.likelihood,
        figures.last,
        figures.at_edge,
        polygons,
        strict=True,
    ):
        found[int(value), int(first)] = rest
    truth = {}
    for value in (2, 3):
        labels, count = ndimage.label(codes == value, CROSS)
        for number in range(1, count + 1):
            inside = labels == number
            truth[value, int(np.flatnonzero(inside)[0])] = inside
    assert found.keys() == truth.keys()
    for key, inside in truth.items():
        pixels, likely, last, at_edge, polygon = found[key]
        assert pixels == inside.sum() == polygon.area
        assert likely == likelihood[inside].sum()
        assert last == np.nonzero(inside)[0].max()
        assert at_edge == beside_unseen[inside].any()
        assert polygon.is_valid
        # rows count downwards here, so what runs clockwise will run counter-clockwise on a map
        assert not shapely.is_ccw(polygon.exterior)
        assert all(shapely.is_ccw(hole) for hole in polygon.interiors)
        drawn = rasterio.features.rasterize([polygon], out_shape=codes.shape, fill=0, default_value=1)
        assert np.array_equal(drawn.astype(bool), inside)


def test_polygons_are_those_of_rasterio() -> None:
    codes = smooth((150, 170), 3)
    _, polygons, _ = traced(codes, codes, 17)
    shapes = rasterio.features.shapes(codes, mask=codes == 2, connectivity=4)
    expected = {shapely.geometry.shape(shape).normalize().simplify(0).wkb for shape, _ in shapes}
    assert {polygon.normalize().simplify(0).wkb for polygon in polygons} == expected


def test_a_ring_that_closes_at_a_corner_is_a_hole() -> None:
    codes = np.array([[2, 2, 2], [2, 0, 2], [2, 2, 0]], np.uint8)
    _, (polygon,), _ = traced(codes, codes, 1)
    assert polygon.is_valid
    assert polygon.area == 7
    assert len(polygon.interiors) == 1


def test_what_is_small_is_dropped_and_counted() -> None:
    codes = smooth((300, 300), 2)
    everything, _, _ = traced(codes, codes, 50)
    figures, polygons, tracer = traced(codes, codes, 7, minimum=3000.0)
    assert 0 < len(polygons) < len(everything.value)
    # 30 pixels of 10 m, and a little: on the central meridian of UTM a map metre is 1.0004 on the ground
    assert figures.pixels.min() == everything.pixels[everything.pixels >= 30].min()
    assert figures.pixels.sum() + tracer.dropped_pixels[2] == (codes == 2).sum()
    assert len(polygons) + tracer.dropped_count[2] == len(everything.value)


def smooth(shape: tuple[int, int], size: float, seed: int = 0) -> NDArray[np.uint8]:
    random = np.random.default_rng(seed)
    return np.where(ndimage.gaussian_filter(random.normal(size=shape), size) > 0, 2, 0).astype(np.uint8)


def write_product(folder: Path, codes: NDArray[np.uint8], grid: GeoBox) -> NDArray[np.uint8]:
    folder.mkdir(exist_ok=True)
    likelihood = np.where(codes == 255, 255, np.random.default_rng(2).integers(0, 101, codes.shape)).astype(np.uint8)
    write_raster(folder / "class.tif", codes, grid, nodata=255)
    write_raster(folder / "likelihood.tif", likelihood, grid, nodata=255)
    return likelihood


def scene(seed: int = 5) -> NDArray[np.uint8]:
    codes = smooth((260, 310), 2, seed)
    codes[200:, :] = np.where(codes[200:, :] == 2, 3, 250)
    codes[:, :20] = 255
    return codes


@pytest.mark.parametrize(
    ("affine", "crs"),
    [
        (UTM, "EPSG:32631"),
        (Affine(1e-4, 0, 12, 0, -1e-4, 61), "EPSG:4326"),
        (Affine(10, 0, 500000, 0, 10, 4900000), "EPSG:32631"),
        (Affine(8, 3, 900000, 3, -8, 4900000), "EPSG:32631"),
        (Affine(20, 0, 1300000, 0, -20, 8500000), "EPSG:3857"),
    ],
    ids=["north-up", "geographic", "south-up", "rotated", "web-mercator"],
)
def test_the_file_holds_the_raster(tmp_path: Path, affine: Affine, crs: str) -> None:
    codes = scene()
    grid = grid_of(codes.shape, affine, crs)
    likelihood = write_product(tmp_path, codes, grid)
    counts = write_polygons(tmp_path, ENTRIES, config=PolygonConfig(minimum_area=0, rows=64))
    tally = Tally(grid, ENTRIES)
    tally.add(Window(0, 0, *codes.shape), codes, codes == 9)
    areas = tally.areas()
    for layer, values in (("observed_event", (2, 3)), ("excluded", (250,)), ("footprint", range(255))):
        meta, shapes, columns = layer_of(tmp_path, layer)
        assert pyproj.CRS(meta["crs"]) == pyproj.CRS(crs)
        assert len(shapes) == counts.layers[layer] > 0
        inside = np.isin(codes, list(values))
        assert columns["pixels"].sum() == inside.sum()
        assert shapely.area(shapes).sum() / abs(affine.determinant) == pytest.approx(inside.sum())
        expected = sum(area for value, area in areas.items() if value in values)
        assert columns["area_m2"].sum() == pytest.approx(expected, rel=1e-6)
        geod = pyproj.CRS(crs).get_geod()
        to_degrees = pyproj.Transformer.from_crs(crs, pyproj.CRS(crs).geodetic_crs, always_xy=True)
        for shape, area in list(zip(shapes, columns["area_m2"], strict=True))[:20]:
            # pixel sides are short enough for the geodesic between two corners to be the line between them
            around = shapely.transform(
                shape.segmentize(2 * abs(affine.a)), lambda xy, to=to_degrees: np.c_[to.transform(*xy.T)]
            )
            assert abs(geod.geometry_area_perimeter(around)[0]) == pytest.approx(area, rel=1e-4, abs=0.01)
    _, shapes, columns = layer_of(tmp_path, "observed_event")
    largest = columns["pixels"].argmax()
    inside = (
        rasterio.features.rasterize([shapes[largest]], out_shape=codes.shape, transform=affine, default_value=1) == 1
    )
    assert columns["likelihood"][largest] == pytest.approx(likelihood[inside].mean(), abs=0.006)
    assert set(columns["class"]) == {2, 3}
    assert set(columns["name"]) == {"flood", "water, not told apart"}


def layer_of(folder: Path, layer: str):
    meta, _, shapes, columns = pyogrio.raw.read(folder / "polygons.gpkg", layer=layer)
    return meta, shapely.from_wkb(shapes), dict(zip(meta["fields"], columns, strict=True))


def test_the_same_map_has_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("undercast.product.polygons.BATCH", 20_000)
    codes = scene()
    write_product(tmp_path, codes, grid_of(codes.shape))
    sources = (
        Source("s1", "Sentinel-1", "a.tif", "2019-09-12T06:01:25Z", "00ff"),
        Source("dem", "DEM", "d.tif", None, None),
    )
    files = []
    for rows in (512, 64, 37, 512):
        config = PolygonConfig(rows=rows, minimum_area=500)
        counts = write_polygons(tmp_path, ENTRIES, sources, config, datetime(2019, 9, 12, 6, tzinfo=UTC))
        files.append((tmp_path / "polygons.gpkg").read_bytes())
    assert files[0] == files[1] == files[2] == files[3]
    assert counts.layers["observed_event"] > 100
    assert sum(counts.dropped.values()) > 0
    assert {name for name, _ in pyogrio.list_layers(tmp_path / "polygons.gpkg")} == {
        "observed_event", "footprint", "excluded", "source"
    }  # fmt: skip
    _, shapes, columns = layer_of(tmp_path, "source")
    assert list(columns["role"]) == ["s1", "dem"]
    assert columns["acquired"][1] is None
    assert shapes[0].bounds == (500000, 4900000 - 2600, 503100, 4900000)
    assert pyogrio.get_gdal_config_option("OGR_CURRENT_DATE") is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["class.tif", "likelihood.tif", "polygons.gpkg"]


@pytest.mark.parametrize("value", [0, 255])
def test_a_map_without_an_event_has_every_layer(tmp_path: Path, value: int) -> None:
    codes = np.full((5, 1), value, np.uint8)
    write_product(tmp_path, codes, grid_of(codes.shape))
    counts = write_polygons(tmp_path, ENTRIES)
    assert counts.layers == {"observed_event": 0, "footprint": int(value == 0), "excluded": 0, "source": 0}
    assert len(pyogrio.list_layers(tmp_path / "polygons.gpkg")) == 4


def test_a_missing_layer_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"class\.tif: no such file"):
        write_polygons(tmp_path, ENTRIES)


def test_which_codes_are_the_event() -> None:
    assert event_values(ENTRIES) == (2, 3)
    own = Entry(0, "stable", "stable", "#000000"), Entry(1, "slide", "slide", "#ff0000", event=True)
    slides = (*own, *NO_ANSWER_ENTRIES)
    assert event_values(slides) == (1,)
