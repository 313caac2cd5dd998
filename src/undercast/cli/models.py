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
        "precisions": [precision for precision, name in graphs.items() if (folder.path / name).is_file()],
        "bytes": folder.size(),
        "path": str(folder.path),
    }


def _print(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    if not rows:
        console.print("No models are installed; train one with 'undercast train', or give 'undercast map' a folder.")
        return
    table = Table("model", "task", "sees", "trained on", "scores", "size", show_lines=True)
    for row in rows:
        size = f"{row['bytes'] / 1e6:.1f} MB\n{', '.join(row['precisions'])}"
        cells = (
            f"{row['name']}\n{row['version']}",
            f"{row['task']}\n{', '.join(row['classes'])}",
            "\n".join(f"{role}: {what}" for role, what in row["inputs"].items()) + f"\n{row['pixel_size']:g} m",
            "\n".join(row["training_data"]) or "not said",
            "\n".join(f"{name} {value:.3f}" for name, value in row["scores"].items()) or "none",
            size,
        )
        table.add_row(*map(escape, cells))
    console.print(table)
