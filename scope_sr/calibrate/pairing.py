"""Brings a second objective to bear on what the reference sees, from hundreds of µm off."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from scope_sr.calibrate.bench import Bench, CalibrationError
from scope_sr.frame import Position
from scope_sr.imaging.registration import Registration, register

SEARCH_UM = 260.0  # how far the centres of two objectives may be apart before they are calibrated
MOST_RINGS = 4  # of overview fields about the first
TRIES = 4

Floats = NDArray[np.float32]
XY = tuple[float, float]


def acquaint(bench: Bench, objective: str) -> None:
    """Find roughly where an objective looks, once: the first search is hundreds of µm wide.

    The tissue around a place is taken with the reference objective, then one field with the other,
    which is searched for in all of it.

    Raises
    ------
    CalibrationError
        What the objective shows is nowhere to be found.
    """
    if objective in bench.acquainted:
        return
    for at_um in bench.tissue_places(TRIES)[:TRIES]:
        overview = _overview(bench, objective, at_um)
        bench.turn_to(objective)
        if not bench.focus(objective, at_um).accepted:
            continue
        found = _search(bench, objective, at_um, overview)
        if found is not None:
            bench.know(objective, parcentric_um=found)
            bench.acquainted.add(objective)
            return
    lens = bench.rig.objectives[objective]
    msg = (
        f"{objective} shows nothing that {bench.reference} sees within {SEARCH_UM:.0f} µm: is it"
        f" really {lens.magnification:g}x in slot {lens.slot} (wrong objective label?), in focus,"
        f" and its parcentric_um right to {SEARCH_UM:.0f} µm in {bench.rig.source}?"
    )
    raise CalibrationError(msg)


def matched(
    bench: Bench, objective: str, reference_image: Floats, other_image: Floats
) -> Registration | None:
    """Register the finer of two fields in the coarser one, whichever the reference is."""
    to_reference = np.linalg.solve(bench.lens(bench.reference).affine, bench.lens(objective).affine)
    if _is_finer(bench, objective):
        distortion = bench.lens(bench.reference).distortion
        return register(reference_image, other_image, to_reference, distortion)
    distortion = bench.lens(objective).distortion
    return register(other_image, reference_image, np.linalg.inv(to_reference), distortion)


def affine_of(bench: Bench, objective: str, found: Registration) -> NDArray[np.float64]:
    """Transfer the affine of the reference objective through a registration."""
    known = bench.lens(bench.reference).affine
    linear = found.linear if _is_finer(bench, objective) else np.linalg.inv(found.linear)
    matrix: NDArray[np.float64] = np.matmul(known, linear)
    return matrix


def between_um(bench: Bench, objective: str, found: Registration) -> NDArray[np.float64]:
    """Give how far (µm) the other field's centre lies from that of the reference's field."""
    known = bench.lens(bench.reference).affine
    if _is_finer(bench, objective):
        return np.asarray(np.matmul(known, found.centre_px))
    return np.asarray(-known @ np.linalg.solve(found.linear, found.centre_px))


def seen_um(
    bench: Bench, objective: str, found: Registration, stand: Position
) -> NDArray[np.float64]:
    """Give the place the other objective saw, when the reference stood at `stand`."""
    at_um = np.array([stand.x_um, stand.y_um])
    return np.asarray(at_um + between_um(bench, objective, found))


def _is_finer(bench: Bench, objective: str) -> bool:
    return bench.lens(objective).pixel_size_um < bench.lens(bench.reference).pixel_size_um


def _overview(bench: Bench, objective: str, at_um: XY) -> list[tuple[XY, Floats]]:
    """Take fields of the reference objective about a place, wide enough for the first search."""
    bench.turn_to(bench.reference)
    large_um, small_um = bench.field_um(bench.reference), bench.field_um(objective)
    if small_um > large_um:
        return [(at_um, bench.levels(bench.see(bench.reference, at_um)))]
    step_um = 0.95 * (large_um - small_um)
    known = bench.lens(objective).parcentric_sigma_um is not None
    reach_um = SEARCH_UM / 5 if known else SEARCH_UM
    rings = math.ceil(max(0.0, reach_um - step_um / 2) / step_um)
    rings = min(rings, MOST_RINGS)
    lattice = sorted(
        ((i, j) for i in range(-rings, rings + 1) for j in range(-rings, rings + 1)),
        key=lambda cell: (max(map(abs, cell)), cell),
    )
    if rings:
        bench.tell(f"taking {len(lattice)} fields for the first search of {objective}")
    places = [(at_um[0] + i * step_um, at_um[1] + j * step_um) for i, j in lattice]
    return [
        (place, bench.levels(bench.see(bench.reference, place)))
        for place in places
        if bench.inside(bench.reference, place)
    ]


def _search(
    bench: Bench, objective: str, at_um: XY, overview: list[tuple[XY, Floats]]
) -> tuple[float, float] | None:
    """Look for the field of the other objective in an overview; gives its parcentric offset."""
    here = bench.place(objective, at_um)
    image = bench.levels(bench.see(objective, at_um))
    best: tuple[float, XY, Registration] | None = None
    for place, low in overview:
        found = matched(bench, objective, low, image)
        if found is not None and (best is None or found.likeness > best[0]):
            best = (found.likeness, place, found)
    if best is None:
        return None
    seen_um = np.asarray(best[1]) + between_um(bench, objective, best[2])
    x_um, y_um = seen_um - (here.x_um, here.y_um)
    return float(x_um), float(y_um)
