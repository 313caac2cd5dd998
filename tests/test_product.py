"""The parts of a product that a map brings together: polygons, areas by unit, terrain, training domain, item."""

import csv

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
import typer
from typer.testing import CliRunner

from conftest import UTM, backscatter, read_json, write_tiny_model
from undercast.bands import S1
from undercast.cli.show import show
from undercast.errors import InputError
from undercast.mapping import MapConfig, map_scene
from undercast.mapping.domain import DomainConfig, Guard
from undercast.model import ModelFolder, write_signature
from undercast.product.areas import split_layer
from undercast.product.verify import verify_product
from undercast.raster import Scene
from undercast.signature import BandStatistics

app = typer.Typer()
app.command("show")(show)
HEIGHT, WIDTH = 80, 100
LAND = (-8.0, -14.0)


def lake():
    """A dark rectangle in bright land, where there is water."""
    image = np.empty((2, HEIGHT, WIDTH), np.float32)
    image[:] = np.array(LAND)[:, None, None]
    image[:, 20:60, 20:80] = -25.0
    return image


def codes(folder):
    with rasterio.open(folder / "class.tif") as source:
        return source.read(1)


def likelihood(folder):
    with rasterio.open(folder / "likelihood.tif") as source:
        return source.read(1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> ModelFolder:
    """The small model, with a memory of what it was trained on."""
    folder = write_tiny_model(tmp_path_factory.mktemp("trained") / "model")
    vv = BandStatistics(mean=-12, std=5, p01=-26, p50=-11, p99=0)
    vh = BandStatistics(mean=-19, std=6, p01=-40, p50=-18, p99=-8)
    body = folder.signature.model_copy(update={"training_domain": {"s1": {"VV": vv, "VH": vh}}})
    write_signature(body, folder.path)
    return ModelFolder.open(folder.path)


@pytest.mark.parametrize(("shape", "seen"), [((1, 1), True), ((1, 1), False), ((3, 37), True)])
def test_every_product_is_sound(tmp_path, tiny_model, write_scene, shape, seen):
    image = backscatter(*shape) if seen else np.full((2, *shape), np.nan, np.float32)
    summary = map_scene([write_scene(image)], tiny_model, tmp_path / "out")
    assert verify_product(tmp_path / "out").problems == []
    assert summary["polygons"]["layers"]["footprint"] == int(seen)
    assert (summary["expected_area_m2"]["water"] > 0) == seen


def test_units_and_polygons_hold_what_the_raster_holds(tmp_path, tiny_model, write_scene):
    x, y = UTM[1][2], UTM[1][5]
    halves = [shapely.box(x + left, y - 800, x + left + 500, y) for left in (0, 500)]
    names = np.array(["west", "east"], object)
    for layer in ("halves", "same"):
        pyogrio.raw.write(
            tmp_path / "units.gpkg", shapely.to_wkb(np.array(halves)), [names], ["name"], layer=layer, driver="GPKG",
            geometry_type="Polygon", crs=UTM[0], append=layer == "same",
        )  # fmt: skip
    out = tmp_path / "out"
    summary = map_scene([write_scene(lake())], tiny_model, out, areas=f"{tmp_path / 'units.gpkg'}:halves")
    assert verify_product(out).problems == []
    assert summary["areas"] == {"file": "units.gpkg", "units": 2}
    with (out / "areas.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["west", "east"]
    assert sum(float(row["water_m2"]) for row in rows) == pytest.approx(summary["area_m2"]["water"], rel=1e-4)
    meta, _, _, columns = pyogrio.raw.read(out / "polygons.gpkg", layer="observed_event", read_geometry=False)
    event = dict(zip(meta["fields"], columns, strict=True))
    assert event["pixels"].sum() == summary["pixels"]["water"]
    assert event["area_m2"].sum() == pytest.approx(summary["area_m2"]["water"], rel=1e-4)
    meta, _, _, columns = pyogrio.raw.read(out / "polygons.gpkg", layer="source", read_geometry=False)
    source = dict(zip(meta["fields"], columns, strict=True))
    record = read_json(out / "record.json")
    assert list(source["sha256"]) == [record["inputs"][0]["sha256"]]
    assert record["areas"]["layer"] == "halves"
    assert {"polygons", "areas"} <= set(read_json(out / "item.json")["assets"])
    shown = CliRunner().invoke(app, [str(out)]).stdout
    assert "1 observed event" in shown
    assert "2 units of units.gpkg" in shown
    assert "undercast verify" in shown


def test_a_bad_layer_of_units_fails_before_anything_is_mapped(tmp_path, tiny_model, write_scene):
    (tmp_path / "units.gpkg").write_text("no geopackage")
    done = []
    with pytest.raises(InputError, match="is no vector file"):
        map_scene(
            [write_scene(lake())], tiny_model, tmp_path / "out", areas=str(tmp_path / "units.gpkg"),
            progress=lambda *_: done.append(1),
        )  # fmt: skip
    assert not done
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "path", "layer"),
    [
        ("units.gpkg", "units.gpkg", None),
        ("units.gpkg:regions", "units.gpkg", "regions"),
        ("C:units.gpkg", "C:units.gpkg", None),
        ("https://a.org/units.gpkg", "https://a.org/units.gpkg", None),
        ("https://a.org/units.gpkg:b", "https://a.org/units.gpkg", "b"),
    ],
)
def test_a_layer_is_what_stands_after_the_file(text, path, layer):
    assert split_layer(text) == (path, layer)


