"""A trained network to a model folder that proves it agrees, or is not written."""

from undercast.export.agreement import Agreement, AgreementConfig, agreement
from undercast.export.folder import describe, export_model, load_segmenter, write_model
from undercast.export.onnx import export_onnx
from undercast.export.quantise import QuantiseConfig, quantise_int8

__all__ = [
    "Agreement",
    "AgreementConfig",
    "QuantiseConfig",
    "agreement",
    "describe",
    "export_model",
    "export_onnx",
    "load_segmenter",
    "quantise_int8",
    "write_model",
]
