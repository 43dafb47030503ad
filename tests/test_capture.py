"""Capturing: what a run leaves on disk, whatever happens in the middle of it."""

from __future__ import annotations

import json
import math
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rigs import make_rig

from scope_sr.acquire_pairs import Summary, capture_fields, capture_pairs, start_position
from scope_sr.calibration import CalibrationRecord
from scope_sr.config import Rig
from scope_sr.errors import DeadlineError, InputError, MicroscopeError, ReadbackError, SessionError
from scope_sr.frame import Frame, Position
from scope_sr.microscope import GuardedMicroscope, open_microscope
from scope_sr.microscope.simulated import SimulatedMicroscope
from scope_sr.plan import Plan, plan_pairs
from scope_sr.session import Session


def planned(rig: Rig, **options: object) -> Plan:
    record = CalibrationRecord.nominal(rig)
    start = {"rows": 2, "columns": 2, "origin": Position(0, 0, 0)}
    return plan_pairs(rig, record, **{**start, **options})


def run(folder: Path, rig: Rig, plan: Plan) -> Summary:
    with (
        open_microscope(rig, log_folder=folder) as microscope,
        Session.create(folder, plan, rig, CalibrationRecord.nominal(rig)) as session,
    ):
        return capture_pairs(microscope, session)


def pixels(folder: Path) -> dict[str, np.ndarray]:
    session = Session.open(folder)
    return {step.name: session.read(step.name) for step in session.plan.steps}


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[n], other[n]) for n in one)


