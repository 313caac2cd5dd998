"""``undercast plan``: how a data set is, and the network that suits it and the memory there is."""

from pathlib import Path
from typing import Annotated

import typer


def plan(
    data: Annotated[str, typer.Argument(help="Folder of labelled chips, or simulated:clouds:FIRST_SEED+COUNT[@SIZE].")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Write fingerprint and plan to this JSON file.")
    ] = None,
    role: Annotated[list[str] | None, typer.Option(help="Images the network sees; repeatable. Default: all.")] = None,
    bands: Annotated[str, typer.Option(help="Bands of the first of them, as B02,B03,B04,B08; default all.")] = "",
    target: Annotated[str | None, typer.Option(help="The label; the task's own by default.")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="key=value of the planner; repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print fingerprint and plan as JSON on stdout.")] = False,
) -> None:
    """Read all labelled chips of DATA, say how they are, and plan a network for them by nnU-Net's rules.

    --set memory_gib=0.5 plans for a smaller machine, --set base=16 for a slower one.
    """
    import json

    from undercast.config import override, validate
    from undercast.datasets import open_dataset
    from undercast.datasets.bands import OfBands
    from undercast.nets.plan import PlannerConfig, fingerprint, make_plan

    config = validate(override({}, assignments or []), PlannerConfig, "--set")
    source = open_dataset(data, roles=tuple(role) if role else None)
    roles = role or list(source.modalities)
    if bands:
        source = OfBands(source, {roles[0]: tuple(bands.split(","))})
    found = fingerprint(source, target or source.task.name, roles)
    made = make_plan(found, config)
    whole = {"fingerprint": found.model_dump(mode="json"), "plan": made.model_dump(mode="json")}
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(whole, indent=2) + "\n", "utf-8")
    if as_json:
        typer.echo(json.dumps(whole, indent=2))
        return
    shares = ", ".join(f"{name} {100 * share:.1f} %" for name, share in found.classes.items())
    typer.echo(f"{found.chips} chips of {found.shape[0]}×{found.shape[1]}: {shares}")
    for name, values in found.bands.items():
        for band, value in values.items():
            typer.echo(
                f"  {name} {band}: {value.p005:g} to {value.p995:g}, mean {value.mean:g}, deviation {value.std:g}"
            )
    typer.echo(
        f"plan: patches of {made.patch[0]}×{made.patch[1]}, {made.batch} a step; {made.body.stages} stages, "
        f"{', '.join(map(str, made.body.channels))} channels; {made.parameters / 1e6:.2f} million parameters"
    )
