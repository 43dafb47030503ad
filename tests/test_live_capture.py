"""Snapshots and recordings: all that was there, in files others open; every failure on purpose."""

from __future__ import annotations

import errno
import json
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import ome_types
import pytest
import tifffile
from PIL import Image
from rigs import make_rig

from scope_sr import disk
from scope_sr.errors import InputError
from scope_sr.frame import Frame, Position
from scope_sr.live.board import Board, Note
from scope_sr.live.keeping import recording, sidebyside, snapshot, stack, writer
from scope_sr.live.keeping.provenance import Circumstances, Network
from scope_sr.live.keeping.recording import Footage, Recording, is_recording
from scope_sr.live.keeping.snapshot import Moment
from scope_sr.live.keeping.writer import Writer
from scope_sr.live.seen import Seen
from scope_sr.live.source.replay import stand_of
from scope_sr.modelfile import read_card
from scope_sr.pictures.tiff import TiffPixels
from scope_sr.software import NOTICE

AT_S = 1.8e9
CIRCUMSTANCES = Circumstances(
    source="simulated",
    rig=make_rig(),
    gains=(1.0, 1.02, 1.06),
    camera_gain=2.0,
    model=Network("compact-x2", "abc123", "OpenVINO, CPU", read_card("compact-x2")),
    nuclei=Network("nuclei", "def456", "OpenVINO, CPU"),
    notes=("0.5 µm per pixel is outside the model's range",),
)


def pixels(number: int = 0, shape: tuple[int, ...] = (48, 64, 3), dtype: type = np.uint8):
    most = np.iinfo(dtype).max
    return np.random.default_rng(number).integers(1, most, shape, endpoint=True).astype(dtype)


def seen(number: int = 1, objective: str = "10x", um: float | None = 0.5, **how) -> Seen:
    image = pixels(number, **how)
    where = Position(10.5 * number, -2.25, 3.0)
    frame = Frame(image, where, objective, 10.0, AT_S + number / 30, number)
    rgb = image if image.dtype == np.uint8 and image.ndim == 3 else pixels(number)
    return Seen(frame, rgb, um, 100.0 + number / 30, 7, 99.0)


def moment(**changes: object) -> Moment:
    labels = np.zeros((96, 128), np.int32)
    labels[10:20, 10:20], labels[50:60, 70:90] = 1, 2
    enhanced = pixels(5, (96, 128, 3))
    enhanced[:, 64:] = 0
    what: dict = {
        "seen": seen(),
        "circumstances": CIRCUMSTANCES,
        "enhanced": enhanced,
        "labels": labels,
        "covered": 0.5,
        "areas_um2": np.array([30.0, 50.0]),
        "counted_um2": 32 * 24 * 0.25,
        "apart": np.full((48, 64), 2.0, np.float32),
        "taken_s": AT_S,
    }
    return Moment(**{**what, **changes})


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def until(holds: Callable[[], object]) -> None:
    """Wait for what another thread does."""
    for _ in range(1000):
        if holds():
            return
        time.sleep(0.005)
    raise AssertionError(holds)


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sidebyside, "PANEL_PX", 64)  # to look at; a large one takes its time
    monkeypatch.setattr(writer, "END_S", 5.0)  # the computer may be busy with other tests


@pytest.fixture
def board() -> Board:
    return Board()


@pytest.fixture
def writing(tmp_path: Path, board: Board) -> Iterator[Writer]:
    before = threading.active_count()
    found = Writer(tmp_path / "saved", board)
    yield found
    found.close()
    assert threading.active_count() == before


def pages(path: Path) -> int:
    """Follow the links from page to page to the end; each must lie in the file as a whole."""
    data = path.read_bytes()
    (at,) = struct.unpack_from("<Q", data, 8)
    count = 0
    while at:
        (tags,) = struct.unpack_from("<Q", data, at)
        assert 10 <= tags <= 20
        (at,) = struct.unpack_from("<Q", data, at + 8 + 20 * tags)
        count += 1
    return count


def said(board: Board, topic: str) -> Note | None:
    return next((note for note in board.notes() if note.topic == topic), None)


def words(board: Board, topic: str = "recording") -> str:
    note = said(board, topic)
    return note.words if note else ""


# snapshots