def truths(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "truth.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Summary]:
    folder = tmp_path_factory.mktemp("whole") / "A"
    rig = make_rig()
    return folder, run(folder, rig, planned(rig))


def test_a_grid_is_captured_whole(whole: tuple[Path, Summary]) -> None:
    folder, summary = whole
    assert (summary.low, summary.high, summary.rejected, summary.complete) == (4, 16, 0, True)
    assert summary.area_um2 == pytest.approx((1.95 * 64 * 0.5) * (1.95 * 48 * 0.5))
    session = Session.open(folder)
    assert session.verify().ok
    assert session.remaining() == ()
    assert json.loads((folder / "summary.json").read_text())["complete"] is True
    with Image.open(folder / "contact-sheet.png") as sheet:
        assert min(sheet.size) > 300


def test_the_nosepiece_turns_once(whole: tuple[Path, Summary]) -> None:
    objectives = [truth["objective"] for truth in truths(whole[0])]
    assert objectives == ["10x"] * 4 + ["20x"] * 16


def test_high_fields_show_what_their_low_field_shows(whole: tuple[Path, Summary]) -> None:
    """By the simulator's truth: each high field lies where the plan puts it, to a few µm."""
    folder, _ = whole
    session = Session.open(folder)
    found = {tuple(t["commanded_um"]): t for t in truths(folder)}
    low_matrix = np.array(next(iter(found.values()))["matrix_um_per_px"])
    for step in session.plan.of_pass("high"):
        parent = next(s for s in session.plan.steps if s.name == step.parent)
        here, there = (
            np.array(found[s.position.x_um, s.position.y_um, s.position.z_um]["centre_um"])
            for s in (step, parent)
        )
        offset_px = np.linalg.solve(low_matrix, here - there)
        side = np.array([64, 48]) / 2 * 0.98 / 2
        expected = np.array([2 * step.column - 1, 2 * step.row - 1]) * side
        assert (
            np.abs(offset_px - expected).max() * 0.5 < 4.0
        )  # µm: offsets known to 1-2, turn, stage


def test_everything_is_in_focus_as_well_as_the_rig_knows(whole: tuple[Path, Summary]) -> None:
    assert max(abs(truth["defocus_um"]) for truth in truths(whole[0])) < 1.0


def test_two_runs_give_the_same_pixels(whole: tuple[Path, Summary], tmp_path: Path) -> None:
    rig = make_rig()
    run(tmp_path / "B", rig, planned(rig))
    assert same(pixels(whole[0]), pixels(tmp_path / "B"))


@pytest.mark.parametrize("order", ["serpentine", pytest.param("raster", marks=pytest.mark.slow)])
def test_resumed_after_any_field_the_pixels_are_the_same(order: str, tmp_path: Path) -> None:
    rig = make_rig(**{"width_px = 64": "width_px = 32", "height_px = 48": "height_px = 32"})
    plan = planned(rig, order=order)
    run(tmp_path / "whole", rig, plan)
    for stop_after in range(1, len(plan.steps), 7):
        folder = tmp_path / f"stopped-{stop_after}"
        with (
            open_microscope(rig) as microscope,
            Session.create(folder, plan, rig, CalibrationRecord.nominal(rig)) as session,
        ):
            for count, _ in enumerate(capture_fields(microscope, session), start=1):
                if count == stop_after:
                    break
        with Session.resume(folder) as session, open_microscope(rig) as microscope:
            assert len(session.remaining()) == len(plan.steps) - stop_after
            capture_pairs(microscope, session)
        assert same(pixels(tmp_path / "whole"), pixels(folder))
        captured = [
            line
            for line in (folder / "journal.jsonl").read_text().splitlines()
            if "captured" in line
        ]
        assert len(captured) == len(plan.steps)


class Faulty(SimulatedMicroscope):
    """Fails in a given way from the n-th call of a verb on; remembers each turn's height."""

    fault = ""
    after = 0

    def __init__(self, rig: Rig) -> None:
        super().__init__(rig)
        self.calls = 0
        self.turned_at_z_um: list[float] = []

    def _fails(self, fault: str) -> bool:
        if self.fault != fault:
            return False
        self.calls += 1
        return self.calls > self.after

    def move_to(self, position: Position) -> None:
        if self._fails("stops short"):
            position = Position(position.x_um - 15, position.y_um, position.z_um)
        super().move_to(position)

    def position(self) -> Position:
        here = super().position()
        return Position(here.x_um, here.y_um + 9, here.z_um) if self._fails("readback") else here

    def snap(self) -> Frame:
        if self._fails("camera hangs"):
            threading.Event().wait(30)
        return super().snap()

    def select_objective(self, name: str) -> None:
        self.turned_at_z_um.append(super().position().z_um)
        super().select_objective("5x" if self._fails("wrong label") else name)


@pytest.mark.parametrize(
    ("fault", "after", "error", "words"),
    [
        ("stops short", 9, ReadbackError, "the stage was sent to"),
        ("readback", 40, ReadbackError, "the stage was sent to"),
        ("camera hangs", 7, DeadlineError, "the camera did not answer within"),
        ("wrong label", 0, ReadbackError, "the nosepiece reports 5x after it was turned to 20x"),
    ],
)
def test_an_instrument_fault_ends_in_its_own_error_and_the_session_resumes(
    fault: str, after: int, error: type[MicroscopeError], words: str, tmp_path: Path
) -> None:
    hangs = {"snap_s = 30.0": "snap_s = 2.0"} if fault == "camera hangs" else {}
    rig = make_rig(**hangs)
    plan = planned(rig, rows=1)
    backend = Faulty(rig)
    backend.fault, backend.after = fault, after
    folder = tmp_path / "A"
    with (
        GuardedMicroscope(backend, rig) as microscope,
        Session.create(folder, plan, rig, CalibrationRecord.nominal(rig)) as session,
        pytest.raises(error, match=words),
    ):
        capture_pairs(microscope, session)
    assert all(z_um <= -490 for z_um in backend.turned_at_z_um)
    with Session.resume(folder) as session:
        left = len(session.remaining())
        assert 0 < left < len(plan.steps)
        with open_microscope(rig) as microscope:
            assert capture_pairs(microscope, session).complete
    assert Session.open(folder).verify().ok


def test_a_full_disk_ends_in_one_line_and_the_session_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    from scope_sr import disk

    rig = make_rig()
    plan = planned(rig, rows=1)
    folder = tmp_path / "A"
    store, count = disk.store, 0

    def full(path: Path, data: bytes) -> None:
        nonlocal count
        count += 1
        if count > 4:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        store(path, data)

    with open_microscope(rig) as microscope:
        session = Session.create(folder, plan, rig, CalibrationRecord.nominal(rig))
        monkeypatch.setattr(disk, "store", full)
        with pytest.raises(SessionError, match=r"No space left.*4 of 10 fields are safe.*--resume"):
            capture_pairs(microscope, session)
        monkeypatch.setattr(disk, "store", store)
        session.close()
    with Session.resume(folder) as session, open_microscope(rig) as microscope:
        assert capture_pairs(microscope, session).complete
    assert Session.open(folder).verify().ok


@pytest.mark.parametrize("name", ["contact-sheet.png", "summary.json", "truth.jsonl"])
def test_a_file_that_cannot_be_written_at_the_end_is_one_line(name: str, tmp_path: Path) -> None:
    rig = make_rig()
    folder = tmp_path / "A"
    plan = planned(rig, rows=1, columns=1, coverage="center")
    with (
        open_microscope(rig, log_folder=folder) as microscope,
        Session.create(folder, plan, rig, CalibrationRecord.nominal(rig)) as session,
    ):
        (folder / name).mkdir()
        with pytest.raises((SessionError, MicroscopeError), match=name):
            capture_pairs(microscope, session)
    (folder / name).rmdir()
    with Session.resume(folder) as session, open_microscope(rig, log_folder=folder) as microscope:
        assert capture_pairs(microscope, session).complete
    assert not list(folder.rglob("*.part"))


def test_another_image_under_the_same_name_is_not_resumed(tmp_path: Path) -> None:
    Image.fromarray(np.full((400, 400, 3), 150, np.uint8)).save(tmp_path / "a.png")
    rig = make_rig(tmp_path, **{'tissue = "procedural"': 'image = "a.png"\num_per_px = 0.25'})
    run(tmp_path / "A", rig, planned(rig, rows=1, columns=1))
    Session.resume(tmp_path / "A").close()
    Image.fromarray(np.full((400, 400, 3), 99, np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png or its labels are not what they were"):
        Session.resume(tmp_path / "A")


def test_glass_is_left_out_and_tissue_is_not(tmp_path: Path) -> None:
    """An image of half tissue, half glass: the truth is known for each high field."""
    slide = np.full((400, 400, 3), 255, np.uint8)
    slide[:, :200] = (170, 90, 150)
    Image.fromarray(slide).save(tmp_path / "half.png")
    rig = make_rig(tmp_path, **{'tissue = "procedural"': 'image = "half.png"\num_per_px = 0.25'})
    plan = planned(rig, rows=1, columns=3, tissue_only=True)
    summary = run(tmp_path / "A", rig, plan)
    session = Session.open(tmp_path / "A")
    skipped = {n for n, entry in session.entries.items() if entry.event == "skipped"}
    assert summary.complete
    assert summary.skipped == len(skipped) == 4
    for step in plan.of_pass("high"):
        left_um = CalibrationRecord.nominal(rig).specimen_um("20x", step.position)[0] - 8
        assert (step.name in skipped) == (left_um > 5), step.name


def test_a_dark_field_is_kept_but_rejected(tmp_path: Path) -> None:
    rig = make_rig(**{"exposure_ms = 10.0": "exposure_ms = 0.01"})
    summary = run(tmp_path / "A", rig, planned(rig, rows=1, columns=1))
    assert summary.rejected == 1
    entry = Session.open(tmp_path / "A").entries["low/r00c00"]
    assert "is the lamp on" in entry.faults[0]


@pytest.mark.parametrize("looking_through", ["10x", "20x"])
def test_the_grid_starts_where_the_operator_looks(looking_through: str) -> None:
    rig = make_rig()
    record = CalibrationRecord.nominal(rig)
    with open_microscope(rig) as microscope:
        microscope.select_objective(looking_through)
        microscope.move_to(Position(300, 100, 0))
        start = start_position(microscope, record, "10x", None)
    seen = record.specimen_um(looking_through, Position(300, 100, 0))
    assert record.specimen_um("10x", start) == pytest.approx(seen)


def test_an_origin_without_z_keeps_the_focus() -> None:
    rig = make_rig()
    record = CalibrationRecord.nominal(rig)
    with open_microscope(rig) as microscope:
        microscope.move_to(Position(0, 0, 7))
        given = start_position(microscope, record, "10x", Position(50, 60, math.nan))
        assert given == Position(50, 60, 7)
        given = start_position(microscope, record, "10x", Position(50, 60, 3))
        assert given == Position(50, 60, 3)


@pytest.mark.parametrize(
    "change",
    [{}, {"color = true": "color = false"}, {"bits = 8": "bits = 12"}],
    ids=["rgb", "mono", "12-bit"],
)
def test_every_kind_of_camera_makes_a_sheet(change: dict[str, str], tmp_path: Path) -> None:
    rig = make_rig(**change)
    assert run(tmp_path / "A", rig, planned(rig, rows=1, columns=1)).complete
