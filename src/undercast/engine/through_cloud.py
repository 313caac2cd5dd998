"""Learn to see the ground through cloud from a teacher that looked at it under a clear sky [Xu 2024]."""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from undercast.chip import Batch
from undercast.config import Settings
from undercast.engine.objective import Frozen, HardLoss, Images, Objective, Step, Term, terms
from undercast.engine.observed import observed_target, pick, seen
from undercast.losses.distil import confidence, divergence
from undercast.losses.restore import RestorationConfig, hint, restoration
from undercast.nets import Answer, Segmenter
from undercast.task import NODATA


class ThroughCloudConfig(Settings):
    """What a student learns beside its labels; the defaults are the paper's, every other value an option of ours."""

    restore: float = Field(default=1.0, ge=0, description="weight of the restoration loss; 0 leaves it out")
    restoration: RestorationConfig = RestorationConfig()
    hint: float = Field(default=1.0, ge=0, description="weight of the teacher's features; 0 leaves them out")
    normalised: bool = Field(default=False, description="divide the hint by the clear pixels instead of all")
    answers: float = Field(
        default=0.0, ge=0, description="weight of the teacher's answers, by its confidence, on all pixels; 0: none"
    )
    temperature: float = Field(default=1.0, gt=0, description="of both softmaxes of the answers")
    soft: bool = Field(default=False, description="weigh by how much light the cloud takes, not by cloud or no cloud")

    @property
    def needs_teacher(self) -> bool:
        """Whether any part compares with a teacher."""
        return self.hint > 0 or self.answers > 0


class ThroughCloud(Objective):
    """Cross-entropy on labels, the clear image restored, and a clear-sky teacher's features where the sky is clear.

    Args:
        student: takes ``roles``, the optical one first, and restores it.
        teacher: takes the roles of ``sees``, the optical one first; None where ``config`` asks for none.
        loss: of labels.
        config: what is learned beside them.
        target: name of the labels.
        roles: images of the student.
        sees: role of the teacher → role in the batch.
        clear: role in the batch of the clear image that is to be restored.
        cover: target that says where there is cloud: a class (1 to 254 is cloud or its shadow), or with ``config.soft``
            the light it takes away, percent. 255 is not known, and is taken for cloud.

    The optical image may be missing from a chip altogether (all NaN); there everything is under cloud. With ``pairs``
    there is a second feed of that name whose labels are not read: restored and compared with the teacher alone.
    """

    def __init__(
        self,
        student: Segmenter,
        teacher: Frozen | None,
        loss: HardLoss,
        config: ThroughCloudConfig,
        *,
        target: str,
        roles: Sequence[str],
        sees: Mapping[str, str],
        clear: str,
        cover: str,
        pairs: bool = False,
    ) -> None:
        super().__init__(student)
        self.feeds = ("chips", "pairs") if pairs else ("chips",)
        self.teacher, self.loss, self.config = teacher, loss, config
        self.target, self.roles, self.sees = target, tuple(roles), dict(sees)
        self.clear, self.cover = clear, cover

    def forward(self, batches: Mapping[str, Batch]) -> Step:
        """The terms ``cross_entropy``, ``restoration``, ``hint`` and ``answers``, as far as they are asked for."""
        hand, batch = batches["chips"], _together([batches[feed] for feed in self.feeds])
        student = cast(Segmenter, self.student)
        found = student.answer(pick(batch.images, self.roles))
        logits = found.logits[: len(hand)].float()
        parts = terms(self.loss(logits, observed_target(hand, self.target, self.roles)))
        covered = self.covered(batch)
        if self.config.restore and found.restored is not None:
            clear = batch.images[self.clear]
            total = restoration(found.restored, clear, covered, seen(clear), self.config.restoration)
            parts["restoration"] = Term(total, self.config.restore)
        if self.teacher is not None:
            images = {role: batch.images[name] for role, name in self.sees.items()}
            parts |= self._taught(found, self.teacher.ask(images, _answer), covered, images)
        return Step(parts)

    def _taught(self, found: Answer, teacher: Answer, covered: Tensor, images: Images) -> dict[str, Term]:
        config, known = self.config, torch.stack([seen(image) for image in images.values()]).all(dim=0)
        parts: dict[str, Term] = {}
        if config.hint:
            shape = found.features.shape[-2:]
            where = _shrink(covered, shape), _shrink(known.float(), shape) > 0.999
            total = hint(found.features, teacher.features, *where, normalised=config.normalised)
            parts["hint"] = Term(total, config.hint)
        if config.answers:
            logits = teacher.logits.float()
            weights = confidence(logits)
            if weights.shape == known.shape:
                weights = weights * known
            soft = divergence(found.logits.float(), logits, temperature=config.temperature, weights=weights)
            parts["answers"] = Term(soft, config.answers)
        return parts

    def covered(self, batch: Batch) -> Tensor:
        """M: how much of each pixel's optical image is cloud, ``[B, H, W]`` float32 in 0 to 1; 1 where not seen."""
        cover = batch.targets[self.cover]
        share = cover.float() / 100 if self.config.soft else (cover > 0).float()
        share = torch.where(cover == NODATA, torch.ones_like(share), share)
        return torch.where(seen(batch.images[self.roles[0]]), share, torch.ones_like(share))


def _together(batches: Sequence[Batch]) -> Batch:
    """One batch of all chips, in order, with the images and targets of the first."""
    first = batches[0]
    images = {role: torch.cat([batch.images[role] for batch in batches]) for role in first.images}
    return Batch(images, {name: torch.cat([batch.targets[name] for batch in batches]) for name in first.targets})


def _shrink(layer: Tensor, shape: torch.Size) -> Tensor:
    """Means of ``layer`` ``[B, H, W]`` over the pixels of each feature, as far as features are coarser."""
    step = -(-layer.shape[-2] // shape[0])
    if step == 1:
        return layer
    padded = functional.pad(layer, (0, step * shape[1] - layer.shape[-1], 0, step * shape[0] - layer.shape[-2]))
    return functional.avg_pool2d(padded.unsqueeze(1), step).squeeze(1)


def _answer(module: nn.Module, images: Images) -> Answer:
    return cast(Segmenter, module).answer(images, whole=False)