def test_a_snapshot_holds_all_there_was(tmp_path: Path) -> None:
    was = moment()
    png = snapshot.write(tmp_path / "new" / "folder", was)
    folder, name = png.parent, png.stem
    assert sorted(path.name for path in folder.iterdir()) == [
        f"{name}.{end}"
        for end in ("camera.ome.tif", "enhanced.ome.tif", "json", "nuclei.ome.tif",
                    "original.ome.tif", "png")
    ]  # fmt: skip
    for kind, truth in (
        ("camera", was.seen.frame.image),
        ("original", was.seen.rgb),
        ("enhanced", was.enhanced),
        ("nuclei", was.labels),
    ):
        np.testing.assert_array_equal(tifffile.imread(folder / f"{name}.{kind}.ome.tif"), truth)


@pytest.mark.parametrize(
    ("um", "dtype", "shape"),
    [(0.5, np.uint8, (48, 64, 3)), (None, np.uint8, (48, 64, 3)), (0.5, np.uint16, (48, 64))],
)
def test_its_pictures_obey_the_schema_and_know_their_scale(
    tmp_path: Path, um: float | None, dtype: type, shape: tuple[int, ...]
) -> None:
    pytest.importorskip("xmlschema")
    png = snapshot.write(tmp_path, moment(seen=seen(um=um, dtype=dtype, shape=shape)))
    for kind, scale in (("camera", 1), ("original", 1), ("enhanced", 2), ("nuclei", 2)):
        path = tmp_path / f"{png.stem}.{kind}.ome.tif"
        with tifffile.TiffFile(path) as tiff:
            assert tiff.is_ome
            ome_types.validate_xml(tiff.ome_metadata)
            (series,) = tiff.series
        image = ome_types.from_tiff(path).images[0]
        assert (image.pixels.size_y, image.pixels.size_x) == series.shape[:2]
        expected = None if um is None else um / scale
        assert image.pixels.physical_size_x == image.pixels.physical_size_y == expected
        if um is not None:
            assert TiffPixels(path).stated_um == (expected, expected)


def test_its_provenance_is_whole_in_json_and_ome_xml(tmp_path: Path) -> None:
    png = snapshot.write(tmp_path, moment())
    facts = json.loads(png.with_suffix(".json").read_text(encoding="utf-8"))
    frame = facts["frame"]
    assert facts["notice"] == NOTICE
    assert facts["software"].startswith("scope-sr")
    assert frame["stage_um"] == {"x": 10.5, "y": -2.25, "z": 3.0}
    assert frame["objective"] == {"name": "10x", "magnification": 10.0, "numerical_aperture": 0.3}
    assert (frame["time"], frame["exposure_ms"]) == ("2027-01-15T08:00:00.033Z", 10.0)
    assert (facts["camera_gain"], facts["white_balance"]["blue"]) == (2.0, 1.06)
    model = facts["model"]
    assert (model["name"], model["sha256"], model["card"]["scale"]) == ("compact-x2", "abc123", 2)
    assert facts["enhanced"]["covered_share"] == 0.5
    assert facts["enhanced"]["within_px"] == {"top": 0, "left": 0, "rows": 96, "columns": 64}
    assert facts["nuclei"] == {
        "count": 2,
        "counted_mm2": 0.000192,
        "per_mm2": 10416.7,
        "mean_area_um2": 40.0,
    }
    assert facts["disagreement"]["mean_dn"] == 2.0
    for kind, entry in facts["files"].items():
        assert (tmp_path / entry["file"]).name == f"{png.stem}.{kind}.ome.tif"
    ome = ome_types.from_tiff(tmp_path / facts["files"]["enhanced"]["file"])
    image, plane = ome.images[0], ome.images[0].pixels.planes[0]
    assert NOTICE in image.description
    assert "50 % of the field; the rest is black" in image.description
    assert (plane.position_x, plane.exposure_time) == (10.5, 10.0)
    assert image.acquisition_date.timestamp() == pytest.approx(AT_S + 1 / 30, abs=1e-6)
    assert ome.instruments[0].objectives[0].lens_na == 0.3
    notes = {m.k: m.value for m in ome.structured_annotations.map_annotations[0].value.ms}
    assert notes["notice"] == NOTICE
    assert notes["model.sha256"] == "abc123"
    assert notes["model.runtime"] == "OpenVINO, CPU"


