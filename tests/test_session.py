"""A session on disk: what goes in comes out, and nothing that is not its own is touched."""

from __future__ import annotations

import errno
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import ome_types
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from sessions import fill, filled, frame_of, picture, small_plan, small_rig, tree

from scope_sr import disk
from scope_sr.calibration import CalibrationRecord
from scope_sr.config import Rig
from scope_sr.errors import InputError, SessionError
from scope_sr.frame import Position
from scope_sr.plan import Plan, Step
from scope_sr.session import Session, estimate_bytes, planfile
from scope_sr.session.companion import listed_files

OLD_SESSIONS = sorted((Path(__file__).parent / "data").glob("session-*"))
CAMERAS = {
    "uint8 rgb": {},
    "uint16 rgb": {"bits = 8 ": "bits = 12 "},
    "uint8 mono": {"color = true ": "color = false "},
    "uint16 mono": {"bits = 8 ": "bits = 16 ", "color = true ": "color = false "},
    "not a multiple of 16": {
        "width_px = 1024": "width_px = 57",
        "height_px = 1024": "height_px = 33",
    },
    "more than one tile": {
        "width_px = 1024": "width_px = 530",
        "height_px = 1024": "height_px = 40",
    },
}


@pytest.mark.parametrize("camera", CAMERAS.values(), ids=CAMERAS)
def test_pixels_come_back_as_they_went_in(tmp_path: Path, camera: dict[str, str]) -> None:
    rig = small_rig(**camera)
    folder = filled(tmp_path / "A", rig)
    session = Session.open(folder)
    for step in session.plan.steps:
        written, back = picture(step, rig), session.read(step.name)
        assert back.dtype == written.dtype
        np.testing.assert_array_equal(back, written)
        np.testing.assert_array_equal(tifffile.imread(folder / f"{step.name}.ome.tif"), written)
    assert session.remaining() == ()
    assert session.verify().problems == ()


@pytest.mark.parametrize(
    "camera", [CAMERAS["uint8 rgb"], CAMERAS["uint16 mono"]], ids=["rgb", "mono"]
)
def test_ome_types_reads_the_circumstances(tmp_path: Path, camera: dict[str, str]) -> None:
    rig = small_rig(**camera)
    session = Session.open(filled(tmp_path / "A", rig))
    step = session.plan.steps[1]
    ome = ome_types.from_tiff(session.folder / "high" / "r00c00-r00c00.ome.tif")
    image, lens = ome.images[0], ome.instruments[0].objectives[0]
    plane = image.pixels.planes[0]
    assert (image.name, image.stage_label.name) == (step.name, step.name)
    assert (lens.model, lens.nominal_magnification, lens.lens_na) == ("20x", 20.0, 0.75)
    assert ome.instruments[0].microscope.model == "simulated"
    assert image.pixels.physical_size_x == image.pixels.physical_size_y == 0.25
    assert image.pixels.significant_bits == rig.camera.bits
    assert (image.pixels.size_c, len(image.pixels.channels)) == (3 if rig.camera.color else 1, 1)
    where = frame_of(step, rig).position
    assert (plane.position_x, plane.position_y, plane.position_z) == (
        where.x_um,
        where.y_um,
        where.z_um,
    )
    assert (plane.exposure_time, plane.exposure_time_unit.value) == (12.0, "ms")
    assert plane.delta_t == pytest.approx(1.8e9 - session.header.created_s)
    assert image.acquisition_date.timestamp() == 1.8e9
    notes = {m.k: m.value for m in ome.structured_annotations.map_annotations[0].value.ms}
    assert notes["parent"] == "low/r00c00"
    assert notes["slot"] == "3"
    assert float(notes["commanded_x_um"]) == step.position.x_um
    assert (notes["session"], notes["rig_digest"]) == (session.header.id, rig.digest)


