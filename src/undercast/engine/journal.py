"""The diary of a training run: one JSON object a line."""

import json
import time
from pathlib import Path


class Journal:
    """Appends records to a JSON-lines file; each has ``event``, and ``step`` where it belongs to one.

    Args:
        path: the file; None writes nothing (a process that is not the first).
        step: drop what an interrupted run wrote after this step; None starts a new file.
    """

    def __init__(self, path: Path | None, step: int | None = None) -> None:
        self.path = path
        if path is None:
            return
        kept = [] if step is None else [line for line in _lines(path) if json.loads(line).get("step", 0) <= step]
        path.write_text("".join(line + "\n" for line in kept), "utf-8")

    def write(self, event: str, **values: object) -> None:
        """Append one record; it is on disk when this returns."""
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"event": event, **values, "time": round(time.time(), 1)}) + "\n")


def read_journal(path: Path) -> list[dict[str, object]]:
    """The records of a journal, in order; a last line cut short by a crash is left out."""
    return [json.loads(line) for line in _lines(path)]


def _lines(path: Path) -> list[str]:
    """Whole lines; the journal of a killed run may end in half of one."""
    if not path.is_file():
        return []
    return [line.rstrip("\n") for line in path.read_text("utf-8").splitlines(keepends=True) if line.endswith("\n")]
