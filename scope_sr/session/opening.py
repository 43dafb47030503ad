"""How a session begins in an empty folder, and how one that was broken off is taken up again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import time
import uuid
from dataclasses import asdict
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from scope_sr import disk
from scope_sr.config import Rig, parse_rig, reason
from scope_sr.errors import InputError, SessionError
from scope_sr.session import planfile
from scope_sr.session.journal import Journal
from scope_sr.session.layout import (
    CALIBRATION,
    JOURNAL,
    LOCK,
    PASSES,
    PLAN,
    RIG,
    SCHEMA,
    SCHEMA_VERSION,
    SESSION,
    TRUTH,
    Header,
    RigFacts,
    Stored,
    estimate_bytes,
    files_of,
    read_stored,
)
from scope_sr.software import this_version

if TYPE_CHECKING:
    from pathlib import Path

    from filelock import BaseFileLock

    from scope_sr.calibration import CalibrationRecord
    from scope_sr.plan import Plan

ENDS_BYTES = 1 << 20
MARKER = SESSION + disk.PART  # stands from the first act of a beginning to its last


def refuse_occupied(folder: Path) -> None:
    """Raise InputError unless a session may begin in `folder`, that is, it is absent or empty.

    What a beginning that was cut short left behind does not count: its first act is to write
    ``session.json.part`` into an empty folder, its last to give that file its name. Nor does the
    simulator's log, which may begin with a focus map.
    """
    try:
        present = {path.name for path in folder.iterdir()}
    except FileNotFoundError:
        return
    except NotADirectoryError as error:
        msg = f"{folder} is a file, or lies in one; choose another --out"
        raise InputError(msg) from error
    except OSError as error:
        msg = f"{folder}: {reason(error)}; choose another --out"
        raise SessionError(msg) from error
    if SESSION in present:
        msg = f"{folder} holds a session already{_progress(folder)}"
        raise InputError(f"{msg}; continue it with --resume or choose another --out")
    begun = _written_at_birth() if present & {MARKER, MARKER + disk.PART} else {LOCK, TRUTH}
    if present - begun:
        msg = f"{folder} is not empty and holds no session; choose another --out"
        raise InputError(f"{msg} (nothing in it was touched)")


def refuse_full_disk(folder: Path, plan: Plan, rig: Rig) -> None:
    """Raise SessionError when the plan will not fit on the disk of `folder`."""
    needed, free = estimate_bytes(plan, rig), disk.free_bytes(folder)
    if needed > free:
        msg = (
            f"{folder}: {len(plan.steps)} fields need about {disk.in_words(needed)}, only"
            f" {disk.in_words(free)} are free there; make room or choose another --out"
        )
        raise SessionError(msg)


def lay_out(folder: Path, plan: Plan, rig: Rig, record: CalibrationRecord | None) -> None:
    """Write everything a session begins with into an empty folder; ``session.json`` comes last.

    Raises
    ------
    OSError
        The system refused; what had been written is gone again.
    ValueError
        The rig was changed after it was parsed: the copy of its text would be false.
    """
    plan_json, rig_toml = planfile.to_json(plan), rig.text.encode()
    if parse_rig(rig.text, source=rig.source, folder=rig.folder).digest != rig.digest:
        msg = "rig.text does not say what the rig says; change the text and parse it again"
        raise ValueError(msg)
    now_s = time.time()
    measured = record if record is not None and record.measured else None
    header = Header(
        schema=f"{SCHEMA}{SCHEMA_VERSION}",
        id=str(uuid.uuid4()),
        created=datetime.fromtimestamp(now_s, timezone.utc).isoformat(timespec="milliseconds"),
        software=this_version(),
        python=platform.python_version(),
        platform=platform.platform(),
        rig=RigFacts(rig.name, rig.source, str(rig.folder), rig.digest, _sha256(rig_toml)),
        record=measured.digest if measured else None,
        plan_sha256=_sha256(plan_json),
        specimen=_specimen(rig),
    )
    head = json.dumps(asdict(header), ensure_ascii=False, indent=2).encode() + b"\n"
    try:
        disk.store(folder / MARKER, head)
        disk.make_folders(folder / name for name in PASSES)
        disk.store(folder / PLAN, plan_json)
        disk.store(folder / RIG, rig_toml)
        if measured:
            measured.save(folder / CALIBRATION)
            disk.sync_tree(folder / CALIBRATION)
        disk.store(folder / JOURNAL, b"")
        Journal(folder / JOURNAL).note("start", now_s)
        disk.store(folder / SESSION, head)
    except OSError:
        _undo(folder)
        raise


def take_lock(folder: Path) -> BaseFileLock:
    """Take the folder for writing; the system lets go of it when this process ends, however."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        msg = f"{folder} is being written by another scope-sr; wait until it ends, or stop it"
        raise SessionError(msg) from error
    except NotImplementedError as error:
        msg = f"{folder}: the drive cannot lock files; choose another --out, on a local drive"
        raise SessionError(msg) from error
    return lock


