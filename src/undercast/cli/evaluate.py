"""``undercast evaluate``: a model, or a rule, scored on labelled chips."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from undercast.errors import ConfigError

if TYPE_CHECKING:
    from undercast.predict import Predictor


def evaluate(
    model: Annotated[str, typer.Argument(help="Model folder or installed model; or 'threshold', 'otsu'.")],
    data: Annotated[str, typer.Argument(help="Folder of labelled chips, or simulated:FIRST_SEED+COUNT[@SIZE].")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the report; its files are replaced.")],
    split: Annotated[str | None, typer.Option(help="Only chips of this split.")] = None,
    event: Annotated[list[str] | None, typer.Option(help="Only chips of this event; may be repeated.")] = None,
    baseline: Annotated[list[str] | None, typer.Option(help="Score beside it: threshold, otsu, or a model.")] = None,
    target: Annotated[str | None, typer.Option(help="The label to score against; the task's own by default.")] = None,
    precision: Annotated[str, typer.Option(help="Graph to run: fp32 or int8.")] = "fp32",
    worst: Annotated[
        str | None,
        typer.Option(
            metavar="CLASS",
            help="Rank the chips into worst.csv by the IoU of this class: where the model did not learn from them, the "
            "first are labels to look at.",
        ),
    ] = None,
    figures: Annotated[bool, typer.Option(help="Draw the reliability diagram and the best and worst chips.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON on stdout.")] = False,
) -> None:
    """Score MODEL on the labelled chips of DATA: one row a chip in table.csv, all statistics in report.md."""
    from rich.console import Console

    from undercast.cli.progress import track
    from undercast.datasets import open_dataset
    from undercast.datasets.split import select
    from undercast.evaluate.figures import gallery, reliability
    from undercast.evaluate.noise import rank_chips, write_suspects
    from undercast.evaluate.report import report, show, write
    from undercast.evaluate.table import score

    names = [*(baseline or []), model]
    if twice := [name for name in names if [Path(other).name for other in names].count(Path(name).name) > 1]:
        raise ConfigError(f"{twice[-1]}: two predictors are called '{Path(twice[-1]).name}'; rename a folder")
    predictors = {Path(name).name: _predictor(name, precision) for name in names}
    roles = {role for predictor in predictors.values() for role in predictor.signature.inputs}
    source = open_dataset(data, roles=tuple(sorted(roles | {"s1", "s2"})))
    if split is not None or event:
        source = select(source, split=split, event=event or None)
    tables = []
    for name, predictor in predictors.items():
        with track(f"scoring {name}", len(source)) as advance:
            tables.append(score(predictor, source, name=name, target=target, progress=advance))
    table = sum(tables[1:], start=tables[0])
    result = report(table)
    drawn = {}
    if figures:
        reliability(table, out / "reliability.png")
        drawn["How often it was so, against how likely it was called"] = "reliability.png"
        gallery(source, predictors, table, out / "chips.png", target=target)
        drawn[f"The best and the worst chips of {list(predictors)[-1]}; IoU in the corner"] = "chips.png"
    table.save(out)
    if worst is not None:
        write_suspects(rank_chips(tables[-1], worst), out / "worst.csv")
    write(result, out, drawn)
    if as_json:
        typer.echo(result.model_dump_json(indent=2))
    else:
        show(result, Console())
        typer.echo(f"{out / 'report.md'}")


def _predictor(name: str, precision: str) -> "Predictor":
    from undercast.evaluate.baselines import BASELINES, baseline
    from undercast.model import resolve
    from undercast.predict import OpenVinoPredictor

    return baseline(name) if name in BASELINES else OpenVinoPredictor(resolve(name), precision)
