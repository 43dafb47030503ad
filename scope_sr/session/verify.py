"""Hold a session's folder against its journal: every field there, whole, and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from scope_sr import disk
from scope_sr.config import reason
from scope_sr.errors import InputError
from scope_sr.plan import Pass
from scope_sr.session import layout, opening
from scope_sr.session.companion import listed_files

if TYPE_CHECKING:
    from pathlib import Path

    from scope_sr.plan import Step
    from scope_sr.session.folder import Session
    from scope_sr.session.journal import Entry

# What the desktops of operating systems leave in folders one looks into
NOBODYS = {".DS_Store", "Thumbs.db", "desktop.ini"}


@dataclass(frozen=True)
class Tally:
    """How far one pass is: `captured` counts the rejected ones too; `bytes` on disk."""

    planned: int
    captured: int
    rejected: int
    skipped: int
    bytes: int


@dataclass(frozen=True)
class Report:
    """What `verify` found.

    Attributes
    ----------
    problems
        One line each, naming the file and the way out; empty when all is well. Fields not yet
        captured are no problem.
    remaining
        How many fields a resume would capture.
    next
        The first of them; empty when none remains.
    passes
        How far each pass is.
    being_written
        Whether another process was writing to the session meanwhile.
    """

    problems: tuple[str, ...]
    remaining: int
    next: str
    passes: dict[Pass, Tally]
    being_written: bool = False

    @property
    def ok(self) -> bool:
        """Whether everything there is as it was written."""
        return not self.problems


def verify(session: Session, progress: Callable[[int, int], None] | None = None) -> Report:
    """Check every file of a session; see `Session.verify`."""
    being_written = opening.is_held(session.folder)
    remaining = session.remaining()
    problems = [
        *_papers(session),
        *_fields(session, progress),
        *_strays(session, being_written=being_written),
        *([] if remaining or being_written else _companions(session)),
    ]
    return Report(
        problems=tuple(problems),
        remaining=len(remaining),
        next=remaining[0].name if remaining else "",
        passes={pass_: _tally(session, pass_) for pass_ in get_args(Pass)},
        being_written=being_written,
    )


def captured_fields(session: Session, pass_: str) -> list[tuple[Step, Entry]]:
    """Give the captured fields of a pass, in the plan's order."""
    entries = session.entries
    return [
        (step, entries[step.name])
        for step in session.plan.steps
        if step.pass_ == pass_ and step.name in entries and entries[step.name].event == "captured"
    ]


def _tally(session: Session, pass_: Pass) -> Tally:
    planned = [step.name for step in session.plan.of_pass(pass_)]
    entries = [session.entries[name] for name in planned if name in session.entries]
    there = session.there()
    captured = [entry for entry in entries if entry.step in there]
    return Tally(
        planned=len(planned),
        captured=len(captured),
        rejected=sum(bool(entry.faults) for entry in captured),
        skipped=sum(entry.event == "skipped" for entry in entries),
        bytes=sum(entry.bytes for entry in captured),
    )


def _papers(session: Session) -> Iterator[str]:
    """Check plan, rig, calibration record and journal against ``session.json``."""
    header, folder = session.header, session.folder
    for name, sha256 in ((layout.PLAN, header.plan_sha256), (layout.RIG, header.rig.sha256)):
        if _sha256(folder / name) != sha256:
            yield f"{folder / name}: changed since the session began; restore it from a copy"
    try:
        if header.record and session.record.digest != header.record:
            path = folder / layout.CALIBRATION
            yield f"{path}: not the record the session began with; restore it from a copy"
    except InputError as error:
        yield f"{error}; restore {folder / layout.CALIBRATION} from a copy"
    if session.journal.torn:
        again = layout.resume_command(folder)
        yield f"{session.journal.path}: its last line is torn; {again} drops it and goes on"
    for name in sorted(session.entries.keys() - {step.name for step in session.plan.steps}):
        yield f"{session.journal.path}: names {name}, which is not in the plan; remove its line"


def _fields(session: Session, progress: Callable[[int, int], None] | None) -> Iterator[str]:
    fields = [field for name in layout.PASSES for field in captured_fields(session, name)]
    for done, (_, entry) in enumerate(fields, start=1):
        fault = _field_fault(session.folder / entry.file, entry)
        if fault:
            again = layout.resume_command(session.folder)
            yield f"{session.folder / entry.file}: {fault}, then {again}"
        if progress:
            progress(done, len(fields))


def _field_fault(path: Path, entry: Entry) -> str:
    try:
        size = path.stat().st_size
        if size != entry.bytes:
            return f"{size} bytes long, {entry.bytes} were written; delete it"
        if _sha256(path) != entry.sha256:
            return "its bytes are not those that were written; delete it"
    except FileNotFoundError:
        return "missing; bring it back or let it be captured again"
    except OSError as error:
        return f"cannot be read ({reason(error)}); see to the disk"
    return ""


def _strays(session: Session, *, being_written: bool) -> Iterator[str]:
    """Name what lies in the folder and is not the session's, or not yet."""
    folder, again = session.folder, layout.resume_command(session.folder)
    planned = layout.files_of(session.plan)
    fields = {layout.field_file(step.name) for step in session.plan.steps}
    known = {entry.file for entry in session.entries.values()} | (planned - fields)
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or name in known or path.name in NOBODYS:
            continue
        if name.startswith(f"{layout.CALIBRATION}/") and session.header.record:
            continue
        if name.removesuffix(disk.PART) in planned and being_written:
            continue
        if name.removesuffix(disk.PART) in planned:
            yield f"{path}: left by a capture that was cut short; {again} clears it up"
        else:
            yield f"{path}: not of this session; move it elsewhere"


def _companions(session: Session) -> Iterator[str]:
    again = layout.resume_command(session.folder)
    for pass_, name in layout.COMPANIONS.items():
        fields = captured_fields(session, pass_)
        wanted = {entry.file: session.origin.urn(step.name) for step, entry in fields}
        path = session.folder / name
        if not wanted and not path.exists():
            continue
        try:
            listed = listed_files(path.read_bytes())
        except FileNotFoundError:
            yield f"{path}: missing (it is written when a capture ends); {again} writes it"
        except (OSError, ValueError) as error:
            yield f"{path}: cannot be read ({reason(error)}); {again} writes it anew"
        else:
            if listed != wanted:
                yield f"{path}: out of date; {again} writes it anew"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
