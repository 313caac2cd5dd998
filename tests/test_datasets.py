"""Layouts on disk and simulated chips: what is read is what was written, and splits keep places and events apart."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undercast.bands import S1, S2_L1C
from undercast.chip import Chip, ChipInfo
from undercast.config import dump_toml
from undercast.datasets import FolderChips, Ombria, Sen1Floods11, SimulatedChips, open_dataset
from undercast.datasets.folder import DatasetConfig
from undercast.datasets.join import Joined
from undercast.datasets.split import (
    Subset,
    check_disjoint,
    folds,
    labelled,
    leave_one_event_out,
    partition,
    select,
    without,
)
from undercast.errors import ConfigError, InputError
from undercast.raster import write_raster
from undercast.task import FLOOD, NODATA

SHARED = Path(__file__).parents[2] / "shared" / "data"
UTM = ("EPSG:32631", (10.0, 0.0, 500000.0, 0.0, -10.0, 4900000.0))
DEGREES = ("EPSG:4326", (1e-4, 0.0, 10.0, 0.0, -1e-4, 45.0))


class Listed:
    """Chips that are only known by their index."""

    task = FLOOD
    modalities = {"s1": S1}  # noqa: RUF012

    def __init__(self, index: list[ChipInfo]) -> None:
        self.index = index

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, number: int) -> Chip:
        return Chip(self.index[number].key, {"s1": np.full((2, 4, 4), number, np.float32)})


def listed(events: int, places: int, chips: int) -> Listed:
    """Events of so many places of so many chips."""
    return Listed(
        [
            ChipInfo(f"{e}-{p}-{c}", event=f"event{e}", place=f"event{e}-place{p}", split="train" if e else "test")
            for e in range(events)
            for p in range(places)
            for c in range(chips)
        ]
    )


# --- splits -----------------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(events=st.integers(2, 6), places=st.integers(1, 4), chips=st.integers(1, 3), seed=st.integers(0, 99))
def test_a_partition_covers_every_chip_once_and_shares_no_event(events, places, chips, seed):
    source = listed(events, places, chips)
    train, held = partition(source, 0.3, seed=seed, by="event")
    assert sorted((*train.numbers, *held.numbers)) == list(range(len(source)))
    assert len(train) >= 1
    assert len(held) >= 1
    check_disjoint(train, held)


@settings(max_examples=40)
@given(places=st.integers(2, 6), chips=st.integers(1, 3), count=st.integers(2, 6), seed=st.integers(0, 99))
def test_folds_hold_every_chip_out_once_and_share_no_place(places, chips, count, seed):
    source = listed(1, places, chips)
    if count > places:
        with pytest.raises(InputError, match="cannot be cut"):
            folds(source, count, seed=seed)
        return
    cut = folds(source, count, seed=seed)
    assert sorted(number for _, held in cut for number in held.numbers) == list(range(len(source)))
    for train, held in cut:
        assert len(train) + len(held) == len(source)
        check_disjoint(train, held, by=("place",))
    assert max(len(held) for _, held in cut) - min(len(held) for _, held in cut) <= chips


@settings(max_examples=40)
@given(seed=st.integers(0, 99), few=st.integers(1, 11), more=st.integers(0, 12))
def test_more_labels_hold_the_fewer(seed, few, more):
    source = listed(3, 2, 4)
    count = min(few + more, len(source))
    assert set(labelled(source, count=few, seed=seed).numbers) <= set(labelled(source, count=count, seed=seed).numbers)
    assert len(labelled(source, count=few, seed=seed)) == few


def test_a_fraction_of_labels_is_at_least_one_chip():
    source = listed(1, 1, 10)
    assert len(labelled(source, fraction=0.01)) == 1
    assert len(labelled(source, fraction=0.5)) == 5


@pytest.mark.parametrize("wrong", [{}, {"count": 1, "fraction": 0.5}, {"count": 99}, {"fraction": 1.5}])
def test_labels_that_cannot_be_drawn_are_refused(wrong):
    with pytest.raises(InputError):
        labelled(listed(1, 1, 4), **wrong)


def test_each_event_is_left_out_once():
    source = listed(4, 2, 2)
    rounds = list(leave_one_event_out(source))
    assert [event for event, _, _ in rounds] == ["event0", "event1", "event2", "event3"]
    for event, train, test in rounds:
        assert {info.event for info in test.index} == {event}
        assert len(train) + len(test) == len(source)
        check_disjoint(train, test)


def test_a_subset_gives_the_chips_of_its_numbers():
    source = select(listed(3, 2, 2), event=["event1", "event2"], split="train")
    assert [source[number].key for number in range(len(source))] == [info.key for info in source.index]
    assert len(without(source, event="event1")) == 4


def test_unknown_names_are_refused_with_the_names_there_are():
    source = listed(2, 1, 1)
    with pytest.raises(InputError, match=r"no chip has event 'Bolivia'; there are event0, event1"):
        select(source, event="Bolivia")
    with pytest.raises(InputError, match="without event0, event1 no chip is left"):
        without(source, event=["event0", "event1"])
    with pytest.raises(InputError, match="no chip has"):
        select(source, event="event0", split="train")


def test_a_shared_place_is_refused_even_if_the_events_differ():
    one = Listed([ChipInfo("a", event="2019", place="Beira")])
    other = Listed([ChipInfo("b", event="2021", place="Beira")])
    with pytest.raises(InputError, match="place 'Beira' is in training and in test"):
        check_disjoint(one, other)


def test_chips_of_unknown_origin_cannot_be_kept_apart():
    with pytest.raises(InputError, match="chip x: event and place unknown"):
        check_disjoint(Listed([ChipInfo("x")]), Listed([ChipInfo("y", event="e")]))
    with pytest.raises(InputError, match="event unknown"):
        partition(Listed([ChipInfo("x"), ChipInfo("y", event="e")]), 0.5, seed=0)


# --- simulated --------------------------------------------------------------------------------------------------------


def equal(one: Chip, other: Chip) -> bool:
    same = one.images.keys() == other.images.keys() and one.targets.keys() == other.targets.keys()
    return (
        same
        and all(np.array_equal(one.images[role], other.images[role], equal_nan=True) for role in one.images)
        and all(np.array_equal(one.targets[name], other.targets[name]) for name in one.targets)
        and (one.key, one.event, one.place) == (other.key, other.event, other.place)
    )


def test_a_cache_changes_no_chip(tmp_path):
    plain = SimulatedChips(7, 3, 64, roles=("s1", "s2", "dem"), targets=("flood", "flood_weak", "cloud"))
    cached = replace(plain, cache=tmp_path)
    for number in range(3):
        written, read = cached[number], cached[number]
        assert equal(plain[number], written)
        assert equal(written, read)
    assert len(list(tmp_path.rglob("*.npz"))) == 3


def test_filling_over_processes_makes_the_same_chips(tmp_path):
    source = SimulatedChips(0, 6, 32, roles=("s1",), targets=("flood",), cache=tmp_path)
    told: list[int] = []
    source.fill(workers=2, progress=told.append)
    assert told == [0, 1, 2, 3, 4, 5, 6]
    assert len(list(tmp_path.rglob("*.npz"))) == 6
    assert equal(source[4], replace(source, cache=None)[4])


def test_a_chip_follows_its_seed_whatever_the_range():
    assert equal(SimulatedChips(3, 5, 32)[2], SimulatedChips(5, 1, 32)[0])


def test_simulated_chips_are_places_and_events_of_their_own():
    check_disjoint(SimulatedChips(0, 50), SimulatedChips(50, 50))
    with pytest.raises(InputError, match="event 'simulated-00000049'"):
        check_disjoint(SimulatedChips(0, 50), SimulatedChips(49, 3))


def test_a_spec_opens_simulated_chips(tmp_path):
    source = open_dataset("simulated:1000+20@32", roles=("s1",), cache=tmp_path)
    assert (len(source), source.index[0].key, source[0].shape) == (20, "simulated-00001000", (32, 32))
    assert open_dataset("simulated:clouds:7+2@32")[0].targets.keys() == {"clouds"}
    for wrong in ("simulated:", "simulated:3", "simulated:3+x", "simulated:-1+3"):
        with pytest.raises(InputError, match="FIRST_SEED"):
            open_dataset(wrong)
    with pytest.raises(InputError, match="role"):
        SimulatedChips(0, 1, roles=("s3",))
    with pytest.raises(InputError, match="cannot simulate 0 chips"):
        SimulatedChips(0, 0)


# --- Sen1Floods11 -----------------------------------------------------------------------------------------------------


def write_sen1floods11(root: Path, chips: list[str], optical: list[str], part: str = "Hand") -> dict[str, np.ndarray]:
    """A data set of constructed chips in the official layout; the labels by chip."""
    folder = root / "v1.1" / "data" / "flood_events" / f"{part}{'Labeled' if part == 'Hand' else 'lyLabeled'}"
    label = "LabelHand" if part == "Hand" else "S2IndexLabelWeak"
    for layer in (f"S1{part}", f"S2{part}", label):
        (folder / layer).mkdir(parents=True)
    random = np.random.default_rng(0)
    labels = {}
    for key in chips:
        s1 = random.normal(-15, 3, (2, 32, 32)).astype(np.float32)
        s1[:, :2] = np.nan
        labels[key] = random.integers(-1, 2, (32, 32)).astype(np.int16)
        write_raster(folder / f"S1{part}" / f"{key}_S1{part}.tif", s1, DEGREES)
        write_raster(folder / label / f"{key}_{label}.tif", labels[key], DEGREES)
        if key in optical:
            s2 = random.integers(1, 4000, (13, 32, 32)).astype(np.int16)
            s2[:, 0], s2[10, 1] = 0, 0
            write_raster(folder / f"S2{part}" / f"{key}_S2{part}.tif", s2, DEGREES, nodata=0)
    return labels


def test_sen1floods11_is_read_as_published(tmp_path):
    labels = write_sen1floods11(tmp_path, ["Sri-Lanka_1", "Bolivia_7", "Ghana_3"], optical=["Ghana_3"])
    splits = tmp_path / "v1.1" / "splits" / "flood_handlabeled"
    splits.mkdir(parents=True)
    (splits / "flood_train_data.csv").write_text("Ghana_3_S1Hand.tif,Ghana_3_LabelHand.tif\n")
    (splits / "flood_bolivia_data.csv").write_text("Bolivia_7_S1Hand.tif,Bolivia_7_LabelHand.tif\n")
    source = open_dataset(tmp_path)
    assert isinstance(source, Sen1Floods11)
    assert [(i.key, i.event, i.split) for i in source.index] == [
        ("Bolivia_7", "Bolivia", "bolivia"),
        ("Ghana_3", "Ghana", "train"),
        ("Sri-Lanka_1", "Sri-Lanka", ""),
    ]
    for chip in (source[number] for number in range(3)):
        assert {role: image.shape for role, image in chip.images.items()} == {"s1": (2, 32, 32), "s2": (13, 32, 32)}
        expected = np.where(labels[chip.key] < 0, NODATA, labels[chip.key])
        assert np.array_equal(chip.targets["flood"], expected)
        assert not chip.valid("s1")[:2].any()
        assert chip.valid("s1")[2:].all()
        assert chip.valid("s2").any() == (chip.key == "Ghana_3")
    ghana = source[1].images["s2"]
    assert np.isnan(ghana[:, 0]).all()
    assert (ghana[10, 1] == 0).all()  # a cirrus band of 0 is a reflectance, not a hole
    assert 0 < np.nanmax(ghana) <= 0.4


def test_weak_chips_carry_a_weak_label(tmp_path):
    write_sen1floods11(tmp_path, ["India_1"], optical=["India_1"])
    write_sen1floods11(tmp_path, ["India_2"], optical=["India_2"], part="Weak")
    source = Sen1Floods11(tmp_path / "v1.1", parts=("hand", "weak"))
    assert [(set(source[n].targets), source.index[n].split) for n in (0, 1)] == [
        ({"flood"}, ""),
        ({"flood_weak"}, "weak"),
    ]


def test_parts_of_sen1floods11_are_asked_for_by_name_and_bolivia_stays_apart(tmp_path):
    write_sen1floods11(tmp_path, ["India_1"], optical=["India_1"])
    write_sen1floods11(tmp_path, ["Bolivia_2", "India_2"], optical=["India_2"], part="Weak")
    assert [info.key for info in open_dataset(tmp_path).index] == ["India_1"]
    assert [(i.key, i.split) for i in open_dataset(f"{tmp_path}@weak").index] == [
        ("Bolivia_2", "weak-bolivia"),
        ("India_2", "weak"),
    ]
    assert len(open_dataset(f"{tmp_path}@hand+weak")) == 3
    with pytest.raises(InputError, match="no part 'week'; the parts of Sen1Floods11 are hand, weak"):
        open_dataset(f"{tmp_path}@week")
    with pytest.raises(InputError, match="not laid out as Sen1Floods11"):
        open_dataset(f"{tmp_path / 'nowhere'}@weak")


def test_permanent_water_and_occurrence_are_read_where_they_are(tmp_path):
    labels = write_sen1floods11(tmp_path, ["India_1", "India_2"], optical=[])
    folder = tmp_path / "v1.1/data/flood_events/HandLabeled"
    assert set(open_dataset(tmp_path).modalities) == {"s1", "s2"}
    for layer in ("JRCWaterHand", "OccurrenceHand"):
        (folder / layer).mkdir()
    permanent = np.random.default_rng(3).choice(np.array([0, 1, 255], np.uint8), (32, 32))
    write_raster(folder / "JRCWaterHand/India_1_JRCWaterHand.tif", permanent, DEGREES)
    percent = np.random.default_rng(4).choice(np.array([0, 40, 100, 255], np.uint8), (32, 32))
    write_raster(folder / "OccurrenceHand/India_1_OccurrenceHand.tif", percent, DEGREES)
    first, second = open_dataset(tmp_path)[0], open_dataset(tmp_path)[1]
    assert np.array_equal(first.targets["permanent"], permanent)
    flood = np.where(labels["India_1"] < 0, NODATA, labels["India_1"])
    assert np.array_equal(first.targets["flood_event"], np.where(permanent == 1, NODATA, flood))
    assert set(second.targets) == {"flood"}
    assert np.array_equal(first.images["occurrence"][0], np.where(percent == 255, np.nan, percent), equal_nan=True)
    assert np.isnan(second.images["occurrence"]).all()


def test_sen1floods11_refuses_what_it_is_not(tmp_path):
    with pytest.raises(InputError, match="not laid out"):
        Sen1Floods11(tmp_path)
    write_sen1floods11(tmp_path, ["India_1"], optical=[])
    with pytest.raises(InputError, match="WeaklyLabeled"):
        Sen1Floods11(tmp_path, parts=("weak",))
    label = tmp_path / "v1.1/data/flood_events/HandLabeled/LabelHand/India_1_LabelHand.tif"
    write_raster(label, np.full((32, 32), 7, np.int16), DEGREES)
    with pytest.raises(InputError, match=r"India_1_LabelHand.tif: label holds 7"):
        Sen1Floods11(tmp_path)[0]


def test_the_shared_chips_of_sen1floods11_are_read():
    if not (SHARED / "sen1floods11").is_dir():
        pytest.skip("shared data absent")
    source = open_dataset(SHARED / "sen1floods11")
    by_key = {info.key: number for number, info in enumerate(source.index)}
    spain = source[by_key["Spain_7370579"]]
    assert spain.valid("s2").all()
    assert 0.01 < np.nanmedian(spain.images["s2"]) < 0.5
    assert not source[by_key["Paraguay_34417"]].valid("s1").any()
    assert (source[by_key["Ghana_97059"]].targets["flood"] == NODATA).mean() > 0.85


def test_the_shared_patches_of_ombria_are_read():
    if not (SHARED / "ombria").is_dir():
        pytest.skip("shared data absent")
    source = open_dataset(SHARED / "ombria")
    assert isinstance(source, Ombria)
    assert len(source) == 485
    train, val = select(source, split="train"), select(source, split="val")
    check_disjoint(train, val)
    with (SHARED / "ombria" / "groups.csv").open() as file:
        shares = [float(row["flood_fraction"]) for row in csv.DictReader(file)]
    for number in (0, 200, 484):
        chip = source[number]
        assert {role: image.shape for role, image in chip.images.items()} == {
            **{"s1": (1, 256, 256), "s1_pre": (1, 256, 256)},
            **{"s2": (3, 256, 256), "s2_pre": (3, 256, 256)},
        }
        assert chip.images["s1"].max() == 1
        assert chip.targets["flood"].mean() == pytest.approx(shares[number], abs=1e-4)


# --- folder -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two chips: the first whole, the second with VV and VH in two files, without optical image and label."""
    random = np.random.default_rng(1)
    s1 = random.normal(-14, 3, (2, 20, 24)).astype(np.float32)
    s1[:, 3] = np.nan
    write_raster(tmp_path / "a_s1.tif", s1[::-1], UTM, nodata=np.nan, descriptions=("VH", "VV"))
    write_raster(tmp_path / "b_VV.tif", s1[0], UTM, nodata=np.nan)
    write_raster(tmp_path / "b_VH.tif", s1[1], UTM, nodata=np.nan)
    counts = random.integers(1000, 4000, (13, 20, 24)).astype(np.uint16)
    counts[:, 5] = 0
    write_raster(tmp_path / "a_s2.tif", counts, UTM, nodata=0, descriptions=S2_L1C.bands)
    labels = random.integers(0, 2, (20, 24)).astype(np.uint8)
    labels[0] = 9
    write_raster(tmp_path / "a_flood.tif", labels, UTM, nodata=9)
    (tmp_path / "index.csv").write_text(
        "key,event,place,split,s1,s1:VV,s1:VH,s2,flood\n"
        "a,Ahr 2021,Sinzig,train,a_s1.tif,,,a_s2.tif,a_flood.tif\n"
        "b,Ahr 2021,Remagen,val,,b_VV.tif,b_VH.tif,,\n"
    )
    (tmp_path / "dataset.toml").write_text("[scale]\ns2 = 1e-4\n[offset]\ns2 = -1000\n")
    return tmp_path


