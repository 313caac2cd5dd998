"""Verify: a sound product passes, and every kind of damage is found and named."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import typer
from rasterio.enums import Resampling
from typer.testing import CliRunner

from conftest import backscatter, read_json
from undercast.cli.verify import verify
from undercast.errors import ProductError
from undercast.mapping import map_scene
from undercast.product.codes import FLOOD_ENTRIES, NO_ANSWER_ENTRIES
from undercast.product.cog import layout_problems
from undercast.product.polygons import PolygonConfig, write_polygons
from undercast.product.stac import write_item
from undercast.product.verify import verify_product
from undercast.raster import write_raster

ENTRIES = FLOOD_ENTRIES + NO_ANSWER_ENTRIES
GRID = ("EPSG:32631", (10.0, 0.0, 500000.0, 0.0, -10.0, 4900000.0))

app = typer.Typer()
app.command("verify")(verify)


@pytest.fixture(scope="module")
def sound(tmp_path_factory, tiny_model) -> Path:
    """A product that nobody has touched."""
    folder = tmp_path_factory.mktemp("sound")
    image = backscatter(700, 560)
    image[:, 650:] = np.nan
    write_raster(folder / "scene.tif", image, GRID, descriptions=("VV", "VH"))
    map_scene([str(folder / "scene.tif")], tiny_model, folder / "out")
    complete(folder / "out")
    return folder / "out"


@pytest.fixture
def product(sound, tmp_path) -> Path:
    """A copy of it, to be damaged."""
    return shutil.copytree(sound, tmp_path / "product")


def complete(folder: Path) -> None:
    write_polygons(folder, ENTRIES, config=PolygonConfig(minimum_area=0))
    write_item(folder, ENTRIES)


def rewrite(path: Path, change, **options) -> None:
    """Write a layer again with other pixels, as a cloud-optimised file."""
    with rasterio.open(path) as source:
        values, profile = source.read(1), source.profile
    aside = path.with_name("aside.tif")
    profile.update({"driver": "GTiff"} | options)
    with rasterio.open(aside, "w", **profile) as target:
        target.write(change(values.copy()), 1)
    rasterio.shutil.copy(aside, path, driver="COG", overview_resampling="mode")
    aside.unlink()


def test_a_sound_product_passes(sound):
    findings = verify_product(sound)
    assert findings.problems == []
    assert findings.sound
    assert findings.checked == [
        "checksums", "class.tif", "likelihood.tif", "grid", "pixels", "numbers", "polygons",
    ]  # fmt: skip


def flip(folder):
    content = bytearray((folder / "class.tif").read_bytes())
    content[-5] ^= 255
    (folder / "class.tif").write_bytes(content)


def truncate(folder):
    content = (folder / "likelihood.tif").read_bytes()
    (folder / "likelihood.tif").write_bytes(content[: len(content) // 2])


def edit(name, *keys, to):
    def damage(folder):
        body = read_json(folder / name)
        table = body
        for key in keys[:-1]:
            table = table[key]
        table[keys[-1]] = to
        (folder / name).write_text(json.dumps(body))
        write_item(folder, ENTRIES)

    return damage


def repaint(name, row, value):
    def damage(folder):
        def change(values):
            values[row, 0] = value
            return values

        rewrite(folder / name, change)
        write_item(folder, ENTRIES)

    return damage


def move(folder):
    rewrite(folder / "likelihood.tif", lambda values: values, transform=rasterio.Affine(10, 0, 500010, 0, -10, 4900000))


def move_both(folder):
    for name in ("class.tif", "likelihood.tif"):
        rewrite(folder / name, lambda values: values, crs="EPSG:32632")


def strip(folder):
    with rasterio.open(folder / "class.tif") as source:
        profile = source.profile | {"driver": "GTiff", "tiled": False}
        values = source.read(1)
        del profile["blockxsize"], profile["blockysize"]
    with rasterio.open(folder / "class.tif", "w", **profile) as target:
        target.write(values, 1)


def redraw(folder):
    rewrite(folder / "class.tif", lambda values: np.where(values == 255, 0, 3).astype(np.uint8))
    write_polygons(folder, ENTRIES, config=PolygonConfig(minimum_area=0))
    polygons = (folder / "polygons.gpkg").read_bytes()
    rewrite(folder / "class.tif", lambda values: np.where(np.arange(560) < 9, 255, 0 * values).astype(np.uint8))
    (folder / "polygons.gpkg").write_bytes(polygons)


DAMAGE = {
    "a byte flipped": (flip, "class.tif: has changed since the map was made"),
    "a layer cut short": (truncate, "likelihood.tif: has changed since"),
    "a layer cut short, its pixels": (truncate, "truncated or damaged"),
    "a layer deleted": (lambda folder: (folder / "likelihood.tif").unlink(), "is listed in item.json but missing"),
    "a layer that is no raster": (lambda folder: (folder / "class.tif").write_text("no"), "is no raster"),
    "a file added": (lambda folder: (folder / "notes.txt").write_text("x"), "notes.txt: is not listed in item.json"),
    "no item": (lambda folder: (folder / "item.json").unlink(), "item.json: is missing"),
    "a damaged item": (lambda folder: (folder / "item.json").write_text("[]"), "item.json: is damaged"),
    "a damaged summary": (lambda folder: (folder / "summary.json").write_text("{"), "summary.json: is missing or dam"),
    "a missing record": (lambda folder: (folder / "record.json").unlink(), "record.json: is missing or damaged"),
    "a count": (edit("summary.json", "pixels", "water", to=5), "summary.json: says 5 pixels of water"),
    "an area": (edit("summary.json", "area_m2", "water", to=1e6), "summary.json: says 1000000.0 m² of water"),
    "an unknown task": (edit("summary.json", "task", to="lava"), "the task lava is not known"),
    "another shape": (edit("record.json", "grid", "shape", to=[5, 5]), "700×560 pixels, but record.json says [5, 5]"),
    "another place": (edit("record.json", "grid", "transform", to=[1, 0, 0, 0, 1, 0]), "lies elsewhere than record"),
    "a code that means nothing": (repaint("class.tif", 3, 77), "class.tif: holds codes that mean nothing: 77"),
    "seen in one layer only": (repaint("likelihood.tif", 3, 255), "1 pixels are observed in one layer and not in the"),
    "more than certain": (repaint("likelihood.tif", 3, 101), "1 pixels are above 100 %"),
    "one class for another": (repaint("class.tif", 3, 4), "pixels of uncertain, class.tif has"),
    "a layer moved": (move, "likelihood.tif: lies on another grid than class.tif"),
    "another CRS": (move_both, "class.tif: is in EPSG:32632, but record.json says EPSG:32631"),
    "a layer in strips": (strip, "class.tif: is not tiled"),
    "a layer without overviews": (strip, "class.tif: has no overviews"),
    "polygons of another map": (redraw, "polygons.gpkg: observed_event covers more than class.tif has of water"),
    "a footprint of another map": (redraw, "polygons.gpkg: its footprint is not what was observed"),
    "damaged polygons": (lambda folder: (folder / "polygons.gpkg").write_text("x"), "polygons.gpkg: is damaged"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_found(product, damage, message):
    damage(product)
    findings = verify_product(product)
    assert not findings.sound
    assert any(message in problem for problem in findings.problems), findings.problems
    assert not any("\n" in problem for problem in findings.problems)


def test_the_command_says_what_is_wrong(product):
    result = CliRunner().invoke(app, [str(product), "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["sound"] is True
    flip(product)
    result = CliRunner().invoke(app, [str(product), "--json"])
    assert result.exit_code == 1
    assert "class.tif: has changed since the map was made" in json.loads(result.stdout)["problems"]
    result = CliRunner().invoke(app, [str(product)])
    assert result.exit_code == 1
    assert "class.tif: has changed" in result.stdout
    with pytest.raises(ProductError, match="is no product"):
        verify_product(product.parent)


def test_the_layout_is_judged_as_another_validator_judges_it(sound, tmp_path):
    validator = pytest.importorskip("rio_cogeo")
    random = np.random.default_rng(0).integers(0, 9, (900, 1100)).astype(np.uint8)
    plain, tiled, late = tmp_path / "plain.tif", tmp_path / "tiled.tif", tmp_path / "late.tif"
    write_raster(tiled, random, GRID)
    shutil.copy(tiled, late)
    with rasterio.open(late, "r+") as target:
        target.build_overviews([2, 4], Resampling.nearest)
    rasterio.shutil.copy(tiled, plain, driver="GTiff", tiled=False)
    rasterio.shutil.copy(tiled, tmp_path / "good.tif", driver="COG")
    rasterio.shutil.copy(sound / "class.tif", tmp_path / "image.png", driver="PNG")
    write_raster(tmp_path / "small.tif", random[:100, :100], GRID)
    files = [plain, tiled, late, tmp_path / "good.tif", tmp_path / "small.tif", sound / "class.tif"]
    verdicts = {}
    for path in files:
        valid, errors, warnings = validator.cog_validate(path, strict=True, quiet=True)
        verdicts[path.name] = valid
        assert (layout_problems(path) == []) == valid, (path, errors, warnings)
    assert set(verdicts.values()) == {True, False}
    assert "is a PNG file" in layout_problems(tmp_path / "image.png")[0]
