"""Land-cover data sets: grids that meet at every tenth pixel, labels brought down to six classes, what was not seen."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undercast.bands import S2_L1C
from undercast.datasets import M3RCR, Sen12MSCR, TerraMesh, WhuOptSar, open_dataset
from undercast.datasets.augment import Augmentation
from undercast.datasets.landcover import ESRI, WORLDCOVER, recode
from undercast.datasets.m3rcr import nearest
from undercast.datasets.split import check_disjoint, select
from undercast.datasets.terramesh import offset_of
from undercast.datasets.whu_opt_sar import TEST
from undercast.errors import InputError
from undercast.raster import write_raster
from undercast.task import LANDCOVER, NODATA

SHARED = Path(__file__).parents[2] / "shared" / "data" / "landcover"
FINE = ("EPSG:32631", (3.0, 0.0, 500000.0, 0.0, -3.0, 4900000.0))
COARSE = ("EPSG:32631", (10.0, 0.0, 500000.0, 0.0, -10.0, 4900000.0))


# --- M3R-CR -----------------------------------------------------------------------------------------------------------


def coordinates(side: int) -> np.ndarray:
    """A number for every pixel of a grid, by which it is known again: 1 + row · 90 + column of its 10 m pixel."""
    row, col = np.divmod(np.arange(90 * 90), 90)
    ten = (1 + row * 90 + col).reshape(90, 90)
    return ten if side == 90 else nearest(ten[None].astype(np.float32), (side, side))[0]


def write_patch(root: Path, split: str, season: str, roi: int, number: int) -> list[str]:
    """One chip in the official layout whose pixels tell where they are; returns the row of its list."""

    def path(layer: str, suffix: str = "tif") -> Path:
        name = f"{layer}_{season}_{roi}"
        file = Path(f"{layer}_{season}", name, f"{name}_p_{number}.{suffix}")
        (root / split / file).parent.mkdir(parents=True, exist_ok=True)
        return file

    whole = coordinates(300).astype(np.uint16)
    clear = np.stack([whole, whole, whole, np.full_like(whole, 12000)])
    cloudy = clear.copy()
    mask = np.zeros((300, 300), bool)
    mask[30:90, 100:200] = True
    cloudy[:3, mask] = 9000
    clear[:, 0, 0] = 0
    files = [path("planet_cloudfree"), path("planet_cloudy"), path("S1"), path("landcover"), path("cloudmask", "npy")]
    write_raster(root / split / files[0], clear, FINE)
    write_raster(root / split / files[1], cloudy, FINE)
    ten = coordinates(90).astype(np.float32)
    write_raster(root / split / files[2], np.stack([-ten, -ten - 0.5]), COARSE)
    classes = np.array(sorted(WORLDCOVER), np.uint8)[coordinates(90) % len(WORLDCOVER)]
    write_raster(root / split / files[3], classes, COARSE)
    np.save(root / split / files[4], mask)
    return [str(file) for file in files]


@pytest.fixture(scope="module")
def m3rcr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree in the official layout: two regions that train, one that tests."""
    root = tmp_path_factory.mktemp("m3rcr")
    for split, season, roi, number in (("train", "fall", 1, 457), ("train", "fall", 2, 3), ("test", "summer", 33, 1)):
        write_patch(root, split, season, roi, number)
    return root


def test_a_chip_of_m3rcr_is_what_its_files_say(m3rcr):
    source = open_dataset(m3rcr)
    assert isinstance(source, M3RCR)
    assert [(info.key, info.place, info.split) for info in source.index] == [
        ("summer_33_p_1", "summer_33", "test"),
        ("fall_1_p_457", "fall_1", "train"),
        ("fall_2_p_3", "fall_2", "train"),
    ]
    chip = source[1]
    assert {role: image.shape for role, image in chip.images.items()} == {
        "s2": (4, 300, 300),
        "s2_clear": (4, 300, 300),
        "s1": (2, 300, 300),
    }
    assert {name: target.shape for name, target in chip.targets.items()} == {"landcover": (90, 90), "cloud": (300, 300)}
    assert chip.images["s2_clear"][3, 5, 5] == 1.0  # clipped at 10000 counts
    assert np.isnan(chip.images["s2_clear"][:, 0, 0]).all()
    np.testing.assert_allclose(chip.images["s2"][0, 40, 150], 0.9)
    assert chip.targets["cloud"].sum() == 60 * 100
    check_disjoint(select(source, split="train"), select(source, split="test"))