def test_a_folder_is_read_by_band_name_and_empty_cells_are_absent(folder):
    source = open_dataset(folder)
    assert [(i.key, i.event, i.place, i.split) for i in source.index] == [
        ("a", "Ahr 2021", "Sinzig", "train"),
        ("b", "Ahr 2021", "Remagen", "val"),
    ]
    a, b = source[0], source[1]
    assert np.array_equal(a.images["s1"], b.images["s1"], equal_nan=True)
    assert np.isnan(a.images["s1"][:, 3]).all()
    assert np.isnan(a.images["s2"][:, 5]).all()
    assert -1e-6 <= np.nanmin(a.images["s2"]) <= np.nanmax(a.images["s2"]) <= 0.3
    assert np.isnan(b.images["s2"]).all()
    assert (a.targets["flood"][0] == NODATA).all()
    assert set(np.unique(a.targets["flood"][1:])) == {0, 1}
    assert b.targets == {}


def edit(folder: Path, old: str, new: str) -> None:
    index = folder / "index.csv"
    index.write_text(index.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("key,", "name,", "has no column key"),
        ("b,Ahr", "a,Ahr", "line 3: key 'a' is given twice"),
        ("b,Ahr", ",Ahr", "line 3: key '' is missing"),
        ("a_s2.tif", "gone.tif", "line 2, column s2: no such file"),
        (",s2,", ",sentinel,", "unknown column 'sentinel'"),
        ("b_VV.tif,b_VH.tif", ",", "line 3: chip b has no image"),
        ("Remagen,val", "Remagen,val,x", "line 3 has more cells"),
    ],
)
def test_a_faulty_index_is_refused_by_line_and_column(folder, old, new, message):
    edit(folder, old, new)
    with pytest.raises(InputError, match=message):
        FolderChips(folder)


