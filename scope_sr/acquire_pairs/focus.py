"""Where the slide is in focus: visited at points on the grid before any field is taken."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from scope_sr.acquire_pairs.match import refuse_focus_lock
from scope_sr.acquire_pairs.tissue import LEAST_TISSUE, Glass
from scope_sr.calibration import CalibrationRecord
from scope_sr.config import Rig
from scope_sr.errors import InputError, MicroscopeError
from scope_sr.focusing import autofocus
from scope_sr.frame import Position
from scope_sr.grid import lattice
from scope_sr.imaging.focus import depth_of_field_um
from scope_sr.imaging.focus_surface import FocusSurface, fit_surface
from scope_sr.microscope import GuardedMicroscope
from scope_sr.plan import (
    SMALLER,
    Focus,
    FocusMap,
    Plan,
    Step,
    exposure_ms,
    outside,
    refuse_unreachable,
)

PER_SIDE = (3, 5)  # focus points along a side of the grid: at least, at most
LEAST_POINTS = 4  # three make a plane, and a fourth tells whether to believe it
SLOPE_UM_PER_MM = 5.0  # slides lie up to 2 µm/mm askew, and tissue is rough
FIRST_DEPTHS = 2.0  # how far off, in depths of field, the operator's own focus may be
SPAN_UM = 1000.0  # over a longer way a slide may leave the depth of field of a 20x/0.75


@dataclass(frozen=True)
class FocusPoint:
    """A place of the focus map: the low objective's focus there, or `why` there is none."""

    position: Position
    sigma_um: float = math.inf
    why: str = ""


def usual_focus(plan: Plan, record: CalibrationRecord) -> Focus:
    """Choose the focus where nobody did: a map for grids that reach out, if offsets are measured.

    Where a parfocal offset is only believed, a map of the low objective leads the high one astray.
    """
    lows = np.array([(s.position.x_um, s.position.y_um) for s in plan.of_pass("low")])
    reaches_out = math.hypot(*np.ptp(lows, axis=0)) > SPAN_UM
    return "map" if record.measured and reaches_out else "none"


def focus_points(plan: Plan, rig: Rig, record: CalibrationRecord) -> tuple[Position, ...]:
    """Lay out the places to focus at: three to five along each side of the grid, back and forth.

    The outermost stand in the middle of the outermost fields, so that little is extrapolated.

    Raises
    ------
    InputError
        One lies outside the limits of the stage.
    """
    counts = [min(max(n, PER_SIDE[0]), PER_SIDE[1]) for n in (plan.rows, plan.columns)]
    height_px, width_px = (
        _reach_px(fields, size_px, plan.overlap)
        for fields, size_px in (
            (plan.rows, rig.camera.height_px),
            (plan.columns, rig.camera.width_px),
        )
    )
    step_px = (width_px / (counts[1] - 1), height_px / (counts[0] - 1))
    focus_um = plan.origin.z_um - record.objectives[plan.low].parfocal_um
    points = tuple(
        record.position(
            plan.low, record.specimen_um(plan.low, plan.origin, (c.x_px, c.y_px)), focus_um
        )
        for c in lattice(counts[0], counts[1], step_px, "serpentine")
    )
    for point in points:
        fault = outside(rig, point)
        if fault:
            msg = f"a point of the focus map lies outside the stage limits: {fault}; {SMALLER}"
            raise InputError(msg)
    return points


def guess(
    plan: Plan, rig: Rig, place: Position, known: Sequence[Position]
) -> tuple[Position, float]:
    """Give where to look for the focus of a place, and how far off it may be, in µm.

    `known` are places in focus; before there is any, the origin stands for them.
    """
    origin_um = 0.0 if known else FIRST_DEPTHS * low_depth_um(plan, rig)
    nearest = min(known or [plan.origin], key=lambda there: _apart_um(place, there))
    slope_um = SLOPE_UM_PER_MM * _apart_um(place, nearest) / 1000
    return replace(place, z_um=nearest.z_um), slope_um + origin_um


def low_depth_um(plan: Plan, rig: Rig) -> float:
    """Give the depth of field of the low objective."""
    aperture = rig.objectives[plan.low].numerical_aperture
    return depth_of_field_um(aperture, plan.pixel_size_um[plan.low])


