"""The priority list: right areas and order, the same however the work is cut, and intervals that hold the truth."""

import csv
import math
from pathlib import Path

import numpy as np
import pyogrio
import pyproj
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from undercast.evaluate.counts import CellCounts, count_cells, covered, fit_spread
from undercast.product.cells import Cells
from undercast.product.priority import (
    PRIORITY,
    PRIORITY_CSV,
    PriorityConfig,
    interval,
    list_problems,
    marks_of,
    negative_binomial,
    rank,
    summarise_priority,
    write_priority,
)
from undercast.raster import Window, cut
from undercast.signature import CountSpread

METRES = GeoBox((130, 170), Affine(10, 0, 500000, 0, -10, 4900000), "EPSG:32631")
DEGREES = GeoBox((130, 170), Affine(1e-4, 0, 10, 0, -1e-4, 60), "EPSG:4326")
SPREAD = CountSpread(factor=20.0, relative=0.3, cells=100, pixels=10000)
CONFIG = PriorityConfig(cell=500)


def scene(seed: int = 0):
    """Codes with what is unseen, excluded and called, and a probability that is larger in the south-east."""
    random = np.random.default_rng(seed)
    rows, cols = np.mgrid[:130, :170]
    probability = (random.beta(0.3, 3, (130, 170)) * (rows + cols) / 300).astype(np.float32)
    codes = (probability > 0.5).astype(np.uint8)
    codes[20:40, 30:160] = 250
    codes[:60, :55] = 255
    probability[codes == 255] = np.nan
    return codes, probability


def cells_of(grid, codes, probability, size=(130, 170)) -> Cells:
    cells = Cells(grid, CONFIG.cell, (1,))
    for window in cut(codes.shape, size):
        cells.add(window, codes[window.slices()], probability[window.slices()])
    return cells


@settings(max_examples=25)
@given(rows=st.integers(1, 140), cols=st.integers(1, 180))
def test_sums_do_not_depend_on_how_the_work_is_cut(rows, cols):
    codes, probability = scene()
    whole, pieces = cells_of(METRES, codes, probability), cells_of(METRES, codes, probability, (rows, cols))
    assert whole.step == (50, 50)
    assert whole.shape == (3, 4)
    for name in ("answered", "called", "expected", "scatter"):
        assert np.array_equal(getattr(whole, name), getattr(pieces, name))
    for number in range(12):
        where = whole.window(number).slices()
        answered = codes[where] < 250
        assert whole.answered.ravel()[number] == answered.sum()
        assert whole.called.ravel()[number] == (codes[where] == 1).sum()
        likely = probability[where][answered].astype(float)
        assert whole.expected.ravel()[number] == pytest.approx(likely.sum(), abs=0.02)
        assert whole.scatter.ravel()[number] == pytest.approx((likely * (1 - likely)).sum(), abs=0.02)


@pytest.mark.parametrize("grid", [METRES, DEGREES], ids=["metres", "degrees"])
def test_areas_are_geodesic_and_add_up(grid):
    codes, probability = scene()
    cells = cells_of(grid, codes, probability)
    ranked = rank(cells, CONFIG, SPREAD)
    geod = pyproj.Geod(ellps="WGS84")
    to_degrees = pyproj.Transformer.from_crs(grid.crs.wkt, "OGC:CRS84", always_xy=True)
    outlines = shapely.segmentize(shapely.polygons(cells.corners(ranked.number)), 1e-3 if grid is DEGREES else 100)
    for outline, area, centre in zip(outlines, ranked.area, ranked.centre, strict=True):
        lon, lat = to_degrees.transform(*shapely.get_coordinates(outline).T)
        assert area == pytest.approx(abs(geod.polygon_area_perimeter(lon, lat)[0]), rel=1e-4)
        assert shapely.Point(*centre).within(shapely.Polygon(np.stack([lon, lat], 1)))
    if grid is METRES:
        # UTM pixels cover their 100 m² but for the scale of the projection, 0.9996² in the middle of the zone
        assert ranked.expected.sum() == pytest.approx(np.nansum(probability[codes < 250]) * 100 / 0.9996**2, rel=1e-3)
    else:
        assert cells.step[0] < cells.step[1]  # at 60° north a degree of longitude is half as long


