"""Blocks answered by other processes give the same bytes, also where one of these is killed in the middle."""

import hashlib
import os
import signal
from contextlib import closing
from dataclasses import replace

import pytest

from conftest import backscatter
from undercast.errors import ConfigError, ModelError
from undercast.mapping import MapConfig, map_scene
from undercast.mapping.cluster import Request, blocks_from, connect
from undercast.mapping.job import open_job
from undercast.predict import MapperConfig
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


def test_same_bytes_as_one_process_though_a_worker_is_killed(tmp_path, tiny_model, write_scene, cluster):
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
