"""Raw lines of a push-broom sensor, as they come from a pipe."""

from collections.abc import Iterator, Mapping
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from undercast.bands import Modality
from undercast.errors import InputError
from undercast.raster.backscatter import unseen_to_nan
from undercast.raster.reflectance import OpticalForm, to_reflectance


def raw_lines(
    stream: BinaryIO,
    modalities: Mapping[str, Modality],
    *,
    width: int | None,
    dtype: str,
    form: OpticalForm | None,
    count: int = 64,
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Lines ``[C, n, width]`` in reflectance by role, ``count`` at a time, NaN where every band is 0.

    A line holds the bands of the one role one after the other, ``width`` little-endian numbers of ``dtype`` each.

    Raises:
        InputError: the lines cannot be told for lack of width or form, or they end within a line.
    """
    if len(modalities) != 1 or next(iter(modalities.values())).unit != "reflectance":
        raise InputError(f"raw lines hold one optical image; the model takes {', '.join(modalities)}")
    if width is None or form is None:
        missing = "--width" if width is None else "--optical"
        raise InputError(f"raw lines say nothing of themselves: give {missing}")
    try:
        kind = np.dtype(dtype).newbyteorder("<")
    except TypeError:
        raise InputError(f"--dtype {dtype}: is no type of number; give uint16 or float32, for example") from None
    ((role, modality),) = modalities.items()
    size = len(modality.bands) * width * kind.itemsize
    while data := stream.read(count * size):
        if len(data) % size:
            raise InputError(f"the raw lines end {len(data) % size} bytes into a line of {size}; check width and dtype")
        lines = np.frombuffer(data, kind).reshape(-1, len(modality.bands), width).transpose(1, 0, 2)
        yield {role: to_reflectance(unseen_to_nan(lines.astype(np.float32)), form)}
