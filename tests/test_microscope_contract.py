"""The laws of the microscope, held against every backend there is.

A later backend joins by one more entry in ``BACKENDS``: a function that opens it.
"""

from __future__ import annotations

import atexit
import functools
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from java_server import Running, serving
from rigs import demo_rig, make_rig, remote_rig
from stand import Faults, Stand, open_stand

from scope_sr.errors import InputError, LimitError, MicroscopeError, ReadbackError, StoppedError
from scope_sr.frame import Frame, Position
from scope_sr.microscope import GuardedMicroscope, open_microscope


def simulated() -> GuardedMicroscope:
    return open_microscope(make_rig())


def simulated_mono_12_bit() -> GuardedMicroscope:
    return open_microscope(make_rig(**{"color = true": "color = false", "bits = 8": "bits = 12"}))


def demo_rgb() -> GuardedMicroscope:
    return open_microscope(demo_rig())


def demo_mono() -> GuardedMicroscope:
    return open_microscope(demo_rig(**{"color = true": "color = false"}))


def demo_mono_16_bit() -> GuardedMicroscope:
    return open_microscope(demo_rig(**{"color = true": "color = false", "bits = 8": "bits = 16"}))


@functools.cache
def server(**changes: str) -> Running:
    """Run one double of the Java server per rig, for as long as the tests run."""
    rig = Path(tempfile.mkdtemp()) / "rig.toml"
    rig.write_text(demo_rig(**changes).text, encoding="utf-8")
    running = serving(rig=rig)
    atexit.register(running.__exit__, None, None, None)
    return running.__enter__()


def remote(**changes: str) -> GuardedMicroscope:
    """Open it; unlike the others it is still where the test before left it."""
    microscope = open_microscope(remote_rig(server(**changes).port, **changes))
    microscope.select_objective(microscope.rig.low)
    microscope.move_to(Position(0, 0, 0))
    microscope.set_exposure(10.0)
    microscope.set_gain(0.0)
    return microscope


def remote_rgb() -> GuardedMicroscope:
    return remote()


def remote_mono_16_bit() -> GuardedMicroscope:
    return remote(**{"color = true": "color = false", "bits = 8": "bits = 16"})


BACKENDS = {
    "simulated": simulated,
    "simulated-mono-12": simulated_mono_12_bit,
    "demo-rgb": demo_rgb,
    "demo-mono": demo_mono,
    "demo-mono-16": demo_mono_16_bit,
    "remote-rgb": remote_rgb,
    "remote-mono-16": remote_mono_16_bit,
}


@pytest.fixture(params=BACKENDS.values(), ids=BACKENDS)
def scope(request: pytest.FixtureRequest) -> Iterator[GuardedMicroscope]:
    opened: Callable[[], GuardedMicroscope] = request.param
    with opened() as microscope:
        yield microscope


def near(here: Position, there: Position, scope: GuardedMicroscope) -> bool:
    stage = scope.rig.stage
    return (
        abs(here.x_um - there.x_um) <= stage.tolerance_um
        and abs(here.y_um - there.y_um) <= stage.tolerance_um
        and abs(here.z_um - there.z_um) <= stage.z_tolerance_um
    )


def test_a_move_ends_where_it_was_sent(scope: GuardedMicroscope) -> None:
    for target in (Position(300, -200, 2), Position(-150.5, 80.25, -30), Position(0, 0, 0)):
        scope.move_to(target)
        assert near(scope.position(), target, scope)


def test_outside_the_limits_is_refused_and_nothing_moves(scope: GuardedMicroscope) -> None:
    scope.move_to(Position(10, 20, 1))
    for wrong in (
        Position(1e6, 0, 0),
        Position(0, -1e6, 0),
        Position(0, 0, 1e6),
        Position(float("nan"), 0, 0),
        Position(0, float("inf"), 0),
    ):
        with pytest.raises(LimitError, match="nothing moved"):
            scope.move_to(wrong)
        assert near(scope.position(), Position(10, 20, 1), scope)


