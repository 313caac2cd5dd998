"""What users give that cannot be mapped, or needs care: one line that says what to do and nothing left behind, or the
right product."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio

from conftest import UTM, backscatter, read_json
from undercast.errors import InputError, ModelError, ProductError, UndercastError
from undercast.mapping import map_scene
from undercast.model import ModelFolder, write_signature

DATA = Path(__file__).parents[2] / "shared/data"


def read(path):
    with rasterio.open(path) as source:
        return source.read(1)


def refused(kind, inputs, model, out, **options) -> str:
    """The message of the refusal, after checking that it is one line and that nothing was left behind."""
    before = sorted(out.parent.iterdir())
    with pytest.raises(kind) as caught:
        map_scene([str(item) for item in inputs], model, out, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert sorted(out.parent.iterdir()) == before
    assert isinstance(caught.value, UndercastError)
    return message


@pytest.fixture
def out(tmp_path):
    (tmp_path / "products").mkdir()
    return tmp_path / "products/out"


def test_missing_band(tiny_model, write_scene, out):
    path = write_scene(backscatter(40, 40)[:1], "S1_VV.tif", bands=())
    message = refused(InputError, [path], tiny_model, out)
    assert "VH" in message
    assert path in message


@pytest.mark.skipif(not DATA.is_dir(), reason="shared data absent")
def test_real_scene_without_vh(tiny_model, out):
    path = next((DATA / "scenes/pyrosar").glob("*.tif"))
    assert "VH" in refused(InputError, [path], tiny_model, out)


def test_wrong_band_names(tiny_model, write_scene, out):
    message = refused(InputError, [write_scene(backscatter(40, 40), bands=("HH", "HV"))], tiny_model, out)
    assert "HH, HV" in message
    assert "VV" in message


def test_a_name_that_all_bands_share_names_none(tiny_model, write_scene, tmp_path):
    image = backscatter(40, 40)
    for number, names in enumerate([("bands", "bands"), ()]):
        scene = write_scene(image, f"scene{number}.tif", bands=names)
        map_scene([scene], tiny_model, tmp_path / f"out{number}")
    codes = [(tmp_path / f"out{number}" / "class.tif").read_bytes() for number in (0, 1)]
    assert codes[0] == codes[1]
    alike = write_scene(image, "alike.tif", bands=("VH", "VH"))
    assert "band VH of s1 is given twice" in refused(InputError, [alike], tiny_model, tmp_path / "none")


def test_wrong_polarisation_in_the_file_name(tiny_model, write_scene, out):
    path = write_scene(backscatter(40, 40)[:1], "S1_HH.tif", bands=())
    assert "holds HH" in refused(InputError, [path], tiny_model, out)


def test_bands_that_cannot_be_told(tiny_model, write_scene, out):
    three = write_scene(np.zeros((3, 40, 40), np.float32), "three.tif", bands=())
    assert "3 unnamed bands" in refused(InputError, [three], tiny_model, out)
    one = write_scene(backscatter(40, 40)[:1], "image.tif", bands=())
    assert f"s1:VV={one}" in refused(InputError, [one], tiny_model, out)


def test_bands_named_by_the_user(tiny_model, write_scene, out):
    image = backscatter(40, 40)
    swapped = write_scene(image[::-1], "image.tif", bands=("b1", "b2"))
    map_scene([f"s1:VV={swapped}@2", f"s1:vh={swapped}@1"], tiny_model, out)
    map_scene([write_scene(image)], tiny_model, out.with_name("plain"))
    assert np.array_equal(read(out / "class.tif"), read(out.with_name("plain") / "class.tif"))


def test_bands_in_order_are_said_aloud(tiny_model, write_scene, out):
    summary = map_scene([write_scene(backscatter(40, 40), bands=())], tiny_model, out)
    assert any("s1 VH: band 2" in note and "assumed" in note for note in summary["notes"])


def test_a_band_twice(tiny_model, write_scene, out):
    path = write_scene(backscatter(40, 40))
    assert "VV of s1 is given twice" in refused(InputError, [path, path], tiny_model, out)


def test_unknown_role_band_or_band_number(tiny_model, write_scene, out):
    path = write_scene(backscatter(40, 40))
    assert "unknown role" in refused(InputError, [f"radar={path}"], tiny_model, out)
    assert "no band VX" in refused(InputError, [f"s1:VX={path}@1"], tiny_model, out)
    assert "has no band 3" in refused(InputError, [f"s1:VV={path}@3"], tiny_model, out)
    assert "has 2 bands" in refused(InputError, [f"s1:VV={path}"], tiny_model, out)


def test_power_declared_as_decibel(tiny_model, write_scene, out):
    path = write_scene((10 ** (backscatter(40, 40) / 10)).astype(np.float32))
    message = refused(InputError, [path], tiny_model, out, unit="dB")
    assert "--unit power" in message
    assert path in message


def test_decibel_declared_as_power(tiny_model, write_scene, out):
    path = write_scene(backscatter(40, 40))
    assert "--unit db" in refused(InputError, [path], tiny_model, out, unit="power")


def test_bands_in_different_units(tiny_model, write_scene, out):
    image = backscatter(40, 40)
    image[1] = 10 ** (image[1] / 10)
    message = refused(InputError, [write_scene(image)], tiny_model, out)
    assert "VV looks like dB" in message
    assert "VH looks like power" in message


def test_unit_that_cannot_be_told(tiny_model, write_scene, out):
    path = write_scene(np.full((2, 40, 40), 8.0, np.float32))
    assert "--unit db or --unit power" in refused(InputError, [path], tiny_model, out)
    map_scene([path], tiny_model, out, unit="dB")


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32])
def test_raw_digital_numbers(tiny_model, write_scene, out, dtype):
    image = (300 * 10 ** (backscatter(40, 40) / 20)).round().astype(dtype) + np.asarray(90, dtype)
    message = refused(InputError, [write_scene(image)], tiny_model, out)
    assert "raw digital numbers" in message
    assert "calibrate" in message


def test_complex_numbers(tiny_model, write_scene, out, tmp_path):
    path = tmp_path / "slc.tif"
    with rasterio.open(path, "w", driver="GTiff", count=2, width=9, height=9, dtype="complex64", crs=UTM[0],
                       transform=rasterio.Affine(*UTM[1])) as target:  # fmt: skip
        target.write(np.ones((2, 9, 9), np.complex64))
    assert "SLC" in refused(InputError, [path], tiny_model, out)


def plain_tiff(path, **options):
    with rasterio.open(path, "w", driver="GTiff", count=2, width=40, height=40, dtype="float32", **options) as target:
        target.write(backscatter(40, 40))
    return path


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_no_crs_no_transform_or_only_control_points(tiny_model, out, tmp_path):
    assert "no CRS" in refused(
        InputError, [plain_tiff(tmp_path / "a.tif", transform=rasterio.Affine(*UTM[1]))], tiny_model, out
    )
    assert "no geotransform" in refused(InputError, [plain_tiff(tmp_path / "b.tif", crs=UTM[0])], tiny_model, out)
    points = [rasterio.control.GroundControlPoint(r, c, c * 1e-4, -r * 1e-4) for r in (0, 40) for c in (0, 40)]
    message = refused(InputError, [plain_tiff(tmp_path / "c.tif", gcps=points, crs="EPSG:4326")], tiny_model, out)
    assert "terrain-correct" in message


@pytest.mark.parametrize("value", [np.nan, 0.0, -np.inf])
def test_nothing_seen(tiny_model, write_scene, out, value):
    summary = map_scene([write_scene(np.full((2, 50, 40), value, np.float32))], tiny_model, out)
    assert summary["verdict"] == "cannot tell"
    assert summary["observed_share"] == 0
    assert (read(out / "class.tif") == 255).all()
    assert (read(out / "likelihood.tif") == 255).all()
    assert (out / "quicklook.png").is_file()
    assert read_json(out / "summary.json")["pixels"]["not_observed"] == 2000


@pytest.mark.parametrize("fill", [0.0, np.inf, -np.inf, -9999.0, 1e20, np.float32(-3.4028235e38)])
def test_undeclared_borders_are_not_observed(tiny_model, write_scene, out, fill):
    image = backscatter(70, 90)
    image[:, :, :13] = np.nan
    map_scene([write_scene(image)], tiny_model, out)
    image[np.isnan(image)] = fill
    map_scene([write_scene(image, "border.tif")], tiny_model, out.with_name("border"))
    assert np.array_equal(read(out / "class.tif"), read(out.with_name("border") / "class.tif"))
    assert (read(out / "class.tif")[:, :13] == 255).all()


@pytest.mark.parametrize("power", [False, True])
def test_declared_nodata_and_a_band_that_is_unseen_alone(tiny_model, write_scene, out, power):
    image = backscatter(70, 90)
    if power:
        image = (10 ** (image / 10)).astype(np.float32)
    image[:, 20:30, :] = -99
    image[1, 50, 60] = np.nan
    summary = map_scene([write_scene(image, nodata=-99.0)], tiny_model, out)
    codes = read(out / "class.tif")
    assert (codes[20:30] == 255).all()
    assert codes[50, 60] == 255
    assert summary["pixels"]["not_observed"] == 10 * 90 + 1


def test_nodata_given_by_the_user(tiny_model, write_scene, out):
    image = backscatter(70, 90)
    image[:, 20:30, :] = -40.0
    map_scene([write_scene(image)], tiny_model, out, nodata=-40.0)
    assert (read(out / "class.tif")[20:30] == 255).all()


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_truncated_file(tiny_model, write_scene, out, keep):
    path = Path(write_scene(backscatter(600, 600)))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    message = refused(InputError, [path], tiny_model, out)
    assert str(path) in message


def test_not_a_raster(tiny_model, out, tmp_path):
    text = tmp_path / "notes.tif"
    text.write_text("not a raster\n")
    assert f"{text}: is no raster" in refused(InputError, [text], tiny_model, out)
    (tmp_path / "empty.tif").write_bytes(b"")
    assert "is no raster" in refused(InputError, [tmp_path / "empty.tif"], tiny_model, out)
    assert "no such file" in refused(InputError, [tmp_path / "absent.tif"], tiny_model, out)
    assert "is a folder" in refused(InputError, [tmp_path], tiny_model, out)


def test_images_of_different_places(tiny_model, write_scene, out):
    image = backscatter(40, 40)
    far = (UTM[0], (10.0, 0.0, 700000.0, 0.0, -10.0, 4900000.0))
    paths = [write_scene(image[:1], "a_VV.tif", bands=()), write_scene(image[1:], "a_VH.tif", bands=(), grid=far)]
    assert "does not overlap" in refused(InputError, paths, tiny_model, out)


def test_a_band_on_a_larger_grid_is_aligned_and_said_aloud(tiny_model, write_scene, out):
    image = backscatter(60, 60)
    vv = write_scene(
        image[:1, 10:50, 20:60], "a_VV.tif", bands=(), grid=(UTM[0], (10.0, 0.0, 500200.0, 0.0, -10.0, 4899900.0))
    )
    summary = map_scene([vv, write_scene(image[1:], "a_VH.tif", bands=())], tiny_model, out)
    inner = write_scene(image[:, 10:50, 20:60], "inner.tif")
    map_scene([inner], tiny_model, out.with_name("inner"))
    assert np.array_equal(read(out / "class.tif"), read(out.with_name("inner") / "class.tif"))
    assert any("aligned to the grid by nearest" in note for note in summary["notes"])


def test_existing_folder(tiny_model, write_scene, out):
    path = write_scene(backscatter(40, 40))
    out.mkdir()
    (out / "thesis.txt").write_text("precious")
    assert "exists already" in refused(ProductError, [path], tiny_model, out)
    assert "is no product" in refused(ProductError, [path], tiny_model, out, overwrite=True)
    assert (out / "thesis.txt").read_text() == "precious"


def test_overwriting_fails_without_loss(tiny_model, write_scene, out):
    map_scene([write_scene(backscatter(40, 40))], tiny_model, out)
    before = (out / "class.tif").read_bytes()
    bad = Path(write_scene(backscatter(600, 600), "bad.tif"))
    bad.write_bytes(bad.read_bytes()[:300_000])
    refused(InputError, [bad], tiny_model, out, overwrite=True)
    assert (out / "class.tif").read_bytes() == before
    map_scene([write_scene(backscatter(50, 40))], tiny_model, out, overwrite=True)
    assert read(out / "class.tif").shape == (50, 40)


def test_a_file_where_the_folder_should_go(tiny_model, write_scene, out):
    out.write_text("a file")
    path = write_scene(backscatter(40, 40))
    assert "exists already" in refused(ProductError, [path], tiny_model, out)
    with pytest.raises(ProductError, match="cannot be written"):
        map_scene([path], tiny_model, out / "below")


def test_a_folder_that_another_map_is_writing(tiny_model, write_scene, out):
    import fcntl

    lock = out.parent / f".{out.name}.lock"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        refused(ProductError, [write_scene(backscatter(40, 40))], tiny_model, out)


FULL = """
import resource, sys
from pathlib import Path
from undercast.errors import ProductError
from undercast.mapping import map_scene
from undercast.model import ModelFolder
scene, model, out, limit = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
try:
    map_scene([scene], ModelFolder.open(Path(model)), Path(out))
