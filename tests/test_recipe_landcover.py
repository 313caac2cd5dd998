from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from smoke import PLACE, smoke_recipe
from undercast.bands import S1
from undercast.chip import Batch
from undercast.datasets.augment import Augmentation
from undercast.engine.journal import read_journal
from undercast.engine.objective import Frozen
from undercast.engine.predictor import TorchPredictor
from undercast.engine.through_cloud import ThroughCloud, ThroughCloudConfig
from undercast.errors import ConfigError, InputError
from undercast.evaluate import score
from undercast.evaluate.lacking import Lacking, lacking
from undercast.export import describe, load_segmenter
from undercast.losses.segmentation import SegmentationLossConfig
from undercast.model import ModelFolder
from undercast.nets import CloudSegConfig, ConvEncoder, Segmenter, SegmenterConfig
from undercast.predict import OpenVinoPredictor, answer, answer_outputs
from undercast.recipes import landcover
from undercast.recipes.landcover import Chips, run
from undercast.simulate import simulate_chip
from undercast.task import LANDCOVER, NODATA

smoke = partial(smoke_recipe, "landcover")


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    """A student without a teacher, which is the least that restores."""
    out = tmp_path_factory.mktemp("landcover") / "out"
    return ModelFolder.open(run(smoke("through_cloud.hint=0.0", "student.fit.steps=2"), PLACE, out))


@pytest.fixture(scope="module")
def chips() -> Chips:
    return Chips.open(smoke())


def test_the_student_is_a_model_folder_that_restores_and_can_lack_either_image(student: ModelFolder, chips: Chips):
    assert list(student.signature.inputs) == ["s2", "s1"]
    assert student.signature.inputs["s2"].bands == ("B02", "B03", "B04", "B08")
    assert student.signature.optional == ("s2", "s1")
    assert student.signature.restores == "s2"
    assert set(student.signature.training_domain) == {"s2", "s1"}
    assert {"cross_entropy", "restoration"} <= read_journal(student.path / "journal.jsonl")[1].keys()
    predictor, chip = OpenVinoPredictor(student, threads=1), chips.validation[0]
    torch_one = TorchPredictor(load_segmenter(student), student.signature)
    for roles in (("s2", "s1"), ("s2",), ("s1",)):
        given = {role: chip.images[role][:, :50, :41] for role in roles}
        found, expected = answer_outputs(predictor, given), answer_outputs(torch_one, given)
        assert found["probabilities"].shape == (6, 50, 41)
        assert found["restored"].shape == (4, 50, 41)
        assert (found["restored"] >= 0).all()
        assert (found["restored"] <= 1).all()
        for name, output in found.items():
            assert np.abs(output - expected[name]).max() < 2e-3
        assert np.array_equal(answer(predictor, given), found["probabilities"])


def test_a_hint_needs_two_cloudseg_networks():
    with pytest.raises(ConfigError, match="not a unet"):
        smoke("student.network.body={kind='unet'}")


def test_the_student_starts_as_the_teacher_where_it_has_its_parts(chips: Chips):
    config = smoke("start=true")
    teacher = config.teacher.network.build(chips.training.modalities, LANDCOVER)
    plan = landcover.through_cloud(config, chips, teacher)
    theirs, own = teacher.body.state_dict(), plan.network.body.state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in theirs.items())
    assert any("gate" in name for name in own.keys() - theirs.keys())
    wider = config.teacher.network.model_copy(update={"body": CloudSegConfig(gate=False, restore=False)})
    with pytest.raises(ConfigError, match="one encoder"):
        landcover.through_cloud(config, chips, wider.build(chips.training.modalities, LANDCOVER))


# --- the objective


def network(roles: tuple[str, str], **body: bool) -> Segmenter:
    torch.manual_seed(len(roles[0]))
    small = CloudSegConfig(encoder=ConvEncoder(widths=(4, 8), depth=1), **body)
    modalities = {role: S1 if role == "s1" else Chips.open(smoke()).training.modalities["s2"] for role in roles}
    return SegmenterConfig(roles=roles, mask_channel=True, body=small).build(modalities, LANDCOVER)


def batch(share: int = 50) -> Batch:
    torch.manual_seed(0)
    images = {
        "s2": torch.rand(2, 4, 64, 64),
        "s2_clear": torch.rand(2, 4, 64, 64),
        "s1": torch.randn(2, 2, 64, 64) - 12,
    }
    cloud = torch.zeros(2, 64, 64, dtype=torch.int64)
    cloud[:, :32] = 1
    targets = {"landcover": torch.randint(0, 6, (2, 64, 64)), "cloud": cloud, "opacity": cloud * share}
    return Batch(images, targets)


def objective(**settings: object) -> ThroughCloud:
    config = ThroughCloudConfig(**settings)  # type: ignore[arg-type]
    teacher = Frozen(network(("s2_clear", "s1"), gate=False, restore=False)) if config.needs_teacher else None
    return ThroughCloud(
        network(("s2", "s1")),
        teacher,
        SegmentationLossConfig().terms,
        config,
        target="landcover",
        roles=("s2", "s1"),
        sees={"s2_clear": "s2_clear", "s1": "s1"},
        clear="s2_clear",
        cover="opacity" if config.soft else "cloud",
    )


