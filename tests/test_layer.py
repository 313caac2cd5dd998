"""Layers of a product: strips from blocks, overviews, and files joined from compressed tiles."""

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rio_cogeo.cogeo import cog_validate

from undercast.errors import ProductError
from undercast.product import layer, tiff
from undercast.product.codes import FLOOD_ENTRIES, NO_ANSWER_ENTRIES
from undercast.product.cog import layout_problems
from undercast.product.layer import BLOCK, LayerWriter, Strips
from undercast.product.overviews import halve
from undercast.raster.windows import cut

ENTRIES = FLOOD_ENTRIES + NO_ANSWER_ENTRIES


def grid(height, width):
    return GeoBox((height, width), rasterio.Affine(10, 0, 500_000, 0, -10, 4_900_000), "EPSG:32631")


@settings(max_examples=25)
@given(
    shape=st.tuples(st.integers(1, 1400), st.integers(1, 60)),
    block=st.tuples(st.integers(20, 700), st.integers(5, 60)),
    bands=st.integers(0, 2),
)
def test_strips_are_the_rows_of_the_blocks(shape, block, bands):
    whole = {
        "one": np.random.default_rng(0).integers(0, 255, (bands, *shape) if bands else shape, dtype=np.uint8),
        "other": np.random.default_rng(1).random(shape, dtype=np.float32),
    }
    strips = Strips(shape)
    found, rows = {name: [] for name in whole}, []
    for window in cut(shape, block):
        part = {name: array[(..., *window.slices())] for name, array in whole.items()}
        for row, arrays in strips.put(window, part):
            rows.append(row)
            for name, array in arrays.items():
                found[name].append(array.copy())
    assert rows == list(range(0, shape[0], BLOCK))
    for name, array in whole.items():
        np.testing.assert_array_equal(np.concatenate(found[name], axis=-2), array)


@settings(max_examples=40)
@given(shape=st.tuples(st.integers(1, 9), st.integers(1, 9)), seed=st.integers(0, 99))
def test_an_overview_is_the_mean_of_what_was_seen_and_the_most_frequent_class(shape, seed):
    random = np.random.default_rng(seed)
    values = random.choice(np.array([0, 1, 3, 100, 255], np.uint8), shape)
    mode, average = halve(values, "mode"), halve(values, "average")
    floats = halve(np.where(values == 255, np.nan, values).astype(np.float32)[None], "average")[0]
    assert mode.shape == average.shape == floats.shape == (-(-shape[0] // 2), -(-shape[1] // 2))
    for row, col in np.ndindex(mode.shape):
        four = values[2 * row : 2 * row + 2, 2 * col : 2 * col + 2].ravel()
        seen = four[four != 255]
        if not seen.size:
            assert mode[row, col] == average[row, col] == 255
            assert np.isnan(floats[row, col])
            continue
        assert average[row, col] == int(np.floor(seen.mean() + 0.5))
        assert floats[row, col] == pytest.approx(seen.mean(), rel=1e-6)
        counts = np.bincount(four, minlength=256)
        assert mode[row, col] in seen
        if counts.max() > four.size / 2 and counts.argmax() != 255:
            assert mode[row, col] == counts.argmax()


@pytest.mark.parametrize("shape", [(1, 1), (512, 512), (513, 7), (1300, 1025)])
@pytest.mark.parametrize("kind", ["classes", "numbers", "image"])
@pytest.mark.parametrize("largest", [tiff.LARGEST, 0], ids=["classic", "big"])
def test_a_layer_reads_back_and_is_cloud_optimised(tmp_path, monkeypatch, shape, kind, largest):
    monkeypatch.setattr(tiff, "LARGEST", largest)
    random = np.random.default_rng(0)
    path = tmp_path / "class.tif"
    if kind == "image":
        values = random.normal(size=(3, *shape)).astype(np.float32)
        writer = LayerWriter(path, grid(*shape), description=("a", "b", "c"), overviews="average", dtype="float32")
    else:
        values = random.choice(np.array([0, 3, 255], np.uint8), shape)
        entries = ENTRIES if kind == "classes" else ()
        how = "mode" if kind == "classes" else "average"
        writer = LayerWriter(
            path, grid(*shape), description="class", overviews=how, entries=entries, tags={"UNDERCAST_TASK": "flood"}
        )
    for row in range(0, shape[0], BLOCK):
        writer.write(values[..., row : row + BLOCK, :])
    writer.finish()
    writer.check()
    assert path.read_bytes()[2] == (43 if largest == 0 else 42)
    assert layout_problems(path) == []
    assert cog_validate(path, strict=True)[0]
    assert not list(tmp_path.glob("*.working.tif"))
    with rasterio.open(path) as source:
        np.testing.assert_array_equal(source.read(1 if values.ndim == 2 else None), values)
        assert source.transform == grid(*shape).affine
        assert source.crs == "EPSG:32631"
        assert source.descriptions == (("a", "b", "c") if kind == "image" else ("class",))
        assert (kind == "image") == bool(np.isnan(source.nodata))
        assert source.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        if kind != "image":
            assert source.tags()["UNDERCAST_TASK"] == "flood"
        if kind == "classes":
            assert source.colormap(1)[3][:3] == FLOOD_ENTRIES[3].rgb
        level, expected = 0, values
        while max(expected.shape[-2:]) > BLOCK:
            expected = halve(expected, "mode" if kind == "classes" else "average")
            with rasterio.open(path, overview_level=level) as overview:
                np.testing.assert_array_equal(overview.read(1 if values.ndim == 2 else None), expected)
            level += 1
        assert len(source.overviews(1)) == level


def test_a_layer_that_does_not_read_back_is_refused(tmp_path, monkeypatch):
    def join_and_damage(path, levels):
        tiff.join(path, levels)
        with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as target:
            target.write(np.full((1, 1), 7, np.uint8), 1, window=rasterio.windows.Window(5, 5, 1, 1))

    monkeypatch.setattr(layer, "join", join_and_damage)
    writer = LayerWriter(tmp_path / "class.tif", grid(30, 30), description="class", overviews="mode")
    writer.write(np.zeros((30, 30), np.uint8))
    writer.finish()
    with pytest.raises(ProductError, match=r"class\.tif: does not read back"):
        writer.check()
