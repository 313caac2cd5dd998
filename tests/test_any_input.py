"""Whatever the size, the type of numbers, the shape of what is unseen and the way to the file: one map."""

import gzip
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import UTM, backscatter
from undercast.mapping import MapConfig, map_scene
from undercast.mapping.codes import answered_blocks
from undercast.mapping.job import open_job
from undercast.predict import MapperConfig, OpenVinoPredictor, answer
from undercast.product.codes import encode, to_percent

STORED = {
    "float32": (1.0, 0.0, np.nan),
    "float64": (1.0, 0.0, -9999.0),
    "int16": (0.01, 0.0, -32768),
    "uint16": (0.01, -100.0, 0),
    "uint8": (0.25, -50.0, 255),
}
"""How each type of numbers holds dB: scale, offset and the value that means nothing was seen."""


def store(path, image, dtype, transform=UTM[1], **options):
    """Write dB ``[2, h, w]``, NaN where unseen, as ``dtype``; returns what the file then says, in dB."""
    scale, offset, fill = STORED[dtype]
    numbers = (image.astype(np.float64) - offset) / scale
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        numbers = np.clip(np.rint(numbers), limits.min + 1, limits.max - 1)
    raw = np.where(np.isnan(image), fill, numbers).astype(dtype)
    profile = {"driver": "GTiff", "count": 2, "height": image.shape[1], "width": image.shape[2], "dtype": dtype}
    with rasterio.open(
        path, "w", crs=UTM[0], transform=rasterio.Affine(*transform), nodata=fill, **profile, **options
    ) as target:
        target.write(raw)
        target.descriptions = ("VV", "VH")
        if (scale, offset) != (1.0, 0.0):
            target.scales, target.offsets = (scale,) * 2, (offset,) * 2
    seen = raw.astype(np.float32) * np.float32(scale) + np.float32(offset)
    return np.where(np.isnan(image), np.nan, seen).astype(np.float32)


@st.composite
def unseen(draw, height, width):
    """Where nothing is seen ``[2, h, w]``: rectangles, slanted borders, rings, single pixels; in both bands or one."""
    mask = np.zeros((2, height, width), bool)
    rows, cols = np.mgrid[:height, :width]
    for _ in range(draw(st.integers(0, 3))):
        bands = draw(st.sampled_from([slice(None), slice(0, 1), slice(1, 2)]))
        kind = draw(st.sampled_from(["rectangle", "swath", "pixels", "ring"]))
        if kind == "rectangle":
            top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
            mask[bands, top : top + draw(st.integers(1, height)), left : left + draw(st.integers(1, width))] = True
        elif kind == "swath":
            lean, first = draw(st.floats(-1, 1)), draw(st.integers(0, width))
            mask[bands] |= cols < first + lean * rows
        elif kind == "pixels":
            share = draw(st.floats(0.0, 0.3))
            mask[bands] |= np.random.default_rng(draw(st.integers(0, 99))).random((height, width)) < share
        else:
            far = np.hypot(rows - height / 2, cols - width / 2)
            radius = draw(st.floats(1, 60))
            mask[bands] |= (far > radius) & (far < radius + draw(st.floats(1, 20)))
    return mask


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_law_04_05_06_every_seen_pixel_is_answered_and_no_other_however_the_work_is_cut(tmp_path, tiny_model, data):
    height, width = data.draw(st.integers(1, 150)), data.draw(st.integers(1, 150))
    dtype = data.draw(st.sampled_from(sorted(STORED)))
    image = backscatter(height, width)
    image[data.draw(unseen(height, width))] = np.nan
    path = tmp_path / "scene.tif"
    path.unlink(missing_ok=True)
    image = store(path, image, dtype)
    mapper = MapperConfig(
        tile=64,
        block=data.draw(st.integers(1, 4)),
        ahead=data.draw(st.integers(1, 5)),
        threads=data.draw(st.integers(1, 3)),
    )
    codes = np.full((height, width), 77, np.uint8)
    likelihood = codes.copy()
    with open_job([str(path)], tiny_model, MapConfig(mapper=mapper), hashed=False) as job:
        for block in answered_blocks(job, OpenVinoPredictor(tiny_model, threads=mapper.threads)):
            codes[block.window.slices()] = block.arrays["codes"]
            likelihood[block.window.slices()] = block.arrays["likelihood"]
    predictor, margin = OpenVinoPredictor(tiny_model, threads=1), 12
    padded = np.pad(image, ((0, 0), (margin, margin), (margin, margin)), constant_values=np.nan)
    probabilities = answer(predictor, {"s1": padded})[:, margin:-margin, margin:-margin].copy()
    seen = np.isfinite(image).all(axis=0)
    probabilities[:, ~seen] = np.nan
    np.testing.assert_array_equal(codes == 255, ~seen)
    np.testing.assert_array_equal(likelihood == 255, ~seen)
    assert (np.abs(likelihood.astype(int) - to_percent(probabilities)) <= 1).all()
    far = np.abs(np.abs(probabilities[1] - 0.5) - 0.02) > 1e-4
    np.testing.assert_array_equal(codes[far], encode(probabilities, tiny_model.signature.task, 0.5)[far])


