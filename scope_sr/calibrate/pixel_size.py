"""Section ``pixel-size``: µm per pixel, rotation, flip, shear and distortion of each objective."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

from scope_sr.calibrate import pictures
from scope_sr.calibrate.bench import Bench, CalibrationError
from scope_sr.calibrate.pairing import acquaint, affine_of, matched
from scope_sr.calibrate.stage import first_affine
from scope_sr.calibration import Verdict
from scope_sr.imaging.affine import (
    Affine,
    Layout,
    Overlap,
    fit_affine,
    lay_out,
    rotation_rad,
    shear_rad,
)
from scope_sr.imaging.shift import block_shifts, green, wide_shift

STEP = 0.5  # of a field: neighbours share half
AIM = 0.00025  # standard deviation of the scale that the size of the grid is chosen for
SIDES = (5, 7, 9)
SCALE_LIMIT = 0.001
ROTATION_LIMIT_MRAD = 0.5
SHEAR_LIMIT_MRAD = 2.0
ASPECT_LIMIT = 0.003
MICRO_MANAGER_LIMIT = 0.02
PAIRS = 5
SLIPPED_SIGMAS = 6.0
LOST_SHARE = 0.25  # of the places off: what is left says little about the others

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Grid:
    """What a grid of moves gave: see `imaging.affine`; places in µm from its middle.

    ``closure_um`` is how far from its beginning the stage came back to at the end.
    """

    layout: Layout
    affine: Affine
    stage_um: Points
    closure_um: float


def measure_pixel_size(bench: Bench) -> None:
    """Measure the reference objective on a grid of moves, the others through registration."""
    grid = _measure_reference(bench)
    layout, affine = grid.layout, grid.affine
    _know(bench, bench.reference, affine.matrix, affine.scale_sigma, affine.rotation_sigma_rad)
    bench.know(
        bench.reference, distortion=layout.distortion, distortion_sigma=layout.distortion_sigma
    )
    for objective in bench.others:
        _measure_other(bench, objective, affine)


def _measure_reference(bench: Bench) -> Grid:
    at_um = bench.find_tissue()
    bench.turn_to(bench.reference)
    first = first_affine(bench, at_um)
    scatter_um = bench.record.stage.repeatability_um if bench.record.stage else 0.5
    step_um = STEP * bench.field_um(bench.reference)
    side = next((n for n in SIDES if _sigma(n, step_um, scatter_um) <= AIM), SIDES[-1])
    grid = measure_grid(bench, at_um, first, side)
    picture = bench.folder / f"pixel-size-{bench.reference}.png"
    pictures.affine(picture, bench.reference, grid.stage_um, grid.affine)
    _judge_reference(bench, grid, picture.name)
    return grid


def measure_grid(bench: Bench, at_um: tuple[float, float], first: Points, side: int) -> Grid:
    """Measure the affine of the reference objective on side x side places around one.

    Raises
    ------
    CalibrationError
        There is too little room, or too little tissue.
    """
    offsets_um = _grid(bench, at_um, side)
    bench.tell(f"pixel size of {bench.reference}: {len(offsets_um)} places")
    planes = [
        green(bench.levels(bench.see(bench.reference, tuple(np.add(at_um, offset)))))
        for offset in offsets_um
    ]
    overlaps = _overlaps(planes, offsets_um, first)
    camera = bench.rig.camera
    try:
        layout = lay_out(overlaps, len(planes), (camera.width_px, camera.height_px))
        linked = layout.linked
        affine = fit_affine(layout.at_px[linked], offsets_um[linked])
    except ValueError as error:
        msg = (
            f"tissue too sparse for the pixel size of {bench.reference}: {error}; begin where"
            f" tissue fills {side * STEP * bench.field_um(bench.reference) / 1000:.1f} mm"
        )
        raise CalibrationError(msg) from error
    first_place = int(np.flatnonzero(linked)[0])
    back_um = tuple(np.add(at_um, offsets_um[first_place]))
    again = green(bench.levels(bench.see(bench.reference, back_um)))
    closure_um = _closure_um(planes[first_place], again, affine)
    return Grid(layout, affine, offsets_um[linked], closure_um)


def _grid(bench: Bench, at_um: tuple[float, float], side: int) -> Points:
    """Lay out moves around a place; ``(n, 2)`` µm, row by row from a corner."""
    step_um = STEP * bench.field_um(bench.reference)
    steps = (np.arange(side) - (side - 1) / 2) * step_um
    offsets = np.array([(x, y) for y in steps for x in steps])
    inside = [bench.inside(bench.reference, tuple(np.add(at_um, offset))) for offset in offsets]
    if sum(inside) < min(side, SIDES[0]) ** 2:
        msg = (
            f"the stage limits leave no room for the pixel size of {bench.reference}: it needs"
            f" {(min(side, SIDES[0]) - 1) * step_um:.0f} µm in x and y around the tissue; begin"
            " elsewhere"
        )
        raise CalibrationError(msg)
    return offsets[inside]


def _sigma(side: int, step_um: float, scatter_um: float) -> float:
    """Foretell the uncertainty of the scale from a grid of side x side."""
    spread_um = step_um * math.sqrt((side**2 - 1) / 12)
    return scatter_um / (side * spread_um * math.sqrt(2))


def _overlaps(planes: list[NDArray], offsets_um: Points, first: Points) -> list[Overlap]:
    """Measure the shifts between neighbours, where the first affine expects them."""
    step_um = float(np.ptp(offsets_um, axis=0).max()) / (math.isqrt(len(planes)) - 1 or 1)
    found = []
    for i, j in _neighbours(offsets_um, 1.2 * step_um):
        expected = -np.linalg.solve(first, offsets_um[j] - offsets_um[i])
        shifts = block_shifts(planes[i], planes[j], expected)
        if len(shifts) < 8:  # the stage may have slipped: look wider
            wide, likeness = wide_shift(planes[i], planes[j])
            if likeness < 0.3:
                continue
            shifts = block_shifts(planes[i], planes[j], wide)
        if len(shifts) >= 4:
            found.append(Overlap(i, j, shifts))
    return found


def _neighbours(offsets_um: Points, reach_um: float) -> list[tuple[int, int]]:
    return [
        (i, j)
        for i in range(len(offsets_um))
        for j in range(i + 1, len(offsets_um))
        if np.abs(offsets_um[j] - offsets_um[i]).max() < reach_um
    ]


def _closure_um(before: NDArray, after: NDArray, affine: Affine) -> float:
    """Say how far from where it began the stage came back to."""
    shift, likeness = wide_shift(before, after)
    if likeness < 0.2:
        msg = (
            "the stage slipped: back at the first place of the grid it shows other tissue; fasten"
            " the slide, look at the stage's drive, calibrate again"
        )
        raise CalibrationError(msg)
    return float(np.hypot(*(affine.matrix @ shift)))


def _measure_other(bench: Bench, objective: str, reference: Affine) -> None:
    """Transfer the affine through registration: a high field is too short a lever for the stage."""
    acquaint(bench, objective)
    pairs = take_pairs(bench, objective, bench.tissue_places(PAIRS))
    registered = [matched(bench, objective, low, high) for low, high in pairs]
    good = [found for found in registered if found is not None]
    if len(good) < (PAIRS + 1) // 2:
        msg = (
            f"only {len(good)} of {len(pairs)} fields of {objective} could be laid on"
            f" {bench.reference}: too little tissue, or out of focus; begin on denser tissue"
        )
        raise CalibrationError(msg)
    matrices = np.array([affine_of(bench, objective, found) for found in good])
    affine = np.median(matrices, axis=0)
    scales = np.sqrt(np.abs(np.linalg.det(matrices)))
    turns = np.array([rotation_rad(matrix) for matrix in matrices])
    scale_sigma = math.hypot(_error(scales / np.median(scales)), reference.scale_sigma)
    rotation_sigma = math.hypot(_error(turns), reference.rotation_sigma_rad)
    _refuse_wrong_label(bench, objective, affine)
    _know(bench, objective, affine, scale_sigma, rotation_sigma)
    finer = bench.lens(objective).pixel_size_um < bench.lens(bench.reference).pixel_size_um
    if finer:
        bends = np.array([found.distortion for found in good])
        distortion, error = float(np.median(bends)), _error(bends)
        bench.know(objective, distortion=distortion, distortion_sigma=error)
        bench.note(
            f"{objective} distortion at the corner",
            100 * distortion,
            "%",
            "none, it is corrected",
            sigma=100 * error,
        )
    _judge_scale(bench, objective, affine, scale_sigma, rotation_sigma, "")


def take_pairs(
    bench: Bench, objective: str, places: list[tuple[float, float]]
) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Take the same places with the reference and another objective, each in focus."""
    bench.turn_to(bench.reference)
    bench.focus(bench.reference, places[0])
    lows = [bench.levels(bench.see(bench.reference, at_um)) for at_um in places]
    bench.turn_to(objective)
    highs = []
    for at_um in places:
        bench.focus(objective, at_um)
        highs.append(bench.levels(bench.see(objective, at_um)))
    return list(zip(lows, highs, strict=True))


