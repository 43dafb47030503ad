"""Safety: what the guard refuses, and what it does when the instrument misbehaves."""

from __future__ import annotations

import itertools
import threading
import time

import pytest
from rigs import make_rig

from scope_sr.config import Rig
from scope_sr.errors import (
    DeadlineError,
    LimitError,
    MicroscopeError,
    ReadbackError,
    StoppedError,
)
from scope_sr.frame import Frame, Position
from scope_sr.microscope.guarded import GuardedMicroscope
from scope_sr.microscope.simulated import SimulatedMicroscope

HOME = Position(0, 0, 0)


class Recorder(SimulatedMicroscope):
    """The simulated microscope, remembering each motion in order, with faults to switch on."""

    def __init__(self, rig: Rig) -> None:
        super().__init__(rig)
        self.motions: list[tuple[str, Position]] = []
        self.short_um = 0.0
        self.short_times = 10**9
        self.readback_um = 0.0
        self.wrong_label = ""
        self.hang = threading.Event()
        self.hang.set()

    def move_to(self, position: Position) -> None:
        if self.short_times > 0 and self.short_um:
            self.short_times -= 1
            position = Position(position.x_um - self.short_um, position.y_um, position.z_um)
        super().move_to(position)
        self.motions.append(("move", position))

    def select_objective(self, name: str) -> None:
        self.motions.append(("turn", super().position()))
        super().select_objective(self.wrong_label or name)

    def position(self) -> Position:
        here = super().position()
        return Position(here.x_um + self.readback_um, here.y_um, here.z_um)

    def snap(self) -> Frame:
        self.hang.wait()
        return super().snap()


@pytest.fixture
def backend() -> Recorder:
    return Recorder(make_rig(**{"snap_s = 30.0": "snap_s = 1.5"}))


@pytest.fixture
def guarded(backend: Recorder) -> GuardedMicroscope:
    return GuardedMicroscope(backend, backend._rig)


def test_the_objective_is_retracted_whenever_the_nosepiece_turns(
    guarded: GuardedMicroscope, backend: Recorder
) -> None:
    guarded.move_to(Position(100, 100, 10))
    guarded.select_objective("20x")
    turns = [position for what, position in backend.motions if what == "turn"]
    assert [p.z_um for p in turns] == [10 - 500]
    guarded.select_objective("5x")
    guarded.select_objective("10x")
    assert guarded.position().z_um == pytest.approx(10 - 500)  # retracted once is enough
    guarded.move_to(Position(0, 0, 20))
    guarded.select_objective("20x")
    assert guarded.position().z_um == pytest.approx(20 - 500)


def test_toward_the_specimen_may_be_down() -> None:
    rig = make_rig(
        **{
            'toward_specimen = "+z"': 'toward_specimen = "-z"',
            "z_limits_um = [-1000.0, 50.0]": "z_limits_um = [-50.0, 1000.0]",
        }
    )
    backend = Recorder(rig)
    with GuardedMicroscope(backend, rig) as guarded:
        guarded.select_objective("20x")
        assert [p.z_um for what, p in backend.motions if what == "turn"] == [500]


def test_no_room_to_retract_no_turn(backend: Recorder, guarded: GuardedMicroscope) -> None:
    guarded.move_to(Position(0, 0, -600))
    backend.motions.clear()
    with pytest.raises(LimitError, match=r"cannot retract 500 µm .* nothing moved"):
        guarded.select_objective("20x")
    assert backend.motions == []
    assert guarded.objective() == "10x"


def test_each_position_is_approached_from_below_whatever_the_way(
    guarded: GuardedMicroscope, backend: Recorder
) -> None:
    for target in (HOME, Position(50, 50, 0), Position(-80, 60, 0), Position(-80, 0, 0)):
        before = len(backend.motions)
        here = guarded.position()
        guarded.move_to(target)
        way = [here, *(p for _, p in backend.motions[before:])]
        for axis in ("x_um", "y_um"):
            places = [getattr(p, axis) for p in way]
            arrivals = [b - a for a, b in itertools.pairwise(places) if b != a]
            if arrivals:
                assert arrivals[-1] >= 20 - 1e-9, (target, axis, places)


def test_focus_is_approached_from_afar(guarded: GuardedMicroscope, backend: Recorder) -> None:
    guarded.move_to(Position(0, 0, 10))
    for z_um in (12.0, 8.0, 8.0, 30.0):
        before = [backend.motions[-1][1].z_um]
        start = len(backend.motions)
        guarded.move_to(Position(0, 0, z_um))
        places = before + [p.z_um for _, p in backend.motions[start:]]
        steps = [b - a for a, b in itertools.pairwise(places) if b != a]
        down = z_um < before[0]
        assert steps == [] or steps[-1] >= (5 - 1e-9 if down else 0), places


def test_the_lens_is_up_while_the_stage_travels(
    guarded: GuardedMicroscope, backend: Recorder
) -> None:
    guarded.move_to(Position(0, 0, 40))
    backend.motions.clear()
    guarded.move_to(Position(1000, 0, -100))
    assert [(p.x_um, p.z_um) for _, p in backend.motions] == [(0, -105), (1000, -105), (1000, -100)]
    backend.motions.clear()
    guarded.move_to(Position(2000, 0, 40))
    assert [(p.x_um, p.z_um) for _, p in backend.motions] == [(2000, -100), (2000, 40)]


