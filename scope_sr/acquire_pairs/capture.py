"""The capture itself: two passes over one plan, each field on disk before the next is taken."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scope_sr.acquire_pairs.summary import Summary, conclude
from scope_sr.calibration import CalibrationRecord
from scope_sr.errors import MicroscopeError
from scope_sr.frame import Frame, Position
from scope_sr.imaging.quality import faults
from scope_sr.imaging.tissue import glass_level, share_within, tissue_mask
from scope_sr.microscope.protocol import Microscope
from scope_sr.plan import Pass, Step
from scope_sr.session import Entry, Session

MOST_BAD = 3  # rejected fields in a row: then something is wrong with more than a field
LEAST_TISSUE = 0.05  # share of a high field that must be tissue with tissue_only
TISSUE_BLUR_UM = 5.0


@dataclass(frozen=True)
class Captured:
    """One step done: the field that was written, or None where glass was left out."""

    step: Step
    entry: Entry
    frame: Frame | None


def capture_pairs(microscope: Microscope, session: Session) -> Summary:
    """Capture what remains of a session, and leave a contact sheet and a summary in its folder.

    Raises
    ------
    MicroscopeError
        The instrument misbehaved, or three fields in a row were rejected; what was captured is safe
        and a resume goes on.
    SessionError
        The disk refused; likewise.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import scope_sr
    >>> from scope_sr import CalibrationRecord, load_rig, open_microscope, plan_pairs
    >>> rig = load_rig("simulated")
    >>> record = CalibrationRecord.nominal(rig)
    >>> folder = Path(tempfile.mkdtemp()) / "pairs"
    >>> with open_microscope(rig) as microscope:
    ...     plan = plan_pairs(
    ...         rig, record, rows=1, columns=1, coverage="center", origin=microscope.position()
    ...     )
    ...     with scope_sr.Session.create(folder, plan, rig, record) as session:
    ...         summary = capture_pairs(microscope, session)
    >>> summary.low, summary.high, summary.complete
    (1, 1, True)
    """
    began_s = time.monotonic()
    for _ in capture_fields(microscope, session):
        pass
    return conclude(session, time.monotonic() - began_s)


def capture_fields(microscope: Microscope, session: Session) -> Iterator[Captured]:
    """Carry out what remains of the plan; each field is safe on disk when it is yielded."""
    yield from _capture_pass(microscope, session, "low")
    yield from _leave_out_glass(session)
    yield from _capture_pass(microscope, session, "high")


def start_position(
    microscope: Microscope, record: CalibrationRecord, low: str, origin: Position | None
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


def _capture_pass(microscope: Microscope, session: Session, pass_: Pass) -> Iterator[Captured]:
    steps = [step for step in session.remaining() if step.pass_ == pass_]
    if not steps:
        return
    microscope.select_objective(steps[0].objective)
    microscope.set_exposure(steps[0].exposure_ms)
    previous = None
    bad_in_a_row = 0
    for step in steps:
        microscope.move_to(step.position)
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
    glass = glass_level(_low_images(session), session.rig.camera.full_scale)
    for parent in session.plan.of_pass("low"):
        for step, share in _tissue_shares(session, parent, parents.get(parent.name, []), glass):
            if share < LEAST_TISSUE:
                reason = f"glass: {100 * share:.0f} % tissue in the low field"
                yield Captured(step, session.skip(step, reason), None)


def _low_images(session: Session) -> Iterator[NDArray]:
    return (session.read(step.name) for step in session.plan.of_pass("low"))


def _tissue_shares(
    session: Session, parent: Step, steps: list[Step], glass: NDArray[np.float64]
) -> Iterator[tuple[Step, float]]:
    """Give the share of tissue the low field shows where each high field will be."""
    if not steps:
        return
    plan, record = session.plan, session.record
    pixel_um = plan.pixel_size_um[plan.low]
    mask = tissue_mask(session.read(parent.name), glass, TISSUE_BLUR_UM / pixel_um)
    ratio = plan.pixel_size_um[plan.high] / pixel_um
    size_px = (session.rig.camera.width_px * ratio, session.rig.camera.height_px * ratio)
    for step in steps:
        point_um = record.specimen_um(plan.high, step.position)
        centre_px = record.offset_px(plan.low, parent.position, point_um)
        yield step, share_within(mask, centre_px, size_px)