def test_the_nosepiece_turns_and_leaves_the_objective_retracted(scope: GuardedMicroscope) -> None:
    here = Position(40, 50, 3)
    scope.move_to(here)
    away = -scope.rig.toward * scope.rig.nosepiece.escape_um
    for name in (scope.rig.high, scope.rig.low, scope.rig.low):
        scope.select_objective(name)
        assert scope.objective() == name
        assert near(scope.position(), Position(40, 50, 3 + away), scope)
    scope.move_to(here)
    assert near(scope.position(), here, scope)


def test_an_objective_in_place_is_not_turned(scope: GuardedMicroscope) -> None:
    scope.move_to(Position(1, 2, 3))
    scope.select_objective(scope.objective())
    assert near(scope.position(), Position(1, 2, 3), scope)


def test_an_unknown_objective_is_refused(scope: GuardedMicroscope) -> None:
    before = scope.objective()
    with pytest.raises(InputError, match=f"it has {', '.join(scope.rig.objectives)}"):
        scope.select_objective("100x")
    assert scope.objective() == before


def test_the_exposure_is_kept(scope: GuardedMicroscope) -> None:
    scope.set_exposure(7.5)
    assert scope.exposure_ms() == pytest.approx(7.5)
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="must be above 0"):
            scope.set_exposure(wrong)


def test_the_gain_is_kept_within_its_limits(scope: GuardedMicroscope) -> None:
    limits = scope.camera().gain_limits
    assert limits is not None
    for gain in (3.0, *limits):
        scope.set_gain(gain)
        assert scope.gain() == pytest.approx(gain)
    low, high = limits
    for wrong in (low - 0.1, high + 0.1, float("nan"), float("inf")):
        with pytest.raises(InputError, match=f"goes from {low:g} to {high:g}"):
            scope.set_gain(wrong)
    assert scope.gain() == pytest.approx(high)


def test_a_gain_between_what_the_camera_can_do_is_set_as_near_as_it_can(
    scope: GuardedMicroscope,
) -> None:
    scope.set_gain(2.4)
    assert scope.gain() == (2.4 if scope.rig.backend == "simulated" else 2.0)


def test_more_gain_gives_a_brighter_picture(scope: GuardedMicroscope) -> None:
    scope.set_exposure(2.0)
    means = []
    for gain in (1.0, 4.0):
        scope.set_gain(gain)
        means.append(float(scope.snap().image.mean()))
    assert means[1] > 1.3 * means[0]


def test_exposure_and_gain_are_set_while_a_stream_runs(scope: GuardedMicroscope) -> None:
    """A longer exposure makes the frames fewer, not their numbers smaller."""
    scope.set_exposure(2.0)
    scope.start_stream()
    numbers, means = [0], []
    for setting in (
        lambda: scope.set_gain(1.0),
        lambda: scope.set_exposure(6.0),
        lambda: scope.set_gain(4.0),
    ):
        setting()
        for _ in range(8):  # those before it are on their way still
            frame = next_frame(scope, numbers[-1])
            numbers.append(frame.number)
        means.append(float(frame.image.mean()))
    assert frame.exposure_ms == pytest.approx(6.0)
    assert means[1] > 1.5 * means[0]
    assert means[2] > 1.2 * means[1]
    scope.stop_stream()


def next_frame(scope: GuardedMicroscope, after: int) -> Frame:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        frame = scope.latest(after)
        if frame is not None:
            return frame
    raise AssertionError("no frame came")


def test_the_camera_has_a_name_that_stays(scope: GuardedMicroscope) -> None:
    one = scope.camera()
    size = f"{scope.rig.camera.width_px}x{scope.rig.camera.height_px} at 0,0, binning 1"
    assert one.name.endswith(size)
    scope.move_to(Position(5, 5, 0))
    scope.set_exposure(7.0)
    scope.snap()
    scope.select_objective(scope.rig.high)
    scope.move_to(Position(5, 5, 0))
    assert scope.camera().name == one.name
    if scope.rig.backend == "simulated":
        assert one.pixel_size_um is None
    else:
        sizes = (scope.rig.pixel_size_um(scope.rig.low), scope.rig.pixel_size_um(scope.rig.high))
        assert (one.pixel_size_um, scope.camera().pixel_size_um) == pytest.approx(sizes)


