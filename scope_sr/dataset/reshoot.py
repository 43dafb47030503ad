"""``reshoot.json``: which fields of which session are worth taking again, and why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from scope_sr.config import reason
from scope_sr.dataset.folder import RESHOOT, read_header
from scope_sr.errors import InputError


@dataclass(frozen=True)
class Again:
    """A field to be taken again: its step, the checksum of the one judged, and the reasons."""

    step: str
    sha256: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Reshoot:
    """The fields of one session, by its folder and its id, in the order of its plan."""

    session: str
    id: str
    steps: tuple[Again, ...]


@dataclass(frozen=True)
class _File:
    sessions: tuple[Reshoot, ...]


def read_reshoot(folder: Path) -> tuple[Reshoot, ...]:
    """Read what is worth taking again of a dataset's sessions.

    Raises
    ------
    InputError
        There is no dataset, or its list is damaged.
    """
    read_header(folder)
    path = folder / RESHOOT
    try:
        found: _File = TypeAdapter(_File).validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        msg = f"{path}: cannot be read ({reason(error)}); build the dataset again"
        raise InputError(msg) from error
    return found.sessions
