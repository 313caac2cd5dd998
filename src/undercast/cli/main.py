"""``undercast``: one command, a verb for each thing a person wants done."""

import os
import sys
from importlib import import_module
from typing import Annotated

import typer

from undercast.errors import UndercastError

# verb → module of this package that holds a function of the verb's name (``map_`` for map)
VERBS = {
    "demo": "demo",
    "map": "map_",
    "stream": "stream",
    "show": "show",
    "verify": "verify",
    "models": "models",
    "simulate": "simulate",
    "plan": "plan",
    "train": "train",
    "evaluate": "evaluate",
    "export": "export",
}

app = typer.Typer(
    help="Maps of the ground through cloud, when labels are scarce.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"undercast {version('undercast')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Say which.")
    ] = False,
) -> None:
    pass


for _verb, _module in VERBS.items():
    app.command(_verb)(getattr(import_module(f"undercast.cli.{_module}"), _module))
app.add_typer(import_module("undercast.cli.data").data, name="data")


def main() -> None:
    """Run a verb. What a user can mend is one line on stderr and exit code 1; the rest keeps its traceback."""
    try:
        app()
    except UndercastError as error:
        _fail(str(error))
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] in {
            "torch",
            "lightning_fabric",
            "onnx",
            "onnxscript",
            "safetensors",
        }:
            _fail(f"this verb needs '{error.name}', of the lab half: pip install 'undercast[train]'")
        raise
    except BrokenPipeError:
        # The reader of our stdout (head, say) has gone; Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _fail(message: str) -> None:
    typer.secho("error: ", fg="red", bold=True, nl=False, err=True)
    typer.echo(" ".join(message.split()), err=True)
    sys.exit(1)
