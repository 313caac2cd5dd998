"""``undercast models``: what is installed, what it has seen, how it scores and how big it is."""

import json
from typing import Annotated, Any

import typer


def models(
    json_out: Annotated[bool, typer.Option("--json", help="Write the list to stdout as JSON.")] = False,
) -> None:
    """List the installed models, with training data, scores and size."""
    from undercast.model import installed

    rows = [_row(folder) for folder in installed()]
    if json_out:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        _print(rows)


def _row(folder: Any) -> dict[str, Any]:
    from undercast.model import ONNX, ONNX_INT8

    signature = folder.signature
    graphs = {"fp32": ONNX, "int8": ONNX_INT8}
    return {
        "name": folder.path.name,
        "version": signature.version,
        "task": signature.task.name,
        "classes": [label.name for label in signature.task.classes],
        "inputs": {role: f"{m.instrument} {', '.join(m.bands)} ({m.unit})" for role, m in signature.inputs.items()},
        "pixel_size": signature.pixel_size,
        "training_data": list(signature.training_data),
        "scores": signature.scores,
        "changelog": [change.model_dump(mode="json") for change in signature.changelog],
        "precisions": [precision for precision, name in graphs.items() if (folder.path / name).is_file()],
        "bytes": folder.size(),
        "path": str(folder.path),
    }


def _print(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.padding import Padding
    from rich.table import Table

    console = Console()
    if not rows:
        console.print("No models are installed; train one with 'undercast train', or give 'undercast map' a folder.")
        return
    for row in rows:
        title = f"{escape(row['name'])} {escape(row['version'])}"
        kind = f"{row['task']} ({', '.join(row['classes'])})"
        size = f"{row['bytes'] / 1e6:.1f} MB, {' and '.join(row['precisions'])}"
        console.print(f"[bold]{title}[/bold]   {escape(kind)}   {size}", highlight=False)
        told = Table.grid(padding=(0, 2))
        told.add_column(style="dim", justify="right", no_wrap=True)
        told.add_column()
        sees = [f"{role}: {what}, {row['pixel_size']:g} m" for role, what in row["inputs"].items()]
        scores = [f"{value:.3f}  {name}" for name, value in row["scores"].items()]
        changes = [f"{c['version']}, {c['date']}: {c['what']} {c['effect']}" for c in row["changelog"]]
        said = {"sees": sees, "trained on": row["training_data"], "scores": scores, "changes": changes}
        for name, lines in said.items():
            told.add_row(name, escape("\n".join(lines) or "not said"))
        console.print(Padding(told, (0, 0, 1, 2)))
