"""A map from rasters to product folder: right codes, right ground, the same bytes, all or nothing."""

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import typer
from typer.testing import CliRunner

from conftest import UTM, backscatter, read_json
from undercast.cli.map_ import map_
from undercast.cli.show import show
from undercast.mapping import MapConfig, headline, map_scene
from undercast.predict import MapperConfig, OpenVinoPredictor, answer

DATA = Path(__file__).parents[2] / "shared/data"

app = typer.Typer()
app.command("map")(map_)
app.command("show")(show)


def read(path, band=1):
    with rasterio.open(path) as source:
        return source.read(band)


def digests(folder):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


def test_a_scene_becomes_a_product(tmp_path, tiny_model, write_scene):
    image = backscatter(300, 400)
    image[:, 50:60, 70:90] = np.nan
    path = write_scene(image)
    summary = map_scene([path], tiny_model, tmp_path / "out")

    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "class.tif",
        "class.tif.aux.xml",
        "item.json",
        "likelihood.tif",
        "polygons.gpkg",
        "quicklook.png",
        "record.json",
        "summary.json",
    ]
    assert read_json(tmp_path / "out/summary.json") == summary
    with rasterio.open(path) as source, rasterio.open(tmp_path / "out/class.tif") as classes:
        assert (classes.crs, classes.transform, classes.shape) == (source.crs, source.transform, source.shape)
        assert (classes.dtypes, classes.nodata) == (("uint8",), 255)
        assert classes.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert classes.colormap(1)[3] == (0x1F, 0x6F, 0xD6, 255)
    codes, likelihood = read(tmp_path / "out/class.tif"), read(tmp_path / "out/likelihood.tif")
    unseen = np.isnan(image[0])
    assert (codes[unseen] == 255).all()
    assert (likelihood[unseen] == 255).all()
    assert set(np.unique(codes[~unseen])) <= {0, 3, 4}
    assert likelihood[~unseen].max() <= 100
    lake = np.zeros(unseen.shape, bool)
    lake[5:140, 5:190] = True
    assert (codes[lake & ~unseen] == 3).mean() > 0.99
    assert (codes[160:, 210:] == 0).mean() > 0.99
    assert summary["pixels"]["not_observed"] == 200
    assert summary["verdict"] == "flood or permanent water"
    assert "not told apart from permanent water" in summary["sentence"]


def test_gdal_reads_the_names_of_the_classes(tmp_path, tiny_model, write_scene):
    map_scene([write_scene(backscatter(40, 40))], tiny_model, tmp_path / "out")
    # rasterio shows no category names, but a VRT made by GDAL repeats those it found
    rasterio.shutil.copy(tmp_path / "out/class.tif", tmp_path / "look.vrt", driver="VRT")
    text = (tmp_path / "look.vrt").read_text()
    assert "<Category>water, not told apart</Category>" in text
    assert "<Category>not observed</Category>" in text


def test_the_map_is_the_model_s_answer(tmp_path, tiny_model, write_scene):
    image = backscatter(200, 232)
    map_scene([write_scene(image)], tiny_model, tmp_path / "out")
    padded = np.pad(image, ((0, 0), (24, 24), (24, 24)), constant_values=np.nan)
    truth = answer(OpenVinoPredictor(tiny_model, threads=1), {"s1": padded})[1, 24:-24, 24:-24]
    assert np.abs(read(tmp_path / "out/likelihood.tif") - truth * 100).max() <= 0.5 + 1e-4


@pytest.mark.parametrize("cut", [{"block": 2, "threads": 1}, {"block": 3, "threads": 2, "ahead": 1}])
def test_same_bytes_however_the_work_is_cut(tmp_path, tiny_model, write_scene, cut):
    image = backscatter(333, 421)
    image[:, :40, 100:130] = np.nan
    path = write_scene(image)
    map_scene([path], tiny_model, tmp_path / "one", config=MapConfig(mapper=MapperConfig(tile=128)))
    map_scene([path], tiny_model, tmp_path / "two", config=MapConfig(mapper=MapperConfig(tile=128, **cut)))
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_two_files_and_one_file_give_the_same_map(tmp_path, tiny_model, write_scene):
    image = backscatter(90, 70)
    both = write_scene(image)
    vv = write_scene(image[:1], "S1A_20190912T060125_VV.tif", bands=())
    vh = write_scene(image[1:], "s1a-20190912t060125-vh-002.tif", bands=())
    map_scene([both], tiny_model, tmp_path / "one")
    summary = map_scene([vh, vv], tiny_model, tmp_path / "two")
    assert np.array_equal(read(tmp_path / "one/class.tif"), read(tmp_path / "two/class.tif"))
    assert summary["scene"] == "S1A_20190912T060125"
    assert summary["acquired"] == "2019-09-12T06:01:25Z"


