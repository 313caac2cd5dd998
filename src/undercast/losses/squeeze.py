"""How a large teacher is squeezed into a small student: a weighted sum of losses against its answers.

Response by response, that is :func:`~undercast.losses.distil.divergence` [Hinton 2015], what the paper uses
[Grabowski 2023]; the others are offered beside it. All compare logits ``[B, K, h, w]`` of student and teacher where
``weights`` ``[B, h, w]`` are above 0.

Which of them can teach at all depends on the number of classes: see :meth:`SqueezeConfig.check`.
"""

from pydantic import Field
from torch import Tensor
from torch.nn import functional

from undercast.config import Settings
from undercast.errors import ConfigError
from undercast.losses.distil import divergence
from undercast.losses.segmentation import Total, overlap

HIDDEN = -1e4
"""Stands for a logit that is not to take part in a softmax over pixels."""


class SqueezeConfig(Settings):
    """What of the teacher's answer is matched; a weight of 0 leaves a part out."""

    temperature: float = Field(default=2.0, gt=0, description="of both softmaxes over classes")
    weight: float = Field(default=1.0, ge=0, description="of the divergence of every pixel's classes [Hinton 2015]")
    dice: float = Field(default=0.0, ge=0, description="of 1 less the overlap of every class but 0 [Milletari 2016]")
    channel: float = Field(default=0.0, ge=0, description="of the divergence of every class's pixels [Shu 2021]")
    channel_temperature: float = Field(default=4.0, gt=0, description="of both softmaxes over pixels")
    intra: float = Field(default=0.0, ge=0, description="of 1 less the correlation of each class [Huang 2022]")
    inter: float = Field(default=0.0, ge=0, description="of 1 less the correlation of each pixel [Huang 2022]")
    hint: float = Field(default=0.0, ge=0, description="of the teacher's lowest features [Romero 2015]")
    standardised: bool = Field(default=False, description="logits of each pixel to deviation 1 first [Sun 2024]")

    def check(self, classes: int) -> None:
        """Refuse what cannot teach a task of so many classes.

        With two classes a pixel's answer has one degree of freedom. Two numbers brought to mean 0 and deviation 1, or
        correlated with two others, are +1 and -1 whatever they were: such a loss is constant and has no gradient.

        Raises:
            ConfigError: the message names the setting and says why.
        """
        for name, value in (("inter", self.inter), ("standardised", self.standardised)):
            if classes == 2 and value:
                raise ConfigError(
                    f"{name} = {value} cannot teach two classes: two numbers correlated or standardised within a pixel "
                    "are always +1 and -1, so the loss is constant and has no gradient; use weight, channel or intra"
                )
        if not (self.weight or self.dice or self.channel or self.intra or self.inter or self.hint):
            raise ConfigError(
                "nothing of the teacher is matched: give weight, dice, channel, intra, inter or hint a value above 0"
            )

    def terms(self, student: Tensor, teacher: Tensor, weights: Tensor) -> dict[str, tuple[Total, float]]:
        """Every loss of the answers that counts, by name, with its weight; a hint is of features."""
        terms: dict[str, tuple[Total, float]] = {}
        if self.weight:
            pair = (standardise(student), standardise(teacher)) if self.standardised else (student, teacher)
            terms["teacher"] = divergence(*pair, temperature=self.temperature, weights=weights), self.weight
        if self.dice:
            terms["teacher_dice"] = soft_dice(student, teacher, weights=weights), self.dice
        if self.channel:
            total = channel_divergence(student, teacher, temperature=self.channel_temperature, weights=weights)
            terms["teacher_channel"] = total, self.channel
        if self.intra:
            terms["teacher_intra"] = intra_class(student, teacher, weights=weights), self.intra
        if self.inter:
            terms["teacher_inter"] = inter_class(student, teacher, weights=weights), self.inter
        return terms


def soft_dice(student: Tensor, teacher: Tensor, *, weights: Tensor) -> Total:
    """:func:`~undercast.losses.segmentation.dice` with the teacher's probabilities for labels, over the whole batch.

    A rare class counts as much as a common one, as it does in a loss against labels that has a Dice term; beside
    that one the divergence alone makes a student too shy of it.
    """
    seen = (weights > 0).unsqueeze(1)
    first, second = (
        logits.float().masked_fill(~seen, 0).softmax(dim=1)[:, 1:] for logits in (student, teacher.detach())
    )
    return overlap(first, second, seen, smooth=1e-5, pooled=True)