def test_ome_xml_and_companions_obey_the_schema(tmp_path: Path) -> None:
    pytest.importorskip("xmlschema")
    session = Session.open(filled(tmp_path / "A", columns=2))
    uuids = {}
    for step in session.plan.steps:
        file = f"{step.name}.ome.tif"
        with tifffile.TiffFile(session.folder / file) as tiff:
            xml = tiff.ome_metadata
        ome_types.validate_xml(xml)
        uuids[file] = ome_types.from_xml(xml).uuid
    for pass_ in ("low", "high"):
        data = (session.folder / f"{pass_}.companion.ome").read_bytes()
        ome_types.validate_xml(data.decode().split("?>")[1])
        names = [image.name for image in ome_types.from_xml(data.decode()).images]
        assert names == [step.name for step in session.plan.of_pass(pass_)]
        wanted = {file: uuid for file, uuid in uuids.items() if file.startswith(pass_)}
        assert listed_files(data) == wanted


def test_a_session_carries_its_rig_plan_and_record(tmp_path: Path) -> None:
    rig = small_rig()
    plan = small_plan(rig)
    nominal = CalibrationRecord.nominal(rig)
    measured = nominal.model_copy(update={"measured": True, "made_at": "2026-11-01"})
    for name, record in (("A", nominal), ("B", measured)):
        with Session.create(tmp_path / name, plan, rig, record):
            pass
        session = Session.open(tmp_path / name)
        assert session.plan == plan
        assert (session.rig, session.rig.folder) == (rig, rig.folder)
        assert (tmp_path / name / "rig.toml").read_bytes() == rig.text.encode()
        assert session.record.digest == record.digest
        assert session.verify().ok
    assert not (tmp_path / "A" / "calibration").exists()


def test_entries_skips_faults_and_resume(tmp_path: Path) -> None:
    rig = small_rig()
    plan = small_plan(rig, rows=2, columns=2)
    with Session.create(tmp_path / "A", plan, rig) as session:
        assert session.remaining() == plan.steps
        entry = session.write(plan.steps[0], frame_of(plan.steps[0], rig), ("too dark",))
        session.skip(plan.steps[4], "glass")
    with Session.resume(tmp_path / "A", plan=plan, rig=rig) as session:
        assert session.entries[entry.step] == entry
        assert (entry.file, entry.faults) == ("low/r00c00.ome.tif", ("too dark",))
        assert session.entries[plan.steps[4].name].reason == "glass"
        assert fill(session) == [step.name for i, step in enumerate(plan.steps) if i != 4]
        with pytest.raises(SessionError, match="was not captured"):
            session.read(plan.steps[4].name)
    session.close()
    with pytest.raises(SessionError, match="is open for reading only; resume it to write"):
        session.skip(plan.steps[0], "closed")


def test_a_frame_of_another_objective_is_refused(tmp_path: Path) -> None:
    rig = small_rig()
    plan = small_plan(rig)
    with Session.create(tmp_path / "A", plan, rig) as session:
        message = "low/r00c00 asks for 10x, the frame was taken with 20x; nothing was written"
        with pytest.raises(SessionError, match=message):
            session.write(plan.steps[0], frame_of(plan.steps[1], rig))


def test_a_driver_may_speak_numpy(tmp_path: Path) -> None:
    rig = small_rig()
    plan = small_plan(rig)
    frame = frame_of(plan.steps[0], rig)
    where = Position(np.float64(1.5), np.float32(2.5), np.float64(3.5))
    frame = replace(frame, position=where, exposure_ms=np.float64(10.0))
    with Session.create(tmp_path / "A", plan, rig) as session:
        session.write(plan.steps[0], frame)
    session = Session.open(tmp_path / "A")
    assert session.entries["low/r00c00"].position == Position(1.5, 2.5, 3.5)
    assert session.verify().problems == ()
    ome = ome_types.from_tiff(tmp_path / "A" / "low" / "r00c00.ome.tif")
    assert ome.images[0].stage_label.y == 2.5


def test_a_rig_that_is_not_its_text_is_our_bug(tmp_path: Path) -> None:
    rig = small_rig()
    changed = rig.model_copy(update={"low": "5x"})
    with pytest.raises(ValueError, match=r"rig\.text does not say"):
        Session.create(tmp_path / "A", small_plan(rig), changed)


