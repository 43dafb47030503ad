"""What has happened to a session, one JSON line per event, appended and flushed to the disk.

The journal is the truth: a field is captured when its line stands here, and not before.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from pydantic import TypeAdapter

from scope_sr import disk
from scope_sr.frame import Position

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """What the journal says of one step.

    Attributes
    ----------
    time
        Start of the exposure, or the moment of skipping; seconds since 1970 (UTC).
    file, bytes, sha256
        Path within the session's folder with forward slashes, size and checksum of the file.
    shape, dtype
        Of the pixels.
    position
        Where the stage said it was; None for a skipped step.
    faults
        Why the field is rejected; empty when it is good.
    seconds
        From the frame to its file on the disk: compression, checksum, flushing.
    reason
        Why the step was skipped.
    """

    step: str
    event: Literal["captured", "skipped"]
    time: float
    file: str = ""
    bytes: int = 0
    sha256: str = ""
    shape: tuple[int, ...] = ()
    dtype: str = ""
    position: Position | None = None
    exposure_ms: float = 0.0
    faults: tuple[str, ...] = ()
    seconds: float = 0.0
    reason: str = ""


@dataclass
class Journal:
    """The lines so far: the next begins at byte `end`, where `torn` bytes of a broken one lie."""

    path: Path
    entries: dict[str, Entry] = field(default_factory=dict)
    end: int = 0
    torn: int = 0

    def record(self, entry: Entry) -> None:
        """Append what happened to a step; on return it would survive a power cut."""
        self._append(_adapter().dump_python(entry, mode="json", exclude_defaults=True))
        self.entries[entry.step] = entry

    def note(self, what: str, time: float) -> None:
        """Append a remark, such as the start of the work or its end."""
        self._append({"event": "note", "what": what, "time": time})

    def _append(self, event: dict[str, Any]) -> None:
        line = json.dumps(event, ensure_ascii=False, allow_nan=False) + "\n"
        self.end = disk.append(self.path, self.end, line.encode())
        self.torn = 0


def read_journal(path: Path) -> Journal:
    """Read a journal; the rest of a line that a crash cut short does not count.

    Raises
    ------
    OSError
        The file is missing or cannot be read.
    ValueError
        A line before the last is not what this program writes; the message gives its number.
    """
    whole, newline, rest = path.read_bytes().rpartition(b"\n")
    journal = Journal(path, end=len(whole) + len(newline), torn=len(rest))
    for number, line in enumerate(whole.splitlines(), start=1):
        entry = _entry(line, number)
        if entry is not None:
            journal.entries[entry.step] = entry
    return journal


def _entry(line: bytes, number: int) -> Entry | None:
    try:
        event = json.loads(line)
        return None if event["event"] == "note" else _adapter().validate_python(event)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        msg = f"line {number} is damaged; delete that line, and its field is captured again"
        raise ValueError(msg) from error


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[Entry]:
    return TypeAdapter(Entry)
