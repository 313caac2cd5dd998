"""What a data set holds, and what its splits share."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from undercast.bands import S1
from undercast.chip import Chip, ChipInfo
from undercast.cli.data import data
from undercast.datasets.audit import balance, leaks
from undercast.task import FLOOD, NODATA


class Listed:
    """Chips whose label is known by their number."""

    task = FLOOD
    modalities = {"s1": S1}  # noqa: RUF012

    def __init__(self, index: list[ChipInfo], labelled: bool = True) -> None:
        self.index, self.labelled = index, labelled

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, number: int) -> Chip:
        label = np.random.default_rng(number).choice(np.array([0, 1, NODATA], np.uint8), (6, 5))
        targets = {"flood": label} if self.labelled else {}
        return Chip(self.index[number].key, {"s1": np.zeros((2, 6, 5), np.float32)}, targets)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(["train", "test", ""]), st.sampled_from("ABC")), min_size=1, max_size=9))
def test_every_pixel_is_counted_once_in_its_split(rows: list[tuple[str, str]]):
    source = Listed([ChipInfo(str(n), event=event, split=split) for n, (split, event) in enumerate(rows)])
    found = {part.split: part for part in balance(source)}
    assert list(found) == list(dict.fromkeys(split for split, _ in rows))
    for split, part in found.items():
        mine = [source[n].targets["flood"] for n, (other, _) in enumerate(rows) if other == split]
        assert part.chips == len(mine)
        assert part.events == len({event for other, event in rows if other == split})
        assert part.pixels == {"dry": sum((m == 0).sum() for m in mine), "water": sum((m == 1).sum() for m in mine)}
        assert part.unlabelled == sum((m == NODATA).sum() for m in mine)
        assert sum(part.shares.values()) == pytest.approx(1)


def test_a_chip_without_the_label_is_unlabelled():
    (part,) = balance(Listed([ChipInfo("a")], labelled=False))
    assert (part.unlabelled, sum(part.pixels.values())) == (30, 0)
    assert part.shares == {"dry": 0, "water": 0}


def test_what_splits_share_is_named_and_nothing_else():
    index = [
        ChipInfo("a", "India", "p1", "train"),
        ChipInfo("b", "Ghana", "p2", "train"),
        ChipInfo("c", "India", "p3", "test"),
        ChipInfo("d", "Peru", "p2", "valid"),
        ChipInfo("a", "", "", "valid"),
    ]
    found = {(leak.first, leak.second, leak.by): leak.names for leak in leaks(Listed(index))}
    assert found == {
        ("train", "test", "event"): ("India",),
        ("train", "valid", "place"): ("p2",),
        ("train", "valid", "key"): ("a",),
    }
    assert "train and test share the event India" in [str(leak) for leak in leaks(Listed(index))]


def test_the_check_is_printed_and_is_json(tmp_path: Path):
    told = CliRunner().invoke(data, ["check", "simulated:1+2@64", "--json"], catch_exceptions=False)
    answer = json.loads(told.stdout)
    assert answer["shared"] == []
    (split,) = answer["splits"]
    assert (split["split"], split["chips"], split["events"]) == ("simulated", 2, 2)
    assert split["unlabelled"] + sum(split["pixels"].values()) == 2 * 64 * 64
    shown = CliRunner().invoke(data, ["check", "simulated:1+2@64"], catch_exceptions=False).stdout
    assert "simulated" in shown
    assert "No two splits share" in shown