def test_each_option_is_a_term_of_the_loss():
    paper = objective()({"chips": batch()}).terms
    assert {name: term.weight for name, term in paper.items()} == {"cross_entropy": 1, "restoration": 1, "hint": 1}
    assert set(objective(restore=0.0, hint=0.0)({"chips": batch()}).terms) == {"cross_entropy"}
    assert set(objective(answers=0.5)({"chips": batch()}).terms) == {*paper, "answers"}
    normalised = objective(normalised=True)({"chips": batch()}).terms["hint"].total
    assert normalised.mean().item() == pytest.approx(2 * paper["hint"].total.mean().item(), rel=1e-3)  # half is cloud


def test_what_is_covered_is_cloud_the_light_it_takes_and_what_was_not_seen():
    given = batch(share=30)
    given.targets["cloud"][0, 40, :] = NODATA
    given.targets["opacity"][0, 40, :] = NODATA
    given.images["s2"][1] = torch.nan
    hard, soft = (objective(soft=soft, hint=0.0).covered(given) for soft in (False, True))
    assert hard[0, :32].unique().tolist() == [1]
    assert soft[0, :32].unique().tolist() == pytest.approx([0.3])
    for covered in (hard, soft):
        assert covered[0, 41:].unique().tolist() == [0]
        assert covered[0, 40].unique().tolist() == [1]
        assert covered[1].unique().tolist() == [1]


def test_a_chip_without_its_optical_image_is_learned_from_and_gives_no_hint():
    given = batch()
    given.images["s2"][:] = torch.nan
    terms = objective()({"chips": given}).terms
    assert terms["hint"].total.sum.item() == 0
    assert all(term.total.sum.isfinite() for term in terms.values())
    assert terms["cross_entropy"].total.count.item() == 2 * 64 * 64


def test_pairs_without_labels_are_restored_and_compared_with_the_teacher_alone():
    hand, pairs = batch(), batch()
    pairs.targets["landcover"] = (pairs.targets["landcover"] + 1) % 6
    learner = objective(answers=1.0).eval()  # statistics of a batch would tell the crops of each other
    learner.feeds = ("chips", "pairs")
    together = learner({"chips": hand, "pairs": pairs}).terms
    learner.feeds = ("chips",)
    alone = learner({"chips": hand}).terms
    assert together["cross_entropy"].total.mean().item() == pytest.approx(alone["cross_entropy"].total.mean().item())
    for name in ("restoration", "hint", "answers"):
        assert together[name].total.count.item() == 2 * alone[name].total.count.item() > 0


def test_a_student_with_pairs_says_so_and_takes_none_that_validation_holds(tmp_path: Path):
    pairs = "unlabelled={source='simulated:landcover:4000+3@64'}"
    told = ModelFolder.open(run(smoke(pairs, "through_cloud.hint=0.0"), PLACE, tmp_path / "out")).signature
    assert any("4000+3" in line and "without their labels" in line for line in told.training_data)
    with pytest.raises(InputError, match="in training and in test"):
        Chips.open(smoke("unlabelled={source='simulated:landcover:2001+2@64'}"))


# --- varied alike, and missing


def test_a_pair_stays_a_pair_and_one_image_is_missing_as_often_as_said():
    chip = simulate_chip(3, 64, "landcover", only=("s1", "s2", "s2_clear", "landcover"))
    modalities = Chips.open(smoke()).training.modalities
    same = type(chip)(chip.key, {**chip.images, "s2_clear": chip.images["s2"]}, chip.targets)
    vary = Augmentation(pairs=True, missing={"s2": 0.3, "s1": 0.2}).for_chips(
        modalities, vary=("s2", "s1", "s2_clear"), keep=("s1",)
    )
    lost = []
    for number in range(60):
        found = vary(same, np.random.default_rng(number))
        gone = {role for role in ("s2", "s1") if not np.isfinite(found.images[role]).any()}
        lost.append(gone)
        assert len(gone) <= 1
        assert np.isfinite(found.images["clean_s1"]).any()
        if not gone:
            assert np.array_equal(found.images["s2"], found.images["s2_clear"], equal_nan=True)
    shares = [sum(role in gone for gone in lost) / 60 for role in ("s2", "s1")]
    assert shares == [pytest.approx(0.3, abs=0.15), pytest.approx(0.2, abs=0.15)]


# --- scores by sky and by what is missing


def test_scores_are_told_apart_by_sky_and_by_missing_image(student: ModelFolder, chips: Chips):
    predictor = TorchPredictor(load_segmenter(student), student.signature)
    whole, cut = (score(predictor, chips.validation, by=by) for by in (None, "cloud"))
    assert np.array_equal(whole.confusion.sum(0), cut.confusion.sum(0))
    skies = cut.groups("split")
    for number, info in enumerate(chips.validation.index):
        chip = chips.validation[number]
        for sky, covered in (("clear", False), ("covered", True)):
            row = next(row for row in skies[sky] if row.info.key == info.key)
            inside = (chip.targets["cloud"] > 0) == covered
            seen = chip.valid("s2") | chip.valid("s1")
            assert row.valid == (inside & seen & (chip.targets["landcover"] != NODATA)).sum()
            assert row.pixels == inside.sum()
    assert list(lacking(predictor)) == ["landcover-smoke without s2", "landcover-smoke without s1"]
    image = {role: chips.validation[0].images[role][None] for role in ("s2", "s1")}
    blind = Lacking(predictor, ("s2",)).predict(image)
    assert np.array_equal(blind, predictor.predict({"s1": image["s1"]}))
    assert describe(predictor.segmenter, "again").restores == "s2"  # type: ignore[arg-type]
