"""Slopes, heights above drainage, layover and shadow, on surfaces whose answer is known."""

import math

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from undercast.raster import Window, cut
from undercast.raster.drainage import Drainage, DrainageConfig, _drain
from undercast.raster.exclusion import TerrainConfig, TerrainMask
from undercast.raster.ground import GroundSteps
from undercast.raster.terrain import RadarGeometry, hidden, margin, slope

UTM = GeoBox((60, 80), Affine(10, 0, 500000, 0, -10, 4900000), "EPSG:32631")
GRIDS = {
    "utm": UTM,
    "south-up": GeoBox((60, 80), Affine(10, 0, 500000, 0, 10, 4900000), "EPSG:32631"),
    "rotated": GeoBox((60, 80), Affine(8, 6, 500000, 6, -8, 4900000), "EPSG:32631"),
    "geographic": GeoBox((60, 80), Affine(2e-4, 0, 12, 0, -1e-4, 60.003), "EPSG:4326"),
    "web mercator": GeoBox((60, 80), Affine(20, 0, 1336000, 0, -20, 8399800), "EPSG:3857"),
}


def metres(grid: GeoBox, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """East and north of pixel centres, worked out by hand from the ellipsoid and not by the module under test."""
    rows, cols = np.mgrid[window.row : window.row + window.height, window.col : window.col + window.width] + 0.5
    x = grid.affine.a * cols + grid.affine.b * rows + grid.affine.c
    y = grid.affine.d * cols + grid.affine.e * rows + grid.affine.f
    if grid.crs.epsg == 32631:
        return x - 500000, y - 4900000
    if grid.crs.epsg == 3857:
        latitude = 2 * np.arctan(np.exp(y / 6378137)) - math.pi / 2
        x, y = np.degrees(x / 6378137), np.degrees(latitude)
    # length of a degree on WGS 84 [Rapp 1991]
    latitude = math.radians(60)
    north = 111132.954 - 559.822 * math.cos(2 * latitude) + 1.175 * math.cos(4 * latitude)
    east = 111412.84 * math.cos(latitude) - 93.5 * math.cos(3 * latitude) + 0.118 * math.cos(5 * latitude)
    return (x - 12) * east, (y - 60) * north


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())
@pytest.mark.parametrize("rise", [(0.2, 0), (-0.05, 0), (0, 0.3), (0, -1.0), (0.1, 0.2), (0, 0)])
def test_a_plane_has_its_slope_up_to_its_edges(grid, rise):
    window = Window(0, 0, *grid.shape)
    east, north = metres(grid, window)
    elevation = np.pad(rise[0] * east + rise[1] * north, 1, constant_values=np.nan)
    found = slope(elevation, window, GroundSteps(grid))
    assert found == pytest.approx(math.degrees(math.atan(math.hypot(*rise))), rel=2e-3, abs=1e-6)


def test_a_curved_surface_has_the_slope_of_its_tangent():
    window = Window(0, 0, *UTM.shape)
    around = metres(UTM, window.grow(1))
    found = slope(around[0] ** 2 / 4000, window, GroundSteps(UTM))
    expected = np.degrees(np.arctan(np.abs(metres(UTM, window)[0]) / 2000))
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())
@pytest.mark.parametrize("size", [(7, 80), (60, 13), (1, 1)])
def test_slopes_do_not_depend_on_windows_and_are_unknown_where_the_relief_is(grid, size):
    elevation = np.random.default_rng(0).normal(0, 20, grid.shape)
    elevation[20:30, 30:33] = np.nan
    around, steps = np.pad(elevation, 1, constant_values=np.nan), GroundSteps(grid)
    whole = slope(around, Window(0, 0, *grid.shape), steps)
    assert np.array_equal(np.isnan(whole), np.isnan(elevation))
    for window in list(cut(grid.shape, size))[:200]:
        rows, cols = window.slices()
        part = around[rows.start : rows.stop + 2, cols.start : cols.stop + 2]
        assert np.array_equal(slope(part, window, steps), whole[rows, cols], equal_nan=True)


def reader(elevation):
    return lambda window: elevation[window.slices()].astype(np.float32)


