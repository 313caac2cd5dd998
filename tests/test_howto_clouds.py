"""The how-to pages do what they say, on tiny copies of the data they speak of."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from undercast.cli.main import app
from undercast.datasets import SimulatedChips
from undercast.raster import write_raster

ROOT = Path(__file__).parents[1]
UTM = ("EPSG:32736", (10.0, 0.0, 500000.0, 0.0, -10.0, 9000000.0))
BANDS = ("B02", "B03", "B04", "B08")
# A minute's work instead of a week's.
TINY = (
    "place.accelerator=cpu place.threads=1 place.precision=32-true teacher.folds=2 teacher.members=1 teacher.views=1 "
    "teacher.planner.memory_gib=0.02 teacher.planner.base=4 teacher.planner.max_channels=8 teacher.fit.steps=3 "
    "student.network.body.base=4 student.network.body.stages=2 student.fit.steps=80 student.fit.batch=4 "
    "student.fit.learning_rate=0.01 student.augment.crop=32"
)


def commands(page: str) -> list[list[str]]:
    """The undercast commands of a page, each as words."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/how-to" / page).read_text("utf-8"), re.DOTALL)
    return [shlex.split(line)[1:] for block in blocks for line in block.splitlines() if line.startswith("undercast ")]


def write_chips(root: Path) -> None:
    """Eight simulated chips of four places and a strip, as On Cloud N lays them out."""
    chips = SimulatedChips(77, 9, 64, "clouds", roles=("s2",), targets=("clouds",))
    chosen = chips.modalities["s2"].index(BANDS)
    rows = ["chip_id,location,datetime"]
    (root / "train_labels").mkdir(parents=True)
    strip = []
    for number in range(9):
        chip, name = chips[number], f"c{number}"
        counts = np.rint(np.nan_to_num(chip.images["s2"][chosen]) * 10000).astype(np.uint16)
        strip.append(counts)
        part = "test" if number == 8 else "train"
        (root / f"{part}_features/{name}").mkdir(parents=True)
        for band, values in zip(BANDS, counts, strict=True):
            tags = {"TIFFTAG_DATETIME": "2020-04-29T08:20:47Z"}
            write_raster(root / f"{part}_features/{name}/{band}.tif", values, UTM, nodata=0, tags=tags)
        if part == "train":
            write_raster(root / f"train_labels/{name}.tif", (chip.targets["clouds"] == 1).astype(np.uint8), UTM)
            rows.append(f"{name},place {number // 2},2020-04-29T08:20:47Z")
    (root / "train_metadata.csv").write_text("\n".join(rows) + "\n")
    tags = {"TIFFTAG_DATETIME": "2020-04-29T08:20:47Z"}
    write_raster(root.parent / "strip.tif", np.concatenate(strip, axis=1), UTM, nodata=0, descriptions=BANDS, tags=tags)


@pytest.mark.slow
def test_clouds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    write_chips(tmp_path / "on_cloud_n")
    told = commands("clouds.md")
    assert [words[0] for words in told] == ["train", "evaluate", "export", "map", "stream"]
    output = ""
    for words in told:
        tiny = [word for setting in TINY.split() for word in ("--set", setting)] if words[0] == "train" else []
        result = CliRunner().invoke(app, [*words, *tiny], catch_exceptions=False)
        assert result.exit_code == 0, (words, result.output)
        output = result.stdout
    assert (tmp_path / "runs/clouds/plan.json").is_file()
    assert (tmp_path / "runs/clouds/student/model.int8.onnx").stat().st_size < 300_000
    assert len((tmp_path / "runs/report/worst.csv").read_text().splitlines()) == 3
    assert (tmp_path / "maps/c8/class.tif").is_file()
    stated, *frames = [json.loads(line) for line in output.splitlines()]
    assert stated["model"] == "clouds-on-cloud-n"
    assert [frame["lines"] for frame in frames] == [64] * 9
    shown = json.loads(re.findall(r"```json\n(.*?)```", (ROOT / "docs/how-to/clouds.md").read_text(), re.DOTALL)[0])
    assert shown.keys() == frames[0].keys()
