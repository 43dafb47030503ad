"""Where things stand in a session's folder, how one begins, and how it is read back."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from scope_sr.config import Rig, parse_rig, reason
from scope_sr.errors import InputError, SessionError
from scope_sr.session import planfile
from scope_sr.session.journal import Journal, read_journal

if TYPE_CHECKING:
    from scope_sr.plan import Plan

SCHEMA = "scope-sr/session/"
SCHEMA_VERSION = 1
SESSION, PLAN, RIG, JOURNAL = "session.json", "plan.json", "rig.toml", "journal.jsonl"
CALIBRATION, LOCK = "calibration", "session.lock"
PASSES = ("low", "high")
COMPANIONS = {name: f"{name}.companion.ome" for name in PASSES}
TRUTH = "truth.jsonl"
BY_OTHERS = ("contact-sheet.png", "summary.json", TRUTH)
# zstd-1 with predictor on H&E fields: 0.59 of the raw pixels, noisier ones more
EXPECTED_RATIO = 0.65
XML_BYTES = 4000
ROOM, RIGHTS, OTHER_CURE = "make room", "make the folder writable", "see to the disk"
CURES = {
    errno.ENOSPC: ROOM,
    errno.EDQUOT: ROOM,
    errno.EROFS: RIGHTS,
    errno.EACCES: RIGHTS,
    errno.EPERM: RIGHTS,
}


@dataclass(frozen=True)
class RigFacts:
    """Which rig: `digest` of its settings, `sha256` of its text, and where it was read from."""

    name: str
    source: str
    folder: str
    digest: str
    sha256: str


@dataclass(frozen=True)
class Header:
    """``session.json``; `created` is ISO 8601 in UTC, `record` and `specimen` are digests."""

    schema: str
    id: str
    created: str
    software: str
    python: str
    platform: str
    rig: RigFacts
    record: str | None
    plan_sha256: str
    specimen: str | None = None

    @property
    def created_s(self) -> float:
        """Creation in seconds since 1970 (UTC)."""
        return datetime.fromisoformat(self.created).timestamp()


@dataclass(frozen=True)
class Stored:
    """All a session's folder says, but for the pixels."""

    header: Header
    plan: Plan
    rig: Rig
    journal: Journal


def estimate_bytes(plan: Plan, rig: Rig, ratio: float = EXPECTED_RATIO) -> int:
    """Guess what a plan takes on disk; `ratio` is compressed over raw."""
    camera = rig.camera
    samples = camera.width_px * camera.height_px * (3 if camera.color else 1)
    raw = samples * (1 if camera.bits == 8 else 2)
    return int(len(plan.steps) * (raw * ratio + XML_BYTES))


def resume_command(folder: Path) -> str:
    """Give the command that continues a session, as one would type it."""
    return f"scope-sr acquire-pairs --resume --out {quoted(folder)}"


def quoted(folder: Path) -> str:
    """Write a folder as one would type it in a command."""
    return f'"{folder}"' if " " in str(folder) else str(folder)


@contextmanager
def system_errors(
    what: Path, then: str, how_far: Callable[[], str] | None = None
) -> Iterator[None]:
    """Turn a refusal of the system into one line: the file, the system's words, the way out."""
    try:
        yield
    except OSError as error:
        safe = f"{how_far()}; " if how_far else ""
        cure = CURES.get(error.errno or 0, OTHER_CURE)
        msg = f"{what}: {reason(error)}; {safe}{cure}, then {then}"
        raise SessionError(msg) from error


def read_stored(folder: Path) -> Stored:
    """Read a session's folder, all but the pixels.

    Raises
    ------
    InputError
        There is no session, it is of a newer schema, or one of its files is damaged.
    """
    header = read_header(folder)
    path = folder / PLAN
    try:
        plan = planfile.from_json(path.read_bytes())
        path = folder / RIG
        rig = parse_rig(
            path.read_bytes().decode(), source=str(path), folder=Path(header.rig.folder)
        )
        path = folder / JOURNAL
        journal = read_journal(path)
    except InputError:
        raise
    except ValidationError as error:
        msg = f"{path}: damaged ({_first_fault(error)}); restore it from a copy"
        raise InputError(msg) from error
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        msg = f"{path}: cannot be read ({reason(error)}); restore it from a copy"
        raise InputError(msg) from error
    rig = rig.model_copy(update={"source": header.rig.source})
    return Stored(header, plan, rig, journal)


def read_header(folder: Path) -> Header:
    """Read ``session.json``; see `read_stored` for what is refused."""
    path = folder / SESSION
    try:
        table = json.loads(path.read_bytes())
        name = str(table["schema"])
    except (FileNotFoundError, NotADirectoryError) as error:
        msg = f"{folder}: no session there (it has no {SESSION})"
        raise InputError(msg) from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        msg = f"{path}: damaged or not a session's ({reason(error)}); restore it from a copy"
        raise InputError(msg) from error
    number = name.removeprefix(SCHEMA)
    if name.startswith(SCHEMA) and number.isdecimal() and int(number) > SCHEMA_VERSION:
        msg = (
            f"{folder} was written by a newer scope-sr (session schema {number}, this one reads"
            f" up to {SCHEMA_VERSION}); update scope-sr"
        )
        raise InputError(msg)
    try:
        return TypeAdapter(Header).validate_python(table)
    except ValidationError as error:
        msg = f"{path}: damaged ({_first_fault(error)}); restore it from a copy"
        raise InputError(msg) from error


def files_of(plan: Plan) -> set[str]:
    """Name every file the program itself may write into a session of this plan."""
    fixed = {SESSION, PLAN, RIG, JOURNAL, LOCK, *COMPANIONS.values(), *BY_OTHERS}
    return fixed | {field_file(step.name) for step in plan.steps}


def field_sizes(folder: Path) -> dict[str, int]:
    """Give the size in bytes of every file that lies in a pass's folder, by its path."""
    sizes: dict[str, int] = {}
    for pass_ in PASSES:
        # One scan instead of a stat per file: on Windows and network drives it is far cheaper
        with (
            contextlib.suppress(FileNotFoundError, NotADirectoryError),
            os.scandir(folder / pass_) as items,
        ):
            sizes |= {f"{pass_}/{item.name}": item.stat().st_size for item in items}
    return sizes


def field_file(step_name: str) -> str:
    """Give the path of a step's field within the folder, with forward slashes."""
    return f"{step_name}.ome.tif"


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False)[0]
    return f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
