"""The one-minute check: whether a calibration record still holds."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from scope_sr.calibrate.bench import Bench, CalibrationError, Tell
from scope_sr.calibrate.pairing import affine_of, matched, seen_um
from scope_sr.calibrate.pixel_size import measure_grid
from scope_sr.calibrate.stage import first_affine
from scope_sr.calibration import CalibrationRecord, Check, Section
from scope_sr.config import Rig
from scope_sr.frame import Position
from scope_sr.imaging.affine import rotation_rad
from scope_sr.imaging.flat_field import blank_level, flat_ratio_rms
from scope_sr.microscope import GuardedMicroscope

SIDE = 3  # of the grid that scale and rotation are checked on
SCALE_LIMIT = 0.003
ROTATION_LIMIT_MRAD = 2.0
HIGH_SCALE_LIMIT = 0.002
HIGH_ROTATION_LIMIT_MRAD = 2.0
OFFSET_LIMIT_UM = 3.0
FLAT_LIMIT = 0.01
LEVEL_LIMIT = 0.05


def check_record(
    microscope: GuardedMicroscope, rig: Rig, record: CalibrationRecord, tell: Tell
) -> tuple[Check, ...]:
    """Compare the instrument with its record, on the tissue that lies there now.

    Scale and rotation of the reference objective on a small grid of moves; offset, focus, scale and
    rotation of each other objective of the rig's pair by one field; lamp and flat-field by one
    field of glass, if there is one in reach. Stage and objective go back to where they were.

    Raises
    ------
    CalibrationError
        It cannot be told: no tissue, no focus, or another objective.
    """
    record.refuse_other_instrument(rig, microscope.camera().name)
    start, objective = microscope.position(), microscope.objective()
    home = (
        record.transfer(start, objective, record.reference)
        if objective in record.objectives
        else start
    )
    pair = tuple(
        name
        for name in (rig.low, rig.high)
        if name != record.reference and name in record.objectives
    )
    bench = Bench(
        microscope, rig, record.model_copy(update={"tissue_um": None}),
        (record.reference, *pair), record.folder or Path(), tell, None, home,
    )  # fmt: skip
    bench.acquainted.update(pair)
    try:
        _compare(bench, pair)
    except CalibrationError:
        _go_back(microscope, objective, start)
        raise
    _go_back(microscope, objective, start)
    return tuple(bench.checks)


def _go_back(microscope: GuardedMicroscope, objective: str, start: Position) -> None:
    microscope.select_objective(objective)
    microscope.move_to(start)


def _compare(bench: Bench, pair: tuple[str, ...]) -> None:
    """Compare what was measured; values of the rig file are no record."""
    at_um = bench.find_tissue()
    if _is_measured(bench, "pixel-size"):
        _check_reference(bench, at_um)
    if _is_measured(bench, "offsets"):
        for other in pair:
            _check_other(bench, other, at_um)
    _check_light(bench)


def _is_measured(bench: Bench, section: Section) -> bool:
    checks = bench.record.checks
    return not checks or any(check.section == section for check in checks)


def _check_reference(bench: Bench, at_um: tuple[float, float]) -> None:
    bench.section = "pixel-size"
    bench.turn_to(bench.reference)
    first = first_affine(bench, at_um)
    affine = measure_grid(bench, at_um, first, SIDE).affine
    known, now = bench.lens(bench.reference).affine, affine.matrix
    scale = math.sqrt(abs(np.linalg.det(now) / np.linalg.det(known))) - 1
    turn = now @ np.linalg.inv(known)
    mrad = 1000 * math.atan2(turn[1, 0] - turn[0, 1], turn[0, 0] + turn[1, 1])
    bench.note(
        f"{bench.reference} scale against the record", 100 * scale, "%",
        f"{100 * SCALE_LIMIT:g} %, or four sigma",
        "ok" if abs(scale) <= max(SCALE_LIMIT, 4 * affine.scale_sigma) else "fail",
        sigma=100 * affine.scale_sigma,
        advice="pixel-size is stale: binning, camera mount or objective changed",
    )  # fmt: skip
    bench.note(
        f"{bench.reference} rotation against the record", mrad, "mrad",
        f"{ROTATION_LIMIT_MRAD:g} mrad, or four sigma",
        "ok" if abs(mrad) <= max(ROTATION_LIMIT_MRAD, 4000 * affine.rotation_sigma_rad) else "fail",
        sigma=1000 * affine.rotation_sigma_rad,
        advice="pixel-size is stale: the camera was rotated since the record",
    )  # fmt: skip


def _check_other(bench: Bench, objective: str, at_um: tuple[float, float]) -> None:
    bench.turn_to(bench.reference)
    reference_um = bench.focus_or_fail(bench.reference, at_um).position.z_um
    low = bench.levels(bench.see(bench.reference, at_um))
    bench.turn_to(objective)
    known, depth_um = bench.lens(objective), bench.depth_um(objective)
    found = bench.focus(objective, at_um)
    here = bench.place(objective, at_um)
    registered = matched(bench, objective, low, bench.levels(bench.see(objective, at_um)))
    bench.section = "offsets"
    if registered is None:
        bench.note(
            f"{objective} shows what {bench.reference} sees", 0.0, "of 1", "1", "fail",
            advice="offsets are stale, or another objective is in its slot",
        )  # fmt: skip
        return
    stand = bench.place(bench.reference, at_um)
    seen = seen_um(bench, objective, registered, stand)
    off = seen - (here.x_um, here.y_um) - known.parcentric_um
    bench.note(
        f"{objective} parcentric offset against the record", off, "µm", f"{OFFSET_LIMIT_UM:g} µm",
        "ok" if np.hypot(*off) <= OFFSET_LIMIT_UM else "fail",
        advice="offsets are stale: an objective or the slide moved",
    )  # fmt: skip
    if found.accepted:
        focus = found.position.z_um - reference_um - known.parfocal_um
        bench.note(
            f"{objective} parfocal offset against the record", focus, "µm",
            f"the depth of field, {depth_um:.2g} µm", "ok" if abs(focus) <= depth_um else "fail",
            advice="offsets are stale: an objective was changed, or the slide is not flat",
        )  # fmt: skip
    _check_other_scale(bench, objective, affine_of(bench, objective, registered))


def _check_other_scale(bench: Bench, objective: str, now: np.ndarray) -> None:
    bench.section = "pixel-size"
    known = bench.lens(objective).affine
    scale = math.sqrt(abs(np.linalg.det(now) / np.linalg.det(known))) - 1
    mrad = 1000 * (rotation_rad(now) - rotation_rad(known))
    bench.note(
        f"{objective} scale against the record", 100 * scale, "%", f"{100 * HIGH_SCALE_LIMIT:g} %",
        "ok" if abs(scale) <= HIGH_SCALE_LIMIT else "fail",
        advice="pixel-size is stale: another objective, or a correction collar was turned",
    )  # fmt: skip
    bench.note(
        f"{objective} rotation against {bench.reference}", mrad, "mrad",
        f"{HIGH_ROTATION_LIMIT_MRAD:g} mrad",
        "ok" if abs(mrad) <= HIGH_ROTATION_LIMIT_MRAD else "fail",
        advice="pixel-size is stale: something between the objectives and the camera was turned",
    )  # fmt: skip


def _check_light(bench: Bench) -> None:
    """Compare bare glass with the flat-field, where there is some."""
    bench.section = "flat-field"
    flat, dark = (bench.record.field(bench.reference, kind) for kind in ("flat", "dark"))
    if flat is None or dark is None:
        return
    try:
        blank_um = bench.find_blank(bench.reference)
    except CalibrationError:
        bench.note(
            "bare glass to check the light by", 0.0, "places", "1", "warn",
            advice="none in reach: lamp and flat-field go unchecked",
        )  # fmt: skip
        return
    image = bench.see(bench.reference, blank_um).image
    shape = flat_ratio_rms(image, flat, dark)
    level = float(
        np.max(
            np.abs(blank_level([image], dark) / np.array(bench.lens(bench.reference).glass_dn) - 1)
        )
    )
    bench.note(
        "flat-field against the record", 100 * shape, "%", f"{100 * FLAT_LIMIT:g} %",
        "ok" if shape <= FLAT_LIMIT else "fail",
        advice="flat-field is stale: condenser, diaphragm or dust changed",
    )  # fmt: skip
    bench.note(
        "light against the record", 100 * level, "%", f"{100 * LEVEL_LIMIT:g} %",
        "ok" if level <= LEVEL_LIMIT else "fail",
        advice="flat-field is stale: the lamp's voltage or its age changed",
    )  # fmt: skip