def _error(values: Points) -> float:
    """Give the standard error of a median, so that twice it holds 95 % for few values too."""
    count = len(values)
    if count < 2:
        return math.inf
    few = float(student_t.ppf(0.975, count - 1)) / 1.96
    return few * 1.25 * float(np.std(values, ddof=1)) / math.sqrt(count)


def _know(
    bench: Bench, objective: str, matrix: Points, scale_sigma: float, rotation_sigma: float
) -> None:
    (a, b), (c, d) = matrix.tolist()
    bench.know(
        objective,
        affine_um_per_px=((a, b), (c, d)),
        scale_sigma=scale_sigma,
        rotation_sigma_mrad=1000 * rotation_sigma,
    )


def _refuse_wrong_label(bench: Bench, objective: str, matrix: Points) -> None:
    found = math.sqrt(abs(float(np.linalg.det(matrix))))
    said = bench.rig.pixel_size_um(objective)
    if abs(found / said - 1) > 0.05:
        lens = bench.rig.objectives[objective]
        msg = (
            f"wrong objective label? A pixel of {objective} is {found:.4g} µm by registration and"
            f" {said:.4g} µm by the rig: look at which objective is in slot {lens.slot}"
        )
        raise CalibrationError(msg)


def _judge_reference(bench: Bench, grid: Grid, picture: str) -> None:
    objective, layout, affine = bench.reference, grid.layout, grid.affine
    matrix = affine.matrix
    _judge_scale(bench, objective, matrix, affine.scale_sigma, affine.rotation_sigma_rad, picture)
    shear = 1000 * shear_rad(matrix)
    aspect = math.hypot(*matrix[:, 0]) / math.hypot(*matrix[:, 1]) - 1
    sigma = affine.scale_sigma * math.sqrt(2)
    bench.note(
        f"{objective} shear", shear, "mrad", f"{SHEAR_LIMIT_MRAD:g} mrad",
        _verdict(abs(shear) <= SHEAR_LIMIT_MRAD + 3000 * sigma), sigma=2000 * sigma / math.sqrt(2),
        advice="the axes of the stage are not at right angles; the record corrects for it",
        picture=picture,
    )  # fmt: skip
    bench.note(
        f"{objective} aspect", 100 * aspect, "%", f"{100 * ASPECT_LIMIT:g} %",
        _verdict(abs(aspect) <= ASPECT_LIMIT + 3 * sigma), sigma=100 * sigma,
        advice="one axis of the stage is off in scale; the record corrects for it",
        picture=picture,
    )  # fmt: skip
    bench.note(
        f"{objective} distortion at the corner", 100 * layout.distortion, "%",
        "none, it is corrected", sigma=100 * layout.distortion_sigma, picture=picture,
    )  # fmt: skip
    _judge_slip(bench, affine, grid.closure_um, picture)
    slips = int(affine.outliers.sum())
    if slips > LOST_SHARE * len(affine.outliers):
        msg = (
            f"the stage slipped: {slips} of {len(affine.outliers)} places are not where it said,"
            f" too many for the pixel size of {objective}: fasten the slide, look at the stage's"
            " drive, and calibrate again"
        )
        raise CalibrationError(msg)


