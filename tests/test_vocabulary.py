"""The nouns everything stands on: what they accept, what they refuse, and that they survive a round trip."""

import datetime
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from undercast.bands import MODALITIES, S1, S2_L1C, Modality, to_decibel, to_reflectance
from undercast.chip import Chip
from undercast.errors import InputError, ModelError
from undercast.model import ModelFolder, resolve, write_signature
from undercast.signature import BandStatistics, Change, Signature
from undercast.task import FLOOD, NODATA, ClassLabel, Task

names = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)


@given(names, st.lists(names, min_size=2, max_size=8, unique=True), st.fractions(min_value="1/100", max_value=100))
def test_a_task_survives_json(name: str, labels: list[str], scale: Fraction) -> None:
    classes = tuple(ClassLabel(value=i, name=label, color=f"#{i:06x}") for i, label in enumerate(labels))
    task = Task(name=name, classes=classes, scale=scale)
    assert Task.model_validate_json(task.model_dump_json()) == task
    assert [task.value_of(label) for label in labels] == list(range(len(labels)))


@pytest.mark.parametrize("values", [(1, 2), (0, 0), (1, 0), (0, 2)])
def test_classes_are_numbered_in_order(values: tuple[int, int]) -> None:
    with pytest.raises(ValidationError, match="numbered 0, 1, 2"):
        Task(name="t", classes=tuple(ClassLabel(value=v, name=str(i), color="#000000") for i, v in enumerate(values)))


def test_nodata_is_never_a_class() -> None:
    with pytest.raises(ValidationError):
        ClassLabel(value=NODATA, name="cloud", color="#ffffff")
    assert not FLOOD.palette()[NODATA].any()


@pytest.mark.parametrize("modality", MODALITIES.values(), ids=MODALITIES.keys())
def test_bands_are_found_by_name_in_the_order_asked(modality: Modality) -> None:
    turned = modality.select(modality.bands[::-1])
    assert turned.bands == modality.bands[::-1]
    assert modality.index(turned.bands) == list(range(len(modality.bands)))[::-1]
    with pytest.raises(InputError, match="B99"):
        modality.index(["B99"])


def test_sentinel_2_has_its_thirteen_bands_and_surface_reflectance_no_cirrus() -> None:
    assert len(S2_L1C.bands) == 13
    assert set(S2_L1C.bands) - set(MODALITIES["s2_l2a"].bands) == {"B10"}


@given(st.floats(-49, 20))
def test_decibel_is_the_inverse_of_power(decibel: float) -> None:
    assert to_decibel(np.float32([10 ** (decibel / 10)]))[0] == pytest.approx(decibel, abs=1e-3)


def test_power_that_has_no_logarithm() -> None:
    values = to_decibel(np.float32([0.0, -0.1, np.nan]))
    assert values[0] == pytest.approx(-50)
    assert np.isnan(values[1:]).all()


def test_the_offset_of_baseline_0400_moves_counts_and_not_reflectance() -> None:
    counts = np.arange(1, 10000, 97)
    np.testing.assert_allclose(to_reflectance(counts + 1000, offset=-1000.0), to_reflectance(counts), atol=1e-6)
    assert np.isnan(to_reflectance(np.zeros(3))).all()


def test_a_chip_refuses_what_is_not_its_shape() -> None:
    image = np.zeros((2, 4, 5), np.float32)
    with pytest.raises(InputError, match=r"k: image 's1'"):
        Chip("k", {"s1": image[0]})
    with pytest.raises(InputError, match=r"k: target 'flood'"):
        Chip("k", {"s1": image}, {"flood": np.zeros((4, 5), np.int64)})  # type: ignore[dict-item]
    with pytest.raises(InputError, match="differ in size"):
        Chip("k", {"s1": image, "s2": image[:, 1:]})


def test_unlabelled_is_not_invalid() -> None:
    image = np.zeros((2, 4, 5), np.float32)
    image[1, 0, 0] = np.nan
    chip = Chip("k", {"s1": image})
    assert chip.valid("s1").sum() == 19
    assert not chip.targets


def signature() -> Signature:
    statistics = BandStatistics(mean=-10.0, std=4.0, p01=-20.0, p50=-10.0, p99=0.0)
    return Signature(name="m", task=FLOOD, inputs={"s1": S1}, training_domain={"s1": {"VV": statistics}}, stride=8)


def test_a_model_folder_reads_back_its_signature(tmp_path) -> None:
    write_signature(signature(), tmp_path)
    assert ModelFolder.open(tmp_path).signature == signature()
    assert resolve(tmp_path).path == tmp_path


def test_a_model_folder_says_what_it_lacks(tmp_path) -> None:
    with pytest.raises(ModelError, match=r"signature\.json"):
        ModelFolder.open(tmp_path)
    write_signature(signature(), tmp_path)
    with pytest.raises(ModelError, match=r"model\.onnx"):
        ModelFolder.open(tmp_path).graph()
    (tmp_path / "signature.json").write_text('{"name": "m"}')
    with pytest.raises(ModelError, match="task"):
        ModelFolder.open(tmp_path)
    with pytest.raises(ModelError, match="no model 'absent'"):
        resolve("absent")


def test_a_missing_role_is_named_with_its_bands() -> None:
    with pytest.raises(ModelError, match=r"s1 \(VV, VH\)"):
        signature().check_roles({"s2"})


def test_an_optional_role_may_be_missing_and_the_last_one_not():
    both = Signature(name="both", task=FLOOD, inputs={"s2": S2_L1C, "s1": S1}, optional=("s2", "s1"), restores="s2")
    one = both.model_copy(update={"optional": ("s2",)})
    for roles in ({"s2"}, {"s1"}, {"s1", "s2", "dem"}):
        both.check_roles(roles)
    with pytest.raises(ModelError, match=r"s2 \(B01.* or s1 \(VV, VH\); given: dem"):
        both.check_roles({"dem"})
    with pytest.raises(ModelError, match=r"needs s1 \(VV, VH\); given: s2"):
        one.check_roles({"s2"})
    seen = {"s2": np.array([[True, True, False, False]]), "s1": np.array([[True, False, True, False]])}
    assert both.observed(seen).tolist() == [[True, True, True, False]]
    assert one.observed(seen).tolist() == [[True, False, True, False]]
    assert one.model_copy(update={"optional": ()}).observed(seen).tolist() == [[True, False, False, False]]
    assert both.observed({"s1": seen["s1"]}).tolist() == seen["s1"].tolist()
    filled = both.complete({"s1": np.ones((1, 2, 3, 4), np.float32)})
    assert list(filled) == ["s2", "s1"]
    assert filled["s2"].shape == (1, 13, 3, 4)
    assert np.isnan(filled["s2"]).all()


@pytest.mark.parametrize("wrong", [{"optional": ("dem",)}, {"restores": "s2"}])
def test_a_signature_names_only_its_own_inputs(wrong: dict[str, object]):
    with pytest.raises(ValidationError, match="is no input"):
        Signature(name="one", task=FLOOD, inputs={"s1": S1}, **wrong)  # type: ignore[arg-type]


def test_a_changelog_begins_with_the_version_it_comes_with():
    change = Change(version="2", date=datetime.date(2026, 11, 20), what="rougher water", effect="3 points more")
    signature = Signature(name="one", version="2", task=FLOOD, inputs={"s1": S1}, changelog=(change,))
    assert Signature.model_validate_json(signature.model_dump_json()) == signature
    with pytest.raises(ValidationError, match="ends at 2, not at 1"):
        Signature(name="one", version="1", task=FLOOD, inputs={"s1": S1}, changelog=(change,))
