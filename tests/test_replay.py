"""Recorded frames as a microscope: what is shown when, and what cannot be shown."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from records import measured
from sessions import fill, filled, picture, small_plan, small_rig

from scope_sr.calibration import CalibrationRecord
from scope_sr.errors import InputError, MicroscopeError
from scope_sr.frame import Frame, Position
from scope_sr.live.source.replay import Recorded, Replay, stand_of
from scope_sr.session import Session


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


def grey(value: int) -> np.ndarray:
    return np.full((4, 5, 3), value, np.uint8)


def of_values(*values: int, clock: Clock | None = None) -> Replay:
    pictures = [
        Recorded(lambda value=value: grey(value), Position(value, 0, 0), "10x", float(value))
        for value in values
    ]
    return Replay(pictures, now_s=clock or Clock())


def saved(folder: Path, **pictures: np.ndarray) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


def shown(path: Path, count: int) -> list[Frame]:
    """Play what lies at a path, one frame of each picture."""
    clock = Clock()
    stand = stand_of(path)
    opened = stand.open()
    replay = Replay(opened._pictures, opened._camera, now_s=clock)
    replay.start_stream()
    frames = []
    for turn in range(count):
        clock.s = 3.0 * turn + 0.1
        frame = replay.latest(frames[-1].number if frames else 0)
        assert frame is not None
        frames.append(frame)
    return frames


# -- what is shown when ----------------------------------------------------------------------------


def test_each_picture_is_shown_for_three_seconds_at_thirty_frames_and_again() -> None:
    clock = Clock()
    replay = of_values(10, 20, clock=clock)
    replay.start_stream()
    number, came = 0, []
    for tick in range(900):
        clock.s = (tick + 0.5) / 100
        frame = replay.latest(number)
        if frame is not None:
            assert frame.number == number + 1
            number = frame.number
            came.append((clock.s, int(frame.image[0, 0, 0]), frame.position.x_um))
    assert len(came) == pytest.approx(9 * 30, abs=1)
    for at_s, value, x_um in came:
        assert value == x_um == (20 if 3 <= at_s < 6 else 10)


def test_a_frame_is_of_now_and_belongs_to_whoever_asked() -> None:
    replay = of_values(10)
    one = replay.snap()
    one.image[...] = 0
    other = replay.snap()
    assert other.image[0, 0, 0] == 10
    assert other.number == one.number + 1
    assert other.time >= one.time > 1.7e9
    assert (other.objective, other.exposure_ms) == ("10x", 10.0)


def test_numbers_go_on_over_streams_and_snaps() -> None:
    clock = Clock()
    replay = of_values(10, clock=clock)
    replay.start_stream()
    assert replay.latest(0) is None
    clock.s = 1.0
    replay.start_stream()
    newest = replay.latest(0)
    assert newest is not None
    assert newest.number == 30
    with pytest.raises(MicroscopeError, match="stop the stream"):
        replay.snap()
    replay.stop_stream()
    with pytest.raises(MicroscopeError, match="start the stream"):
        replay.latest(0)
    assert replay.snap().number == 31


def test_what_a_replay_cannot_do_it_says() -> None:
    replay = of_values(10)
    for ask, words in (
        (lambda: replay.move_to(Position(0, 0, 0)), "a replay has no stage"),
        (lambda: replay.select_objective("20x"), "a replay has no nosepiece"),
        (lambda: replay.set_exposure(3.0), "exposure of a replay is as it was recorded"),
        (lambda: replay.set_gain(3.0), "a replay has no gain"),
        (lambda: replay.hold_focus(True), "a replay has no focus lock"),
    ):
        with pytest.raises(MicroscopeError, match=words):
            ask()
    replay.stop()
    replay.rearm()
    replay.hold_focus(False)
    assert not replay.focus_held()
    assert (replay.gain(), replay.camera().gain_limits) == (1.0, None)
    replay.close()
    replay.close()


# -- a session -------------------------------------------------------------------------------------


def test_a_session_shows_its_low_fields_where_they_were_taken(tmp_path: Path) -> None:
    rig = small_rig()
    folder = filled(tmp_path / "slide17", rig, rows=1, columns=2)
    session = Session.open(folder)
    stand = stand_of(folder)
    assert stand.name == "slide17 (replay)"
    assert stand.rig is not None
    assert stand.rig.digest == rig.digest
    assert stand.record is not None
    assert not stand.record.measured
    assert stand.um_per_px("10x") == rig.pixel_size_um("10x")
    steps = session.plan.of_pass("low")
    frames = shown(folder, 3)
    for frame, step in zip(frames, [*steps, steps[0]], strict=True):
        assert np.array_equal(frame.image, picture(step, rig))
        assert frame.position == session.entries[step.name].position
        assert (frame.objective, frame.exposure_ms) == (step.objective, step.exposure_ms)


def test_the_measured_record_of_a_session_goes_with_it(tmp_path: Path) -> None:
    """Scale and shading are those of the session's own camera, not taken for another's."""
    rig = small_rig()
    record = CalibrationRecord.load(measured(rig, tmp_path / "record"))
    with Session.create(tmp_path / "S", small_plan(rig), rig, record) as session:
        fill(session)
    stand = stand_of(tmp_path / "S")
    stand.open()
    assert stand.record is not None
    assert stand.record.digest == record.digest
    assert stand.remark == ""


def test_a_session_without_a_low_field_says_how_to_go_on(tmp_path: Path) -> None:
    rig = small_rig()
    Session.create(tmp_path / "S", small_plan(rig), rig).close()
    with pytest.raises(InputError, match=r"no low field .* --resume --out"):
        stand_of(tmp_path / "S")


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("session.json", r"half a session: session\.json is missing"),
        ("plan.json", r"plan\.json: cannot be read"),
        ("rig.toml", r"rig\.toml: cannot be read"),
        ("journal.jsonl", r"journal\.jsonl: cannot be read"),
    ],
)
def test_half_a_session_is_refused(tmp_path: Path, missing: str, words: str) -> None:
    folder = filled(tmp_path / "S")
    (folder / missing).unlink()
    refused(folder, words)


def test_a_field_that_is_not_what_was_written_is_refused(tmp_path: Path) -> None:
    folder = filled(tmp_path / "S")
    field = next((folder / "low").glob("*.tif"))
    field.write_bytes(field.read_bytes()[:-1] + b"x")
    refused(folder, "its bytes are not those that were written")


def test_the_fields_of_half_a_session_are_a_folder_of_pictures(tmp_path: Path) -> None:
    folder = filled(tmp_path / "S")
    stand = stand_of(folder / "low")
    assert stand.rig is None
    assert stand.um_per_px("") == pytest.approx(small_rig().pixel_size_um("10x"))


# -- a folder of pictures --------------------------------------------------------------------------


def test_pictures_of_a_folder_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    folder = saved(tmp_path / "P", p10=grey(30), p9=grey(20), a=grey(10))
    (folder / "notes.txt").write_text("no picture")
    frames = shown(folder, 4)
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [10, 20, 30, 10]
    assert {frame.objective for frame in frames} == {""}
    stand = stand_of(folder)
    assert (stand.name, stand.rig, stand.record) == ("P (replay)", None, None)
    assert stand.um_per_px("") is None


@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "bmp"])
def test_pictures_of_every_kind_are_shown_upright_and_in_colour(
    tmp_path: Path, ending: str
) -> None:
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[:, :12] = (200, 40, 90)
    path = tmp_path / f"one.{ending}"
    Image.fromarray(pixels).save(path)
    (frame,) = shown(path, 1)
    assert frame.image.shape == (16, 24, 3)
    assert np.abs(frame.image[8, 4].astype(int) - (200, 40, 90)).max() <= 4
    assert frame.image[8, 20].max() <= 4


def test_a_picture_that_lies_on_its_side_is_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((16, 24, 3), np.uint8)).save(tmp_path / "a.jpg", exif=exif)
    Image.fromarray(np.zeros((24, 16, 3), np.uint8)).save(tmp_path / "b.jpg")
    assert {frame.image.shape for frame in shown(tmp_path, 2)} == {(24, 16, 3)}


def test_pixel_sizes_are_believed_where_all_files_say_the_same(tmp_path: Path) -> None:
    for name, um in (("a", 0.5), ("b", 0.5)):
        tifffile.imwrite(
            tmp_path / f"{name}.ome.tif",
            grey(9),
            photometric="rgb",
            metadata={"axes": "YXS", "PhysicalSizeX": um, "PhysicalSizeY": um},
        )
    assert stand_of(tmp_path).um_per_px("") == 0.5
    saved(tmp_path, c=grey(9))
    assert stand_of(tmp_path).um_per_px("") is None


def test_a_picture_that_cannot_be_read_any_more_is_left_out(tmp_path: Path) -> None:
    """Whoever opens the stand anew after the failure gets past it."""
    folder = saved(tmp_path / "P", a=grey(10), b=grey(20))
    stand = stand_of(folder)
    (folder / "a.png").unlink()
    replay = stand.open()
    with pytest.raises(MicroscopeError, match=r"a\.png: no such .* goes on without it"):
        replay.snap()
    stand.lose()
    assert stand.open().snap().image[0, 0, 0] == 20
    (folder / "b.png").unlink()
    stand.lose()
    with pytest.raises(MicroscopeError, match=r"b\.png"):
        stand.open().snap()
    with pytest.raises(MicroscopeError, match="no picture of the replay can be read any more"):
        stand.open().snap()
    stand.close()


# -- what cannot be shown --------------------------------------------------------------------------


def refused(path: Path, words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        stand_of(path)
    assert "\n" not in str(error.value)
    assert re.search(re.escape(path.name), str(error.value))


def test_mixed_sizes_name_the_first_that_differs(tmp_path: Path) -> None:
    saved(tmp_path, a=grey(1), b=np.zeros((7, 9, 3), np.uint8), c=np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(InputError, match=r"b\.png: is 9 x 7 px, a\.png is 5 x 4"):
        stand_of(tmp_path)


def test_what_is_no_picture_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "no image there")
    refused(tmp_path / "nowhere", "no such session, folder or picture")
    (tmp_path / "words.txt").write_text("hello")
    refused(tmp_path / "words.txt", "no picture, or a damaged one")
    (tmp_path / "nothing.png").write_bytes(b"")
    refused(tmp_path / "nothing.png", "is empty")
    whole = saved(
        tmp_path / "whole", a=np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    )
    cut = tmp_path / "cut.png"
    cut.write_bytes((whole / "a.png").read_bytes()[:2000])
    refused(cut, "not a readable image")
    deep = tmp_path / "deep.tif"
    tifffile.imwrite(deep, np.zeros((4, 5), np.uint16))
    refused(deep, "uint16; what is white in them nobody knows")


def test_a_whole_slide_is_no_frame(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, shape=(9000, 9000, 3), dtype=np.uint8, photometric="rgb")
    refused(path, "9000 x 9000 px are more than a camera gives at once")
