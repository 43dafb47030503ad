"""Sessions laid out, against what the simulator knows of where each field really was taken."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benches import quick_light
from numpy.typing import NDArray
from paired_sessions import Slip, awkward_rig, calibrated, truth_of
from rigs import make_rig

from scope_sr.calibration import CalibrationRecord
from scope_sr.config import Rig
from scope_sr.enhance import mosaic as laying
from scope_sr.enhance.mosaic import Mosaic, laid_out
from scope_sr.errors import InputError
from scope_sr.frame import Position
from scope_sr.imaging.stitching import composed
from scope_sr.light import corrected, shading_of
from scope_sr.microscope import open_microscope
from scope_sr.plan import plan_pairs
from scope_sr.session import Session

SEED, SIZE_PX = 14, 256  # distortion -0.0014, turned by 2°, 8 bits, dust
GLASS, DAMAGED = "low/r01c01", "low/r02c00"
pytestmark = pytest.mark.xdist_group("mosaic")


def quiet(_stage: str, _done: int, _total: int) -> None:
    """Show no progress."""


def low_session(
    folder: Path,
    rig: Rig,
    record: CalibrationRecord,
    *,
    rows: int = 3,
    columns: int = 3,
    overlap: float = 0.1,
    slips: Mapping[str, Slip] | None = None,
) -> Session:
    """Capture the low pass of a session; the journal knows nothing of slips."""
    with quick_light(), open_microscope(rig, log_folder=folder) as microscope:
        plan = plan_pairs(
            rig, record, rows=rows, columns=columns, origin=Position(0.0, 0.0, 0.0),
            overlap=overlap, coverage="center",
        )  # fmt: skip
        with Session.create(folder, plan, rig, record) as session:
            for step in plan.of_pass("low"):
                x_um, y_um = (slips or {}).get(step.name, Slip()).off_um
                at = step.position
                microscope.set_exposure(step.exposure_ms)
                microscope.move_to(Position(at.x_um + x_um, at.y_um + y_um, at.z_um))
                session.write(step, replace(microscope.snap(), position=at))
    return Session.open(folder)


def scattered(rms_px: float, rig: Rig, seed: int = 0) -> dict[str, Slip]:
    """Put every field of a grid off where the stage says it is."""
    rng = np.random.default_rng(seed)
    names = [f"low/r{row:02d}c{column:02d}" for row in range(4) for column in range(4)]
    off_um = rng.normal(0, rms_px * rig.pixel_size_um(rig.low), (len(names), 2))
    return {name: Slip((float(x), float(y))) for name, (x, y) in zip(names, off_um, strict=True)}


def side_by_side(session: Session, mosaic: Mosaic, without: str = "") -> list[tuple[int, int]]:
    """Give the pairs of fields that are neighbours in the grid, by their numbers."""
    steps = {step.name: np.array([step.row, step.column]) for step in session.plan.of_pass("low")}
    return [
        (i, j)
        for i, one in enumerate(mosaic.names)
        for j, other in enumerate(mosaic.names[i + 1 :], start=i + 1)
        if np.abs(steps[one] - steps[other]).sum() == 1 and without not in (one, other)
    ]


def seam_errors(
    session: Session, mosaic: Mosaic, pairs: list[tuple[int, int]]
) -> NDArray[np.float64]:
    """Give ``(seams, 33, 2)`` px by which two fields show different tissue along their seams."""
    truth, size = truth_of(session), np.array(mosaic.field_px[::-1])
    centre, along = (size - 1) / 2, np.linspace(0, 1, 33)[:, None]
    errors = []
    for pair in pairs:
        names, corners = [mosaic.names[one] for one in pair], mosaic.corners_px[list(pair)]
        first, last = corners.max(axis=0), corners.min(axis=0) + size - 1
        across = int(np.argmin(last - first))
        first[across] = last[across] = (first[across] + last[across]) / 2
        seam = first + along * (last - first)
        one, other = (
            truth[name].seen_um(seam - corner - centre)
            for name, corner in zip(names, corners, strict=True)
        )
        errors.append((one - other) @ np.linalg.inv(truth[names[0]].matrix).T)
    return np.array(errors)


def rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt((values**2).mean()))


@pytest.fixture(scope="module")
def rig() -> Rig:
    return awkward_rig(SEED, SIZE_PX)


@pytest.fixture(scope="module")
def record(rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> CalibrationRecord:
    return calibrated(rig, tmp_path_factory.mktemp("record"))


@pytest.fixture(scope="module")
def harsh(rig: Rig, record: CalibrationRecord, tmp_path_factory: pytest.TempPathFactory) -> Session:
    """Nine fields, each 3 px (RMS, each way) off where the stage says it is; one is of glass."""
    slips = {**scattered(3.0, rig), GLASS: Slip((5000.0, 4000.0))}
    folder = tmp_path_factory.mktemp("harsh") / "session"
    return low_session(folder, rig, record, slips=slips)


@pytest.fixture(scope="module")
def mosaic(harsh: Session) -> Mosaic:
    return laid_out(harsh, quiet)


def copied(session: Session, folder: Path) -> Path:
    shutil.copytree(session.folder, folder / "copy")
    return folder / "copy"


def test_seams_fit_though_the_stage_is_off(harsh: Session, mosaic: Mosaic) -> None:
    errors = seam_errors(harsh, mosaic, side_by_side(harsh, mosaic, GLASS))
    assert len(errors) == 8
    assert rms(errors) < 0.1
    assert np.abs(errors.mean(axis=1)).max() < 0.2
    assert rms(errors) < mosaic.seams.seam_px < 0.2


def test_glass_stands_where_the_stage_says_beside_its_neighbours(mosaic: Mosaic) -> None:
    seams = mosaic.seams
    assert seams.by_stage == (GLASS,)
    assert (seams.pairs, seams.linked, seams.silent, seams.wrong) == (12, 8, 4, 0)
    assert mosaic.warnings == ()
    middle = mosaic.corners_px[mosaic.names.index(GLASS)]
    around = np.mean(
        [mosaic.corners_px[mosaic.names.index(f"low/r0{r}c0{c}")] for r in (0, 2) for c in (0, 2)],
        axis=0,
    )
    assert np.abs(middle - around).max() < 6.0  # the corners of the grid are off by 3 px each


def test_the_stage_alone_would_not_do(harsh: Session, mosaic: Mosaic) -> None:
    planned = np.array([(c, r) for r in range(3) for c in (range(3) if r != 1 else (2, 1, 0))])
    lattice = replace(mosaic, corners_px=planned * 0.9 * SIZE_PX)
    assert rms(seam_errors(harsh, lattice, side_by_side(harsh, mosaic, GLASS))) > 2.0


def test_what_is_known_of_the_mosaic(harsh: Session, mosaic: Mosaic) -> None:
    assert mosaic.field_px == (SIZE_PX, SIZE_PX)
    assert mosaic.um_per_px == harsh.record.objectives["10x"].pixel_size_um
    assert mosaic.corners_px.min(axis=0).tolist() == [0, 0]
    for scale in (1, 4):
        corners = mosaic.corners(scale)
        assert np.abs(corners - scale * mosaic.corners_px).max() <= 0.5
        assert mosaic.shape(scale) == tuple(corners.max(axis=0)[::-1] + scale * SIZE_PX)


def test_a_field_is_corrected_as_a_dataset_has_it(harsh: Session, mosaic: Mosaic) -> None:
    field = mosaic.field("low/r00c00")
    light = corrected(harsh.read("low/r00c00"), shading_of(harsh.folder, "10x"))
    assert field.dtype == np.uint8
    assert np.abs(field - light.clip(0, 255)).max() <= 0.5
    glass = mosaic.field(GLASS).astype(float)
    assert glass[:40].mean() == pytest.approx(glass[100:140].mean(), rel=0.01)  # no vignetting


def test_the_mosaic_shows_tissue_through(harsh: Session, mosaic: Mosaic) -> None:
    """Across a seam, the picture differs from a field that lies over it by noise alone."""
    fields = [mosaic.field(name) for name in mosaic.names]
    corners = mosaic.corners(1)
    whole = composed(fields, corners, mosaic.shape(1), slice(0, mosaic.shape(1)[0])).astype(float)
    (x, y), field = corners[0], fields[0].astype(float)
    seen = whole[y : y + SIZE_PX, x : x + SIZE_PX]
    inside, beyond = np.abs(seen - field)[:, :200], np.abs(seen - field)[:200, -8:]
    assert np.median(inside) == 0
    assert np.median(beyond) < 12


def test_seams_that_do_not_fit_are_told(harsh: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(laying, "MOST_SEAM_PX", 0.01)
    (warning,) = laid_out(harsh, quiet).warnings
    assert "px (RMS) off along their seams, more than 0.01" in warning


def test_progress_is_told(harsh: Session) -> None:
    told: list[tuple[str, int, int]] = []
    laid_out(harsh, lambda *what: told.append(what))
    assert told == [("laying out", number, 9) for number in range(1, 10)]


def test_what_is_missing_rejected_or_damaged_is_left_out(harsh: Session, tmp_path: Path) -> None:
    folder = copied(harsh, tmp_path)
    (folder / "low/r00c01.ome.tif").unlink()
    path = folder / f"{DAMAGED}.ome.tif"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    session = Session.resume(folder)
    session.reject("low/r02c02", ("dark: the mean is 0.1 % of full scale",))
    session.close()
    found = laid_out(Session.open(folder), quiet)
    assert len(found.names) == 6
    assert not {"low/r00c01", DAMAGED, "low/r02c02"} & set(found.names)
    missing, rejected, damaged = found.warnings
    assert "1 of 9 low fields not captured (low/r00c01)" in missing
    assert "1 of 9 low fields rejected at the capture (low/r02c02)" in rejected
    assert f"{DAMAGED}.ome.tif: its bytes are not those that were written" in damaged
    assert all(warning.count("\n") == 0 for warning in found.warnings)
    assert (found.seams.pairs, found.seams.linked, found.seams.silent) == (5, 2, 3)
    assert rms(seam_errors(harsh, found, side_by_side(harsh, found, GLASS)[:2])) < 0.1


def test_a_session_of_nothing_but_damage_is_refused(harsh: Session, tmp_path: Path) -> None:
    folder = copied(harsh, tmp_path)
    for path in (folder / "low").iterdir():
        path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(InputError, match="no other low field is left"):
        laid_out(Session.open(folder), quiet)
    shutil.rmtree(folder / "low")
    with pytest.raises(InputError, match="none of 9 low fields can be used; take them: scope-sr"):
        laid_out(Session.open(folder), quiet)


def test_one_field_is_a_mosaic(rig: Rig, record: CalibrationRecord, tmp_path: Path) -> None:
    found = laid_out(low_session(tmp_path / "s", rig, record, rows=1, columns=1), quiet)
    assert found.corners_px.tolist() == [[0, 0]]
    assert found.shape(2) == (2 * SIZE_PX, 2 * SIZE_PX)
    assert found.seams.by_stage == ("low/r00c00",)
    assert (found.seams.pairs, found.seams.residual_px, found.seams.seam_px) == (0, 0, 0)


def test_fields_that_butt_lie_by_the_stage(
    rig: Rig, record: CalibrationRecord, tmp_path: Path
) -> None:
    session = low_session(tmp_path / "s", rig, record, rows=1, columns=2, overlap=0.0)
    found = laid_out(session, quiet)
    assert found.corners_px == pytest.approx(np.array([[0, 0], [SIZE_PX, 0]]), abs=0.01)
    assert found.seams.by_stage == found.names


def test_without_a_calibration_it_is_laid_out_all_the_same(tmp_path: Path) -> None:
    """Turned by 0.6° and 0.24 % off the scale the rig claims: 1.5 px and more per field."""
    size = {"width_px = 64": "width_px = 256", "height_px = 48": "height_px = 256"}
    rig = make_rig(**size, **{'tissue = "procedural"': 'tissue = "tnbc"'})
    nominal = CalibrationRecord.nominal(rig)
    session = low_session(tmp_path / "s", rig, nominal, rows=2, columns=2)
    found = laid_out(session, quiet)
    assert rms(seam_errors(session, found, side_by_side(session, found))) < 0.1
    assert found.seams.linked == 4
    (warning,) = found.warnings
    assert "captured without a calibration: 0.5 µm per px of 10x is the rig's word" in warning


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_eight_awkward_rigs(tmp_path: Path) -> None:
    """At 512 px with the usual overlap of 5 %, the stage as it is and 5 px off."""
    errors = []
    for seed in range(8):
        rig = awkward_rig(seed, 512)
        record = calibrated(rig, tmp_path / f"record-{seed}")
        slips = scattered(5.0 * (seed % 2), rig, seed)
        session = low_session(tmp_path / f"s{seed}", rig, record, overlap=0.05, slips=slips)
        found = laid_out(session, quiet)
        assert found.seams.wrong == 0
        assert not found.seams.by_stage
        errors.append(seam_errors(session, found, side_by_side(session, found)))
    assert rms(np.concatenate(errors)) < 0.1
    assert max(np.abs(one.mean(axis=1)).max() for one in errors) < 0.5
