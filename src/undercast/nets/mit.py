"""One stage of the Mix Transformer [Xie 2021]: overlapping patches, attention over fewer keys, a mixing feed-forward.

Written from the paper. Stochastic depth and pretraining are left out.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

DEPTHS: dict[str, tuple[int, int, int, int]] = {
    "b0": (2, 2, 2, 2),
    "b1": (2, 2, 2, 2),
    "b2": (3, 4, 6, 3),
    "b3": (3, 4, 18, 3),
    "b4": (3, 8, 27, 3),
    "b5": (3, 6, 40, 3),
}
"""Blocks of each stage."""

EXPANSION = 4
"""Channels inside the feed-forward layer, relative."""


@dataclass(frozen=True)
class MitStageConfig:
    """One stage: its channels, what it shrinks by, its blocks and heads, and by how much keys are reduced a side."""

    channels: int
    stride: int
    depth: int
    heads: int
    reduction: int


class MitStage(nn.Module):
    """``[B, before, H, W]`` → ``[B, channels, H/stride, W/stride]``."""

    def __init__(self, config: MitStageConfig, before: int) -> None:
        super().__init__()
        size = 2 * config.stride - 1
        self.embed = nn.Conv2d(before, config.channels, size, config.stride, size // 2)
        self.embed_norm = nn.LayerNorm(config.channels)
        self.blocks = nn.ModuleList(MitBlock(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.channels)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        image = self.embed(image)
        rows, cols = image.shape[-2:]
        tokens = self.embed_norm(image.flatten(2).transpose(1, 2))
        for block in self.blocks:
            tokens = block(tokens, rows, cols)
        return _to_image(self.norm(tokens), rows, cols)


class MitBlock(nn.Module):
    """Attention and feed-forward, each added to what it was given."""

    def __init__(self, config: MitStageConfig) -> None:
        super().__init__()
        channels = config.channels
        self.norm_attention, self.norm_mix = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attention = ReducedAttention(channels, config.heads, config.reduction)
        self.mix = MixFeedForward(channels)

    def forward(self, tokens: Tensor, rows: int, cols: int) -> Tensor:
        """Tokens ``[B, rows·cols, C]`` → the same shape."""
        tokens = tokens + self.attention(self.norm_attention(tokens), rows, cols)
        mixed: Tensor = tokens + self.mix(self.norm_mix(tokens), rows, cols)
        return mixed


class ReducedAttention(nn.Module):
    """Self-attention whose keys and values come from blocks of ``reduction`` × ``reduction`` tokens, made one."""

    def __init__(self, channels: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(channels, 2 * channels)
        self.project = nn.Linear(channels, channels)
        self.reduce = nn.Conv2d(channels, channels, reduction, reduction) if reduction > 1 else None
        self.reduce_norm = nn.LayerNorm(channels) if reduction > 1 else None

    def forward(self, tokens: Tensor, rows: int, cols: int) -> Tensor:
        """Tokens ``[B, rows·cols, C]`` → the same shape."""
        fewer = tokens
        if self.reduce is not None and self.reduce_norm is not None:
            image = _to_image(tokens, rows, cols)
            step = self.reduce.kernel_size[0]
            # A last block that is not full is filled up, so that any size will do.
            image = functional.pad(image, (0, -cols % step, 0, -rows % step))
            fewer = self.reduce_norm(self.reduce(image).flatten(2).transpose(1, 2))
        query = self._split(self.query(tokens))
        key, value = (self._split(part) for part in self.key_value(fewer).chunk(2, dim=-1))
        seen = functional.scaled_dot_product_attention(query, key, value)
        projected: Tensor = self.project(seen.transpose(1, 2).flatten(2))
        return projected

    def _split(self, tokens: Tensor) -> Tensor:
        """``[B, N, C]`` → ``[B, heads, N, C/heads]``."""
        return tokens.reshape(*tokens.shape[:2], self.heads, -1).transpose(1, 2)


class MixFeedForward(nn.Module):
    """Widen, mix each channel with its neighbours by a depthwise 3×3, narrow: it stands for a position code too."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = EXPANSION * channels
        self.widen, self.narrow = nn.Linear(channels, wide), nn.Linear(wide, channels)
        self.depthwise = nn.Conv2d(wide, wide, 3, padding=1, groups=wide)

    def forward(self, tokens: Tensor, rows: int, cols: int) -> Tensor:
        """Tokens ``[B, rows·cols, C]`` → the same shape."""
        image = self.depthwise(_to_image(self.widen(tokens), rows, cols))
        narrowed: Tensor = self.narrow(functional.gelu(image).flatten(2).transpose(1, 2))
        return narrowed


def _to_image(tokens: Tensor, rows: int, cols: int) -> Tensor:
    """``[B, rows·cols, C]`` → ``[B, C, rows, cols]``."""
    return tokens.transpose(1, 2).reshape(tokens.shape[0], -1, rows, cols)
