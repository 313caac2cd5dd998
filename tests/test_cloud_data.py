"""Cloud data sets in their official layouts: what is read is what was written, and places stay together."""

from pathlib import Path

import numpy as np
import pytest

from undercast.bands import S2_L1C
from undercast.datasets import Cloud38, CloudSEN12, OnCloudN, UkisCsmask, open_dataset
from undercast.datasets.cloudsen12 import SIZE
from undercast.datasets.split import check_disjoint, partition
from undercast.errors import InputError
from undercast.raster import write_raster
from undercast.task import CLOUDS, NODATA

SHARED = Path(__file__).parents[2] / "shared" / "data"
UTM = ("EPSG:32736", (10.0, 0.0, 500000.0, 0.0, -10.0, 9000000.0))
LANDSAT = ("EPSG:32616", (30.0, 0.0, 500000.0, 0.0, -30.0, 4000000.0))
RNG = np.random.default_rng(5)


def write_on_cloud_n(root: Path, places: dict[str, str], size: int = 24) -> dict[str, np.ndarray]:
    """Chips by name and location; the counts of each."""
    written = {}
    (root / "train_labels").mkdir(parents=True)
    for name in places:
        (root / "train_features" / name).mkdir(parents=True)
        written[name] = RNG.integers(200, 8000, (4, size, size)).astype(np.uint16)
        written[name][:, 0] = 0
        for band, values in zip(("B02", "B03", "B04", "B08"), written[name], strict=True):
            write_raster(root / f"train_features/{name}/{band}.tif", values, UTM, nodata=0)
        write_raster(root / f"train_labels/{name}.tif", (written[name][0] > 4000).astype(np.uint8), UTM)
    rows = [f"{name},{place},2020-04-29T08:20:47Z,az://somewhere" for name, place in places.items()]
    (root / "train_metadata.csv").write_text("\n".join(["chip_id,location,datetime,cloudpath", *rows]) + "\n")
    return written


def test_on_cloud_n(tmp_path):
    written = write_on_cloud_n(tmp_path, {"adwp": "Chifunfu", "adwu": "Chifunfu", "bcde": "Lusaka"})
    (tmp_path / "test_features/zzzz").mkdir(parents=True)
    for band in ("B02", "B03", "B04", "B08"):
        write_raster(tmp_path / f"test_features/zzzz/{band}.tif", np.full((24, 24), 500, np.uint16), UTM)
    source = open_dataset(tmp_path)
    assert isinstance(source, OnCloudN)
    assert source.task == CLOUDS
    assert [(info.key, info.place, info.event, info.split) for info in source.index] == [
        ("adwp", "Chifunfu", "Chifunfu 2020-04-29", "train"),
        ("adwu", "Chifunfu", "Chifunfu 2020-04-29", "train"),
        ("bcde", "Lusaka", "Lusaka 2020-04-29", "valid"),
        ("zzzz", "", "", "test"),
    ]
    chip = source[2]
    np.testing.assert_allclose(chip.images["s2"][:, 1:], written["bcde"][:, 1:] * 1e-4, rtol=1e-6)
    assert np.isnan(chip.images["s2"][:, 0]).all()
    np.testing.assert_array_equal(chip.targets["clouds"], written["bcde"][0] > 4000)
    assert source.modalities["s2"].bands == ("B02", "B03", "B04", "B08")
    assert not source[3].targets
    with pytest.raises(InputError, match="zzzz: place unknown"):
        partition(source, 0.3, seed=0, by="place")


def test_chips_of_a_place_are_not_parted(tmp_path):
    write_on_cloud_n(tmp_path, {f"c{number:02d}": f"place {number % 5}" for number in range(15)}, size=4)
    source = open_dataset(tmp_path)
    for seed in range(4):
        train, test = partition(source, 0.3, seed=seed, by="place")
        check_disjoint(train, test)
        assert len(train) + len(test) == 15


def test_a_tenth_of_the_places_is_held_out(tmp_path):
    write_on_cloud_n(tmp_path, {f"c{number:02d}": f"place {number % 20}" for number in range(40)}, size=4)
    source = open_dataset(tmp_path)
    check_disjoint(part_of(source, "train"), part_of(source, "valid"))
    assert len(part_of(source, "valid")) == 4


def test_a_label_that_is_neither_is_named(tmp_path):
    write_on_cloud_n(tmp_path, {"adwp": "x"})
    write_raster(tmp_path / "train_labels/adwp.tif", np.full((24, 24), 7, np.uint8), UTM)
    with pytest.raises(InputError, match=r"adwp\.tif: label holds 7"):
        open_dataset(tmp_path)[0]


def write_cloud38(root: Path, scenes: list[str], *, part: str, layers: str, labels: bool) -> None:
    for number, scene in enumerate(scenes, start=1):
        for layer in ("blue", "green", "red", "nir", *(["gt"] if labels else [])):
            folder = root / part / layers.format(layer)
            folder.mkdir(parents=True, exist_ok=True)
            values = RNG.integers(6000, 20000, (16, 16)).astype(np.uint16)
            values[:2] = 0
            if layer == "gt":
                values = np.where(values > 12000, 255, 0).astype(np.uint8)
            write_raster(folder / f"{layer}_patch_{number}_1_by_{number}_{scene}.TIF", values, LANDSAT)