def test_create_leaves_what_is_not_its_own(tmp_path: Path) -> None:
    rig = small_rig()
    plan = small_plan(rig, columns=2)
    with Session.create(tmp_path / "A", plan, rig) as session:
        session.write(plan.steps[0], frame_of(plan.steps[0], rig))
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "rig.toml").write_text("mine")
    (tmp_path / "file").write_text("a file")
    messages = {
        "A": "A holds a session already (1 of 4 fields); continue it with --resume or choose",
        "foreign": "foreign is not empty and holds no session; choose another --out",
        "file": "file is a file, or lies in one; choose another --out",
        "file/in": "in is a file, or lies in one; choose another --out",
    }
    before = tree(tmp_path)
    for name, message in messages.items():
        with pytest.raises(InputError) as caught:
            Session.create(tmp_path / name, plan, rig)
        assert message in str(caught.value)
    assert tree(tmp_path) == before


def test_create_wants_room_for_the_whole_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = small_rig()
    plan = small_plan(rig, columns=2)
    needed = estimate_bytes(plan, rig)
    assert needed == int(4 * (32 * 32 * 3 * 0.65 + 4000))
    assert Session.estimate_bytes(plan, rig, ratio=1.0) > needed
    usage = shutil.disk_usage(tmp_path)._replace(free=needed // 2)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(SessionError, match=r"4 fields need about 24\.0 kB, only 12\.0 kB are free"):
        Session.create(tmp_path / "A" / "B", plan, rig)
    assert not (tmp_path / "A").exists()


@pytest.mark.parametrize(
    ("code", "cure"), [(errno.EROFS, "writable"), (errno.EACCES, "writable"), (errno.EIO, "see to")]
)
def test_a_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, cure: str
) -> None:
    rig = small_rig()
    plan = small_plan(rig)

    def refuse(*_: object) -> None:
        raise OSError(code, "the system's words")

    with Session.create(tmp_path / "A", plan, rig) as session:
        with monkeypatch.context() as patch:
            patch.setattr(disk, "_open", refuse)
            with pytest.raises(SessionError) as caught:
                session.write(plan.steps[0], frame_of(plan.steps[0], rig))
        assert str(caught.value).startswith(f"{tmp_path / 'A' / 'low' / 'r00c00.ome.tif'}: the sys")
        assert "; 0 of 2 fields are safe; " in str(caught.value)
        assert cure in str(caught.value)
        assert str(caught.value).endswith(f"--resume --out {tmp_path / 'A'}")
    monkeypatch.setattr(disk, "_make_folder", refuse)
    with pytest.raises(SessionError, match=r"B: the system's words; .* choose another --out"):
        Session.create(tmp_path / "B", plan, rig)
    assert not (tmp_path / "B").exists()


def test_only_one_writes(tmp_path: Path) -> None:
    rig = small_rig()
    with Session.create(tmp_path / "A", small_plan(rig), rig):
        with pytest.raises(SessionError, match="A is being written by another scope-sr; wait"):
            Session.resume(tmp_path / "A")
        assert len(Session.open(tmp_path / "A").remaining()) == 2
    Session.resume(tmp_path / "A").close()


def test_resume_refuses_another_plan_or_rig(tmp_path: Path) -> None:
    rig = small_rig()
    plan = small_plan(rig)
    folder = filled(tmp_path / "A", rig)
    before = tree(folder)
    longer = replace(plan.steps[0], exposure_ms=99.0)
    others: dict[str, dict[str, Plan | Rig]] = {
        "grid 1x1 here, 2x3 asked": {"plan": small_plan(rig, 2, 3)},
        "coverage center here, full asked": {"plan": small_plan(rig, coverage="full")},
        "exposure_ms of low/r00c00 10.0 here, 99.0 asked": {
            "plan": replace(plan, steps=(longer, *plan.steps[1:]))
        },
        "camera.bits 8 here, 12 asked": {"rig": small_rig(**CAMERAS["uint16 rgb"])},
    }
    for difference, asked in others.items():
        with pytest.raises(InputError) as caught:
            Session.resume(folder, **asked)
        assert f"holds another capture: {difference}; leave" in str(caught.value)
    assert tree(folder) == before


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("session.json", "session/1", "session/9", "written by a newer scope-sr (session schema 9"),
        ("session.json", "{", "", "session.json: damaged or not a session's"),
        ("session.json", '"created"', '"made"', "session.json: damaged (created: "),
        ("plan.json", '"rows": 1', '"rows": "1"', "plan.json: damaged (rows: "),
        (
            "plan.json",
            '"low/r00c00"',
            '"../../r00c00"',
            "plan.json: cannot be read ('../../r00c00'",
        ),
        ("rig.toml", "[camera]", "[camera", "rig.toml: not valid TOML"),
        ("journal.jsonl", '"event"', "event", "journal.jsonl: cannot be read (line 1 is damaged"),
        ("journal.jsonl", '"bytes": ', '"bytes": -x', "line 2 is damaged; delete that line"),
    ],
)
def test_damage_is_told_in_one_line(
    tmp_path: Path, file: str, old: str, new: str, message: str
) -> None:
    folder = filled(tmp_path / "A")
    path = folder / file
    path.write_bytes(path.read_bytes().replace(old.encode(), new.encode(), 1))
    for act in (Session.open, Session.resume):
        with pytest.raises(InputError) as caught:
            act(folder)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_no_session_there(tmp_path: Path) -> None:
    for act in (Session.open, Session.resume):
        with pytest.raises(InputError, match="no session there"):
            act(tmp_path)
    assert tree(tmp_path) == {}


