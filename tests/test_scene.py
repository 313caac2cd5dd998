"""Scenes: what is read by window is what the files hold, wherever the window lies."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import UTM, backscatter
from undercast.bands import DEM, OCCURRENCE, S1
from undercast.errors import ProductError
from undercast.raster import Scene, Window, cut, read_array, write_raster
from undercast.raster.backscatter import judge, to_backscatter
from undercast.raster.inputs import Request, parse_request

windows = st.builds(
    Window, st.integers(-30, 60), st.integers(-30, 80), st.integers(1, 70), st.integers(1, 90)
)  # fmt: skip


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(window=windows)
def test_a_window_is_a_cut_of_the_whole(write_scene, window):
    image = backscatter(50, 70)
    image[:, 7, 8:20] = np.nan
    with Scene.open([write_scene(image)], {"s1": S1}) as scene:
        around = np.pad(image, ((0, 0), (100, 100), (100, 100)), constant_values=np.nan)
        rows, cols = window.slices((-100, -100))
        np.testing.assert_array_equal(scene.read(window)["s1"], around[:, rows, cols])


def test_many_threads_read_the_same(write_scene):
    image = backscatter(300, 300)
    with Scene.open([write_scene(image)], {"s1": S1}) as scene, ThreadPoolExecutor(4) as pool:
        barrier = threading.Barrier(4)

        def read(part):
            if part < 4:
                barrier.wait(timeout=20)
            return part, scene.read(Window(part * 30, 0, 30, 300))["s1"]

        for part, values in pool.map(read, range(10)):
            np.testing.assert_array_equal(values, image[:, part * 30 : part * 30 + 30])


def test_other_roles_come_onto_the_grid_of_the_first(write_scene):
    image = backscatter(40, 50)
    coarse = np.arange(20 * 25, dtype=np.float32).reshape(1, 20, 25)
    grid = (UTM[0], (20.0, 0.0, 500000.0, 0.0, -20.0, 4900000.0))
    dem = write_scene(coarse, "dem.tif", bands=(), grid=grid)
    percent = np.full((1, 40, 50), 255, np.uint8)
    percent[0, :20] = 80
    occurrence = write_scene(percent, "occurrence.tif", bands=())
    roles = {"s1": S1, "dem": DEM, "occurrence": OCCURRENCE}
    with Scene.open([f"dem={dem}", f"occurrence={occurrence}", write_scene(image)], roles, ["s1"]) as scene:
        read = scene.read(Window(0, 0, 40, 50))
        np.testing.assert_array_equal(read["s1"], image)
        # bilinear resampling of a plane gives the plane: the fine pixel's centre lies a quarter pixel beside the coarse
        rows, cols = np.mgrid[2:38, 2:48]
        plane = (rows / 2 - 0.25) * 25 + cols / 2 - 0.25
        np.testing.assert_allclose(read["dem"][0, 2:38, 2:48], plane, atol=1e-3)
        assert (read["occurrence"][0, :20] == 80).all()
        assert np.isnan(read["occurrence"][0, 20:]).all()
        assert any("aligned to the grid by bilinear" in note for note in scene.notes)


def test_scale_offset_and_internal_mask_are_honoured(write_scene, tmp_path):
    import rasterio

    path = tmp_path / "scaled.tif"
    image = backscatter(40, 50)
    stored = np.rint(image * 100).astype(np.int16)
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", driver="GTiff", count=2, height=40, width=50, dtype="int16", crs=UTM[0],
                      transform=rasterio.Affine(*UTM[1])) as target,
    ):  # fmt: skip
        target.write(stored)
        target.scales = (0.01, 0.01)
        mask = np.full((40, 50), 255, np.uint8)
        mask[3:9] = 0
        target.write_mask(mask)
    with Scene.open([str(path)], {"s1": S1}) as scene:
        values = scene.read(Window(0, 0, 40, 50))["s1"]
    assert np.isnan(values[:, 3:9]).all()
    np.testing.assert_allclose(values[:, 9:], image[:, 9:], atol=0.006)


@given(
    height=st.integers(1, 40), width=st.integers(1, 40), rows=st.integers(1, 50), cols=st.integers(1, 50)
)  # fmt: skip
def test_cut_covers_every_pixel_once(height, width, rows, cols):
    seen = np.zeros((height, width), int)
    for window in cut((height, width), (rows, cols)):
        seen[window.slices()] += 1
    assert (seen == 1).all()


@given(st.lists(st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -12.5, -9999.0, 1e30, 3.0]), min_size=2, max_size=2))
def test_only_what_a_radar_can_measure_is_seen(pair):
    values = to_backscatter(np.array(pair, np.float32).reshape(2, 1, 1), "dB").ravel()
    fill = all(value == 0 or not -90 <= value <= 60 for value in pair)
    for value, seen in zip(pair, values, strict=True):
        if value == 0 and not fill:
            assert seen == 0
        elif value == 0:
            continue
        else:
            assert np.isnan(seen) == (not -90 <= value <= 60)


@pytest.mark.parametrize(
    ("values", "integers", "unit"),
    [
        (np.linspace(-30, 2, 99), False, "dB"),
        (np.linspace(0.001, 0.4, 99), False, "power"),
        (np.linspace(20, 900, 99), False, "counts"),
        (np.arange(-9, 90), True, "counts"),
        (np.zeros(9), False, None),
        (np.array([0.05] * 50 + [-9999] * 80), False, "power"),
    ],
)
def test_what_numbers_look_like(values, integers, unit):
    assert judge(values.astype(np.float32), integers).unit == unit


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ("a.tif", Request("a.tif")),
        ("s1=a.tif", Request("a.tif", "s1")),
        ("s1:vh=a=b.tif@2", Request("a=b.tif", "s1", "vh", 2)),
        ("/vsicurl/https://x/a.tif?k=v", Request("/vsicurl/https://x/a.tif?k=v")),
    ],
)
def test_inputs_are_parsed(text, request_):
    assert parse_request(text) == request_


def test_an_existing_path_is_taken_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s1=a@2").touch()
    assert parse_request("s1=a@2") == Request("s1=a@2")


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_rasters_round_trip(tmp_path, dtype):
    array = np.arange(2 * 300 * 280).reshape(2, 300, 280).astype(dtype)
    write_raster(tmp_path / "a.tif", array, UTM, nodata=7, descriptions=("x", "y"), tags={"SEED": "3"})
    back, header = read_array(tmp_path / "a.tif")
    np.testing.assert_array_equal(back, array)
    assert (header.descriptions, header.nodata, header.tags["SEED"]) == (("x", "y"), (7.0, 7.0), "3")
    assert tuple(header.transform)[:6] == UTM[1]
    write_raster(tmp_path / "b.tif", array[0], header.grid)
    np.testing.assert_array_equal(read_array(tmp_path / "b.tif")[0][0], array[0])
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.tif", "b.tif"]
    with pytest.raises(ProductError, match="cannot be written"):
        write_raster(tmp_path / "absent/a.tif", array, UTM)