def test_terrain_excludes_and_no_water_is_lost_unsaid(tmp_path, tiny_model, write_scene):
    elevation = np.zeros((1, HEIGHT, WIDTH), np.float32)
    elevation[:, :, 50:] = 10.0 * np.arange(50)  # 45 degrees from column 50 on
    reference = np.zeros((1, HEIGHT, WIDTH), np.uint8)
    reference[:, 30:35, 70:75] = 1
    extra = [
        f"dem={write_scene(elevation, 'dem.tif', bands=())}",
        f"reference={write_scene(reference, 'reference.tif', bands=())}",
    ]
    map_scene([write_scene(lake()), extra[1]], tiny_model, tmp_path / "plain")
    summary = map_scene([write_scene(lake()), *extra], tiny_model, tmp_path / "out")
    assert verify_product(tmp_path / "out").problems == []
    before, after = codes(tmp_path / "plain"), codes(tmp_path / "out")
    assert (after[:, 52:][before[:, 52:] != 1] == 250).all()
    assert (after[30:35, 70:75] == 1).all()
    np.testing.assert_array_equal(after[:, :48], before[:, :48])
    lost = (before == 2) & (after == 250)
    pixel = summary["scene_area_m2"] / before.size
    assert summary["overruled_area_m2"] == {"excluded_terrain": pytest.approx(lost.sum() * pixel, rel=1e-4)}
    assert "too steep" in summary["sentence"]
    assert summary["verdict"] == "flood"
    assert summary["observed_share"] < 0.6
    np.testing.assert_array_equal(likelihood(tmp_path / "plain"), likelihood(tmp_path / "out"))


def test_terrain_that_is_excluded_need_not_be_seen_for_a_verdict(tmp_path, tiny_model, write_scene):
    land = np.full((2, HEIGHT, WIDTH), -8.0, np.float32)
    elevation = np.zeros((1, HEIGHT, WIDTH), np.float32)
    elevation[:, :, 20:] = 10.0 * np.arange(80)
    dem = write_scene(elevation, "dem.tif", bands=())
    summary = map_scene([write_scene(land), f"dem={dem}"], tiny_model, tmp_path / "out")
    assert summary["observed_share"] < 0.3
    assert summary["verdict"] == "none detected"
    assert "the relief excludes" in summary["sentence"]


def test_what_the_radar_cannot_see_is_said_apart(tmp_path, tiny_model, write_scene):
    elevation = np.zeros((1, HEIGHT, WIDTH), np.float32)
    elevation[:, :, 50:53] = 200.0
    dem = write_scene(elevation, "dem.tif", bands=())
    looking_east = {"terrain": {"radar": {"incidence": 45, "look_azimuth": 90}}}
    inputs = [write_scene(lake()), f"dem={dem}"]
    summary = map_scene(inputs, tiny_model, tmp_path / "out", config=MapConfig.model_validate(looking_east))
    hidden = codes(tmp_path / "out") == 251
    assert hidden[:, 54:70].all()  # 200 m throw a shadow of 200 m
    assert not hidden[:, 75:].any()
    assert summary["overruled_area_m2"]["layover_shadow"] > 0


def test_terrain_does_not_depend_on_how_the_work_is_cut(tmp_path, tiny_model, write_scene):
    rng = np.random.default_rng(0)
    elevation = np.cumsum(rng.normal(0, 2, (1, 130, 150)), axis=1).astype(np.float32)
    dem = write_scene(elevation, "dem.tif", bands=())
    radar = {"incidence": 39, "look_azimuth": 101}
    inputs = [write_scene(backscatter(130, 150)), f"dem={dem}"]
    made = []
    for number, mapper in enumerate(({"tile": 64, "block": 2}, {"tile": 64, "block": 9})):
        config = MapConfig.model_validate({"terrain": {"radar": radar}, "mapper": mapper})
        map_scene(inputs, tiny_model, tmp_path / str(number), config=config)
        made.append({file.name: file.read_bytes() for file in (tmp_path / str(number)).iterdir()})
    assert made[0] == made[1]
    assert (codes(tmp_path / "0") == 250).any()


def test_expected_water_is_the_sum_of_probabilities(tmp_path, tiny_model, write_scene):
    image = backscatter(90, 70)
    image[:, :9] = np.nan
    summary = map_scene([write_scene(image)], tiny_model, tmp_path / "out")
    percent = likelihood(tmp_path / "out").astype(float)
    pixel = summary["scene_area_m2"] / percent.size
    expected = percent[percent != 255].sum() / 100 * pixel
    assert summary["expected_area_m2"]["water"] == pytest.approx(expected, abs=0.005 * percent.size * pixel)
    assert summary["water_area_m2"] == summary["area_m2"]["water"]


