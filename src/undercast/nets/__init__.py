"""Networks: each a frozen configuration with build(), beside its module."""

from undercast.nets.cloudseg import Answer, CloudSeg, CloudSegConfig
from undercast.nets.deeplab import DeepLab, DeepLabConfig
from undercast.nets.encoders import ConvEncoder, MitEncoder
from undercast.nets.fusion import Fusion, FusionConfig
from undercast.nets.nnunet import NNUNet, NNUNetConfig
from undercast.nets.parts import Normalise, Pinned, measure_reach
from undercast.nets.segmenter import Segmenter, SegmenterConfig
from undercast.nets.siamese import EmbeddingConfig, PlainConfig, Siamese, SiameseConfig, Staged, StagedConfig
from undercast.nets.unet import UNet, UNetConfig

__all__ = [
    "Answer",
    "CloudSeg",
    "CloudSegConfig",
    "ConvEncoder",
    "DeepLab",
    "DeepLabConfig",
    "EmbeddingConfig",
    "Fusion",
    "FusionConfig",
    "MitEncoder",
    "NNUNet",
    "NNUNetConfig",
    "Normalise",
    "Pinned",
    "PlainConfig",
    "Segmenter",
    "SegmenterConfig",
    "Siamese",
    "SiameseConfig",
    "Staged",
    "StagedConfig",
    "UNet",
    "UNetConfig",
    "measure_reach",
]
