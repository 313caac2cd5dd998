"""Networks: each a frozen configuration with build(), beside its module."""

from undercast.nets.deeplab import DeepLab, DeepLabConfig
from undercast.nets.parts import Normalise, Pinned, measure_reach
from undercast.nets.segmenter import Segmenter, SegmenterConfig
from undercast.nets.unet import UNet, UNetConfig

__all__ = [
    "DeepLab",
    "DeepLabConfig",
    "Normalise",
    "Pinned",
    "Segmenter",
    "SegmenterConfig",
    "UNet",
    "UNetConfig",
    "measure_reach",
]
