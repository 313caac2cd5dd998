"""From the optical decoder's features to the optical image under a clear sky.

The published head is two convolutions without activation, 16→64→bands [Xu 2024], at the resolution of the features;
the image is enlarged smoothly, for pixels that each feature says alone repeat its errors as a pattern of squares.

Ours, an option: :class:`Filled` draws only what is missing. The network says how far it believes each pixel it was
given; what it does not believe is first filled with the colour of the believed ground around it (pull and push,
[Gortler 1996]), and the head draws the difference to that.
"""

import torch
from torch import Tensor, nn

BLOCK = 4
"""Pixels a side of the smallest blocks a colour is taken from."""
HALVINGS = 3
"""Of those, up to blocks of 32 pixels; beyond them the colour is the network's own prior."""
LARGEST = BLOCK * 2**HALVINGS
DOUBT = 0.05
"""Belief at which a block's own colour weighs as much as that of the coarser block around it."""


class Drawn(nn.Module):
    """The published head: all of the image is drawn."""

    def __init__(self, features: int, hidden: int, bands: int, stride: int) -> None:
        super().__init__()
        self.draw = nn.Sequential(
            nn.Conv2d(features, hidden, 1),
            nn.Conv2d(hidden, bands, 1),
            nn.Upsample(scale_factor=stride, mode="bilinear", align_corners=False),
        )

    def forward(self, features: Tensor, planes: Tensor) -> Tensor:
        """``features`` ``[B, F, h, w]`` → the clear image ``[B, bands, H, W]``; ``planes`` are not looked at."""
        drawn: Tensor = self.draw(features)
        return drawn


class Filled(nn.Module):
    """The image it was given where that is believed, elsewhere the colours around and what is drawn upon them."""

    def __init__(self, features: int, hidden: int, bands: int, stride: int) -> None:
        super().__init__()
        self.bands = bands
        self.draw = Drawn(features, hidden, bands + 1, stride)
        self.prior = nn.Parameter(torch.zeros(1, bands, 1, 1))
        self.blocks = nn.AvgPool2d(BLOCK)
        self.pixels = nn.Upsample(scale_factor=BLOCK, mode="bilinear", align_corners=False)
        self.shrink = nn.AvgPool2d(2)
        self.enlarge = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)

    def forward(self, features: Tensor, planes: Tensor) -> Tensor:
        """``features`` ``[B, F, h, w]`` and ``planes`` ``[B, bands (+ 1), H, W]``, the normalised image and, where the
        network is told, whether it was seen → the clear image ``[B, bands, H, W]``. H and W are multiples
        of ``LARGEST``."""
        drawn = self.draw(features, planes)
        image, seen = planes[:, : self.bands], planes[:, self.bands :]
        belief = drawn[:, self.bands :].sigmoid()
        if seen.shape[1]:
            belief = belief * seen
        around = self.pixels(self._around(self.blocks(belief * image), self.blocks(belief), HALVINGS))
        clear: Tensor = belief * image + (1 - belief) * (around + drawn[:, : self.bands])
        return clear

    def _around(self, colours: Tensor, belief: Tensor, halvings: int) -> Tensor:
        """Means of what is believed, over the smallest blocks that hold enough of it; ``colours`` are weighed."""
        wider: Tensor = self.prior
        if halvings:
            wider = self.enlarge(self._around(self.shrink(colours), self.shrink(belief), halvings - 1))
        colour: Tensor = (colours + DOUBT * wider) / (belief + DOUBT)
        return colour
