"""From images to calibrated class probabilities: a chip at once, or a whole scene block by block."""

from undercast.predict.mapper import AnsweredBlock, MapperConfig, answer_scene, blocks_of
from undercast.predict.predictor import OpenVinoPredictor, Predictor, Restorer, answer, answer_outputs
from undercast.predict.strip import AnsweredLines, Strip, StripConfig
from undercast.predict.tiles import TilePlan

__all__ = [
    "AnsweredBlock",
    "AnsweredLines",
    "MapperConfig",
    "OpenVinoPredictor",
    "Predictor",
    "Restorer",
    "Strip",
    "StripConfig",
    "TilePlan",
    "answer",
    "answer_outputs",
    "answer_scene",
    "blocks_of",
]
