"""Tiles and the mapper: every pixel once, on the network's own raster, whatever the size."""

from fractions import Fraction
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import S2, backscatter, cover_scene
from undercast.bands import S1
from undercast.errors import ModelError
from undercast.predict import MapperConfig, OpenVinoPredictor, TilePlan, answer, answer_outputs, answer_scene
from undercast.predict.mapper import _near
from undercast.predict.tiles import touched
from undercast.raster import Scene
from undercast.signature import Signature
from undercast.task import FLOOD


@settings(max_examples=60)
@given(
    height=st.integers(1, 900), width=st.integers(1, 900), stride=st.sampled_from([1, 4, 16, 32]),
    margin=st.integers(0, 150), tile=st.integers(64, 1024), tiles=st.integers(1, 4),
)  # fmt: skip
def test_tiles_answer_every_pixel_once_and_see_enough(height, width, stride, margin, tile, tiles):
    signature = Signature(name="x", task=FLOOD, inputs={"s1": S1}, stride=stride, margin=margin)
    plan = TilePlan.of((height, width), signature, tile)
    assert plan.margin >= margin
    count = 0
    for block in plan.blocks(tiles):
        reach = plan.reach(block)
        for core in plan.cores(block):
            assert core.row % stride == core.col % stride == 0
            around = core.grow(plan.margin)
            assert around.height % stride == around.width % stride == 0
            rows, cols = around.slices((reach.row, reach.col))
            assert rows.start >= 0
            assert cols.start >= 0
            assert rows.stop <= reach.height
            assert cols.stop <= reach.width
            part = core.clip((height, width))
            count += part.height * part.width
    assert count == height * width


SCALES = [Fraction(text) for text in ("1", "3/10", "1/2", "2/5", "2", "3/2")]


@settings(max_examples=60)
@given(
    height=st.integers(1, 900), width=st.integers(1, 900), stride=st.sampled_from([1, 4, 16]),
    scale=st.sampled_from(SCALES), tile=st.integers(64, 512), tiles=st.integers(1, 4),
)  # fmt: skip
def test_tiles_of_another_grid_meet_where_the_grids_do(height, width, stride, scale, tile, tiles):
    task = FLOOD.model_copy(update={"scale": scale})
    plan = TilePlan.of(
        (height, width), Signature(name="x", task=task, inputs={"s1": S1}, stride=stride, margin=7), tile
    )
    assert plan.answered == (ceil(height * scale), ceil(width * scale))
    sources = answers = 0
    for block in plan.blocks(tiles):
        source, reach = plan.source(block), plan.reach(block)
        assert (source.row * scale, source.col * scale) == (block.row, block.col)
        assert (ceil(source.height * scale), ceil(source.width * scale)) == (block.height, block.width)
        sources += source.height * source.width
        for core in plan.cores(block):
            whole = plan.answer(core)
            assert (Fraction(whole.height), Fraction(whole.width)) == (core.height * scale, core.width * scale)
            assert core.row % stride == core.col % stride == (plan.margin + core.height) % stride == 0
            around = core.grow(plan.margin)
            assert around.row >= reach.row
            assert around.row + around.height <= reach.row + reach.height
            part = whole.clip(plan.answered)
            answers += part.height * part.width
    assert sources == height * width
    assert answers == plan.answered[0] * plan.answered[1]


@settings(max_examples=60)
@given(
    height=st.integers(1, 25), width=st.integers(1, 25), scale=st.sampled_from(SCALES), seed=st.integers(0, 99),
    share=st.floats(0, 1),
)  # fmt: skip
def test_a_pixel_of_the_answer_is_touched_by_all_that_lies_under_it(height, width, scale, seed, share):
    mask = np.random.default_rng(seed).random((height, width)) < share
    truth = np.zeros((ceil(height * scale), ceil(width * scale)), bool)
    for row, col in np.ndindex(*truth.shape):
        rows = slice(floor(row / scale), ceil((row + 1) / scale))
        truth[row, col] = mask[rows, floor(col / scale) : ceil((col + 1) / scale)].any()
    np.testing.assert_array_equal(touched(mask, scale), truth)