def test_a_changed_plan_is_not_resumed(tmp_path: Path) -> None:
    folder = filled(tmp_path / "A")
    path = folder / "plan.json"
    path.write_text(path.read_text().replace('"exposure_ms": 10.0', '"exposure_ms": 11.0'))
    with pytest.raises(InputError, match="changed since the session began"):
        Session.resume(folder)


@pytest.mark.parametrize("old", OLD_SESSIONS, ids=lambda path: path.name)
def test_old_versions_keep_loading(tmp_path: Path, old: Path) -> None:
    folder = tmp_path / "A"
    shutil.copytree(old, folder)
    session = Session.open(folder)
    assert session.verify().problems == ()
    for step in session.plan.steps:
        np.testing.assert_array_equal(session.read(step.name), picture(step, session.rig))
    with Session.resume(folder) as session:
        assert session.remaining() == ()
    assert session.verify().problems == ()


def test_there_is_a_session_of_every_schema() -> None:
    assert [path.name for path in OLD_SESSIONS] == ["session-1"]


def test_resuming_a_thousand_fields_reads_no_pixels(tmp_path: Path) -> None:
    rig = small_rig()
    plan = small_plan(rig, rows=20, columns=25)
    with Session.create(tmp_path / "A", plan, rig):
        pass
    lines = []
    for step in plan.steps:
        file = tmp_path / "A" / f"{step.name}.ome.tif"
        file.touch()
        line = {"step": step.name, "event": "captured", "time": 0.0, "file": f"{step.name}.ome.tif"}
        lines.append(json.dumps({**line, "sha256": "0" * 64, "shape": [32, 32, 3]}))
    (tmp_path / "A" / "journal.jsonl").write_text("\n".join(lines) + "\n")
    began_s = time.perf_counter()
    session = Session.resume(tmp_path / "A")
    assert session.remaining() == ()
    assert time.perf_counter() - began_s < 2.0
    session._lock.release()


finite = st.floats(allow_nan=False, allow_infinity=False)
positions = st.builds(Position, finite, finite, finite)
steps = st.builds(
    Step,
    name=st.from_regex(planfile.STEP_NAME, fullmatch=True),
    pass_=st.sampled_from(["low", "high"]),
    objective=st.text(),
    row=st.integers(),
    column=st.integers(),
    position=positions,
    exposure_ms=finite,
    parent=st.text(),
)
plans = st.builds(
    Plan,
    rig=st.text(),
    low=st.text(),
    high=st.text(),
    rows=st.integers(),
    columns=st.integers(),
    overlap=finite,
    coverage=st.sampled_from(["inscribed", "full", "center"]),
    order=st.sampled_from(["serpentine", "raster"]),
    tissue_only=st.booleans(),
    origin=positions,
    pixel_size_um=st.dictionaries(st.text(), finite),
    steps=st.lists(steps, unique_by=lambda step: step.name, max_size=5).map(tuple),
)


@settings(max_examples=60, deadline=None)
@given(plan=plans)
def test_a_plan_comes_back_exactly(plan: Plan) -> None:
    assert planfile.from_json(planfile.to_json(plan)) == plan
    assert planfile.plan_difference(plan, plan) == ""
