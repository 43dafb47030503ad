"""What a session holds when a run of it ends: the contact sheet and the figures."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass

from scope_sr.acquire_pairs.duration import between_seconds
from scope_sr.acquire_pairs.preview import covered_um2
from scope_sr.plan import Pass
from scope_sr.session import Entry, Session

SHEET, SUMMARY = "contact-sheet.png", "summary.json"


@dataclass(frozen=True)
class Summary:
    """What a session holds, and what this run of it took; ``low`` and ``high`` count good fields.

    ``seconds`` is the time of this run; ``field_seconds`` is the part from its first field to its
    last by the clock of the frames, ``expected_seconds`` what that was predicted to be.
    ``area_um2`` is the specimen covered by low fields, overlaps counted once.
    """

    folder: str
    low: int
    high: int
    planned: int
    rejected: int
    skipped: int
    seconds: float
    field_seconds: float
    expected_seconds: float
    area_um2: float
    bytes: int

    @property
    def complete(self) -> bool:
        """Nothing of the plan is left to do: a rejected field is."""
        return self.low + self.high + self.skipped == self.planned


def conclude(session: Session, seconds: float, taken: Sequence[Entry] = ()) -> Summary:
    """Write the contact sheet and the summary of a session, complete or not.

    `taken` are the journal's entries of this run.
    """
    states = states_of(session)
    session.keep(SHEET, _sheet(session, states))
    summary = _summary(session, states, seconds, [e for e in taken if e.event == "captured"])
    table = {**dataclasses.asdict(summary), "complete": summary.complete}
    session.keep(SUMMARY, (json.dumps(table, indent=2) + "\n").encode())
    return summary


def concluded(session: Session) -> bool:
    """Say whether contact sheet and summary are there."""
    return all((session.folder / name).is_file() for name in (SHEET, SUMMARY))


def states_of(session: Session) -> dict[str, str]:
    """Say of each planned field: captured, rejected, skipped or missing."""
    remaining, there = {step.name for step in session.remaining()}, session.there()
    states = {}
    for step in session.plan.steps:
        entry = session.entries.get(step.name)
        if entry is not None and entry.event == "skipped":
            states[step.name] = "skipped"
        elif step.name not in remaining:
            states[step.name] = "captured"
        else:
            states[step.name] = "rejected" if step.name in there else "missing"
    return states


def _sheet(session: Session, states: dict[str, str]) -> bytes:
    from scope_sr.imaging.sheet import contact_sheet

    plan = session.plan
    title = (
        f"{session.folder.name}: {plan.rows} x {plan.columns} grid, {plan.low} and {plan.high}\n"
        f"rig {plan.rig}, {plan.coverage} coverage, overlap {100 * plan.overlap:g} %"
    )
    sheet = contact_sheet(
        plan, session.record, session.read, states, title, session.rig.camera.full_scale
    )
    png = io.BytesIO()
    sheet.save(png, format="PNG")
    return png.getvalue()


def _summary(
    session: Session, states: dict[str, str], seconds: float, taken: list[Entry]
) -> Summary:
    def count(pass_: Pass) -> int:
        return sum(states[step.name] == "captured" for step in session.plan.of_pass(pass_))

    names = {entry.step for entry in taken}
    steps = [step for step in session.plan.steps if step.name in names]
    expected_s = between_seconds(session.plan, session.rig, session.record, steps)
    values = list(states.values())
    return Summary(
        folder=str(session.folder),
        low=count("low"),
        high=count("high"),
        planned=len(values),
        rejected=values.count("rejected"),
        skipped=values.count("skipped"),
        seconds=round(seconds, 2),
        field_seconds=round(taken[-1].time - taken[0].time, 2) if taken else 0.0,
        expected_seconds=round(expected_s, 2),
        area_um2=covered_um2(session.plan, session.rig),
        bytes=sum(entry.bytes for entry in session.entries.values()),
    )