def test_linear_power_gives_the_map_of_decibel(tmp_path, tiny_model, write_scene):
    image = backscatter(90, 70)
    power = (10 ** (image / 10)).astype(np.float32)
    map_scene([write_scene(image)], tiny_model, tmp_path / "one")
    summary = map_scene([write_scene(power, "power.tif")], tiny_model, tmp_path / "two")
    difference = read(tmp_path / "one/likelihood.tif").astype(int) - read(tmp_path / "two/likelihood.tif")
    assert np.abs(difference).max() <= 1
    assert any("in power" in note and "detected" in note for note in summary["notes"])


@pytest.mark.parametrize("shape", [(1, 1), (1, 37), (53, 1), (5, 3), (64, 65)])
def test_every_size_is_answered_everywhere(tmp_path, tiny_model, write_scene, shape):
    map_scene([write_scene(backscatter(*shape))], tiny_model, tmp_path / "out")
    codes = read(tmp_path / "out/class.tif")
    assert codes.shape == shape
    assert (codes <= 4).all()


@pytest.mark.parametrize(
    "transform",
    [
        (10.0, 0.0, 500000.0, 0.0, 10.0, 4900000.0),
        (8.0, 6.0, 500000.0, 6.0, -8.0, 4900000.0),
    ],
    ids=["south-up", "rotated"],
)
def test_any_affine_grid_is_kept(tmp_path, tiny_model, write_scene, transform):
    image = backscatter(60, 80)
    path = write_scene(image, grid=(UTM[0], transform))
    summary = map_scene([path], tiny_model, tmp_path / "out")
    with rasterio.open(tmp_path / "out/class.tif") as source:
        assert tuple(source.transform)[:6] == pytest.approx(transform)
    assert summary["scene_area_m2"] == pytest.approx(60 * 80 * 100 / 0.9996**2, rel=1e-6)
    map_scene([write_scene(image, "north.tif")], tiny_model, tmp_path / "north")
    assert np.array_equal(read(tmp_path / "out/class.tif"), read(tmp_path / "north/class.tif"))


def test_a_dry_scene_says_so(tmp_path, tiny_model, write_scene):
    summary = map_scene([write_scene(np.full((2, 80, 80), -8.0, np.float32))], tiny_model, tmp_path / "out")
    assert summary["verdict"] == "none detected"
    assert headline(summary) == "None detected"


def test_answers_near_unseen_ground_are_counted(tmp_path, tiny_model, write_scene):
    image = backscatter(120, 150)
    image[:, 60, 75] = np.nan
    summary = map_scene([write_scene(image)], tiny_model, tmp_path / "out")
    margin = tiny_model.signature.margin
    edge = 120 * 150 - (120 - 2 * margin) * (150 - 2 * margin)
    assert summary["near_unseen_pixels"] == edge + (2 * margin + 1) ** 2 - 1


def test_the_record_says_how_and_not_when(tmp_path, tiny_model, write_scene):
    path = write_scene(backscatter(30, 30))
    map_scene([path], tiny_model, tmp_path / "out", config=MapConfig(mapper=MapperConfig(block=3)))
    record = read_json(tmp_path / "out/record.json")
    assert record["inputs"][1]["band"] == "VH"
    assert record["inputs"][1]["sha256"] == hashlib.sha256(Path(path).read_bytes()).hexdigest()
    assert record["model"]["sha256"] == tiny_model.digest()
    assert record["parameters"]["mapper"] == {"tile": 1024}
    assert str(tmp_path) not in json.dumps(record)