def _judge_slip(bench: Bench, affine: Affine, closure_um: float, picture: str) -> None:
    """Look for places where the stage was not where it said, and whether it came back."""
    scatter_um = affine.stage_sigma_um
    expected_um = bench.record.stage.repeatability_um if bench.record.stage else scatter_um
    slips = int(affine.outliers.sum())
    limit_um = SLIPPED_SIGMAS * max(expected_um, 0.02)
    slipped = slips > 0.1 * len(affine.outliers) or closure_um > limit_um
    bench.note(
        "stage comes back to where it began", closure_um, "µm",
        f"{limit_um:.2g} µm, and no more than a tenth of the places off",
        "fail" if slipped else "ok", sigma=scatter_um,
        advice=(
            f"the stage slipped or drifted ({slips} of {len(affine.outliers)} places are off):"
            " fasten the slide, look at the stage's drive, let the room settle, calibrate again"
        ),
        picture=picture,
    )  # fmt: skip
    ratio = scatter_um / max(expected_um, 0.02)
    bench.note(
        "scatter of the stage over the grid", scatter_um, "µm", "3 times its repeatability",
        _verdict(ratio <= 3), sigma=scatter_um / math.sqrt(2 * len(affine.outliers)),
        advice="the stage is less exact on long ways than on short ones: play, pitch or slip",
        picture=picture,
    )  # fmt: skip


