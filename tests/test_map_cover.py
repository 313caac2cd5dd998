"""Land cover from whichever images there are: which they were, what was restored, and where cloud leaves a guess."""

import re
from math import ceil

import numpy as np
import pytest
import rasterio
import typer
from typer.testing import CliRunner

from conftest import S2, UTM, cover_scene, read_json, write_cover_model
from undercast.batch import find_scenes
from undercast.cli.map_ import map_
from undercast.cli.show import show
from undercast.errors import InputError
from undercast.mapping import MapConfig, map_scene
from undercast.mapping.seen import flags_of, under
from undercast.predict import MapperConfig, OpenVinoPredictor, answer_outputs
from undercast.predict.tiles import touched
from undercast.product.codes import entries_of, input_entries
from undercast.product.polygons import event_values
from undercast.product.verify import verify_product
from undercast.raster import Scene, write_raster

HEIGHT, WIDTH = 110, 131


def read(path):
    with rasterio.open(path) as source:
        return source.read()


@pytest.fixture
def images():
    """A scene of which parts were seen by one instrument, by the other, by both and by none."""
    s2, s1 = cover_scene(HEIGHT, WIDTH)
    s2[:, :30, :80] = np.nan
    s1[:, :50, 40:120] = np.nan
    return {"s2": s2, "s1": s1}


@pytest.fixture
def inputs(write_scene, images):
    bands = {"s2": S2.bands, "s1": ("VV", "VH")}
    return {role: f"{role}={write_scene(image, f'{role}.tif', bands=bands[role])}" for role, image in images.items()}


@pytest.mark.parametrize("roles", [("s2", "s1"), ("s1",), ("s2",)])
def test_law_07_a_map_from_whichever_images_there_are(tmp_path, cover_model, inputs, images, roles):
    scale = cover_model.signature.task.scale
    config = MapConfig.model_validate({"codes": {"cloud_likelihood": 0}})
    summary = map_scene([inputs[role] for role in roles], cover_model, tmp_path / "out", config=config)
    assert verify_product(tmp_path / "out").problems == []
    shape = ceil(HEIGHT * scale), ceil(WIDTH * scale)
    assert summary["shape"] == list(shape)
    seen = {role: ~touched(np.isnan(images[role]).any(axis=0), scale) for role in roles}
    flags = sum(seen[role] * bit for role, bit in (("s2", 1), ("s1", 2)) if role in seen)
    np.testing.assert_array_equal(read(tmp_path / "out/inputs.tif")[0], np.where(flags == 0, 255, flags))
    codes = read(tmp_path / "out/class.tif")[0]
    np.testing.assert_array_equal(codes == 255, flags == 0)
    names = {1: "s2", 2: "s1", 3: "s2_and_s1", 255: "none"}
    counted = {names[v]: int((read(tmp_path / "out/inputs.tif")[0] == v).sum()) for v in names}
    assert summary["inputs"] == {"bits": {"s2": 1, "s1": 2}, "pixels": counted}
    predictor = OpenVinoPredictor(cover_model, threads=1)
    padded = {role: np.pad(images[role], ((0, 0), (20, 20), (20, 20)), constant_values=np.nan) for role in roles}
    truth = answer_outputs(predictor, padded)
    edge = int(20 * scale)
    likely = truth["probabilities"][:, edge:, edge:][:, : shape[0], : shape[1]]
    percent = read(tmp_path / "out/likelihood.tif")[0]
    assert np.abs(percent - likely.max(axis=0) * 100)[flags > 0].max() <= 0.51
    sure = (flags > 0) & (np.sort(likely, axis=0)[-1] - np.sort(likely, axis=0)[-2] > 1e-4)
    np.testing.assert_array_equal(codes[sure], likely.argmax(axis=0)[sure])
    with rasterio.open(tmp_path / "out/class.tif") as source:
        assert source.transform.a == 10.0 / float(scale)
        assert (source.transform.c, source.transform.f) == (UTM[1][2], UTM[1][5])
    if "s2" not in roles:
        assert not (tmp_path / "out/restored.tif").exists()
        return
    with rasterio.open(tmp_path / "out/restored.tif") as source:
        assert source.descriptions == S2.bands
        assert (source.shape, source.transform.a, set(source.dtypes)) == ((HEIGHT, WIDTH), 10.0, {"float32"})
        restored = source.read()
    known = np.isfinite(images["s2"]).all(axis=0)
    np.testing.assert_array_equal(np.isfinite(restored).all(axis=0), known)
    np.testing.assert_allclose(restored[:, known], truth["restored"][:, 20:-20, 20:-20][:, known], atol=6e-5)
    with Scene.open([f"s2={tmp_path / 'out/restored.tif'}"], {"s2": S2}) as scene:
        assert scene.images["s2"].unit == "reflectance"


