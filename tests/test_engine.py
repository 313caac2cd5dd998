import threading
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from undercast.bands import S1, S2_L1C, Modality
from undercast.chip import Batch, Chip, ChipInfo
from undercast.engine.average import Average
from undercast.engine.distilled import Distilled, Squeezed
from undercast.engine.domain import training_domain
from undercast.engine.feed import Feed, prefetch
from undercast.engine.fit import FitConfig, fit
from undercast.engine.hints import Hinted
from undercast.engine.journal import Journal, read_journal
from undercast.engine.objective import Frozen
from undercast.engine.place import Place
from undercast.engine.predictor import TorchPredictor
from undercast.engine.supervised import DeeplySupervised, Supervised
from undercast.errors import ModelError, TrainingError
from undercast.losses.distil import divergence
from undercast.losses.segmentation import SegmentationLossConfig
from undercast.losses.squeeze import SqueezeConfig
from undercast.nets import NNUNetConfig, Segmenter, SegmenterConfig, UNetConfig
from undercast.signature import Signature
from undercast.task import FLOOD, NODATA, Task

PLACE = Place(accelerator="cpu", precision="32-true", threads=1, allocator=False)
LOSS = SegmentationLossConfig().terms


@dataclass(frozen=True)
class Ponds:
    """Chips whose water is where VH is low and near infrared dark; made from the number alone."""

    count: int
    size: int = 16
    task: Task = FLOOD

    @property
    def modalities(self) -> dict[str, Modality]:
        return {"s1": S1, "s2": S2_L1C}

    @property
    def index(self) -> list[ChipInfo]:
        return [ChipInfo(f"pond_{number}", event=f"event_{number}") for number in range(self.count)]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Chip:
        rng = np.random.default_rng(number)
        water = np.zeros((self.size, self.size), bool)
        row, col = rng.integers(0, self.size // 2, 2)
        water[row : row + self.size // 2, col : col + self.size // 2] = True
        s1 = np.where(water, -22.0, -12.0) + rng.normal(0, 3, (2, self.size, self.size))
        s2 = np.where(water, 0.02, 0.3) + rng.normal(0, 0.01, (13, self.size, self.size))
        target = water.astype(np.uint8)
        target[0] = NODATA
        return Chip(f"pond_{number}", {"s1": s1.astype(np.float32), "s2": s2.astype(np.float32)}, {"flood": target})


def network(roles: tuple[str, ...] = ("s1",), seed: int = 0, **body: object) -> Segmenter:
    torch.manual_seed(seed)
    settings = {"base": 4, "stages": 2, "depth": 1, **body}
    return SegmenterConfig(roles=roles, body=UNetConfig(**settings)).build(Ponds(1).modalities, FLOOD)


def feed(count: int = 8, batch: int = 4, seed: int = 0, **options: object) -> Feed:
    return Feed(Ponds(count), ("s1", "s2"), ("flood",), batch=batch, seed=seed, **options)


def supervised(seed: int = 0, **body: object) -> Supervised:
    return Supervised(network(seed=seed, **body), LOSS, target="flood", roles=("s1",))


def weights(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


# --- feed


def test_a_feed_shows_every_chip_once_an_epoch_in_an_order_of_its_own():
    source = feed(count=6, batch=4)
    seen = [chip for step in range(3) for chip in source.batch(step).images["s1"][:, 0, 5, 5].tolist()]
    epochs = seen[:6], seen[6:]
    assert sorted(epochs[0]) == sorted(epochs[1])
    assert len(set(epochs[0])) == 6
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_share_the_batch_of_one(world):
    def cast(chip: Chip, rng: np.random.Generator) -> Chip:
        shift = np.float32(rng.normal())
        return Chip(chip.key, {role: image + shift for role, image in chip.images.items()}, chip.targets)

    whole = feed(batch=6, transform=cast).batch(7).images["s1"]
    parts = [feed(batch=6, transform=cast).batch(7, rank, world).images["s1"] for rank in range(world)]
    for rank, part in enumerate(parts):
        assert torch.equal(part, whole[rank::world])


def test_a_chip_without_the_target_is_unlabelled_and_still_there():
    class Bare(Ponds):
        def __getitem__(self, number: int) -> Chip:
            chip = super().__getitem__(number)
            return Chip(chip.key, chip.images)

    batch = Feed(Bare(3), ("s1",), ("flood",), batch=3, seed=0).batch(0)
    assert (batch.targets["flood"] == NODATA).all()
    assert batch.images["s1"].isfinite().all()


def test_a_feed_reads_a_chip_once_while_there_is_room():
    reads: list[int] = []

    class Counted(Ponds):
        def __getitem__(self, number: int) -> Chip:
            reads.append(number)
            return super().__getitem__(number)

    for room, expected in ((1.0, 4), (0.0, 12)):
        reads.clear()
        source = Feed(Counted(4), ("s1",), batch=4, seed=0, cache_gib=room)
        for step in range(3):
            source.batch(step)
        assert len(reads) == expected


def test_what_a_feed_refuses_it_names():
    with pytest.raises(TrainingError, match="no chips"):
        feed(count=0)
    with pytest.raises(TrainingError, match="3 processes"):
        feed(batch=2).batch(0, 0, 3)
    with pytest.raises(TrainingError, match=r"pond_\d has no image 'dem'"):
        Feed(Ponds(3), ("dem",), batch=2, seed=0).batch(0)


def test_an_exception_in_the_background_surfaces_and_leaves_no_thread():
    class Torn(Ponds):
        def __getitem__(self, number: int) -> Chip:
            if number == 5:
                raise OSError("chip 5 is torn")
            return super().__getitem__(number)

    before = threading.active_count()
    with pytest.raises(OSError, match="chip 5 is torn"):
        list(prefetch({"labelled": Feed(Torn(6), ("s1",), batch=2, seed=0)}, range(3), 0, 1))
    assert threading.active_count() == before


def test_prefetched_batches_come_in_order():
    source = feed()
    made = list(prefetch({"labelled": source}, range(2, 7), 0, 1, ahead=2, workers=2))
    assert len(made) == 5
    for step, batch in zip(range(2, 7), made, strict=True):
        assert torch.equal(batch["labelled"].images["s2"], source.batch(step).images["s2"])


# --- objectives


def test_the_teacher_is_believed_only_where_it_saw_and_no_cloud_was():
    student, teacher = network(), Frozen(network(("s1", "s2"), seed=1))
    objective = Distilled(
        student, teacher, LOSS, lambda s, t, w: divergence(s, t, weights=w),
        target="flood", roles=("s1",), sees={"s1": "s1", "s2": "s2"}, cloud="cloud",
    )  # fmt: skip
    hand, pairs = feed().batch(0), feed().batch(1)
    pairs.images["s2"][0, 3] = torch.nan
    cloud = torch.zeros_like(hand.targets["flood"])
    cloud[1, :4] = 1
    cloud[2, 4:6] = 2
    cloud[3] = NODATA  # unknown is not cloud
    pairs = Batch(pairs.images, {"flood": pairs.targets["flood"], "cloud": cloud})
    step = objective({"labelled": hand, "unlabelled": pairs})
    pixels = 16 * 16
    assert float(step.terms["teacher"].total.count) == 4 * pixels - pixels - 4 * 16 - 2 * 16
    assert float(step.terms["cross_entropy"].total.count) == 4 * 15 * 16
    # What a masked chip holds otherwise does not matter.
    pairs.images["s2"][0, 4:] = 0.9
    again = objective({"labelled": hand, "unlabelled": pairs})
    assert torch.equal(again.terms["teacher"].total.sum, step.terms["teacher"].total.sum)


def test_labels_under_unseen_pixels_are_not_learned_from():
    batch = feed().batch(0)
    batch.images["s1"][:, 1, 8:] = torch.nan
    step = supervised()({"labelled": batch})
    assert float(step.terms["cross_entropy"].total.count) == 4 * 7 * 16


def test_a_frozen_teacher_is_a_snapshot_without_gradient_that_no_parent_registers():
    original = network()
    teacher = Frozen(original)
    holder = supervised()
    holder.teacher = teacher
    assert not any("teacher" in name for name in holder.state_dict())
    images = {"s1": feed().batch(0).images["s1"]}
    before = teacher(images)
    with torch.no_grad():
        for parameter in original.parameters():
            parameter.add_(1.0)
    holder.train()
    assert torch.equal(teacher(images), before)
    assert not before.requires_grad


# --- fitting


def test_fitting_learns_and_leaves_a_journal(tmp_path):
    objective = supervised()
    config = FitConfig(steps=60, batch=4, learning_rate=0.02, average=0.9, log_every=10, validate_every=30)
    held = Feed(Ponds(64), ("s1",), ("flood",), batch=8, seed=9).batch(0)

    def accuracy(student: nn.Module) -> dict[str, float]:
        assert not student.training
        with torch.no_grad():
            answer = student(held.images).argmax(1)
        return {"accuracy": float((answer == held.targets["flood"])[:, 1:].float().mean())}

    fit(objective, {"labelled": feed()}, config, PLACE, tmp_path, validate=accuracy)
    records = read_journal(tmp_path / "journal.jsonl")
    steps = [record for record in records if record["event"] == "step"]
    assert [record["step"] for record in steps] == [10, 20, 30, 40, 50, 60]
    assert steps[-1]["loss"] < 0.5 * steps[0]["loss"]
    assert all(record["chips_per_second"] > 0 for record in steps)
    found = [record["accuracy"] for record in records if record["event"] == "validation"]
    assert len(found) == 2
    assert found[-1] > 0.95
    assert accuracy(objective.student)["accuracy"] == found[-1]  # the student left behind is the averaged one


def test_bf16_learns_the_same_task(tmp_path):
    objective = supervised()
    config = FitConfig(steps=40, batch=4, learning_rate=0.02, average=0.9, log_every=5)
    fit(objective, {"labelled": feed()}, config, PLACE.model_copy(update={"precision": "bf16-mixed"}), tmp_path)
    losses = [r["loss"] for r in read_journal(tmp_path / "journal.jsonl") if r["event"] == "step"]
    assert losses[-1] < 0.5 * losses[0]
    assert all(tensor.dtype in (torch.float32, torch.int64) for tensor in objective.student.state_dict().values())


def test_a_finished_run_is_read_not_run_again_and_other_settings_are_refused(tmp_path):
    config = FitConfig(steps=4, batch=4)
    first, second = supervised(), supervised(seed=5)
    fit(first, {"labelled": feed()}, config, PLACE, tmp_path)
    fit(second, {"labelled": feed()}, config, PLACE, tmp_path, resume=True)
    assert same(weights(first.student), weights(second.student))
    with pytest.raises(TrainingError, match="--resume"):
        fit(supervised(), {"labelled": feed()}, config, PLACE, tmp_path)
    other = config.model_copy(update={"learning_rate": 0.01})
    with pytest.raises(TrainingError, match=r"learning_rate = 0\.002, now it is 0\.01"):
        fit(supervised(), {"labelled": feed()}, other, PLACE, tmp_path, resume=True)
    with pytest.raises(TrainingError, match="another network"):
        fit(supervised(base=6), {"labelled": feed()}, config, PLACE, tmp_path, resume=True)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"torn")
    with pytest.raises(TrainingError, match="damaged"):
        fit(supervised(), {"labelled": feed()}, config, PLACE, tmp_path, resume=True)


def test_a_loss_that_is_not_finite_stops_the_run_by_name(tmp_path):
    objective = supervised()
    with torch.no_grad():
        objective.student.body.head.bias.fill_(torch.inf)
    with pytest.raises(TrainingError, match=r"step 1: the loss 'cross_entropy' is nan"):
        fit(objective, {"labelled": feed()}, FitConfig(steps=2, batch=4), PLACE, tmp_path)


def test_wrong_feeds_and_nothing_to_train_are_refused(tmp_path):
    with pytest.raises(TrainingError, match=r"\['labelled'\], given are \['pairs'\]"):
        fit(supervised(), {"pairs": feed()}, FitConfig(steps=1), PLACE, tmp_path)
    pinned = supervised()
    pinned.requires_grad_(False)
    with pytest.raises(TrainingError, match="pinned"):
        fit(pinned, {"labelled": feed()}, FitConfig(steps=1), PLACE, tmp_path)


def test_the_rate_rises_then_falls():
    config = FitConfig(steps=100, warmup=10, learning_rate=1.0, final_rate=0.1)
    rates = [config.rate(step) for step in range(101)]
    assert rates[:10] == pytest.approx([0.1 * k for k in range(1, 11)])
    assert all(a >= b for a, b in pairwise(rates[9:]))
    assert rates[100] == pytest.approx(0.1)


def test_the_poly_rate_falls_to_nothing_and_sgd_learns(tmp_path):
    config = FitConfig(steps=60, batch=8, optimiser="sgd", momentum=0.9, schedule="poly", learning_rate=0.05, average=0)
    rates = [config.rate(step) for step in range(6, 60)]
    assert rates == sorted(rates, reverse=True)
    assert config.rate(33) == pytest.approx(0.05 * (1 - 27 / 54) ** 0.9)
    fit(supervised(), {"labelled": feed(batch=8)}, config, PLACE, tmp_path)
    steps = [record["loss"] for record in read_journal(tmp_path / "journal.jsonl") if record["event"] == "step"]
    assert steps[-1] < 0.6 * steps[0]
    other = config.model_copy(update={"optimiser": "adamw"})
    with pytest.raises(TrainingError, match="optimiser"):
        fit(supervised(), {"labelled": feed(batch=8)}, other, PLACE, tmp_path, resume=True)


def test_deep_supervision_is_the_weighted_loss_of_every_resolution():
    torch.manual_seed(0)
    body = NNUNetConfig(base=2, stages=4)
    student = SegmenterConfig(roles=("s1",), body=body).build(Ponds(1).modalities, FLOOD)
    objective = DeeplySupervised(student, LOSS, target="flood", roles=("s1",))
    batch = feed(batch=2).batch(0)
    terms = objective({"labelled": batch}).terms
    assert {name: term.weight for name, term in terms.items()} == {
        "cross_entropy": pytest.approx(2 / 3),
        "cross_entropy/2": pytest.approx(1 / 3),
    }
    logits = student.resolutions({"s1": batch.images["s1"]})
    expected = LOSS(logits[1], batch.targets["flood"][:, ::2, ::2])["cross_entropy"][0]
    torch.testing.assert_close(terms["cross_entropy/2"].total.sum, expected.sum)
    sum(term.total.mean() for term in terms.values()).backward()
    assert all(parameter.grad is not None for parameter in student.parameters())


def test_kept_answers_teach_where_they_were_given_and_labels_of_unlabelled_chips_are_not_read():
    soft = SqueezeConfig(temperature=1.0).terms
    objective = Squeezed(network(), LOSS, soft, target="flood", roles=("s1",), answer="answer")
    hand, more = feed(batch=2).batch(0), feed(batch=3, seed=1).batch(0)
    for batch in (hand, more):
        answers = torch.rand(len(batch), 1, 16, 16)
        batch.images["answer"] = torch.cat([answers, 1 - answers], dim=1)
        batch.images["answer"][:, :, :4] = torch.nan
    terms = objective({"labelled": hand, "unlabelled": more}).terms
    assert terms["teacher"].total.count == 5 * 12 * 16
    more.targets["flood"][:] = 1 - more.targets["flood"].clamp(max=1)
    again = objective({"labelled": hand, "unlabelled": more}).terms
    assert torch.equal(again["cross_entropy"].total.sum, terms["cross_entropy"].total.sum)
    terms["teacher"].total.mean().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in objective.student.parameters())


def test_a_hint_teaches_the_encoder_alone_and_the_convolution_between_does_not_ship():
    squeezed = Squeezed(
        student := network(), LOSS, SqueezeConfig().terms, target="flood", roles=("s1",), answer="answer"
    )
    objective = Hinted(squeezed, student, network(seed=1, base=6), weight=0.5)
    hand, more = feed(batch=2).batch(0), feed(batch=2, seed=1).batch(0)
    for batch in (hand, more):
        batch.images["answer"] = torch.full((2, 2, 16, 16), 0.5)
    terms = objective({"labelled": hand, "unlabelled": more}).terms
    assert terms["hint"].weight == 0.5
    terms["hint"].total.mean().backward()
    touched = {name.split(".")[1] for name, p in student.named_parameters() if p.grad is not None and p.grad.any()}
    assert touched == {"encoder"}
    assert objective.adapt.weight.shape[:2] == (12, 8)
    names = [name for name, _ in objective.named_parameters()]
    assert len(names) == len({id(p) for p in objective.parameters()})
    assert all(name.startswith(("student.", "adapt.")) for name in objective.state_dict())


def test_the_average_follows_and_keeps_the_bits_of_what_does_not_move():
    module = nn.Linear(3, 2)
    average = Average(module, decay=0.9)
    start = weights(module)
    for step in range(50):
        average.update(step)
    assert same(average.mean, start)
    with torch.no_grad():
        module.weight.add_(1.0)
    average.update(1000)
    assert torch.allclose(average.mean["weight"], start["weight"] + 0.1, atol=1e-6)
    with average.applied():
        assert torch.equal(module.weight, average.mean["weight"])
    assert torch.allclose(module.weight, start["weight"] + 1.0)


def test_a_journal_forgets_what_came_after_the_checkpoint(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    for step in (1, 2, 3):
        journal.write("step", step=step)
    with path.open("a") as file:
        file.write('{"event": "st')  # killed while writing
    Journal(path, step=2).write("step", step=3, again=True)
    assert [record["step"] for record in read_journal(path)] == [1, 2, 3]
    assert read_journal(path)[-1]["again"] is True


# --- predictor and domain


def test_the_training_domain_is_the_distribution_of_the_bands():
    domain = training_domain([Ponds(30, size=32), Ponds(10, size=32)], ("s1",))
    values = np.concatenate([Ponds(n, size=32)[n - 1].images["s1"][1].ravel() for n in range(1, 31)])
    found = domain["s1"]["VH"]
    assert list(domain["s1"]) == ["VV", "VH"]
    assert found.mean == pytest.approx(values.mean(), abs=0.3)
    assert found.std == pytest.approx(values.std(), abs=0.3)
    assert [found.p01, found.p50, found.p99] == pytest.approx(np.percentile(values, (1, 50, 99)), abs=1.0)


def test_a_band_seen_nowhere_is_in_no_domain():
    class Blind(Ponds):
        def __getitem__(self, number: int) -> Chip:
            chip = super().__getitem__(number)
            chip.images["s1"][1] = np.nan
            return chip

    assert list(training_domain([Blind(3)], ("s1", "s2"))["s1"]) == ["VV"]


def test_the_predictor_calibrates_and_names_a_missing_role():
    net = network().eval()
    signature = Signature(name="x", task=FLOOD, inputs={"s1": S1}, temperature=2.0)
    images = {"s1": feed().batch(0).images["s1"].numpy()}
    answer = TorchPredictor(net, signature).predict(images)
    with torch.no_grad():
        expected = (net({"s1": torch.from_numpy(images["s1"])}) / 2).softmax(1).numpy()
    np.testing.assert_allclose(answer, expected, atol=1e-6)
    assert answer.dtype == np.float32
    with pytest.raises(ModelError, match="VV, VH"):
        TorchPredictor(net, signature).predict({"s2": images["s1"]})


@given(batch=st.integers(2, 64), share=st.floats(0.001, 0.999))
def test_a_step_has_chips_with_labels_and_without(batch: int, share: float):
    labelled, rest = FitConfig(batch=batch).parted(share)
    assert labelled >= 1
    assert rest >= 1
    assert labelled + rest == batch
    assert abs(labelled - share * batch) <= 1
