"""The tables of a calibration record: what was measured, how well, and when."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from scope_sr.config import XY, Number, Rig

Section = Literal[
    "flat-field", "stage", "pixel-size", "focus", "offsets", "color", "chromatic", "noise"
]
SECTIONS: tuple[Section, ...] = (
    "flat-field",
    "stage",
    "pixel-size",
    "focus",
    "offsets",
    "color",
    "chromatic",
    "noise",
)
"""In the order they are measured: each may use what those before it found."""

Verdict = Literal["ok", "warn", "fail"]
NotNegative = Annotated[float, Field(allow_inf_nan=False, ge=0)]
Positive = Annotated[float, Field(allow_inf_nan=False, gt=0)]
Channels = tuple[Number, ...]


class Measured(BaseModel):
    """A table of the record: frozen, and refusing keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Check(Measured):
    """One measured quantity and the judgement on it.

    ``sigma`` is one standard deviation of ``value``, in the same unit; ``limit`` says in words what
    the verdict was given by; ``advice`` is what to do about a verdict that is not ok; ``picture``
    is the file in the record's folder it can be seen in; ``made_at`` is UTC.
    """

    section: Section
    name: str
    value: tuple[Number, ...]
    sigma: tuple[Number, ...] = ()
    unit: str
    limit: str
    verdict: Verdict
    advice: str = ""
    picture: str = ""
    made_at: str


class Fingerprint(Measured):
    """What a record belongs to: another camera, ROI, binning or nosepiece slot makes it void.

    ``camera`` is what the camera says of itself, ROI and binning included; ``slots`` is the place
    and the label of each objective.
    """

    camera: str
    size_px: tuple[int, int]
    bits: int
    color: bool
    slots: dict[str, str]

    @classmethod
    def of(cls, rig: Rig, camera: str) -> Fingerprint:
        """Take the fingerprint of a rig whose camera calls itself `camera`."""
        return cls(
            camera=camera,
            size_px=(rig.camera.width_px, rig.camera.height_px),
            bits=rig.camera.bits,
            color=rig.camera.color,
            slots={name: _slot(rig, name) for name in rig.objectives},
        )

    def difference(self, now: Fingerprint, objectives: tuple[str, ...]) -> str:
        """Say in words what differs `now` for some objectives; empty when nothing does."""
        pairs = [
            ("the camera", self.camera, now.camera),
            ("its image in pixels", self.size_px, now.size_px),
            ("its bits", self.bits, now.bits),
            ("its colour", self.color, now.color),
            *((f"objective {o}", self.slots.get(o), now.slots.get(o)) for o in objectives),
        ]
        for what, before, after in pairs:
            if before != after:
                return f"{what} was {before} at calibration and is {after} now"
        return ""


def _slot(rig: Rig, name: str) -> str:
    lens = rig.objectives[name]
    label = f" {lens.label!r}" if lens.label else ""
    return f"slot {lens.slot}{label}, {lens.magnification:g}x/{lens.numerical_aperture:g}"


class Times(Measured):
    """How long the microscope takes, by the clock of its frames.

    A leg of a move across takes ``settle_s`` plus the time of an even acceleration up to a speed;
    one of the focus drive ``z_settle_s`` plus the way at ``z_speed_um_per_s``; a snap takes its
    exposure plus ``snap_s``.
    """

    settle_s: NotNegative
    speed_um_per_s: Positive
    acceleration_um_per_s2: Positive
    z_settle_s: NotNegative
    z_speed_um_per_s: Positive
    snap_s: NotNegative
    turn_s: NotNegative | None = None

    def leg_s(self, across_um: float, z_um: float) -> float:
        """Give the time of one leg: the axes move together, the slowest counts.

        >>> times = Times(settle_s=0.05, speed_um_per_s=1e4, acceleration_um_per_s2=1e5,
        ...     z_settle_s=0.05, z_speed_um_per_s=1e3, snap_s=0.02)
        >>> times.leg_s(1000.0, 0.0), times.leg_s(0.0, 50.0), times.leg_s(0.0, 0.0)
        (0.25, 0.1, 0.0)
        """
        across_s = self._across_s(abs(across_um)) + self.settle_s if across_um else 0.0
        z_s = abs(z_um) / self.z_speed_um_per_s + self.z_settle_s if z_um else 0.0
        return max(across_s, z_s)

    def _across_s(self, way_um: float) -> float:
        ramp_um = self.speed_um_per_s**2 / self.acceleration_um_per_s2
        if way_um < ramp_um:
            return 2 * math.sqrt(way_um / self.acceleration_um_per_s2)
        return way_um / self.speed_um_per_s + self.speed_um_per_s / self.acceleration_um_per_s2


class StageCalibration(Measured):
    """The mechanics: play (µm, x and y), scatter of one-sided arrivals (µm per axis), times."""

    backlash_um: XY
    backlash_sigma_um: XY
    repeatability_um: NotNegative
    still_after_s: NotNegative
    times: Times


class CameraCalibration(Measured):
    """Noise and range of the camera, per channel; see `imaging.photon_transfer`.

    The variance of a grey level m is ``m / gain + variance_dn2``; read noise is None where the
    bits of the camera hide it. ``effective``: interpolated colours, not the sensor's own.
    """

    gain_e_per_dn: Channels
    gain_sigma: Channels
    read_noise_e: tuple[Number, ...] | None
    full_well_e: Channels
    dark_dn: Channels
    variance_dn2: Channels
    linearity: NotNegative
    effective: bool


class CourseSoFar(Measured):
    """How far an interrupted calibration came: what it was to measure, and what it has."""

    sections: tuple[Section, ...]
    objectives: tuple[str, ...]
    done: tuple[Section, ...]


class FocusCalibration(Measured):
    """Where tissue was in focus with an objective: points (x, y, z in µm of the stage), and tilt.

    It belongs to one slide; only scatter and tilt of the stage outlast it.
    """

    objective: str
    points_um: tuple[tuple[Number, Number, Number], ...]
    tilt_um_per_mm: XY
    tilt_sigma_um_per_mm: XY
    repeatability_um: NotNegative
    z_backlash_um: Number | None = None