def test_what_looks_like_training_is_inside(tmp_path, trained, write_scene):
    summary = map_scene([write_scene(lake())], trained, tmp_path / "out")
    assert summary["domain"]["verdict"] == "inside"
    assert summary["domain"]["bands"]["s1"]["VV"]["median"] == pytest.approx(np.median(lake()[0]))
    assert summary["pixels"]["outside_domain"] == 0


def test_a_scene_outside_is_flagged_or_refused_or_let_be(tmp_path, trained, write_scene):
    image = lake() + 20.0
    image[:, 70:, :20] = 40.0
    path = write_scene(image)
    summary = map_scene([path], trained, tmp_path / "flagged", unit="dB")
    assert summary["domain"]["verdict"] == "outside"
    assert any("outside what the model was trained on" in note for note in summary["notes"])
    far = (image[0] > 20) | (image[1] > 16)
    np.testing.assert_array_equal(codes(tmp_path / "flagged") == 252, far)
    assert verify_product(tmp_path / "flagged").problems == []
    refuse = MapConfig(domain=DomainConfig(policy="refuse"))
    with pytest.raises(InputError, match=r"s1 VV is outside .* domain\.policy=flag"):
        map_scene([path], trained, tmp_path / "refused", unit="dB", config=refuse)
    assert not (tmp_path / "refused").exists()
    off = MapConfig(domain=DomainConfig(policy="off"))
    summary = map_scene([path], trained, tmp_path / "off", unit="dB", config=off)
    assert summary["domain"]["verdict"] == "not checked"
    assert summary["pixels"]["outside_domain"] == 0
    unseen = write_scene(np.full_like(image, np.nan), "unseen.tif")
    with Scene.open([unseen], {"s1": S1}) as scene:
        assert Guard.of(scene, trained.signature, refuse.domain).found["why"].startswith("nothing was seen")


def test_a_scene_that_shows_little_is_looked_at_more_closely(trained, write_scene):
    image = np.full((2, 700, 1000), np.nan, np.float32)
    image[:, 72:89, 80:100] = -10.0  # between the patches that are looked at first
    with Scene.open([write_scene(image)], {"s1": S1}) as scene:
        found = Guard.of(scene, trained.signature, DomainConfig()).found
    assert found["bands"]["s1"]["VV"] == {"median": -10.0, "share_beyond": 0.0}
    assert found["verdict"] == "inside"


def test_bands_that_seem_swapped_are_flagged_or_refused(tmp_path, tiny_model, trained, write_scene):
    image = backscatter(90, 100)
    path, swapped = write_scene(image), write_scene(image[::-1], "swapped.tif")
    for model in (tiny_model, trained):
        with Scene.open([path], {"s1": S1}) as scene:
            assert not any("swapped" in note for note in Guard.of(scene, model.signature, DomainConfig()).notes)
        with Scene.open([swapped], {"s1": S1}) as scene:
            found = Guard.of(scene, model.signature, DomainConfig())
            assert found.found["verdict"] == "outside"
            assert "VV lies below VH on " in found.notes[0]
            off = Guard.of(scene, model.signature, DomainConfig(policy="off"))
            assert off.notes == ()
            with pytest.raises(InputError, match="they seem swapped"):
                Guard.of(scene, model.signature, DomainConfig(policy="refuse"))
    summary = map_scene([swapped], tiny_model, tmp_path / "out")
    assert any("they seem swapped" in note for note in summary["notes"])


def test_elevation_that_is_unknown_excludes_nothing_and_says_so(tmp_path, tiny_model, write_scene):
    elevation = np.zeros((1, HEIGHT, WIDTH), np.float32)
    elevation[:, :, 20:] = 10.0 * np.arange(80)
    elevation[:, :40, 50:] = np.nan
    dem = write_scene(elevation, "dem.tif", bands=())
    summary = map_scene([write_scene(lake()), f"dem={dem}"], tiny_model, tmp_path / "out")
    assert "dem: the elevation is unknown on 25.0 % of the scene; nothing is excluded there" in summary["notes"]
    found = codes(tmp_path / "out")
    assert not (found[:38, 52:] == 250).any()
    assert (found[45:, 60:] == 250).all()


def test_small_likelihoods_that_add_up_over_dry_ground_are_said(tmp_path, tiny_model, write_scene):
    wet = map_scene([write_scene(lake())], tiny_model, tmp_path / "wet")
    assert not any("expected_area_m2" in note for note in wet["notes"])
    land = np.full((2, 400, 400), -8.0, np.float32)
    land[1] = -20.1  # a little of a likelihood everywhere
    dry = map_scene([write_scene(land)], tiny_model, tmp_path / "dry")
    assert dry["verdict"] == "none detected"
    assert dry["expected_area_m2"]["water"] > 10_000
    assert any(note.startswith("expected_area_m2 of water is") for note in dry["notes"])