def test_radar_and_label_lie_under_their_ground_to_the_pixel(m3rcr):
    chip = open_dataset(m3rcr)[1]
    counts = np.rint(chip.images["s2_clear"][0, 1:] * 1e4)
    np.testing.assert_array_equal(-chip.images["s1"][0, 1:], counts)
    # the pixel in the middle of each label pixel is of that label pixel
    middle = (np.arange(90) * 10 + 5) // 3
    np.testing.assert_array_equal(-chip.images["s1"][0][np.ix_(middle, middle)], coordinates(90))


def test_unknown_classes_are_ignored(m3rcr):
    chip = open_dataset(m3rcr)[1]
    raw = np.array(sorted(WORLDCOVER), np.uint8)[coordinates(90) % len(WORLDCOVER)]
    label = chip.targets["landcover"]
    assert set(np.unique(label[np.isin(raw, (0, 70, 95, 100))])) == {NODATA}
    names = {10: "forest", 20: "rangeland", 30: "rangeland", 40: "agriculture", 50: "urban", 60: "barren"}
    for value, name in (names | {80: "water", 90: "water"}).items():
        assert set(np.unique(label[raw == value])) == {LANDCOVER.value_of(name)}


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_crops_start_where_both_grids_meet(m3rcr, seed):
    """[Xu 2024]: windows of 160 optical pixels at multiples of 10, and 48 label pixels over the same ground."""
    source = open_dataset(m3rcr)
    crop = Augmentation.model_validate(
        {"crop": 160, "turns": False, "flips": False, "radar": {"on": False}, "cut_out": {"on": False}}
    ).for_chips(source.modalities, vary=["s1"], keep=["s2_clear"])
    chip = crop(source[1], np.random.default_rng(seed))
    whole = source[1]
    label = chip.targets["landcover"]
    assert label.shape == (48, 48)
    assert chip.images["s1"].shape[1:] == (160, 160) == chip.targets["cloud"].shape
    row, col = np.divmod(int(-chip.images["s1"][0, 0, 0]) - 1, 90)
    assert (row % 3, col % 3) == (0, 0)
    top, left = row * 10 // 3, col * 10 // 3
    assert (top % 10, left % 10) == (0, 0)
    np.testing.assert_array_equal(chip.images["s1"], whole.images["s1"][:, top : top + 160, left : left + 160])
    np.testing.assert_array_equal(label, whole.targets["landcover"][row : row + 48, col : col + 48])


def test_lists_choose_chips_and_their_split(m3rcr, tmp_path):
    root = tmp_path / "m3rcr"
    rows = [write_patch(root, "train", "fall", 1, 457), write_patch(root, "train", "fall", 2, 3)]
    for name, kept in (("train.csv", rows[:1] * 8), ("val.csv", rows[1:])):
        with (root / name).open("w", newline="") as file:
            csv.writer(file).writerows(kept)
    source = open_dataset(root)
    assert [(info.key, info.split) for info in source.index] == [("fall_1_p_457", "train"), ("fall_2_p_3", "val")]
    assert source[1].targets["landcover"].shape == (90, 90)
    (root / "test.csv").write_text("a,b\n")
    with pytest.raises(InputError, match=r"test\.csv: line 1 does not name five files"):
        open_dataset(root)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: np.save(next(root.rglob("*.npy")), np.zeros((90, 90), bool)), r"mask is bool \(90, 90\)"),
        (lambda root: next(root.rglob("*.npy")).write_bytes(b"no"), "is no array that can be read"),
        (lambda root: next(root.rglob("S1*.tif")).unlink(), r"S1_fall_1_p_4\.tif: no such file"),
        (
            lambda root: write_raster(next(root.rglob("landcover*.tif")), np.full((90, 90), 33, np.uint8), COARSE),
            "label holds 33",
        ),
    ],
)
def test_damage_is_named(tmp_path, damage, message):
    write_patch(tmp_path, "train", "fall", 1, 4)
    damage(tmp_path)
    with pytest.raises(InputError, match=message):
        open_dataset(tmp_path)[0]