def test_law_04_same_bytes_however_the_work_is_cut(tmp_path, cover_model, inputs):
    made = []
    for number, cut in enumerate(({"block": 2, "threads": 1}, {"block": 3, "threads": 2, "ahead": 1})):
        config = MapConfig(mapper=MapperConfig(tile=64, **cut))
        map_scene(list(inputs.values()), cover_model, tmp_path / str(number), config=config)
        made.append({file.name: file.read_bytes() for file in (tmp_path / str(number)).iterdir()})
    assert made[0] == made[1]
    assert {"inputs.tif", "inputs.tif.aux.xml", "restored.tif"} <= made[0].keys()


def test_cloud_without_radar_is_a_code_of_its_own(tmp_path, cover_model, inputs, images):
    """The rule: cloudy (brighter than restored), nothing else seen, and the likeliest class below the threshold."""
    scale = cover_model.signature.task.scale
    config = MapConfig.model_validate({"codes": {"cloud_likelihood": 1.0}})
    summary = map_scene(list(inputs.values()), cover_model, tmp_path / "out", config=config)
    assert verify_product(tmp_path / "out").problems == []
    codes, flags = read(tmp_path / "out/class.tif")[0], read(tmp_path / "out/inputs.tif")[0]
    with np.errstate(invalid="ignore"):
        bright = (images["s2"] - np.clip(images["s2"], 0, 0.3)).mean(axis=0) > 0.15
    cloud = touched(bright, scale) & (flags == 1)
    assert cloud.any()
    cloud &= (codes == 253) | (read(tmp_path / "out/likelihood.tif")[0] < 100)  # rounded, 100 % may be 1
    np.testing.assert_array_equal(codes == 253, cloud)
    assert (codes[cloud] == 253).mean() > 0.9
    assert summary["pixels"]["cloud"] == cloud.sum()
    assert summary["overruled_area_m2"]["cloud"] == pytest.approx(cloud.sum() * 100 / float(scale) ** 2, rel=0.01)
    hidden = under(cloud, cover_model.signature, (HEIGHT, WIDTH))
    restored = read(tmp_path / "out/restored.tif")
    np.testing.assert_array_equal(np.isnan(restored[0]), hidden | np.isnan(images["s2"][0]))
    never = MapConfig.model_validate({"codes": {"cloud_likelihood": 0}})
    assert map_scene(list(inputs.values()), cover_model, tmp_path / "never", config=never)["pixels"]["cloud"] == 0
    higher = MapConfig.model_validate({"codes": {"cloud_likelihood": 1.0, "cloud_excess": 0.9}})
    assert map_scene(list(inputs.values()), cover_model, tmp_path / "bright", config=higher)["pixels"]["cloud"] == 0


def test_the_catalogue_tells_what_the_layers_hold_and_the_summary_counts_every_class(tmp_path, write_scene):
    model = write_cover_model(tmp_path / "model")
    s2, s1 = cover_scene(60, 60)
    texts = [f"s2={write_scene(s2, 's2.tif', bands=S2.bands)}", f"s1={write_scene(s1, 's1.tif')}"]
    summary = map_scene(texts, model, tmp_path / "out")
    assert list(summary["expected_area_m2"]) == [label.name for label in model.signature.task.classes]
    assert sum(summary["expected_area_m2"].values()) == pytest.approx(summary["observed_area_m2"], rel=1e-3)
    assert re.match(r"(\w+ [\d.]+ %, )+\w+ [\d.]+ %; 100 % of the scene was observed\.$", summary["sentence"])
    assert event_values(entries_of(model.signature.task)) == (0, 1, 2, 3, 4, 5)
    assets = read_json(tmp_path / "out/item.json")["assets"]
    (band,) = assets["inputs"]["bands"]
    assert {label["value"]: label["title"] for label in band["classification:classes"]} == {
        1: "s2",
        2: "s1",
        3: "s2 and s1",
        255: "nothing seen",
    }
    restored = assets["restored"]["bands"]
    assert [band["name"] for band in restored] == list(S2.bands)
    assert {(band["data_type"], band["nodata"]) for band in restored} == {("float32", "nan")}
    assert restored[0]["raster:spatial_resolution"] == pytest.approx(10, abs=0.01)
    names = (tmp_path / "out/inputs.tif.aux.xml").read_text()
    assert "<Category>s2 and s1</Category>" in names


