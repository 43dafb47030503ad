"""The focus map of a capture: its points, its surface, and the fields taken on it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from records import measured
from rigs import make_rig, rig_text
from test_cli import refused, scope
from test_guarded import Recorder

from scope_sr import acquire_pairs
from scope_sr.acquire_pairs import (
    FocusPoint,
    capture_fields,
    capture_pairs,
    describe_map,
    expected_seconds,
    focus_points,
    map_focus,
    usual_focus,
    with_focus_map,
)
from scope_sr.calibration import CalibrationRecord
from scope_sr.config import Rig
from scope_sr.errors import InputError, MicroscopeError
from scope_sr.frame import Position
from scope_sr.imaging.focus import depth_of_field_um
from scope_sr.microscope import GuardedMicroscope, open_microscope
from scope_sr.plan import Plan, plan_pairs
from scope_sr.session import Session

ORIGIN = Position(0, 0, 1.0)
SQUARE = {"height_px = 48": "height_px = 64"}
# steeper than any slide, since three small fields must differ by more than a depth of field
ASKEW = {"tilt_um_per_mm = [0.25, -0.15]": "tilt_um_per_mm = [75.0, -45.0]"}
HIGH_DEPTH_UM = depth_of_field_um(0.75, 0.25)


@pytest.fixture(scope="module")
def askew() -> Rig:
    return make_rig(**SQUARE, **ASKEW)


@pytest.fixture(scope="module")
def record(askew: Rig, tmp_path_factory: pytest.TempPathFactory) -> CalibrationRecord:
    return CalibrationRecord.load(measured(askew, tmp_path_factory.mktemp("record")))


def planned(rig: Rig, record: CalibrationRecord, **options: object) -> Plan:
    start = {"rows": 3, "columns": 3, "origin": ORIGIN, "coverage": "center", "focus": "map"}
    return plan_pairs(rig, record, **{**start, **options})


@pytest.fixture(scope="module")
def points(askew: Rig, record: CalibrationRecord) -> list[FocusPoint]:
    """Map once for all tests; by the way, the time that was predicted is held to the clock."""
    plan = planned(askew, record)
    alone = replace(plan, focus="none", steps=plan.steps[:1])
    with open_microscope(askew) as microscope:
        microscope.move_to(ORIGIN)
        began_s = microscope.snap().time
        found = list(map_focus(microscope, plan, askew, record))
        took_s = microscope.snap().time - began_s
    mapping = replace(alone, focus="map")
    predicted_s = expected_seconds(mapping, askew, record) - expected_seconds(alone, askew, record)
    assert predicted_s == pytest.approx(took_s, rel=0.1)
    return found


def capture(folder: Path, rig: Rig, plan: Plan, record: CalibrationRecord) -> list[float]:
    """Capture; give by how much each high field was out of focus in truth."""
    with (
        open_microscope(rig, log_folder=folder) as microscope,
        Session.create(folder, plan, rig, record) as session,
    ):
        summary = capture_pairs(microscope, session)
        assert summary.complete
        assert summary.expected_seconds == pytest.approx(summary.field_seconds, rel=0.1)
        high_s = {e.time for e in session.entries.values() if e.step.startswith("high")}
    truths = [json.loads(line) for line in (folder / "truth.jsonl").read_text().splitlines()]
    return [truth["defocus_um"] for truth in truths if truth["time"] in high_s]


def test_a_map_brings_every_high_field_into_focus(
    askew: Rig, record: CalibrationRecord, points: list[FocusPoint], tmp_path: Path
) -> None:
    flat = planned(askew, record, rows=1, focus="none")
    before_um = capture(tmp_path / "flat", askew, flat, record)
    assert max(map(abs, before_um)) > HIGH_DEPTH_UM
    plan = with_focus_map(planned(askew, record), askew, record, points)
    (tmp_path / "A").mkdir()
    (tmp_path / "A/truth.jsonl").touch()  # the simulator's log of the map does not count
    after_um = capture(tmp_path / "A", askew, plan, record)
    assert len(after_um) == 9
    assert max(map(abs, after_um)) < HIGH_DEPTH_UM / 2
    kept = Session.open(tmp_path / "A").plan
    assert kept == plan
    assert kept.focus_map is not None
    assert len(kept.focus_map.points_um) == 9
    assert kept.focus_map.sigma_um < 0.5
    assert Session.open(tmp_path / "A").verify().ok


@pytest.mark.slow
def test_local_planes_find_what_a_wrong_parfocal_offset_missed(
    askew: Rig, record: CalibrationRecord, points: list[FocusPoint], tmp_path: Path
) -> None:
    lens = record.objectives["20x"]
    wrong = lens.model_copy(update={"parfocal_um": lens.parfocal_um + 1.2})
    off = record.model_copy(update={"objectives": {**record.objectives, "20x": wrong}})
    plan = with_focus_map(
        planned(askew, off, rows=2, columns=2, focus="map+local"), askew, off, points
    )
    left_um = capture(tmp_path / "A", askew, plan, off)
    assert np.abs(left_um).max() < HIGH_DEPTH_UM / 2
    session = Session.open(tmp_path / "A")
    moved_um = [
        session.entries[step.name].position.z_um - step.position.z_um
        for step in plan.of_pass("high")
    ]
    assert np.mean(moved_um) == pytest.approx(-1.2, abs=0.4)


@pytest.mark.slow
def test_a_capture_with_local_focus_resumes_after_any_field(
    askew: Rig, record: CalibrationRecord, points: list[FocusPoint], tmp_path: Path
) -> None:
    plan = planned(askew, record, rows=1, columns=2, focus="map+local")
    plan = with_focus_map(plan, askew, record, points)
    for stop_after in range(1, len(plan.steps)):
        folder = tmp_path / f"{stop_after}"
        with (
            open_microscope(askew) as microscope,
            Session.create(folder, plan, askew, record) as session,
        ):
            for count, _ in enumerate(capture_fields(microscope, session), start=1):
                if count == stop_after:
                    break
        with Session.resume(folder) as session, open_microscope(askew) as microscope:
            assert capture_pairs(microscope, session).complete
            for step in plan.of_pass("high"):
                z_um = session.entries[step.name].position.z_um
                assert abs(z_um - step.position.z_um) < 1.5 * HIGH_DEPTH_UM


@pytest.mark.slow
def test_where_no_local_focus_is_found_the_maps_is_taken(
    askew: Rig,
    record: CalibrationRecord,
    points: list[FocusPoint],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def blind(microscope: GuardedMicroscope, around: Position, depth_um: float) -> object:
        microscope.move_to(replace(around, z_um=around.z_um - depth_um))
        return type("Focused", (), {"accepted": False})

    monkeypatch.setattr("scope_sr.acquire_pairs.capture.micro_focus", blind)
    plan = planned(askew, record, rows=1, columns=1, focus="map+local")
    plan = with_focus_map(plan, askew, record, points)
    with (
        open_microscope(askew) as microscope,
        Session.create(tmp_path / "A", plan, askew, record) as session,
    ):
        capture_pairs(microscope, session)
        for step in plan.of_pass("high"):
            found = session.entries[step.name].position
            assert found.z_um == pytest.approx(step.position.z_um, abs=0.01)


@pytest.mark.parametrize(
    ("rows", "columns", "count"), [(1, 1, 9), (2, 2, 9), (3, 4, 12), (1, 12, 15), (30, 30, 25)]
)
def test_the_points_of_a_map_stand_on_the_grid(
    rows: int, columns: int, count: int, rig: Rig, tmp_path: Path
) -> None:
    record = CalibrationRecord.nominal(rig)
    plan = planned(rig, record, rows=rows, columns=columns)
    places = focus_points(plan, rig, record)
    assert len(set(places)) == len(places) == count
    lows = np.array([(s.position.x_um, s.position.y_um) for s in plan.of_pass("low")])
    xy = np.array([(p.x_um, p.y_um) for p in places])
    half_um = np.array([64, 48]) * 0.5 / 4 + 1e-6
    assert (xy >= lows.min(axis=0) - half_um).all()
    assert (xy <= lows.max(axis=0) + half_um).all()
    assert np.ptp(xy, axis=0) == pytest.approx(
        [max(np.ptp(lows[:, axis]), 2 * half_um[axis]) for axis in (0, 1)]
    )


def test_a_point_beyond_the_limits_is_refused(rig: Rig) -> None:
    record = CalibrationRecord.nominal(rig)
    plan = planned(rig, record, rows=1, columns=1, origin=Position(-7999, 0, 0))
    with pytest.raises(InputError, match=r"focus map .*x_limits_um.*nothing moved"):
        focus_points(plan, rig, record)


def test_the_focus_is_mapped_by_itself_only_where_that_helps(
    rig: Rig, record: CalibrationRecord
) -> None:
    wide, narrow = (planned(rig, record, rows=n, columns=n) for n in (40, 20))
    assert usual_focus(wide, record) == "map"
    assert usual_focus(narrow, record) == "none"
    assert usual_focus(wide, CalibrationRecord.nominal(rig)) == "none"


def in_focus(x_um: float, y_um: float, z_um: float) -> FocusPoint:
    return FocusPoint(Position(x_um, y_um, z_um), 0.1)


def test_too_few_points_in_focus_are_one_clear_line(askew: Rig, record: CalibrationRecord) -> None:
    plan = planned(askew, record)
    glass = [FocusPoint(ORIGIN, why="glass")] * 6
    few = [in_focus(0, 0, 1), in_focus(50, 0, 1), in_focus(0, 50, 1)]
    with pytest.raises(
        MicroscopeError,
        match=r"too little tissue.*3 of 9 points.*glass at others \(4 are needed\).*--focus none",
    ):
        with_focus_map(plan, askew, record, [*few, *glass])
    line = [in_focus(x_um, 0, 1) for x_um in (-50, 0, 20, 50, 60)]
    with pytest.raises(MicroscopeError, match=r"too little tissue.*5 of 11.*line.*--focus none"):
        with_focus_map(plan, askew, record, [*line, *glass])


def test_an_outlier_is_cut_and_far_from_all_points_the_nearest_holds(
    rig: Rig, record: CalibrationRecord
) -> None:
    plan = planned(rig, record, rows=40, columns=40)
    xy = [(x, y) for y in (-60.0, 0.0, 60.0) for x in (-60.0, 0.0, 60.0)]
    found = [in_focus(x, y, 2.0 + x * 0.02 + (9.0 if (x, y) == (0, 60) else 0)) for x, y in xy]
    mapped = with_focus_map(plan, rig, record, found)
    assert mapped.focus_map is not None
    assert mapped.focus_map.outliers == tuple(p == (0, 60) for p in xy)
    assert "mapped at 9 of 9 points, 1 of them cut, scatter 0.00 µm" in describe_map(
        mapped.focus_map
    )
    heights_um = [step.position.z_um for step in mapped.of_pass("low")]
    assert max(heights_um) < 3.2 + 7.8 + 5 * 0.6  # the tilt of the points would give 14


def test_a_map_of_glass_and_tissue_leaves_out_the_glass(tmp_path: Path) -> None:
    slide = np.full((900, 900, 3), 255, np.uint8)
    tissue = np.random.default_rng(1).integers(60, 220, (225, 112, 3)).astype(np.uint8)
    slide[:, :448] = tissue.repeat(4, 0).repeat(4, 1)
    Image.fromarray(slide).save(tmp_path / "half.png")
    rig = make_rig(
        tmp_path, **SQUARE, **{'tissue = "procedural"': 'image = "half.png"\num_per_px = 0.25'}
    )
    record = CalibrationRecord.nominal(rig)
    plan = planned(rig, record)
    with open_microscope(rig) as microscope:
        found = list(map_focus(microscope, plan, rig, record))
    for point in found:
        assert (point.why == "glass") == (point.position.x_um > 20), point
    mapped = with_focus_map(plan, rig, record, found)
    assert mapped.focus_map is not None
    assert len(mapped.focus_map.left_out) == 3
    assert "glass" in mapped.focus_map.left_out[0]


def test_a_focus_lock_is_not_fought_with(
    askew: Rig, record: CalibrationRecord, points: list[FocusPoint], tmp_path: Path
) -> None:
    class Locked(Recorder):
        def focus_held(self) -> bool:
            return True

    backend = Locked(askew)
    plan = with_focus_map(planned(askew, record), askew, record, points)
    with (
        GuardedMicroscope(backend, askew) as microscope,
        Session.create(tmp_path / "A", plan, askew, record) as session,
    ):
        for begin in (
            map_focus(microscope, plan, askew, record),
            capture_fields(microscope, session),
        ):
            with pytest.raises(InputError, match=r"Perfect Focus.*--focus none; nothing moved"):
                next(begin)
    assert backend.motions == []


def test_a_plan_whose_map_was_never_made_is_not_captured(
    askew: Rig, record: CalibrationRecord, tmp_path: Path
) -> None:
    plan = planned(askew, record)
    with (
        open_microscope(askew) as microscope,
        Session.create(tmp_path / "A", plan, askew, record) as session,
        pytest.raises(InputError, match="has no focus map; see with_focus_map"),
    ):
        next(capture_fields(microscope, session))


# -- the command -----------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, with a small rig in it."""
    (tmp_path / "small.toml").write_text(rig_text(**SQUARE), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


OPTIONS = ["--rig", "small.toml", "--grid", "1x1", "--coverage", "center"]


def test_the_command_maps_captures_and_resumes(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["acquire-pairs", *OPTIONS, "--focus", "map+local"]
    code, out, _ = scope(capsys, *options, "--dry-run", "--out", "A")
    assert code == 0
    assert "Focus: mapped first, at 9 points with 10x, then by three planes at each high" in out
    code, out, err = scope(capsys, *options, "--out", "A")
    assert code == 0, err
    assert "Focus mapped at 9 of 9 points" in out
    assert "9/9 in focus at x = " in err
    (small / "A/high/r00c00-r00c00.ome.tif").unlink()
    again = ["acquire-pairs", "--resume", "--out", "A"]
    code, out, _ = scope(capsys, *again, "--dry-run")
    assert "Focus: mapped at 9 of 9 points" in out
    message = refused(capsys, *again, "--focus", "map")
    assert "--focus map: the session was planned with map+local" in message
    code, out, _ = scope(capsys, *again, "--focus", "map+local")
    assert code == 0
    assert "1 of 2 fields are left" in out
    assert scope(capsys, "check", "A")[0] == 0


def test_a_map_of_glass_alone_ends_before_anything_is_written(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.full((400, 400, 3), 255, np.uint8)).save(small / "blank.png")
    specimen = {'tissue = "procedural"': 'image = "blank.png"\num_per_px = 0.25'}
    (small / "small.toml").write_text(rig_text(**SQUARE, **specimen), encoding="utf-8")
    code, _, err = scope(capsys, "acquire-pairs", *OPTIONS, "--focus", "map", "--out", "A")
    assert code == 1
    assert "too little tissue for a focus map: 0 of 9 points" in err.strip().splitlines()[-1]
    assert not (small / "A").exists()


def test_ctrl_c_during_the_map_says_so(
    small: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_off(*_: object) -> Iterator[FocusPoint]:
        yield in_focus(0, 0, 0)
        raise KeyboardInterrupt

    monkeypatch.setattr(acquire_pairs, "map_focus", broken_off)
    code, _, err = scope(capsys, "acquire-pairs", *OPTIONS, "--focus", "map", "--out", "A")
    assert code == 130
    assert "Stopped while the focus was mapped; the same command begins anew" in err
    assert not (small / "A").exists()


def test_an_occupied_folder_is_refused_before_the_map(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (small / "A").mkdir()
    (small / "A/notes.txt").write_text("mine", encoding="utf-8")
    message = refused(capsys, "acquire-pairs", *OPTIONS, "--focus", "map", "--out", "A")
    assert "not empty" in message
    assert "none" in refused(capsys, "acquire-pairs", *OPTIONS, "--focus", "sharp")
