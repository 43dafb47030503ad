"""Safety: what the guard refuses, and what it does when the instrument misbehaves."""

from __future__ import annotations

import itertools
import threading
import time

import pytest
from rigs import make_rig

from scope_sr.config import Rig
from scope_sr.errors import DeadlineError, LimitError, MicroscopeError, ReadbackError
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
    return Recorder(make_rig(**{"snap_s = 10.0": "snap_s = 1.5"}))


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
    assert guarded.position().z_um == pytest.approx(10)


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


def test_the_lens_is_up_while_the_stage_travels(
    guarded: GuardedMicroscope, backend: Recorder
) -> None:
    guarded.move_to(Position(0, 0, 40))
    backend.motions.clear()
    guarded.move_to(Position(1000, 0, -100))
    assert [p.z_um for _, p in backend.motions] == [-100, -100]
    backend.motions.clear()
    guarded.move_to(Position(2000, 0, 40))
    assert [p.z_um for _, p in backend.motions] == [-100, 40]


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
    with pytest.raises(ReadbackError, match=r"sent to x = 0.00.* reports x = -30.00.*, twice"):
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
