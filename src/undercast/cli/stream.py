"""``undercast stream``: a push-broom strip, a few hundred lines at a time, and what is worth sending down."""

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from undercast.raster.reflectance import OpticalForm
    from undercast.signature import Signature

STDIN = "-"


def stream(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="Rasters of one strip, as for map, read in order of lines; or - for raw lines on stdin, each the "
            "bands of the model one after the other (--width, --dtype).",
        ),
    ],
    model: Annotated[str, typer.Option("--model", "-m", help="An installed model, or a model folder.")] = "clouds-s2",
    lines: Annotated[int, typer.Option(min=1, help="Lines of a frame.")] = 256,
    drop_above: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="A frame with more cloud is dropped, share; as the model says, else 0.7."),
    ] = None,
    precision: Annotated[Literal["fp32", "int8"], typer.Option(help="Which graph of the model to run.")] = "fp32",
    optical: Annotated[
        Literal["counts", "counts-1000", "reflectance"] | None,
        typer.Option(help="What the pixels hold: reflectance × 10000, that with 1000 added, or reflectance."),
    ] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Raw lines: pixels of a line.")] = None,
    dtype: Annotated[str, typer.Option(help="Raw lines: type of a number, such as uint16 or float32.")] = "uint16",
    assign: Annotated[list[str] | None, typer.Option("--set", help="A setting: strip.columns=512.")] = None,
    json_out: Annotated[
        bool, typer.Option("--json", help="Lines of JSON: first what all rests on, then one a frame.")
    ] = False,
) -> None:
    """Decide frame by frame of a strip: downlink or drop. Memory is the same however long the strip is."""
    from undercast.config import override, validate
    from undercast.mapping.stream import Frame, Stream, StreamConfig
    from undercast.model import resolve
    from undercast.predict import OpenVinoPredictor

    given = override({"frame": lines} | ({} if drop_above is None else {"drop_above": drop_above}), assign or [])
    config, folder = validate(given, StreamConfig, "--set"), resolve(model)
    raw = inputs == [STDIN]
    source = _raw(folder.signature, width, dtype, optical) if raw else _rasters(inputs, folder.signature, optical)
    engine: Stream | None = None
    dropped = frames = 0

    def told(found: list[Frame]) -> None:
        nonlocal dropped, frames
        for frame in found:
            frames, dropped = frames + 1, dropped + (frame.decision == "drop")
            typer.echo(json.dumps(frame.as_json()) if json_out else _sentence(frame.as_json()))

    for piece in source:
        if engine is None:
            across = next(iter(piece.values())).shape[2]
            engine = Stream(OpenVinoPredictor(folder, precision, threads=1), across, config)
            typer.echo(json.dumps(engine.stated()) if json_out else _rates(engine.stated()), err=not json_out)
        told(engine.push(piece))
    if engine is not None:
        told(engine.finish())
    typer.echo(f"{frames - dropped} of {frames} frames to send down, {dropped} to drop", err=True)


PIECE = 64
"""Lines read at a time."""


def _rasters(
    inputs: list[str], signature: "Signature", optical: "OpticalForm | None"
) -> "Iterator[dict[str, NDArray[np.float32]]]":
    from undercast.raster import Scene, Window

    with Scene.open(inputs, signature.inputs, optical=optical) as scene:
        for note in scene.notes:
            typer.secho(f"note: {note}", fg="yellow", err=True)
        height, width = scene.shape
        for row in range(0, height, PIECE):
            yield scene.read(Window(row, 0, min(PIECE, height - row), width))


def _raw(
    signature: "Signature", width: int | None, dtype: str, optical: "OpticalForm | None"
) -> "Iterator[dict[str, NDArray[np.float32]]]":
    from undercast.raster.lines import raw_lines

    return raw_lines(sys.stdin.buffer, signature.inputs, width=width, dtype=dtype, form=optical, count=PIECE)


def _rates(stated: dict[str, Any]) -> str:
    known = stated["downlink_accuracy"] is not None
    rates = (
        f"accuracy {stated['downlink_accuracy']:.1%}, {stated['downlink_false_positives']:.1%} of the frames worth "
        "sending dropped, on frames held out"
        if known
        else "how often that is wrong was not measured"
    )
    return f"{stated['model']}: a frame is dropped above {stated['drop_above']:.0%} cloud; {rates}"


def _sentence(frame: dict[str, Any]) -> str:
    cloud = f"{frame['cloud']:6.1%} cloud" if "cloud" in frame else "   not seen"
    return f"frame {frame['frame']:>5}  line {frame['first_line']:>7}  {cloud}  {frame['decision']}"
