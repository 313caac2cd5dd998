"""Export: a folder that agrees with its weights through two runtimes, or no folder at all."""

import json
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import pytest
import torch
import typer
from typer.testing import CliRunner

import undercast.model
from undercast.bands import S1, S2_L1C
from undercast.chip import Chip
from undercast.cli.export import export
from undercast.cli.models import models
from undercast.errors import ModelError, UndercastError
from undercast.export import (
    Agreement,
    AgreementConfig,
    agreement,
    describe,
    export_model,
    load_segmenter,
    quantise_int8,
    write_model,
)
from undercast.export.agreement import OnnxRuntimePredictor
from undercast.losses.segmentation import cross_entropy
from undercast.model import CARD, CONFIG, JOURNAL, ONNX, ONNX_INT8, SIGNATURE, WEIGHTS, ModelFolder
from undercast.nets import Segmenter, SegmenterConfig, UNetConfig
from undercast.predict import OpenVinoPredictor, answer
from undercast.signature import Change, Signature
from undercast.task import FLOOD

MODALITIES = {"s1": S1, "s2": S2_L1C}
TEXTS = {"card": "# A card\n", "config_toml": "steps = 3\n", "journal": '{"step": 1}\n'}


def backscatter(seed: int, size: tuple[int, int] = (48, 48), unseen: bool = False) -> np.ndarray:
    """Speckled ground with a dark lake, dB, ``[2, H, W]``."""
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[: size[0], : size[1]]
    lake = (rows - rng.uniform(0, size[0])) ** 2 + (cols - rng.uniform(0, size[1])) ** 2 < rng.uniform(8, 20) ** 2
    image = np.stack([np.where(lake, -21, -10), np.where(lake, -27, -16)]) + rng.normal(0, 2, (2, *size))
    if unseen:
        image[:, : size[0] // 4] = np.nan
        image[1, -3:, -5:] = -np.inf
    return image.astype(np.float32)


def chip(seed: int, size: tuple[int, int] = (48, 48), unseen: bool = True) -> Chip:
    return Chip(f"chip {seed}", {"s1": backscatter(seed, size, unseen)})


CHIPS = [chip(100), chip(101, (45, 50)), chip(102, (1, 1), unseen=False), chip(103, (64, 40))]


def trained(config: UNetConfig, steps: int = 40) -> Segmenter:
    """A network that has learned to tell the lake, so that its answers are not all a toss-up."""
    torch.manual_seed(0)
    network = SegmenterConfig(body=config).build({"s1": S1}, FLOOD)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for step in range(steps):
        images = torch.from_numpy(np.stack([backscatter(4 * step + k) for k in range(4)]))
        target = (torch.nn.functional.avg_pool2d(images[:, 1:], 5, 1, 2)[:, 0] < -22).long()
        loss = cross_entropy(network({"s1": images}), target).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network


@pytest.fixture(scope="module")
def network() -> Iterator[Segmenter]:
    # Images this small are faster on one thread, far more so where the cores have other work.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield trained(UNetConfig(base=8, stages=3))
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def written(network: Segmenter, tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    path = tmp_path_factory.mktemp("models") / "lake"
    write_model(path, network, describe(network, "lake", temperature=1.5), chips=CHIPS, int8=True, **TEXTS)
    return ModelFolder.open(path)


def test_a_written_folder_is_complete(written: ModelFolder) -> None:
    expected = {SIGNATURE, ONNX, ONNX_INT8, WEIGHTS, CARD, JOURNAL, CONFIG}
    assert {file.name for file in written.path.iterdir()} == expected
    assert list(written.path.parent.iterdir()) == [written.path], "nothing is left aside"
    assert (written.path / CARD).read_text() == TEXTS["card"]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_both_runtimes_agree_with_the_weights(written: ModelFolder, network: Segmenter, precision: str) -> None:
    found = agreement(written, load_segmenter(written), CHIPS, precision)
    assert {one.runtime for one in found} == {"OpenVINO", "ONNX Runtime"}
    pixels = sum(height * width for height, width in (c.shape for c in CHIPS))
    for one in found:
        assert one.pixels == pixels
        assert AgreementConfig().accepts(one), str(one)
        # The integers are there: an fp32 graph under another name would be nearer.
        assert (one.difference > 1e-4) == (precision == "int8")


def test_the_graph_is_complete_and_anonymous(written: ModelFolder) -> None:
    graph = onnx.load(str(written.graph()))
    assert [port.name for port in graph.graph.input] == ["s1"]
    assert [port.name for port in graph.graph.output] == ["probabilities"]
    kinds = {node.op_type for node in graph.graph.node}
    assert "BatchNormalization" not in kinds
    assert {"IsNaN", "Softmax"} <= kinds
    content = written.graph().read_bytes() + (written.path / ONNX_INT8).read_bytes()
    for trace in (b".py", b"/src", str(Path.home()).encode()):
        assert trace not in content


def test_integers_are_smaller_and_normalisation_stays_exact(written: ModelFolder) -> None:
    assert (written.path / ONNX_INT8).stat().st_size < 0.6 * (written.path / ONNX).stat().st_size
    graph = onnx.load(str(written.graph("int8"))).graph
    producers = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type in {"IsNaN", "Where", "Sub", "Div", "Clip", "Softmax"}:
            sources = {producers[name].op_type for name in node.input if name in producers}
            assert "DequantizeLinear" not in sources, node.op_type


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("size", [(4, 4), (20, 64)])
def test_batch_rows_and_columns_are_free(written: ModelFolder, batch: int, size: tuple[int, int]) -> None:
    images = {"s1": np.stack([backscatter(seed, size) for seed in range(batch)])}
    first, second = OpenVinoPredictor(written), OnnxRuntimePredictor(written.graph(), written.signature)
    assert first.predict(images).shape == (batch, 2, *size)
    np.testing.assert_allclose(first.predict(images), second.predict(images), atol=1e-5)
    np.testing.assert_allclose(first.predict(images).sum(axis=1), 1, atol=1e-5)


def test_temperature_is_in_the_graph(written: ModelFolder) -> None:
    network = load_segmenter(written)
    image = backscatter(7)
    with torch.no_grad():
        expected = (network({"s1": torch.from_numpy(image[None])}) / 1.5).softmax(dim=1)[0].numpy()
    np.testing.assert_allclose(answer(OpenVinoPredictor(written), {"s1": image}), expected, atol=1e-4)


def test_whatever_unseen_is_written_as_the_answer_is_the_same(written: ModelFolder) -> None:
    runtimes = [OpenVinoPredictor(written), OnnxRuntimePredictor(written.graph(), written.signature)]
    for runtime in runtimes:
        answers = []
        for unseen in (np.nan, np.inf, -np.inf):
            image = backscatter(8)
            image[:, 10:20, 5:30] = unseen
            answers.append(answer(runtime, {"s1": image}))
        assert np.isfinite(answers[0]).all()
        assert all(np.array_equal(answers[0], other) for other in answers)


def test_weights_come_back_bit_for_bit(written: ModelFolder, network: Segmenter) -> None:
    again = load_segmenter(written)
    assert not again.training
    assert again.margin == network.margin
    for name, value in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def test_export_leaves_the_network_as_it_was(written: ModelFolder, network: Segmenter) -> None:
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_several_roles_and_other_blocks_agree(tmp_path: Path) -> None:
    torch.manual_seed(1)
    body = UNetConfig(base=8, stages=2, block="separable", up="bilinear", output_stride=2)
    network = SegmenterConfig(roles=("s2", "s1"), mask_channel=True, body=body).build(MODALITIES, FLOOD)
    rng = np.random.default_rng(0)
    chips = []
    for seed in range(2):
        optical = rng.uniform(0, 1, (13, 40, 44)).astype(np.float32)
        optical[3:5, 10:20] = np.nan
        chips.append(Chip(str(seed), {"s1": backscatter(seed, (40, 44), True), "s2": optical}))
    (first, second) = write_model(
        tmp_path / "m", network.to(memory_format=torch.channels_last), describe(network, "m"), chips=chips, **TEXTS
    )
    assert max(first.difference, second.difference) < 1e-4
    assert [port.name for port in onnx.load(str(tmp_path / "m" / ONNX)).graph.input] == ["s2", "s1"]


# --- or is not written ---


def _write(path: Path, network: Segmenter, **more: object) -> None:
    arguments = {"chips": CHIPS, "signature": describe(network, "lake")} | TEXTS | more
    write_model(path, network, **arguments)


@pytest.mark.parametrize("kept", [False, True], ids=["new", "over another"])
def test_a_graph_that_does_not_agree_is_not_written(
    written: ModelFolder, network: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    """The graph is that of slightly other weights: the proof must see it, and what was there must stay."""
    import undercast.export.folder as folder

    path = tmp_path / "lake"
    if kept:
        _copy(written, path)
    before = {file.name: file.read_bytes() for file in path.iterdir()} if kept else None

    def dishonest(segmenter: Segmenter, signature: Signature, path: Path) -> None:
        graph = onnx.load(str(written.graph()))
        weights = next(tensor for tensor in graph.graph.initializer if tensor.name.endswith("head.weight"))
        weights.CopyFrom(onnx.numpy_helper.from_array(1.05 * onnx.numpy_helper.to_array(weights), weights.name))
        path.write_bytes(graph.SerializeToString())

    monkeypatch.setattr(folder, "export_onnx", dishonest)
    with pytest.raises(ModelError, match="not written"):
        _write(path, network)
    after = {file.name: file.read_bytes() for file in path.iterdir()} if path.exists() else None
    assert after == before
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".lake")]


def test_a_network_with_nan_for_weights_is_not_written(tmp_path: Path) -> None:
    network = SegmenterConfig(body=UNetConfig(base=4, stages=1)).build({"s1": S1}, FLOOD)
    with torch.no_grad():
        next(network.body.head.parameters()).fill_(float("nan"))
    with pytest.raises(ModelError, match=r"not written.*body\.head\.weight"):
        _write(tmp_path / "m", network)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [{"margin": 0}, {"stride": 1}, {"network": {}}, {"inputs": MODALITIES}], ids=str)
