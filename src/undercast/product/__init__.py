"""What an analyst opens: layers, numbers and a picture in one folder that exists only when complete."""

from undercast.product.codes import CodeConfig, Entry, encode, entries_of, to_percent
from undercast.product.layer import LayerWriter
from undercast.product.summary import Tally, VerdictConfig, summarise
from undercast.product.write import ProductWriter

__all__ = [
    "CodeConfig",
    "Entry",
    "LayerWriter",
    "ProductWriter",
    "Tally",
    "VerdictConfig",
    "encode",
    "entries_of",
    "summarise",
    "to_percent",
]
