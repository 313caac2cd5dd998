"""Strips: answered while they come in, and every pixel as in a map of the whole."""

import io
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from conftest import FOUR_BANDS, UTM, reflectance
from undercast.bands import S1
from undercast.cli.main import app
from undercast.errors import InputError, ModelError
from undercast.mapping import map_scene
from undercast.mapping.stream import ACCURACY, DROP_ABOVE, FALSE_POSITIVES, Stream, StreamConfig
from undercast.model import ModelFolder, write_signature
from undercast.predict import OpenVinoPredictor, Strip, StripConfig
from undercast.raster import read_array, write_raster
from undercast.raster.lines import raw_lines


@pytest.fixture(scope="module")
def predictor(tiny_clouds):
    return OpenVinoPredictor(tiny_clouds, threads=1)


@pytest.fixture(scope="module")
def strip():
    """151 lines of 90 pixels, cloudy in the middle; a hole, a dead line, and a column that was never seen."""
    image = reflectance(151, 90)
    image[:, 20:26, 50:80] = np.nan
    image[1, 100] = np.nan
    image[:, :, -1] = np.nan
    return image


def pushed(engine, image, sizes):
    """What ``engine`` gives for ``image`` in pieces of ``sizes`` lines, over and over."""
    found, first, number = [], 0, 0
    while first < image.shape[1]:
        count = sizes[number % len(sizes)]
        found += engine.push({"s2": image[:, first : first + count]})
        first, number = first + count, number + 1
    return [*found, *engine.finish()]


def test_every_pixel_is_that_of_the_map(tmp_path, tiny_clouds, predictor, strip):
    write_raster(tmp_path / "strip.tif", strip, UTM, descriptions=FOUR_BANDS.bands)
    map_scene([str(tmp_path / "strip.tif")], tiny_clouds, tmp_path / "map")
    expected, _ = read_array(tmp_path / "map/class.tif")
    frames = pushed(Stream(predictor, 90, StreamConfig(frame=40, strip=StripConfig(lines=24, columns=48))), strip, [7])
    np.testing.assert_array_equal(np.concatenate([frame.codes for frame in frames]), expected[0])
    assert {0, 1, 2, 255} <= set(np.unique(expected))


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(1, 170), min_size=1, max_size=4),
    lines=st.integers(1, 200),
    columns=st.integers(40, 130),
)
def test_neither_pieces_nor_cuts_change_an_answer(predictor, strip, sizes, lines, columns):
    reference = Strip(predictor, 90, StripConfig(lines=160, columns=200))
    whole = [*reference.push({"s2": strip}), *reference.finish()]
    assert [answer.first for answer in whole] == [0]
    found = pushed(Strip(predictor, 90, StripConfig(lines=lines, columns=columns)), strip, sizes)
    assert [answer.first for answer in found] == np.cumsum([0, *(a.observed.shape[0] for a in found)]).tolist()[:-1]
    np.testing.assert_array_equal(np.concatenate([a.observed for a in found]), np.isfinite(strip).all(axis=0))
    np.testing.assert_array_equal(np.concatenate([a.images["s2"] for a in found], axis=1), strip)
    joined = np.concatenate([a.probabilities for a in found], axis=1)
    np.testing.assert_allclose(joined, whole[0].probabilities, atol=1e-6)


def test_pieces_do_not_change_a_bit(predictor, strip):
    config = StripConfig(lines=32, columns=64)
    one = pushed(Strip(predictor, 90, config), strip, [151])
    other = pushed(Strip(predictor, 90, config), strip, [1, 50, 3])
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.probabilities, b.probabilities)


def test_no_more_lines_are_held_than_an_answer_needs(predictor, strip):
    engine = Strip(predictor, 90, StripConfig(lines=32))
    most = 0
    for _ in range(6):
        for line in range(0, 151, 10):
            engine.push({"s2": strip[:, line : line + 10]})
            most = max(most, sum(piece.shape[1] for piece in engine._held["s2"]))
    assert most < 32 + 2 * 12 + 10


def test_frames_say_what_share_is_cloud_and_what_becomes_of_them(predictor):
    clear, cloud = np.full((4, 40, 50), 0.15, np.float32), np.full((4, 40, 50), 0.6, np.float32)
    clear[3] = cloud[3] = 0.4
    half = np.concatenate([clear[:, :10], cloud[:, :30]], axis=1)
    unseen = np.full((4, 40, 50), np.nan, np.float32)
    image = np.concatenate([clear, clear, half, cloud, cloud, unseen, clear[:, :12]], axis=1)
    frames = pushed(Stream(predictor, 50, StreamConfig(frame=40, strip=StripConfig(lines=16))), image, [25])
    assert [frame.decision for frame in frames] == ["downlink", "downlink", "drop", "drop", "drop", "drop", "downlink"]
    assert [frame.lines for frame in frames] == [40] * 6 + [12]
    assert [frame.first for frame in frames] == list(range(0, 280, 40))
    assert frames[2].shares["cloud"] == pytest.approx(0.75, abs=0.05)
    assert sum(frames[2].shares.values()) == pytest.approx(1)
    assert (frames[5].observed, frames[5].shares) == (0, {})
    kept = pushed(Stream(predictor, 50, StreamConfig(frame=40, drop_above=0.9)), image, [300])
    assert [frame.decision for frame in kept][2:4] == ["downlink", "drop"]


