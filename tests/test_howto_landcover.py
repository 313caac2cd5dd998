"""Every command of the how-to of land cover runs, in its order, and what it says of the product is so."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import rasterio

from test_landcover_data import write_terramesh
from undercast.cli.main import app
from undercast.model import installed
from undercast.product.verify import verify_product

ROOT = Path(__file__).parents[1]
NAME = "landcover-s1s2"


def commands() -> list[list[str]]:
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/how-to/landcover.md").read_text("utf-8"), re.DOTALL)
    lines = [shlex.split(line) for block in blocks for line in block.splitlines()]
    assert all(words[0] == "undercast" for words in lines)
    return [words[1:] for words in lines]


@pytest.mark.slow
def test_every_command_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    write_terramesh(tmp_path / "data/terramesh", "282D_485L_3_3", 1000)
    told = commands()
    assert {words[0] for words in told} == {"simulate", "map", "show", "verify", "evaluate", "train"}
    # trained first, once: where no model ships under that name the trained one stands in for it
    train = next(words for words in told if words[0] == "train")
    assert app(train, standalone_mode=False) in (0, None)
    if NAME not in {model.path.name for model in installed()}:
        (tmp_path / NAME).symlink_to(tmp_path / train[-1] / "student")
    for words in told:
        assert words == train or app(words, standalone_mode=False) in (0, None), words
    for name in ("cover", "cover-radar", "cover-optical", "cover-careful"):
        assert verify_product(tmp_path / name).problems == []
    assert (read(tmp_path / "cover/inputs.tif") == 3).any()
    assert set(np.unique(read(tmp_path / "cover-radar/inputs.tif"))) <= {2, 255}
    assert not (tmp_path / "cover-radar/restored.tif").exists()
    careful, bold = (read(tmp_path / name / "class.tif") == 253 for name in ("cover-careful", "cover-optical"))
    assert careful.sum() >= bold.sum()


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as source:
        return source.read(1)
