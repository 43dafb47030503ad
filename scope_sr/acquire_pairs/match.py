"""Whether the instrument is the one its calibration record was measured on, and left to itself."""

from __future__ import annotations

from scope_sr.calibration import CalibrationRecord
from scope_sr.config import Rig
from scope_sr.errors import InputError
from scope_sr.microscope import GuardedMicroscope


def refuse_other_instrument(
    microscope: GuardedMicroscope, rig: Rig, record: CalibrationRecord, objectives: tuple[str, ...]
) -> None:
    """Refuse a record of another camera, ROI, binning, depth or nosepiece slot; nothing moves."""
    record.refuse_other_instrument(rig, microscope.camera().name, objectives)


def refuse_focus_lock(microscope: GuardedMicroscope) -> None:
    """Refuse to map the focus while a lock holds it: z would be the lock's, the map for nothing.

    Raises
    ------
    InputError
        A focus lock (Perfect Focus) is on.
    """
    if microscope.focus_held():
        msg = (
            "a focus lock (Perfect Focus) holds the focus and would overrule a focus map; switch it"
            " off, or capture with --focus none; nothing moved"
        )
        raise InputError(msg)
