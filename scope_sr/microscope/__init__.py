"""The microscope: one protocol, one guard, one room per backend."""

from __future__ import annotations

from pathlib import Path

from scope_sr.config import Rig
from scope_sr.microscope.guarded import GuardedMicroscope

__all__ = ["GuardedMicroscope", "open_microscope"]


def open_microscope(rig: Rig, *, log_folder: Path | None = None) -> GuardedMicroscope:
    """Open the microscope a rig describes, behind its guard.

    Parameters
    ----------
    log_folder
        Where the backend may keep a log of its own: the simulated one writes its true poses to
        ``truth.jsonl`` there.

    Examples
    --------
    >>> from scope_sr.config import load_rig
    >>> with open_microscope(load_rig("simulated")) as microscope:
    ...     microscope.objective()
    '10x'
    """
    match rig.backend:
        case "simulated":
            from scope_sr.microscope.simulated import SimulatedMicroscope

            return GuardedMicroscope(SimulatedMicroscope(rig, log_folder), rig)
        case "demo":
            from scope_sr.microscope.demo import open_demo

            return GuardedMicroscope(open_demo(rig), rig)