def test_the_list_is_in_order_and_both_files_say_the_same(tmp_path):
    cells = cells_of(METRES, *scene())
    ranked = rank(cells, CONFIG, SPREAD)
    assert (np.diff(ranked.expected) <= 0).all()
    assert len(ranked.number) == (cells.answered > 0).sum() == 11  # one cell was not seen at all
    write_priority(tmp_path, cells, ranked)
    meta, _, geometry, values = pyogrio.raw.read(tmp_path / PRIORITY, layer="priority")
    table = dict(zip(meta["fields"], values, strict=True))
    with (tmp_path / PRIORITY_CSV).open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["rank"]) for row in rows] == table["rank"].tolist() == list(range(1, 12))
    for name in table:
        assert [float(row[name]) for row in rows] == table[name].tolist()
    assert meta["crs"] == "EPSG:32631"
    first = shapely.from_wkb(geometry)[0]
    assert first.bounds == tuple(cells.corners(ranked.number[:1])[0][[1, 3]].ravel()) or first.area > 0
    assert (table["low_m2"] <= table["expected_m2"]).all()
    assert (table["expected_m2"] <= table["high_m2"]).all()
    assert (table["high_m2"] <= table["cell_m2"] * table["observed_share"] + 1).all()
    body = summarise_priority(cells, ranked, PriorityConfig(cell=500, top=3), SPREAD)
    assert (body["cells"], body["unseen_cells"], len(body["first"])) == (11, 1, 3)
    assert body["first"][0]["expected_m2"] == table["expected_m2"][0]
    assert marks_of(cells, ranked, PriorityConfig(top=3))[0] == cells.window(ranked.number[0])
    before = {name: (tmp_path / name).read_bytes() for name in (PRIORITY, PRIORITY_CSV)}
    pieces = cells_of(METRES, *scene(), (37, 41))
    write_priority(tmp_path, pieces, rank(pieces, CONFIG, SPREAD))
    assert before == {name: (tmp_path / name).read_bytes() for name in before}


def test_a_model_that_was_not_measured_gets_no_interval(tmp_path):
    cells = cells_of(METRES, *scene())
    ranked = rank(cells, CONFIG, None)
    write_priority(tmp_path, cells, ranked)
    with (tmp_path / PRIORITY_CSV).open() as file:
        assert {(row["low_m2"], row["high_m2"]) for row in csv.DictReader(file)} == {("", "")}
    body = summarise_priority(cells, ranked, CONFIG, None)
    assert body["interval"] is None
    assert body["first"][0]["low_m2"] is None
    assert list_problems(tmp_path, cells) == []


def test_damage_is_found_and_named(tmp_path):
    cells = cells_of(METRES, *scene())
    ranked = rank(cells, CONFIG, SPREAD)

    def problems(changed, made=cells) -> str:
        write_priority(tmp_path, made, changed)
        return " ".join(list_problems(tmp_path, cells))

    assert problems(ranked) == ""
    turned = type(ranked)(*(values[::-1] for values in ranked))
    assert "not in order" in problems(turned)
    assert "another area called" in problems(ranked._replace(called=ranked.called + 100))
    assert "expects another area" in problems(ranked._replace(expected=ranked.expected * 1.2))
    assert "not those of the map" in problems(type(ranked)(*(values[:-1] for values in ranked)))
    write_priority(tmp_path, cells, ranked)
    text = (tmp_path / PRIORITY_CSV).read_text()
    (tmp_path / PRIORITY_CSV).write_text(text.replace("\n2,", "\n2,1", 1))
    assert "does not hold what" in " ".join(list_problems(tmp_path, cells))
    (tmp_path / PRIORITY).write_bytes(b"")
    assert "missing or damaged" in " ".join(list_problems(tmp_path, cells))


# --- the interval -----------------------------------------------------------------------------------------------------


def drawn(random, cells: int, factor: float, relative: float) -> CellCounts:
    """Cells of 2500 pixels whose true counts scatter as is said."""
    expected = 2500 * random.beta(0.5, 30, cells)
    scatter = expected * (1 - expected / 2500)
    truth = random.negative_binomial(*negative_binomial(expected, scatter, factor, relative))
    return CellCounts(np.full(cells, 2500), expected, scatter, np.minimum(truth, 2500))


