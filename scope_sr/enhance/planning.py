"""What will be made of each input, settled before anything is computed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scope_sr.engine import refuse_runtime
from scope_sr.enhance.asked import Asked
from scope_sr.enhance.inputs import Input, inputs, pixel_size, refuse_unfit_nuclei
from scope_sr.enhance.ledger import FAILED, WAITING, Entry
from scope_sr.enhance.slide import opened
from scope_sr.errors import InputError
from scope_sr.modelfile import Card
from scope_sr.session import Session


@dataclass(frozen=True)
class Item:
    """An input that can be enhanced.

    Attributes
    ----------
    um_per_px
        Of the input.
    source
        How large the file is and when it was last changed; of a session, which it is and the
        SHA-256 of its low fields'. Another one is enhanced anew.
    """

    input: Input
    um_per_px: float
    source: dict[str, Any]
    warnings: tuple[str, ...]

    @property
    def waiting(self) -> Entry:
        """Give what the ledger says of it before anything is done."""
        return {
            "name": self.input.name,
            "path": str(self.input.path),
            "kind": self.input.kind,
            "state": WAITING,
            "source": self.source,
            "um_per_px_in": self.um_per_px,
            "warnings": list(self.warnings),
            "files": {},
        }


@dataclass(frozen=True)
class Refused:
    """An input that cannot be enhanced."""

    input: Input
    error: str

    @property
    def failed(self) -> Entry:
        """Give what the ledger says of it."""
        return failed(
            {
                "name": self.input.name,
                "path": str(self.input.path),
                "kind": self.input.kind,
                "source": None,
                "um_per_px_in": None,
                "warnings": [],
                "files": {},
            },
            self.error,
        )


def failed(entry: Entry, error: str) -> Entry:
    """Say of an input that it failed."""
    return {**entry, "state": FAILED, "error": error}


def planned(asked: Asked, card: Card, nuclei: Card | None) -> tuple[list[Item], list[Refused]]:
    """Look at every input.

    Raises
    ------
    InputError
        There is none that can be enhanced, or models and inputs do not go together.
    """
    refuse_kinds(asked, card, nuclei)
    for model in filter(None, (asked.model, asked.nuclei)):
        refuse_runtime(model, asked.runtime)
    found = [_looked_at(one, asked, card, nuclei) for one in inputs(asked.inputs)]
    items = [one for one in found if isinstance(one, Item)]
    refused = [one for one in found if isinstance(one, Refused)]
    if not items:
        raise InputError(refused[0].error)
    return items, refused


def refuse_kinds(asked: Asked, card: Card, nuclei: Card | None) -> None:
    """Refuse models that do not do what they are named for, or do not fit each other.

    Raises
    ------
    InputError
        In one line, with the way out.
    """
    if card.kind != "sr":
        msg = f"--model {asked.model}: finds nuclei and enlarges nothing; give it with --nuclei"
        raise InputError(msg)
    if nuclei is None or asked.nuclei is None:
        return
    if nuclei.kind != "nuclei":
        msg = f"--nuclei {asked.nuclei}: a model for super-resolution; name one that finds nuclei"
        raise InputError(msg)


def _looked_at(one: Input, asked: Asked, card: Card, nuclei: Card | None) -> Item | Refused:
    try:
        return _item(one, asked, card, nuclei)
    except InputError as error:
        return Refused(one, str(error))


def _item(one: Input, asked: Asked, card: Card, nuclei: Card | None) -> Item:
    stated_um, source, notes = _session(one.path) if one.kind == "session" else _picture(one.path)
    um_per_px, warnings = pixel_size(stated_um, asked, one.path, card)
    if nuclei:
        refuse_unfit_nuclei(asked, nuclei, um_per_px / card.scale, one.path)
    return Item(one, um_per_px, source, (*notes, *warnings))


def _picture(path: Path) -> tuple[float | None, dict[str, Any], tuple[str, ...]]:
    slide = opened(path)
    stat = path.stat()
    return slide.um_per_px, {"bytes": stat.st_size, "modified_ns": stat.st_mtime_ns}, slide.notes


def _session(path: Path) -> tuple[float | None, dict[str, Any], tuple[str, ...]]:
    session = Session.open(path)
    lens = session.record.objectives[session.plan.low]
    there = session.there()
    low = [step.name for step in session.plan.of_pass("low") if step.name in there]
    sums = " ".join(session.entries[name].sha256 for name in low)
    digest = hashlib.sha256(sums.encode()).hexdigest()
    return lens.pixel_size_um, {"session": session.header.id, "low_fields": digest}, ()
