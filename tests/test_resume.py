"""A map that is killed and resumed has the bytes of one that was not, and nothing looks finished meanwhile."""

import hashlib
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import backscatter
from undercast.errors import ProductError
from undercast.mapping import MapConfig, map_scene
from undercast.mapping.kept import KeptBlocks
from undercast.mapping.result import BlockResult
from undercast.model import ModelFolder
from undercast.predict import MapperConfig, OpenVinoPredictor
from undercast.raster.windows import Window

CONFIG = MapConfig(mapper=MapperConfig(tile=64, threads=1, ahead=1))
MOMENTS = int(os.environ.get("UNDERCAST_KILLS", "3"))

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["undercast.mapping.scene", "openvino", "matplotlib.pyplot"])


def digests(folder):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


def block(number: int) -> BlockResult:
    rng = np.random.default_rng(number)
    arrays = {"codes": rng.integers(0, 5, (3, number % 7), np.uint8), "tally.pixels.0": rng.integers(0, 9, (3, 1))}
    return BlockResult(Window(number, 0, 3, number % 7), Window(number, 0, 3, 9), arrays)


def same(one: BlockResult, two: BlockResult) -> bool:
    return one.window == two.window and all(
        np.array_equal(one.arrays[name], two.arrays[name]) and one.arrays[name].dtype == two.arrays[name].dtype
        for name in one.arrays.keys() | two.arrays.keys()
    )


@settings(max_examples=40)
@given(st.integers(0, 2000), st.booleans(), st.integers(0, 7))
def test_only_whole_blocks_are_taken_over(tmp_path_factory, where, turn, count):
    path = tmp_path_factory.mktemp("kept") / "blocks"
    ends = []
    with KeptBlocks(path, "key") as kept:
        for number in range(count):
            kept.add(block(number))
            ends.append(path.stat().st_size)
    data = bytearray(path.read_bytes())
    head = data.index(b"\n") + 1
    where %= len(data)
    if turn:  # a byte that the disk got wrong
        data[where] ^= 0xFF
    else:  # or the file ends there
        del data[where:]
    path.write_bytes(data)
    whole = sum(end <= where for end in ends) if where >= head else 0
    with KeptBlocks(path, "key", resume=True) as kept:
        assert kept.windows == {block(number).window for number in range(whole)}
        assert all(same(kept.get(window), block(window.row)) for window in kept.windows)
        kept.add(block(50))
        assert same(kept.get(block(50).window), block(50))
    with KeptBlocks(path, "key", resume=True) as kept:
        assert block(50).window in kept.windows


def test_blocks_of_another_map_are_not_taken_over(tmp_path):
    with KeptBlocks(tmp_path / "blocks", "one") as kept:
        kept.add(block(1))
    with KeptBlocks(tmp_path / "blocks", "two", resume=True) as kept:
        assert not kept.windows
    with KeptBlocks(tmp_path / "blocks", "two") as kept:
        kept.add(block(1))
    with KeptBlocks(tmp_path / "blocks", "two") as kept:
        assert not kept.windows


def map_and_die(path: str, model: Path, out: Path, at: int) -> None:
    """Runs in a process of its own, which ends by SIGKILL after ``at`` blocks."""
    told = iter(range(1, 10_000))

    def progress(done: int, whole: int) -> None:
        if next(told) == at:
            os.kill(os.getpid(), signal.SIGKILL)

    map_scene([path], ModelFolder.open(model), out, config=CONFIG, progress=progress, resume=True)


def start(*arguments) -> multiprocessing.Process:
    child = processes.Process(target=map_and_die, args=arguments)
    child.start()
    return child


def test_a_killed_map_goes_on_where_it_was(tmp_path, tiny_model, write_scene, monkeypatch):
    path = write_scene(backscatter(150, 170))
    map_scene([path], tiny_model, tmp_path / "whole", config=CONFIG)
    out = tmp_path / "out"
    for at in (7, 11):  # the second goes on from the first, and dies too
        child = start(path, tiny_model.path, out, at)
        child.join()
        assert child.exitcode == -signal.SIGKILL
        assert not out.exists()
    asked = []
    predict = OpenVinoPredictor.predict
    monkeypatch.setattr(OpenVinoPredictor, "predict", lambda *given: asked.append(1) or predict(*given))
    map_scene([path], tiny_model, out, config=CONFIG, resume=True)
    assert len(asked) == 4 * 5 - 11  # blocks kept are not answered again
    assert digests(out) == digests(tmp_path / "whole")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["out", "scene.tif", "whole"]


def test_law_07_killed_at_any_moment_nothing_looks_finished(tmp_path, tiny_model, write_scene):
    path = write_scene(backscatter(150, 170))
    begun = time.monotonic()
    child = start(path, tiny_model.path, tmp_path / "whole", 0)
    child.join()
    takes = time.monotonic() - begun
    for number in range(MOMENTS):
        out = tmp_path / f"out{number}"
        child = start(path, tiny_model.path, out, 0)
        time.sleep(random.Random(number).uniform(0.1, 1) * takes)
        child.kill()
        child.join()
        if out.exists():  # killed after its last rename, on its way out
            assert digests(out) == digests(tmp_path / "whole")
        map_scene([path], tiny_model, out, config=CONFIG, resume=True)
        assert digests(out) == digests(tmp_path / "whole")


def test_resume_takes_a_complete_product_as_it_is_and_only_if_it_is_the_same(tmp_path, tiny_model, write_scene):
    path = write_scene(backscatter(40, 40))
    summary = map_scene([path], tiny_model, tmp_path / "out")
    told = []
    again = map_scene([path], tiny_model, tmp_path / "out", resume=True, progress=lambda *_: told.append(1))
    assert again == summary
    assert not told
    with pytest.raises(ProductError, match="exists already"):
        map_scene([path], tiny_model, tmp_path / "out", resume=True, nodata=-3.0)