def test_the_command_line(tmp_path, tiny_model, write_scene):
    out = tmp_path / "out"
    arguments = ["map", write_scene(backscatter(60, 60)), "-m", str(tiny_model.path), "-o", str(out), "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["verdict"] == "flood or permanent water"
    shown = CliRunner().invoke(app, ["show", str(out)])
    assert shown.exit_code == 0
    assert "quicklook.png" in shown.stdout.replace("\n", "")
    assert "tiny" in CliRunner().invoke(app, ["show", str(tiny_model.path)]).stdout
    again = CliRunner().invoke(app, [*arguments, "--overwrite", "--set", "codes.uncertain_band=0"])
    assert json.loads(again.stdout)["pixels"]["uncertain"] == 0


@pytest.mark.skipif(not DATA.is_dir(), reason="shared data absent")
@pytest.mark.parametrize("name", ["Paraguay_34417", "Spain_7370579"])
def test_real_chips(tmp_path, tiny_model, name):
    path = DATA / f"sen1floods11/v1.1/data/flood_events/HandLabeled/S1Hand/{name}_S1Hand.tif"
    summary = map_scene([str(path)], tiny_model, tmp_path / "out")
    with rasterio.open(path) as source, rasterio.open(tmp_path / "out/class.tif") as classes:
        assert (classes.crs, classes.transform, classes.shape) == (source.crs, source.transform, source.shape)
    if name == "Paraguay_34417":
        assert summary["verdict"] == "cannot tell"
        assert (read(tmp_path / "out/class.tif") == 255).all()
    else:
        # 512 pixels of 8.98e-5 degrees at 38.1 degrees north
        side = 512 * 8.983152841195215e-05 * 111_195
        assert summary["scene_area_m2"] == pytest.approx(side**2 * math.cos(math.radians(38.1)), rel=0.01)


def lake(height=80, width=100):
    """A dark square in bright land, where there is water."""
    image = np.full((2, height, width), -8.0, np.float32)
    image[:, 20:60, 20:80] = -25.0
    return image


def test_reference_water_tells_flood_apart(tmp_path, tiny_model, write_scene):
    percent = np.zeros((1, 80, 100), np.uint8)
    percent[:, :, 50:] = 80
    percent[:, 40:] = 255
    scene, occurrence = write_scene(lake()), write_scene(percent, "occurrence.tif", bands=())
    plain = map_scene([scene], tiny_model, tmp_path / "plain")
    summary = map_scene([scene, f"occurrence={occurrence}"], tiny_model, tmp_path / "out")
    before, codes = read(tmp_path / "plain/class.tif"), read(tmp_path / "out/class.tif")
    water = before == 3
    seen, often = percent[0] != 255, percent[0] == 80
    assert (codes[water & seen & often] == 1).all()
    assert (codes[water & seen & ~often] == 2).all()
    assert (codes[water & ~seen] == 3).all()
    np.testing.assert_array_equal(codes[~water], before[~water])
    assert summary["verdict"] == "flood"
    assert "no reference there" in summary["sentence"]
    assert plain["pixels"]["water"] == sum(summary["pixels"][key] for key in ("permanent_water", "flood", "water"))
    strict = MapConfig.model_validate({"reference": {"minimum_occurrence": 90}})
    never = map_scene([scene, f"occurrence={occurrence}"], tiny_model, tmp_path / "strict", config=strict)
    assert never["pixels"]["permanent_water"] == 0


def test_water_that_was_there_before_is_no_flood(tmp_path, tiny_model, write_scene):
    before = lake()
    before[:, :, 50:] = -8.0
    before[:, 50:] = np.nan
    inputs = [write_scene(lake()), f"s1_pre={write_scene(before, 'before.tif')}"]
    map_scene(inputs, tiny_model, tmp_path / "out")
    codes = read(tmp_path / "out/class.tif")
    assert (codes[24:46, 24:44] == 1).all()
    assert (codes[24:46, 56:76] == 2).all()
    assert (codes[52:56, 24:76] == 3).all()
    record = read_json(tmp_path / "out/record.json")
    assert [entry["role"] for entry in record["inputs"]] == ["s1", "s1", "s1_pre", "s1_pre"]


def test_water_that_is_all_permanent_is_no_flood(tmp_path, tiny_model, write_scene):
    everywhere = write_scene(np.ones((1, 80, 100), np.uint8), "mask.tif", bands=())
    summary = map_scene([write_scene(lake()), f"reference={everywhere}"], tiny_model, tmp_path / "out")
    assert summary["verdict"] == "none detected"
    assert "Permanent or reference water covers" in summary["sentence"]


def test_nodata_of_the_user_leaves_the_reference_alone(tmp_path, tiny_model, write_scene):
    nowhere = write_scene(np.zeros((1, 80, 100), np.uint8), "mask.tif", bands=())
    summary = map_scene([write_scene(lake()), f"reference={nowhere}"], tiny_model, tmp_path / "out", nodata=0.0)
    assert summary["verdict"] == "flood"
