"""Codes, areas and verdicts against what can be worked out by other means."""

import numpy as np
import pyproj
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio import Affine

from undercast.errors import InputError
from undercast.product import CodeConfig, Tally, VerdictConfig, encode, entries_of, summarise, to_percent
from undercast.product.area import PixelArea, ground_size
from undercast.product.quicklook import Preview
from undercast.raster import cut
from undercast.task import FLOOD, ClassLabel, Task

ENTRIES = entries_of(FLOOD)


def outline_area(grid):
    """Area of a grid on the ellipsoid from its outline, walked in small steps: by geodesics, not by scale factors."""
    steps = np.linspace(0, 1, 2000, endpoint=False)
    corners = [(0, 0), (0, grid.height), (grid.width, grid.height), (grid.width, 0), (0, 0)]
    points = [
        a + np.outer(steps, b - a)
        for a, b in zip(np.array(corners[:-1], float), np.array(corners[1:], float), strict=True)
    ]
    cols, rows = np.concatenate(points).T
    affine = grid.affine
    x, y = affine.a * cols + affine.b * rows + affine.c, affine.d * cols + affine.e * rows + affine.f
    crs = pyproj.CRS.from_user_input(str(grid.crs))
    lon, lat = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True).transform(x, y)
    return abs(crs.get_geod().polygon_area_perimeter(lon, lat)[0])


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32631", (100.0, 0, 700000.0, 0, -100.0, 6700000.0)),
        ("EPSG:3857", (100.0, 0, 1000000.0, 0, -100.0, 8399737.0)),
        ("EPSG:3035", (100.0, 20.0, 4000000.0, 20.0, -100.0, 3000000.0)),
        ("EPSG:4326", (0.001, 0, -0.78, 0, -0.001, 66.1)),
        ("EPSG:4326", (0.001, 0, -0.78, 0, 0.001, -3.0)),
        ("EPSG:2263", (100.0, 0, 900000.0, 0, -100.0, 300000.0)),
    ],
)
def test_areas_are_those_of_the_ground(crs, transform):
    grid = GeoBox((700, 900), Affine(*transform), crs)
    tally = Tally(grid, ENTRIES)
    codes = np.zeros((700, 900), np.uint8)
    for window in cut(grid.shape, (256, 300)):
        tally.add(window, codes[window.slices()], np.zeros(codes[window.slices()].shape, bool))
    assert tally.areas()[0] == pytest.approx(outline_area(grid), rel=3e-5)


@settings(max_examples=8)
@given(rows=st.integers(7, 80), cols=st.integers(90, 1200), seed=st.integers(0, 9))
def test_tallies_do_not_depend_on_blocks(rows, cols, seed):
    grid = GeoBox((60, 1100), Affine(10, 0, 7e5, 0, -10, 5e6), "EPSG:32633")
    random = np.random.default_rng(seed)
    codes = random.choice(np.array([0, 3, 4, 255], np.uint8), grid.shape)
    band = random.normal(-10, 9, grid.shape).astype(np.float32)
    band[codes == 255] = np.nan
    tally, whole = Tally(grid, ENTRIES), Tally(grid, ENTRIES)
    preview, at_once = Preview((2200, 1100)), Preview((2200, 1100))
    for window in reversed(list(cut(grid.shape, (rows, cols)))):
        part = codes[window.slices()]
        tally.add(window, part, part == 4)
        preview.add(window, band[window.slices()])
    window = next(cut(grid.shape, grid.shape))
    whole.add(window, codes, codes == 4)
    at_once.add(window, band)
    assert tally.areas() == whole.areas()
    assert tally.pixels == {entry.value: int((codes == entry.value).sum()) for entry in ENTRIES}
    assert tally.near_unseen == (codes == 4).sum()
    np.testing.assert_array_equal(preview.image(), at_once.image())
    assert preview.step == 2
    first = band[:2, :2]
    if np.isfinite(first).any():
        assert preview.image()[0, 0] == pytest.approx(np.nanmean(first), abs=0.02)


