"""The one training loop: an objective, feeds and settings in; a student that holds the mean of its weights out."""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from pydantic import Field
from torch import Tensor, nn

from undercast.chip import Batch
from undercast.config import Settings
from undercast.engine import checkpoint, ranks
from undercast.engine.average import Average
from undercast.engine.feed import Feed, prefetch
from undercast.engine.journal import Journal
from undercast.engine.objective import Objective, Step
from undercast.engine.place import Place
from undercast.engine.progress import StepProgress
from undercast.errors import TrainingError

CHECKPOINT = "checkpoint.safetensors"
JOURNAL = "journal.jsonl"

Validation = Callable[[nn.Module], Mapping[str, float]]
"""The student with the mean of its weights, in evaluation mode → metrics by name."""


class FitConfig(Settings):
    """How long and how fast to learn."""

    steps: int = Field(default=2000, ge=1, description="updates of the weights")
    batch: int = Field(default=16, ge=1, description="chips a step, over all feeds and processes")
    optimiser: Literal["adamw", "sgd"] = Field(default="adamw", description="sgd: with Nesterov's momentum")
    momentum: float = Field(default=0.99, ge=0, lt=1, description="of sgd")
    schedule: Literal["cosine", "poly"] = Field(default="cosine", description="how the learning rate falls")
    power: float = Field(default=0.9, gt=0, description="of the poly schedule, which ends at 0")
    learning_rate: float = Field(default=2e-3, gt=0, description="at its highest")
    final_rate: float = Field(
        default=0.01, ge=0, le=1, description="share of the learning rate left at the end of the cosine"
    )
    warmup: int = Field(
        default=100, ge=0, description="steps of linear rise before the fall; at most a tenth of all steps"
    )
    weight_decay: float = Field(default=0.01, ge=0, description="of weights with more than one axis only")
    clip: float = Field(default=1.0, gt=0, description="largest norm of the gradient")
    average: float = Field(
        default=0.998, ge=0, lt=1, description="decay of the moving average of the weights, each step"
    )
    log_every: int = Field(default=20, ge=1, description="steps between records in the journal")
    validate_every: int = Field(default=0, ge=0, description="steps between validations; 0: at the end only")
    checkpoint_every: int = Field(default=500, ge=0, description="steps between checkpoints; 0: only at the end")
    cache_gib: float = Field(default=4.0, ge=0, description="memory for the chips of each feed, GiB")
    workers: int = Field(default=1, ge=1, description="threads that read and augment chips")
    ahead: int = Field(default=3, ge=1, description="batches made ahead")

    def parted(self, share: float) -> tuple[int, int]:
        """Chips a step with labels, about ``share`` of them, and without; at least one of each."""
        hand = min(self.batch - 1, max(1, round(share * self.batch)))
        return hand, self.batch - hand

    def rate(self, step: int) -> float:
        """Learning rate of ``step``: a linear rise, then half a cosine [Loshchilov 2017] or ``(1 - share)^power``."""
        warmup = min(self.warmup, self.steps // 10)
        if step < warmup:
            return self.learning_rate * (step + 1) / warmup
        share = (step - warmup) / max(1, self.steps - warmup)
        if self.schedule == "poly":
            return self.learning_rate * float((1 - share) ** self.power)
        return self.learning_rate * (self.final_rate + (1 - self.final_rate) * (1 + math.cos(math.pi * share)) / 2)


def fit(
    objective: Objective,
    feeds: Mapping[str, Feed],
    config: FitConfig,
    place: Place,
    out: Path,
    *,
    seed: int = 0,
    name: str = "training",
    validate: Validation | None = None,
    resume: bool = False,
) -> None:
    """Minimise ``objective`` over ``feeds``; afterwards its student holds the mean of its weights, on the CPU.

    Writes ``checkpoint.safetensors`` and ``journal.jsonl`` into ``out``. With ``resume`` a run that was stopped goes
    on from its last checkpoint and ends with the same bits as if it had not stopped; a finished one is only read.

    Raises:
        TrainingError: ``out`` holds a checkpoint and ``resume`` is not set, or one of other settings; a parameter that
            the loss does not reach, by name; a loss that is not finite; whatever a feed raises.
    """
    _check_feeds(objective, feeds)
    fabric = place.launch()
    learner = _Learner(objective, config, fabric, seed, channels_last=place.channels_last)
    file, settings = out / CHECKPOINT, {"seed": seed, **config.model_dump(mode="json", exclude=_FREE)}
    first = 0
    if file.exists():
        if not resume:
            raise TrainingError(f"{out}: holds a checkpoint already; add --resume or give another folder")
        first = checkpoint.restore(file, objective, learner.average, learner.optimiser, settings=settings)
    ranks.align(objective)
    if fabric.is_global_zero:
        out.mkdir(parents=True, exist_ok=True)
    journal = Journal(out / JOURNAL if fabric.is_global_zero else None, first if file.exists() else None)
    if first == 0:
        journal.write("start", step=0, name=name, parameters=sum(p.numel() for p in objective.student.parameters()))

    batches = prefetch(
        feeds,
        range(first, config.steps),
        fabric.global_rank,
        fabric.world_size,
        ahead=config.ahead,
        workers=config.workers,
    )
    chips = sum(feed.size for feed in feeds.values())
    with (
        closing(batches),
        StepProgress(name, config.steps, first, shown=fabric.is_global_zero) as progress,
        learner.learning(),
    ):
        clock, counted = time.monotonic(), first
        for done, batch in enumerate(batches, start=first + 1):
            parts = learner.take(done - 1, batch)
            last = done == config.steps
            if _due(done, config.log_every) or last:
                rate = chips * (done - counted) / (time.monotonic() - clock)
                journal.write("step", step=done, **parts, rate=config.rate(done - 1), chips_per_second=round(rate, 1))
                progress.advance(done, rate, parts)
                clock, counted = time.monotonic(), done
            pause = time.monotonic()
            if validate and (_due(done, config.validate_every) or last):
                journal.write("validation", step=done, **learner.examine(validate))
            if _due(done, config.checkpoint_every) or last:
                if fabric.is_global_zero:
                    checkpoint.save(file, objective, learner.average, learner.optimiser, step=done, settings=settings)
                fabric.barrier()
            clock += time.monotonic() - pause  # the rate is of learning alone
    learner.average.settle()
    objective.cpu().eval()


# What may differ when a run goes on: how it is watched and fed, not what it learns.
_FREE = {"log_every", "validate_every", "checkpoint_every", "cache_gib", "workers", "ahead"}


class _Learner:
    """The objective on its device with optimiser and average; takes steps."""

    def __init__(
        self, objective: Objective, config: FitConfig, fabric: Fabric, seed: int, *, channels_last: bool
    ) -> None:
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.objective = objective.to(fabric.device, memory_format=self.layout)  # type: ignore[call-overload]
        self.config, self.fabric, self.seed = config, fabric, seed
        self.trainable = {name: p for name, p in objective.named_parameters() if p.requires_grad}
        if not self.trainable:
            raise TrainingError("the objective has no parameter to train: everything in it is pinned")
        weights = [parameter for parameter in self.trainable.values() if parameter.ndim > 1]
        others = [parameter for parameter in self.trainable.values() if parameter.ndim <= 1]
        groups: list[dict[str, Any]] = [{"params": weights}, {"params": others, "weight_decay": 0.0}]
        self.optimiser = _optimiser(groups, config, fused=fabric.device.type != "mps")
        self.average = Average(objective.student, config.average)
        self._checked = False

    def learning(self) -> AbstractContextManager[None]:
        """Training mode, with batch statistics over all processes."""
        self.objective.train()
        return ranks.shared_batch_norm(self.objective)

    def take(self, step: int, batches: Mapping[str, Batch]) -> dict[str, float]:
        """One update of the weights; answers the means of the loss's parts, over all processes."""
        # Seeded by the step, so that dropout too needs no memory of the run.
        torch.manual_seed((self.seed << 32) + step * self.fabric.world_size + self.fabric.global_rank)
        with self.fabric.autocast():
            parts: Step = self.objective({name: self._move(batch) for name, batch in batches.items()})
        counts = ranks.total(torch.stack([term.total.count for term in parts.terms.values()]))
        shares = [
            term.weight * term.total.sum / torch.where(count > 0, count, torch.ones_like(count))
            for term, count in zip(parts.terms.values(), counts, strict=True)
        ]
        loss = torch.stack(shares).sum()
        means = dict(zip(parts.terms, ranks.total(torch.stack(shares)).tolist(), strict=True))
        for name, value in means.items():
            if not math.isfinite(value):
                raise TrainingError(f"step {step + 1}: the loss '{name}' is {value}; lower fit.learning_rate")
        self.optimiser.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        self._refuse_idle()
        ranks.add_gradients(self.trainable.values())
        norm = torch.nn.utils.clip_grad_norm_(self.trainable.values(), self.config.clip)
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.rate(step)
        self.optimiser.step()
        self.average.update(step)
        return {"loss": sum(means.values()), **means, "gradient": float(norm)}

    def examine(self, validate: Validation) -> dict[str, float]:
        """Metrics of the student as it would ship now."""
        with self.average.applied():
            self.objective.eval()
            metrics = dict(validate(self.objective.student))
        self.objective.train()
        return metrics

    def _move(self, batch: Batch) -> Batch:
        def place(image: Tensor) -> Tensor:
            return self.fabric.to_device(image).contiguous(memory_format=self.layout)

        return Batch(
            {role: place(image) for role, image in batch.images.items()},
            {name: self.fabric.to_device(target) for name, target in batch.targets.items()},
        )

    def _refuse_idle(self) -> None:
        if self._checked:
            return
        idle = [name for name, parameter in self.trainable.items() if parameter.grad is None]
        if idle:
            more = f" and {len(idle) - 3} more" if len(idle) > 3 else ""
            raise TrainingError(f"the loss does not reach {', '.join(idle[:3])}{more}; pin it or leave it out")
        self._checked = True


def _optimiser(groups: list[dict[str, Any]], config: FitConfig, *, fused: bool) -> torch.optim.Optimizer:
    if config.optimiser == "adamw":
        return torch.optim.AdamW(groups, weight_decay=config.weight_decay, fused=fused)
    return torch.optim.SGD(
        groups, config.learning_rate, config.momentum, weight_decay=config.weight_decay, nesterov=config.momentum > 0
    )


def _due(done: int, every: int) -> bool:
    return every > 0 and done % every == 0


def _check_feeds(objective: Objective, feeds: Mapping[str, Feed]) -> None:
    if set(objective.feeds) != set(feeds):
        raise TrainingError(f"the objective asks for feeds {sorted(objective.feeds)}, given are {sorted(feeds)}")
