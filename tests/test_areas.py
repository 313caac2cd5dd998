"""Areas by unit: exact on units that follow pixels, and honest about what was not seen."""

import csv
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyogrio
import pyproj
import pytest
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from undercast.errors import InputError
from undercast.product.areas import AreasConfig, read_units, write_areas
from undercast.product.codes import FLOOD_ENTRIES, NO_ANSWER_ENTRIES
from undercast.product.summary import Tally
from undercast.raster import Window, write_raster

ENTRIES = FLOOD_ENTRIES + NO_ANSWER_ENTRIES
GRID = GeoBox((120, 700), Affine(10, 0, 500000, 0, -10, 4900000), "EPSG:32631")


def scene() -> NDArray[np.uint8]:
    return np.random.default_rng(0).choice([0, 2, 250, 255], p=[0.5, 0.2, 0.1, 0.2], size=GRID.shape).astype(np.uint8)


def write_class(folder: Path, codes: NDArray[np.uint8]) -> None:
    write_raster(folder / "class.tif", codes, GRID, nodata=255)


def write_units(path: Path, boxes, crs: str = "EPSG:32631", **columns) -> str:
    shapes = shapely.to_wkb(np.array(boxes, object))
    columns = columns or {"name": np.array([f"unit {number}" for number in range(len(boxes))], object)}
    pyogrio.raw.write(
        path, shapes, list(columns.values()), list(columns), driver="GPKG", geometry_type="Polygon", crs=crs
    )
    return str(path)


def pixel_box(top: int, left: int, bottom: int, right: int):
    return shapely.box(500000 + 10 * left, 4900000 - 10 * bottom, 500000 + 10 * right, 4900000 - 10 * top)


