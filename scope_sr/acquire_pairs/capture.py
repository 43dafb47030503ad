"""The capture itself: two passes over one plan, each field on disk before the next is taken."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

from scope_sr.acquire_pairs.match import refuse_focus_lock, refuse_other_instrument
from scope_sr.acquire_pairs.summary import Summary, conclude
from scope_sr.acquire_pairs.tissue import LEAST_TISSUE, Glass
from scope_sr.calibration import CalibrationRecord
from scope_sr.errors import InputError, MicroscopeError
from scope_sr.focusing import micro_focus
from scope_sr.frame import Frame, Position
from scope_sr.imaging.focus import depth_of_field_um
from scope_sr.imaging.quality import faults
from scope_sr.imaging.tissue import share_within
from scope_sr.microscope import GuardedMicroscope
from scope_sr.plan import Pass, Step
from scope_sr.session import Entry, Session

MOST_BAD = 3  # rejected fields in a row: then something is wrong with more than a field


@dataclass(frozen=True)
class Captured:
    """One step done: the field that was written, or None where glass was left out."""

    step: Step
    entry: Entry
    frame: Frame | None


def capture_pairs(microscope: GuardedMicroscope, session: Session) -> Summary:
    """Capture what remains of a session, and leave a contact sheet and a summary in its folder.

    Raises
    ------
    MicroscopeError
        The instrument misbehaved, or three fields in a row were rejected; what was captured is safe
        and a resume goes on.
    SessionError
        The disk refused; likewise.

    Notes
    -----
    README.md has a whole capture from Python, run as a test.
    """
    began_s = time.monotonic()
    taken = [captured.entry for captured in capture_fields(microscope, session)]
    return conclude(session, time.monotonic() - began_s, taken)


def capture_fields(microscope: GuardedMicroscope, session: Session) -> Iterator[Captured]:
    """Carry out what remains of the plan; each field is safe on disk when it is yielded.

    Raises
    ------
    InputError
        The record was measured with another camera, setting of it or objective, or the plan asks
        for a focus map that was not made; nothing moved.
    """
    if session.remaining():
        _refuse_unfit(microscope, session)
    yield from _capture_pass(microscope, session, "low")
    yield from _leave_out_glass(session)
    yield from _capture_pass(microscope, session, "high")


def _refuse_unfit(microscope: GuardedMicroscope, session: Session) -> None:
    plan = session.plan
    refuse_other_instrument(microscope, session.rig, session.record, (plan.low, plan.high))
    if plan.focus != "none" and plan.focus_map is None:
        msg = f"the plan asks for focus = {plan.focus!r} and has no focus map; see with_focus_map"
        raise InputError(msg)
    if plan.focus != "none":
        refuse_focus_lock(microscope)


def start_position(
    microscope: GuardedMicroscope, record: CalibrationRecord, low: str, origin: Position | None
) -> Position:
    """Give the middle of the grid as a stage position of the low objective.

    Without `origin` it is the spot the operator is looking at now, through whichever objective.
    """
    here, objective = microscope.position(), microscope.objective()
    if objective in record.objectives:
        here = record.transfer(here, objective, low)
    if origin is None:
        return here
    return Position(origin.x_um, origin.y_um, here.z_um if math.isnan(origin.z_um) else origin.z_um)


def _capture_pass(
    microscope: GuardedMicroscope, session: Session, pass_: Pass
) -> Iterator[Captured]:
    steps = [step for step in session.remaining() if step.pass_ == pass_]
    if not steps:
        return
    microscope.select_objective(steps[0].objective)
    microscope.set_exposure(steps[0].exposure_ms)
    previous = None
    bad_in_a_row = 0
    depth_um = _local_depth_um(session, pass_)
    for step in steps:
        _go_into_focus(microscope, step, depth_um)
        frame = microscope.snap()
        found = faults(frame.image, session.rig.camera.full_scale, previous)
        yield Captured(step, session.write(step, frame, found), frame)
        previous = frame.image
        bad_in_a_row = bad_in_a_row + 1 if found else 0
        if bad_in_a_row == MOST_BAD:
            msg = (
                f"{MOST_BAD} fields in a row were rejected, {step.name} the last ({found[0]});"
                " mend it and resume, or correct the rig and begin in another folder"
            )
            raise MicroscopeError(msg)


def _local_depth_um(session: Session, pass_: Pass) -> float | None:
    """Give the depth of field by which each field of a pass is focused anew; None if none is."""
    plan = session.plan
    if plan.focus != "map+local" or pass_ == "low":
        return None
    aperture = session.rig.objectives[plan.high].numerical_aperture
    return depth_of_field_um(aperture, plan.pixel_size_um[plan.high])


def _go_into_focus(microscope: GuardedMicroscope, step: Step, depth_um: float | None) -> None:
    """Go to a field, and to its own focus if asked for; where none is seen, the map's holds."""
    if depth_um is None or not micro_focus(microscope, step.position, depth_um).accepted:
        microscope.move_to(step.position)


def _leave_out_glass(session: Session) -> Iterator[Captured]:
    """Skip the high fields whose low field shows glass there, if the plan asks for it."""
    if not session.plan.tissue_only:
        return
    parents: dict[str, list[Step]] = {}
    for step in session.remaining():
        if step.pass_ == "high":
            parents.setdefault(step.parent, []).append(step)
    if not parents:
        return
    glass = _glass(session)
    for parent in session.plan.of_pass("low"):
        for step, share in _tissue_shares(session, parent, parents.get(parent.name, []), glass):
            if share < LEAST_TISSUE:
                reason = f"glass: {100 * share:.0f} % tissue in the low field"
                yield Captured(step, session.skip(step, reason), None)


def _glass(session: Session) -> Glass:
    """Learn what glass looks like: from the record, else from the brightest of the low fields."""
    lows = session.plan.of_pass("low")
    glass = Glass(session.rig, session.record, session.plan.low, lows[0].exposure_ms)
    glass.learn(session.read(step.name) for step in lows)
    return glass


def _tissue_shares(
    session: Session, parent: Step, steps: list[Step], glass: Glass
) -> Iterator[tuple[Step, float]]:
    """Give the share of tissue the low field shows where each high field will be."""
    if not steps:
        return
    plan, record = session.plan, session.record
    pixel_um = plan.pixel_size_um[plan.low]
    mask = glass.tissue_in(session.read(parent.name))
    ratio = plan.pixel_size_um[plan.high] / pixel_um
    size_px = (session.rig.camera.width_px * ratio, session.rig.camera.height_px * ratio)
    for step in steps:
        point_um = record.specimen_um(plan.high, step.position)
        centre_px = record.offset_px(plan.low, parent.position, point_um)
        yield step, share_within(mask, centre_px, size_px)
