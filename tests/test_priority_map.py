"""The priority list of a mapped scene: there for landslides alone, right, checked, and the same however it is made."""

import csv
import hashlib
from pathlib import Path

import numpy as np
import onnx
import pyogrio
import pytest
import rasterio
import typer
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from conftest import UTM, backscatter, read_json
from undercast.bands import S1
from undercast.cli.show import show
from undercast.mapping import MapConfig, headline, map_scene
from undercast.model import ModelFolder, write_signature
from undercast.predict import MapperConfig
from undercast.product.priority import PriorityConfig
from undercast.product.verify import verify_product
from undercast.raster import write_raster
from undercast.signature import CountSpread, Signature
from undercast.task import LANDSLIDE

SPREAD = CountSpread(factor=30.0, relative=0.4, cells=500, pixels=2500, source="constructed")
CONFIG = MapConfig(mapper=MapperConfig(tile=128, threads=1), priority=PriorityConfig(cell=500, top=3))


def write_change_model(folder: Path, spread: CountSpread | None) -> ModelFolder:
    """A graph that answers how much brighter VH became, smoothed over 3×3 pixels: 50 % at 4 dB."""
    folder.mkdir(parents=True)
    weights = {
        "vh": np.array([[0.0, 1.0]], np.float32)[:, :, None, None] * np.full((1, 1, 3, 3), 1 / 9, np.float32),
        "shift": np.array([-4.0], np.float32).reshape(1, 1, 1, 1),
        "logit": np.array([-1.0, 1.0], np.float32).reshape(2, 1, 1, 1),
    }
    nodes = [
        helper.make_node("Sub", ["s1_post", "s1_pre"], ["change"]),
        helper.make_node("Conv", ["change", "vh"], ["smooth"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["smooth", "shift"], ["above"]),
        helper.make_node("IsNaN", ["above"], ["unseen"]),
        helper.make_node("Where", ["unseen", "shift", "above"], ["filled"]),
        helper.make_node("Conv", ["filled", "logit"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    roles = ("s1_pre", "s1_post")
    graph = helper.make_graph(
        nodes,
        "change",
        [helper.make_tensor_value_info(role, TensorProto.FLOAT, ["B", 2, "H", "W"]) for role in roles],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["B", 2, "H", "W"])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), folder / "model.onnx"
    )
    signature = Signature(
        name="change", version="1", task=LANDSLIDE, inputs=dict.fromkeys(roles, S1), margin=1, count_spread=spread
    )
    write_signature(signature, folder)
    return ModelFolder.open(folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> ModelFolder:
    return write_change_model(tmp_path_factory.mktemp("models") / "change", SPREAD)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> list[str]:
    """A scene before and after, the second with bright scars in the south-east and a hole."""
    folder = tmp_path_factory.mktemp("scene")
    before, after = backscatter(230, 310, 1), backscatter(230, 310, 2)
    after[:, 160:200, 240:300] += 8
    after[:, 20:30, 200:215] += 8
    after[:, 100:150, :60] = np.nan
    given = []
    for role, image in (("s1_pre", before), ("s1_post", after)):
        path = folder / f"{role}.tif"
        write_raster(path, image, UTM, descriptions=("VV", "VH"))
        given.append(f"{role}={path}")
    return given


@pytest.fixture(scope="module")
def product(tmp_path_factory, model, inputs) -> Path:
    out = tmp_path_factory.mktemp("map") / "out"
    map_scene(inputs, model, out, config=CONFIG)
    return out


def test_a_map_of_landslides_has_a_priority_list_and_is_sound(product):
    summary = read_json(product / "summary.json")
    with (product / "priority.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == summary["priority"]["cells"] == 5 * 7 - summary["priority"]["unseen_cells"] == 34
    assert len(summary["priority"]["first"]) == 3
    assert [first["rank"] for first in summary["priority"]["first"]] == [1, 2, 3]
    assert summary["priority"]["interval"]["factor"] == 30
    # the bright scar lies in rows 160 to 199 and columns 240 to 299
    west, south = float(rows[0]["longitude"]), float(rows[0]["latitude"])
    with rasterio.open(product / "class.tif") as source:
        x, y = rasterio.transform.xy(source.transform, 175, 275)
        (lon,), (lat,) = rasterio.warp.transform(source.crs, "EPSG:4326", [x], [y])
    assert (west, south) == (pytest.approx(lon, abs=0.01), pytest.approx(lat, abs=0.01))
    total = sum(float(row["expected_m2"]) for row in rows)
    assert total == pytest.approx(summary["expected_area_m2"]["landslide"], rel=1e-4)
    called = sum(float(row["called_m2"]) for row in rows)
    assert called == pytest.approx(summary["area_m2"]["landslide"], rel=1e-4)
    assert 40 * 60 * 100 < called < 60 * 80 * 100
    assert headline(summary).startswith("Landslides expected on")
    assert "First of 34 cells" in summary["sentence"]
    item = read_json(product / "item.json")
    assert {"priority", "priority-table"} <= item["assets"].keys()
    findings = verify_product(product)
    assert findings.sound, findings.problems
    assert "priority" in findings.checked
    assert pyogrio.list_layers(product / "priority.gpkg")[:, 0].tolist() == ["priority"]


@pytest.mark.parametrize("cut", [{"tile": 128, "block": 2, "threads": 1}, {"tile": 128, "block": 3, "threads": 2}])
def test_the_list_is_the_same_bytes_however_the_work_is_cut(tmp_path, model, inputs, product, cut):
    config = CONFIG.model_copy(update={"mapper": MapperConfig(**cut)})
    map_scene(inputs, model, tmp_path / "out", config=config)

    def digests(folder: Path) -> dict[str, str]:
        return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}

    assert digests(tmp_path / "out") == digests(product)


def test_without_a_measured_spread_there_is_a_list_and_no_interval(tmp_path, inputs):
    model = write_change_model(tmp_path / "model", None)
    summary = map_scene(inputs, model, tmp_path / "out", config=CONFIG)
    assert summary["priority"]["interval"] is None
    assert verify_product(tmp_path / "out").sound


def test_show_names_the_first_cells(product):
    app = typer.Typer()
    app.command()(show)
    told = CliRunner().invoke(app, [str(product)]).output
    assert "34 cells of 500 m" in " ".join(told.split())
    first = read_json(product / "summary.json")["priority"]["first"][0]
    assert f"1. {first['latitude']:.4f}, {first['longitude']:.4f}" in told


def test_a_map_of_floods_has_none(tmp_path, tiny_model, write_scene):
    summary = map_scene([write_scene(backscatter(60, 60))], tiny_model, tmp_path / "out")
    assert "priority" not in summary
    assert not list((tmp_path / "out").glob("priority*"))
    assert "priority" not in read_json(tmp_path / "out/record.json")["parameters"]


def test_a_list_of_another_map_is_found_out(tmp_path, model, inputs, product):
    config = CONFIG.model_copy(update={"priority": PriorityConfig(cell=700)})
    map_scene(inputs, model, tmp_path / "out", config=config)
    (tmp_path / "out/priority.gpkg").write_bytes((product / "priority.gpkg").read_bytes())
    problems = " ".join(verify_product(tmp_path / "out").problems)
    assert "priority.gpkg: has changed" in problems
    assert "its cells are not those of the map" in problems


def test_an_elevation_rules_out_level_ground(tmp_path, model, inputs, product):
    rise = np.maximum(np.arange(310) - 150, 0) * 5.0  # level in the west, about 27° in the east
    write_raster(tmp_path / "dem.tif", np.tile(rise, (230, 1)).astype(np.float32), UTM)
    summary = map_scene([*inputs, f"dem={tmp_path / 'dem.tif'}"], model, tmp_path / "out", config=CONFIG)
    assert summary["area_m2"]["excluded_terrain"] > 0.3 * summary["scene_area_m2"]
    assert summary["area_m2"]["landslide"] == pytest.approx(read_json(product / "summary.json")["area_m2"]["landslide"])
    with (tmp_path / "out/priority.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[0]["observed_share"]) == 1
    assert len(rows) < 34  # cells on level ground alone are no longer listed
    assert verify_product(tmp_path / "out").sound
    assert summary["scene"] == "s1_post"
