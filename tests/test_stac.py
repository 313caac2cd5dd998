"""The STAC item: valid against the core schemas, and right about ground, time, classes and files."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pyogrio
import pystac
import pytest
import rasterio
import shapely

from conftest import backscatter, read_json
from undercast.errors import ProductError
from undercast.mapping import map_scene
from undercast.product.codes import FLOOD_ENTRIES, NO_ANSWER_ENTRIES
from undercast.product.polygons import write_polygons
from undercast.product.priority import PRIORITY, PRIORITY_CSV
from undercast.product.stac import FILES, write_item

ENTRIES = FLOOD_ENTRIES + NO_ANSWER_ENTRIES
ITEM_SCHEMAS = "https://schemas.stacspec.org/v1.1.0/item-spec/json-schema"
S1_NAME = "S1A_IW_GRDH_1SDV_20190912T060125_20190912T060150_028988_034989_1B5C.tif"


@pytest.fixture
def make_product(tmp_path, tiny_model, write_scene):
    def make(name=S1_NAME, image=None, **options) -> Path:
        image = backscatter(120, 150) if image is None else image
        map_scene([write_scene(image, name, **options)], tiny_model, tmp_path / "out", overwrite=True)
        return tmp_path / "out"

    return make


def validate_core(body: dict) -> None:
    """Against the schemas of STAC 1.1 that pystac carries: no network."""
    jsonschema = pytest.importorskip("jsonschema")
    from referencing import Registry, Resource

    root = Path(pystac.__file__).parent / "validation/jsonschemas"
    schemas = {}
    for path in root.rglob("*.json"):
        base = "https://geojson.org/schema" if path.parent.name == "geojson" else ITEM_SCHEMAS
        schemas[f"{base}/{path.name}"] = json.loads(path.read_text("utf-8"))
    registry = Registry().with_resources([(at, Resource.from_contents(schema)) for at, schema in schemas.items()])
    checker = jsonschema.Draft7Validator(schemas[f"{ITEM_SCHEMAS}/item.json"], registry=registry)
    assert [error.message for error in checker.iter_errors(body)] == []


def check_extensions(body: dict) -> None:
    """What the schemas of the extensions ask for; they are published only on the web, so it is asked here."""
    prefixes = {"proj", "raster", "classification", "processing", "file"}
    allowed = {
        "proj:code", "proj:wkt2", "proj:shape", "proj:transform", "proj:bbox", "raster:sampling",
        "raster:spatial_resolution", "classification:classes", "processing:level", "processing:lineage",
        "processing:software", "file:size", "file:checksum",
    }  # fmt: skip
    bands = [band for asset in body["assets"].values() for band in asset.get("bands", ())]
    for fields in (body["properties"], *body["assets"].values(), *bands):
        assert {key for key in fields if key.partition(":")[0] in prefixes and ":" in key} <= allowed
    properties = body["properties"]
    assert re.fullmatch(r"EPSG:\d+", properties["proj:code"] or "EPSG:0")
    assert properties["proj:code"] or properties["proj:wkt2"]
    assert len(properties["proj:transform"]) == 6
    assert len(properties["proj:shape"]) == 2
    assert len(properties["proj:bbox"]) == 4
    assert all(isinstance(value, str) for value in properties["processing:software"].values())
    for asset in body["assets"].values():
        assert re.fullmatch("[a-f0-9]+", asset["file:checksum"])
        assert isinstance(asset["file:size"], int)
    for band in bands:
        assert band["raster:sampling"] in {"area", "point"}
        assert band["raster:spatial_resolution"] > 0
        for label in band.get("classification:classes", ()):
            assert isinstance(label["value"], int)
            assert re.fullmatch(r"[A-Za-z0-9_-]+", label["name"])
            assert re.fullmatch("[0-9A-Fa-f]{6}", label["color_hint"])


def test_the_item_is_valid_and_true(make_product):
    folder = make_product()
    write_polygons(folder, ENTRIES)
    body = write_item(folder, ENTRIES)
    validate_core(body)
    check_extensions(body)
    for broken in ({"geometry": None}, {"type": "Item"}, {"assets": {"class": {"title": "no href"}}}):
        with pytest.raises(AssertionError):
            validate_core(body | broken)
    assert read_json(folder / "item.json") == body
    item = pystac.Item.from_file(str(folder / "item.json"))
    assert item.to_dict(include_self_link=False, transform_hrefs=False)["assets"] == body["assets"]
    assert (item.properties["platform"], item.properties["instruments"]) == ("sentinel-1a", ["c-sar"])
    assert body["properties"]["datetime"] == body["properties"]["start_datetime"] == "2019-09-12T06:01:25Z"
    assert body["properties"]["end_datetime"] == "2019-09-12T06:01:50Z"
    with rasterio.open(folder / "class.tif") as classes:
        assert body["properties"]["proj:shape"] == list(classes.shape)
        assert body["properties"]["proj:transform"] == list(classes.transform)[:6]
        assert body["properties"]["proj:bbox"] == list(classes.bounds)
        assert body["properties"]["proj:code"] == "EPSG:32631"
        west, south, east, north = rasterio.warp.transform_bounds(classes.crs, "EPSG:4326", *classes.bounds)
    assert body["bbox"] == pytest.approx([west, south, east, north], abs=2e-6)
    assert shapely.geometry.shape(body["geometry"]).bounds == pytest.approx(body["bbox"])


def test_every_file_is_there_with_its_digest(make_product):
    folder = make_product()
    write_polygons(folder, ENTRIES)
    (folder / "areas.csv").write_text("name\n")
    body = write_item(folder, ENTRIES)
    files = {path.name for path in folder.iterdir()} - {"item.json"}
    of_several_images = {"inputs.tif", "inputs.tif.aux.xml", "restored.tif"}  # tests/test_map_cover.py
    assert files == FILES.keys() - of_several_images - {PRIORITY, PRIORITY_CSV}  # which a map of floods has not
    assert {asset["href"] for asset in body["assets"].values()} == {f"./{name}" for name in files}
    for asset in body["assets"].values():
        content = (folder / asset["href"]).read_bytes()
        assert asset["file:checksum"] == "1220" + hashlib.sha256(content).hexdigest()
        assert asset["file:size"] == len(content)
    labels = body["assets"]["class"]["bands"][0]["classification:classes"]
    assert {label["value"]: label["name"] for label in labels} == {entry.value: entry.key for entry in ENTRIES}


def test_the_same_product_has_the_same_item(make_product):
    folder = make_product()
    write_item(folder, ENTRIES)
    first = (folder / "item.json").read_bytes()
    folder = make_product()
    write_item(folder, ENTRIES)
    assert (folder / "item.json").read_bytes() == first


@pytest.mark.parametrize(
    ("name", "expected"),
    [("flood_2019-09-12 06:01:25.tif", "2019-09-12T06:01:25Z"), ("scene.tif", None)],
)
def test_a_date_nobody_knows_is_null_within_an_interval(make_product, name, expected):
    folder = make_product(name)
    body = write_item(folder, ENTRIES)
    validate_core(body)
    assert body["properties"]["datetime"] == expected
    if expected is None:
        assert body["properties"]["start_datetime"] < "2015" < "9999" < body["properties"]["end_datetime"]


def test_the_geometry_is_what_was_observed(make_product):
    image = backscatter(120, 150)
    image[:, :, :75] = np.nan
    folder = make_product("scene.tif", image)
    (folder / "polygons.gpkg").unlink()
    outline = shapely.geometry.shape(write_item(folder, ENTRIES)["geometry"])
    write_polygons(folder, ENTRIES)
    observed = shapely.geometry.shape(write_item(folder, ENTRIES)["geometry"])
    assert observed.area == pytest.approx(outline.area / 2, rel=1e-3)
    assert observed.exterior.is_ccw
    assert len(pyogrio.list_layers(folder / "polygons.gpkg")) == 4


def test_a_scene_across_the_180th_meridian_is_cut_in_two(make_product):
    grid = ("EPSG:32760", (100.0, 0.0, 815000.0, 0.0, -100.0, 8000000.0))
    body = write_item(make_product("scene.tif", grid=grid), ENTRIES)
    validate_core(body)
    shape = shapely.geometry.shape(body["geometry"])
    assert shape.geom_type == "MultiPolygon"
    assert shape.is_valid
    west, _, east, _ = body["bbox"]
    assert west > 179
    assert east < -179
    assert sum(part.bounds[2] - part.bounds[0] for part in shape.geoms) < 1


def test_a_crs_without_a_number_is_written_out(make_product):
    crs = "+proj=laea +lat_0=47 +lon_0=3 +datum=WGS84 +units=m +no_defs"
    body = write_item(make_product("scene.tif", grid=(crs, (10.0, 0.0, 500.0, 0.0, -10.0, 900.0))), ENTRIES)
    validate_core(body)
    check_extensions(body)
    assert body["properties"]["proj:code"] is None
    assert "Lambert Azimuthal" in body["properties"]["proj:wkt2"]


def test_an_incomplete_product_is_refused(make_product):
    folder = make_product()
    (folder / "record.json").write_text("{")
    with pytest.raises(ProductError, match=r"record\.json: is missing or damaged"):
        write_item(folder, ENTRIES)
