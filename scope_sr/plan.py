"""A plan is data: every capture of a session, complete before anything moves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from scope_sr.calibration import CalibrationRecord
from scope_sr.config import Rig
from scope_sr.errors import InputError
from scope_sr.frame import Position
from scope_sr.grid import Cell, Order, covering, inscribed, lattice

Pass = Literal["low", "high"]
Coverage = Literal["inscribed", "full", "center"]
Focus = Literal["none", "map", "map+local"]

SMALLER = "choose a smaller --grid or another --origin; nothing moved"
HIGH_OVERLAP = 0.02  # between high fields of one low field: a guard against stage error only


@dataclass(frozen=True)
class Step:
    """One planned capture.

    Attributes
    ----------
    name
        Unique, and the path of its file without the ending: ``low/r00c01`` is the low-magnification
        field in row 0, column 1 of the grid, ``high/r00c01-r01c00`` the high-magnification field in
        row 1, column 0 within it.
    parent
        Name of the low-magnification field a high one lies in; empty for low fields.
    """

    name: str
    pass_: Pass
    objective: str
    row: int
    column: int
    position: Position
    exposure_ms: float
    parent: str = ""


@dataclass(frozen=True)
class FocusMap:
    """What was found in focus before the steps got their z.

    Attributes
    ----------
    points_um
        (x, y, z): a specimen point, and the focus of the reference objective there.
    outliers
        One per point: True where the surface leaves it out.
    sigma_um
        Scatter of a point about the surface of the others; None where too few can be spared.
    left_out
        Why the other points of the map gave none: glass, or no focus found.
    """

    points_um: tuple[tuple[float, float, float], ...]
    outliers: tuple[bool, ...]
    sigma_um: float | None
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """Two passes over a grid: the whole low grid, one turn of the nosepiece, the whole high grid.

    ``origin`` is the stage position, with the low objective, of the middle of the grid.
    ``overlap`` is between low fields, as a fraction of a field. ``pixel_size_um`` is per objective,
    as known when the plan was made. ``focus`` says where z comes from: the one focus of the origin
    (none), a surface (map), and each high field's own planes about it (map+local).
    """

    rig: str
    low: str
    high: str
    rows: int
    columns: int
    overlap: float
    coverage: Coverage
    order: Order
    tissue_only: bool
    origin: Position
    pixel_size_um: dict[str, float]
    steps: tuple[Step, ...]
    focus: Focus = "none"
    focus_map: FocusMap | None = None

    def of_pass(self, pass_: Pass) -> tuple[Step, ...]:
        """Give the steps of one pass, in the order they are taken."""
        return tuple(step for step in self.steps if step.pass_ == pass_)


def plan_pairs(
    rig: Rig,
    record: CalibrationRecord,
    *,
    rows: int,
    columns: int,
    origin: Position,
    low: str = "",
    high: str = "",
    overlap: float = 0.05,
    coverage: Coverage = "inscribed",
    order: Order = "serpentine",
    tissue_only: bool = False,
    focus: Focus = "none",
) -> Plan:
    """Plan a paired grid: every position of both objectives, before anything moves.

    The grid runs along the axes of the camera, so that fields butt without wedges although the
    camera is rotated against the stage.

    Parameters
    ----------
    origin
        Stage position, with the low objective in place, of the middle of the grid.
    low, high
        Objectives; the rig's own choice when empty.
    overlap
        Between neighbouring low fields, as a fraction of a field.
    coverage
        ``inscribed``: k by k high fields inside each low field; ``full``: as many as cover it to
        the rim; ``center``: one in the middle.
    tissue_only
        High fields are to be left out where the low field shows glass.
    focus
        Where z is to come from. Until it is mapped, every field has the focus of `origin`.

    Raises
    ------
    InputError
        An objective is unknown, or magnifies the wrong way round, or a field lies outside the
        limits of the stage.

    Examples
    --------
    >>> from scope_sr.config import load_rig
    >>> rig = load_rig("simulated")
    >>> record = CalibrationRecord.nominal(rig)
    >>> plan = plan_pairs(rig, record, rows=1, columns=2, origin=Position(0, 0, 0))
    >>> [step.name for step in plan.steps][:4]
    ['low/r00c00', 'low/r00c01', 'high/r00c00-r00c00', 'high/r00c00-r00c01']
    """
    low, high = low or rig.low, high or rig.high
    _check_options(rows, columns, overlap, coverage, order, focus)
    check_objectives(rig, record, low, high)
    _check_extent(rig, record, low, rows, columns, overlap, origin)
    lows = _low_steps(
        rig, record, low, lattice(rows, columns, _step_px(rig, overlap), order), origin
    )
    cells = _high_cells(rig, record, low, high, coverage, order)
    highs = [step for parent in lows for step in _high_steps(rig, record, low, high, parent, cells)]
    steps = (*lows, *highs)
    refuse_unreachable(rig, steps)
    return Plan(
        rig=rig.name,
        low=low,
        high=high,
        rows=rows,
        columns=columns,
        overlap=overlap,
        coverage=coverage,
        order=order,
        tissue_only=tissue_only,
        origin=origin,
        pixel_size_um={name: record.objectives[name].pixel_size_um for name in (low, high)},
        steps=steps,
        focus=focus,
    )


def _check_options(
    rows: int, columns: int, overlap: float, coverage: str, order: str, focus: str
) -> None:
    if rows < 1 or columns < 1:
        msg = f"a grid of {rows}x{columns} holds no field; give at least one row and one column"
        raise InputError(msg)
    if not 0 <= overlap <= 0.5:
        msg = f"overlap = {overlap!r} is not between 0 and 0.5, as a fraction of a field"
        raise InputError(msg)
    for name, value, known in (
        ("coverage", coverage, get_args(Coverage)),
        ("order", order, get_args(Order)),
        ("focus", focus, get_args(Focus)),
    ):
        if value not in known:
            msg = f"{name} = {value!r}: choose {' or '.join(known)}"
            raise InputError(msg)


def check_objectives(rig: Rig, record: CalibrationRecord, low: str, high: str) -> None:
    """Raise InputError unless `low` and `high` are two objectives of the rig, in that order."""
    known = ", ".join(rig.objectives)
    for option, name in (("low", low), ("high", high)):
        if name not in rig.objectives:
            msg = f"--{option} {name}: no such objective on rig {rig.name}; it has {known}"
            raise InputError(msg)
        if name not in record.objectives:
            msg = (
                f"--{option} {name}: not in the calibration record; calibrate it first:"
                f" scope-sr calibrate --rig {rig.source} --objectives {low},{high}"
            )
            raise InputError(msg)
    if low == high:
        msg = f"--low {low} --high {high}: a pair needs two objectives; rig {rig.name} has {known}"
        raise InputError(msg)
    sizes = [record.objectives[name].pixel_size_um for name in (low, high)]
    if sizes[1] >= sizes[0]:
        msg = (
            f"--low {low} --high {high}: low must show the larger field, but a pixel of {low} is"
            f" {sizes[0]:.3g} µm and one of {high} is {sizes[1]:.3g} µm; name the other way round"
        )
        raise InputError(msg)


def _check_extent(
    rig: Rig,
    record: CalibrationRecord,
    low: str,
    rows: int,
    columns: int,
    overlap: float,
    origin: Position,
) -> None:
    """Refuse a grid by its corners, before a plan of millions of steps is made."""
    x_px, y_px = _step_px(rig, overlap)
    for right in (-1, 1):
        for down in (-1, 1):
            corner_px = (right * (columns - 1) / 2 * x_px, down * (rows - 1) / 2 * y_px)
            point_um = record.specimen_um(low, origin, corner_px)
            focus_um = origin.z_um - record.objectives[low].parfocal_um
            fault = outside(rig, record.position(low, point_um, focus_um))
            if fault:
                msg = f"a {rows}x{columns} grid reaches beyond the stage limits: {fault}; {SMALLER}"
                raise InputError(msg)


def _step_px(rig: Rig, overlap: float) -> tuple[float, float]:
    return rig.camera.width_px * (1 - overlap), rig.camera.height_px * (1 - overlap)


def _low_steps(
    rig: Rig, record: CalibrationRecord, low: str, cells: tuple[Cell, ...], origin: Position
) -> list[Step]:
    focus_um = origin.z_um - record.objectives[low].parfocal_um

    def step(cell: Cell) -> Step:
        point = record.specimen_um(low, origin, (cell.x_px, cell.y_px))
        return Step(
            name=f"low/r{cell.row:02d}c{cell.column:02d}",
            pass_="low",
            objective=low,
            row=cell.row,
            column=cell.column,
            position=record.position(low, point, focus_um),
            exposure_ms=exposure_ms(rig, record, low),
        )

    return [step(cell) for cell in cells]


def _high_cells(
    rig: Rig, record: CalibrationRecord, low: str, high: str, coverage: Coverage, order: Order
) -> tuple[Cell, ...]:
    """Lay out the high fields within one low field, in pixels of the low image."""
    ratio = record.objectives[low].pixel_size_um / record.objectives[high].pixel_size_um
    width, height = float(rig.camera.width_px), float(rig.camera.height_px)
    match coverage:
        case "center":
            return lattice(1, 1, (0.0, 0.0), order)
        case "inscribed":
            fit = inscribed
        case "full":
            fit = covering
    columns, x_step_px = fit(width, width / ratio, HIGH_OVERLAP)
    rows, y_step_px = fit(height, height / ratio, HIGH_OVERLAP)
    return lattice(rows, columns, (x_step_px, y_step_px), order)


def _high_steps(
    rig: Rig, record: CalibrationRecord, low: str, high: str, parent: Step, cells: tuple[Cell, ...]
) -> list[Step]:
    focus_um = parent.position.z_um - record.objectives[low].parfocal_um

    def step(cell: Cell) -> Step:
        point = record.specimen_um(low, parent.position, (cell.x_px, cell.y_px))
        return Step(
            name=f"high/r{parent.row:02d}c{parent.column:02d}-r{cell.row:02d}c{cell.column:02d}",
            pass_="high",
            objective=high,
            row=cell.row,
            column=cell.column,
            position=record.position(high, point, focus_um),
            exposure_ms=exposure_ms(rig, record, high),
            parent=parent.name,
        )

    return [step(cell) for cell in cells]


def _check_escape(rig: Rig, last: Step) -> None:
    """Refuse a plan whose low pass would end where the nosepiece cannot turn."""
    fault = outside(rig, retracted(rig, last.position))
    if fault:
        msg = (
            f"the objective cannot be retracted by {rig.nosepiece.escape_um:g} µm (escape_um)"
            f" before the nosepiece turns: {fault}; focus first if it is retracted still, give"
            " --origin X,Y,Z, or correct escape_um or z_limits_um; nothing moved"
        )
        raise InputError(msg)


def refuse_unreachable(rig: Rig, steps: tuple[Step, ...]) -> None:
    """Raise InputError for a field outside the limits, or where the nosepiece could not turn."""
    for step in steps:
        fault = outside(rig, step.position)
        if fault:
            msg = f"field {step.name} lies outside the stage limits: {fault}; {SMALLER}"
            raise InputError(msg)
    _check_escape(rig, [step for step in steps if step.pass_ == "low"][-1])


def exposure_ms(rig: Rig, record: CalibrationRecord, objective: str) -> float:
    """Give the exposure that was measured to put glass near full scale, else the rig's."""
    return record.objectives[objective].exposure_ms or rig.objectives[objective].exposure_ms


def retracted(rig: Rig, position: Position) -> Position:
    """Give the position in which the nosepiece may turn: escape_um away from the specimen.

    >>> from scope_sr.config import load_rig
    >>> retracted(load_rig("simulated"), Position(0.0, 0.0, 4.0)).z_um
    -496.0
    """
    return replace(position, z_um=position.z_um - rig.toward * rig.nosepiece.escape_um)


def outside(rig: Rig, position: Position) -> str:
    """Say which limit of the rig a position breaks; empty when it breaks none.

    >>> from scope_sr.config import load_rig
    >>> outside(load_rig("simulated"), Position(9000.0, 0.0, 0.0))
    'stage x = 9000.00 µm is outside -8000..8000 µm (x_limits_um in simulated)'
    """
    for axis in "xyz":
        value_um = getattr(position, f"{axis}_um")
        low_um, high_um = getattr(rig.stage, f"{axis}_limits_um")
        if not low_um <= value_um <= high_um:
            return (
                f"stage {axis} = {value_um:.2f} µm is outside {low_um:g}..{high_um:g} µm"
                f" ({axis}_limits_um in {rig.source or rig.name})"
            )
    return ""