def test_a_valley_is_as_high_above_its_stream_as_it_is_far():
    rows, cols = np.mgrid[0:60, 0:81]
    distance = np.abs(cols - 40)
    elevation = 100 + 1.0 * distance - 0.0625 * rows
    # a dam across the stream, and a hole in the valley floor: water goes on beyond both
    elevation[30, 38:43] += 1.0
    elevation[15:18, 40] -= 3.0
    steps = GroundSteps(GeoBox((60, 81), UTM.affine, UTM.crs))
    config = DrainageConfig(channel=300 * 100 / 1e6)
    drainage = Drainage.find(reader(elevation), steps, config)
    height = drainage.height(elevation, Window(0, 0, 60, 81))
    assert drainage.channels[6:, 40].all()
    assert not drainage.channels[:, :38].any()
    level = np.ones(elevation.shape, bool)
    level[:6] = False
    level[14:20] = level[28:33] = False
    assert height[level] == pytest.approx(distance[level], abs=1e-4)
    assert height[15:18, 40] == pytest.approx(0)
    inner = drainage.height(elevation[40:50, 7:19], Window(40, 7, 10, 12))
    assert np.array_equal(inner, height[40:50, 7:19])


@settings(max_examples=60)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 10**6), st.sampled_from([0.0, 0.2]))
def test_water_takes_the_way_out_whose_highest_point_is_lowest(rows, cols, seed, unknown):
    random = np.random.default_rng(seed)
    height = random.integers(0, 6, (rows, cols)).astype(float)
    height[random.random((rows, cols)) < unknown] = np.nan
    order, outlet = _drain(height, (1.0, 1.0))
    outside = height.size
    assert sorted(order) == [*np.flatnonzero(np.isfinite(height.ravel())), outside]
    # the lowest barrier on any way out, by repeated relaxation
    around = np.pad(np.nan_to_num(height, nan=-np.inf), 1, constant_values=-np.inf)
    barrier = np.where(np.isneginf(around), -np.inf, np.inf)
    for _ in range(height.size + 1):
        best = np.min([np.roll(barrier, (row, col), (0, 1)) for row in (-1, 0, 1) for col in (-1, 0, 1)], axis=0)
        barrier = np.where(np.isneginf(around), -np.inf, np.maximum(around, best))
    barrier = barrier[1:-1, 1:-1].ravel()
    flat = height.ravel()
    for cell in order[1:]:
        highest, at = -np.inf, cell
        while at != outside:
            highest, previous, at = max(highest, flat[at]), at, outlet[at]
            assert at == outside or max(abs(np.subtract(divmod(at, cols), divmod(previous, cols)))) == 1
        assert highest == barrier[cell]


def test_water_runs_down_the_steepest_slope():
    height = np.array([[9, 9, 9, 9], [9, 5, 3, 9], [9, 4, 2, 9], [9, 9, 1, 9]], float)
    _, outlet = _drain(height, (1.0, 1.0))
    # (5-2)/√2 is steeper than 5-3 and 5-4
    assert outlet[5] == 10
    assert outlet[10] == 14
    assert outlet[14] == 16


def test_a_large_relief_is_reduced_and_read_by_window():
    rows, cols = np.mgrid[0:210, 0:330]
    elevation = 50 + np.abs(cols - 160) * 0.5 - 0.01 * rows
    steps = GroundSteps(GeoBox(elevation.shape, UTM.affine, UTM.crs))
    asked = []

    def read(window):
        asked.append(window)
        return reader(elevation)(window)

    drainage = Drainage.find(read, steps, DrainageConfig(cells=3000, channel=0.1, rows=64))
    assert drainage.factor == 5
    assert max(window.height * window.width for window in asked) <= 60 * 60
    assert sum(window.height * window.width for window in asked) == elevation.size
    height = drainage.height(elevation, Window(0, 0, *elevation.shape))
    assert height[100:] == pytest.approx(0.5 * np.abs(cols[100:] - 160), abs=1.5)


def test_where_nothing_is_known_nothing_is_said():
    drainage = Drainage.find(reader(np.full((60, 80), np.nan)), GroundSteps(UTM))
    assert not drainage.channels.any()
    assert np.isnan(drainage.height(np.full((60, 80), 5.0), Window(0, 0, 60, 80))).all()


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())
@pytest.mark.parametrize("azimuth", [0, 78, 90, 135, 190, 282])
@pytest.mark.parametrize(("angle", "expected"), [(0, ""), (35, ""), (43, "layover"), (-45, ""), (-53, "shadow")])
def test_a_plane_is_hidden_where_it_is_steeper_than_the_beam(grid, azimuth, angle, expected):
    """Towards the radar a slope may be as steep as the incidence, away from it as the beam itself."""
    window = Window(0, 0, *grid.shape)
    east, north = metres(grid, window)
    look = math.radians(azimuth)
    elevation = math.tan(math.radians(angle)) * (east * math.sin(look) + north * math.cos(look))
    found = hidden(elevation, window, GroundSteps(grid), RadarGeometry(incidence=39, look_azimuth=azimuth))
    inner = np.s_[3:-3, 3:-3]
    # the first pixel of a line has nothing before it
    assert found.layover[inner].mean() == pytest.approx(float(expected == "layover"), abs=0.02)
    assert found.shadow[inner].mean() == pytest.approx(float(expected == "shadow"), abs=0.02)


