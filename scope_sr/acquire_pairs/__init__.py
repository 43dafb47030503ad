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
from scope_sr.acquire_pairs.duration import expected_seconds
from scope_sr.acquire_pairs.focus import (
    FocusPoint,
    focus_points,
    map_focus,
    usual_focus,
    with_focus_map,
)
from scope_sr.acquire_pairs.match import refuse_focus_lock, refuse_other_instrument
from scope_sr.acquire_pairs.preview import describe_map, describe_plan, draw_plan
from scope_sr.acquire_pairs.summary import Summary, conclude, concluded, states_of

__all__ = [
    "Captured",
    "FocusPoint",
    "Summary",
    "capture_fields",
    "capture_pairs",
    "conclude",
    "concluded",
    "describe_map",
    "describe_plan",
    "draw_plan",
    "expected_seconds",
    "focus_points",
    "map_focus",
    "refuse_focus_lock",
    "refuse_other_instrument",
    "start_position",
    "states_of",
    "usual_focus",
    "with_focus_map",
]
