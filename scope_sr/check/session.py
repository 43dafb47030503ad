"""Whether a session is whole, how far it is, what a resume would capture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scope_sr.disk import in_words
from scope_sr.session import Entry, Report, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from scope_sr.plan import Step


@dataclass(frozen=True)
class SessionCheck:
    """A session and what was found in its folder; `text` says it to people."""

    session: Session
    report: Report
    text: str

    @property
    def ok(self) -> bool:
        """Whether everything there is as it was written; a session may be unfinished and ok."""
        return self.report.ok


def check_session(
    folder: str | Path,
    *,
    list_fields: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> SessionCheck:
    """Read a session and every byte of it; nothing is changed.

    Parameters
    ----------
    list_fields
        Name every field and its state in the text, not only the problems.
    progress
        Told (fields checked, of how many).

    Raises
    ------
    InputError
        There is no session, it is of a newer schema, or too damaged to be read.
    """
    session = Session.open(folder)
    report = session.verify(progress)
    lines = [*_head(session), *_progress(session, report)]
    if list_fields:
        lines += ["", *_table(session)]
    return SessionCheck(session, report, text="\n".join([*lines, "", *_verdict(report)]))


def _head(session: Session) -> Iterator[str]:
    header, plan, rig = session.header, session.plan, session.rig
    begun = header.created.replace("T", " ")[:16]
    yield f"{session.folder}: session on rig {rig.name}, begun {begun} UTC with {header.software}"
    lenses = [f"{name} ({plan.pixel_size_um[name]:.4g} µm/px)" for name in (plan.low, plan.high)]
    yield f"objectives   {lenses[0]} and {lenses[1]}"
    tissue = ", tissue only" if plan.tissue_only else ""
    yield (
        f"grid         {plan.rows}x{plan.columns}, overlap {plan.overlap:.0%}, {plan.coverage},"
        f" {plan.order}{tissue}"
    )
    record = f"measured, {header.record[:12]}" if header.record else "nominal values of the rig"
    yield f"calibration  {record}"


def _progress(session: Session, report: Report) -> Iterator[str]:
    for pass_, tally in report.passes.items():
        rest = f", {tally.skipped} left out" if tally.skipped else ""
        yield (
            f"{pass_:<12} {tally.captured} of {tally.planned} fields,"
            f" {tally.rejected} rejected{rest}, {in_words(tally.bytes)}"
        )
    rejected = [entry for entry in session.entries.values() if entry.faults]
    for entry in rejected:
        yield f"rejected     {entry.step}: {'; '.join(entry.faults)}"


def _table(session: Session) -> Iterator[str]:
    width = max((len(step.name) for step in session.plan.steps), default=0)
    remaining = {step.name for step in session.remaining()}
    for step in session.plan.steps:
        yield f"{step.name:<{width}}  {_row(step, session.entries.get(step.name), remaining)}"


def _row(step: Step, entry: Entry | None, remaining: set[str]) -> str:
    if entry is not None and entry.event == "skipped":
        return f"left out: {entry.reason}"
    if entry is None or (step.name in remaining and not entry.faults):
        return f"{step.position.describe()}  to be captured"
    where = (entry.position or step.position).describe()
    state = "rejected: " + "; ".join(entry.faults) if entry.faults else "good"
    size, took = in_words(entry.bytes), f"{entry.seconds:.2f} s"
    return f"{where}  {entry.exposure_ms:g} ms  {size}  {took}  {state}"


def _verdict(report: Report) -> Iterator[str]:
    if report.being_written:
        yield "another scope-sr is writing to it right now"
    if report.ok:
        yield "every file captured so far is there and as it was written"
    else:
        yield f"{_count(len(report.problems), 'problem')}:"
        yield from (f"  {problem}" for problem in report.problems)
    if report.remaining:
        yield f"a resume would capture {_count(report.remaining, 'field')} (first: {report.next})"
    else:
        yield "complete: nothing remains to be captured"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
