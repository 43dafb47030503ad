"""The way of a move, worked out before it: legs against backlash, clear of the glass."""

from __future__ import annotations

import itertools
import math

from scope_sr.config import Rig
from scope_sr.frame import Position
from scope_sr.plan import outside


def way(
    rig: Rig, here: Position, target: Position, *, taken_up: bool, straight: bool = False
) -> list[Position]:
    """Lay out the legs of a move: off in z, a waypoint in x and y, across, into focus.

    Each axis arrives moving up (z: toward the specimen), so that the play of its spindle is always
    taken up the same way.

    Parameters
    ----------
    taken_up
        The last move ended so; then an axis that stays need not move, and a focus stack goes up
        plane by plane without beginning anew.
    straight
        Go across directly, from wherever: how play is measured.

    Examples
    --------
    >>> from scope_sr.config import load_rig
    >>> rig = load_rig("simulated")
    >>> legs = way(rig, Position(0, 0, 0), Position(-100.0, 0, 0), taken_up=True)
    >>> [leg.x_um for leg in legs]
    [-120.0, -100.0]
    """
    stage, toward = rig.stage, rig.toward
    approach_um = (0.0, 0.0) if straight else stage.approach_um

    def start_um(now_um: float, to_um: float, by_um: float, lowest_um: float) -> float:
        """Give the place from which an axis can arrive moving up: where it is, if that will do."""
        below_um = max(lowest_um, to_um - by_um)
        still = taken_up and to_um == now_um
        return now_um if still or now_um <= below_um else below_um

    rises = (taken_up or straight) and target.z_um * toward >= here.z_um * toward
    z_um = (
        here.z_um * toward
        if rises
        else start_um(
            here.z_um * toward,
            target.z_um * toward,
            stage.z_approach_um,
            min(limit_um * toward for limit_um in stage.z_limits_um),
        )
    )
    x_um = start_um(here.x_um, target.x_um, approach_um[0], stage.x_limits_um[0])
    y_um = start_um(here.y_um, target.y_um, approach_um[1], stage.y_limits_um[0])
    across = Position(target.x_um, target.y_um, z_um * toward)
    legs = [
        Position(here.x_um, here.y_um, across.z_um),
        Position(x_um, y_um, across.z_um),
        across,
        target,
    ]
    return [leg for before, leg in itertools.pairwise([here, *legs]) if leg != before]


def arrived(rig: Rig, here: Position, target: Position, *, held: bool) -> bool:
    """Tell whether a read-back is the target within the tolerances; a held z is the lock's."""
    stage = rig.stage
    z_tolerance_um = rig.focus_lock.range_um if held else stage.z_tolerance_um
    return (
        abs(here.x_um - target.x_um) <= stage.tolerance_um
        and abs(here.y_um - target.y_um) <= stage.tolerance_um
        and abs(here.z_um - target.z_um) <= z_tolerance_um
    )


def travel_s(rig: Rig, here: Position, target: Position) -> float:
    """Give the time a straight move may take: three times what the rig's speeds say."""
    xy_um = math.hypot(target.x_um - here.x_um, target.y_um - here.y_um)
    z_um = abs(target.z_um - here.z_um)
    return 3 * (xy_um / rig.stage.speed_um_per_s + z_um / rig.stage.z_speed_um_per_s)


def runaway(rig: Rig, here: Position, sent_um: float) -> str | None:
    """Say how a focus lock has carried the objective away from where it was sent; None if not."""
    off_um = abs(here.z_um - sent_um)
    fault = outside(rig, here)
    if not fault and off_um > rig.focus_lock.range_um:
        fault = (
            f"z = {here.z_um:.2f} µm is {off_um:.1f} µm from where it was sent,"
            f" focus_lock.range_um is {rig.focus_lock.range_um:g} µm"
        )
    return fault and f"the focus lock carried the objective away and was switched off: {fault}"
