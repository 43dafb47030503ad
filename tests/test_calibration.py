"""The calibration record: its laws, its files, and what it says of files it cannot use."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs import make_rig

from scope_sr.calibration import (
    PARTIAL,
    RECORD,
    CalibrationRecord,
    Fingerprint,
    ObjectiveCalibration,
    Times,
    schema,
)
from scope_sr.errors import InputError
from scope_sr.frame import Position
from scope_sr.plan import check_objectives

DATA = Path(__file__).parent / "data"
V1, V2 = DATA / "calibration-v1", DATA / "calibration-v2"

coordinate = st.floats(-1e4, 1e4)
place = st.tuples(coordinate, coordinate)
stand = st.builds(Position, coordinate, coordinate, st.floats(-1000, 50))


def an_affine(size: float, angle: float, shear: float, flip: int, stretch: float) -> tuple:
    cos, sin = math.cos(angle), math.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    matrix = size * turn @ [[1, shear], [0, flip * stretch]]
    return tuple(map(tuple, matrix.tolist()))


affine = st.builds(
    an_affine,
    st.floats(0.02, 5.0),
    st.floats(-math.pi, math.pi),
    st.floats(-0.1, 0.1),
    st.sampled_from([1, -1]),
    st.floats(0.8, 1.25),
)
lens = st.builds(
    ObjectiveCalibration,
    affine_um_per_px=affine,
    parcentric_um=st.tuples(st.floats(-200, 200), st.floats(-200, 200)),
    parfocal_um=st.floats(-60, 60),
)
record_of_two = st.builds(
    lambda low, high: CalibrationRecord(rig="any", objectives={"10x": low, "20x": high}), lens, lens
)


# ---- pixels and µm -----------------------------------------------------------------------------


@given(record_of_two, stand, place)
def test_pixels_go_to_the_specimen_and_back(
    record: CalibrationRecord, stage: Position, offset_px: tuple[float, float]
) -> None:
    specimen_um = record.specimen_um("20x", stage, offset_px)
    back_px = record.offset_px("20x", stage, specimen_um)
    assert back_px == pytest.approx(offset_px, abs=1e-9)


@given(record_of_two, place, st.floats(-1000, 50))
def test_a_position_puts_its_point_on_the_image_centre(
    record: CalibrationRecord, specimen_um: tuple[float, float], focus_um: float
) -> None:
    stage = record.position("20x", specimen_um, focus_um)
    assert record.specimen_um("20x", stage) == pytest.approx(specimen_um, abs=1e-9)
    assert stage.z_um == pytest.approx(focus_um + record.objectives["20x"].parfocal_um)


@given(record_of_two, stand)
def test_another_objective_sees_the_same_point(record: CalibrationRecord, stage: Position) -> None:
    there = record.transfer(stage, "10x", "20x")
    assert record.specimen_um("20x", there) == pytest.approx(
        record.specimen_um("10x", stage), abs=1e-9
    )
    back = record.transfer(there, "20x", "10x")
    assert (back.x_um, back.y_um, back.z_um) == pytest.approx(
        (stage.x_um, stage.y_um, stage.z_um), abs=1e-9
    )
    assert record.transfer(stage, "10x", "10x") == Position(
        *(pytest.approx(v, abs=1e-9) for v in (stage.x_um, stage.y_um, stage.z_um))
    )


def test_signs_are_those_of_the_rig() -> None:
    record = CalibrationRecord.load(V2)
    low = record.objectives["10x"]
    # one pixel right is one column of the affine along the stage; rows run down
    right = np.subtract(
        record.specimen_um("10x", Position(0, 0, 0), (1, 0)),
        record.specimen_um("10x", Position(0, 0, 0)),
    )
    assert right == pytest.approx(low.affine[:, 0])
    assert low.affine[1, 1] < 0
    assert record.specimen_um("20x", Position(100, 50, 0)) == pytest.approx((62.8, 72.1))
    assert record.transfer(Position(0, 0, 1), "10x", "20x") == Position(37.2, -22.1, 4.8)
    assert low.pixel_size_um == pytest.approx(0.5012, rel=1e-3)


@given(affine)
def test_a_pixel_size_is_the_side_of_its_area(matrix: tuple) -> None:
    found = ObjectiveCalibration(affine_um_per_px=matrix)
    assert found.pixel_size_um**2 == pytest.approx(abs(np.linalg.det(np.array(matrix))))


# ---- files -------------------------------------------------------------------------------------


def test_a_record_of_the_first_schema_keeps_loading() -> None:
    record = CalibrationRecord.load(V1)
    assert record.measured
    assert record.objectives["20x"].parcentric_um == (-37.4, 22.3)
    assert record.objectives["20x"].distortion == 0
    assert record.objectives["10x"].affine.tolist() == [[0.5011, 0.0052], [0.0052, -0.5011]]
    assert (record.stage, record.camera, record.fingerprint) == (None, None, None)
    assert record.field("10x", "flat") is None


def test_the_test_record_fills_every_table() -> None:
    record = CalibrationRecord.load(V2)
    known_of_a_whole_one = set(CalibrationRecord.model_fields) - {"course"}
    empty = {name for name in known_of_a_whole_one if getattr(record, name) in (None, (), {}, "")}
    assert not empty
    for objective in record.objectives.values():
        assert not [name for name, value in objective if value in (None, ())]


def test_flat_and_dark_are_read_from_the_folder() -> None:
    record = CalibrationRecord.load(V2)
    for objective in record.objectives:
        flat, dark = record.field(objective, "flat"), record.field(objective, "dark")
        assert flat is not None
        assert dark is not None
        assert flat.shape == dark.shape == (3, 4, 3)
        assert flat.dtype == np.float32
        assert flat.mean(axis=(0, 1)) == pytest.approx([1, 1, 1], abs=1e-5)
        assert 1.5 < dark.min() < dark.max() < 2.5


@pytest.mark.parametrize("origin", [V1, V2], ids=["first", "full"])
def test_a_record_is_the_same_elsewhere(origin: Path, tmp_path: Path) -> None:
    record = CalibrationRecord.load(origin)
    record.save(tmp_path / "a" / "b")
    again = CalibrationRecord.load(tmp_path / "a" / "b")
    same = {"schema_version": record.schema_version, "folder": record.folder}
    assert again.model_copy(update=same) == record
    # a session keeps a copy and tells by the digest whether it was changed
    assert again.digest == record.digest
    assert again.schema_version == "scope-sr/calibration/2"
    files = {path.name for path in origin.iterdir()}
    assert {path.name for path in (tmp_path / "a" / "b").iterdir()} == files
    for name in files - {RECORD}:
        assert (tmp_path / "a" / "b" / name).read_bytes() == (origin / name).read_bytes()


def test_a_digest_tells_records_apart() -> None:
    record = CalibrationRecord.load(V2)
    changes = {"tissue_um": (0.0, 1e-9)}, {"made_at": "later"}, {"measured": False}
    digests = {record.digest, *(record.model_copy(update=c).digest for c in changes)}
    assert len(digests) == 4


def test_saving_where_it_lies_keeps_the_fields(tmp_path: Path) -> None:
    shutil.copytree(V2, tmp_path / "home")
    record = CalibrationRecord.load(tmp_path / "home")
    record.model_copy(update={"made_at": "later"}).save(tmp_path / "home")
    again = CalibrationRecord.load(tmp_path / "home")
    assert again.made_at == "later"
    assert again.field("20x", "flat") is not None


def test_a_record_so_far_stands_beside_the_whole_one(tmp_path: Path) -> None:
    record = CalibrationRecord.load(V1)
    record.save(tmp_path, PARTIAL)
    assert [path.name for path in tmp_path.iterdir()] == [PARTIAL]
    assert CalibrationRecord.load(tmp_path, PARTIAL).objectives == record.objectives


@pytest.mark.parametrize("fails", [RECORD, "flat-20x.tif"])
@pytest.mark.parametrize("before", [False, True], ids=["new", "over an old one"])
def test_a_write_that_fails_leaves_no_half_file(
    fails: str, before: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = CalibrationRecord.load(V2)
    if before:
        record.save(tmp_path)
    was = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write = Path.write_bytes

    def half(path: Path, data: bytes) -> int:
        if path.name.startswith(fails):
            write(path, data[: len(data) // 2])
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OSError, match="No space left"):
        record.model_copy(update={"made_at": "later"}).save(tmp_path)
    # whatever is there under its own name is what was there before, or a whole file
    assert (tmp_path / fails).exists() == before
    for name in was:
        assert (tmp_path / name).read_bytes() == was[name]
    if fails != RECORD and not before:
        assert not (tmp_path / RECORD).exists()


def changed(**tables: object) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        text = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps({**text, **tables}), encoding="utf-8")

    return write


EVEN = [[0.5, 0.0], [0.5, 0.0]]
FULL = json.loads((V2 / RECORD).read_text(encoding="utf-8"))
STAGE = FULL["stage"]
BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "unknown table": (changed(camara={}), "camara = {}: unknown key; did you mean camera?"),
    "unknown key": (
        changed(objectives={"10x": {"affine_um_per_px": EVEN, "parcentric": [0, 0]}}),
        "objectives.10x.parcentric = [0, 0]: unknown key; did you mean parcentric_um?",
    ),
    "missing": (changed(objectives={"10x": {}}), "record.schema.json shows every key"),
    "of a later version": (
        changed(schema_version="scope-sr/calibration/3"),
        "must be 'scope-sr/calibration/1' or 'scope-sr/calibration/2'",
    ),
    "no area": (changed(objectives={"10x": {"affine_um_per_px": EVEN}}), "has no area"),
    "not a number": (changed(blank_um=["a", 0.0]), "blank_um.0 = 'a': must be a valid number"),
    "not finite": (changed(blank_um=[float("nan"), 0.0]), "blank_um.0 = nan: must be a finite"),
    "a stage that does not move": (
        changed(stage={**STAGE, "times": {**STAGE["times"], "speed_um_per_s": 0.0}}),
        "stage.times.speed_um_per_s = 0.0: must be greater than 0",
    ),
    "cut short": (lambda path: path.write_text("{"), "Invalid JSON"),
    "a list": (lambda path: path.write_text("[]"), "must be an object"),
    "not text": (lambda path: path.write_bytes(b"\xff\xfe\x00"), "cannot be read ('utf-8'"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "cannot be read ("),
    "gone": (Path.unlink, "no calibration record there; correct or remove calibration"),
}


@pytest.mark.parametrize(("spoil", "said"), BROKEN.values(), ids=list(BROKEN))
def test_a_record_that_cannot_be_used_is_one_line(
    spoil: Callable[[Path], object], said: str, tmp_path: Path
) -> None:
    shutil.copytree(V2, tmp_path / "home")
    spoil(tmp_path / "home" / RECORD)
    with pytest.raises(InputError) as caught:
        CalibrationRecord.load(tmp_path / "home")
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'home' / RECORD}: ")
    assert said in message
    assert "\n" not in message
    assert message.endswith(("calibrate again", "in the rig"))


def cut_to(size: int) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(path.read_bytes()[:size])


@pytest.mark.parametrize(
    "spoil",
    [Path.unlink, *(cut_to(size) for size in (0, 4, 8, 100, 280, 420))],
    ids=["gone", "empty", "its head", "no pages", "half a page", "no pixels", "half the pixels"],
)
def test_a_flat_field_that_cannot_be_read_is_one_line(
    spoil: Callable[[Path], object], tmp_path: Path
) -> None:
    shutil.copytree(V2, tmp_path / "home")
    spoil(tmp_path / "home" / "flat-20x.tif")
    record = CalibrationRecord.load(tmp_path / "home")
    with pytest.raises(InputError, match=r"flat-20x\.tif: cannot be read .*; calibrate again$"):
        record.field("20x", "flat")
    assert record.field("10x", "flat") is not None


# ---- which record belongs to a rig -------------------------------------------------------------


def test_without_a_record_the_rig_is_believed(tmp_path: Path) -> None:
    rig = make_rig(tmp_path)
    assert CalibrationRecord.of_rig(rig) == CalibrationRecord.nominal(rig)
    assert CalibrationRecord.home_of(rig) == tmp_path / "calibration" / "simulated"
    nominal = CalibrationRecord.nominal(rig)
    assert not nominal.measured
    assert nominal.objectives["20x"].affine.tolist() == [[0.25, 0], [0, -0.25]]
    assert nominal.objectives["20x"].parcentric_um == (-38, 21)


@pytest.mark.parametrize("named", [False, True])
def test_the_newest_dated_record_counts(named: bool, tmp_path: Path) -> None:
    home = tmp_path / ("measured" if named else "calibration/simulated")
    changes = {'high = "20x"': 'high = "20x"\ncalibration = "measured"'} if named else {}
    rig = make_rig(tmp_path, **changes)
    record = CalibrationRecord.load(V1)
    for day in ("2026-11-02T080000Z", "2026-10-30T220000Z", "2026-11-02T075959Z"):
        record.model_copy(update={"made_at": day}).save(home / day)
    # one that broke off is none yet
    record.save(home / "2026-12-01T080000Z", PARTIAL)
    found = CalibrationRecord.of_rig(rig)
    assert found.made_at == "2026-11-02T080000Z"
    assert found.folder == home / "2026-11-02T080000Z"
    assert found.measured


def test_a_rig_may_name_the_folder_of_one_record(tmp_path: Path) -> None:
    rig = make_rig(tmp_path, **{'high = "20x"': 'high = "20x"\ncalibration = "mine"'})
    shutil.copytree(V2, tmp_path / "mine")
    assert CalibrationRecord.of_rig(rig).folder == tmp_path / "mine"


def test_a_rig_that_names_no_record_is_wrong(tmp_path: Path) -> None:
    rig = make_rig(tmp_path, **{'high = "20x"': 'high = "20x"\ncalibration = "gone"'})
    with pytest.raises(InputError, match=r"gone.*: no calibration record there; correct or remove"):
        CalibrationRecord.of_rig(rig)


def test_a_record_of_other_objectives_serves_those(tmp_path: Path) -> None:
    home = tmp_path / "calibration" / "simulated"
    record = CalibrationRecord.load(V1)
    only = {"10x": record.objectives["10x"]}
    record.model_copy(update={"objectives": only}).save(home / "2026")
    rig = make_rig(tmp_path)
    found = CalibrationRecord.of_rig(rig)
    with pytest.raises(InputError, match=r"calibrate it first: scope-sr calibrate .*10x,20x"):
        check_objectives(rig, found, "10x", "20x")


def test_the_tenth_record_of_a_day_is_newer_than_the_ninth(tmp_path: Path) -> None:
    for name in ("2026-11-23", "2026-11-23-9", "2026-11-23-10"):
        CalibrationRecord.load(V1).save(tmp_path / "calibration" / "simulated" / name)
    found = CalibrationRecord.of_rig(make_rig(tmp_path)).folder
    assert found is not None
    assert found.name == "2026-11-23-10"


# ---- fingerprint and times ---------------------------------------------------------------------


def test_a_fingerprint_tells_what_was_changed() -> None:
    first = Fingerprint.of(make_rig(), "camera 7, binning 1")
    assert first.size_px == (64, 48)
    assert first.difference(first, ("10x", "20x")) == ""
    binned = first.difference(Fingerprint.of(make_rig(), "camera 7, binning 2"), ("10x",))
    assert binned == (
        "the camera was camera 7, binning 1 at calibration and is camera 7, binning 2 now"
    )
    narrow = make_rig(**{"width_px = 64": "width_px = 32"})
    said = first.difference(Fingerprint.of(narrow, first.camera), ())
    assert said == "its image in pixels was (64, 48) at calibration and is (32, 48) now"
    for word, change in {"bits": {"bits": 12}, "colour": {"color": False}}.items():
        assert f"its {word} was" in first.difference(first.model_copy(update=change), ())
    moved = Fingerprint.of(make_rig(**{"slot = 3": "slot = 4"}), first.camera)
    assert first.difference(moved, ("10x",)) == ""
    assert first.difference(moved, ("10x", "20x")) == (
        "objective 20x was slot 3, 20x/0.75 at calibration and is slot 4, 20x/0.75 now"
    )
    without = first.model_copy(update={"slots": {"10x": first.slots["10x"]}})
    assert "20x was None" in without.difference(first, ("20x",))


times = st.builds(
    Times,
    settle_s=st.floats(0, 1),
    speed_um_per_s=st.floats(10, 1e5),
    acceleration_um_per_s2=st.floats(100, 1e6),
    z_settle_s=st.floats(0, 1),
    z_speed_um_per_s=st.floats(10, 1e5),
    snap_s=st.floats(0, 1),
)
way = st.floats(0, 1e5)


@given(times, way, way, way, way)
def test_a_longer_way_takes_no_less(
    clock: Times, across_um: float, z_um: float, more_um: float, more_z_um: float
) -> None:
    short = clock.leg_s(across_um, z_um)
    assert clock.leg_s(across_um + more_um, z_um + more_z_um) >= short * (1 - 1e-12)
    assert clock.leg_s(-across_um, -z_um) == short
    assert short == max(clock.leg_s(across_um, 0), clock.leg_s(0, z_um))
    assert short >= across_um / clock.speed_um_per_s
    assert clock.leg_s(0, 0) == 0


@given(times)
def test_times_are_continuous_where_the_ramp_ends(clock: Times) -> None:
    ramp_um = clock.speed_um_per_s**2 / clock.acceleration_um_per_s2
    below, above = (clock.leg_s(ramp_um * (1 + e), 0) for e in (-1e-9, 1e-9))
    assert below == pytest.approx(above, rel=1e-6)
    assert above == pytest.approx(
        clock.settle_s + 2 * clock.speed_um_per_s / clock.acceleration_um_per_s2, rel=1e-6
    )
    # an even acceleration: a quarter of the way takes half the time
    quarter = clock.leg_s(ramp_um / 8, 0) - clock.settle_s
    assert 2 * quarter == pytest.approx(clock.leg_s(ramp_um / 2, 0) - clock.settle_s, abs=1e-9)


# ---- the schema for other programs -------------------------------------------------------------


def test_the_json_schema_is_current() -> None:
    stored = json.loads(schema.PATH.read_text(encoding="utf-8"))
    assert stored == json.loads(schema.text()), "renew it: python -m scope_sr.calibration.schema"


def test_the_json_schema_names_every_key_a_record_has() -> None:
    stored = json.loads(schema.PATH.read_text(encoding="utf-8"))
    assert set(stored["properties"]) == set(CalibrationRecord.model_fields) - {"folder"}
    assert set(FULL) <= set(stored["properties"])
    assert stored["additionalProperties"] is False
    assert stored["required"] == ["rig", "objectives"]
