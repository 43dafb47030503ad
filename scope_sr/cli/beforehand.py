"""What comes before the first field: whether the record still holds, where the focus is."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scope_sr.cli.operator import Operator
from scope_sr.cli.options import INTERRUPTED
from scope_sr.cli.progress import with_progress
from scope_sr.errors import MicroscopeError

if TYPE_CHECKING:
    from scope_sr.acquire_pairs import FocusPoint
    from scope_sr.calibration import CalibrationRecord, Check
    from scope_sr.config import Rig
    from scope_sr.microscope import GuardedMicroscope
    from scope_sr.plan import Plan


def check_first(microscope: GuardedMicroscope, rig: Rig, record: CalibrationRecord) -> None:
    """Look whether a measured record still holds.

    Raises
    ------
    MicroscopeError
        It does not; the message names the stale section and how to measure it anew.
    """
    if not record.measured:
        return
    from scope_sr.calibrate import check_record
    from scope_sr.session import quoted

    click.echo("Checking whether the calibration record still holds (--skip-check leaves it out).")
    try:
        checks = check_record(microscope, rig, record, click.echo)
    except KeyboardInterrupt:
        microscope.stop()
        click.echo("\nStopped during the check; the stage stays where it is.", err=True)
        sys.exit(INTERRUPTED)
    for check in checks:
        if check.verdict == "warn":
            click.echo(f"warning: {_in_words(check)}{f'; {check.advice}' if check.advice else ''}")
    stale = [check for check in checks if check.verdict == "fail"]
    if stale:
        sections = ",".join(dict.fromkeys(check.section for check in stale))
        msg = (
            f"{record.folder}: no longer holds: {_in_words(stale[0])}; measure it anew with:"
            f" scope-sr calibrate --rig {quoted(Path(rig.source))} --only {sections};"
            " --skip-check captures all the same"
        )
        raise MicroscopeError(msg)


def into_view(microscope: GuardedMicroscope, plan: Plan) -> None:
    """Go to the middle of a grid, into focus: a capture may have ended retracted."""
    origin, objective = plan.origin, microscope.objective()
    places = [step.position for step in plan.steps if step.objective == objective]
    if places:
        microscope.move_to(
            min(places, key=lambda p: math.hypot(p.x_um - origin.x_um, p.y_um - origin.y_um))
        )


def _in_words(check: Check) -> str:
    values = ", ".join(f"{value:.4g}" for value in check.value)
    value = f"{values} {check.unit}".rstrip()
    return f"{check.section}, {check.name} is {value} (limit {check.limit})"


def mapped(
    microscope: GuardedMicroscope,
    plan: Plan,
    rig: Rig,
    record: CalibrationRecord,
    operator: Operator,
) -> Plan:
    """Map the focus if the plan asks for it, with a progress bar, and give each step its z."""
    from scope_sr.acquire_pairs import describe_map, focus_points, map_focus, with_focus_map

    if plan.focus == "none":
        return plan
    total = len(focus_points(plan, rig, record))
    found: list[FocusPoint] = []
    try:
        points = map_focus(microscope, plan, rig, record)
        found.extend(with_progress(points, _point_state, operator, total=total))
    except KeyboardInterrupt:
        microscope.stop()
        click.echo("\nStopped while the focus was mapped; the same command begins anew.", err=True)
        sys.exit(INTERRUPTED)
    done = with_focus_map(plan, rig, record, found)
    if done.focus_map is not None:
        click.echo(f"Focus {describe_map(done.focus_map)}.")
    return done


def _point_state(point: FocusPoint) -> str:
    where = point.position.describe()
    return f"no focus: {point.why}, at {where}" if point.why else f"in focus at {where}"
