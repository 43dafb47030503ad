"""What a capture does with a calibration record: refuse, expose, mask, predict, check."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from records import measured
from rigs import make_rig, rig_text
from test_cli import refused, scope
from test_guarded import Recorder

from scope_sr.acquire_pairs import capture_fields, capture_pairs, describe_plan, expected_seconds
from scope_sr.calibration import CalibrationRecord, Check
from scope_sr.config import Rig
from scope_sr.errors import InputError
from scope_sr.frame import Position
from scope_sr.microscope import GuardedMicroscope, open_microscope
from scope_sr.plan import Plan, plan_pairs
from scope_sr.session import Session

ORIGIN = Position(0, 0, 0)
HOME = "calibration/simulated/2026-01-02"


def planned(rig: Rig, record: CalibrationRecord, **options: object) -> Plan:
    start = {"rows": 1, "columns": 1, "origin": ORIGIN, **options}
    return plan_pairs(rig, record, **start)


def load(rig: Rig, folder: Path, **exposures_ms: float) -> CalibrationRecord:
    return CalibrationRecord.load(measured(rig, folder, **exposures_ms))


# -- another instrument ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"camera": "another camera"}, "the camera was another camera at calibration"),
        ({"size_px": (128, 96)}, r"its image in pixels was \(128, 96\)"),
        ({"bits": 12}, "its bits was 12 at calibration and is 8 now"),
        ({"color": False}, "its colour was False"),
        ({"slots": {"10x": "slot 5, 10x/0.3", "20x": "slot 3, 20x/0.75"}}, "objective 10x was"),
        ({"slots": {"10x": "slot 2, 10x/0.3", "20x": "slot 3 'Apo', 20x/0.75"}}, "'Apo'"),
    ],
    ids=["camera", "roi", "bits", "colour", "slot", "label"],
)
def test_another_instrument_is_refused_before_anything_moves(
    change: dict[str, object], words: str, rig: Rig, tmp_path: Path
) -> None:
    record = load(rig, tmp_path / "record")
    other = record.fingerprint.model_copy(update=change)
    record.model_copy(update={"fingerprint": other}).save(tmp_path / "record")
    record = CalibrationRecord.load(tmp_path / "record")
    backend = Recorder(rig)
    with (
        GuardedMicroscope(backend, rig) as microscope,
        Session.create(tmp_path / "A", planned(rig, record), rig, record) as session,
        pytest.raises(InputError, match=f"calibration.*{words}.*calibrate again.*nothing moved"),
    ):
        next(iter(capture_fields(microscope, session)))
    assert backend.motions == []


def test_a_slot_that_is_not_used_may_change(rig: Rig, tmp_path: Path) -> None:
    record = load(rig, tmp_path / "record")
    slots = {**record.fingerprint.slots, "5x": "slot 6, 5x/0.15"}
    fingerprint = record.fingerprint.model_copy(update={"slots": slots})
    record = record.model_copy(update={"fingerprint": fingerprint})
    with (
        open_microscope(rig) as microscope,
        Session.create(tmp_path / "A", planned(rig, record), rig, record) as session,
    ):
        assert next(iter(capture_fields(microscope, session))).entry.step == "low/r00c00"


SMALL = {"width_px = 64": "width_px = 32", "height_px = 48": "height_px = 32"}


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, with a small rig and its measured record."""
    (tmp_path / "small.toml").write_text(rig_text(**SMALL), encoding="utf-8")
    measured(make_rig(tmp_path, **SMALL), tmp_path / HOME, x20=14.0)
    monkeypatch.chdir(tmp_path)
    return tmp_path


OPTIONS = ["--rig", "small.toml", "--grid", "1x1", "--coverage", "center"]


def rename_camera(folder: Path) -> None:
    record = CalibrationRecord.load(folder)
    fingerprint = record.fingerprint.model_copy(update={"camera": "the old one"})
    record.model_copy(update={"fingerprint": fingerprint}).save(folder)