@settings(max_examples=40)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 80))
def test_nearest_takes_the_pixel_that_holds_the_centre(height, width, wanted):
    image = np.arange(height * width, dtype=np.float32).reshape(1, height, width)
    found = nearest(image, (wanted, width))
    centres = (np.arange(wanted) + 0.5) * height / wanted
    np.testing.assert_array_equal(found[0], image[0][np.floor(centres + 1e-9).astype(int)])


# --- WHU-OPT-SAR ------------------------------------------------------------------------------------------------------


def write_scene(root: Path, name: str, shape: tuple[int, int] = (70, 90)) -> dict[str, np.ndarray]:
    """A scene of WHU-OPT-SAR, much smaller."""
    random = np.random.default_rng(len(name))
    layers = {
        "optical": random.integers(1, 255, (4, *shape), np.uint8),
        "sar": random.integers(0, 255, (1, *shape), np.uint8),
        "lbl": (10 * random.integers(0, 8, shape)).astype(np.uint8)[None],
    }
    layers["optical"][:, :5] = 0
    for folder, array in layers.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        write_raster(root / folder / f"{name}.tif", array, COARSE)
    return layers


def test_scenes_are_cut_into_windows_that_cover_them_once(tmp_path):
    scenes = {name: write_scene(tmp_path, name) for name in ("NH49E001013", "NH49E001014")}
    assert isinstance(open_dataset(tmp_path), WhuOptSar)
    source = WhuOptSar(tmp_path, size=32)
    assert len(source) == 2 * 3 * 3
    assert {info.place: info.split for info in source.index} == {"NH49E001013": "train", "NH49E001014": "test"}
    check_disjoint(select(source, split="train"), select(source, split="test"))
    for name, layers in scenes.items():
        label = np.full(layers["lbl"].shape[1:], 254, np.uint8)
        for number, info in enumerate(source.index):
            if info.place == name:
                chip = source[number]
                row, col = (int(text) for text in info.key.split("_")[1:])
                here = slice(row, row + chip.shape[0]), slice(col, col + chip.shape[1])
                label[here] = chip.targets["landuse"]
                np.testing.assert_array_equal(np.rint(chip.images["s1"] * 255), layers["sar"][:, *here])
                unseen = (layers["optical"][:, *here] == 0).all(axis=0)
                np.testing.assert_array_equal(np.isnan(chip.images["s2"][0]), unseen)
        wanted = layers["lbl"][0].astype(int) // 10 - 1
        np.testing.assert_array_equal(label, np.where(wanted < 0, NODATA, wanted))


def test_land_use_in_the_six_classes_where_they_are_the_same(tmp_path):
    layers = write_scene(tmp_path, "NH49E001013", (40, 40))
    label = WhuOptSar(tmp_path, task="landcover")[0].targets["landcover"]
    raw = layers["lbl"][0]
    for value, name in (
        (10, "agriculture"),
        (20, "urban"),
        (30, "urban"),
        (40, "water"),
        (50, "forest"),
        (60, "urban"),
    ):
        assert set(np.unique(label[raw == value])) == {LANDCOVER.value_of(name)}
    assert set(np.unique(label[(raw == 0) | (raw == 70)])) == {NODATA}


def test_the_official_split_is_20_of_100(tmp_path):
    assert len(TEST) == 20
    write_scene(tmp_path, "NH49E001013")
    (tmp_path / "sar/NH49E001013.tif").unlink()
    with pytest.raises(InputError, match=r"sar/NH49E001013\.tif: is missing"):
        open_dataset(tmp_path)


# --- TerraMesh, SEN12MS-CR --------------------------------------------------------------------------------------------


def test_the_offset_is_found_from_the_cirrus_band():
    random = np.random.default_rng(0)
    dark = random.integers(3, 60, (64, 64))
    assert offset_of(dark) == 0
    assert offset_of(dark + 1000) == 1000
    cirrus = dark.copy()
    cirrus[:60] += 3000  # ice over nearly all of it
    assert offset_of(cirrus) == 0
    cirrus = dark + 1000
    cirrus[:3] = 0  # nodata
    assert offset_of(cirrus) == 1000


