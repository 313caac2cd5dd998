"""Optical images: whatever form the numbers have, a model sees reflectance, and a form that is unclear is asked for."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from conftest import FOUR_BANDS, UTM, read_json, reflectance
from undercast.bands import S2_L1C, S2_L2A
from undercast.batch import find_scenes
from undercast.cli.main import app
from undercast.errors import InputError
from undercast.raster import Scene, Window, write_raster
from undercast.raster.inputs import assign_bands

SHARED = Path(__file__).parents[2] / "shared/data"
ROLES = {"s2": FOUR_BANDS}
IMAGE = reflectance(60, 70)
COUNTS = np.rint(IMAGE * 10000).astype(np.uint16)


def read(paths, **declared):
    with Scene.open([str(path) for path in paths], ROLES, **declared) as scene:
        return scene.read(Window(0, 0, *scene.shape))["s2"], scene.notes


def written(path, image, **options):
    write_raster(path, image, UTM, descriptions=FOUR_BANDS.bands, **options)
    return [path]


def test_reflectance_stays_as_it_is(tmp_path):
    values, notes = read(written(tmp_path / "a.tif", IMAGE))
    np.testing.assert_array_equal(values, IMAGE)
    assert "s2 is in reflectance (detected: the median of" in notes[0]


@pytest.mark.parametrize("declared", [None, "counts"])
def test_counts_become_reflectance(tmp_path, declared):
    image = COUNTS.copy()
    image[:, :4] = 0
    values, notes = read(written(tmp_path / "a.tif", image), optical=declared)
    assert np.isnan(values[:, :4]).all()
    np.testing.assert_allclose(values[:, 4:], IMAGE[:, 4:], atol=6e-5)
    assert "s2 is in counts (" in notes[0]


@pytest.mark.parametrize(
    ("name", "tags"),
    [
        ("S2A_MSIL1C_20230601T101031_N0509_R022_T32TQM.tif", {}),
        ("a.tif", {"PROCESSING_BASELINE": "05.09"}),
    ],
)
def test_an_offset_is_found_by_baseline(tmp_path, name, tags):
    values, notes = read(written(tmp_path / name, COUNTS + 1000, tags=tags))
    np.testing.assert_allclose(values, IMAGE, atol=6e-5)
    assert "counts-1000" in notes[0]
    assert "05.09" in notes[0]


def test_an_offset_is_taken_off_where_it_is_declared(tmp_path):
    values, _ = read(written(tmp_path / "a.tif", COUNTS + 1000), optical="counts-1000")
    np.testing.assert_allclose(values, IMAGE, atol=6e-5)


def test_dark_pixels_rule_an_offset_out_whatever_the_name_says(tmp_path):
    """Catalogues hand out images of new baselines with the offset taken off."""
    values, notes = read(written(tmp_path / "S2A_MSIL2A_20230601T101031_N0509_R022_T32TQM.tif", COUNTS))
    np.testing.assert_allclose(values, IMAGE, atol=6e-5)
    assert "no offset of 1000" in notes[0]


def test_a_date_before_the_offset_settles_it(tmp_path):
    bright = np.clip(COUNTS, 2000, None)
    values, notes = read(written(tmp_path / "a.tif", bright, tags={"TIFFTAG_DATETIME": "2020-09-10T07:57:42Z"}))
    np.testing.assert_allclose(values, bright * 1e-4, atol=1e-6)
    assert "taken on 2020-09-10, before baseline 04.00" in notes[0]


def test_scale_and_offset_of_the_file_come_first(tmp_path):
    import rasterio

    (path,) = written(tmp_path / "a.tif", COUNTS + 1000)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = [1e-4] * 4, [-0.1] * 4
    values, notes = read([path])
    np.testing.assert_allclose(values, IMAGE, atol=6e-5)
    assert "s2 is in reflectance" in notes[0]


@pytest.mark.parametrize(
    ("image", "declared", "message"),
    [
        (np.clip(COUNTS, 2000, None), None, "say it with --optical counts or --optical counts-1000"),
        (COUNTS, "reflectance", "declared as reflectance, but .* as of counts; use --optical counts"),
        (IMAGE, "counts", "declared as counts, but .* as of reflectance; use --optical reflectance"),
        (COUNTS, "counts-1000", "declared as counts-1000, but 1 % of B02 is below"),
        (IMAGE * 100, None, "neither reflectance nor counts"),
    ],
)
def test_what_is_unclear_or_contradicted_is_refused(tmp_path, image, declared, message):
    paths = written(tmp_path / "a.tif", image)
    with pytest.raises(InputError, match=message):
        read(paths, optical=declared)


def write_chip(folder, image=COUNTS, names=FOUR_BANDS.bands):
    folder.mkdir(parents=True)
    for name, band in zip(names, image, strict=True):
        write_raster(folder / f"{name}.tif", band, UTM, nodata=0, tags={"TIFFTAG_DATETIME": "2020-09-10T07:57:42Z"})
    return [folder / f"{name}.tif" for name in names]


@pytest.mark.parametrize("names", [FOUR_BANDS.bands, ("B2", "B3", "B4", "B8"), ("x_blue", "x-green", "red", "nir.10m")])
def test_bands_in_files_of_their_own(tmp_path, names):
    values, _ = read(reversed(write_chip(tmp_path / "chip", names=names)))
    np.testing.assert_allclose(values, IMAGE, atol=6e-5)


def test_a_band_the_model_does_not_take_is_named(tmp_path):
    paths = write_chip(tmp_path / "chip", names=("B02", "B03", "B04", "B11"))
    with pytest.raises(InputError, match="holds B11, and s2 needs B02 and B03 and B04 and B08"):
        assign_bands([str(path) for path in paths], ROLES, ["s2"])


def test_bands_of_a_role_are_picked_from_a_file_of_many(tmp_path):
    names = ("B01", "B02", "B03", "B04", "B08", "B11")
    image = np.stack([COUNTS[0], *COUNTS, COUNTS[0]])
    write_raster(tmp_path / "all.tif", image, UTM, descriptions=names)
    np.testing.assert_allclose(read([tmp_path / "all.tif"])[0], IMAGE, atol=6e-5)


@pytest.mark.parametrize("whole", [S2_L1C, S2_L2A], ids=["L1C", "L2A"])
def test_all_of_sentinel_2_without_names_is_taken_in_its_own_order_and_said(tmp_path, whole):
    stack = np.full((len(whole.bands), *IMAGE.shape[1:]), 9999, np.uint16)
    stack[list(whole.index(FOUR_BANDS.bands))] = COUNTS
    write_raster(tmp_path / "all.tif", stack, UTM, descriptions=())
    np.testing.assert_allclose(read([tmp_path / "all.tif"])[0], IMAGE, atol=6e-5)
    found = assign_bands([str(tmp_path / "all.tif")], ROLES, ["s2"])["s2"]
    assert {file.why for file in found} == {
        f"assumed from Sentinel-2's own order of {len(stack)} bands, which have no names"
    }
    write_raster(tmp_path / "ten.tif", stack[:10], UTM, descriptions=())
    with pytest.raises(InputError, match="has 10 unnamed bands and s2 needs 4"):
        assign_bands([str(tmp_path / "ten.tif")], ROLES, ["s2"])


def test_a_chip_folder_is_one_scene_from_within_and_from_above(tmp_path, tiny_clouds):
    write_chip(tmp_path / "chips/adwp")
    write_chip(tmp_path / "chips/akny")
    assert [scene.name for scene in find_scenes([tmp_path / "chips"], tiny_clouds.signature)] == ["adwp", "akny"]
    (found,) = find_scenes([tmp_path / "chips/adwp"], tiny_clouds.signature)
    assert (found.name, len(found.inputs)) == ("adwp", 4)


def test_map_takes_the_bands_of_a_chip(tmp_path, tiny_clouds):
    paths = [str(path) for path in write_chip(tmp_path / "adwp")]
    options = ["-m", str(tiny_clouds.path), "-o", str(tmp_path / "map"), "--optical", "counts"]
    result = CliRunner().invoke(app, ["map", *paths, *options])
    assert result.exit_code == 0, result.output
    summary, record = read_json(tmp_path / "map/summary.json"), read_json(tmp_path / "map/record.json")
    assert summary["scene"] == "adwp"
    assert record["parameters"]["optical"] == "counts"
    assert summary["area_m2"]["cloud"] == pytest.approx(17.5 * 20 * 100, rel=0.25)


def test_real_chips_of_on_cloud_n_are_counts_without_offset():
    folder = SHARED / "clouds/on_cloud_n/test_features"
    if not folder.is_dir():
        pytest.skip("shared data absent")
    for chip in sorted(folder.iterdir()):
        values, notes = read(sorted(chip.glob("*.tif")))
        assert 0.01 < np.nanmedian(values) < 0.5
        assert "no offset of 1000" in notes[0]