def layers(inputs, model, out):
    summary = map_scene([str(item) for item in inputs], model, out)
    found = []
    for name in ("class.tif", "likelihood.tif"):
        with rasterio.open(out / name) as source:
            found.append(source.read(1))
    return np.stack(found), summary


@pytest.fixture
def plain(tmp_path, tiny_model):
    """A scene in a plain file, and its map."""
    image = backscatter(90, 110)
    image[:, :30, :20] = np.nan
    store(tmp_path / "scene.tif", image, "int16")
    return tmp_path / "scene.tif", layers([tmp_path / "scene.tif"], tiny_model, tmp_path / "plain")[0]


def in_zip(path):
    with zipfile.ZipFile(path.with_suffix(".zip"), "w") as target:
        target.write(path, "deep/scene.tif")
    return f"/vsizip/{path.with_suffix('.zip')}/deep/scene.tif"


def in_gzip(path):
    Path(f"{path}.gz").write_bytes(gzip.compress(path.read_bytes()))
    return f"/vsigzip/{path}.gz"


def copied(driver, suffix, **options):
    def make(path):
        rasterio.shutil.copy(path, path.with_suffix(suffix), driver=driver, **options)
        return path.with_suffix(suffix)

    return make


def as_cog(path):
    rasterio.shutil.copy(path, path.with_name("cog.tif"), driver="COG", compress="LZW")
    return path.with_name("cog.tif")


WAYS = {
    "vrt": copied("VRT", ".vrt"),
    "jp2": copied("JP2OpenJPEG", ".jp2", quality="100", reversible="YES"),
    "cog": as_cog,
    "zip": in_zip,
    "gzip": in_gzip,
}


@pytest.mark.parametrize("way", WAYS)
def test_any_way_to_a_file_gives_its_map(tmp_path, tiny_model, plain, way):
    path, expected = plain
    found, summary = layers([WAYS[way](path)], tiny_model, tmp_path / "out")
    np.testing.assert_array_equal(found, expected)
    assert summary["observed_share"] == pytest.approx(1 - 600 / 9900, abs=1e-3)


def test_a_file_in_memory_gives_its_map(tmp_path, tiny_model, plain):
    path, expected = plain
    with rasterio.MemoryFile(path.read_bytes(), filename="scene.tif") as held:
        assert held.name.startswith("/vsimem/")
        found, _ = layers([held.name], tiny_model, tmp_path / "out")
    np.testing.assert_array_equal(found, expected)


def test_bands_from_files_of_different_kinds_give_their_map(tmp_path, tiny_model, plain):
    path, expected = plain
    shutil.copy(path, tmp_path / "other.tif")
    mosaic = copied("VRT", ".vrt")(tmp_path / "other.tif")
    found, _ = layers([f"s1:VV={path}@1", f"s1:VH={mosaic}@2"], tiny_model, tmp_path / "out")
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("turn", ["south-up", "upside down"])
def test_a_scene_stored_the_other_way_round_lies_where_it_lies(tmp_path, tiny_model, turn):
    """The same ground in rows from the south, or also in columns from the east: the same areas, in their place."""
    image = backscatter(64, 48)
    a, _, c, _, e, f = UTM[1]
    mirrored = turn == "upside down"
    store(tmp_path / "plain.tif", image, "float32")
    stored = image[:, ::-1, :: -1 if mirrored else 1]
    transform = (-a if mirrored else a, 0, c + 48 * a * mirrored, 0, -e, f + 64 * e)
    store(tmp_path / "turned.tif", stored, "float32", transform)
    one, plain = layers([tmp_path / "plain.tif"], tiny_model, tmp_path / "one")
    other, turned = layers([tmp_path / "turned.tif"], tiny_model, tmp_path / "other")
    # pooling starts at the first row, wherever that lies, so single pixels may differ
    assert np.mean(one[0] != other[0][::-1, :: -1 if mirrored else 1]) < 0.02
    assert turned["scene_area_m2"] == pytest.approx(plain["scene_area_m2"], rel=1e-9)
    with rasterio.open(tmp_path / "other/class.tif") as source:
        assert source.transform == rasterio.Affine(*transform)
