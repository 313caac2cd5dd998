"""STAC items as inputs: the same map as of the files they name, and a message for whatever cannot be one."""

import json
import re
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from conftest import backscatter, read_json
from undercast.bands import S1, S2_L2A
from undercast.batch import find_scenes
from undercast.cli.map_ import map_
from undercast.errors import InputError
from undercast.mapping import map_scene
from undercast.mapping.cluster import _absolute
from undercast.raster import Scene, Window, read_array
from undercast.raster.item import is_item, read_item, read_items

pytestmark = pytest.mark.enable_socket

app = typer.Typer()
app.command("map")(map_)

GEOTIFF = "image/tiff; application=geotiff; profile=cloud-optimized"


def item(name: str, assets: dict, **properties) -> dict:
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "geometry": None,
        "properties": {"datetime": "2021-07-15T05:50:11Z", **properties},
        "links": [],
        "assets": assets,
    }


def asset(href: str, **more) -> dict:
    return {"href": href, "type": GEOTIFF, **more}


def collection(*items: dict, **more) -> dict:
    return {"type": "FeatureCollection", "features": list(items), **more}


@pytest.fixture
def save(tmp_path):
    def write(body: object, name: str = "item.json") -> str:
        (tmp_path / name).write_text(json.dumps(body))
        return str(tmp_path / name)

    return write


@pytest.fixture
def radar(write_scene):
    """A scene of two files, and the assets that name them relative to an item beside them."""
    image = backscatter(48, 56)
    write_scene(image[:1], "one.tif", bands=())
    write_scene(image[1:], "other.tif", bands=())
    return {"vv": asset("./one.tif"), "vh": asset("./other.tif"), "thumbnail": asset("./vv.png", roles=["thumbnail"])}


@pytest.fixture
def server(tmp_path):
    """The folder over HTTP, in the byte ranges that GDAL asks for."""

    class Ranges(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            path = Path(self.translate_path(self.path))
            if not asked or not path.is_file():
                return super().do_GET()
            content = path.read_bytes()
            first, last = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
            self.send_header("Content-Length", str(last + 1 - first))
            self.end_headers()
            self.wfile.write(content[first : last + 1])
            return None

    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Ranges, directory=str(tmp_path)))
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_address[1]}"
    http.shutdown()
    http.server_close()


def test_an_item_gives_the_map_of_its_files_and_its_date(tmp_path, radar, save, tiny_model):
    place = save(item("S1A", radar))
    map_scene([place], tiny_model, tmp_path / "of-item")
    map_scene([f"s1:VV={tmp_path}/one.tif", f"s1:VH={tmp_path}/other.tif"], tiny_model, tmp_path / "of-files")
    for layer in ("class.tif", "likelihood.tif"):
        assert np.array_equal(read_array(tmp_path / "of-item" / layer)[0], read_array(tmp_path / "of-files" / layer)[0])
    assert read_json(tmp_path / "of-item/item.json")["properties"]["datetime"].startswith("2021-07-15T05:50:11")


@pytest.mark.parametrize(
    "assets",
    [
        {"polarisations": asset("./both.tif", **{"sar:polarizations": ["VV", "VH"]})},
        {"bands": asset("./both.tif", bands=[{"name": "vv"}, {"name": "vh"}])},
        {"data": asset("./both.tif", **{"eo:bands": [{"name": "VV"}, {"name": "VH"}]})},
        {"untyped": {"href": "./both.tif", "bands": [{"name": "VV"}, {"name": "VH"}]}},
    ],
)
def test_the_bands_of_one_file(assets, save, write_scene):
    write_scene(backscatter(8, 9), "both.tif", bands=())
    with Scene.open([save(item("a", assets))], {"s1": S1}) as scene:
        assert [(file.band, file.number) for file in scene.images["s1"].bands] == [("VV", 1), ("VH", 2)]


def test_colours_are_found_and_pictures_are_not(save, write_scene):
    image = np.full((1, 4, 5), 800, np.uint16)
    for name in ("B02", "B03"):
        write_scene(image, f"{name}.tif", bands=())
        write_scene(image, f"{name}.jp2.tif", bands=())
    assets = {
        "blue-jp2": asset("./B02.jp2.tif.jp2", type="image/jp2"),
        "blue": asset("./B02.tif", **{"eo:bands": [{"name": "blue", "common_name": "blue"}]}),
        "B03": asset("./B03.tif"),
        "visual": asset("./TCI.tif", **{"eo:bands": [{"name": "red"}, {"name": "green"}, {"name": "blue"}]}),
    }
    two = S2_L2A.model_copy(update={"bands": ("B02", "B03")})
    place = save(item("S2", assets))
    with Scene.open([place], {"s2": two}) as scene:
        assert [Path(file.header.path).name for file in scene.images["s2"].bands] == ["B02.tif", "B03.tif"]


@pytest.mark.parametrize(
    ("properties", "form"),
    [
        ({"s2:processing_baseline": "05.11"}, 0.1),
        ({"s2:processing_baseline": "02.14"}, 0.2),
        ({"s2:processing_baseline": "05.11", "earthsearch:boa_offset_applied": True}, 0.2),
    ],
)
def test_the_item_knows_what_was_added_to_counts(save, write_scene, properties, form):
    write_scene(np.full((1, 4, 5), 2000, np.uint16), "B02.tif", bands=())
    one = S2_L2A.model_copy(update={"bands": ("B02",)})
    body = item("S2", {"blue": asset("./B02.tif")}, **properties) | {"id": "x"}
    body["properties"]["datetime"] = "2023-01-01T00:00:00Z"
    with Scene.open([save(body)], {"s2": one}) as scene:
        assert np.allclose(scene.read(Window(0, 0, 4, 5))["s2"], form)


