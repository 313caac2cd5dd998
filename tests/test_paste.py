"""Clouds pasted between chips, and labels that models from elsewhere cannot agree with."""

import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from conftest import FOUR_BANDS, UTM, reflectance
from undercast.chip import Chip, ChipInfo
from undercast.cli.main import app
from undercast.datasets.paste import CLEAR, CLOUD, SHADOW, Pasted, paste
from undercast.errors import InputError
from undercast.evaluate.noise import out_of_fold, rank_chips, write_suspects
from undercast.predict import OpenVinoPredictor
from undercast.raster import write_raster
from undercast.task import CLOUDS, NODATA


def chip_of(key: str, labels: np.ndarray, seed: int = 0, event: str = "") -> Chip:
    """Random ground with cloud and shadow where ``labels`` say."""
    random = np.random.default_rng(seed)
    image = random.uniform(0.05, 0.3, (4, *labels.shape)).astype(np.float32)
    image[:, labels == CLOUD] = 0.7
    image[:, labels == SHADOW] *= 0.5
    return Chip(key, {"s2": image}, {"clouds": labels}, event=event or key, place=event or key)


def drawn(seed: int) -> np.ndarray:
    blocks = np.random.default_rng(seed).choice([CLEAR, CLEAR, CLOUD, SHADOW, NODATA], (5, 6))
    return np.kron(blocks, np.ones((8, 8))).astype(np.uint8)


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_what_is_pasted_is_labelled_and_what_is_not_is_untouched(one, other):
    receiver, donor = chip_of("a", drawn(one), one), chip_of("b", drawn(other), other)
    donor.images["s2"][:, :9] = np.nan
    receiver.images["s2"][:, :, :9] = np.nan
    result = paste(receiver, donor)
    before, after, theirs = receiver.targets["clouds"], result.targets["clouds"], donor.targets["clouds"]
    seen = receiver.valid("s2") & donor.valid("s2") & (before != NODATA)
    np.testing.assert_array_equal((after == CLOUD)[seen], ((before == CLOUD) | (theirs == CLOUD))[seen])
    same = ~seen | (before == CLOUD) | ~np.isin(theirs, (CLOUD, SHADOW))
    np.testing.assert_array_equal(after[same], before[same])
    np.testing.assert_array_equal(result.images["s2"][:, same], receiver.images["s2"][:, same])
    np.testing.assert_array_equal(np.isnan(result.images["s2"]), np.isnan(receiver.images["s2"]))
    newly = seen & (before == CLEAR) & (after == SHADOW)
    assert (result.images["s2"][:, newly] <= receiver.images["s2"][:, newly]).all()
    assert (result.key, result.place) == ("a", "a")


def test_the_core_of_a_pasted_cloud_is_the_donor_s_and_its_shadow_is_as_deep():
    sky = np.zeros((40, 40), np.uint8)
    sky[5:20, 5:20], sky[25:35, 5:35] = CLOUD, SHADOW
    receiver, donor = chip_of("a", np.zeros((40, 40), np.uint8), 1), chip_of("b", sky, 2)
    image = paste(receiver, donor).images["s2"]
    np.testing.assert_allclose(image[:, 11:14, 11:14], 0.7, atol=1e-3)
    ratio = image[:, 25:35, 5:35] / receiver.images["s2"][:, 25:35, 5:35]
    np.testing.assert_allclose(ratio, 0.5, atol=0.12)
    edge = image[0, 5, 8:17]  # blended, so darker than cloud and brighter than ground on the whole
    assert 0.3 < edge.mean() < 0.69


def test_what_does_not_fit_is_refused():
    a, b = chip_of("a", np.zeros((8, 8), np.uint8)), chip_of("b", np.zeros((8, 16), np.uint8))
    with pytest.raises(InputError, match="chips a and b differ"):
        paste(a, b)
    with pytest.raises(InputError, match="chip c: has no label"):
        paste(a, Chip("c", a.images))
    with pytest.raises(InputError, match="at least two"):
        Pasted(Chips([a]))