def map_focus(
    microscope: GuardedMicroscope, plan: Plan, rig: Rig, record: CalibrationRecord
) -> Iterator[FocusPoint]:
    """Visit the focus points with the low objective; those that show glass are left out.

    Raises
    ------
    InputError
        A focus lock is on, or a point lies outside the limits; nothing moved.
    """
    refuse_focus_lock(microscope)
    places = focus_points(plan, rig, record)
    exposed_ms = exposure_ms(rig, record, plan.low)
    glass = Glass(rig, record, plan.low, exposed_ms)
    microscope.select_objective(plan.low)
    microscope.set_exposure(exposed_ms)
    known: list[Position] = []
    for place in places:
        around, search_um = guess(plan, rig, place, known)
        point = _visit(microscope, glass, around, low_depth_um(plan, rig), search_um)
        if not point.why:
            known.append(point.position)
        yield point


def with_focus_map(
    plan: Plan, rig: Rig, record: CalibrationRecord, points: Sequence[FocusPoint]
) -> Plan:
    """Lay a surface through the points and give each step of a plan its z from it.

    Raises
    ------
    MicroscopeError
        Too few points show tissue in focus, or they lie on a line.
    InputError
        The surface leads a field outside the limits of the stage.
    """
    good = [point for point in points if not point.why]
    reference_um = record.objectives[plan.low].parfocal_um
    xy_um = [record.specimen_um(plan.low, point.position) for point in good]
    z_um = [point.position.z_um - reference_um for point in good]
    try:
        if len(good) < LEAST_POINTS:
            raise InputError(f"{LEAST_POINTS} are needed")
        surface = fit_surface(xy_um, z_um, [point.sigma_um for point in good])
    except InputError as error:
        why = next((f", {point.why} at others" for point in points if point.why), "")
        msg = (
            f"too little tissue for a focus map: {len(good)} of {len(points)} points were in"
            f" focus{why} ({error}); choose another --origin or a larger --grid, or --focus none"
        )
        raise MicroscopeError(msg) from error
    places = [(x, y, z) for (x, y), z in zip(xy_um, z_um, strict=True)]
    steps = tuple(_on_surface(step, record, surface, places, rig, plan) for step in plan.steps)
    refuse_unreachable(rig, steps)
    found = FocusMap(
        tuple(places),
        surface.outliers,
        surface.sigma_um,
        tuple(f"{p.position.describe()}: {p.why}" for p in points if p.why),
    )
    return replace(plan, steps=steps, focus_map=found)


def _visit(
    microscope: GuardedMicroscope, glass: Glass, around: Position, depth_um: float, search_um: float
) -> FocusPoint:
    microscope.move_to(around)
    if float(glass.tissue_in(microscope.snap().image).mean()) < LEAST_TISSUE:
        return FocusPoint(around, why="glass")
    focused = autofocus(microscope, around, depth_um, search_um=search_um)
    return FocusPoint(focused.position, focused.sigma_um, focused.why)


def _on_surface(
    step: Step,
    record: CalibrationRecord,
    surface: FocusSurface,
    places: Sequence[tuple[float, float, float]],
    rig: Rig,
    plan: Plan,
) -> Step:
    """Put a step on the surface; far from all points it stays near the focus of the nearest."""
    x_um, y_um = record.specimen_um(step.objective, step.position)
    near = min(places, key=lambda place: math.hypot(place[0] - x_um, place[1] - y_um))
    apart_um = math.hypot(near[0] - x_um, near[1] - y_um)
    most_um = SLOPE_UM_PER_MM * apart_um / 1000 + low_depth_um(plan, rig)
    off_um = float(surface.at((x_um, y_um))) - near[2]
    z_um = near[2] + min(max(off_um, -most_um), most_um)
    return replace(step, position=record.position(step.objective, (x_um, y_um), z_um))


def _reach_px(fields: int, size_px: int, overlap: float) -> float:
    """Give how far apart the outermost points stand: field centres, or half a lone field."""
    return max((fields - 1) * (1 - overlap), 0.5) * size_px


def _apart_um(one: Position, other: Position) -> float:
    return math.hypot(one.x_um - other.x_um, one.y_um - other.y_um)