def test_a_collection_is_a_batch_and_a_bad_item_stops_no_other(tmp_path, radar, save):
    place = save(collection(item("a/1", radar), item("b", {"vv": asset("./nowhere.tif")})), "items.json")
    assert [scene.name for scene in find_scenes([place], type("", (), {"inputs": {"s1": S1}})())] == ["a_1", "b"]
    done = CliRunner().invoke(app, [place, "-o", str(tmp_path / "maps"), "--json"])
    assert done.exit_code == 1
    states = json.loads(done.stdout)["scenes"]
    assert [state["state"] for state in states] == ["done", "failed"]
    assert "nowhere.tif" in states[1]["error"]
    one = CliRunner().invoke(app, [f"{place}#a/1", "-o", str(tmp_path / "one"), "--json"])
    assert one.exit_code == 0, one.output


def test_no_item_is_lost_to_another_of_its_name(save, tiny_model):
    place = save(collection(item("a/1", {}), item("a_1", {})), "items.json")
    with pytest.raises(InputError, match="two items would be called a_1"):
        find_scenes([place], tiny_model.signature)


def test_a_search_is_followed_page_by_page(tmp_path, radar, save, server):
    following = [{"rel": "next", "href": f"{server}/second.json"}]
    save(collection(item("first", radar), links=following), "search")
    save(collection(item("second", radar), links=[{"rel": "self", "href": "x"}]), "second.json")
    items = read_items(f"{server}/search?collections=s1")
    assert [one.name for one in items] == ["first", "second"]
    assert items[1].assets[0].href == f"{server}/one.tif"


def test_a_scene_is_mapped_from_its_address(tmp_path, radar, save, server, tiny_model):
    place = save(item("S1A", radar))
    # A process of its own: GDAL waits for the server without letting this one answer.
    command = [sys.executable, "-m", "undercast", "map", f"{server}/item.json", "-m", str(tiny_model.path), "-o"]
    subprocess.run([*command, str(tmp_path / "remote")], check=True, timeout=120, capture_output=True)
    map_scene([place], tiny_model, tmp_path / "local")
    assert np.array_equal(read_array(tmp_path / "remote/class.tif")[0], read_array(tmp_path / "local/class.tif")[0])


def test_an_endless_or_unanswerable_search_says_so(save, server):
    place = save(collection(links=[{"rel": "next", "href": f"{server}/round.json"}]), "round.json")
    with pytest.raises(InputError, match="more than 1000 pages"):
        read_items(place)
    place = save(collection(links=[{"rel": "next", "href": "x", "method": "POST"}]), "post.json")
    with pytest.raises(InputError, match="asked for by POST"):
        read_items(place)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([1], "it is a list"),
        ({"type": "Catalog"}, "it is Catalog"),
        ({"a": 1}, "of no type"),
        ({"type": "Feature", "id": "x"}, "no STAC item"),
        (collection("x"), "no STAC item"),
        (collection(), "holds 0 items"),
        (collection(item("a", {}), item("b", {})), "holds 2 items.*a, b"),
        (item("a", {}), "no asset holds VV or VH for s1; assets: none that is a raster"),
        (item("a", {"hh": asset("x.tif")}), "assets: hh"),
        (item("a", {"vv": asset("gone.tif")}), "gone.tif: no such file"),
        (item("a", {"vv": asset("x.tif"), "VV-2": asset("y.tif", bands=[{"name": "VV"}])}), "assets vv and VV-2"),
    ],
)
def test_what_is_no_item_is_refused_by_name(body, message, save):
    with pytest.raises(InputError, match=message):
        Scene.open([save(body)], {"s1": S1})


def test_a_file_that_is_not_there_or_no_json(tmp_path, save):
    with pytest.raises(InputError, match="no such file"):
        read_items(str(tmp_path / "gone.json"))
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(InputError, match=r"bad\.json: is no JSON"):
        read_items(str(tmp_path / "bad.json"))
    with pytest.raises(InputError, match="cannot be read"):
        read_items("http://127.0.0.1:1/search")
    place = save(item("a", {}))
    with pytest.raises(InputError, match="no item 'b'; it holds a"):
        read_item(f"{place}#b")
    with pytest.raises(InputError, match="assets name their bands"):
        Scene.open([f"s1:VV={place}"], {"s1": S1})


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        ("a.json", True),
        ("a.geojson#b", True),
        ("https://x.org/search?bbox=1,2", True),
        ("https://x.org/collections/c/items/i", True),
        ("https://x.org/items/i/B02.tif", False),
        ("a.tif", False),
    ],
)
def test_what_is_taken_for_an_item(path, is_one):
    assert is_item(path) is is_one


def test_workers_are_told_the_whole_path(tmp_path, save, monkeypatch):
    save(collection(), "items.json")
    monkeypatch.chdir(tmp_path)
    assert _absolute("s1=items.json#a") == f"s1={tmp_path}/items.json#a"
