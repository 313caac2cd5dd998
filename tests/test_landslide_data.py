"""Landslide data in their published layouts: what is read is what was written, and places are never divided."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landslide_layouts import CubeSpec, write_cube, write_landslide4sense, write_pictures
from undercast.datasets import L4sRgb, Landslide4Sense, LandslideCubes, open_dataset
from undercast.datasets.balance import deal, draw_balanced
from undercast.datasets.choose import ChipChoice
from undercast.datasets.cube import Cube
from undercast.datasets.landslide_cubes import CubeConfig
from undercast.datasets.split import check_disjoint, select
from undercast.errors import ConfigError, InputError
from undercast.raster import Window
from undercast.task import LANDSLIDE

SHARED = Path(__file__).parents[2] / "shared" / "data"
SMALL = CubeConfig(size=16, block=2)


def decibel(power):
    with np.errstate(divide="ignore"):
        return 10 * np.log10(np.maximum(power, 1e-5))


# --- balance ----------------------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(
    weights=st.dictionaries(st.text("abcdef", min_size=1, max_size=4), st.integers(0, 20), min_size=1, max_size=40),
    seed=st.integers(0, 9),
)
def test_every_place_is_dealt_once_and_shares_are_kept_to_one_place(weights, seed):
    shares = {"train": 0.6, "test": 0.4}
    parts = deal(weights, shares, seed)
    assert parts.keys() == weights.keys()
    assert parts == deal(dict(reversed(weights.items())), shares, seed)
    heaviest, total = max(weights.values()), sum(weights.values())
    for part, share in shares.items():
        held = sum(weight for place, weight in weights.items() if parts[place] == part)
        assert abs(held - share * total) <= heaviest


@given(positive=st.integers(0, 30), negative=st.integers(0, 30), seed=st.integers(0, 5))
def test_a_balanced_draw_has_as_many_of_both_and_only_sound_ones(positive, negative, seed):
    drawn = draw_balanced(range(positive), range(100, 100 + negative), seed, sound=lambda item: item % 3 > 0)
    kept = [item for item in drawn if item < 100]
    assert kept == [item for item in range(positive) if item % 3]
    able = sum(item % 3 > 0 for item in range(100, 100 + negative))
    assert len(drawn) - len(kept) == min(len(kept), able)
    assert all(item % 3 for item in drawn)


# --- cubes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("order", [("x", "y", "timestep"), ("timestep", "y", "x")])
@pytest.mark.parametrize("upward", [False, True])
def test_a_cube_is_read_by_the_names_of_its_dimensions(tmp_path, order, zarr_format, upward):
    spec = CubeSpec(order=order, zarr_format=zarr_format, upward=upward)
    truth = write_cube(tmp_path / "hokkaido_japan.zarr", spec)
    cube = Cube(tmp_path / "hokkaido_japan.zarr", "landslides")
    assert cube.shape == (48, 80)
    assert cube.dates("timestep") == list(truth.days)
    window = Window(5, 16, 20, 33)
    for number in range(len(truth.days)):
        expected = truth.power["vh"][number][window.slices()]
        assert np.array_equal(cube.read("vh", window, timestep=number), expected, equal_nan=True)
    assert np.array_equal(cube.read("dem", window), truth.dem[window.slices()])


@pytest.mark.parametrize("passes", [1, 2])
def test_chips_hold_the_passes_next_to_the_event_in_decibel(tmp_path, passes):
    truth = write_cube(tmp_path / "hokkaido_japan.zarr")
    source = LandslideCubes(tmp_path, config=CubeConfig(size=16, block=2, passes=passes, balanced=False))
    assert set(source.modalities) == {"s1_pre", "s1_post", "coherence", "dem", "slope"}
    # the first pass after the event is descending (20180911); the ascending 20180905 before it does not count
    chosen = {"s1_pre": ("20180830", "20180818")[:passes], "s1_post": ("20180911", "20180923")[:passes]}
    assert len(source) == 15
    for number, info in enumerate(source.index):
        chip = source[number]
        row, col = (int(part) * 16 for part in info.key.rpartition("hokkaido-")[2].split("-"))
        where = (slice(row, row + 16), slice(col, col + 16))
        for role, days in chosen.items():
            power = np.stack([truth.mean_power(band, days)[where] for band in ("vv", "vh")])
            assert np.allclose(chip.images[role], decibel(power), atol=1e-3, equal_nan=True)
        assert np.array_equal(chip.targets["landslide"], truth.landslides[where] > 0)
        assert np.allclose(chip.images["slope"][0], np.degrees(truth.slope[where]), atol=1e-4)
        before, across = (truth.coherence[name][where] for name in ("20180818_20180830", "20180830_20180911"))
        assert np.array_equal(chip.images["coherence"], np.stack([before, across]))


def test_a_spec_tells_how_many_passes_are_averaged(tmp_path):
    write_cube(tmp_path / "hokkaido_japan.zarr")
    source = open_dataset(f"{tmp_path}@2")
    assert isinstance(source, LandslideCubes)
    assert source.config.passes == 2
    assert source.only(("s1_pre",)).config.passes == 2
    with pytest.raises(InputError, match="9 are asked for"):
        open_dataset(f"{tmp_path}@9")


def test_what_no_pass_saw_and_undeclared_zeros_are_not_observed(tmp_path):
    truth = write_cube(tmp_path / "hokkaido_japan.zarr", CubeSpec(unseen_columns=6))
    source = LandslideCubes(tmp_path, ("s1_pre", "s1_post"), CubeConfig(size=16, block=2, balanced=False))
    chip = source[[info.key for info in source.index].index("hokkaido-000-000")]
    assert set(chip.images) == {"s1_pre", "s1_post"}
    # columns 0 to 2 are NaN, 3 to 5 zero in both bands, in every pass
    assert np.isnan(chip.images["s1_post"][:, :, :6]).all()
    assert np.isfinite(chip.images["s1_post"][:, :, 6:]).all()
    assert truth.power["vv"][0, 0, 4] == 0
    narrow = CubeConfig(size=16, block=2, balanced=False, minimum_seen=0.9)
    assert "hokkaido-000-000" not in {info.key for info in LandslideCubes(tmp_path, config=narrow).index}


def test_splits_divide_no_place_and_are_balanced(tmp_path):
    spec = CubeSpec(rows=160, cols=256, landslides=30)
    for name in ("hokkaido_japan", "kaikoura_newzealand"):
        write_cube(tmp_path / f"{name}.zarr", spec)
    source = open_dataset(tmp_path)
    assert isinstance(source, LandslideCubes)
    source = LandslideCubes(tmp_path, ("s1_post",), SMALL)
    parts = {name: select(source, split=name) for name in ("pretrain", "train", "valid", "test")}
    assert {info.event for info in source.index} == {"hokkaido", "kaikoura"}
    for name, part in parts.items():
        held = [bool(part[number].targets["landslide"].any()) for number in range(len(part))]
        assert sum(held) == len(held) - sum(held) > 0
        for other, rest in parts.items():
            if other != name:
                check_disjoint(part, rest, by=("place",))
    again = LandslideCubes(tmp_path, ("s1_post",), SMALL)
    assert list(again.index) == list(source.index)


def test_a_recipe_reads_only_the_roles_it_takes(tmp_path):
    write_cube(tmp_path / "hokkaido_japan.zarr", CubeSpec(rows=1024, cols=512, landslides=12))
    chosen = ChipChoice(source=str(tmp_path), split="pretrain").open(("s1_pre", "s1_post"), ("landslide",))
    assert set(chosen.modalities) == set(chosen[0].images) == {"s1_pre", "s1_post"}
    assert {info.split for info in chosen.index} == {"pretrain"}


def test_no_chip_over_the_sea_is_drawn_as_free_of_landslides(tmp_path):
    truth = write_cube(tmp_path / "hokkaido_japan.zarr", CubeSpec(rows=96, cols=96, sea_rows=40))
    source = LandslideCubes(tmp_path, ("s1_post", "dem"), SMALL)
    assert (truth.dem[:40] <= 0).all()
    for number in range(len(source)):
        chip = source[number]
        assert chip.targets["landslide"].any() or (chip.images["dem"] > 0).all()


def test_cubes_that_do_not_fit_are_refused_by_name(tmp_path):
    write_cube(tmp_path / "one" / "hokkaido_japan.zarr")
    with pytest.raises(InputError, match=r"has 2 passes up to 20180905 and 2 from 20180907 .* 9 are asked for"):
        LandslideCubes(tmp_path / "one", config=CubeConfig(passes=9, orbit="descending"))
    with pytest.raises(InputError, match="no role 's2'"):
        LandslideCubes(tmp_path / "one", ("s2",))
    with pytest.raises(InputError, match="hold no chip of 128"):
        len(LandslideCubes(tmp_path / "one"))
    with pytest.raises(InputError, match=r"unpack the \.zip"):
        LandslideCubes(tmp_path / "none")
    write_cube(tmp_path / "two" / "atlantis.zarr")
    with pytest.raises(InputError, match="unknown event"):
        open_dataset(tmp_path / "two")
    write_cube(tmp_path / "three" / "kaikoura_newzealand.zarr", CubeSpec(without=("vh",)))
    with pytest.raises(InputError, match="has no variable 'vh'"):
        LandslideCubes(tmp_path / "three", config=SMALL)[0]


@pytest.mark.parametrize(("module", "layout"), [("zarr", "cube"), ("h5py", "l4s")])
def test_without_the_extra_the_error_says_what_to_install(tmp_path, monkeypatch, module, layout):
    if layout == "cube":
        write_cube(tmp_path / "hokkaido_japan.zarr")
    else:
        write_landslide4sense(tmp_path)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=r"undercast\[cubes\]"):
        open_dataset(tmp_path)[0]


# --- Landslide4Sense --------------------------------------------------------------------------------------------------


def test_landslide4sense_is_read_as_published(tmp_path):
    images, masks = write_landslide4sense(tmp_path)
    source = open_dataset(tmp_path)
    assert isinstance(source, Landslide4Sense)
    assert source.task == LANDSLIDE
    assert [(info.key, info.split, info.place) for info in source.index] == [
        ("train-0002", "train", "train-0000"),
        ("train-0051", "train", "train-0050"),
        ("test-0001", "test", "test-0000"),
    ]
    for number, info in enumerate(source.index):
        chip, image = source[number], images[info.key]
        assert np.array_equal(chip.images["s2"], np.moveaxis(image, 2, 0)[:12], equal_nan=True)
        assert np.array_equal(chip.images["slope"][0], image[:, :, 12])
        assert np.array_equal(chip.images["dem"][0], image[:, :, 13])
        if info.key in masks:
            assert np.array_equal(chip.targets["landslide"], masks[info.key])
    assert source[2].targets == {}


def test_a_damaged_file_of_landslide4sense_is_named(tmp_path):
    write_landslide4sense(tmp_path)
    (tmp_path / "TrainData/img/image_2.h5").write_bytes(b"no HDF5")
    with pytest.raises(InputError, match=r"image_2\.h5: is no HDF5 file"):
        open_dataset(tmp_path)[0]


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_quarters_of_a_picture_stay_together(tmp_path):
    numbers = [*range(1, 400, 7), *range(2250, 2280, 3)]
    masks = write_pictures(tmp_path, numbers)
    source = open_dataset(tmp_path)
    assert isinstance(source, L4sRgb)
    by_number: dict[str, set[str]] = {}
    for number, info in enumerate(source.index):
        assert info.split
        by_number.setdefault(info.key[:4], set()).add(info.split)
        if number % 29 == 0:
            chip = source[number]
            picture, row, col = (int(part) for part in info.key.split("-"))
            assert chip.images["rgb"].shape == (3, 64, 64)
            assert np.array_equal(chip.targets["landslide"], masks[picture][row : row + 64, col : col + 64])
            # the pictures are written so that their red is their number
            assert np.allclose(chip.images["rgb"][0] * 255, picture % 256)
    assert all(len(splits) == 1 for splits in by_number.values())
    assert {key for key, splits in by_number.items() if "other" in splits} <= {f"{n:04d}" for n in range(2250, 2600)}
    names = {info.split for info in source.index}
    assert "other" in names
    for name in names:
        part = select(source, split=name)
        held = sum(bool(part[number].targets["landslide"].any()) for number in range(len(part)))
        assert 2 * held == len(part)
        for rest in names - {name}:
            check_disjoint(part, select(source, split=rest), by=("place",))


def test_a_number_given_twice_is_refused(tmp_path):
    write_pictures(tmp_path, [3])
    (tmp_path / "validation/images").mkdir(parents=True)
    (tmp_path / "validation/images/image_3.png").write_bytes((tmp_path / "train/images/image_3.png").read_bytes())
    with pytest.raises(InputError, match="number 3 is there twice"):
        L4sRgb(tmp_path)


def test_the_shared_pictures_are_read():
    if not (SHARED / "landslide/l4s_rgb").is_dir():
        pytest.skip("shared data absent")
    source = open_dataset(SHARED / "landslide/l4s_rgb")
    counts = {name: len(select(source, split=name)) for name in ("pretrain", "train", "valid", "test", "other")}
    assert counts["train"] >= 2 * 110
    assert sum(counts.values()) == len(source)
    red_less_green = []
    for split in ("other", "test"):
        part = select(source, split=split)
        images = [part[number].images["rgb"] for number in range(0, len(part), len(part) // 40)]
        red_less_green.append(255 * float(np.median([image[0].mean() - image[1].mean() for image in images])))
    assert red_less_green[0] > 8 > 0 > red_less_green[1]
