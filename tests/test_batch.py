"""Many scenes: which there are, one product each, and a bad one that does not stop the others."""

import json

import pytest
import typer
from typer.testing import CliRunner

from conftest import backscatter
from undercast.batch import find_scenes, map_scenes
from undercast.cli.map_ import map_
from undercast.errors import InputError

app = typer.Typer()
app.command("map")(map_)


@pytest.fixture
def folder(tmp_path, write_scene):
    """Two files of one scene with its elevation, a scene of one file, a folder of one scene, and one that is broken."""
    (tmp_path / "in/sub.folder").mkdir(parents=True)
    image = backscatter(40, 48)
    write_scene(image[:1], "in/S1A_20200101T000000_VV.tif", bands=())
    write_scene(image[1:], "in/S1A_20200101T000000_VH.tif", bands=())
    write_scene(image[:1] * 0 + 10, "in/S1A_20200101T000000_dem.tif", bands=())
    write_scene(image, "in/both.tif")
    write_scene(image, "in/sub.folder/whatever.tif")
    (tmp_path / "in/broken.tif").write_bytes(b"no raster")
    (tmp_path / "in/notes.txt").write_text("not a raster")
    (tmp_path / "in/.hidden.tif").write_text("not looked at")
    return tmp_path / "in"


def test_scenes_are_found_by_folder_and_by_name(folder, tiny_model):
    found = {scene.name: scene.inputs for scene in find_scenes([folder], tiny_model.signature)}
    first = f"{folder}/S1A_20200101T000000"
    assert found == {
        "S1A_20200101T000000": (f"{first}_VH.tif", f"{first}_VV.tif", f"dem={first}_dem.tif"),
        "both": (f"{folder}/both.tif",),
        "broken": (f"{folder}/broken.tif",),
        "sub.folder": (f"{folder}/sub.folder/whatever.tif",),
    }
    assert [*found] == sorted(found)


@pytest.mark.parametrize(
    ("names", "scenes"),
    [
        (["vv.tif", "vh.tif"], ["in"]),  # nothing is left of the names: the scene is called as its folder
        (["a-vv-002.tif", "a-vh-002.tif"], ["a-002"]),
        (["a_VV.tif", "a_VH.tif", "a_s1_pre_VV.tif", "a_s1_pre_VH.tif"], ["a"]),
        (["a.tif", "a_occurrence.tif", "b.TIFF"], ["a", "b"]),
        (["revved.tif"], ["revved"]),
    ],
)
def test_names_without_bands_and_roles(tmp_path, tiny_model, names, scenes):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    assert [scene.name for scene in find_scenes([folder], tiny_model.signature)] == scenes


def test_no_scene_and_two_of_one_name(tmp_path, tiny_model):
    with pytest.raises(InputError, match="holds no scene"):
        find_scenes([tmp_path], tiny_model.signature)
    (tmp_path / "a").mkdir()
    (tmp_path / "a/x.tif").touch()
    (tmp_path / "a.tif").touch()
    with pytest.raises(InputError, match="both a folder a and rasters of that name"):
        find_scenes([tmp_path], tiny_model.signature)
    with pytest.raises(InputError, match="two scenes are called x"):
        find_scenes([tmp_path / "a", tmp_path / "a"], tiny_model.signature)


def test_a_bug_in_one_scene_does_not_stop_the_rest(tmp_path, tiny_model):
    for name in "abc":
        (tmp_path / f"{name}.tif").touch()

    def map_one(scene, target):
        if scene.name == "b":
            raise ZeroDivisionError("by zero")
        return {"scene": scene.name}

    states = map_scenes(find_scenes([tmp_path], tiny_model.signature), tmp_path / "out", map_one)
    assert [state.error for state in states] == [None, "ZeroDivisionError: by zero; this is a bug", None]


def test_a_batch_maps_all_but_the_bad_and_says_so(folder, tmp_path, tiny_model):
    arguments = [str(folder), "-o", str(tmp_path / "out"), "-m", str(tiny_model.path), "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "4 scenes found" in result.stderr
    states = {state["scene"]: state for state in json.loads(result.stdout)["scenes"]}
    assert "broken.tif" in states["broken"]["error"]
    assert states.pop("broken")["state"] == "failed"
    assert {state["state"] for state in states.values()} == {"done"}
    assert sorted(item.name for item in (tmp_path / "out").iterdir()) == sorted(states)
    assert all(state["summary"]["verdict"] for state in states.values())

    (folder / "broken.tif").unlink()
    result = CliRunner().invoke(app, [*arguments, "--resume"])
    assert result.exit_code == 0
    again = json.loads(result.stdout)["scenes"]
    assert {state["state"] for state in again} == {"complete already"}
    assert {state["scene"]: state["summary"] for state in again} == {
        name: state["summary"] for name, state in states.items()
    }


def test_folders_and_files_do_not_mix(folder, tmp_path, tiny_model):
    result = CliRunner().invoke(
        app, [str(folder), str(folder / "both.tif"), "-o", str(tmp_path / "out"), "-m", str(tiny_model.path)]
    )
    assert isinstance(result.exception, InputError)
    assert "give the files of one scene, or folders of scenes alone" in str(result.exception)