def read_table(folder: Path) -> list[dict[str, str]]:
    with (folder / "areas.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("window", [64, 97, 2048])
def test_units_along_pixels_are_counted_exactly(tmp_path: Path, window: int) -> None:
    codes = scene()
    write_class(tmp_path, codes)
    edges = [(0, 0, 70, 300), (70, 0, 120, 300), (0, 300, 120, 700), (10, 10, 11, 11)]
    path = write_units(tmp_path / "units.gpkg", [pixel_box(*edge) for edge in edges])
    write_areas(tmp_path, read_units(path, GRID), ENTRIES, AreasConfig(window=window))
    rows = read_table(tmp_path)
    assert [row["name"] for row in rows] == ["unit 0", "unit 1", "unit 2", "unit 3"]
    for row, (top, left, bottom, right) in zip(rows, edges, strict=True):
        part = codes[top:bottom, left:right]
        tally = Tally(GRID, ENTRIES)
        tally.add(Window(top, left, *part.shape), part, part == 9)
        areas = tally.areas()
        for entry in ENTRIES:
            assert float(row[f"{entry.key}_m2"]) == pytest.approx(areas[entry.value], rel=1e-6, abs=0.06)
        seen = sum(area for value, area in areas.items() if value < 250)
        assert float(row["observed_m2"]) == pytest.approx(seen, rel=1e-6, abs=0.06)
        assert float(row["in_scene_m2"]) == pytest.approx(sum(areas.values()), rel=1e-6, abs=0.06)
        assert float(row["unit_m2"]) == pytest.approx(sum(areas.values()), rel=1e-4, abs=0.06)
        assert float(row["observed_share"]) == pytest.approx(seen / sum(areas.values()), abs=2e-4)


def test_windows_do_not_matter_and_slanted_units_share_every_pixel(tmp_path: Path) -> None:
    write_class(tmp_path, scene())
    left, bottom, right, top = pixel_box(0, 0, 120, 700).bounds
    cut = shapely.Point(left + 2345.6, bottom + 567.8)
    corners = [(left, bottom), (right, bottom), (right, top), (left, top), (left, bottom)]
    parts = [shapely.Polygon([cut, one, other]) for one, other in pairwise(corners)]
    path = write_units(tmp_path / "units.gpkg", parts)
    tables = []
    for window in (33, 500, 2048):
        write_areas(tmp_path, read_units(path, GRID), ENTRIES, AreasConfig(window=window))
        tables.append((tmp_path / "areas.csv").read_bytes())
    assert tables[0] == tables[1] == tables[2]
    tally = Tally(GRID, ENTRIES)
    tally.add(Window(0, 0, 120, 700), scene(), scene() == 9)
    flood = sum(float(row["flood_m2"]) for row in read_table(tmp_path))
    assert flood == pytest.approx(tally.areas()[2], rel=1e-6)


def test_a_unit_beyond_the_scene_was_observed_in_part(tmp_path: Path) -> None:
    write_class(tmp_path, np.zeros(GRID.shape, np.uint8))
    to_degrees = pyproj.Transformer.from_crs("EPSG:32631", "EPSG:4326", always_xy=True)
    # its right half lies in the scene; far beyond it goes round half the world, where UTM has no coordinates
    half = pixel_box(0, -100, 120, 100)
    half = shapely.transform(half.segmentize(50), lambda xy: np.c_[to_degrees.transform(*xy.T)])
    huge = shapely.box(-170, 40, 60, 80)
    path = write_units(
        tmp_path / "units.gpkg", [half, huge, shapely.box(20, 20, 21, 21)], "EPSG:4326",
        code=np.array([7, 8, 9]), name=np.array(["Sète", None, "far"], object), rate=np.array([0.5, np.nan, 1]),
    )  # fmt: skip
    write_areas(tmp_path, read_units(path, GRID), ENTRIES)
    first, second = read_table(tmp_path)
    assert (first["code"], first["name"], first["rate"]) == ("7", "Sète", "0.5")
    assert (second["code"], second["name"], second["rate"]) == ("8", "", "")
    assert float(first["observed_share"]) == pytest.approx(0.5, abs=0.002)
    assert float(second["in_scene_m2"]) == pytest.approx(120 * 700 * 100, rel=1e-3)
    assert float(second["observed_share"]) < 1e-4
    assert float(second["unit_m2"]) > 1e13


def test_overlapping_units_each_count_their_pixels(tmp_path: Path) -> None:
    write_class(tmp_path, np.full(GRID.shape, 2, np.uint8))
    path = write_units(tmp_path / "units.gpkg", [pixel_box(0, 0, 10, 10), pixel_box(0, 0, 20, 10)])
    write_areas(tmp_path, read_units(path, GRID), ENTRIES)
    small, large = (float(row["flood_m2"]) for row in read_table(tmp_path))
    assert large == pytest.approx(2 * small, rel=1e-6)


def test_what_cannot_be_used_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.gpkg: is no vector file"):
        read_units(str(tmp_path / "nothing.gpkg"), GRID)
    away = write_units(tmp_path / "away.gpkg", [shapely.box(20, 20, 21, 21)], "EPSG:4326")
    with pytest.raises(InputError, match="none of its units reaches into the scene"):
        read_units(away, GRID)
    with pytest.raises(InputError, match="has no layer towns; it has away"):
        read_units(away, GRID, "towns")
    lines = np.array([shapely.to_wkb(shapely.LineString([(500100, 4899900), (500500, 4899500)]))], object)
    path = tmp_path / "lines.gpkg"
    pyogrio.raw.write(path, lines, [], [], driver="GPKG", geometry_type="LineString", crs="EPSG:32631")
    with pytest.raises(InputError, match="holds no polygons"):
        read_units(str(path), GRID)
    pyogrio.raw.write(path, lines, [], [], layer="two", driver="GPKG", geometry_type="LineString", crs="EPSG:32631")
    with pytest.raises(InputError, match="has the layers lines, two; say which"):
        read_units(str(path), GRID)
    (tmp_path / "bare.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"bare\.csv"):
        read_units(str(tmp_path / "bare.csv"), GRID)


@pytest.mark.parametrize("kind", ["metres", "degrees", "degrees from the west"])
def test_units_are_counted_across_the_180th_meridian(tmp_path: Path, kind: str) -> None:
    """Units as GeoJSON has them, cut at the meridian; a scene in metres, or in degrees that go on beyond it."""
    if kind == "metres":
        to_metres = pyproj.Transformer.from_crs(4326, 32660, always_xy=True)
        east, north = to_metres.transform(180, -17)
        grid = GeoBox((80, 120), Affine(100, 0, east - 6000, 0, -100, north + 4000), "EPSG:32660")
    else:
        left = 179.94 if kind == "degrees" else -180.06
        grid = GeoBox((80, 120), Affine(0.001, 0, left, 0, -0.001, -16.96), "EPSG:4326")
    codes = np.random.default_rng(0).choice([0, 2, 255], size=grid.shape).astype(np.uint8)
    write_raster(tmp_path / "class.tif", codes, grid, nodata=255)
    west, east = shapely.box(179, -18, 180, -16), shapely.box(-180, -18, -179, -16)
    whole = shapely.MultiPolygon([west, east])
    pyogrio.raw.write(
        tmp_path / "units.gpkg", shapely.to_wkb(np.array([whole, west, east], object)),
        [np.array(["whole", "west", "east"], object)], ["name"], driver="GPKG", geometry_type="Unknown",
        crs="EPSG:4326",
    )  # fmt: skip
    units = read_units(str(tmp_path / "units.gpkg"), grid)
    assert list(units.attributes["name"]) == ["whole", "west", "east"]
    write_areas(tmp_path, units, ENTRIES)
    tally = Tally(grid, ENTRIES)
    tally.add(Window(0, 0, 80, 120), codes, np.zeros(codes.shape, bool))
    both, *sides = ({key: float(row[f"{key}_m2"]) for key in ("in_scene", "flood")} for row in read_table(tmp_path))
    assert both["in_scene"] == pytest.approx(sum(tally.areas().values()), rel=1e-6)
    assert both["flood"] == pytest.approx(tally.areas()[2], rel=1e-6)
    assert both["in_scene"] == pytest.approx(sides[0]["in_scene"] + sides[1]["in_scene"], rel=1e-6)
    assert min(side["in_scene"] for side in sides) > 0.4 * both["in_scene"]