@pytest.mark.parametrize("azimuth", [0, 45, 90, 180, 258, 282])
@pytest.mark.parametrize("incidence", [25, 40])
def test_a_tower_throws_its_shadow_and_lies_over_the_ground_before_it(azimuth, incidence):
    grid = GeoBox((200, 200), UTM.affine, UTM.crs)
    window = Window(0, 0, 200, 200)
    east, north = metres(grid, window)
    look, beam = math.radians(azimuth), math.radians(incidence)
    along = (east - 1000) * math.sin(look) + (north + 1000) * math.cos(look)
    across = (east - 1000) * math.cos(look) - (north + 1000) * math.sin(look)
    elevation = np.where((np.abs(along) < 50) & (np.abs(across) < 300), 200.0, 10.0)
    found = hidden(elevation, window, GroundSteps(grid), RadarGeometry(incidence=incidence, look_azimuth=azimuth))
    middle = np.abs(across) < 250
    edge = 15.0  # a pixel and a half
    behind, before = along - 50, -50 - along
    shade, cover = 190 * math.tan(beam), 190 / math.tan(beam)
    assert found.shadow[middle & (behind > edge) & (behind < shade - edge)].all()
    assert not found.shadow[(behind > shade + edge) | (behind < -edge)].any()
    assert found.layover[middle & (before > edge) & (before < cover - edge)].all()
    assert not found.layover[before > cover + edge].any()
    assert not found.layover[behind > edge].any()
    assert not (found.shadow | found.layover)[np.abs(across) > 300 + 2 * edge].any()


@pytest.mark.parametrize("azimuth", [12, 102, 282])
@pytest.mark.parametrize("name", ["utm", "geographic", "rotated"])
def test_what_is_hidden_does_not_depend_on_windows(azimuth, name):
    grid = GRIDS[name]
    elevation = np.random.default_rng(3).normal(0, 9, grid.shape).round(3)
    elevation[10:13] = np.nan
    steps, geometry = GroundSteps(grid), RadarGeometry(incidence=39, look_azimuth=azimuth)
    whole = hidden(elevation, Window(0, 0, *grid.shape), steps, geometry)
    assert 0.01 < whole.shadow.mean() < 0.9
    assert 0.01 < whole.layover.mean() < 0.9
    assert not (whole.shadow | whole.layover)[10:13].any()
    room = margin(grid, geometry, float(np.nanmax(elevation) - np.nanmin(elevation)))
    for window in cut(grid.shape, (23, 31)):
        around = window.grow(room)
        given = np.full((around.height, around.width), np.nan)
        inside = around.clip(grid.shape)
        given[inside.slices((around.row, around.col))] = elevation[inside.slices()]
        found = hidden(given, around, steps, geometry)
        inner = window.slices((around.row, around.col))
        assert np.array_equal(found.shadow[inner], whole.shadow[window.slices()])
        assert np.array_equal(found.layover[inner], whole.layover[window.slices()])


@pytest.mark.parametrize("size", [(19, 23), (60, 80)])
def test_what_is_ruled_out_does_not_depend_on_windows(size):
    rows, cols = np.mgrid[0:60, 0:80]
    # a plain with a stream, a cliff on its right, and a terrace above
    elevation = 10 + 0.01 * np.abs(cols - 20) + np.where(cols >= 50, 40.0, 0) - 0.001 * rows
    elevation[40:42, 60:70] = np.nan

    def read(window):
        values = np.full((window.height, window.width), np.nan, np.float32)
        inside = window.clip(elevation.shape)
        values[inside.slices((window.row, window.col))] = elevation[inside.slices()]
        return values

    radar = RadarGeometry(incidence=40, look_azimuth=90)
    config = TerrainConfig(drainage=DrainageConfig(channel=0.05), radar=radar)
    mask = TerrainMask(UTM, read, config)
    steep, unseen = np.zeros(UTM.shape, bool), np.zeros(UTM.shape, bool)
    for window in cut(UTM.shape, size):
        found = mask.of(window)
        steep[window.slices()], unseen[window.slices()] = found.terrain, found.hidden
    known = ~np.isnan(elevation)
    assert np.array_equal(steep & (cols < 60), (cols >= 49) & (cols < 60))
    assert steep[known & (cols >= 50)].all()
    assert not steep[~known].any()
    # the cliff faces the radar: it lies over the 40 m / tan 40° = 48 m before it, and the edge over what is behind
    assert unseen[:, 46:49].all()
    assert not unseen[:, :44].any()
    assert not unseen[:, 56:].any()
    assert not TerrainMask(UTM, read, config.model_copy(update={"radar": None})).of(Window(0, 0, 60, 80)).hidden.any()