def test_the_command_refuses_another_camera_whatever_it_was_to_do(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = ["acquire-pairs", *OPTIONS, "--skip-check", "--out", "A"]
    assert scope(capsys, *whole)[0] == 0
    rename_camera(small / HOME)
    again = ["acquire-pairs", *OPTIONS, "--out", "B"]
    for words in (again, [*again, "--dry-run"]):
        message = refused(capsys, *words)
        assert "2026-01-02: the camera was the old one at calibration and is simulated" in message
        assert "scope-sr calibrate --rig small.toml" in message
    assert not (small / "B").exists()
    (small / "A/low/r00c00.ome.tif").unlink()
    record = small / "A/calibration"
    kept = (record / "record.json").read_bytes()
    rename_camera(record)
    message = refused(capsys, "acquire-pairs", "--resume", "--skip-check", "--out", "A")
    assert "calibration: the camera was the old one" in message
    (record / "record.json").write_bytes(kept)
    assert scope(capsys, "acquire-pairs", "--resume", "--skip-check", "--out", "A")[0] == 0


# -- exposure --------------------------------------------------------------------------------------


def test_measured_exposures_are_taken_and_shown(rig: Rig, tmp_path: Path) -> None:
    record = load(rig, tmp_path, x20=17.5)
    lens = record.objectives["10x"].model_copy(update={"exposure_ms": None})
    record = record.model_copy(update={"objectives": {**record.objectives, "10x": lens}})
    plan = planned(rig, record)
    assert {step.exposure_ms for step in plan.of_pass("low")} == {10.0}
    assert {step.exposure_ms for step in plan.of_pass("high")} == {17.5}
    said = describe_plan(plan, rig, record, tmp_path)
    assert ["exposure, ms", "10", "17.5"] in [
        [cell.strip() for cell in line.strip("│").split("│")] for line in said.splitlines()
    ]


# -- tissue ----------------------------------------------------------------------------------------

PALE = (228, 222, 232)  # eosin so weak that its optical density in green is 0.06


def test_pale_tissue_under_strong_vignetting_needs_the_record(tmp_path: Path) -> None:
    slide = np.full((600, 600, 3), 255, np.uint8)
    Image.fromarray(slide).save(tmp_path / "blank.png")
    slide[:, :300] = PALE
    Image.fromarray(slide).save(tmp_path / "half.png")
    vignetting = {
        "width_px = 64": "width_px = 96",
        "height_px = 48": "height_px = 96",
        "vignetting = 0.10": "vignetting = 0.30",
    }

    def under(name: str) -> Rig:
        specimen = {'tissue = "procedural"': f'image = "{name}"\num_per_px = 0.25'}
        return make_rig(tmp_path, **vignetting, **specimen)

    rig = under("half.png")
    record = CalibrationRecord.load(measured(rig, tmp_path / "record", blank=under("blank.png")))
    skipped = {}
    for name, known in (("A", record), ("B", CalibrationRecord.nominal(rig))):
        plan = planned(rig, known, columns=3, tissue_only=True)
        with (
            open_microscope(rig) as microscope,
            Session.create(tmp_path / name, plan, rig, known) as session,
        ):
            capture_pairs(microscope, session)
        entries = session.entries
        skipped[name] = {step for step, entry in entries.items() if entry.event == "skipped"}
    edges = {
        step.name: record.specimen_um("20x", step.position)[0] - 12
        for step in planned(rig, record, columns=3).of_pass("high")
    }
    glass = {name for name, left_um in edges.items() if left_um > -0.5}
    assert skipped["A"] == glass
    assert len(glass) == 6
    assert skipped["B"] != glass


# -- time ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({}, {}),
        (
            {"speed_um_per_s = 10000.0\nacc": "speed_um_per_s = 700.0\nacc"},
            {"order": "raster", "coverage": "center"},
        ),
        (
            {
                "settle_ms = 50.0\n\n[simulation.nosepiece]": (
                    "settle_ms = 400.0\n\n[simulation.nosepiece]"
                )
            },
            {"coverage": "center"},
        ),
    ],
    ids=["as it is", "slow", "long to settle"],
)
def test_the_predicted_time_is_that_of_the_simulators_clock(
    changes: dict[str, str], options: dict[str, object], tmp_path: Path
) -> None:
    rig = make_rig(**changes, **SMALL)
    record = load(rig, tmp_path / "record")
    plan = planned(rig, record, rows=3, columns=3, **options)
    with (
        open_microscope(rig) as microscope,
        Session.create(tmp_path / "A", plan, rig, record) as session,
    ):
        began_s = microscope.snap().time  # the exposure is part of it
        summary = capture_pairs(microscope, session)
        took_s = microscope.snap().time - began_s
    assert expected_seconds(plan, rig, record) == pytest.approx(took_s, rel=0.03)
    assert summary.expected_seconds == pytest.approx(summary.field_seconds, rel=0.03)
    kept = json.loads((tmp_path / "A/summary.json").read_text(encoding="utf-8"))
    assert kept["expected_seconds"] == summary.expected_seconds > 1
    assert kept["field_seconds"] == summary.field_seconds


