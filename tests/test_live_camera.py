"""Frames on their way to the screen: developed, numbered, handed on; and the stand they are of."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from live import Live, live
from rigs import make_rig

from scope_sr.calibration import CalibrationRecord, Fingerprint
from scope_sr.config import Rig
from scope_sr.errors import MicroscopeError
from scope_sr.frame import Frame, Position
from scope_sr.light import Shading, corrected, stored
from scope_sr.live.mailbox import Pool
from scope_sr.live.source.camera import PACE_S
from scope_sr.live.source.developing import NEUTRAL, Developing, to_bgra
from scope_sr.live.source.stand import Stand
from scope_sr.microscope import open_microscope

SHAPES = [((150, 70, 3), np.uint8, 8), ((150, 70), np.uint8, 8), ((150, 70, 3), np.uint16, 12),
          ((150, 70), np.uint16, 16)]  # fmt: skip
GAINS = (1.2, 1.0, 0.75)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    """Give a rig at home where nobody has calibrated one."""
    return make_rig(tmp_path_factory.mktemp("home"))


def frame_of(image: np.ndarray, objective: str = "10x") -> Frame:
    return Frame(image, Position(0, 0, 0), objective, 10.0, 0.0, 1)


def pixels(shape: tuple[int, ...], dtype: type, bits: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 2**bits, shape).astype(dtype)


def record_with(folder: Path, shape: tuple[int, ...], *, dark: bool = True) -> CalibrationRecord:
    """Write a record whose 10x has a flat-field and a dark level of a shape."""
    rng = np.random.default_rng(2)
    fields = {
        "flat.tif": rng.uniform(0.7, 1.3, shape).astype(np.float32),
        "dark.tif": rng.uniform(0.0, 6.0, shape).astype(np.float32),
    }
    folder.mkdir(exist_ok=True)
    for name, plane in fields.items():
        kind = "rgb" if plane.ndim == 3 else "minisblack"
        tifffile.imwrite(folder / name, plane, photometric=kind)
    record = CalibrationRecord.nominal(make_rig())
    names = {"flat": "flat.tif", "dark": "dark.tif" if dark else None}
    lens = record.objectives["10x"].model_copy(update=names)
    objectives = {**record.objectives, "10x": lens}
    return record.model_copy(update={"objectives": objectives, "folder": folder})


def expected(
    image: np.ndarray, shading: Shading, bits: int, gains: tuple[float, ...]
) -> np.ndarray:
    """Develop as `enhance` corrects the fields of a session, without its rounding in between."""
    light = corrected(image, shading) * np.float32(255 / (2**bits - 1))
    if light.ndim == 2:  # rounded to 8 bits before its gains
        light = np.repeat(stored(light, 255)[..., None], 3, axis=2).astype(np.float32)
    light = light * np.asarray(gains, np.float32)
    return np.asarray(stored(light.astype(np.float32), 255))


@pytest.mark.parametrize(("shape", "dtype", "bits"), SHAPES)
@pytest.mark.parametrize("gains", [NEUTRAL, GAINS])
@pytest.mark.parametrize("fields", ["none", "flat", "flat and dark"])
def test_a_frame_is_developed_as_enhance_corrects_a_field(
    tmp_path: Path,
    shape: tuple[int, ...],
    dtype: type,
    bits: int,
    gains: tuple[float, float, float],
    fields: str,
) -> None:
    image = pixels(shape, dtype, bits)
    record = None if fields == "none" else record_with(tmp_path, shape, dark="dark" in fields)
    shading = Shading(None, None)
    if record is not None:
        shading = Shading(record.field("10x", "flat"), record.field("10x", "dark"))
    developing = Developing(record, bits)
    rgb = developing.rgb(frame_of(image), gains)
    assert rgb.shape == (150, 70, 3)
    assert rgb.dtype == np.uint8
    apart = np.abs(rgb.astype(int) - expected(image, shading, bits, gains))
    assert apart.max() <= 1
    assert np.mean(apart > 0) < 0.02, "halves may be rounded either way"
    assert developing.remark == ""


def test_what_needs_nothing_costs_nothing() -> None:
    image = pixels((8, 9, 3), np.uint8, 8)
    assert Developing(None, 8).rgb(frame_of(image)) is image


def test_the_pixels_of_the_camera_stay_as_they_are(tmp_path: Path) -> None:
    image = pixels((150, 70, 3), np.uint8, 8)
    before = image.copy()
    Developing(record_with(tmp_path, image.shape), 8).rgb(frame_of(image), GAINS)
    assert np.array_equal(image, before)


def test_each_objective_has_its_own_flat_field(tmp_path: Path) -> None:
    image = pixels((150, 70, 3), np.uint8, 8)
    developing = Developing(record_with(tmp_path, image.shape), 8)
    assert not np.array_equal(developing.rgb(frame_of(image, "10x")), image)
    assert np.array_equal(developing.rgb(frame_of(image, "20x")), image)
    assert np.array_equal(developing.rgb(frame_of(image, "unknown")), image)
    assert not np.array_equal(developing.rgb(frame_of(image, "10x")), image)


def test_a_flat_field_of_another_size_is_left_out_and_said(tmp_path: Path) -> None:
    developing = Developing(record_with(tmp_path, (150, 70, 3)), 8)
    binned = pixels((75, 35, 3), np.uint8, 8)
    assert np.array_equal(developing.rgb(frame_of(binned)), binned)
    assert "of another size than the frames (35x75 px)" in developing.remark
    developing.rgb(frame_of(pixels((150, 70, 3), np.uint8, 8)))
    assert developing.remark == ""


def test_a_damaged_flat_field_is_left_out_and_said(tmp_path: Path) -> None:
    record = record_with(tmp_path, (150, 70, 3))
    (tmp_path / "flat.tif").write_bytes(b"torn")
    developing = Developing(record, 8)
    image = pixels((150, 70, 3), np.uint8, 8)
    assert np.array_equal(developing.rgb(frame_of(image)), image)
    assert "flat.tif: cannot be read" in developing.remark


@pytest.mark.parametrize(
    "image", [np.zeros((4, 5, 4), np.uint8), np.zeros((4, 5), np.float32), np.zeros((0, 5), "u1")]
)
def test_pixels_that_cannot_be_shown_are_refused(image: np.ndarray) -> None:
    with pytest.raises(MicroscopeError, match="neither grey nor RGB"):
        Developing().rgb(frame_of(image))


def test_for_qt_it_is_blue_green_red_and_opaque_in_a_buffer_of_the_pool() -> None:
    rgb, pool = pixels((8, 9, 3), np.uint8, 8), Pool()
    buffer = np.zeros((8, 9, 4), np.uint8)
    pool.put(buffer)
    assert to_bgra(rgb, pool) is buffer
    assert np.array_equal(buffer[..., :3], rgb[..., ::-1])
    assert (buffer[..., 3] == 255).all()


# -- the stand -------------------------------------------------------------------------------------


def test_exposure_and_gain_are_given_back(rig: Rig) -> None:
    opened = []

    def opener() -> object:
        opened.append(open_microscope(rig))
        opened[-1].set_exposure(17.0) if len(opened) == 1 else None
        return opened[-1]

    stand = Stand("simulated", opener, rig=rig)  # type: ignore[arg-type]
    microscope = stand.open()
    assert stand.open() is microscope, "opening twice opens once"
    backend = opened[0]._backend
    microscope.start_stream()
    microscope.set_exposure(40.0)
    microscope.set_gain(2.0)
    stand.close()
    assert (backend.exposure_ms(), backend.gain()) == (17.0, 1.0)
    assert stand.microscope is None
    with pytest.raises(MicroscopeError, match="was closed"):
        stand.open()
    stand.close()


def test_what_was_found_first_is_given_back_after_a_loss(rig: Rig) -> None:
    microscopes = [open_microscope(rig) for _ in range(2)]
    microscopes[0].set_exposure(17.0)
    backend = microscopes[1]._backend
    turn = iter(microscopes)
    stand = Stand("simulated", lambda: next(turn), rig=rig)
    stand.open().set_exposure(40.0)
    stand.lose()
    assert stand.microscope is None
    stand.open()
    stand.close()
    assert backend.exposure_ms() == 17.0


def test_abilities_are_those_of_the_rig(rig: Rig) -> None:
    stand = Stand.of_rig(rig)
    assert stand.abilities().stage == "the instrument is not there"
    stand.open()
    able = stand.abilities()
    assert (able.stage, able.gain, able.objectives) == ("", "", ("5x", "10x", "20x"))
    assert able.stage_limits_um == (rig.stage.x_limits_um, rig.stage.y_limits_um)
    assert able.gain_limits is not None
    stand.close()


def test_the_scale_is_the_records_else_the_rigs(rig: Rig) -> None:
    record = CalibrationRecord.nominal(rig)
    lens = record.objectives["10x"].model_copy(update={"affine_um_per_px": ((0.51, 0), (0, -0.51))})
    record = record.model_copy(update={"objectives": {"10x": lens}})
    stand = Stand("a", lambda: open_microscope(rig), rig=rig, record=record)
    assert stand.um_per_px("10x") == pytest.approx(0.51)
    assert stand.um_per_px("20x") == 0.25
    assert stand.um_per_px("40x") is None
    assert Stand("b", lambda: open_microscope(rig), um_per_px=0.3).um_per_px("") == 0.3


def test_a_record_of_another_camera_gives_way_to_the_rigs_word(rig: Rig, tmp_path: Path) -> None:
    record = record_with(tmp_path, (48, 64, 3))
    made_with = Fingerprint.of(rig, "another camera")
    record = record.model_copy(update={"fingerprint": made_with})
    stand = Stand("simulated", lambda: open_microscope(rig), rig=rig, record=record)
    with live(stand) as running:
        note = running.hears("calibration", "was another camera at calibration")
        assert "the rig's word" in note.words
        rgb = running.frames(1).seen
        assert rgb.rgb is rgb.frame.image, "nor is its flat-field used"
    assert stand.record == CalibrationRecord.nominal(rig)


# -- the camera thread -----------------------------------------------------------------------------


@pytest.fixture
def running(rig: Rig) -> object:
    with live(Stand.of_rig(rig)) as running:
        yield running


def test_frames_are_handed_on_as_they_come(running: Live) -> None:
    shown = running.frames(5)
    seen = shown.seen
    assert seen.shape == (48, 64)
    assert (seen.um_per_px, seen.frame.objective) == (0.5, "10x")
    assert np.array_equal(shown.pixels[..., 2::-1], seen.rgb)
    numbers = [one.seen.frame.number for one in running.shown]
    assert numbers == sorted(set(numbers))
    missing = numbers[-1] - numbers[0] + 1 - len(numbers)
    assert running.camera.skipped >= missing
    assert {one.view for one in running.seen} == {1}, "nothing moved"
    assert not running.board.errors


def test_a_motion_is_another_view(running: Live) -> None:
    before = running.frames(2).seen
    microscope = running.stand.microscope
    assert microscope is not None
    microscope.move_to(Position(200.0, 100.0, 0.0))
    after = running.frames(3).seen
    assert after.frame.position.x_um == 200.0
    assert after.view > before.view
    assert after.since_s > before.since_s
    assert running.frames(2).seen.view == after.view


def test_gains_are_used_and_are_another_view(running: Live) -> None:
    before = running.frames(1).seen
    running.camera.gains = (0.5, 1.0, 1.0)
    running.until(lambda: running.shown[-1].seen.view == before.view + 1)
    after = running.frames(1).seen
    assert np.abs(after.rgb[..., 0] - after.frame.image[..., 0] / 2).max() <= 0.5
    running.stand.gain = 2.0
    running.until(lambda: running.shown[-1].seen.view == before.view + 2)


def test_while_frozen_nothing_is_handed_on_and_nothing_counts_as_skipped(running: Live) -> None:
    running.frames(1)
    running.camera.frozen = True
    running.camera.frozen = True
    here = len(running.shown)
    number = running.camera._number
    running.until(lambda: running.camera._number > number + 20)
    assert len(running.shown) <= here + 1, "but for one on its way"
    skipped = running.camera.skipped
    running.camera.frozen = False
    running.frames(2)
    assert running.camera.skipped - skipped < 20


def test_the_scale_follows_the_objective(running: Live) -> None:
    running.frames(1)
    microscope = running.stand.microscope
    assert microscope is not None
    running.stand.expected_objective = "20x"
    microscope.select_objective("20x")
    running.until(lambda: running.shown[-1].seen.um_per_px == 0.25)
    assert not [note for note in running.said if note.topic == "objective"], "it was us"
    microscope.select_objective("10x")
    running.hears("objective", "the objective is now 10x (turned at the stand)", bad=False)
    assert running.frames(1).seen.um_per_px == 0.5


def test_skipped_frames_are_those_that_nobody_fetched(rig: Rig) -> None:
    numbers = iter([5, 6, 9, 10, 20])
    late_s = 5 * PACE_S

    class Jumping:
        def __init__(self) -> None:
            self._under = open_microscope(rig)
            self._image = np.full((48, 64, 3), 200, np.uint8)

        def __getattr__(self, name: str) -> object:
            return getattr(self._under, name)

        def latest(self, _after: int) -> Frame | None:
            number = next(numbers, None)
            if number == 20:
                time.sleep(late_s)  # a driver that hangs
            frame = frame_of(self._image)
            return None if number is None else dataclasses.replace(frame, number=number)

    with live(Stand("jumping", Jumping, rig=rig)) as running:  # type: ignore[arg-type]
        running.until(lambda: len(running.shown) == 5)
    assert running.camera.skipped == pytest.approx(9 - 10 * PACE_S / (PACE_S + late_s), abs=1)


def test_a_fault_of_whoever_is_handed_a_frame_stops_nothing(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    running = Live(Stand.of_rig(rig))
    whole = running.camera._see
    faults = iter(range(5))

    def see(seen: object) -> None:
        if next(faults, None) is not None:
            raise KeyError("our own bug")
        whole(seen)  # type: ignore[arg-type]

    running.camera._see = see
    running.camera.start()
    running.hears("picture", "a fault of this program: KeyError('our own bug')", bad=True)
    running.until(lambda: running.seen)
    running.until(lambda: not running.board.notes())
    running.close()
    assert len([one for one in caplog.records if one.exc_info]) == 1, "logged once"


def test_nothing_is_left_after_closing(rig: Rig) -> None:
    import threading

    before = set(threading.enumerate())
    with live(Stand.of_rig(rig)) as running:
        running.frames(1)
        assert running.close() < 1.0
    assert set(threading.enumerate()) <= before


def test_large_small_and_grey_cameras(tmp_path: Path) -> None:
    rig = make_rig(tmp_path, **{"color = true": "color = false", "bits = 8 ": "bits = 12 "})
    with live(Stand.of_rig(rig)) as running:
        seen = running.frames(1).seen
    assert seen.frame.image.dtype == np.uint16
    assert np.abs(seen.rgb[..., 1] - seen.frame.image / 4095 * 255).max() <= 0.51