class Chips:
    """Chips in memory."""

    task = CLOUDS
    modalities = {"s2": FOUR_BANDS}  # noqa: RUF012

    def __init__(self, chips: list[Chip]) -> None:
        self.chips = chips
        self.index = [ChipInfo(chip.key, chip.event, chip.place, "train") for chip in chips]

    def __len__(self) -> int:
        return len(self.chips)

    def __getitem__(self, number: int) -> Chip:
        return self.chips[number]


def test_copies_follow_from_the_seed_and_keep_their_ground():
    source = Chips([chip_of(f"c{n}", drawn(n), n, event=f"e{n // 2}") for n in range(6)])
    pasted = Pasted(source, copies=2, seed=3)
    assert len(pasted) == len(pasted.index) == 18
    assert [pasted[n].key for n in (0, 6, 17)] == ["c0", "c0~1", "c5~2"]
    assert {info.place for info in pasted.index} == {"e0", "e1", "e2"}
    for number in range(6, 18):
        again = Pasted(source, copies=2, seed=3)[number]
        np.testing.assert_array_equal(again.images["s2"], pasted[number].images["s2"])
        assert source.index[pasted.donor(number)].event != source.index[number % 6].event
    assert any(Pasted(source, 2, 4).donor(n) != pasted.donor(n) for n in range(6, 18))
    with pytest.raises(IndexError):
        pasted[18]


def labelled_chip(key: str, wrong: bool) -> Chip:
    """A cloudy chip with its true label, or with one drawn elsewhere."""
    image = reflectance(48, 48, seed=len(key))
    truth = np.zeros((48, 48), np.uint8)
    truth[16:32, 12:24], truth[16:32, 24:32] = CLOUD, SHADOW
    return Chip(key, {"s2": image}, {"clouds": truth[::-1, ::-1].copy() if wrong else truth}, event=key, place=key)


def test_wrong_labels_come_first(tmp_path, tiny_clouds):
    chips = [labelled_chip(key, key == "bbb") for key in ("a", "bbb", "cc", "dddd")]
    predictor = OpenVinoPredictor(tiny_clouds, threads=1)
    halves = Chips(chips[:2]), Chips(chips[2:])
    table = out_of_fold([(predictor, halves[0], halves[1]), (predictor, halves[1], halves[0])])
    ranked = rank_chips(table, "cloud")
    assert (ranked[0].key, ranked[0].rank, ranked[0].predictor) == ("bbb", 1, "fold 1")
    assert ranked[0].iou < 0.2 < 0.7 < min(one.iou for one in ranked[1:])
    write_suspects(ranked, tmp_path / "suspects.csv")
    with (tmp_path / "suspects.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["key"] for row in rows] == [one.key for one in ranked]
    with pytest.raises(InputError, match="no class 'haze'"):
        rank_chips(table, "haze")


def test_a_member_that_learned_from_a_place_may_not_judge_it(tiny_clouds):
    predictor = OpenVinoPredictor(tiny_clouds, threads=1)
    chips = Chips([labelled_chip("a", False), labelled_chip("bb", False)])
    with pytest.raises(InputError, match="place 'a'"):
        out_of_fold([(predictor, chips, chips)])
    with pytest.raises(InputError, match="chip a is held out of two members"):
        out_of_fold([(predictor, Chips(chips.chips[1:]), Chips(chips.chips[:1]))] * 2)


def test_evaluate_ranks_the_chips_of_a_folder(tmp_path, tiny_clouds):
    for chip in (labelled_chip("a", False), labelled_chip("bbb", True)):
        counts = np.rint(chip.images["s2"] * 10000).astype(np.uint16)
        for band, values in zip(FOUR_BANDS.bands, counts, strict=True):
            (tmp_path / f"data/train_features/{chip.key}").mkdir(parents=True, exist_ok=True)
            write_raster(tmp_path / f"data/train_features/{chip.key}/{band}.tif", values, UTM)
        (tmp_path / "data/train_labels").mkdir(exist_ok=True)
        write_raster(
            tmp_path / f"data/train_labels/{chip.key}.tif", (chip.targets["clouds"] == 1).astype(np.uint8), UTM
        )
    arguments = [str(tiny_clouds.path), str(tmp_path / "data"), "-o", str(tmp_path / "out"), "--worst", "cloud"]
    result = CliRunner().invoke(app, ["evaluate", *arguments, "--no-figures"])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out/worst.csv").read_text().splitlines()[1].startswith("1,bbb,")
