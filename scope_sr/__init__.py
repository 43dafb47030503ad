"""scope-sr: paired low/high-magnification microscopy.

The public names, for scripts and notebooks; ``scope-sr --help`` lists the commands. Importing the
package is free: each name loads its module when it is first used.

Examples
--------
>>> import scope_sr
>>> rig = scope_sr.load_rig("simulated")
>>> with scope_sr.open_microscope(rig) as microscope:
...     microscope.move_to(scope_sr.Position(100.0, -50.0, 0.0))
...     frame = microscope.snap()
>>> frame.image.shape, frame.objective
((1024, 1024, 3), '10x')
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scope_sr.acquire_pairs import capture_pairs
    from scope_sr.calibration import CalibrationRecord
    from scope_sr.config import load_rig
    from scope_sr.errors import ScopeSRError
    from scope_sr.frame import Frame, Position
    from scope_sr.microscope import open_microscope
    from scope_sr.plan import plan_pairs
    from scope_sr.session import Session

__version__ = "0.1.0"

__all__ = [
    "CalibrationRecord",
    "Frame",
    "Position",
    "ScopeSRError",
    "Session",
    "capture_pairs",
    "load_rig",
    "open_microscope",
    "plan_pairs",
]

_HOMES = {
    "CalibrationRecord": "calibration",
    "Frame": "frame",
    "Position": "frame",
    "ScopeSRError": "errors",
    "Session": "session",
    "capture_pairs": "acquire_pairs",
    "load_rig": "config",
    "open_microscope": "microscope",
    "plan_pairs": "plan",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        msg = f"module 'scope_sr' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(f"scope_sr.{_HOMES[name]}"), name)
