"""Findings, and how they are said: as text for people, as JSON for programs."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from scope_sr.microscope.inventory import Inventory

SCHEMA = "scope-sr/doctor/1"
State = Literal["ok", "note", "problem"]
MARKS: dict[State, str] = {"ok": "ok", "note": "note", "problem": "PROBLEM"}
MARK_WIDTH = 9
WIDEST_NAME = 22


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: a problem stops captures, a note is worth knowing."""

    area: str
    what: str
    state: State
    text: str
    remedy: str = ""


@dataclass(frozen=True)
class Report:
    """All that was found; `text` says it to people and `to_json` to programs."""

    rig: str | None
    folder: str
    findings: tuple[Finding, ...]
    packages: Mapping[str, str | None]
    inventory: Inventory | None = None

    @property
    def problems(self) -> tuple[Finding, ...]:
        """What has to be put right before pairs can be captured."""
        return tuple(finding for finding in self.findings if finding.state == "problem")

    @property
    def notes(self) -> tuple[Finding, ...]:
        """What is worth knowing."""
        return tuple(finding for finding in self.findings if finding.state == "note")

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        return not self.problems

    def text(self, width: int = 100) -> str:
        """Lay the findings out in sections, each remedy below what it remedies."""
        lines: list[str] = []
        for area in dict.fromkeys(finding.area for finding in self.findings):
            lines += [area, *_section([f for f in self.findings if f.area == area], width), ""]
        counts = counted(len(self.problems), "problem"), counted(len(self.notes), "note")
        return "\n".join([*lines, ", ".join(counts)])

    def to_json(self) -> str:
        """Write everything as one JSON document in ASCII."""
        document = {
            "schema": SCHEMA,
            "version": self.packages.get("scope-sr"),
            "ok": self.ok,
            "problems": len(self.problems),
            "notes": len(self.notes),
            "rig": self.rig,
            "folder": self.folder,
            "findings": [asdict(finding) for finding in self.findings],
            "packages": dict(self.packages),
            "inventory": asdict(self.inventory) if self.inventory else None,
        }
        return json.dumps(document, indent=2, allow_nan=False)


def counted(number: int, noun: str) -> str:
    """Say how many, in the plural where it is due.

    >>> counted(1, "note"), counted(0, "problem")
    ('1 note', '0 problems')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _section(findings: Iterable[Finding], width: int) -> Iterator[str]:
    findings = list(findings)
    longest = max(len(finding.what) for finding in findings)
    name_width = min(longest, WIDEST_NAME)
    for finding in findings:
        head = f"  {MARKS[finding.state]:<{MARK_WIDTH}}{finding.what:<{name_width}}  "
        indent = " " * (2 + MARK_WIDTH + name_width + 2)
        yield from _wrapped(finding.text, head, indent, width)
        if finding.remedy:
            yield from _wrapped(finding.remedy, f"{indent}-> ", f"{indent}   ", width)


def _wrapped(text: str, head: str, indent: str, width: int) -> list[str]:
    # A path or a label with a hyphen must stay whole, to be copied
    return textwrap.wrap(
        text,
        max(width, len(indent) + 30),
        initial_indent=head,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [head.rstrip()]
