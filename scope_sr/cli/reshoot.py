"""``scope-sr acquire-pairs --reshoot``: which session goes on, and what of it is taken again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scope_sr.errors import InputError

if TYPE_CHECKING:
    from scope_sr.dataset.reshoot import Again, Reshoot
    from scope_sr.session import Session


def session_to_reshoot(dataset: Path, out: Path | None) -> tuple[Path, tuple[Again, ...]]:
    """Find the session whose fields are to be taken again, and which they are.

    Raises
    ------
    InputError
        Nothing is to be taken again, or it is not clear of which session, or it is elsewhere.
    """
    from scope_sr.dataset.reshoot import read_reshoot

    known = read_reshoot(dataset)
    if not known:
        msg = f"{dataset}: no field is worth taking again; nothing moved"
        raise InputError(msg)
    chosen = _chosen(dataset, known, out)
    folder = out or Path(chosen.session)
    if not folder.is_dir():
        msg = f"{folder}: the session is not there any more; say where it is with --out"
        raise InputError(msg)
    return folder, chosen.steps


def mark(session: Session, steps: Sequence[Again]) -> int:
    """Reject the fields in the session's journal, so that it takes them again; gives how many.

    A field that was taken again since the dataset was built is left as it is.
    """
    marked = 0
    for again in steps:
        entry = session.entries.get(again.step)
        if entry is not None and entry.sha256 == again.sha256 and not entry.faults:
            session.reject(again.step, tuple(f"reshoot: {reason}" for reason in again.reasons))
            marked += 1
            click.echo(f"again {again.step}: {again.reasons[0]}")
    return marked


def _chosen(dataset: Path, known: Sequence[Reshoot], out: Path | None) -> Reshoot:
    from scope_sr.session import Session

    if out is not None:
        own = Session.open(out).header.id
        for one in known:
            if one.id == own:
                return one
        msg = f"{out}: {dataset} asks for no field of this session"
        raise InputError(msg)
    if len(known) > 1:
        names = ", ".join(one.session for one in known)
        msg = f"{dataset} asks for fields of {len(known)} sessions; choose with --out: {names}"
        raise InputError(msg)
    return known[0]
