"""Downloads, from a server on this machine that behaves like the real bucket on a bad day."""

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import pytest
from typer.testing import CliRunner

from undercast.cli.data import data
from undercast.datasets import bucket, fetch
from undercast.datasets.bucket import FetchConfig, RemoteFile, crc32c, listing
from undercast.datasets.fetch import Fetched, Watch, fetch_sen1floods11
from undercast.errors import ConfigError, InputError

pytestmark = pytest.mark.enable_socket

HAND = "v1.1/data/flood_events/HandLabeled/S1Hand/India_1_S1Hand.tif"


class Bucket:
    """A bucket: its objects, and what goes wrong with them. ``asked`` holds (path, Range) of every request."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self.objects = {
            "v1.1/splits/flood_handlabeled/flood_train_data.csv": b"India_1_S1Hand.tif,India_1_LabelHand.tif\n",
            "v1.1/splits/flood_handlabeled/flood_test_data.csv": b"",
            "v1.1/Sen1Floods11_Metadata.geojson": b"{}",
            HAND: random.bytes(700_000),
            HAND.replace("S1Hand", "LabelHand"): random.bytes(300_000),
            "v1.1/data/flood_events/WeaklyLabeled/S1Weak/Bad name+%_S1Weak.tif": random.bytes(1000),
        }
        self.composite: set[str] = set()  # have no MD5, as what was uploaded in parts
        self.cut: dict[str, list[int]] = {}  # object → bytes after which each connection in turn is dropped
        self.busy: dict[str, int] = {}  # object or "list" → how many requests are answered 503
        self.corrupt: dict[str, int] = {}  # object → how many times wrong bytes are sent
        self.ranges = True
        self.asked: list[tuple[str, str | None]] = []

    def listed(self, name: str) -> dict[str, str]:
        content = self.objects[name]
        entry = {"name": name, "size": str(len(content))}
        entry["crc32c"] = base64.b64encode(crc32c(iter([content])).to_bytes(4, "big")).decode()
        if name not in self.composite:
            entry["md5Hash"] = base64.b64encode(hashlib.md5(content).digest()).decode()
        return entry


@pytest.fixture
def remote() -> Iterator[tuple[Bucket, FetchConfig]]:
    contents = Bucket()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            path = urlsplit(self.path)
            contents.asked.append((unquote(path.path), self.headers.get("Range")))
            if path.path == "/storage/v1/b/sen1floods11/o":
                self.list(parse_qs(path.query))
            else:
                self.send(unquote(path.path).removeprefix("/sen1floods11/"))

        def list(self, query: dict[str, list[str]]) -> None:
            if contents.busy.get("list", 0):
                contents.busy["list"] -= 1
                return self.send_error(503)
            names = sorted(name for name in contents.objects if name.startswith(query["prefix"][0]))
            first = int(query.get("pageToken", ["0"])[0])
            page = {"items": [contents.listed(name) for name in names[first : first + 1]]}
            body = json.dumps(page | ({"nextPageToken": str(first + 1)} if first + 1 < len(names) else {})).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def send(self, name: str) -> None:
            if contents.busy.get(name, 0):
                contents.busy[name] -= 1
                return self.send_error(503)
            if name not in contents.objects:
                return self.send_error(404)
            content = contents.objects[name]
            if contents.corrupt.get(name, 0):
                contents.corrupt[name] -= 1
                content = bytes(len(content))
            start = 0
            if contents.ranges and (asked := self.headers.get("Range")):
                start = int(asked.removeprefix("bytes=").rstrip("-"))
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            cuts = contents.cut.get(name, [])
            self.wfile.write(content[start : start + cuts.pop(0)] if cuts else content[start:])

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    port = server.server_address[1]
    yield contents, FetchConfig(base_url=f"http://127.0.0.1:{port}", attempts=3, pause=0.0, timeout=5.0)
    server.shutdown()
    server.server_close()
    thread.join()


Remote = tuple[Bucket, FetchConfig]


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def of(contents: Bucket, *prefixes: str) -> dict[str, bytes]:
    return {name: content for name, content in contents.objects.items() if name.startswith(prefixes)}


@pytest.mark.parametrize("part", ["hand", "weak", "splits"])
def test_a_part_comes_whole_and_is_then_left_alone(part: fetch.Part, remote: Remote, tmp_path: Path) -> None:
    contents, config = remote
    expected = of(contents, *fetch.PREFIXES[part])
    size = sum(map(len, expected.values()))
    assert fetch_sen1floods11(tmp_path, [part], config) == Fetched(len(expected), size, size)
    assert files(tmp_path) == expected
    contents.asked.clear()
    assert fetch_sen1floods11(tmp_path, [part], config) == Fetched(len(expected), size, 0)
    assert all(path.startswith("/storage/") for path, _ in contents.asked), "only the listing is asked for again"


def test_a_dropped_connection_is_taken_up_where_it_broke(remote: Remote, tmp_path: Path) -> None:
    contents, config = remote
    # More drops than attempts: each brought some bytes, so none counts as a failure in a row.
    contents.cut[HAND] = [100_000] * 6
    result = fetch_sen1floods11(tmp_path, ["hand"], config)
    assert files(tmp_path) == of(contents, "v1.1/data/flood_events/Hand")
    assert result.new_bytes == result.bytes, "no byte came twice"
    ranges = [asked for path, asked in contents.asked if path.endswith(HAND)]
    assert ranges == [None, *(f"bytes={100_000 * n}-" for n in range(1, 7))]


@pytest.mark.parametrize("have", [1, 350_000, 699_999, 700_000])
def test_a_download_stopped_earlier_goes_on(have: int, remote: Remote, tmp_path: Path) -> None:
    contents, config = remote
    part = tmp_path / (HAND + ".part")
    part.parent.mkdir(parents=True)
    part.write_bytes(contents.objects[HAND][:have])
    result = fetch_sen1floods11(tmp_path, ["hand"], config)
    assert files(tmp_path) == of(contents, "v1.1/data/flood_events/Hand")
    assert result.bytes - result.new_bytes == have


def test_a_server_without_ranges_sends_the_whole_again(remote: Remote, tmp_path: Path) -> None:
    contents, config = remote
    contents.ranges = False
    contents.cut[HAND] = [123_456]
    fetch_sen1floods11(tmp_path, ["hand"], config)
    assert files(tmp_path) == of(contents, "v1.1/data/flood_events/Hand")


@pytest.mark.parametrize("composite", [False, True])
def test_wrong_bytes_are_found_and_fetched_anew(composite: bool, remote: Remote, tmp_path: Path) -> None:
    contents, config = remote
    label = HAND.replace("S1Hand", "LabelHand")
    contents.composite = {label} if composite else set()
    contents.corrupt[label] = 2
    came = []
    fetch_sen1floods11(tmp_path, ["hand"], config, Watch(came=came.append))
    assert files(tmp_path) == of(contents, "v1.1/data/flood_events/Hand")
    assert sum(came) == 1_000_000, "progress ends at the whole, the bytes thrown away taken back"


def test_bytes_that_stay_wrong_are_refused_by_name_and_the_rest_comes(remote: Remote, tmp_path: Path) -> None:
    contents, config = remote
    contents.corrupt[HAND] = 99
    with pytest.raises(InputError, match=r"1 of 2 files failed.*India_1_S1Hand.tif: .*checksum"):
        fetch_sen1floods11(tmp_path, ["hand"], config)
    assert set(files(tmp_path)) == {HAND.replace("S1Hand", "LabelHand")}


def test_a_stale_or_damaged_file_is_replaced(remote: Remote, tmp_path: Path) -> None:
    contents, config = remote
    target = tmp_path / HAND
    target.parent.mkdir(parents=True)
    target.write_bytes(bytes(700_000))
    Path(f"{target}.part").write_bytes(bytes(800_000))  # longer than the object: of another version
    fetch_sen1floods11(tmp_path, ["hand"], config)
    assert files(tmp_path) == of(contents, "v1.1/data/flood_events/Hand")


def test_a_busy_server_is_asked_again(remote: Remote, tmp_path: Path) -> None:
    contents, config = remote
    contents.busy = {"list": 2, HAND: 2}
    fetch_sen1floods11(tmp_path, ["hand"], config)
    assert files(tmp_path) == of(contents, "v1.1/data/flood_events/Hand")


def spoil_busy(contents: Bucket) -> None:
    contents.busy["list"] = 99


def spoil_empty(contents: Bucket) -> None:
    contents.objects.clear()


def spoil_escape(contents: Bucket) -> None:
    contents.objects["v1.1/data/flood_events/HandLabeled/../../../../escaped"] = b"x"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [(spoil_busy, "503"), (spoil_empty, "holds nothing under"), (spoil_escape, "outside of the folder")],
)
def test_a_bad_bucket_is_refused(spoil: Callable[[Bucket], None], message: str, remote: Remote, tmp_path: Path) -> None:
    contents, config = remote
    spoil(contents)
    with pytest.raises(InputError, match=message):
        fetch_sen1floods11(tmp_path, ["hand"], config)
    assert not files(tmp_path)


@pytest.mark.parametrize(
    ("url", "message"),
    [("http://127.0.0.1:1", "cannot be reached"), ("nowhere", "is no address"), ("http://", "no address|be reached")],
)
def test_a_server_that_is_not_there(url: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        listing("sen1floods11", "v1.1/", FetchConfig(base_url=url, attempts=2, pause=0.0))


def test_a_full_disk_is_told_beforehand(tmp_path: Path) -> None:
    huge = RemoteFile("a.tif", 1 << 60, None, None)
    with pytest.raises(InputError, match="GB free"):
        fetch.Download("b", tmp_path, FetchConfig(), Watch()).run([huge])


@pytest.mark.parametrize(("text", "value"), [(b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA), (b"", 0)])
def test_crc32c_of_the_published_examples(text: bytes, value: int) -> None:
    assert crc32c(iter([text])) == value
    assert crc32c(text[i : i + 1] for i in range(len(text))) == value


def test_the_verb(remote: Remote, tmp_path: Path) -> None:
    contents, config = remote
    arguments = ["fetch", "sen1floods11", str(tmp_path), "--base-url", config.base_url]
    result = CliRunner().invoke(data, [*arguments, "--json"], catch_exceptions=False)
    assert json.loads(result.stdout)["new_bytes"] == 1_000_000 + 43
    assert "5/5 files" in result.stderr
    assert files(tmp_path) == of(contents, "v1.1/data/flood_events/Hand", "v1.1/splits", "v1.1/Sen1")
    again = CliRunner().invoke(data, [*arguments, "--part", "weak"], catch_exceptions=False)
    assert "1 files" in again.stdout
    assert files(tmp_path) == contents.objects
    for wrong in (["fetch", "sen2floods", str(tmp_path)], [*arguments, "--part", "all"]):
        assert isinstance(CliRunner().invoke(data, wrong).exception, ConfigError)


def test_listing_pages_are_followed(remote: Remote) -> None:
    contents, config = remote
    found = bucket.listing("sen1floods11", "v1.1/", config)
    assert {entry.name: entry.size for entry in found} == {name: len(c) for name, c in contents.objects.items()}