def channel_divergence(student: Tensor, teacher: Tensor, *, temperature: float = 4.0, weights: Tensor) -> Total:
    """``T²·KL`` between each class's softmax over the pixels of a chip [Shu 2021], over chips and classes.

    It says where a class is likeliest rather than how likely it is anywhere. Pixels of weight 0 take no part.
    """
    hidden = (weights <= 0).flatten(1).unsqueeze(1)

    def spread(logits: Tensor) -> Tensor:
        flat = (logits.float() / temperature).flatten(2).masked_fill(hidden, HIDDEN)
        return flat.log_softmax(dim=2)

    target, answer = spread(teacher.detach()), spread(student)
    losses = temperature**2 * (target.exp() * (target - answer)).masked_fill(hidden, 0).sum(dim=2)
    counted = (~hidden).any(dim=2).expand_as(losses).float()
    return Total((losses * counted).sum(), counted.sum())


def intra_class(student: Tensor, teacher: Tensor, *, weights: Tensor) -> Total:
    """1 less the correlation of a class's probabilities over the pixels of a chip [Huang 2022], over chips and classes.

    Not counted where either says the same everywhere, for there is nothing to correlate.
    """
    seen = (weights > 0).unsqueeze(1)
    first, second = (
        logits.float().masked_fill(~seen, 0).softmax(dim=1).masked_fill(~seen, 0).flatten(2)
        for logits in (student, teacher.detach())
    )
    return _uncorrelated(first, second, seen.flatten(2).expand_as(first))


def inter_class(student: Tensor, teacher: Tensor, *, weights: Tensor) -> Total:
    """1 less the correlation of a pixel's class probabilities [Huang 2022], over pixels; constant for two classes.

    Raises:
        ConfigError: there are fewer than three classes.
    """
    SqueezeConfig(inter=1.0).check(student.shape[1])
    seen = (weights > 0).flatten(1)
    first, second = (
        logits.float().masked_fill(~(weights > 0).unsqueeze(1), 0).softmax(dim=1).flatten(2).transpose(1, 2)
        for logits in (student, teacher.detach())
    )
    found = _uncorrelated(first, second, seen.unsqueeze(2).expand_as(first))
    return found


def hint(student: Tensor, teacher: Tensor, *, weights: Tensor | None = None) -> Total:
    """Mean square difference of feature maps ``[B, C, h, w]`` [Romero 2015], each channel of each chip standardised.

    The student's are brought to the teacher's channels by whoever asks (a 1×1 convolution that does not ship) and to
    its resolution here; ``weights`` ``[B, H, W]`` says where the teacher is believed, on any grid.
    """
    teacher = functional.instance_norm(teacher.detach().float())
    student = functional.instance_norm(student.float())
    if student.shape[2:] != teacher.shape[2:]:
        student = functional.interpolate(student, size=teacher.shape[2:], mode="bilinear", align_corners=False)
    losses = (student - teacher).square().mean(dim=1)
    if weights is None:
        return Total(losses.sum(), losses.new_tensor(float(losses.numel())))
    grid = functional.interpolate(weights.float().unsqueeze(1), size=losses.shape[1:], mode="nearest").squeeze(1)
    return Total((losses * grid).sum(), grid.sum())


def standardise(logits: Tensor) -> Tensor:
    """Logits of each pixel less their mean over their deviation [Sun 2024]; ±1 for two classes, whatever they were."""
    logits = logits.float()
    apart = logits - logits.mean(dim=1, keepdim=True)
    deviation: Tensor = apart.square().mean(dim=1, keepdim=True).sqrt()
    return apart / (deviation + 1e-6)


def _uncorrelated(first: Tensor, second: Tensor, seen: Tensor) -> Total:
    """1 less the correlation along the last axis of ``[B, N, L]`` where ``seen``, over rows that vary."""
    count = seen.sum(dim=2, keepdim=True).clamp(min=1)

    def centred(values: Tensor) -> Tensor:
        return (values - (values * seen).sum(dim=2, keepdim=True) / count) * seen

    a, b = centred(first), centred(second)
    spread = a.square().sum(dim=2) * b.square().sum(dim=2)
    varies = spread > 1e-12
    # The root of what does not vary has no gradient; it is replaced before, and left out after.
    losses = 1 - (a * b).sum(dim=2) / spread.masked_fill(~varies, 1).sqrt()
    return Total(losses.masked_fill(~varies, 0).sum(), varies.float().sum())