def test_a_stage_that_stops_short_once_is_sent_again(
    guarded: GuardedMicroscope, backend: Recorder
) -> None:
    backend.short_um, backend.short_times = 30.0, 1
    guarded.move_to(Position(500, 0, 0))
    assert guarded.position().x_um == pytest.approx(500)


def test_a_stage_that_stops_short_is_an_error(
    guarded: GuardedMicroscope, backend: Recorder
) -> None:
    backend.short_um = 30.0
    with pytest.raises(ReadbackError, match=r"sent to .* reports x = -30.00.*, twice"):
        guarded.move_to(Position(500, 0, 0))


def test_a_readback_that_is_off_is_an_error(guarded: GuardedMicroscope, backend: Recorder) -> None:
    backend.readback_um = 5.0
    with pytest.raises(ReadbackError, match="tolerance is 2 µm"):
        guarded.move_to(Position(500, 0, 0))


def test_a_wrong_label_leaves_the_objective_retracted(
    guarded: GuardedMicroscope, backend: Recorder
) -> None:
    backend.wrong_label = "5x"
    with pytest.raises(ReadbackError, match="reports 5x after it was turned to 20x"):
        guarded.select_objective("20x")
    assert guarded.position().z_um == pytest.approx(-500)


def test_a_camera_that_does_not_answer(guarded: GuardedMicroscope, backend: Recorder) -> None:
    backend.hang.clear()
    began = time.monotonic()
    with pytest.raises(DeadlineError, match=r"the camera did not answer within 1.5 s"):
        guarded.snap()
    assert time.monotonic() - began < 4
    began = time.monotonic()
    with pytest.raises(DeadlineError):
        guarded.position()
    guarded.close()
    assert time.monotonic() - began < 2
    backend.hang.set()


def test_two_threads_never_turn_the_nosepiece_while_the_lens_is_down(
    guarded: GuardedMicroscope, backend: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    position = backend.position

    def slowly() -> Position:
        time.sleep(0.003)
        return position()

    monkeypatch.setattr(backend, "position", slowly)
    over = threading.Event()

    def jog() -> None:
        while not over.is_set():
            guarded.move_to(HOME)

    other = threading.Thread(target=jog)
    other.start()
    for name in ("20x", "10x") * 6:
        guarded.select_objective(name)
    over.set()
    other.join()
    turns = [p.z_um for what, p in backend.motions if what == "turn"]
    assert len(turns) == 12
    assert max(turns) <= -490


@pytest.mark.parametrize("leg", [1, 2, 3])
def test_a_stop_between_the_legs_of_a_move_ends_it(
    guarded: GuardedMicroscope, backend: Recorder, monkeypatch: pytest.MonkeyPatch, leg: int
) -> None:
    move_to = backend.move_to

    def stopped_after(position: Position) -> None:
        move_to(position)
        if len(backend.motions) == leg:
            guarded.stop()

    monkeypatch.setattr(backend, "move_to", stopped_after)
    with pytest.raises(StoppedError):
        guarded.move_to(Position(-3000, -3000, -20))
    assert len(backend.motions) == leg
    monkeypatch.setattr(backend, "move_to", move_to)
    guarded.rearm()
    guarded.move_to(HOME)


def test_ctrl_c_while_a_call_waits_in_the_lane_stops_the_stage(
    guarded: GuardedMicroscope, backend: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interrupt comes after the call was handed over and before the device began."""
    import _thread

    move_to = backend.move_to

    def late(position: Position) -> None:
        _thread.interrupt_main()
        time.sleep(0.3)
        move_to(position)

    monkeypatch.setattr(backend, "move_to", late)
    with pytest.raises(KeyboardInterrupt):
        guarded.move_to(Position(3000, 0, 0))
    time.sleep(0.6)
    assert backend.motions == []
    with pytest.raises(StoppedError):
        guarded.move_to(Position(100, 0, 0))


def test_a_stop_that_fails_does_not_hide_the_error_nor_keep_the_device_open(
    backend: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise RuntimeError

    closed = []
    monkeypatch.setattr(backend, "stop", broken)
    monkeypatch.setattr(backend, "close", lambda: closed.append(True))
    guarded = GuardedMicroscope(backend, backend._rig)
    backend.hang.clear()
    with pytest.raises(DeadlineError, match="the camera did not answer"):
        guarded.snap()
    guarded.close()
    healthy = GuardedMicroscope(backend, backend._rig)
    healthy.close()
    assert closed == [True]
    backend.hang.set()


def test_a_stop_that_hangs_says_so(backend: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(backend, "stop", over.wait)
    with GuardedMicroscope(backend, backend._rig) as guarded:
        with pytest.raises(DeadlineError, match=r"did not confirm a stop within 2 s"):
            guarded.stop()
        over.set()


def test_an_image_of_another_size_is_refused(
    guarded: GuardedMicroscope, backend: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = backend.snap()
    small = Frame(frame.image[::2], frame.position, "10x", 1.0, 0.0, 9)
    monkeypatch.setattr(backend, "snap", lambda: small)
    with pytest.raises(MicroscopeError, match=r"shape \(24, 64, 3\), the rig says \(48, 64, 3\)"):
        guarded.snap()


def test_a_bug_of_ours_keeps_its_own_type(
    guarded: GuardedMicroscope, backend: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> Frame:
        raise ZeroDivisionError

    monkeypatch.setattr(backend, "snap", broken)
    with pytest.raises(ZeroDivisionError):
        guarded.snap()