@pytest.mark.parametrize("roles", [("s2", "s1"), ("s1",), ("s2",)])
def test_any_of_its_images_is_enough_for_a_model_that_can_do_without(cover_model, write_scene, roles):
    """The map is the model's answer, and what was not seen anywhere is not answered; at the task's scale."""
    predictor, scale = OpenVinoPredictor(cover_model, threads=1), cover_model.signature.task.scale
    s2, s1 = cover_scene(130, 155)
    s2[:, :40, :60] = np.nan
    s1[:, 20:60, 30:90] = np.nan
    given = {"s2": (s2, S2), "s1": (s1, S1)}
    texts = [f"{role}={write_scene(given[role][0], f'{role}.tif', bands=given[role][1].bands)}" for role in roles]
    margin = 20
    padded = {
        role: np.pad(given[role][0], ((0, 0), (margin, margin), (margin, margin)), constant_values=np.nan)
        for role in roles
    }
    truth = answer_outputs(predictor, padded)
    edge = int(margin * scale)
    high, wide = ceil(130 * scale), ceil(155 * scale)
    with Scene.open(texts, {role: given[role][1] for role in roles}) as scene:
        found = np.full((6, high, wide), -1, np.float32)
        seen = {role: np.zeros((high, wide), bool) for role in roles}
        for block in answer_scene(scene, predictor, MapperConfig(tile=64)):
            found[:, *block.window.slices()] = block.probabilities
            for role in roles:
                seen[role][block.window.slices()] = block.seen[role]
            if "s2" in roles:
                clear = truth["restored"][:, margin:-margin, margin:-margin][:, *block.source.slices()]
                known = np.isfinite(block.restored)
                np.testing.assert_allclose(block.restored[known], clear[known], atol=1e-6)
                assert known[:, np.isfinite(block.images["s2"]).all(axis=0)].all()
            else:
                assert block.restored is None
    whole = {role: ~touched(np.isnan(given[role][0]).any(axis=0), scale) for role in roles}
    for role in roles:
        np.testing.assert_array_equal(seen[role], whole[role])
    observed = np.logical_or.reduce(list(whole.values()))
    assert not np.isnan(found[:, observed]).any()
    assert np.isnan(found[:, ~observed]).all()
    expected = truth["probabilities"][:, edge:, edge:][:, :high, :wide]
    np.testing.assert_allclose(found[:, observed], expected[:, observed], atol=1e-5)


@given(seed=st.integers(0, 99), distance=st.integers(0, 9), share=st.floats(0, 0.1))
def test_near_is_a_square_around_what_is_unseen(seed, distance, share):
    unseen = np.random.default_rng(seed).random((17, 23)) < share
    truth = np.zeros_like(unseen)
    for row, col in np.argwhere(unseen):
        truth[max(row - distance, 0) : row + distance + 1, max(col - distance, 0) : col + distance + 1] = True
    np.testing.assert_array_equal(_near(unseen, distance), truth)


@pytest.mark.parametrize("tile", [64, 100, 1024])
def test_tile_size_does_not_show(tiny_model, write_scene, tile):
    image = backscatter(150, 190)
    image[:, 70:90, 40:44] = np.nan
    predictor = OpenVinoPredictor(tiny_model, threads=2)
    with Scene.open([write_scene(image)], {"s1": S1}) as scene:
        whole = np.zeros((2, 150, 190), np.float32)
        for block in answer_scene(scene, predictor, MapperConfig(tile=tile)):
            whole[:, *block.window.slices()] = block.probabilities
            np.testing.assert_array_equal(block.images["s1"], image[:, *block.window.slices()])
    padded = np.pad(image, ((0, 0), (16, 16), (16, 16)), constant_values=np.nan)
    truth = answer(predictor, {"s1": padded})[:, 16:-16, 16:-16]
    seen = np.isfinite(image).all(axis=0)
    np.testing.assert_allclose(whole[:, seen], truth[:, seen], atol=1e-6)
    assert np.isnan(whole[:, ~seen]).all()


def test_reading_stops_with_the_one_who_asks(tiny_model, write_scene):
    with Scene.open([write_scene(backscatter(400, 400))], {"s1": S1}) as scene:
        blocks = answer_scene(scene, OpenVinoPredictor(tiny_model, threads=2), MapperConfig(tile=64, block=1))
        first = next(blocks)
        blocks.close()
        assert first.observed.all()


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (64, 30)])
def test_chips_of_any_size_are_answered(tiny_model, size):
    probabilities = answer(OpenVinoPredictor(tiny_model, threads=1), {"s1": backscatter(*size)})
    assert probabilities.shape == (2, *size)
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, atol=1e-5)


def test_a_predictor_says_what_it_lacks(tiny_model):
    predictor = OpenVinoPredictor(tiny_model, threads=1)
    with pytest.raises(ModelError, match=r"needs s1 \(VV, VH\)"):
        predictor.predict({"s2": backscatter(4, 4)[None]})
    with pytest.raises(ModelError, match="multiples of 4"):
        predictor.predict({"s1": backscatter(4, 5)[None]})


def test_more_shapes_than_are_kept_compiled(tiny_model):
    predictor = OpenVinoPredictor(tiny_model, threads=1)
    image = backscatter(8, 80)
    first = answer(predictor, {"s1": image[:, :, :8]})
    for width in range(12, 80, 8):
        answer(predictor, {"s1": image[:, :, :width]})
    np.testing.assert_array_equal(answer(predictor, {"s1": image[:, :, :8]}), first)