def test_a_crs_of_no_place_is_refused():
    local = pyproj.CRS.from_wkt('LOCAL_CS["plan",UNIT["metre",1]]').to_wkt()
    with pytest.raises(InputError, match=r"neither geographic nor projected|no ellipsoid"):
        PixelArea(GeoBox((4, 4), Affine(1, 0, 0, 0, -1, 0), local))


def test_ground_size_of_a_pixel():
    assert ground_size(GeoBox((9, 9), Affine(10, 0, 5e5, 0, -10, 5e6), "EPSG:32633")) == pytest.approx(
        (10, 10), rel=1e-3
    )
    tall, wide = ground_size(GeoBox((9, 9), Affine(1e-4, 0, 0, 0, -1e-4, 60), "EPSG:4326"))
    assert wide / tall == pytest.approx(0.5, rel=0.01)


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30), st.floats(0.2, 0.8), st.floats(0, 0.1))
def test_codes_of_a_flood(values, threshold, band):
    water = np.array([values], np.float32)
    codes = encode(np.stack([1 - water, water]), FLOOD, threshold, CodeConfig(uncertain_band=band))
    for value, code in zip(water.ravel(), codes.ravel(), strict=True):
        near = abs(value - np.float32(threshold)) < band
        assert code == (4 if near else 3 if value >= np.float32(threshold) else 0) or abs(
            abs(value - threshold) - band
        ) < 1e-6 or abs(value - threshold) < 1e-6  # fmt: skip
    np.testing.assert_array_equal(to_percent(np.stack([1 - water, water])), np.rint(water * 100).astype(np.uint8))


def test_codes_of_other_tasks_are_their_classes():
    labels = tuple(ClassLabel(value=k, name=f"class {k}", color="#123456") for k in range(5))
    task = Task(name="cover", classes=labels)
    probabilities = np.random.default_rng(0).dirichlet(np.ones(5), (6, 7)).transpose(2, 0, 1).astype(np.float32)
    probabilities[:, 2, 3] = np.nan
    codes = encode(probabilities, task, 0.5)
    assert codes[2, 3] == 255
    assert to_percent(probabilities)[2, 3] == 255
    seen = np.isfinite(probabilities[0])
    np.testing.assert_array_equal(codes[seen], np.nan_to_num(probabilities).argmax(axis=0)[seen])
    assert [entry.key for entry in entries_of(task)][:2] == ["class_0", "class_1"]
    two = Task(name="slide", classes=labels[:2])
    assert set(np.unique(encode(probabilities[:2], two, 0.2))) == {0, 1, 255}


@pytest.mark.parametrize(
    ("water", "unseen", "verdict"),
    [
        (0, 0, "none detected"),
        (99, 0, "none detected"),
        (100, 0, "flood or permanent water"),
        (99, 6000, "cannot tell"),
        (100, 6000, "flood or permanent water"),
        (0, 10_000, "cannot tell"),
        (0, 4000, "none detected"),
    ],
)
def test_verdicts(water, unseen, verdict):
    # Lambert's equal area, so that a hundred pixels of 10 m are one hectare
    grid = GeoBox((100, 100), Affine(10, 0, 4_321_000, 0, -10, 3_210_000), "EPSG:3035")
    codes = np.zeros(10_000, np.uint8)
    codes[:water] = 3
    codes[len(codes) - unseen :] = 255
    tally = Tally(grid, ENTRIES)
    tally.add(next(cut(grid.shape, grid.shape)), codes.reshape(grid.shape), np.zeros(grid.shape, bool))
    summary = summarise(tally, VerdictConfig(minimum_area=9_999.9), reference=False, flood=True)
    assert summary["verdict"] == verdict
    assert summary["observed_share"] == pytest.approx(1 - unseen / 10_000, abs=1e-6)
    assert summary["area_m2"]["water"] == pytest.approx(100 * water, rel=1e-5)
    assert sum(summary["area_m2"].values()) == pytest.approx(summary["scene_area_m2"], abs=1)
