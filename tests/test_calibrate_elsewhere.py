"""The same calibration on Micro-Manager's demo devices, in this process and behind a server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from benches import failed, no_pictures, quick_light
from java_server import serving
from rigs import demo_rig, remote_rig

from scope_sr.calibrate import calibrate, check_record, plan_course, stage
from scope_sr.calibration import SECTIONS, CalibrationRecord, Section
from scope_sr.config import Rig
from scope_sr.frame import Position
from scope_sr.microscope import open_microscope

START = Position(20.0, -10.0, 2.0)
PIXEL_UM = {"10x": 1.0, "20x": 0.5, "40x": 0.25}


@pytest.fixture(autouse=True, scope="module")
def quickly() -> Iterator[None]:
    with quick_light():
        yield


def camera_of(size_px: int) -> dict[str, str]:
    return {
        "width_px = 512": f"width_px = {size_px}",
        "height_px = 512": f"height_px = {size_px}",
        'tissue = "tnbc"': 'tissue  = "tnbc"',
    }


def skip(_question: str, answers: Sequence[str]) -> str:
    assert tuple(answers) == ("dark", "skip")
    return "skip"


def measured(rig: Rig, folder: Path, *sections: Section, high: str = "20x") -> CalibrationRecord:
    """Calibrate a rig of demo devices, whose scale is known and whose offsets are none."""
    with open_microscope(rig, ask=skip) as microscope:
        microscope.move_to(START)
        course = plan_course(rig, folder, sections=sections, objectives=("10x", high))
        record = calibrate(microscope, rig, course, ask=skip)
        here = microscope.position()
        assert (here.x_um, here.y_um, here.z_um) == pytest.approx((20, -10, 2), abs=0.1)
        assert microscope.objective() == "10x"
    assert failed(record) == {}
    assert {found.section for found in record.checks} == set(sections)
    assert CalibrationRecord.load(folder).digest == record.digest
    return record


def assert_true(record: CalibrationRecord, *objectives: str) -> None:
    for name in objectives:
        lens = record.objectives[name]
        assert lens.pixel_size_um == pytest.approx(PIXEL_UM[name], rel=0.001)
        assert lens.parcentric_um == pytest.approx((0, 0), abs=0.5)
        assert lens.parfocal_um == pytest.approx(0, abs=1.0)
    assert record.stage.backlash_um == pytest.approx((0, 0), abs=0.05)


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_stage_and_scale_of_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "ARRIVALS", 3)
    rig = demo_rig(**camera_of(192))
    with open_microscope(rig) as microscope:
        microscope.move_to(START)
        sections: tuple[Section, ...] = ("stage", "pixel-size")
        course = plan_course(rig, tmp_path / "A", sections=sections, objectives=("10x",))
        record = calibrate(microscope, rig, course)
    assert failed(record) == {}
    assert_true(record, "10x")
    names = {found.name for found in record.checks}
    assert "10x against Micro-Manager's pixel size" in names


@pytest.fixture
def undrawn() -> Iterator[None]:
    with no_pictures():
        yield


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("size_px", "high"), [(256, "20x"), (512, "40x")])
def test_all_of_the_demo(tmp_path: Path, size_px: int, high: str) -> None:
    rig = demo_rig(**camera_of(size_px)).model_copy(update={"high": high})
    record = measured(rig, tmp_path / "A", *SECTIONS, high=high)
    assert_true(record, "10x", high)
    assert (tmp_path / "A/report.html").is_file()
    with open_microscope(rig) as microscope:
        checks = check_record(microscope, rig, record, lambda _: None)
    assert [found.name for found in checks if found.verdict == "fail"] == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_all_over_the_server(tmp_path: Path) -> None:
    specimen = tmp_path / "specimen.toml"
    specimen.write_text(demo_rig(**camera_of(256)).text, encoding="utf-8")
    with serving(rig=specimen) as server:
        rig = remote_rig(server.port, **camera_of(256)).model_copy(update={"high": "20x"})
        record = measured(rig, tmp_path / "A", *SECTIONS)
    assert_true(record, "10x", "20x")
    assert record.fingerprint.camera
