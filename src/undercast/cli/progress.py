"""Progress on stderr, with rate and time left; a line now and then where stderr is no terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

EVERY = 10.0
"""Seconds between two lines where there is no terminal."""


@contextmanager
def track(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Give a function that is told how many of ``total`` are done."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    started = time.monotonic()
    told = started
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bar:
        line: TaskID = bar.add_task(label, total=total, rate="")

        def advance(done: int) -> None:
            nonlocal told
            now = time.monotonic()
            rate = f"{done / max(now - started, 1e-9):.1f}/s"
            bar.update(line, completed=done, rate=rate)
            if not console.is_terminal and now - told >= EVERY:
                told = now
                console.print(f"{label}: {done}/{total}, {rate}", highlight=False)

        yield advance
