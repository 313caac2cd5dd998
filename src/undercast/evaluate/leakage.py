"""Whether a model was trained on what it is scored on. It tells by its journal, which names the chips it has seen."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from undercast.chip import ChipInfo
from undercast.model import JOURNAL

EVENT = "chips"
"""The record of a journal that names them: ``keys``, and the ``events`` that are not keys themselves."""


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
                keys = frozenset(record["keys"])
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
    return json.dumps({"event": EVENT, "keys": keys, "events": events}) + "\n"