def test_a_frame_says_where_and_with_what_it_was_taken(scope: GuardedMicroscope) -> None:
    scope.select_objective(scope.rig.high)
    scope.move_to(Position(60, -70, 2))
    scope.set_exposure(9.0)
    before = time.time()
    frame = scope.snap()
    camera = scope.rig.camera
    shape = (camera.height_px, camera.width_px) + ((3,) if camera.color else ())
    assert frame.image.shape == shape
    assert frame.image.dtype == (np.uint8 if camera.bits == 8 else np.uint16)
    assert frame.image.max() <= camera.full_scale
    assert frame.image.flags.c_contiguous
    assert near(frame.position, Position(60, -70, 2), scope)
    assert frame.objective == scope.rig.high
    assert frame.exposure_ms == pytest.approx(9.0)
    assert abs(frame.time - before) < 600


def test_each_frame_is_new_and_belongs_to_the_caller(scope: GuardedMicroscope) -> None:
    one = scope.snap()
    kept = one.image.copy()
    other = scope.snap()
    assert other.number > one.number
    assert not np.array_equal(one.image, other.image)
    assert np.array_equal(one.image, kept)
    one.image[...] = 0


def test_more_light_with_a_longer_exposure(scope: GuardedMicroscope) -> None:
    means = []
    for exposure_ms in (2.0, 4.0):
        scope.set_exposure(exposure_ms)
        means.append(float(scope.snap().image.mean()))
    assert means[1] > 1.5 * means[0]


def test_the_specimen_follows_the_stage(scope: GuardedMicroscope) -> None:
    """The right half of one view is the left half of the view half a field further right."""
    one = scope.snap().image.astype(float)
    camera, size_um = scope.rig.camera, scope.rig.pixel_size_um(scope.objective())
    scope.move_to(Position(camera.width_px / 2 * size_um, 0, 0))
    other = scope.snap().image.astype(float)
    half = camera.width_px // 2
    same = np.corrcoef(one[:, half:].ravel(), other[:, :half].ravel())[0, 1]
    assert same > 0.6


def test_a_stream_gives_newer_and_newer_frames(scope: GuardedMicroscope) -> None:
    scope.start_stream()
    scope.start_stream()
    numbers = []
    deadline = time.monotonic() + 10
    while len(numbers) < 3 and time.monotonic() < deadline:
        frame = scope.latest(numbers[-1] if numbers else 0)
        if frame is not None:
            numbers.append(frame.number)
    assert len(numbers) == 3
    assert sorted(set(numbers)) == numbers
    assert scope.latest(10**9) is None
    with pytest.raises(MicroscopeError, match="stop the stream"):
        scope.snap()
    scope.stop_stream()
    scope.stop_stream()
    assert scope.snap().number > numbers[-1]


def test_latest_without_a_stream_is_refused(scope: GuardedMicroscope) -> None:
    with pytest.raises(MicroscopeError, match="start the stream"):
        scope.latest(0)


def test_closing_twice_is_fine_and_afterwards_nothing_answers(scope: GuardedMicroscope) -> None:
    scope.close()
    scope.close()
    with pytest.raises(MicroscopeError, match="closed"):
        scope.position()