def _judge_scale(
    bench: Bench,
    objective: str,
    matrix: Points,
    scale_sigma: float,
    rotation_sigma: float,
    picture: str,
) -> None:
    size_um = math.sqrt(abs(float(np.linalg.det(matrix))))
    bench.note(
        f"{objective} pixel size", size_um, "µm", f"known to {100 * SCALE_LIMIT:g} %",
        _verdict(scale_sigma <= SCALE_LIMIT, "fail"), sigma=size_um * scale_sigma,
        advice="calibrate where there is more tissue; see the repeatability of the stage",
        picture=picture,
    )  # fmt: skip
    bench.note(
        f"{objective} rotation of the camera", 1000 * rotation_rad(matrix), "mrad",
        f"known to {ROTATION_LIMIT_MRAD:g} mrad",
        _verdict(1000 * rotation_sigma <= ROTATION_LIMIT_MRAD), sigma=1000 * rotation_sigma,
        advice="calibrate where there is more tissue", picture=picture,
    )  # fmt: skip
    bench.turn_to(objective)
    believed_um = bench.microscope.camera().pixel_size_um
    if believed_um:
        off = size_um / believed_um - 1
        bench.note(
            f"{objective} against Micro-Manager's pixel size", 100 * off, "%",
            f"{100 * MICRO_MANAGER_LIMIT:g} %", _verdict(abs(off) <= MICRO_MANAGER_LIMIT),
            sigma=100 * scale_sigma,
            advice=(
                f"Micro-Manager believes {believed_um:.4g} µm: calibrate it there (Devices > Pixel"
                " Size Calibration) or look at binning and intermediate magnification"
            ),
        )  # fmt: skip


def _verdict(good: bool, otherwise: Literal["warn", "fail"] = "warn") -> Verdict:
    return "ok" if good else otherwise
