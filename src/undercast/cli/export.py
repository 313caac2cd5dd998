"""``undercast export``: a model folder's graphs written anew from its weights, each proven before it is kept."""

import json
from typing import Annotated

import typer


def export(
    model: Annotated[str, typer.Argument(help="A model folder, or the name of an installed model.")],
    int8: Annotated[bool, typer.Option("--int8", help="Write the eight-bit graph as well.")] = False,
    data: Annotated[
        str, typer.Option(help="Chips to prove and calibrate on: a data set's folder, or simulated:FIRST_SEED+COUNT.")
    ] = "simulated:900000+16",
    chips: Annotated[int, typer.Option(min=1, help="At most this many of them, spread evenly.")] = 32,
    method: Annotated[
        str, typer.Option(help="How int8 finds the range of a layer: minmax; percentile or entropy where it is wide.")
    ] = "minmax",
    json_out: Annotated[bool, typer.Option("--json", help="Write the agreement to stdout as JSON.")] = False,
) -> None:
    """Write MODEL's ONNX graphs from its weights; they must answer as the weights do, or nothing is written."""
    from dataclasses import asdict

    from undercast.config import validate
    from undercast.datasets import open_dataset
    from undercast.datasets.bands import OfBands
    from undercast.errors import InputError
    from undercast.export import export_model
    from undercast.export.quantise import QuantiseConfig
    from undercast.model import resolve

    folder = resolve(model)
    source = open_dataset(data, roles=tuple(folder.signature.inputs))
    folder.signature.check_roles(set(source.modalities))
    inputs = folder.signature.inputs
    source = OfBands(source, {role: inputs[role].bands for role in inputs if role in source.modalities})
    for role, modality in inputs.items():
        if source.modalities[role] != modality:
            raise InputError(
                f"{data}: its '{role}' is {source.modalities[role]}, and model {folder.name} takes {modality}"
            )
    count = min(chips, len(source))
    typer.echo(f"proving {folder.path} on {count} chips of {data}", err=True)
    tiles = [source[number * len(source) // count] for number in range(count)]
    quantise = validate({"method": method}, QuantiseConfig, "--method")
    found = export_model(folder, tiles, int8=int8, quantise=quantise)
    if json_out:
        typer.echo(json.dumps([asdict(one) for one in found], indent=2))
    else:
        for one in found:
            typer.echo(str(one))
