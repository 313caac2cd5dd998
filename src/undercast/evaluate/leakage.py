"""Whether a model was trained on what it is scored on. It tells by its journal, which names the chips it has seen."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from undercast.chip import ChipInfo
from undercast.model import JOURNAL

EVENT = "chips"
"""The record of a journal that names them: ``keys``, and the ``events`` that are not keys themselves.

Keys that count up are one entry, ``simulated-00000007..00000011``.
"""
RUN = ".."


@dataclass(frozen=True)
class Trained:
    """The chips that a model learned from, by key, and their events."""

    keys: frozenset[str]
    events: frozenset[str]

    @classmethod
    def read(cls, folder: Path) -> "Trained | None":
        """What the journal of a model folder names; None where it names nothing."""
        path = folder / JOURNAL
        for line in path.read_text("utf-8").splitlines() if path.is_file() else ():
            record = json.loads(line)
            if record.get("event") == EVENT:
                keys = frozenset(key for entry in record["keys"] for key in _expanded(entry))
                return cls(keys, frozenset(record["events"]) | keys)
        return None

    def warnings(self, name: str, scored: Sequence[ChipInfo]) -> list[str]:
        """What to say of scores of the model ``name`` on chips ``scored``: chips, or else events, it was trained on."""
        seen = [info for info in scored if info.key in self.keys and info.event in self.events | {""}]
        events = sorted({info.event for info in scored} & self.events)
        if seen:
            return [f"{name} was trained on {len(seen)} of these {len(scored)} chips (such as {seen[0].key}): no test"]
        if events:
            shown = ", ".join(events[:5]) + (f" and {len(events) - 5} more" if len(events) > 5 else "")
            return [f"{name} was trained on other chips of the events scored: {shown}"]
        return []


def journal_line(parts: Sequence[Sequence[ChipInfo]]) -> str:
    """The line that says so, for the chips of ``parts``."""
    keys = sorted({info.key for part in parts for info in part})
    events = sorted({info.event for part in parts for info in part} - {*keys, ""})
    return json.dumps({"event": EVENT, "keys": _collapsed(keys), "events": events}) + "\n"


def _collapsed(keys: Sequence[str]) -> list[str]:
    """Sorted keys, those of one name that count up joined to ``FIRST..LAST``."""
    runs: list[list[str]] = []
    for key in keys:
        if runs and _next(runs[-1][-1]) == key:
            runs[-1].append(key)
        else:
            runs.append([key])
    return [run[0] if len(run) == 1 else f"{run[0]}{RUN}{_number(run[-1])}" for run in runs]


def _expanded(entry: str) -> list[str]:
    first, dots, last = entry.rpartition(RUN)
    number = _number(first)
    if not dots or not number or len(number) != len(last) or not last.isdigit():
        return [entry]
    stem = first.removesuffix(number)
    return [f"{stem}{count:0{len(last)}d}" for count in range(int(number), int(last) + 1)]


def _next(key: str) -> str | None:
    """The key that counts one further in as many digits; None where there is none."""
    number = _number(key)
    more = f"{int(number) + 1:0{len(number)}d}" if number else ""
    return key.removesuffix(number) + more if number and len(more) == len(number) else None


def _number(key: str) -> str:
    """The digits a key ends in."""
    found = re.search(r"[0-9]*$", key)
    return found.group() if found else ""
