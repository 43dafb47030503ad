"""How long a plan takes: its moves, turns and exposures gone through in mind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from scope_sr.acquire_pairs.focus import focus_points, guess, low_depth_um
from scope_sr.calibration import CalibrationRecord, Times
from scope_sr.config import Rig
from scope_sr.focusing import COARSE_STEP, FINE_PLANES, FINE_REACH, FINE_STEP
from scope_sr.frame import Position
from scope_sr.imaging.focus import depth_of_field_um
from scope_sr.microscope.way import way
from scope_sr.plan import Plan, Step, exposure_ms, retracted

WRITE_S_PER_MPX = 0.015  # python benchmarks/capture.py, on two cores of 2026
LIKELY_SLOPE = 0.001  # of a slide, µm per µm
AT_ONCE = 1e12  # µm/s²: rigs say nothing of acceleration


def times_of(rig: Rig, record: CalibrationRecord) -> tuple[Times, str]:
    """Give the times to reckon with, and in words where they come from."""
    if record.stage is not None:
        return record.stage.times, "learnt by calibration"
    settle_s = rig.stage.settle_ms / 1000
    believed = Times(
        settle_s=settle_s,
        speed_um_per_s=rig.stage.speed_um_per_s,
        acceleration_um_per_s2=AT_ONCE,
        z_settle_s=settle_s,
        z_speed_um_per_s=rig.stage.z_speed_um_per_s,
        snap_s=rig.camera.readout_ms / 1000,
    )
    return believed, "as the rig file says"


def expected_seconds(plan: Plan, rig: Rig, record: CalibrationRecord) -> float:
    """Add up the time a plan takes, its focus map included while it is not made."""
    journey = _Journey(rig, record, plan.origin)
    steps = plan.steps
    if plan.focus != "none" and plan.focus_map is None:
        journey.map_focus(plan)
        steps = tuple(_askew(step, plan.origin) for step in steps)
    journey.capture(plan, steps)
    return journey.seconds


def between_seconds(
    plan: Plan, rig: Rig, record: CalibrationRecord, steps: Sequence[Step]
) -> float:
    """Give the time from the first to the last exposure of some steps of a plan, in its order."""
    if not steps:
        return 0.0
    began_s = _Journey(rig, record, steps[0].position).capture(plan, steps)
    return began_s[-1] - began_s[0]


def _askew(step: Step, origin: Position) -> Step:
    """Give a step the z of a slide that lies askew: once mapped, almost every move is in z too."""
    here = step.position
    across_um = here.x_um - origin.x_um + here.y_um - origin.y_um
    return replace(step, position=replace(here, z_um=here.z_um + LIKELY_SLOPE * across_um))


class _Journey:
    """Goes where the guard would go, leg by leg, and adds up the time."""

    def __init__(self, rig: Rig, record: CalibrationRecord, here: Position) -> None:
        self.seconds = 0.0
        self._rig = rig
        self._record = record
        self._times = times_of(rig, record)[0]
        self._here = here
        self._taken_up = False

    def capture(self, plan: Plan, steps: Sequence[Step]) -> list[float]:
        """Take the steps; give when the exposure of each begins."""
        began_s = []
        before = plan.low if steps[0].pass_ == "low" else plan.high
        for step in steps:
            if step.objective != before:
                self._turn()
            before = step.objective
            if plan.focus == "map+local" and step.pass_ == "high":
                aperture = self._rig.objectives[plan.high].numerical_aperture
                depth_um = depth_of_field_um(aperture, plan.pixel_size_um[plan.high])
                self._stack(step.position, 3, COARSE_STEP * depth_um, step.exposure_ms)
            self._move(step.position)
            began_s.append(self.seconds)
            self._snap(step.exposure_ms)
            self._write()
        return began_s

    def map_focus(self, plan: Plan) -> None:
        """Focus at every point of the map, as if there were tissue at each."""
        known: list[Position] = []
        exposed_ms = exposure_ms(self._rig, self._record, plan.low)
        depth_um = low_depth_um(plan, self._rig)
        for place in focus_points(plan, self._rig, self._record):
            _, search_um = guess(plan, self._rig, place, known)
            self._move(place)
            self._snap(exposed_ms)
            if search_um > FINE_REACH * depth_um:
                coarse_um = COARSE_STEP * depth_um
                self._stack(place, 2 * math.ceil(search_um / coarse_um) + 1, coarse_um, exposed_ms)
            self._stack(place, FINE_PLANES, FINE_STEP * depth_um, exposed_ms)
            self._move(place)
            known.append(place)

    def _write(self) -> None:
        """Add the time a field takes to the disk; a simulator's is lost in computing the image."""
        camera = self._rig.camera
        if self._rig.backend == "micromanager":
            self.seconds += camera.width_px * camera.height_px / 1e6 * WRITE_S_PER_MPX

    def _stack(self, middle: Position, planes: int, step_um: float, exposed_ms: float) -> None:
        for plane in range(planes):
            off_um = self._rig.toward * step_um * (plane - (planes - 1) / 2)
            self._move(replace(middle, z_um=middle.z_um + off_um))
            self._snap(exposed_ms)

    def _turn(self) -> None:
        away = retracted(self._rig, self._here)
        self.seconds += self._times.leg_s(0.0, away.z_um - self._here.z_um)
        turn_s = self._times.turn_s
        self.seconds += self._rig.nosepiece.turn_s if turn_s is None else turn_s
        self._here = away

    def _move(self, target: Position) -> None:
        legs = way(self._rig, self._here, target, taken_up=self._taken_up)
        for leg in legs:
            across_um = max(abs(leg.x_um - self._here.x_um), abs(leg.y_um - self._here.y_um))
            self.seconds += self._times.leg_s(across_um, leg.z_um - self._here.z_um)
            self._here = leg
        self._taken_up = self._taken_up or bool(legs)

    def _snap(self, exposed_ms: float) -> None:
        self.seconds += exposed_ms / 1000 + self._times.snap_s