def test_counts_given_as_reflectance_are_refused(folder):
    (folder / "dataset.toml").write_text("")
    with pytest.raises(InputError, match=r"row a, column s2: reflectance of .* looks like counts; write \[scale\]"):
        FolderChips(folder)[0]


def test_labels_that_are_no_class_are_refused(folder):
    write_raster(folder / "a_flood.tif", np.full((20, 24), 3, np.uint8), UTM)
    with pytest.raises(InputError, match=r"a_flood.tif: target 'flood' holds 3"):
        FolderChips(folder)[0]
    write_raster(folder / "a_flood.tif", np.zeros((20, 23), np.uint8), UTM)
    with pytest.raises(InputError, match=r"a_flood.tif: target 'flood' is \(20, 23\)"):
        FolderChips(folder)[0]


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ('task = "floods"', InputError, "unknown task 'floods'"),
        ("colour = 1", ConfigError, "unknown key 'colour'"),
        ('[roles]\ns2 = "s9"', InputError, "unknown modality 's9'"),
        ('targets = ["cloud"]', InputError, "no column 'cloud'"),
    ],
)
def test_a_faulty_configuration_is_refused_by_name(folder, config, error, message):
    (folder / "dataset.toml").write_text(config)
    with pytest.raises(error, match=message):
        FolderChips(folder)


