"""Blocks answered by other processes give the same bytes, also where one of these is killed in the middle."""

import hashlib
import os
import signal
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import backscatter
from undercast.errors import ConfigError, ModelError
from undercast.mapping import MapConfig, map_scene
from undercast.mapping.cluster import Request, blocks_from, connect
from undercast.mapping.codes import answered_blocks
from undercast.mapping.job import open_job
from undercast.predict import MapperConfig, OpenVinoPredictor
from undercast.product.quicklook import Preview
from undercast.product.summary import Tally
from undercast.raster.inputs import parse_request
from undercast.raster.windows import Window

distributed = pytest.importorskip("distributed")

# the scheduler, its workers and this process talk over the loopback interface
pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

CONFIG = MapConfig(mapper=MapperConfig(tile=64))


def digests(folder):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def cluster():
    """Two processes, each brought back by its nanny when it dies."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, silence_logs=50
    ) as cluster:
        yield cluster


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.tuples(st.integers(1, 150), st.integers(1, 150)), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3),
    st.integers(0, 150),
)  # fmt: skip
def test_law_04_a_map_does_not_depend_on_how_the_work_was_cut(
    tiny_model, write_scene, shape, block, threads, ahead, hole
):
    image = backscatter(*shape)
    image[:, : hole // 2, hole // 3 : hole] = np.nan
    path = write_scene(image)
    plain = assembled(path, tiny_model, MapperConfig(tile=64, threads=1, ahead=1))
    cut = assembled(path, tiny_model, MapperConfig(tile=64, block=block, threads=threads, ahead=ahead))
    assert plain.keys() == cut.keys()
    assert all(np.array_equal(plain[name], cut[name]) for name in plain)


def assembled(path, model, mapper):
    """All that a map takes from its blocks, put together: pixels, areas and the preview."""
    with open_job([path], model, MapConfig(mapper=mapper), hashed=False) as job:
        tally, preview = Tally(job.scene.grid, job.entries), Preview(job.scene.shape)
        layers = {name: np.full(job.scene.shape, 99, np.uint8) for name in ("codes", "likelihood")}
        for block in answered_blocks(job, OpenVinoPredictor(model, threads=mapper.threads)):
            for name, layer in layers.items():
                layer[block.window.slices()] = block.arrays[name]
            tally.put(block.window, block.part("tally"))
            preview.put(block.window, block.part("preview.0.0"))
    numbers = {"areas": list(tally.areas().values()), "expected": list(tally.expected().values())}
    return layers | numbers | {"near": tally.near_unseen, "preview": np.nan_to_num(preview.image(), nan=-99)}


def test_law_04_workers_give_the_bytes_of_one_process_though_one_is_killed(tmp_path, tiny_model, write_scene, cluster):
    path = write_scene(backscatter(330, 330))
    map_scene([path], tiny_model, tmp_path / "one", config=CONFIG)
    killed = []
    with distributed.Client(cluster, set_as_default=False) as client:

        def kill_one(done: int, whole: int) -> None:
            if not killed and done > whole / 4:
                killed.append(next(iter(client.run(os.getpid).values())))
                os.kill(killed[0], signal.SIGKILL)

        map_scene([path], tiny_model, tmp_path / "two", config=CONFIG, cluster=client, progress=kill_one)
    assert killed
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_what_goes_wrong_in_a_worker_is_told_here(tmp_path, tiny_model, write_scene, cluster):
    path = write_scene(backscatter(40, 40))
    with open_job([path], tiny_model, CONFIG) as job:
        request = replace(Request.of([path], job), model=str(tmp_path / "gone"))
    with (
        distributed.Client(cluster, set_as_default=False) as client,
        closing(blocks_from(client, request, [Window(0, 0, 40, 40)])) as blocks,
        pytest.raises(ModelError, match="gone: no such model folder"),
    ):
        next(blocks)


def test_a_request_holds_absolute_paths(tmp_path, tiny_model, write_scene, monkeypatch):
    path = write_scene(backscatter(40, 40))
    monkeypatch.chdir(tmp_path)
    with open_job([path], tiny_model, CONFIG) as job:
        request = Request.of(["s1:VV=scene.tif@1", "scene.tif", "/vsicurl/http://example.org/a.tif"], job)
    assert request.inputs == (f"s1:VV={path}@1", path, "/vsicurl/http://example.org/a.tif")
    assert [parse_request(text).number for text in request.inputs] == [1, None, None]
    assert hash(request) == hash(request)


def test_nobody_at_the_address():
    with (
        pytest.raises(ConfigError, match=r"--cluster tcp://127\.0\.0\.1:9: no scheduler answers"),
        connect("tcp://127.0.0.1:9", timeout=1),
    ):
        pass
