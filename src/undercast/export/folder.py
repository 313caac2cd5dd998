"""The model folder written and read back: complete and proven, or not there at all."""

import copy
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from undercast.chip import Chip
from undercast.errors import ConfigError, ModelError
from undercast.export.agreement import Agreement, AgreementConfig, agreement
from undercast.export.onnx import export_onnx
from undercast.export.quantise import QuantiseConfig, quantise_int8
from undercast.model import CARD, CONFIG, JOURNAL, ONNX, ONNX_INT8, SIGNATURE, WEIGHTS, ModelFolder, write_signature
from undercast.nets import Segmenter, SegmenterConfig
from undercast.signature import Signature


def describe(segmenter: Segmenter, name: str, **more: Any) -> Signature:
    """The signature of ``segmenter``: inputs, task, network, stride, measured margin; ``more`` are its other fields.

    The margin of a network that looks at the whole tile is put down as 0; it is written without graphs.
    """
    return Signature(
        name=name,
        task=segmenter.task,
        inputs=segmenter.modalities,
        network=segmenter.config.model_dump(mode="json"),
        stride=segmenter.stride,
        margin=0 if segmenter.whole_tile else segmenter.margin,
        optional=segmenter.config.optional,
        restores=segmenter.config.restores,
        **more,
    )


def write_model(
    folder: Path,
    segmenter: Segmenter,
    signature: Signature,
    *,
    card: str,
    config_toml: str,
    journal: str,
    chips: Sequence[Chip],
    int8: bool = False,
    bars: AgreementConfig | None = None,
    quantise: QuantiseConfig | None = None,
) -> list[Agreement]:
    """Write a model folder at ``folder`` after proving on ``chips`` that its graphs say what the weights say.

    Written aside and renamed when proven; a model folder that was there is replaced. ``chips`` are real tiles of the
    model's roles; with ``int8`` they also calibrate the integer graph. ``segmenter`` is not changed. A network that
    looks at the whole tile is written without graphs: it can teach, and no map by tiles would be exact.

    Raises:
        ModelError: the signature does not fit the network, a graph does not agree, or ``folder`` holds something that
            is no model. Nothing is written then, and what was there stays.
    """
    _check_fit(segmenter, signature)
    if folder.exists() and not (folder / SIGNATURE).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise ModelError(f"{folder}: holds something that is no model; choose another folder or remove it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _aside(folder) as aside:
        write_signature(signature, aside)
        (aside / CARD).write_text(card, "utf-8")
        (aside / CONFIG).write_text(config_toml, "utf-8")
        (aside / JOURNAL).write_text(journal, "utf-8")
        _save_weights(segmenter, aside / WEIGHTS)
        found = [] if segmenter.whole_tile else _write_graphs(aside, segmenter, signature, chips, int8, bars, quantise)
        _replace_folder(aside, folder)
    return found


def export_model(
    folder: ModelFolder,
    chips: Sequence[Chip],
    *,
    int8: bool = False,
    bars: AgreementConfig | None = None,
    quantise: QuantiseConfig | None = None,
) -> list[Agreement]:
    """Write the graphs of a model folder anew from its own weights, proven on ``chips``; each replaced at once.

    Raises:
        ModelError: the weights cannot be read or a graph does not agree; what was there stays.
    """
    segmenter = load_segmenter(folder)
    if segmenter.whole_tile:
        raise ModelError(f"{folder.path}: its network looks at the whole tile, so no map is made of it; distil it")
    with _aside(folder.path) as aside:
        write_signature(folder.signature, aside)
        found = _write_graphs(aside, segmenter, folder.signature, chips, int8, bars, quantise)
        for name in [ONNX, ONNX_INT8] if int8 else [ONNX]:
            os.replace(aside / name, folder.path / name)
    return found


def load_segmenter(folder: ModelFolder) -> Segmenter:
    """The network of a model folder with its weights, in evaluation mode; from signature and safetensors alone.

    Raises:
        ModelError: the signature holds no network this version knows, or the weights are missing or do not fit it.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder.path / WEIGHTS
    try:
        config = SegmenterConfig.model_validate(folder.signature.network)
        segmenter = config.build(folder.signature.inputs, folder.signature.task)
    except (ValidationError, ConfigError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise ModelError(f"{folder.path / SIGNATURE}: describes no network this version can build ({reason})") from None
    try:
        segmenter.load_state_dict(load_file(path))
    except FileNotFoundError:
        raise ModelError(f"{folder.path}: holds no {WEIGHTS}, so its network cannot be rebuilt") from None
    except (SafetensorError, RuntimeError) as error:
        raise ModelError(f"{path}: does not hold this network ({str(error).splitlines()[-1].strip()[:160]})") from None
    return segmenter.eval()


def _save_weights(segmenter: Segmenter, path: Path) -> None:
    from safetensors.torch import save

    # A network in channels_last is not contiguous, as safetensors wants it.
    path.write_bytes(save({key: _pack(value.detach().cpu()) for key, value in segmenter.state_dict().items()}))


def _pack(tensor: Tensor) -> Tensor:
    """``tensor`` in half precision where that loses nothing, which is half the file; else as it is."""
    half = tensor.half() if tensor.dtype == torch.float32 else tensor
    return (half if torch.equal(half.to(tensor.dtype), tensor) else tensor).contiguous()


def _check_fit(segmenter: Segmenter, signature: Signature) -> None:
    for name, value in segmenter.state_dict().items():
        if not value.isfinite().all():
            raise ModelError(f"model {signature.name} is not written: its weights '{name}' are not finite")
    wanted = describe(segmenter, signature.name)
    for field in ("task", "inputs", "network", "stride", "margin", "optional", "restores"):
        if getattr(wanted, field) != getattr(signature, field):
            raise ModelError(f"model {signature.name}: its signature's {field} is not the network's; use describe()")


def _write_graphs(
    aside: Path,
    segmenter: Segmenter,
    signature: Signature,
    chips: Sequence[Chip],
    int8: bool,
    bars: AgreementConfig | None,
    quantise: QuantiseConfig | None,
) -> list[Agreement]:
    if not chips:
        raise ModelError(f"model {signature.name} is not written: agreement cannot be proven on no chips; give some")
    bars = bars or AgreementConfig()
    model = ModelFolder(aside, signature)
    reference = copy.deepcopy(segmenter).cpu().float().eval()
    export_onnx(segmenter, signature, aside / ONNX)
    found = agreement(model, reference, chips, "fp32")
    if int8:
        quantise_int8(aside / ONNX, aside / ONNX_INT8, signature, chips, quantise)
        found += agreement(model, reference, chips, "int8")
    for one in found:
        if not bars.accepts(one):
            raise ModelError(f"model {signature.name} is not written: {one}, which is below the bar")
    return found


@contextmanager
def _aside(folder: Path) -> Iterator[Path]:
    """A hidden folder beside ``folder``, on the same disk so that it can be renamed; gone afterwards."""
    aside = Path(mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    aside.chmod(0o755)  # mkdtemp makes it private, and a model is for sharing
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _replace_folder(aside: Path, folder: Path) -> None:
    if not folder.exists():
        aside.rename(folder)
        return
    with _aside(folder) as former:
        folder.rename(former / folder.name)
        try:
            aside.rename(folder)
        except OSError:
            (former / folder.name).rename(folder)
            raise