def test_a_folder_can_answer_a_task_of_its_own(folder):
    own = FLOOD.model_copy(update={"name": "ponds"})
    edit(folder, ",flood\n", ",ponds\n")
    config = DatasetConfig(task=own, scale={"s2": 1e-4}, offset={"s2": -1000.0})
    (folder / "dataset.toml").write_text(dump_toml(config.model_copy(update={"task": "flood"})))
    with pytest.raises(InputError, match="unknown column 'ponds'"):
        FolderChips(folder)
    classes = '[{ value = 0, name = "dry", color = "#ffffff" }, { value = 1, name = "pond", color = "#0000ff" }]'
    (folder / "dataset.toml").write_text(f'task = {{ name = "ponds", classes = {classes} }}\n[scale]\ns2 = 1e-4\n')
    source = FolderChips(folder)
    assert source.task.classes[1].name == "pond"
    assert set(source[0].targets) == {"ponds"}


def test_layouts_are_told_apart_and_others_refused(folder, tmp_path_factory):
    assert isinstance(open_dataset(folder / "index.csv"), FolderChips)
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(InputError, match=r"sen1floods11, ombria, .*folder"):
        open_dataset(empty)
    shutil.rmtree(empty)
    with pytest.raises(InputError, match="no such folder"):
        open_dataset(empty)


def test_a_subset_is_a_source(folder):
    assert isinstance(Subset(FolderChips(folder), (0,))[0], Chip)


def test_joined_data_sets_are_one_after_the_other_as_often_as_they_are_given() -> None:
    few, more = SimulatedChips(1, 2, 32), SimulatedChips(10, 3, 32)
    joined = Joined((few, more, few), ("s1",))
    assert [info.key for info in joined.index] == [info.key for part in (few, more, few) for info in part.index]
    assert [joined[number].key for number in range(len(joined))] == [info.key for info in joined.index]
    assert set(joined[0].images) == {"s1"}
    with pytest.raises(IndexError):
        joined[len(joined)]
    with pytest.raises(InputError, match="nothing to join"):
        Joined((), ("s1",))