def test_cloud38_and_95(tmp_path):
    first, second = "LC08_L1TP_002053_20160520_20170324_01_T1", "LC08_L1TP_006248_20160820_20170322_01_T1"
    write_cloud38(tmp_path, [first, first], part="38-Cloud_training", layers="train_{}", labels=True)
    more = "95-cloud_training_only_additional_to38-cloud"
    write_cloud38(tmp_path, [second, second], part=more, layers="train_{}_additional_to38cloud", labels=True)
    write_cloud38(tmp_path, [second], part="38-Cloud_test", layers="test_{}", labels=False)
    name = f"patch_2_1_by_2_{second}"
    (tmp_path / more / "training_patches_95-cloud_nonempty.csv").write_text(f"name\n{name}\n")
    source = open_dataset(tmp_path)
    assert isinstance(source, Cloud38)
    assert [(info.key[:13], info.place, info.event, info.split) for info in source.index] == [
        ("patch_1_1_by_", "002053", first, "valid"),
        ("patch_2_1_by_", "002053", first, "valid"),
        ("patch_2_1_by_", "006248", second, "train"),
        ("patch_1_1_by_", "006248", second, "test"),
    ]
    chip = source[2]
    assert np.isnan(chip.images["s2"][:, :2]).all()
    assert (chip.targets["clouds"][:2] == NODATA).all()
    assert set(np.unique(chip.targets["clouds"][2:])) == {0, 1}
    values = chip.images["s2"][:, 2:]  # 2e-5 · 6000 - 0.1 to 2e-5 · 20000 - 0.1
    assert 0.0199 < values.min() < 0.03 < 0.29 < values.max() < 0.3001
    assert not source[3].targets
    with pytest.raises(InputError, match="place '006248'"):
        check_disjoint(*(part_of(source, split) for split in ("train", "test")), by=("place",))


def part_of(source, split):
    from undercast.datasets.split import select

    return select(source, split=split)


def test_ukis_csmask(tmp_path):
    image = RNG.random((20, 30, 6)).astype(np.float32)
    mask = RNG.integers(0, 5, (20, 30, 1)).astype(np.uint8)
    np.savez(tmp_path / "sentinel2.npz", img=image, msk=mask)
    np.savez(tmp_path / "other.npz", x=image)
    source = open_dataset(tmp_path)
    assert isinstance(source, UkisCsmask)
    assert [(info.key, info.place) for info in source.index] == [("sentinel2", "sentinel2")]
    chip = source[0]
    np.testing.assert_array_equal(chip.images["s2"][3], image[..., 3])
    np.testing.assert_array_equal(chip.targets["clouds"], np.array([2, 0, 0, 0, 1])[mask[..., 0]])
    np.savez(tmp_path / "sentinel2.npz", img=image[..., :4], msk=mask)
    with pytest.raises(InputError, match=r"sentinel2\.npz: img is \(20, 30, 4\)"):
        source[0]


def test_the_real_images_of_ukis_csmask():
    folder = SHARED / "clouds/ukis-csmask"
    if not folder.is_dir():
        pytest.skip("shared data absent")
    source = open_dataset(folder)
    assert [info.key for info in source.index] == ["landsat7", "sentinel2"]
    for chip in (source[0], source[1]):
        image, target = chip.images["s2"], chip.targets["clouds"]
        blue = [np.median(image[0][target == value]) for value in (0, 1, 2)]
        assert blue[1] > 1.8 * blue[0]  # cloud is bright
        assert blue[2] < blue[0]


def test_the_real_chips_of_on_cloud_n():
    folder = SHARED / "clouds/on_cloud_n"
    if not folder.is_dir():
        pytest.skip("shared data absent")
    source = open_dataset(folder)
    assert [(info.key, info.split) for info in source.index] == [("adwp", "test"), ("akny", "test")]
    assert 0 < np.nanmedian(source[0].images["s2"]) < 0.6


@pytest.fixture
def cloudsen12(tmp_path):
    """Two chips to train on and one to validate with, and their labels."""
    labels = {}
    for split, count in (("train", 2), ("val", 1)):
        (tmp_path / split).mkdir()
        label = RNG.integers(0, 4, (count, SIZE, SIZE), dtype=np.uint8)
        for number, band in enumerate(S2_L1C.bands):
            name = band.replace("B0", "B")
            counts = np.full((count, SIZE, SIZE), 1000 + 10 * number, np.int16) + label
            counts[:, -3:] = 0
            counts.tofile(tmp_path / split / f"L1C_{name}.dat")
        label.tofile(tmp_path / split / "LABEL_manual_hq.dat")
        labels[split] = label
        rows = [f"ROI_{split}_{number // 2},20200101" for number in range(count)]
        (tmp_path / split / "metadata.csv").write_text("\n".join(["roi_id,s2_date", *rows]) + "\n")
    return tmp_path, labels


def test_cloudsen12(cloudsen12):
    root, labels = cloudsen12
    source = open_dataset(root)
    assert isinstance(source, CloudSEN12)
    assert [(info.key, info.place, info.split) for info in source.index] == [
        ("train-00000", "ROI_train_0", "train"),
        ("train-00001", "ROI_train_0", "train"),
        ("val-00000", "ROI_val_0", "val"),
    ]
    chip, label = source[1], labels["train"][1]
    assert chip.images["s2"].shape == (13, SIZE, SIZE)
    np.testing.assert_allclose(chip.images["s2"][11, :-3], (1110 + label[:-3].astype(float)) * 1e-4, rtol=1e-5)
    assert np.isnan(chip.images["s2"][:, -3:]).all()
    np.testing.assert_array_equal(chip.targets["clouds"][:-3], np.array([0, 1, 1, 2])[label[:-3]])
    np.testing.assert_array_equal(chip.targets["thin_cloud"][:-3], label[:-3] == 2)
    assert (chip.targets["clouds"][-3:] == NODATA).all()


def test_cloudsen12_half_downloaded_is_refused(cloudsen12):
    root, _ = cloudsen12
    (root / "train/L1C_B8A.dat").write_bytes(b"\0" * 2 * SIZE * SIZE)
    with pytest.raises(InputError, match=r"L1C_B8A\.dat: is missing or not 2 chips"):
        open_dataset(root)