def write_terramesh(root: Path, key: str, offset: int, *, without: tuple[str, ...] = ()) -> np.ndarray:
    random = np.random.default_rng(1)
    counts = random.integers(200, 3000, (13, 20, 20))
    counts[10] = random.integers(3, 60, (20, 20))
    label = random.integers(0, 10, (20, 20)).astype(np.uint8)
    layers = {
        "S2L1C": (counts + offset).astype(np.int16),
        "S2L2A": random.integers(1, 3000, (12, 20, 20)).astype(np.int16),
        "S1RTC": random.normal(-14, 3, (2, 20, 20)),
        "DEM": random.integers(0, 90, (1, 20, 20)).astype(np.int16),
        "LULC": label,
    }
    for name, array in layers.items():
        if name not in without:
            (root / name).mkdir(parents=True, exist_ok=True)
            write_raster(root / name / f"{key}.tif", array, COARSE)
    return counts


def test_reflectance_is_the_same_with_and_without_the_offset(tmp_path):
    counts = write_terramesh(tmp_path, "282D_485L_3_3", 1000)
    write_terramesh(tmp_path, "282D_485L_4_1", 0, without=("S1RTC", "LULC"))
    source = open_dataset(tmp_path)
    assert isinstance(source, TerraMesh)
    assert [info.place for info in source.index] == ["282D_485L", "282D_485L"]
    one, other = source[0], source[1]
    np.testing.assert_allclose(one.images["s2"], counts * 1e-4, rtol=1e-5)
    np.testing.assert_allclose(one.images["s2"], other.images["s2"], rtol=1e-5)
    assert np.isnan(other.images["s1"]).all()
    assert set(other.targets) == set()
    assert one.images["s1"].dtype == np.float32


def test_labels_of_esri_have_classes_only_where_they_say_the_same():
    label = recode(np.arange(10, dtype=np.uint8).reshape(2, 5), ESRI, "here").ravel()
    names = {1: "water", 2: "forest", 4: "agriculture", 5: "urban", 6: "barren", 9: "rangeland"}
    for value in range(10):
        assert label[value] == (LANDCOVER.value_of(names[value]) if value in names else NODATA)
    with pytest.raises(InputError, match="here: label holds 11"):
        recode(np.array([[1, 11]], np.uint8), ESRI, "here")
    with pytest.raises(InputError, match="here: label holds -1"):
        recode(np.array([[1, -1]], np.int16), ESRI, "here")


def test_the_real_samples_are_read():
    if not SHARED.is_dir():
        pytest.skip("shared data absent")
    source = open_dataset(SHARED / "terramesh")
    assert len(source) == 3
    found = {}
    for number, info in enumerate(source.index):
        chip = source[number]
        s2 = chip.images["s2"]
        found[info.place] = s2
        assert s2.shape == (13, 224, 224)
        assert -40 < np.nanmedian(chip.images["s1"]) < 0
        # air makes the top of the atmosphere brighter in the blue, and both see the same ground in the infrared
        blue, infrared = s2[S2_L1C.bands.index("B02")], s2[S2_L1C.bands.index("B11")]
        assert np.nanmedian(infrared) == pytest.approx(np.nanmedian(chip.images["s2_l2a"][10]), abs=0.03)
        assert 0.02 < np.nanmedian(blue) < 0.9
    assert np.nanmedian(found["282D_485L"][10]) < 0.005  # 1010 counts with the offset
    assert np.nanmedian(found["38D_378R"][10]) < 0.01  # 59 counts without
    pairs = open_dataset(SHARED / "sen12mscr")
    assert isinstance(pairs, Sen12MSCR)
    assert [info.place for info in pairs.index] == ["ROIs1868_summer_19", "ROIs1970_fall_139"]
    lacking, whole = pairs[0], pairs[1]
    assert np.isnan(lacking.images["s2_clear"]).all()
    assert all(np.isfinite(image).all() for image in whole.images.values())
    assert np.median(whole.images["s2"][1]) > np.median(whole.images["s2_clear"][1]) + 0.03
