"""Finds the focus with a microscope: drives it through a stack and looks where it is sharpest."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from scope_sr.config import Rig
from scope_sr.frame import Position
from scope_sr.imaging.focus import (
    Image,
    Peak,
    find_broad_peak,
    find_peak,
    laplacian_of_gaussian_variance,
    normalised_variance,
)
from scope_sr.microscope.guarded import GuardedMicroscope

Metric = Callable[[Image], float]

COARSE_STEP = 1.5  # depths of field between planes: the broad metric needs no denser ones
FINE_STEP = 0.5
FINE_PLANES = 7
FINE_REACH = COARSE_STEP  # depths of field that the fine stack sees to either side
FOLLOWS = 2  # times that a stack is moved on to a focus beyond its end


@dataclass(frozen=True)
class Focused:
    """What a search for the focus came to.

    Attributes
    ----------
    position
        Where the microscope was left: in focus if accepted, else at the z it came from.
    sigma_um
        Standard error of z; infinite if not accepted.
    planes
        (z in µm, sharpness) of the last stack, as taken.
    why
        Why it was not accepted; empty if it was.
    """

    position: Position
    sigma_um: float
    planes: tuple[tuple[float, float], ...]
    accepted: bool
    why: str = ""


def autofocus(
    microscope: GuardedMicroscope, around_um: Position, depth_um: float, *, search_um: float
) -> Focused:
    """Find the focus around a position and go there; if there is none, go back to the old z.

    A coarse stack over the range of the search, then seven planes half a depth apart. A stack whose
    sharpest plane is an end is moved on to it, twice at most. The objective is in place and the
    exposure set. A focus lock is off meanwhile, and on again afterwards if it was on.

    Parameters
    ----------
    depth_um
        Depth of field, see :func:`~scope_sr.imaging.focus.depth_of_field_um`.
    search_um
        How far off the focus may be. Up to one and a half depths the fine stack alone will do.

    Returns
    -------
    Not accepted on glass, or where the focus lies outside ``z_limits_um``: planes outside are left
    out, never asked for.
    """
    with _lock_off(microscope):
        came_from_um = microscope.position().z_um
        if search_um > FINE_REACH * depth_um:
            steps = math.ceil(search_um / (COARSE_STEP * depth_um))
            coarse = _Lattice(
                COARSE_STEP * depth_um, 2 * steps + 1, normalised_variance, find_broad_peak
            )
            # whatever its verdict, the place it names is the best there is to look closely at
            around_um = replace(around_um, z_um=_follow(microscope, around_um, coarse).peak.z_um)
        fine = _Lattice(
            FINE_STEP * depth_um, FINE_PLANES, laplacian_of_gaussian_variance, find_peak
        )
        return _conclude(microscope, _follow(microscope, around_um, fine), came_from_um)


def micro_focus(microscope: GuardedMicroscope, around_um: Position, depth_um: float) -> Focused:
    """Correct the focus of one field from three planes, one and a half depths apart.

    For a field whose focus is known to about a depth; otherwise as :func:`autofocus`. It follows no
    focus beyond its planes.
    """
    with _lock_off(microscope):
        came_from_um = microscope.position().z_um
        lattice = _Lattice(COARSE_STEP * depth_um, 3, normalised_variance, find_broad_peak)
        return _conclude(microscope, _take(microscope, around_um, lattice), came_from_um)


@dataclass(frozen=True)
class _Lattice:
    """Planes evenly apart around a centre, and how to find the peak in them."""

    step_um: float
    count: int
    metric: Metric
    find: Callable[[ArrayLike, ArrayLike], Peak]

    def planes_um(self, rig: Rig, centre_um: float) -> list[float]:
        """Ascend toward the specimen, so that the drive never has to turn round; stay inside."""
        low_um, high_um = rig.stage.z_limits_um
        offsets = np.arange(self.count) - (self.count - 1) / 2
        planes_um = centre_um + rig.toward * self.step_um * offsets
        return [float(z_um) for z_um in planes_um if low_um <= z_um <= high_um]


@dataclass(frozen=True)
class _Stack:
    """A stack that was taken, and whether a limit of the rig forbids to move it on to its peak."""

    around_um: Position
    planes: tuple[tuple[float, float], ...]
    peak: Peak
    at_limit: bool = False


def _follow(microscope: GuardedMicroscope, around_um: Position, lattice: _Lattice) -> _Stack:
    """Take a stack, and move it on while its sharpest plane is an end and the limits let it."""
    stack = _take(microscope, around_um, lattice)
    for _ in range(FOLLOWS):
        if not stack.peak.beyond or stack.at_limit:
            break
        stack = _take(microscope, replace(around_um, z_um=stack.peak.z_um), lattice)
    return stack


def _take(microscope: GuardedMicroscope, around_um: Position, lattice: _Lattice) -> _Stack:
    """Take the planes of a lattice around a position, those within the limits."""
    rig = microscope.rig
    planes_um = lattice.planes_um(rig, around_um.z_um)
    low_um, high_um = rig.stage.z_limits_um
    limits = f"{low_um:g}..{high_um:g} µm (z_limits_um in {rig.source or rig.name})"
    if len(planes_um) < 3:
        why = f"around z = {around_um.z_um:.2f} µm fewer than three planes lie within {limits}"
        return _Stack(around_um, (), Peak(around_um.z_um, math.inf, accepted=False, why=why))
    planes = tuple(
        (z_um, _sharpness(microscope, replace(around_um, z_um=z_um), lattice.metric))
        for z_um in planes_um
    )
    peak = lattice.find(*np.transpose(planes))
    next_um = peak.z_um + peak.beyond * lattice.step_um
    if low_um <= next_um <= high_um:
        return _Stack(around_um, planes, peak)
    peak = replace(peak, why=f"{peak.why}, and the next plane would be outside {limits}")
    return _Stack(around_um, planes, peak, at_limit=True)


def _sharpness(microscope: GuardedMicroscope, position: Position, metric: Metric) -> float:
    microscope.move_to(position)
    return metric(microscope.snap().image)


def _conclude(microscope: GuardedMicroscope, stack: _Stack, came_from_um: float) -> Focused:
    """Go to the focus, or back to where the focus drive was."""
    peak = stack.peak
    z_um = peak.z_um if peak.accepted else came_from_um
    position = replace(stack.around_um, z_um=z_um)
    microscope.move_to(position)
    return Focused(position, peak.sigma_um, stack.planes, peak.accepted, peak.why)


@contextmanager
def _lock_off(microscope: GuardedMicroscope) -> Iterator[None]:
    """Keep a focus lock from pulling each plane to its own height.

    It is off even if it only waits for the next focus to come on. After an error it stays off: the
    focus is then anywhere.
    """
    held = microscope.focus_held()
    microscope.hold_focus(False)
    yield
    if held:
        microscope.hold_focus(True)
