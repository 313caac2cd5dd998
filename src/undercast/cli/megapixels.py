"""Progress of a map on stderr: megapixels, their rate and time left; a line now and then where it is no terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

EVERY = 10.0
"""Seconds between two lines where there is no terminal."""


@contextmanager
def megapixels(label: str) -> Iterator[Callable[[int, int], None]]:
    """Give a function that is told how many pixels are done, and of how many."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"), TimeRemainingColumn())
    started = told = time.monotonic()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        line = bar.add_task(label, total=None, text="")

        def advance(done: int, whole: int) -> None:
            nonlocal told
            now = time.monotonic()
            rate = done / 1e6 / max(now - started, 1e-9)
            text = f"{done / 1e6:.1f} of {whole / 1e6:.1f} MP, {rate:.1f} MP/s"
            bar.update(line, completed=done, total=whole, text=text)
            if not console.is_terminal and now - told >= EVERY:
                told = now
                left = (whole - done) / 1e6 / max(rate, 1e-9)
                console.print(f"{label}: {text}, {left:.0f} s left", highlight=False)

        yield advance
