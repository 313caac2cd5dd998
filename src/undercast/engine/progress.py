"""How far a training is, on stderr: a bar with rate and time left, or a line now and then where nobody watches."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class StepProgress:
    """Shows steps of ``name`` done out of ``steps``, chips a second, time left and the loss.

    A context manager; ``shown`` False keeps quiet (a process that is not the first).
    """

    def __init__(self, name: str, steps: int, start: int, *, shown: bool = True) -> None:
        self.name, self.steps, self.done, self.shown = name, steps, start, shown
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not (shown and self._console.is_terminal),
            transient=True,
        )
        self._task = self._bar.add_task(name, total=steps, completed=start, note="")
        self._begun, self._said = time.monotonic(), time.monotonic()
        self._start = start

    def __enter__(self) -> "StepProgress":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def advance(self, done: int, rate: float, values: Mapping[str, float]) -> None:
        """``done`` steps are taken, at ``rate`` chips a second."""
        note = "  ".join([f"{rate:.0f} chips/s", *(f"{name} {value:.4g}" for name, value in values.items())])
        self._bar.update(self._task, completed=done, note=note)
        now = time.monotonic()
        if self.shown and not self._console.is_terminal and (now - self._said > 30 or done == self.steps):
            left = (now - self._begun) / max(1, done - self._start) * (self.steps - done)
            print(f"{self.name}: {done}/{self.steps}  {note}  {left:.0f} s left", file=sys.stderr, flush=True)
            self._said = now