@pytest.mark.parametrize(
    ("layer", "value", "message"),
    [
        ("inputs.tif", 9, "inputs.tif: holds 9, which is no set of s2, s1"),
        ("inputs.tif", 255, "pixels have a class in class.tif where nothing was seen"),
        ("restored.tif", 7.0, "restored.tif: 100 pixels are no reflectance in some band"),
    ],
)
def test_a_changed_layer_is_found(tmp_path, write_scene, layer, value, message):
    model = write_cover_model(tmp_path / "model")
    s2, s1 = cover_scene(60, 60)
    texts = [f"s2={write_scene(s2, 's2.tif', bands=S2.bands)}", f"s1={write_scene(s1, 's1.tif')}"]
    map_scene(texts, model, tmp_path / "out")
    path = tmp_path / "out" / layer
    array = read(path)
    array[..., :10, :10] = value
    with rasterio.open(path) as source:
        grid = str(source.crs), tuple(source.transform)[:6]
        descriptions, nodata = source.descriptions, source.nodata
    write_raster(path, array, grid, nodata=nodata, descriptions=descriptions)
    assert any(message in problem for problem in verify_product(tmp_path / "out").problems)


@pytest.mark.parametrize("shape", [(1, 1), (1, 23), (7, 5), (11, 10)])
def test_law_05_every_size_is_answered_at_any_scale(tmp_path, cover_model, write_scene, shape):
    s2, s1 = cover_scene(*shape)
    texts = [f"s2={write_scene(s2, 's2.tif', bands=S2.bands)}", f"s1={write_scene(s1, 's1.tif')}"]
    map_scene(texts, cover_model, tmp_path / "out")
    codes = read(tmp_path / "out/class.tif")[0]
    scale = cover_model.signature.task.scale
    assert codes.shape == (ceil(shape[0] * scale), ceil(shape[1] * scale))
    assert (codes < 6).all()


def test_radar_on_another_grid_is_aligned_and_what_it_does_not_cover_is_said(tmp_path, write_scene):
    model = write_cover_model(tmp_path / "model")
    s2, s1 = cover_scene(80, 90)
    coarse = ("EPSG:32631", (20.0, 0.0, 500000.0 + 300, 0.0, -20.0, 4900000.0))
    texts = [
        f"s2={write_scene(s2, 's2.tif', bands=S2.bands)}",
        f"s1={write_scene(s1[:, ::2, ::2], 's1.tif', grid=coarse)}",
    ]
    summary = map_scene(texts, model, tmp_path / "out")
    flags = read(tmp_path / "out/inputs.tif")[0]
    assert (flags[:, :29] == 1).all()
    assert (flags[2:-2, 32:] == 3).all()
    assert any("s1 VV/VH" in note and "aligned to the grid" in note for note in summary["notes"])


def test_what_is_wrong_is_said(tmp_path, write_scene):
    model = write_cover_model(tmp_path / "model")
    path = write_scene(cover_scene(20, 20)[1], "radar.tif")
    with pytest.raises(InputError, match=r"radar\.tif: say what it is, for example s2="):
        map_scene([path], model, tmp_path / "out")
    with pytest.raises(InputError, match="unknown role; known here: s2, s1"):
        map_scene([f"dem={path}"], model, tmp_path / "out")


def test_the_command_line_tells_what_was_seen(tmp_path, cover_model, inputs):
    app = typer.Typer()
    app.command("map")(map_)
    app.command("show")(show)
    runner = CliRunner()
    words = ["map", *inputs.values(), "--model", str(cover_model.path), "-o", str(tmp_path / "out")]
    assert runner.invoke(app, words, catch_exceptions=False).exit_code == 0
    told = runner.invoke(app, ["show", str(tmp_path / "out")], catch_exceptions=False)
    assert "images seen: s2 " in " ".join(told.output.split())
    assert "forest" in told.output


def test_a_folder_of_scenes_finds_the_images_of_each(tmp_path, cover_model):
    s2, s1 = cover_scene(20, 20)
    for name in ("monday", "tuesday"):
        write_raster(tmp_path / f"{name}_s2.tif", s2, UTM, descriptions=S2.bands)
    write_raster(tmp_path / "monday_s1.tif", s1, UTM, descriptions=("VV", "VH"))
    scenes = find_scenes([tmp_path], cover_model.signature)
    assert [(scene.name, len(scene.inputs)) for scene in scenes] == [("monday", 2), ("tuesday", 1)]
    assert scenes[1].inputs[0] == f"s2={tmp_path / 'tuesday_s2.tif'}"


def test_flags_are_bits_and_nothing_is_255():
    seen = {"s1": np.array([[True, False]]), "s2": np.array([[True, False]])}
    np.testing.assert_array_equal(flags_of(seen, ["s2", "dem", "s1"]), [[5, 255]])
    assert {entry.value: entry.name for entry in input_entries(["a", "b"])} == {
        1: "a",
        2: "b",
        3: "a and b",
        255: "nothing seen",
    }
