"""What is known of a session before its pixels are read: map, optics, groups of fields."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scope_sr.build_dataset.people import Whose
from scope_sr.errors import InputError
from scope_sr.imaging.affine import bent
from scope_sr.imaging.session_model import Lens, SessionModel
from scope_sr.plan import Step
from scope_sr.session import Session

WAVELENGTH_UM = 0.54  # green, where all geometry is measured
PSF = 0.21  # sigma of a Gaussian like the incoherent PSF, in λ/NA
REACH_UM = 12.0  # of the first search: stage, nosepiece and calibration are off by less
LEAST_FREE_PX, UNKNOWN_PX = 0.03, 3.0  # how far lenses may bend at the corner, beside the record


@dataclass(frozen=True, eq=False)
class Setup:
    """What a worker must know of a session.

    Attributes
    ----------
    folder, name
        Of the session, and what the dataset calls it.
    low, high
        Objectives.
    scale
        High pixels of the dataset per low pixel.
    full_scale
        Largest value of a pixel.
    model
        The map as far as it is calibrated.
    blur_px
        Sigma in original high pixels that makes a high image as soft as the low one.
    reach_px
        Of the first search, in low pixels.
    low_um_per_px, high_um_per_px
        As measured.
    """

    folder: Path
    name: str
    low: str
    high: str
    scale: int
    full_scale: int
    model: SessionModel
    blur_px: float
    reach_px: float
    low_um_per_px: float
    high_um_per_px: float

    @property
    def ratio(self) -> float:
        """Original high pixels per low pixel."""
        return self.low_um_per_px / self.high_um_per_px


@dataclass(frozen=True)
class Visit:
    """A session to be built from, and whose tissue it holds."""

    session: Session
    name: str
    digest: str
    whose: Whose


@dataclass(frozen=True)
class Group:
    """A low field and the high ones within it, by the names of their steps."""

    low: str
    highs: tuple[str, ...]


def set_up(session: Session, name: str, scale: int) -> Setup:
    """Take what the plan, the rig and the calibration record of a session say."""
    plan, record, camera = session.plan, session.record, session.rig.camera
    low, high = (record.objectives[objective] for objective in (plan.low, plan.high))
    radius = math.hypot(camera.width_px, camera.height_px) / 2
    sigmas = [lens.distortion_sigma for lens in (low, high) if lens.distortion_sigma is not None]
    free = 3 * max(sigmas) * radius if len(sigmas) == 2 else UNKNOWN_PX
    model = SessionModel.calibrated(
        np.asarray(np.linalg.solve(low.affine, high.affine)),
        Lens(radius, low.distortion),
        Lens(radius, high.distortion),
        min(max(free, LEAST_FREE_PX), UNKNOWN_PX),
    )
    soft_um = [_softness_um(session, objective) for objective in (plan.low, plan.high)]
    return Setup(
        folder=session.folder,
        name=name,
        low=plan.low,
        high=plan.high,
        scale=scale,
        full_scale=camera.full_scale,
        model=model,
        blur_px=math.sqrt(max(soft_um[0] ** 2 - soft_um[1] ** 2, 0.0)) / high.pixel_size_um,
        reach_px=REACH_UM / low.pixel_size_um,
        low_um_per_px=low.pixel_size_um,
        high_um_per_px=high.pixel_size_um,
    )


def groups_of(session: Session) -> tuple[Group, ...]:
    """Give the low fields with the high ones captured in them, in the plan's order."""
    there = session.there()
    highs: dict[str, list[str]] = {}
    for step in session.plan.of_pass("high"):
        if step.name in there:
            highs.setdefault(step.parent, []).append(step.name)
    return tuple(
        Group(step.name, tuple(highs[step.name]))
        for step in session.plan.of_pass("low")
        if step.name in there and step.name in highs
    )


def expected_px(session: Session, model: SessionModel, high: str) -> NDArray[np.float64]:
    """Predict the shift s of a high field from where the stage stood."""
    step = steps_of(session)[high]
    stands = [session.entries[name].position for name in (high, step.parent)]
    if stands[0] is None or stands[1] is None:
        msg = f"{session.folder}: the journal does not say where {high} was taken"
        raise InputError(msg)
    record, plan = session.record, session.plan
    centre_um = record.specimen_um(plan.high, stands[0])
    at_px = np.array(record.offset_px(plan.low, stands[1], centre_um))
    return bent(at_px, model.low.distortion, model.low.radius_px)


def steps_of(session: Session) -> dict[str, Step]:
    """Give the steps of a session's plan by their names."""
    return {step.name: step for step in session.plan.steps}


def digest_of(session: Session) -> str:
    """Give a SHA-256 of all that the pairs of a session depend on."""
    found = hashlib.sha256(session.header.id.encode())
    for name in sorted(session.there()):
        entry = session.entries[name]
        found.update(f"{name} {entry.sha256} {entry.position} {entry.faults}\n".encode())
    found.update(session.record.digest.encode())
    for path in _calibration_files(session):
        found.update(path.read_bytes())
    return found.hexdigest()


def _calibration_files(session: Session) -> Iterator[Path]:
    folder = session.record.folder
    if folder is None:
        return
    for objective in (session.plan.low, session.plan.high):
        lens = session.record.objectives[objective]
        yield from (folder / name for name in (lens.flat, lens.dark) if name)


def _softness_um(session: Session, objective: str) -> float:
    """Give the sigma of what one point becomes on the sensor: diffraction and the pixel's box."""
    aperture = session.rig.objectives[objective].numerical_aperture
    pixel_um = session.record.objectives[objective].pixel_size_um
    return math.hypot(PSF * WAVELENGTH_UM / aperture, pixel_um / math.sqrt(12))
