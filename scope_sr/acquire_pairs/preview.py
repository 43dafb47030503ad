"""What a plan will cost, before anything moves: fields, area, time, disk, a table, a picture."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from scope_sr.acquire_pairs.duration import expected_seconds, times_of
from scope_sr.acquire_pairs.focus import focus_points
from scope_sr.calibration import CalibrationRecord
from scope_sr.config import Rig, reason
from scope_sr.disk import free_bytes, in_words
from scope_sr.errors import InputError
from scope_sr.imaging.sheet import plan_picture
from scope_sr.plan import FocusMap, Plan
from scope_sr.session import estimate_bytes

RENDER_S_PER_MPX = 1.0  # python benchmarks/render.py, on two cores of 2026


def covered_um2(plan: Plan, rig: Rig) -> float:
    """Give the specimen area a plan covers at low magnification, overlaps counted once."""
    pixel_um = plan.pixel_size_um[plan.low]

    def side_um(count: int, size_px: int) -> float:
        return (count - (count - 1) * plan.overlap) * size_px * pixel_um

    return side_um(plan.columns, rig.camera.width_px) * side_um(plan.rows, rig.camera.height_px)


def describe_plan(plan: Plan, rig: Rig, record: CalibrationRecord, out: Path) -> str:
    """Describe a plan as a table, with its area, its share of the disk of `out`, and its time."""
    console = Console(width=78, record=False)
    with console.capture() as text:
        console.print(_table(plan, rig), highlight=False)
    return text.get() + (
        f"{covered_um2(plan, rig) / 1e6:.2f} mm² of specimen, about"
        f" {in_words(estimate_bytes(plan, rig))} on disk ({in_words(free_bytes(out))} free),"
        f" {'at most' if plan.tissue_only else 'about'}"
        f" {_time(expected_seconds(plan, rig, record))} (move and settle times"
        f" {times_of(rig, record)[1]}){_rendering(plan, rig)}\n{_focus(plan, rig, record)}"
    )


def draw_plan(plan: Plan, record: CalibrationRecord, rig: Rig, path: Path) -> None:
    """Draw a plan as a PNG: low fields, high fields, the way of the stage.

    Raises
    ------
    InputError
        The picture cannot be written there.
    """
    title = (
        f"Plan: {plan.rows} x {plan.columns} fields of {plan.low},"
        f" {len(plan.of_pass('high'))} of {plan.high}\n"
        f"rig {rig.name}; black: low fields, green: high fields, orange: way of the stage, low pass"
    )
    picture = plan_picture(plan, record, (rig.camera.width_px, rig.camera.height_px), title)
    try:
        picture.save(path, format="PNG")
    except OSError as error:
        msg = f"{path}: the picture cannot be written ({reason(error)}); choose another --out"
        raise InputError(msg) from error


def _table(plan: Plan, rig: Rig) -> Table:
    names, camera = (plan.low, plan.high), rig.camera
    passes = (plan.of_pass("low"), plan.of_pass("high"))
    sizes_um = [plan.pixel_size_um[name] for name in names]
    table = Table("", *names, title=f"{plan.rows} x {plan.columns} grid on {rig.name}")
    table.add_row("fields", *(str(len(steps)) for steps in passes))
    table.add_row("µm per px", *(f"{size_um:.4g}" for size_um in sizes_um))
    fields_um = [(camera.width_px * s, camera.height_px * s) for s in sizes_um]
    table.add_row("field, µm", *(f"{width:.0f} x {height:.0f}" for width, height in fields_um))
    table.add_row("exposure, ms", *(f"{steps[0].exposure_ms:g}" for steps in passes))
    for axis in ("x_um", "y_um", "z_um"):
        ranges = [[getattr(step.position, axis) for step in steps] for steps in passes]
        spans = (f"{min(values):.0f} .. {max(values):.0f}" for values in ranges)
        table.add_row(f"stage {axis[0]}, µm", *spans)
    return table


def _focus(plan: Plan, rig: Rig, record: CalibrationRecord) -> str:
    """Say where z comes from."""
    if plan.focus == "none":
        return "Focus: that of the origin everywhere; --focus map follows the slide."
    local = ", then by three planes at each high field" if plan.focus == "map+local" else ""
    if plan.focus_map is None:
        count = len(focus_points(plan, rig, record))
        return f"Focus: mapped first, at {count} points with {plan.low}{local}."
    return f"Focus: {describe_map(plan.focus_map)}{local}."


def describe_map(found: FocusMap) -> str:
    """Say how good a focus map is."""
    count, cut = len(found.points_um), sum(found.outliers)
    scatter = "" if found.sigma_um is None else f", scatter {found.sigma_um:.2f} µm"
    return (
        f"mapped at {count} of {count + len(found.left_out)} points"
        f"{f', {cut} of them cut' if cut else ''}{scatter}"
    )


def _rendering(plan: Plan, rig: Rig) -> str:
    """Say what a simulator takes on top: it computes each image."""
    if rig.backend == "micromanager":
        return ""
    seconds = len(plan.steps) * rig.camera.width_px * rig.camera.height_px / 1e6 * RENDER_S_PER_MPX
    return f", and about {_time(seconds)} for the simulator to compute the images"


def _time(seconds: float) -> str:
    """Say a time as people do.

    >>> _time(8.2), _time(95), _time(8000)
    ('8 s', '1 min 35 s', '2 h 13 min')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min {seconds % 60:.0f} s"
    return f"{minutes // 60} h {minutes % 60} min"