def test_without_enhancement_it_is_the_original_alone(tmp_path: Path) -> None:
    png = snapshot.write(tmp_path, Moment(seen(), Circumstances("folder")))
    names = {path.name.split(".", 1)[1] for path in tmp_path.iterdir()}
    assert names == {"camera.ome.tif", "original.ome.tif", "json", "png"}
    facts = json.loads(png.with_suffix(".json").read_text(encoding="utf-8"))
    assert facts["enhanced"] is facts["nuclei"] is facts["model"] is facts["disagreement"] is None


def test_the_picture_to_look_at_shows_both_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sidebyside, "PANEL_PX", 512)
    red = np.full((48, 64, 3), (200, 40, 40), np.uint8)
    was = Seen(Frame(red, Position(0, 0, 0), "10x", 10.0, AT_S, 1), red, 0.5, 0.0, 1, 0.0)
    green = np.full((96, 128, 3), (40, 200, 40), np.uint8)
    green[:, :64] = 0  # not enhanced yet
    labels = np.zeros((96, 128), np.int32)
    labels[20:40, 80:100] = 1
    png = snapshot.write(tmp_path, Moment(was, CIRCUMSTANCES, green, labels, covered=0.5))
    with Image.open(png) as drawn:
        image = np.asarray(drawn)
    original, enhanced, nuclei = (image[:, at : at + 512] for at in (12, 532, 1052))
    assert original[200, 256].tolist() == [200, 40, 40]
    assert enhanced[200, 128].tolist() == nuclei[200, 128].tolist() == [0, 0, 0]
    assert enhanced[200, 384].tolist() == nuclei[300, 384].tolist() == [40, 200, 40]
    assert (nuclei == sidebyside.NUCLEUS_RGB).all(axis=2).sum() == 4 * 80 - 1
    # a fifth of the 32 µm that the field is wide, as people say it: 5 µm, 16 px each
    bar = (original[300:] == 0).all(axis=2).sum(axis=1).max()
    assert bar == 80


def test_no_snapshot_replaces_another(tmp_path: Path) -> None:
    names = [snapshot.write(tmp_path, moment()).stem for _ in range(3)]
    begin = time.strftime("snapshot-%Y-%m-%d-%H-%M-%S", time.localtime(AT_S))
    assert names == [begin, f"{begin}-2", f"{begin}-3"]


def test_many_nuclei_keep_their_numbers(tmp_path: Path) -> None:
    labels = np.arange(96 * 128, dtype=np.int32).reshape(96, 128) * 10
    png = snapshot.write(tmp_path, moment(labels=labels))
    stored = tifffile.imread(tmp_path / f"{png.stem}.nuclei.ome.tif")
    assert stored.dtype == np.float32  # beyond 65535; QuPath and Fiji show no 32-bit whole numbers
    np.testing.assert_array_equal(stored, labels)


@pytest.mark.parametrize("call", range(12))
def test_a_snapshot_is_whole_or_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """Six files are flushed and six renamed; one of the twelve fails."""
    calls = iter(range(100))

    def failing(real: Callable[..., None]) -> Callable[..., None]:
        def one(*arguments: object) -> None:
            if next(calls) == call:
                full_disk()
            real(*arguments)

        return one

    for name in ("_sync", "_replace"):
        monkeypatch.setattr(disk, name, failing(getattr(disk, name)))
    with pytest.raises(OSError, match="No space left"):
        snapshot.write(tmp_path, moment())
    assert list(tmp_path.iterdir()) == []


def test_the_writer_saves_and_says_so(writing: Writer, board: Board) -> None:
    told: list[Path] = []
    writing.snapshot(moment(), told.append)
    until(lambda: told)
    assert told[0].exists()
    assert told[0].stem in words(board, "snapshot")
    assert not board.errors


def test_whoever_asked_for_a_snapshot_may_fail(writing: Writer, board: Board) -> None:
    told: list[Path] = []
    writing.snapshot(moment(), lambda path: 1 / 0)
    writing.snapshot(moment(), told.append)
    until(lambda: told)
    assert not board.errors