def test_a_signature_that_is_not_the_networks_is_refused(
    network: Segmenter, tmp_path: Path, wrong: dict[str, object]
) -> None:
    signature = describe(network, "lake").model_copy(update=wrong)
    with pytest.raises(ModelError, match=next(iter(wrong))):
        _write(tmp_path / "m", network, signature=signature)
    assert list(tmp_path.iterdir()) == []


def test_without_chips_nothing_is_proven_and_nothing_written(network: Segmenter, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no chips"):
        _write(tmp_path / "m", network, chips=[])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_else_is_left_alone(network: Segmenter, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("precious")
    with pytest.raises(ModelError, match="no model"):
        _write(tmp_path / "thesis", network)
    assert (tmp_path / "thesis" / "chapter1.txt").read_text() == "precious"


def test_calibration_on_nothing_seen_is_refused(written: ModelFolder, tmp_path: Path) -> None:
    blind = Chip("blind", {"s1": np.full((2, 16, 16), np.nan, np.float32)})
    with pytest.raises(ModelError, match="calibrated"):
        quantise_int8(written.graph(), tmp_path / "int8.onnx", written.signature, [blind])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("precision", "difference", "classes", "accepted"),
    [
        ("fp32", 1e-4, 1.0, True),
        ("fp32", 1e-2, 1.0, False),
        ("fp32", 1e-4, 0.99, False),
        ("int8", 0.3, 0.995, True),
        ("int8", 0.01, 0.98, False),
    ],
)
def test_each_precision_has_its_own_bar(precision: str, difference: float, classes: float, accepted: bool) -> None:
    assert AgreementConfig().accepts(Agreement("any", precision, difference, 0.0, classes, 100)) == accepted


# --- reading back, and the verbs ---


def _truncate(path: Path) -> None:
    (path / WEIGHTS).write_bytes((path / WEIGHTS).read_bytes()[:-100])


def _other_network(path: Path) -> None:
    text = json.loads((path / SIGNATURE).read_text())
    text["network"]["body"]["base"] = 16
    (path / SIGNATURE).write_text(json.dumps(text))


def _unknown_network(path: Path) -> None:
    text = json.loads((path / SIGNATURE).read_text())
    text["network"] = {"kind": "oracle"}
    (path / SIGNATURE).write_text(json.dumps(text))


@pytest.mark.parametrize(
    "damage", [_truncate, _other_network, _unknown_network, lambda path: (path / WEIGHTS).unlink()]
)
def test_a_damaged_folder_is_one_clear_line(
    written: ModelFolder, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    copy = _copy(written, tmp_path / "copy")
    damage(copy)
    with pytest.raises(ModelError) as caught:
        load_segmenter(ModelFolder.open(copy))
    assert str(copy) in str(caught.value)
    assert "\n" not in str(caught.value)


def _copy(written: ModelFolder, copy: Path) -> Path:
    copy.mkdir()
    for file in written.path.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    return copy


def test_graphs_are_made_anew_from_the_weights(written: ModelFolder, tmp_path: Path) -> None:
    copy = _copy(written, tmp_path / "copy")
    (copy / ONNX).unlink()
    (copy / ONNX_INT8).unlink()
    export_model(ModelFolder.open(copy), CHIPS)
    assert (copy / ONNX).read_bytes() == written.graph().read_bytes(), "the same weights give the same bytes"
    assert not (copy / ONNX_INT8).exists()
    assert list(tmp_path.iterdir()) == [copy]


def _app(command: Callable[..., None]) -> typer.Typer:
    app = typer.Typer()
    app.command()(command)
    return app


def test_the_verb_proves_on_simulated_chips(written: ModelFolder, tmp_path: Path) -> None:
    copy = _copy(written, tmp_path / "copy")
    (copy / ONNX_INT8).unlink()
    arguments = [str(copy), "--int8", "--json", "--data", "simulated:5+2@64"]
    result = CliRunner().invoke(_app(export), arguments, catch_exceptions=False)
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert {(one["runtime"], one["precision"]) for one in found} == {
        (runtime, precision) for runtime in ("OpenVINO", "ONNX Runtime") for precision in ("fp32", "int8")
    }
    assert all(one["pixels"] == 2 * 64 * 64 for one in found)
    assert (copy / ONNX_INT8).is_file()


def test_the_verb_calibrates_as_it_is_told(written: ModelFolder, tmp_path: Path) -> None:
    graphs = {}
    for method in ("minmax", "percentile"):
        copy = _copy(written, tmp_path / method)
        given = [str(copy), "--int8", "--method", method, "--data", "simulated:5+2@64"]
        assert CliRunner().invoke(_app(export), given, catch_exceptions=False).exit_code == 0
        graphs[method] = (copy / ONNX_INT8).read_bytes()
    assert graphs["minmax"] != graphs["percentile"]


@pytest.mark.parametrize(
    "arguments",
    [["no-such-model"], ["MODEL", "--data", "/no/such/folder"], ["MODEL", "--int8", "--method", "no-such-method"]],
    ids=str,
)
def test_the_verb_names_what_is_wrong(written: ModelFolder, arguments: list[str]) -> None:
    given = [str(written.path) if argument == "MODEL" else argument for argument in arguments]
    with pytest.raises(UndercastError, match=r"no-such-model|/no/such/folder|no-such-method|method"):
        CliRunner().invoke(_app(export), given, catch_exceptions=False)


def test_models_lists_what_is_installed(written: ModelFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    change = Change(version="0", date=date(2026, 11, 20), what="The first.", effect="Not measured.")
    told = {"training_data": ("simulated [seed 0]",), "scores": {"iou": 0.5}, "changelog": (change,)}
    signature = written.signature.model_copy(update=told)
    monkeypatch.setattr(undercast.model, "installed", lambda: [ModelFolder(written.path, signature)])
    result = CliRunner().invoke(_app(models), ["--json"], catch_exceptions=False)
    (row,) = json.loads(result.stdout)
    assert row["name"] == "lake"
    assert row["precisions"] == ["fp32", "int8"]
    assert row["bytes"] == sum(file.stat().st_size for file in written.path.iterdir())
    shown = CliRunner().invoke(_app(models), [], catch_exceptions=False, env={"COLUMNS": "160"}).stdout
    assert row["changelog"] == [change.model_dump(mode="json")]
    for text in ("lake", "flood", "VV, VH", "simulated [seed 0]", "0.500", "int8", "0, 2026-11-20: The first."):
        assert text in shown
    monkeypatch.setattr(undercast.model, "installed", list)
    assert "train" in CliRunner().invoke(_app(models), [], catch_exceptions=False).stdout