def test_a_pixel_outside_the_training_is_called_so_and_counts_as_what_it_was_called(tmp_path, tiny_clouds, predictor):
    known = {"mean": 0.2, "std": 0.1, "p01": 0.01, "p50": 0.2, "p99": 0.4}
    domain = {"s2": dict.fromkeys(FOUR_BANDS.bands, known)}
    (tmp_path / "m").mkdir()
    (tmp_path / "m/model.onnx").write_bytes(tiny_clouds.graph().read_bytes())
    body = tiny_clouds.signature.model_dump(mode="json") | {"training_domain": domain}
    write_signature(type(tiny_clouds.signature).model_validate(body), tmp_path / "m")
    engine = Stream(OpenVinoPredictor(ModelFolder.open(tmp_path / "m"), threads=1), 40, StreamConfig(frame=32))
    (frame,) = pushed(engine, np.full((4, 32, 40), 0.9, np.float32), [32])
    assert (frame.codes == 252).all()
    assert (frame.shares["cloud"], frame.decision) == (1.0, "drop")


def test_what_does_not_fit_is_named(predictor, tiny_model):
    with pytest.raises(InputError, match=r"role s2 are \(4, 3, 9\); the strip takes \(4, n, 10\)"):
        Strip(predictor, 10).push({"s2": np.zeros((4, 3, 9), np.float32)})
    with pytest.raises(ModelError, match="needs s2"):
        Strip(predictor, 10).push({"s1": np.zeros((2, 3, 10), np.float32)})
    with pytest.raises(ModelError, match="answers dry, water, and none of them is cloud"):
        Stream(OpenVinoPredictor(tiny_model, threads=1), 10)


def write_strip(path, strip):
    counts = np.where(np.isfinite(strip), np.rint(strip * 10000), 0).astype(np.uint16)
    write_raster(path, counts, UTM, nodata=0, descriptions=FOUR_BANDS.bands)
    return counts


def test_the_verb_gives_a_line_a_frame(tmp_path, tiny_clouds, strip):
    write_strip(tmp_path / "strip.tif", strip)
    arguments = ["stream", str(tmp_path / "strip.tif"), "-m", str(tiny_clouds.path), "--lines", "60"]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    stated, *frames = [json.loads(line) for line in result.stdout.splitlines()]
    assert stated["drop_above"] == 0.7
    assert stated["downlink_accuracy"] is None
    assert [frame["lines"] for frame in frames] == [60, 60, 31]
    assert {"clear", "cloud", "shadow", "observed", "decision"} <= frames[0].keys()
    plain = CliRunner().invoke(app, arguments)
    assert "line      60" in plain.stdout
    assert "was not measured" in plain.stderr


def test_measured_rates_are_stated(tmp_path, tiny_clouds, strip):
    (tmp_path / "m").mkdir()
    (tmp_path / "m/model.onnx").write_bytes(tiny_clouds.graph().read_bytes())
    scores = {DROP_ABOVE: 0.74, ACCURACY: 0.95, FALSE_POSITIVES: 0.011}
    write_signature(tiny_clouds.signature.model_copy(update={"scores": scores}), tmp_path / "m")
    write_strip(tmp_path / "strip.tif", strip)
    result = CliRunner().invoke(app, ["stream", str(tmp_path / "strip.tif"), "-m", str(tmp_path / "m")])
    assert "dropped above 74% cloud; accuracy 95.0%, 1.1% of the frames worth sending dropped" in result.stderr
    arguments = ["stream", str(tmp_path / "strip.tif"), "-m", str(tmp_path / "m"), "--drop-above", "0.7"]
    assert "was not measured" in CliRunner().invoke(app, arguments).stderr


def test_raw_lines_on_stdin_are_the_same_strip(tmp_path, tiny_clouds, strip):
    whole = np.where(np.isnan(strip).any(axis=0), np.float32(np.nan), strip)
    lines = np.ascontiguousarray(write_strip(tmp_path / "strip.tif", whole).transpose(1, 0, 2)).astype("<u2").tobytes()
    arguments = ["-m", str(tiny_clouds.path), "--lines", "60", "--json", "--optical", "counts"]
    expected = CliRunner().invoke(app, ["stream", str(tmp_path / "strip.tif"), *arguments])
    result = CliRunner().invoke(app, ["stream", "-", *arguments, "--width", "90"], input=lines)
    assert result.stdout == expected.stdout
    assert len(result.stdout.splitlines()) == 4


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"width": None}, "give --width"),
        ({"form": None}, "give --optical"),
        ({"dtype": "banana"}, "no type of number"),
        ({"width": 11}, "bytes into a line of 88"),
        ({"modalities": {"s1": S1}}, "the model takes s1"),
    ],
)
def test_raw_lines_that_cannot_be_told_are_refused(told, message):
    arguments = {"modalities": {"s2": FOUR_BANDS}, "width": 10, "dtype": "uint16", "form": "counts"} | told
    with pytest.raises(InputError, match=message):
        list(raw_lines(io.BytesIO(bytes(3 * 80)), **arguments))