def clumped(random, cells: int, clump: float, relative: float) -> CellCounts:
    """The same of clumps of about ``clump`` pixels, of a rate off by ``relative``: no distribution of ours."""
    chance = random.beta(0.5, 30, cells)
    shape = 1 / max(relative, 1e-3) ** 2
    off = random.gamma(shape, 1 / shape, cells)
    clumps = random.poisson(2500 * chance * off / clump)
    truth = np.array([np.ceil(random.exponential(clump, number)).sum() for number in clumps])
    return CellCounts(np.full(cells, 2500), 2500 * chance, 2500 * chance * (1 - chance), truth.astype(int))


@pytest.mark.parametrize(("factor", "relative"), [(3.0, 0.1), (40.0, 0.1), (10.0, 0.8)])
def test_the_spread_is_found_and_its_intervals_hold_the_truth(factor, relative):
    random = np.random.default_rng(3)
    spread = fit_spread(drawn(random, 1500, factor, relative), 2500)
    held = covered(drawn(random, 3000, factor, relative), spread, 0.9)
    assert 0.87 <= held.mean() <= 0.98  # counts are whole, so an interval may hold more than it must


@pytest.mark.parametrize(("clump", "relative"), [(5, 0.0), (25, 0.0), (10, 0.8)])
def test_intervals_hold_the_truth_of_clumps_too(clump, relative):
    random = np.random.default_rng(3)
    spread = fit_spread(clumped(random, 1500, clump, relative), 2500)
    held = covered(clumped(random, 3000, clump, relative), spread, 0.9)
    assert 0.85 <= held.mean() <= 0.98


def test_independent_pixels_are_not_enough_where_they_come_in_clumps():
    counts = clumped(np.random.default_rng(0), 2000, 25, 0.5)
    alone = CountSpread(factor=1, relative=0, cells=1, pixels=1)
    assert covered(counts, alone, 0.9).mean() < 0.5


@given(expected=st.floats(0, 2500), share=st.floats(0, 1), factor=st.floats(0, 500), relative=st.floats(0, 3))
def test_an_interval_holds_what_is_expected_and_no_more_than_there_is(expected, share, factor, relative):
    spread = CountSpread(factor=factor, relative=relative, cells=1, pixels=2500)
    arrays = np.array([expected]), np.array([expected * share]), np.array([2500])
    (low,), (high,) = interval(*arrays, spread, 0.9)
    assert 0 <= low <= expected <= high <= 2500
    (lower,), (higher,) = interval(*arrays, spread, 0.99)
    assert lower <= low
    assert high <= higher


def test_cells_are_counted_where_pixels_are_seen_and_labelled():
    probability = np.full((50, 70), 0.25, np.float32)
    truth = np.zeros((50, 70), np.uint8)
    truth[:10, :10] = 1
    probability[0], truth[:, 5] = np.nan, 255
    counts = count_cells([(probability, truth), (np.full((20, 20), np.nan, np.float32), truth[:20, :20])], 20)
    assert len(counts.truth) == 2 * 3  # the second scene was not seen
    assert counts.answered.tolist() == [19 * 19, 19 * 20, 19 * 20, 20 * 19, 400, 400]
    assert counts.truth[0] == 9 * 9
    assert counts.expected[0] == pytest.approx(19 * 19 * 0.25)
    assert math.isclose(counts.scatter[5], 400 * 0.1875)


def test_windows_of_cells_cover_the_scene_once():
    cells = Cells(METRES, 300, (1,))
    seen = np.zeros((130, 170), int)
    for number in range(cells.shape[0] * cells.shape[1]):
        window = cells.window(number)
        assert isinstance(window, Window)
        seen[window.slices()] += 1
    assert (seen == 1).all()
    assert cells.pixels.sum() == 130 * 170


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    from undercast.errors import ProductError

    cells = cells_of(METRES, *scene())
    with pytest.raises(ProductError, match="cannot be written"):
        write_priority(Path(tmp_path / "none"), cells, rank(cells, CONFIG, SPREAD))
