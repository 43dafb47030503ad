"""Grids, plans and the map between pixels, µm and objectives: laws, and answers known by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rigs import make_rig

from scope_sr.calibration import CalibrationRecord, ObjectiveCalibration
from scope_sr.config import Rig
from scope_sr.errors import InputError
from scope_sr.frame import Position
from scope_sr.grid import covering, inscribed, lattice, parse_grid
from scope_sr.plan import Plan, plan_pairs

ORIGIN = Position(100.0, -200.0, 5.0)
um = st.floats(-5000, 5000)


def turned(degrees: float, size_um: float, *, mirrored: bool) -> tuple:
    angle = math.radians(degrees)
    matrix = size_um * np.array(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    if mirrored:
        matrix = matrix @ np.diag([-1.0, 1.0])
    return tuple(map(tuple, matrix.tolist()))


@st.composite
def records(draw: st.DrawFn) -> CalibrationRecord:
    degrees, mirrored = draw(st.floats(-180, 180)), draw(st.booleans())

    def lens(size_um: float) -> ObjectiveCalibration:
        return ObjectiveCalibration(
            affine_um_per_px=turned(degrees, size_um, mirrored=mirrored),
            parcentric_um=(draw(st.floats(-300, 300)), draw(st.floats(-300, 300))),
            parfocal_um=draw(st.floats(-20, 20)),
        )

    return CalibrationRecord(rig="any", objectives={"10x": lens(0.5), "20x": lens(0.25)})


@settings(max_examples=60, deadline=None)
@given(records(), um, um, st.floats(-2000, 2000), st.floats(-2000, 2000))
def test_pixels_to_specimen_and_back(
    record: CalibrationRecord, x: float, y: float, dx: float, dy: float
) -> None:
    stage = Position(x, y, 0.0)
    point = record.specimen_um("20x", stage, (dx, dy))
    assert record.offset_px("20x", stage, point) == pytest.approx((dx, dy), abs=1e-7)
    moved = record.position("20x", point, 0.0)
    assert record.specimen_um("20x", moved) == pytest.approx(point, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(records(), um, um)
def test_transfer_sees_the_same_point_and_returns(
    record: CalibrationRecord, x: float, y: float
) -> None:
    here = Position(x, y, 3.0)
    there = record.transfer(here, "10x", "20x")
    assert record.specimen_um("20x", there) == pytest.approx(record.specimen_um("10x", here))
    back = record.transfer(there, "20x", "10x")
    assert (back.x_um, back.y_um, back.z_um) == pytest.approx((x, y, 3.0))


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from(["serpentine", "raster"]))
def test_a_lattice_visits_each_cell_once_and_is_centred(
    rows: int, columns: int, order: str
) -> None:
    cells = lattice(rows, columns, (3.0, 7.0), order)
    assert len({(c.row, c.column) for c in cells}) == len(cells) == rows * columns
    assert sum(c.x_px for c in cells) == pytest.approx(0)
    assert sum(c.y_px for c in cells) == pytest.approx(0)


@given(st.integers(1, 9), st.integers(1, 9))
def test_a_serpentine_never_jumps(rows: int, columns: int) -> None:
    cells = lattice(rows, columns, (1.0, 1.0), "serpentine")
    for one, other in itertools.pairwise(cells):
        assert abs(one.row - other.row) + abs(one.column - other.column) == 1


@given(st.floats(1.0, 8.0), st.floats(0.0, 0.3))
def test_inscribed_fields_stay_inside_and_covering_ones_reach_the_rim(
    ratio: float, overlap: float
) -> None:
    large, small = 1000.0, 1000.0 / ratio
    count, step = inscribed(large, small, overlap)
    assert (count - 1) * step + small <= large + 1e-6
    assert step <= small * (1 - overlap) + 1e-9
    count, step = covering(large, small, overlap)
    assert (count - 1) * step + small == pytest.approx(large)
    assert step <= small * (1 - overlap) + 1e-6


@pytest.mark.parametrize(
    ("ratio", "count"), [(2, 2), (4, 4), (1.99, 2), (2.5, 2), (3.99, 4), (1, 1)]
)
def test_inscribed_counts(ratio: float, count: int) -> None:
    assert inscribed(1024.0, 1024.0 / ratio, 0.02)[0] == count


@pytest.mark.parametrize(
    "text", ["", "3", "3x", "x3", "0x3", "3x0", "-1x2", "3by4", "3x4x5", "٣x٣"]
)
def test_a_wrong_grid_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="like 3x5"):
        parse_grid(text)


def planned(rig: Rig, **options: object) -> Plan:
    record = CalibrationRecord.nominal(rig)
    settings_ = {"rows": 2, "columns": 3, "origin": ORIGIN, **options}
    return plan_pairs(rig, record, **settings_)


def test_the_grid_is_centred_on_the_origin_and_high_fields_on_their_parents(rig: Rig) -> None:
    plan = planned(rig)
    low = plan.of_pass("low")
    assert np.mean([s.position.x_um for s in low]) == pytest.approx(ORIGIN.x_um)
    assert np.mean([s.position.y_um for s in low]) == pytest.approx(ORIGIN.y_um)
    record = CalibrationRecord.nominal(rig)
    for parent in low:
        children = [s for s in plan.of_pass("high") if s.parent == parent.name]
        assert len(children) == 4
        points = [record.specimen_um("20x", s.position) for s in children]
        middle = record.specimen_um("10x", parent.position)
        assert np.mean(points, axis=0) == pytest.approx(middle)
        assert {s.position.z_um for s in children} == {ORIGIN.z_um + 4.0}


def test_rows_go_down_the_image(rig: Rig) -> None:
    """image_down = "-y": row 1 lies at smaller stage y than row 0."""
    low = {(s.row, s.column): s.position for s in planned(rig).of_pass("low")}
    assert low[1, 0].y_um < low[0, 0].y_um
    assert low[0, 1].x_um > low[0, 0].x_um


@pytest.mark.parametrize(
    ("coverage", "low", "count"),
    [
        ("inscribed", "10x", 4),
        ("full", "10x", 9),
        ("center", "10x", 1),
        ("inscribed", "5x", 16),
        ("full", "5x", 25),
    ],
)
def test_coverage(rig: Rig, coverage: str, low: str, count: int) -> None:
    plan = planned(rig, rows=1, columns=1, coverage=coverage, low=low)
    assert len(plan.of_pass("high")) == count


@settings(max_examples=40, deadline=None)
@given(records(), st.sampled_from(["inscribed", "full"]))
def test_high_fields_lie_in_their_low_field_whatever_the_camera_angle(
    record: CalibrationRecord, coverage: str
) -> None:
    rig = make_rig()
    plan = plan_pairs(rig, record, rows=1, columns=2, origin=ORIGIN, coverage=coverage)
    parents = {step.name: step for step in plan.of_pass("low")}
    for step in plan.of_pass("high"):
        point = record.specimen_um("20x", step.position)
        offset = record.offset_px("10x", parents[step.parent].position, point)
        assert abs(offset[0]) + 64 / 4 <= 64 / 2 + 1e-6
        assert abs(offset[1]) + 48 / 4 <= 48 / 2 + 1e-6


def test_a_grid_beyond_the_limits_is_refused_before_anything_moves(rig: Rig) -> None:
    with pytest.raises(InputError, match=r"2x3 grid.*x_limits_um in small.toml.*nothing moved"):
        planned(rig, origin=Position(-7999.0, 0.0, 0.0))
    with pytest.raises(InputError, match=r"high/r00c00-r00c00.*z = 54.00"):
        planned(rig, origin=Position(0.0, 0.0, 50.0))
    with pytest.raises(InputError, match=r"stage z = 60.00 µm is outside -1000..50 µm"):
        planned(rig, origin=Position(0.0, 0.0, 60.0))


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        ("40x", "20x", "--low 40x: no such objective on rig simulated; it has 5x, 10x, 20x"),
        ("20x", "10x", "low must show the larger field"),
        ("20x", "20x", "a pair needs two objectives; rig simulated has 5x, 10x, 20x"),
    ],
)
def test_wrong_objectives_are_refused(rig: Rig, low: str, high: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        planned(rig, low=low, high=high)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rows": 0},
        {"columns": -1},
        {"overlap": 1.0},
        {"overlap": -0.1},
        {"overlap": float("nan")},
        {"coverage": "most"},
        {"order": "spiral"},
    ],
    ids=str,
)
def test_impossible_options_are_refused(rig: Rig, wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        planned(rig, **wrong)


def test_a_plan_that_could_not_turn_the_nosepiece_is_refused_before_it_starts() -> None:
    rig = make_rig(**{"z_limits_um = [-1000.0, 50.0]": "z_limits_um = [-400.0, 50.0]"})
    with pytest.raises(InputError, match=r"cannot be retracted by 500 µm .*-495.00 µm is outside"):
        planned(rig)
