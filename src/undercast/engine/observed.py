"""What the images of a batch observed, and the labels that may be read there."""

from collections.abc import Sequence

import torch
from torch import Tensor

from undercast.chip import Batch
from undercast.engine.objective import Images
from undercast.errors import TrainingError
from undercast.task import NODATA


def pick(images: Images, roles: Sequence[str]) -> Images:
    """The images of ``roles``. Raises TrainingError that names what the feed lacks."""
    missing = [role for role in roles if role not in images]
    if missing:
        raise TrainingError(f"the feed has no role {', '.join(missing)}; it carries {', '.join(images)}")
    return {role: images[role] for role in roles}


def seen(image: Tensor) -> Tensor:
    """Where all bands of ``image`` ``[B, C, H, W]`` have a value: bool ``[B, H, W]``."""
    return image.isfinite().all(dim=1)


def seen_by_any(images: Images, roles: Sequence[str]) -> Tensor:
    """Where at least one of ``roles`` saw the ground: bool ``[B, H, W]``."""
    return torch.stack([seen(images[role]) for role in roles]).any(dim=0)


def observed_target(batch: Batch, name: str, roles: Sequence[str]) -> Tensor:
    """The target with 255 where no role saw anything (targets on another grid than the images are left as they are)."""
    target, observed = batch.targets[name], seen_by_any(batch.images, roles)
    return target.masked_fill(~observed, NODATA) if target.shape == observed.shape else target