except ProductError as error:
    print(error)
    sys.exit(1)
"""


@pytest.mark.parametrize("limit", [3_000, 60_000])
def test_a_disk_that_takes_no_more(tiny_model, write_scene, out, limit):
    image = np.random.default_rng(0).normal(-20, 6, (2, 500, 500)).astype(np.float32)
    arguments = [write_scene(image), str(tiny_model.path), str(out), str(limit)]
    done = subprocess.run([sys.executable, "-c", FULL, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith(f"{out}: cannot be written")
    assert "free some space" in done.stdout
    assert list(out.parent.iterdir()) == []


def test_a_killed_map_leaves_nothing_that_looks_finished(tiny_model, write_scene, out):
    script = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom undercast.mapping import map_scene\n"
        "from undercast.model import ModelFolder\n"
        "map_scene([sys.argv[1]], ModelFolder.open(Path(sys.argv[2])), Path(sys.argv[3]),\n"
        "          progress=lambda done, whole: os.kill(os.getpid(), signal.SIGKILL))\n"
    )
    path = write_scene(backscatter(100, 100))
    done = subprocess.run([sys.executable, "-c", script, path, str(tiny_model.path), str(out)], check=False)
    assert done.returncode == -9
    assert not out.exists()
    assert all(item.name.startswith(".") for item in out.parent.iterdir())
    map_scene([path], tiny_model, out)
    assert sorted(item.name for item in out.parent.iterdir()) == ["out"]


def test_a_broken_model(tiny_model, write_scene, out, tmp_path):
    path = write_scene(backscatter(40, 40))
    folder = tmp_path / "model"
    folder.mkdir()
    write_signature(tiny_model.signature, folder)
    assert "holds no model.onnx" in refused(ModelError, [path], ModelFolder.open(folder), out)
    (folder / "model.onnx").write_text("no graph")
    assert "no graph OpenVINO can read" in refused(ModelError, [path], ModelFolder.open(folder), out)
    (folder / "model.onnx").write_bytes((tiny_model.path / "model.onnx").read_bytes())
    renamed = tiny_model.signature.model_copy(update={"inputs": {"radar": tiny_model.signature.inputs["s1"]}})
    write_signature(renamed, folder)
    assert "signature says radar" in refused(ModelError, [path], ModelFolder.open(folder), out)