def test_a_full_disk_is_said_and_the_writer_goes_on(
    writing: Writer, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(disk, "_sync", full_disk)
        writing.snapshot(moment())
        until(lambda: board.errors)
    assert "disk full" in words(board, "snapshot")
    told: list[Path] = []
    writing.snapshot(moment(), told.append)
    until(lambda: told)


def test_a_folder_that_cannot_be_is_said(tmp_path: Path, board: Board) -> None:
    (tmp_path / "file").write_text("in the way")
    writing = Writer(tmp_path / "file" / "saved", board)
    writing.snapshot(moment())
    writing.begin_recording(CIRCUMSTANCES)
    until(lambda: len(board.errors) == 2)
    writing.close()
    assert "not saved" in words(board, "snapshot")
    assert "not begun" in words(board)
    assert str(tmp_path / "file") in words(board)


def test_a_burst_of_snapshots_is_bounded(
    writing: Writer, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    monkeypatch.setattr(writer, "write", lambda *_: go.wait(5) and Path("a.png"))
    for _ in range(10):
        writing.snapshot(moment())
    assert "still being written" in words(board, "snapshot")
    go.set()


def test_frames_do_not_wait_for_a_snapshot(
    writing: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, handed = threading.Event(), threading.Event()
    real = snapshot._save

    def slow(*arguments: object) -> None:
        real(*arguments)
        begun.set()
        handed.wait(5)

    monkeypatch.setattr(snapshot, "_save", slow)
    seconds: list[float] = []
    writing.begin_recording(CIRCUMSTANCES)
    until(lambda: writing.recording is not None)
    writing.snapshot(moment(), lambda path: seconds.append(writing.recording.seconds))
    assert begun.wait(5)
    for number in range(1, 7):
        writing.add(seen(number))
    handed.set()
    until(lambda: seconds)
    assert seconds == [pytest.approx(5 / 30)]  # they were written before it was done


# recordings


def recorded(folder: Path, frames: list[Seen]) -> Path:
    growing = Recording(folder, CIRCUMSTANCES)
    for one in frames:
        growing.add(one)
    return growing.finish("by hand", 0)


def test_a_recording_is_replayed_at_its_pace_where_it_was_taken(tmp_path: Path) -> None:
    frames = [seen(number) for number in range(1, 4)]
    stand = stand_of(recorded(tmp_path, frames))
    replay = stand.open()
    assert stand.um_per_px("10x") == 0.5
    assert replay._each_s == pytest.approx(1 / 30, rel=1e-3)
    for one, again in zip(frames, replay._pictures, strict=True):
        np.testing.assert_array_equal(one.frame.image, again.read())
        assert again.position == one.frame.position
        assert (again.objective, again.exposure_ms) == ("10x", 10.0)
    stand.close()


def test_a_recording_with_two_objectives_is_replayed_without_a_scale(tmp_path: Path) -> None:
    stand = stand_of(recorded(tmp_path, [seen(1), seen(2, objective="20x", um=0.25)]))
    assert stand.um_per_px("10x") is None


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [(np.uint8, (48, 64, 3)), (np.uint16, (48, 64, 3)), (np.uint8, (33, 57)),
     (np.uint16, (33, 57)), (np.uint8, (1, 1, 3))],
)  # fmt: skip
def test_frames_come_back_as_they_went_in(
    tmp_path: Path, dtype: type, shape: tuple[int, ...]
) -> None:
    frames = [seen(number, dtype=dtype, shape=shape) for number in range(1, 6)]
    folder = recorded(tmp_path, frames)
    footage = Footage(folder)
    assert len(footage) == 5
    assert footage.source == "simulated"
    stacked = tifffile.imread(folder / "frames-1.ome.tif")
    for index, one in enumerate(frames):
        back = footage.frame(index)
        np.testing.assert_array_equal(back.image, one.frame.image)
        np.testing.assert_array_equal(stacked[index].reshape(shape), one.frame.image)
        assert back.image.dtype == one.frame.image.dtype
        assert (back.position, back.objective, back.exposure_ms, back.time, back.number) == (
            one.frame.position, "10x", 10.0, one.frame.time, one.frame.number,
        )  # fmt: skip


def test_strided_frames_come_back_as_well(tmp_path: Path) -> None:
    image = pixels(1, (3, 48, 64)).transpose(1, 2, 0)
    frame = Frame(image, Position(0, 0, 0), "10x", 10.0, AT_S, 1)
    folder = recorded(tmp_path, [Seen(frame, image, 0.5, 0.0, 1, 0.0)])
    np.testing.assert_array_equal(Footage(folder).frame(0).image, image)


def test_a_recording_opens_as_an_ome_tiff_in_time(tmp_path: Path) -> None:
    pytest.importorskip("xmlschema")
    folder = recorded(tmp_path, [seen(number) for number in range(1, 6)])
    with tifffile.TiffFile(folder / "frames-1.ome.tif") as tiff:
        xml = tiff.ome_metadata
        (series,) = tiff.series
        assert (series.axes, series.shape) == ("TYXS", (5, 48, 64, 3))
        assert tiff.pages[4].resolution == (20000.0, 20000.0)
        assert tiff.is_bigtiff
    ome_types.validate_xml(xml)
    image = ome_types.from_xml(xml).images[0]
    planes = image.pixels.planes
    assert [plane.the_t for plane in planes] == [0, 1, 2, 3, 4]
    assert [plane.delta_t for plane in planes] == pytest.approx(
        [n / 30 for n in range(5)], abs=1e-6
    )
    assert [plane.position_x for plane in planes] == [10.5 * n for n in range(1, 6)]
    assert NOTICE in image.description
    assert image.pixels.physical_size_x == 0.5


def test_another_objective_or_size_begins_another_file(tmp_path: Path) -> None:
    frames = [seen(1), seen(2), seen(3, "20x", 0.25), seen(4, shape=(24, 32, 3)), seen(5)]
    folder = recorded(tmp_path, frames)
    footage = Footage(folder)
    assert [line.file for line in footage.lines] == [
        f"frames-{n}.ome.tif" for n in (1, 1, 2, 3, 4)
    ]  # fmt: skip
    for index, one in enumerate(frames):
        np.testing.assert_array_equal(footage.frame(index).image, one.frame.image)
    sizes = [
        ome_types.from_tiff(folder / f"frames-{n}.ome.tif").images[0].pixels.physical_size_x
        for n in (1, 2, 3, 4)
    ]
    assert sizes == [0.5, 0.25, 0.5, 0.5]


def test_the_writer_records_what_it_is_handed(
    writing: Writer, board: Board, tmp_path: Path
) -> None:
    writing.add(seen(1))  # before: nothing happens
    writing.begin_recording(CIRCUMSTANCES)
    for number in range(2, 12):
        writing.add(seen(number))
    until(lambda: writing.recording and writing.recording.bytes > 10 * 48 * 64 * 3)
    assert writing.recording.seconds == pytest.approx(0.3)
    assert writing.recording.free_bytes > 0
    writing.end_recording()
    writing.add(seen(12))  # after: likewise
    until(lambda: writing.recording is None)
    (folder,) = (tmp_path / "saved").iterdir()
    assert is_recording(folder)
    assert folder.suffix == ""
    facts = json.loads((folder / "recording.json").read_text(encoding="utf-8"))
    assert (facts["notice"], facts["frames"], facts["left_out"]) == (NOTICE, 10, 0)
    assert facts["circumstances"]["model"]["sha256"] == "abc123"
    assert [line.number for line in Footage(folder).lines] == list(range(2, 12))
    until(lambda: "10 frames in 0.3 s" in words(board))
    assert not board.errors


def test_one_recording_follows_another(writing: Writer, tmp_path: Path) -> None:
    for begin in (1, 10, 20):
        writing.begin_recording(CIRCUMSTANCES)
        for number in range(begin, begin + 3):
            writing.add(seen(number))
        writing.end_recording()
    writing.close()
    folders = sorted((tmp_path / "saved").iterdir(), key=lambda path: len(path.name))
    numbers = sorted([line.number for line in Footage(folder).lines] for folder in folders)
    assert numbers == [[1, 2, 3], [10, 11, 12], [20, 21, 22]]


def test_a_slow_disk_costs_frames_never_time_or_memory(
    writing: Writer, board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    real = stack.Stack.add

    def slow(*arguments: object) -> int:
        go.wait(5)
        return real(*arguments)

    monkeypatch.setattr(stack.Stack, "add", slow)
    frame = seen(1)
    monkeypatch.setattr(writer, "WAITING_BYTES", 5 * frame.frame.image.nbytes)
    writing.begin_recording(CIRCUMSTANCES)
    began_s = time.monotonic()
    for number in range(1, 101):
        writing.add(seen(number))
    assert time.monotonic() - began_s < 1.0
    assert 94 <= writing.left_out <= 95  # five wait; a sixth may be in hand
    kept = 100 - writing.left_out
    go.set()
    writing.end_recording()
    until(lambda: f"{kept} frames in" in words(board))
    assert f"{100 - kept} frames left out" in words(board)
    (folder,) = (tmp_path / "saved").iterdir()
    assert len(Footage(folder)) == kept


@pytest.mark.parametrize(
    ("free", "fps", "begins"), [(0.9e9, 0, False), (1.1e9, 0, True), (1.1e9, 30, False)]
)
def test_it_does_not_begin_without_room(
    writing: Writer, board: Board, monkeypatch: pytest.MonkeyPatch, free: float, fps: int,
    begins: bool,
) -> None:  # fmt: skip
    monkeypatch.setattr(disk, "free_bytes", lambda folder: int(free))
    if fps:  # 30 s of 30 frames a second of 3 MB are 2.8 GB
        monkeypatch.setattr(writing._rate, "fps", lambda: float(fps))
    writing.add(seen(1, shape=(1024, 1024, 3)))
    writing.begin_recording(CIRCUMSTANCES)
    if begins:
        until(lambda: writing.recording is not None)
        return
    until(lambda: board.errors)
    assert "not begun" in words(board)
    assert "needed; make room" in words(board)
    assert writing.recording is None
    assert not writing.folder.exists()


def test_it_ends_before_the_disk_is_full(
    writing: Writer, board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [2 * 10**9]
    monkeypatch.setattr(disk, "free_bytes", lambda folder: free[0])
    monkeypatch.setattr(writer, "GUARD_S", 0.01)
    writing.begin_recording(CIRCUMSTANCES)
    writing.add(seen(1))
    until(lambda: writing.recording and writing.recording.bytes)
    free[0] = 400 * 10**6
    until(lambda: writing.recording is None)
    until(lambda: board.errors)
    assert "only 400.0 MB are free" in words(board)
    (folder,) = (tmp_path / "saved").iterdir()
    assert len(Footage(folder)) == 1
    writing.add(seen(2))  # the live view goes on
    assert writing.left_out == 0


@pytest.mark.parametrize("write", range(5))
def test_a_disk_full_in_the_middle_keeps_what_was_written(
    writing: Writer, board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: int
) -> None:
    """Pixels, directory or link of the fourth page, the line after it: any may fail."""
    writing.begin_recording(CIRCUMSTANCES)
    for number in range(1, 4):
        writing.add(seen(number))
    until(lambda: writing.recording and writing.recording.seconds > 0.05)
    calls = iter(range(100))
    real_write, real_append = stack._write, recording._append

    def failing(real: Callable[..., None]) -> Callable[..., None]:
        def one(file: object, data: bytes) -> None:
            if next(calls) >= write:
                real(file, data[: len(data) // 2])
                full_disk()
            real(file, data)

        return one

    monkeypatch.setattr(stack, "_write", failing(real_write))
    monkeypatch.setattr(recording, "_append", failing(real_append))
    writing.add(seen(4))
    writing.add(seen(5))
    until(lambda: board.errors)
    assert words(board).startswith("disk full: recording ended after 0.1 s; its ")
    assert writing.recording is None
    (folder,) = (tmp_path / "saved").iterdir()
    footage = Footage(folder)
    assert len(footage) == (4 if write == 4 else 3)
    assert pages(folder / "frames-1.ome.tif") == (4 if write >= 3 else 3)
    stacked = tifffile.imread(folder / "frames-1.ome.tif")
    for index in range(len(footage)):
        np.testing.assert_array_equal(footage.frame(index).image, pixels(index + 1))
        np.testing.assert_array_equal(stacked[index], pixels(index + 1))


def test_a_disk_that_takes_nothing_more_leaves_a_part(
    writing: Writer, board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing.begin_recording(CIRCUMSTANCES)
    writing.add(seen(1))
    until(lambda: writing.recording and writing.recording.bytes)
    for room, name in ((stack, "_write"), (disk, "_write")):
        monkeypatch.setattr(room, name, full_disk)
    writing.add(seen(2))
    until(lambda: board.errors)
    (folder,) = (tmp_path / "saved").iterdir()
    assert folder.suffix == ".part"
    assert f"its 1 frames are in {folder}" in words(board)
    np.testing.assert_array_equal(Footage(folder).frame(0).image, pixels(1))
    np.testing.assert_array_equal(tifffile.imread(folder / "frames-1.ome.tif"), pixels(1))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not let go of an open file")
def test_a_folder_that_vanishes_is_said(
    writing: Writer, board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "GUARD_S", 0.01)
    writing.begin_recording(CIRCUMSTANCES)
    writing.add(seen(1))
    until(lambda: writing.recording and writing.recording.bytes)
    shutil.rmtree(tmp_path / "saved")
    until(lambda: board.errors)
    assert "its folder is gone: recording ended" in words(board)
    assert "is lost with its disk or folder" in words(board)
    told: list[Path] = []
    writing.snapshot(moment(), told.append)  # what follows makes the folder anew
    until(lambda: told)


def test_closing_finishes_the_files(tmp_path: Path, board: Board) -> None:
    writing = Writer(tmp_path, board)
    writing.begin_recording(CIRCUMSTANCES)
    for number in range(1, 21):
        writing.add(seen(number))
    writing.snapshot(moment())
    writing.close()
    names = sorted(path.name.split("-")[0] for path in tmp_path.iterdir())
    assert names == ["recording", *["snapshot"] * 6]
    (folder,) = tmp_path.glob("recording-*")
    assert folder.suffix == ""
    assert len(Footage(folder)) == 20
    writing.snapshot(moment())  # afterwards: nothing, and no thread
    writing.begin_recording(CIRCUMSTANCES)
    assert len(list(tmp_path.iterdir())) == 7


def test_closing_does_not_wait_for_a_long_queue(
    tmp_path: Path, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = stack.Stack.add

    def slow(*arguments: object) -> int:
        time.sleep(0.05)
        return real(*arguments)

    monkeypatch.setattr(stack.Stack, "add", slow)
    monkeypatch.setattr(writer, "END_S", 1.6)
    writing = Writer(tmp_path, board)
    writing.begin_recording(CIRCUMSTANCES)
    for number in range(1, 101):
        writing.add(seen(number))
    until(lambda: writing.recording and writing.recording.bytes)
    began_s = time.monotonic()
    writing.close()
    assert time.monotonic() - began_s < 1.6
    (folder,) = tmp_path.glob("recording-*")
    kept = len(Footage(folder))
    assert folder.suffix == ""
    assert 1 <= kept <= 40
    facts = json.loads((folder / "recording.json").read_text(encoding="utf-8"))
    assert facts["left_out"] == 100 - kept


def test_a_killed_program_leaves_what_it_had_written(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, 'tests'); from test_live_capture import *\n"
        f"growing = Recording(Path({str(tmp_path)!r}), CIRCUMSTANCES)\n"
        "for number in range(1, 10**6):\n"
        "    growing.add(seen(number, shape=(480, 640, 3)))\n"
        "    print(number, flush=True)\n"
    )
    home = Path(__file__).parent.parent
    with subprocess.Popen([sys.executable, "-c", code], cwd=home, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        for _ in range(7):
            run.stdout.readline()
        run.kill()
    (folder,) = tmp_path.iterdir()
    assert folder.suffix == ".part"
    footage = Footage(folder)
    assert len(footage) >= 7
    with tifffile.TiffFile(folder / "frames-1.ome.tif") as tiff:
        assert len(tiff.pages) in (len(footage), len(footage) + 1)
        for index in range(len(footage)):
            truth = pixels(index + 1, (480, 640, 3))
            np.testing.assert_array_equal(footage.frame(index).image, truth)
            np.testing.assert_array_equal(tiff.pages[index].asarray(), truth)


def test_a_torn_last_line_does_not_count(tmp_path: Path) -> None:
    folder = recorded(tmp_path, [seen(1), seen(2)])
    with (folder / "frames.jsonl").open("ab") as lines:
        lines.write(b'{"file": "frames-1.ome')
    assert len(Footage(folder)) == 2


def test_what_is_no_recording_is_refused_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a recording"):
        Footage(tmp_path)
    assert not is_recording(tmp_path)
    folder = recorded(tmp_path, [])
    with pytest.raises(InputError, match="no frame was recorded"):
        Footage(folder)
    folder = recorded(tmp_path, [seen(1)])
    (folder / "frames-1.ome.tif").write_bytes(b"II")
    with pytest.raises(InputError, match="frame 0 cannot be read"):
        Footage(folder).frame(0)


def test_two_recordings_of_one_second_have_two_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: AT_S)
    begin = time.strftime("recording-%Y-%m-%d-%H-%M-%S", time.localtime(AT_S))
    growing = Recording(tmp_path, CIRCUMSTANCES)  # still a .part
    assert recorded(tmp_path, [seen(1)]).name == f"{begin}-2"
    assert growing.finish("by hand", 0).name == begin
    assert recorded(tmp_path, [seen(1)]).name == f"{begin}-3"