def test_stop_breaks_off_a_move_at_once() -> None:
    rig = make_rig(
        **{
            'clock = "virtual"': 'clock = "real"',
            "speed_um_per_s = 10000.0": "speed_um_per_s = 100.0",
        }
    )
    with open_microscope(rig) as microscope:
        microscope.move_to(Position(0, 0, 0))
        threading.Timer(0.3, microscope.stop).start()
        began = time.monotonic()
        with pytest.raises(StoppedError):
            microscope.move_to(Position(5000, 0, 0))
        assert time.monotonic() - began < 2
        assert 0 < microscope.position().x_um < 1000
        microscope.rearm()
        microscope.move_to(Position(30, 0, 0))
        assert near(microscope.position(), Position(30, 0, 0), microscope)


def test_a_stop_holds_until_rearm(scope: GuardedMicroscope) -> None:
    here = scope.position()
    scope.stop()
    scope.stop()
    for motion in (
        lambda: scope.move_to(Position(500, 0, 0)),
        lambda: scope.select_objective(scope.rig.high),
        scope.snap,
    ):
        with pytest.raises(StoppedError, match="rearm"):
            motion()
    assert scope.position() == here
    scope.rearm()
    scope.move_to(Position(500, 0, 0))
    assert scope.snap().number > 0


def test_a_longer_exposure_does_not_hold_up_a_long_stream() -> None:
    with simulated() as microscope:
        microscope.start_stream()
        number = 0
        for _ in range(100):
            number = next_frame(microscope, number).number
        microscope.set_exposure(300.0)
        came = [microscope.latest(number) for _ in range(3)]
        assert any(frame is not None for frame in came)


def test_gain_of_the_simulated_camera_multiplies_signal_and_noise() -> None:
    levels = {}
    for gain in (1.0, 2.0):
        with open_microscope(make_rig(**{"bits = 8": "bits = 12"})) as microscope:
            microscope.set_exposure(3.0)
            microscope.set_gain(gain)
            dark_dn = microscope.rig.simulation.camera.dark_dn
            snapped = microscope.snap().image
            microscope.start_stream()
            levels[gain] = [snapped - dark_dn, next_frame(microscope, 1).image - dark_dn]
    for once, twice in zip(levels[1.0], levels[2.0], strict=True):
        assert np.abs(twice - 2 * once).max() <= 1.5, "rounding, and nothing else"


def test_a_camera_that_takes_no_setting_while_it_runs_is_interrupted() -> None:
    stand = Stand(Faults(refuses_while_streaming=True))
    with open_stand(stand) as microscope:
        microscope.start_stream()
        before = next_frame(microscope, 0)
        microscope.set_exposure(5.0)
        microscope.set_gain(6.0)
        after = next_frame(microscope, before.number)
        assert after.number > before.number
        assert after.exposure_ms == 5.0
        assert (stand.gain, microscope.gain()) == (6.0, 6.0)
        stops = len(stand.of("stop_sequence_acquisition"))
        assert stops == 2, "once for each"


def test_a_setting_the_camera_never_takes_leaves_the_stream_running() -> None:
    stand = Stand()

    def refuse(*_: object) -> None:
        raise RuntimeError("Invalid property value (3)")

    stand.set_property = refuse
    with open_stand(stand) as microscope:
        microscope.start_stream()
        before = next_frame(microscope, 0)
        with pytest.raises(MicroscopeError, match="Invalid property value"):
            microscope.set_gain(6.0)
        assert next_frame(microscope, before.number).number > before.number


def test_a_gain_the_camera_does_not_keep_is_noticed() -> None:
    stand = Stand()
    stand.set_property = lambda *_: None
    with open_stand(stand) as microscope:
        with pytest.raises(ReadbackError, match="asked for a gain of 6 and reports 0"):
            microscope.set_gain(6.0)


def test_a_camera_without_a_gain_says_so() -> None:
    with open_stand(Stand(Faults(gain_limits=None))) as microscope:
        assert microscope.camera().gain_limits is None
        assert microscope.gain() == 1.0
        with pytest.raises(MicroscopeError, match="the camera has no gain that could be set"):
            microscope.set_gain(2.0)


def test_no_thread_is_left_after_closing() -> None:
    before = threading.active_count()
    with simulated() as microscope:
        microscope.snap()
    assert threading.active_count() == before
