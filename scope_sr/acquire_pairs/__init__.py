"""Capture a paired grid: the same tissue at low and at high magnification.

Two passes, the whole low grid, one turn of the nosepiece, the whole high grid: the nosepiece never
returns to quite the same place, and with a single turn that error is one for the whole session.
"""

from scope_sr.acquire_pairs.capture import (
    Captured,
    capture_fields,
    capture_pairs,
    start_position,
)
from scope_sr.acquire_pairs.preview import describe_plan, draw_plan, expected_seconds
from scope_sr.acquire_pairs.summary import Summary, conclude, concluded, states_of

__all__ = [
    "Captured",
    "Summary",
    "capture_fields",
    "capture_pairs",
    "conclude",
    "concluded",
    "describe_plan",
    "draw_plan",
    "expected_seconds",
    "start_position",
    "states_of",
]
