"""How far a download is, on stderr: a bar with rate and time left, or a line now and then where nobody watches."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from undercast.datasets.fetch import Watch


@contextmanager
def transfer_progress(name: str) -> Iterator[Watch]:
    """A :class:`~undercast.datasets.fetch.Watch` that shows what it is told."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=None)
        lock = threading.Lock()
        begun = said = time.monotonic()
        files = done = size = came = 0

        def total(count: int, whole: int) -> None:
            nonlocal files, size
            files, size = count, whole
            bar.update(task, total=whole)

        def more(count: int) -> None:
            nonlocal came
            with lock:
                came += count
            bar.advance(task, count)

        def finished(_: str) -> None:
            nonlocal done, said
            with lock:
                done += 1
                bar.update(task, description=f"{name} {done}/{files} files")
                now = time.monotonic()
                if console.is_terminal or not (now - said > 30 or done == files):
                    return
                said = now
            rate = came / max(1e-3, now - begun)
            left = (size - came) / max(1.0, rate)
            message = f"{name}: {done}/{files} files, {came / 1e6:.1f}/{size / 1e6:.1f} MB, {rate / 1e6:.1f} MB/s"
            print(f"{message}, {left:.0f} s left", file=sys.stderr, flush=True)

        yield Watch(total, more, finished)