def is_held(folder: Path) -> bool:
    """Say whether some process is writing to the session now."""
    if not (folder / LOCK).exists():
        return False
    try:
        take_lock(folder).release()
    except SessionError:
        return True
    return False


def refuse_change(folder: Path, stored: Stored, plan: Plan | None, rig: Rig | None) -> None:
    """Raise InputError where what is asked differs from what the session began with."""
    plan_sha256 = _sha256((folder / PLAN).read_bytes())
    if plan_sha256 != stored.header.plan_sha256:
        msg = f"{folder / PLAN}: changed since the session began; restore it from a copy"
        raise InputError(msg)
    if _specimen(stored.rig) != stored.header.specimen:
        msg = (
            f"{stored.rig.specimen.image} or its labels are not what they were when {folder} was"
            " begun; put the old files back, or choose another --out"
        )
        raise InputError(msg)
    change = planfile.rig_difference(stored.rig, rig) if rig else ""
    change = change or (planfile.plan_difference(stored.plan, plan) if plan else "")
    if change:
        msg = f"{folder} holds another capture: {change}"
        raise InputError(f"{msg}; leave that option out, or choose another --out")


def tidy(folder: Path, stored: Stored) -> None:
    """Clear away what a crash left half done; the note goes where a torn line began."""
    disk.make_folders(folder / name for name in PASSES)
    ours = files_of(stored.plan)
    parts = [path for path in folder.rglob(f"*{disk.PART}") if path.is_file()]
    names = [path.relative_to(folder).as_posix().removesuffix(disk.PART) for path in parts]
    disk.remove(path for path, name in zip(parts, names, strict=True) if name in ours)
    stored.journal.note("resume", time.time())


def _progress(folder: Path) -> str:
    try:
        stored = read_stored(folder)
    except InputError:
        return ""
    captured = sum(entry.event == "captured" for entry in stored.journal.entries.values())
    return f" ({captured} of {len(stored.plan.steps)} fields)"


def _written_at_birth() -> set[str]:
    names = {SESSION, PLAN, RIG, JOURNAL}
    return {*names, *(name + disk.PART for name in names), *PASSES, CALIBRATION, LOCK} | {
        MARKER + disk.PART
    }


def _undo(folder: Path) -> None:
    """Take back what `lay_out` wrote; the folder was empty when it began."""
    saved = sorted((folder / CALIBRATION).rglob("*"), reverse=True)
    # session.json first, its .part last: in between the folder counts as a beginning cut short
    names = sorted(_written_at_birth() - {LOCK}, key=lambda name: (name != SESSION, name))
    for path in [*saved, *(folder / name for name in names)]:
        with contextlib.suppress(OSError):
            disk.remove([path])


def _specimen(rig: Rig) -> str | None:
    """Tell the images under a simulated objective from others, without reading whole slides."""
    paths = [rig.folder / name for name in (rig.specimen.image, rig.specimen.labels) if name]
    if not paths:
        return None
    return _sha256(b"".join(map(_ends, paths)))


def _ends(path: Path) -> bytes:
    """Read size, start and end of a file: enough to tell a slide from another."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - ENDS_BYTES))
            end = file.read(ENDS_BYTES)
            file.seek(0)
            return str(size).encode() + file.read(ENDS_BYTES) + end
    except OSError as error:
        msg = f"{path}: {reason(error)}; the specimen must be where the rig says"
        raise InputError(msg) from error


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
