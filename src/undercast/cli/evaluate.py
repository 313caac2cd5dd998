"""``undercast evaluate``: a model, or a rule, scored on labelled chips."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from undercast.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from undercast.chip import ChipInfo, ChipSource
    from undercast.evaluate import Table
    from undercast.predict import Predictor


def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            help="Model folder or installed model; or 'threshold', 'otsu' (on VV: 'threshold-vv', 'otsu-vv')."
        ),
    ],
    data: Annotated[str, typer.Argument(help="Folder of labelled chips, or simulated:FIRST_SEED+COUNT[@SIZE].")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the report; its files are replaced.")],
    split: Annotated[str | None, typer.Option(help="Only chips of this split.")] = None,
    event: Annotated[list[str] | None, typer.Option(help="Only chips of this event; may be repeated.")] = None,
    baseline: Annotated[list[str] | None, typer.Option(help="Score beside it: a threshold, or a model.")] = None,
    target: Annotated[str | None, typer.Option(help="The label to score against; the task's own by default.")] = None,
    by: Annotated[str | None, typer.Option(help="Target that tells clear from covered, such as cloud.")] = None,
    precision: Annotated[str, typer.Option(help="Graph to run: fp32 or int8.")] = "fp32",
    worst: Annotated[
        str | None,
        typer.Option(
            metavar="CLASS",
            help="Rank the chips into worst.csv by the IoU of this class: where the model did not learn from them, the "
            "first are labels to look at.",
        ),
    ] = None,
    ground: Annotated[
        list[float] | None, typer.Option(help="Also a table on pixels of so many metres; may be repeated.")
    ] = None,
    figures: Annotated[bool, typer.Option(help="Draw the reliability diagram and the best and worst chips.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON on stdout.")] = False,
) -> None:
    """Score MODEL on the labelled chips of DATA: one row a chip in table.csv, all statistics in report.md."""
    from rich.console import Console

    from undercast.datasets import SimulatedChips, open_dataset
    from undercast.datasets.split import select
    from undercast.evaluate.figures import gallery, reliability
    from undercast.evaluate.lacking import lacking
    from undercast.evaluate.noise import rank_chips, write_suspects
    from undercast.evaluate.paper import caption, to_grid, to_markdown
    from undercast.evaluate.report import report, show, truth_shares, write

    names = _named([*(baseline or []), model])
    predictors = {told: _predictor(name, precision) for told, name in names.items()}
    # What is told in most detail is the last, which stays the model with all it takes.
    predictors = {k: p for predictor in predictors.values() for k, p in lacking(predictor).items()} | predictors
    roles = {role for predictor in predictors.values() for role in predictor.signature.inputs}
    source = open_dataset(data, roles=tuple(sorted(roles | {"s1", "s2"})))
    if by and isinstance(source, SimulatedChips):
        source = replace(source, targets=tuple(dict.fromkeys((*source.targets, by))))
    if split is not None or event:
        source = select(source, split=split, event=event or None)
    warnings = _warnings(predictors, source.index)
    table = _scored(predictors, source, target, by=by)
    result = report(table)
    sized = {}
    for metres in ground or ():
        sizes = {predictor.signature.pixel_size for predictor in predictors.values()}
        found = report(_scored(predictors, source, target, factor=metres / max(sizes)))
        sized[caption(found, metres, split)] = found
    drawn = {}
    if figures:
        reliability(table, out / "reliability.png")
        drawn["How often it was so, against how likely it was called"] = "reliability.png"
        gallery(source, predictors, table, out / "chips.png", target=target)
        drawn[f"The best and the worst chips of {list(predictors)[-1]}; IoU in the corner"] = "chips.png"
    table.save(out)
    if worst is not None:
        write_suspects(rank_chips(table.of(list(names)[-1]), worst), out / "worst.csv")
    notes = [f"- {line}" for line in (*warnings, *truth_shares(table))]
    write(result, out, drawn, [*to_markdown(sized), "", "## Chips scored", "", *notes])
    if as_json:
        typer.echo(result.model_dump_json(indent=2))
    else:
        console = Console()
        show(result, console)
        for told, found in sized.items():
            console.print(to_grid(told, found))
        for line in truth_shares(table):
            console.print(line, style="dim", highlight=False)
        typer.echo(f"{out / 'report.md'}")


def _named(models: list[str]) -> dict[str, str]:
    """What each model is called in the tables → where it is: the folder's name, with its parent's where two are alike.

    Raises:
        ConfigError: two are still alike.
    """
    last = [Path(model).name for model in models]
    told = [
        name if last.count(name) == 1 else "/".join(Path(model).parts[-2:])
        for name, model in zip(last, models, strict=True)
    ]
    if twice := [name for name in told if told.count(name) > 1]:
        raise ConfigError(f"{twice[-1]}: two predictors are called '{twice[-1]}'; rename a folder")
    return dict(zip(told, models, strict=True))


def _scored(
    predictors: "dict[str, Predictor]",
    source: "ChipSource",
    target: str | None,
    factor: float = 1.0,
    by: str | None = None,
) -> "Table":
    from undercast.cli.progress import track
    from undercast.evaluate.scoring import score

    tables = []
    for name, predictor in predictors.items():
        with track(f"scoring {name}", len(source)) as advance:
            tables.append(score(predictor, source, name=name, target=target, factor=factor, by=by, progress=advance))
    return sum(tables[1:], start=tables[0])


def _warnings(predictors: "dict[str, Predictor]", scored: "Sequence[ChipInfo]") -> list[str]:
    """What every model was trained on and is now scored on, said on stderr too."""
    from undercast.evaluate.leakage import Trained

    found = []
    for name, predictor in predictors.items():
        folder = getattr(predictor, "folder", None)  # a rule has none and was not trained
        trained = Trained.read(folder.path) if folder else None
        found += trained.warnings(name, scored) if trained else []
        if folder and trained is None:
            found.append(f"{name} does not tell which chips it was trained on")
    for line in found:
        typer.secho(f"warning: {line}", fg="yellow", err=True)
    return found


def _predictor(name: str, precision: str) -> "Predictor":
    from undercast.evaluate.baselines import BASELINES, baseline
    from undercast.model import resolve
    from undercast.predict import OpenVinoPredictor

    return baseline(name) if name in BASELINES else OpenVinoPredictor(resolve(name), precision)
