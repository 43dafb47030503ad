"""Section ``chromatic``: how much larger the red and the blue image are than the green one."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from scope_sr.calibrate import pictures
from scope_sr.calibrate.bench import Bench, CalibrationError
from scope_sr.calibrate.pairing import acquaint
from scope_sr.imaging.affine import Overlap, radius_px
from scope_sr.imaging.chromatic import chromatic
from scope_sr.imaging.shift import block_shifts, green

SIDE = 3  # fields on a lattice of SIDE x SIDE
STEP = 0.35  # of a field: the outer ones share a third
CORNER_LIMIT_PX = 0.5


def measure_chromatic(bench: Bench) -> None:
    """Measure each objective on overlapping fields of ordinary tissue, in focus."""
    if not bench.rig.camera.color:
        bench.note("lateral chromatic shift of a monochrome camera", 0.0, "px", "not needed")
        return
    camera = bench.rig.camera
    corner_px = radius_px((camera.width_px, camera.height_px))
    for objective in bench.objectives:
        if objective != bench.reference:
            acquaint(bench, objective)
        images, overlaps = _overlapping_fields(bench, objective)
        try:
            found = chromatic(images, overlaps)
        except ValueError as error:
            msg = f"chromatic shift of {objective}: {error}; begin on denser tissue"
            raise CalibrationError(msg) from error
        sizes, sigma = found.lateral_chromatic, found.sigma
        bench.know(objective, lateral_chromatic=sizes, lateral_chromatic_sigma=sigma)
        picture = bench.folder / f"chromatic-{objective}.png"
        pictures.chromatic(picture, objective, sizes, sigma, corner_px, found.moves_px)
        shifts = corner_px * np.array(sizes)
        bench.note(
            f"{objective} chromatic shift at the corner, red and blue", shifts, "px",
            f"{CORNER_LIMIT_PX:g} px", "ok" if np.abs(shifts).max() <= CORNER_LIMIT_PX else "warn",
            sigma=corner_px * np.array(sigma), picture=picture.name,
            advice="a plain achromat: fine for pairs, but edges far from the centre are coloured",
        )  # fmt: skip


def _overlapping_fields(
    bench: Bench, objective: str
) -> tuple[list[NDArray[np.float32]], list[Overlap]]:
    at_um = bench.find_tissue()
    bench.turn_to(objective)
    bench.focus_or_fail(objective, at_um)
    steps_um = (np.arange(SIDE) - (SIDE - 1) / 2) * STEP * bench.field_um(objective)
    places = np.array([(at_um[0] + x, at_um[1] + y) for y in steps_um for x in steps_um])
    images = [bench.levels(bench.see(objective, (x, y))) for x, y in places.tolist()]
    affine = bench.lens(objective).affine
    overlaps = []
    for i, j in itertools.combinations(range(len(images)), 2):
        expected = -np.linalg.solve(affine, places[j] - places[i])
        shifts = block_shifts(green(images[i]), green(images[j]), expected)
        if len(shifts) >= 4:
            overlaps.append(Overlap(i, j, shifts))
    return images, overlaps