def test_without_measured_times_the_rigs_are_taken_and_said(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = scope(capsys, "acquire-pairs", *OPTIONS, "--dry-run")
    assert "times learnt by calibration" in out
    (small / HOME / "record.json").unlink()
    _, out, _ = scope(capsys, "acquire-pairs", *OPTIONS, "--dry-run")
    assert "times as the rig file says" in out


# -- the check before it ---------------------------------------------------------------------------


class FakeCheck:
    """Stands for `scope_sr.calibrate`: gives these verdicts, and remembers who asked."""

    def __init__(self, *verdicts: tuple[str, str]) -> None:
        self.verdicts = verdicts
        self.asked = 0
        self.asked_at = ORIGIN

    def __call__(
        self, microscope: GuardedMicroscope, rig: Rig, record: CalibrationRecord, tell: object
    ) -> tuple[Check, ...]:
        assert record.measured
        assert microscope.rig.name == rig.name
        self.asked += 1
        self.asked_at = microscope.position()
        tell("one field of glass")
        return tuple(
            Check(
                section=section,
                name="scale",
                value=(1.0234,),
                unit="",
                limit="0.1 %",
                verdict=verdict,
                advice="look at it",
                made_at="now",
            )
            for section, verdict in self.verdicts
        )


def fake(monkeypatch: pytest.MonkeyPatch, *verdicts: tuple[str, str]) -> FakeCheck:
    check = FakeCheck(*verdicts)
    monkeypatch.setitem(sys.modules, "scope_sr.calibrate", SimpleNamespace(check_record=check))
    return check


def test_a_record_that_no_longer_holds_stops_the_capture(
    small: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    check = fake(monkeypatch, ("stage", "ok"), ("pixel-size", "fail"), ("offsets", "fail"))
    options = ["acquire-pairs", *OPTIONS, "--out", "A"]
    code, out, err = scope(capsys, *options)
    assert (code, check.asked) == (1, 1)
    assert "one field of glass" in out
    assert len(err.strip().splitlines()) == 1
    assert "2026-01-02: no longer holds: pixel-size, scale is 1.023 (limit 0.1 %)" in err
    assert "scope-sr calibrate --rig small.toml --only pixel-size,offsets" in err
    assert not (small / "A").exists()
    assert scope(capsys, *options, "--skip-check")[0] == 0
    assert check.asked == 1


def test_a_warning_is_said_and_the_capture_goes_on(
    small: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    check = fake(monkeypatch, ("stage", "ok"), ("flat-field", "warn"))
    options = ["acquire-pairs", *OPTIONS, "--out", "A"]
    assert scope(capsys, *options, "--dry-run")[0] == 0
    assert check.asked == 0
    code, out, _ = scope(capsys, *options)
    assert (code, check.asked) == (0, 1)
    assert "warning: flat-field, scale is 1.023 (limit 0.1 %); look at it" in out
    assert "s were expected" in out
    assert scope(capsys, "acquire-pairs", "--resume", "--out", "A")[0] == 0
    assert check.asked == 1  # nothing was left


def test_a_resume_is_checked_where_its_grid_is(
    small: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    check = fake(monkeypatch, ("stage", "ok"))
    options = ["acquire-pairs", *OPTIONS, "--out", "A", "--origin", "300,-200,7"]
    assert scope(capsys, *options)[0] == 0
    assert check.asked_at == ORIGIN
    (small / "A/low/r00c00.ome.tif").unlink()
    assert scope(capsys, "acquire-pairs", "--resume", "--out", "A")[0] == 0
    assert (check.asked, check.asked_at) == (2, Position(300, -200, 7))


def test_the_rigs_own_word_is_not_checked(
    small: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    check = fake(monkeypatch, ("stage", "fail"))
    (small / HOME / "record.json").unlink()
    assert scope(capsys, "acquire-pairs", *OPTIONS, "--out", "A")[0] == 0
    assert check.asked == 0
