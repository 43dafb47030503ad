"""A Nikon stand that misbehaves, and the laws of the microscope on it.

``tests/stand.py`` keeps what is true apart from what is reported, and lists as violations what a
real stand would punish. No test here may ever add one to that list.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from stand import (
    LABELS,
    Faults,
    Stand,
    View,
    link_to_stand,
    open_stand,
    stand_rig,
    z_commands,
)

from scope_sr.acquire_pairs import Summary, capture_pairs, start_position
from scope_sr.calibration import CalibrationRecord
from scope_sr.config import Rig
from scope_sr.errors import (
    DeadlineError,
    InputError,
    LimitError,
    MicroscopeError,
    ReadbackError,
    ScopeSRError,
    StoppedError,
)
from scope_sr.frame import Position
from scope_sr.microscope import GuardedMicroscope
from scope_sr.microscope.link import ask, in_words
from scope_sr.microscope.micromanager import MicroManager
from scope_sr.plan import plan_pairs
from scope_sr.session import Session

HERE = Position(100.0, 100.0, 0.0)
TYPED = {
    "stable_s = 0.2": "stable_s = 0.12"
}  # a lock that settles fast, where time is not the point


def stand_with(*, lock: bool = False, **faults: object) -> Stand:
    """Make a stand; `lock`: Perfect Focus is on already, as the operator left it."""
    stand = Stand(Faults(**faults))
    if lock:
        stand.press_lock_button(on=True)
    return stand


@contextlib.contextmanager
def opened(stand: Stand, rig: Rig | None = None) -> Iterator[GuardedMicroscope]:
    """Open a stand, and see at the end that nothing was done that a real one would punish."""
    with open_stand(stand, rig) as microscope:
        yield microscope
    assert stand.violations == []


def captured(stand: Stand, folder: Path, rig: Rig | None = None) -> Summary:
    """Capture two by two pairs from where the stand is."""
    rig = rig or stand_rig()
    record = CalibrationRecord.nominal(rig)
    with opened(stand, rig) as microscope:
        origin = start_position(microscope, record, rig.low, None)
        plan = plan_pairs(rig, record, rows=2, columns=2, origin=origin, coverage="center")
        with Session.create(folder, plan, rig, record) as session:
            return capture_pairs(microscope, session)


def while_moving(microscope: GuardedMicroscope, target: Position) -> threading.Thread:
    """Move in another thread; whatever comes of it is not asked."""

    def move() -> None:
        with contextlib.suppress(ScopeSRError):
            microscope.move_to(target)

    thread = threading.Thread(target=move)
    thread.start()
    return thread


def one_line(error: BaseException) -> str:
    text = str(error)
    assert text
    assert "\n" not in text
    return text


# -- a whole capture under Perfect Focus -----------------------------------------------------------


def test_a_capture_under_perfect_focus(tmp_path: Path) -> None:
    """Every field in focus by the truth of the stand; z is commanded once per pass, no more."""
    stand = stand_with(lock=True, off_late_s=0.05, z_report_s=0.1)
    summary = captured(stand, tmp_path / "A")
    assert (summary.low, summary.high, summary.complete) == (4, 4, True)
    assert [shot.label for shot in stand.shots] == [LABELS[1]] * 4 + [LABELS[2]] * 4
    assert all(shot.lock_on for shot in stand.shots)
    worst_um = max(abs(shot.z_um - shot.focus_um) for shot in stand.shots)
    assert worst_um <= stand_rig().focus_lock.stable_um
    places = [z_um for z_um, _ in itertools.groupby(z_commands(stand))]
    off, focus, away, second = places  # take up the play, focus; retract; focus
    assert (off, away) == pytest.approx((focus - 5, focus - 300), abs=3)
    assert second == focus
    assert stand.lock_on


def test_a_lock_that_was_off_stays_off(tmp_path: Path) -> None:
    stand = stand_with()
    assert captured(stand, tmp_path / "A").complete
    assert not stand.lock_on
    assert stand.of("enable_continuous_focus") == []


def test_an_error_under_way_leaves_the_lock_off_and_the_objective_retracted(tmp_path: Path) -> None:
    stand = stand_with(lock=True, wrong_label=LABELS[0])
    with pytest.raises(ReadbackError, match=r"reports 1-Plan Apo 4x after it was turned to 20x"):
        captured(stand, tmp_path / "A")
    assert not stand.lock_on
    assert stand.true_z_um < -290
    assert stand.violations == []


@pytest.mark.parametrize(("shows", "late_s"), [("enabled", 0.2), ("busy", 0.2), ("enabled", 0.0)])
def test_a_lock_that_is_switched_off_late_is_waited_for(shows: str, late_s: float) -> None:
    stand = stand_with(lock=True, off_late_s=late_s, off_shows=shows)
    with opened(stand) as microscope:
        microscope.select_objective("20x")
        assert not stand.lock_on


def test_after_a_long_move_the_lock_is_waited_for() -> None:
    stand = stand_with(lock=True, lose_over_um=1000.0, lose_s=0.5)
    with opened(stand) as microscope:
        microscope.move_to(HERE)
        for x_um in (1500.0, 2600.0):
            microscope.move_to(Position(x_um, 100.0, 0.0))
            microscope.snap()
    assert all(abs(shot.z_um - shot.focus_um) <= 0.2 for shot in stand.shots)


def test_a_stillness_from_before_the_lock_does_not_count() -> None:
    """While it searches z stands still; it says "locked", and only then begins to swing."""
    stand = stand_with(
        lock=True, lose_over_um=300.0, lose_s=0.35, hunt_after_s=0.08, hunt_tau_s=0.06
    )
    with opened(stand) as microscope:
        microscope.move_to(HERE)
        microscope.move_to(Position(1500.0, 100.0, 0.0))
        for _ in range(20):
            microscope.snap()
    assert max(abs(shot.z_um - shot.focus_um) for shot in stand.shots) <= 0.2


def test_an_axis_that_stays_is_not_sent_again() -> None:
    """What a drive reports is rounded, never quite what it was sent to; a Ti2 blocks at each."""
    stand = stand_with(z_step_um=0.07, xy_step_um=0.3)
    with opened(stand) as microscope:
        microscope.move_to(HERE)
        before = len(stand.calls)
        microscope.move_to(Position(200.0, 100.0, 0.0))
        microscope.move_to(Position(200.0, 100.0, 10.0))
        sent = [
            c.verb for c in stand.calls[before:] if c.verb in ("set_xy_position", "set_position")
        ]
        assert sent == ["set_xy_position", "set_position"]


def test_a_lock_that_let_go_between_two_fields_is_taken_up_again() -> None:
    """Perfect Focus gives up where it loses the glass; the fields after would be blurred."""
    stand = stand_with(lock=True)
    with opened(stand) as microscope:
        microscope.move_to(HERE)
        stand.press_lock_button(on=False)
        with contextlib.suppress(MicroscopeError):
            microscope.move_to(Position(300.0, 100.0, 0.0))
            assert stand.lock_on


def test_under_the_lock_a_move_leaves_the_focus_drive_alone() -> None:
    stand = stand_with(lock=True)
    with opened(stand) as microscope:
        microscope.move_to(HERE)
        before = len(list(z_commands(stand)))
        for x_um in (400.0, -300.0, 800.0):
            microscope.move_to(Position(x_um, 0.0, 0.0))
            found = microscope.position()
            assert found.z_um == pytest.approx(stand.focus_at(x_um, 0.0), abs=0.3)
        assert len(list(z_commands(stand))) == before
        assert microscope.focus_held()


def test_a_move_while_retracted_does_not_switch_the_lock_on() -> None:
    stand = stand_with(lock=True)
    with opened(stand) as microscope:
        microscope.move_to(HERE)
        microscope.select_objective("20x")
        there = microscope._sent
        assert there is not None
        microscope.move_to(Position(500.0, 0.0, there.z_um))
        assert not stand.lock_on
        microscope.move_to(Position(500.0, 0.0, 0.0))
        assert stand.lock_on


def test_nor_does_one_to_where_the_devices_say_it_is() -> None:
    """A caller reads the position and changes x: the last digit of z is the device's rounding."""
    stand = stand_with(lock=True, z_step_um=0.07)
    with opened(stand) as microscope:
        microscope.move_to(HERE)
        microscope.select_objective("20x")
        here = microscope.position()
        assert microscope._sent
        assert here.z_um != microscope._sent.z_um
        microscope.move_to(Position(here.x_um + 50, here.y_um, here.z_um))
        assert not stand.lock_on
        microscope.select_objective("10x")  # and it is not retracted a second time
        assert stand.true_z_um == pytest.approx(here.z_um, abs=0.1)


def test_nor_does_one_after_a_move_that_was_stopped_before_it_began() -> None:
    """It was on its way to the focus and never left: it is as retracted as before."""
    stand = stand_with(lock=True)
    with opened(stand) as microscope:
        microscope.move_to(HERE)
        microscope.select_objective("20x")
        away_um = stand.true_z_um
        microscope.stop()
        with pytest.raises(StoppedError):
            microscope.move_to(HERE)
        microscope.rearm()
        there = microscope.position()
        microscope.move_to(Position(300.0, 0.0, there.z_um))
        assert not stand.lock_on
        microscope.select_objective("10x")
        assert stand.true_z_um == pytest.approx(away_um, abs=0.1)  # not a second time
        microscope.move_to(HERE)
        assert stand.lock_on


def test_the_lock_is_not_switched_on_while_retracted_even_if_asked() -> None:
    stand = stand_with()
    with opened(stand) as microscope:
        microscope.move_to(HERE)
        microscope.select_objective("20x")
        with contextlib.suppress(MicroscopeError):
            microscope.hold_focus(on=True)
        assert not stand.lock_on


def test_switching_the_lock_by_hand() -> None:
    stand = stand_with()
    with opened(stand) as microscope:
        microscope.move_to(HERE)
        assert not microscope.focus_held()
        microscope.hold_focus(on=True)
        assert microscope.focus_held()
        assert abs(stand.true_z_um - stand.focus_at(100, 100)) <= 0.2
        microscope.select_objective("20x")
        assert not microscope.focus_held()
        microscope.move_to(HERE)
        assert microscope.focus_held()
        microscope.hold_focus(on=False)
        microscope.select_objective("10x")
        microscope.move_to(HERE)
        assert not microscope.focus_held()


# -- locks that fail -------------------------------------------------------------------------------


def test_a_lock_that_never_comes_is_an_error_in_time() -> None:
    stand = stand_with(never_locks=True)
    with opened(stand) as microscope:
        microscope.move_to(HERE)
        began_s = time.monotonic()
        with pytest.raises(MicroscopeError, match=r"^PFS has not locked the focus within 1.2 s"):
            microscope.hold_focus(on=True)
        assert time.monotonic() - began_s < 1.2 + 0.4
        assert microscope.position().x_um == pytest.approx(100)  # the microscope is not given up


def test_a_lock_that_never_comes_is_switched_off_again() -> None:
    stand = stand_with(never_locks=True)
    with opened(stand) as microscope:
        microscope.move_to(HERE)
        with pytest.raises(MicroscopeError):
            microscope.hold_focus(on=True)
        assert not stand.lock_on


def test_a_lock_that_stays_busy_is_named() -> None:
    stand = stand_with(never_locks=True, lock_busy=True)
    with opened(stand) as microscope:
        microscope.move_to(HERE)
        with pytest.raises(MicroscopeError, match="PFS"):
            microscope.hold_focus(on=True)
        assert not stand.lock_on
        assert microscope.position().x_um == pytest.approx(100)


def test_out_of_its_range_the_lock_never_comes() -> None:
    stand = stand_with()
    with opened(stand) as microscope:
        microscope.move_to(Position(0.0, 0.0, -60.0))
        with pytest.raises(MicroscopeError, match=r"z = -60.00 µm.*bring the slide into its range"):
            microscope.hold_focus(on=True)


def test_a_lock_that_settles_too_far_away_is_switched_off() -> None:
    stand = stand_with(run_um_per_s=400.0, run_to_um=30.0)
    with opened(stand) as microscope:
        microscope.move_to(HERE)
        with pytest.raises(LimitError, match=r"[23]\d\.\d µm from where it was sent, focus_lock"):
            microscope.hold_focus(on=True)
        assert not stand.lock_on


def test_a_lock_that_settles_outside_the_limits_is_switched_off() -> None:
    """Within range_um of where it was sent, and yet above the limit of the rig."""
    stand = stand_with(run_um_per_s=400.0, run_to_um=15.0)
    rig = stand_rig(**{"z_limits_um = [-900.0, 100.0]": "z_limits_um = [-900.0, 10.0]"})
    with opened(stand, rig) as microscope:
        microscope.move_to(HERE)
        with pytest.raises(LimitError, match=r"switched off: stage z = 1\d\.\d+ µm is outside"):
            microscope.hold_focus(on=True)
        assert not stand.lock_on


def test_a_lock_that_runs_away_is_caught_before_the_glass() -> None:
    """It never settles, 50 µm a second: 80 µm to the glass, 20 µm are allowed."""
    stand = stand_with(run_um_per_s=50.0)
    with opened(stand) as microscope:
        microscope.move_to(HERE)
        with pytest.raises(LimitError, match="carried the objective away and was switched off"):
            microscope.hold_focus(on=True)
        assert not stand.lock_on
        assert stand.true_z_um < 20 + 50 * 0.3


def test_a_first_lock_is_held_to_where_it_began() -> None:
    """Nothing was sent anywhere yet: where the objective was is all one knows."""
    stand = stand_with(run_um_per_s=400.0, run_to_um=30.0)
    with opened(stand) as microscope:
        with pytest.raises(LimitError):
            microscope.hold_focus(on=True)
        assert not stand.lock_on


@pytest.mark.parametrize(("to_um", "limit_um"), [(30.0, 100.0), (15.0, 10.0)])
def test_a_lock_that_runs_away_between_fields_is_switched_off(
    to_um: float, limit_um: float
) -> None:
    """Too far from where it was sent; or near enough, and yet above the limit of the rig."""
    stand = stand_with(lock=True)
    rig = stand_rig(**{"z_limits_um = [-900.0, 100.0]": f"z_limits_um = [-900.0, {limit_um}]"})
    with opened(stand, rig) as microscope:
        microscope.move_to(HERE)
        stand.misbehave(run_um_per_s=400.0, run_to_um=to_um)
        with pytest.raises(LimitError, match="carried the objective away and was switched off"):
            microscope.move_to(Position(300.0, 100.0, 0.0))
        assert not stand.lock_on


def test_a_lock_that_creeps_away_field_by_field_is_switched_off() -> None:
    """No single move goes beyond range_um; where it was sent is what counts."""
    stand = stand_with(lock=True, slope=(0.02, 0.0))
    with opened(stand) as microscope:
        microscope.move_to(Position(0.0, 0.0, 0.0))
        microscope.move_to(Position(700.0, 0.0, 0.0))
        with pytest.raises(LimitError, match="carried the objective away and was switched off"):
            microscope.move_to(Position(1400.0, 0.0, 0.0))
        assert not stand.lock_on


def test_a_lock_that_failed_stays_off_until_it_is_asked_for() -> None:
    """Safe states are left only by command: the next move must not let it run again."""
    stand = stand_with(lock=True)
    with opened(stand) as microscope:
        microscope.move_to(HERE)
        stand.misbehave(run_um_per_s=400.0, run_to_um=30.0)
        with pytest.raises(LimitError):
            microscope.move_to(Position(300.0, 100.0, 0.0))
        stand.misbehave(run_um_per_s=0.0)
        microscope.move_to(Position(400.0, 100.0, 0.0))
        assert not stand.lock_on


def test_a_lock_that_failed_is_off_before_the_focus_drive_moves() -> None:
    """It takes its time to switch off, after an error as ever."""
    stand = stand_with(off_late_s=0.4, off_shows="busy")
    with opened(stand) as microscope:
        microscope.move_to(HERE)
        stand.misbehave(never_locks=True)
        with pytest.raises(MicroscopeError, match="has not locked"):
            microscope.hold_focus(on=True)
        microscope.move_to(Position(100.0, 100.0, -20.0))


def test_a_lock_that_let_go_before_a_turn_is_taken_up_after_it() -> None:
    stand = stand_with(lock=True)
    with opened(stand) as microscope:
        microscope.move_to(HERE)
        stand.press_lock_button(on=False)
        microscope.select_objective("20x")
        with contextlib.suppress(MicroscopeError):
            microscope.move_to(HERE)
            assert stand.lock_on


def test_a_lock_that_lets_go_on_the_way_is_an_error() -> None:
    stand = stand_with(lock=True)
    with opened(stand) as microscope:
        microscope.move_to(HERE)
        stand.misbehave(drops_at_xy=1)
        with pytest.raises(MicroscopeError, match=r"^PFS has not locked"):
            microscope.move_to(Position(300.0, 100.0, 0.0))


def test_the_focus_drive_waits_for_the_stage_when_the_lock_let_go() -> None:
    """Switched off at the stand between two moves: z goes back by rule, not while x, y travel."""
    stand = stand_with(lock=True, slope=(0.02, 0.0), speed_um_per_s=2000.0)
    with opened(stand) as microscope:
        microscope.move_to(HERE)
        microscope.move_to(Position(400.0, 100.0, 0.0))  # the lock carries z up to 8 µm
        stand.press_lock_button(on=False)
        before = len(stand.calls)
        with contextlib.suppress(MicroscopeError):
            microscope.move_to(Position(1200.0, 100.0, 0.0))
        sent = [c for c in stand.calls[before:] if c.verb.startswith("set_")]
        together = [
            (one.verb, other.verb)
            for one, other in itertools.pairwise(sent)
            if one.verb != other.verb and other.time_s - one.time_s < 0.002
        ]
        assert together == []


def test_a_lock_switched_on_at_the_stand_is_believed() -> None:
    """The operator pressed the button between two moves; the lock then carries z along a slope."""
    stand = stand_with(slope=(0.02, 0.0))
    with opened(stand) as microscope:
        microscope.move_to(Position(0.0, 0.0, 0.0))
        stand.press_lock_button(on=True)
        time.sleep(0.4)
        microscope.move_to(Position(200.0, 0.0, 0.0))
        assert microscope.focus_held()


def test_no_lock_no_perfect_focus() -> None:
    stand = stand_with(auto_focus="")
    with opened(stand) as microscope:
        microscope.move_to(HERE)
        assert microscope.focus_held() is False
        microscope.hold_focus(on=False)
        with pytest.raises(MicroscopeError, match="device not defined"):
            microscope.hold_focus(on=True)
        microscope.select_objective("20x")


# -- stop ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("blocks", [False, True])
def test_a_stop_ends_a_move(*, blocks: bool) -> None:
    stand = stand_with(speed_um_per_s=1000.0, blocks_xy=blocks)
    with opened(stand) as microscope:
        threading.Timer(0.3, microscope.stop).start()
        began_s = time.monotonic()
        with pytest.raises(StoppedError):
            microscope.move_to(Position(3000.0, 0.0, 0.0))
        assert time.monotonic() - began_s < 0.8
        x_um = stand.xy[0]
        assert 0 < x_um < 1000
        time.sleep(0.1)
        assert stand.xy[0] == x_um
        microscope.rearm()
        microscope.move_to(HERE)


def test_a_stop_stops_the_lock_too() -> None:
    """A lock that runs away is a motion; "at once" is now, not after its deadline."""
    stand = stand_with()
    with opened(stand) as microscope:
        microscope.move_to(HERE)
        stand.misbehave(run_um_per_s=20.0)
        threading.Timer(0.2, microscope.stop).start()
        with pytest.raises(StoppedError):
            microscope.hold_focus(on=True)
        z_um = stand.true_z_um
        time.sleep(0.2)
        assert stand.true_z_um == z_um


def test_after_a_stop_the_lock_may_be_switched_off() -> None:
    """Nothing moves by it, on the contrary."""
    stand = stand_with(lock=True)
    with opened(stand) as microscope:
        microscope.move_to(HERE)
        microscope.stop()
        microscope.hold_focus(on=False)
        assert not stand.lock_on


# -- stages that say done too early ----------------------------------------------------------------

CREEP = {"creep_um": 3.5, "creep_um_per_s": 25.0}
LOOSE = {"tolerance_um = 2.0": "tolerance_um = 4.0"}


def test_a_stage_that_creeps_is_waited_for() -> None:
    stand = stand_with(**CREEP)
    with opened(stand, stand_rig(**LOOSE, **{"stable_ms = 5.0": "stable_ms = 60.0"})) as microscope:
        microscope.move_to(HERE)
        frame = microscope.snap()
    (shot,) = stand.shots
    assert shot.x_um == pytest.approx(100, abs=0.5)
    assert frame.position.x_um == pytest.approx(shot.x_um, abs=0.1)


def test_without_that_wait_it_would_have_fooled_us() -> None:
    stand = stand_with(**CREEP)
    with opened(stand, stand_rig(**LOOSE, **{"stable_ms = 5.0": "stable_ms = 0.0"})) as microscope:
        microscope.move_to(HERE)
        microscope.snap()
    (shot,) = stand.shots
    assert shot.speed_um_per_s > 0
    assert abs(shot.x_um - 100) > 1


# -- live ------------------------------------------------------------------------------------------


def worst_gap_s(microscope: GuardedMicroscope, thread: threading.Thread) -> float:
    """Fetch frames as fast as they come for as long as a thread runs."""
    newest, last_s, worst_s = 0, time.monotonic(), 0.0
    while thread.is_alive():
        frame = microscope.latest(newest)
        if frame is not None:
            assert frame.number > newest
            newest = frame.number
            now_s = time.monotonic()
            worst_s, last_s = max(worst_s, now_s - last_s), now_s
        time.sleep(0.001)
    return max(worst_s, time.monotonic() - last_s)


def test_frames_keep_coming_while_the_stage_answers_nothing() -> None:
    stand = stand_with(blocks_xy=True, speed_um_per_s=2000.0)
    with opened(stand) as microscope:
        microscope.move_to(HERE)
        microscope.start_stream()
        mover = while_moving(microscope, Position(4100.0, 100.0, 0.0))
        assert worst_gap_s(microscope, mover) < 0.1
        mover.join()
        moves = [call.seconds for call in stand.of("set_xy_position")]
        assert max(moves) > 1.9
        time.sleep(0.15)
        frame = microscope.latest(0)
        assert frame is not None
        assert frame.position.x_um == pytest.approx(4100)
        microscope.stop_stream()


def test_nor_does_a_move_catch_a_look_at_the_stage_half_way() -> None:
    """The camera takes its time to answer; when it has, the stage does not answer any more."""
    stand = stand_with(blocks_xy=True, speed_um_per_s=1000.0, camera_query_s=0.04)
    with opened(stand) as microscope:
        microscope.move_to(HERE)
        microscope.start_stream()

        def move() -> None:
            for n in range(1, 5):
                microscope.move_to(Position(100.0 + 400 * n, 100.0, 0.0))

        mover = threading.Thread(target=move)
        mover.start()
        assert worst_gap_s(microscope, mover) < 0.15
        mover.join()
        microscope.stop_stream()


def test_lost_frames_are_counted() -> None:
    stand = stand_with()
    with opened(stand) as microscope:
        microscope.set_exposure(50.0)
        microscope.start_stream()
        stand.drop_frames(2, 3, 4)
        newest = 0
        for _ in range(3):
            while (frame := microscope.latest(newest)) is None:
                time.sleep(0.002)
            newest = frame.number
        assert newest == 6  # images 0, 1, 5
        assert microscope.frames_lost == 3
        microscope.stop_stream()


def test_a_stream_begun_anew_behind_our_back_keeps_its_numbers_rising() -> None:
    stand = stand_with()
    with opened(stand) as microscope:
        microscope.start_stream()
        newest, numbers = 0, []
        until_s = time.monotonic() + 0.3
        while time.monotonic() < until_s:
            frame = microscope.latest(newest)
            if frame is not None:
                newest = frame.number
                numbers.append(newest)
                if len(numbers) in (10, 20):
                    stand.restart_stream()
        assert len(numbers) > 40
        assert numbers == sorted(set(numbers))
        microscope.stop_stream()
        assert microscope.snap().number > newest


def test_a_stream_ended_behind_our_back_is_an_error_and_can_be_started_again() -> None:
    stand = stand_with()
    with opened(stand) as microscope:
        microscope.start_stream()
        while (frame := microscope.latest(0)) is None:
            time.sleep(0.002)
        stand.end_stream()
        with pytest.raises(MicroscopeError, match="the stream was ended in Micro-Manager"):
            microscope.latest(10**9)
        microscope.start_stream()  # as the message says
        time.sleep(0.01)
        newer = microscope.latest(frame.number)
        assert newer is not None
        assert stand.is_sequence_running()
        microscope.stop_stream()


# -- several threads -------------------------------------------------------------------------------


def test_asking_during_a_long_wait_does_not_end_the_session() -> None:
    """A window asks where the stage is while Perfect Focus searches; a deadline is for a call."""
    rig = stand_rig(**{"move_s = 2.0": "move_s = 0.3", "stable_s = 0.2": "stable_s = 0.9"})
    stand = stand_with()
    with opened(stand, rig) as microscope:
        microscope.move_to(HERE)

        def lock() -> None:
            with contextlib.suppress(MicroscopeError):
                microscope.hold_focus(on=True)

        locking = threading.Thread(target=lock)
        locking.start()
        time.sleep(0.1)
        try:
            microscope.position()
        finally:
            locking.join()
        assert microscope.focus_held()


def test_where_the_stage_is_can_be_asked_during_a_move() -> None:
    """By the protocol, position() never blocks on a move."""
    stand = stand_with(speed_um_per_s=2000.0)
    with opened(stand) as microscope:
        mover = while_moving(microscope, Position(2000.0, 0.0, 0.0))
        time.sleep(0.2)
        began_s = time.monotonic()
        microscope.position()
        took_s = time.monotonic() - began_s
        mover.join()
        assert took_s < 0.2


def test_nor_does_a_question_catch_a_stage_that_answers_nothing_while_it_moves() -> None:
    stand = stand_with(blocks_xy=True, speed_um_per_s=1000.0, query_s=0.004)
    with opened(stand) as microscope:
        microscope.move_to(HERE)

        def move() -> None:
            for n in range(1, 5):
                microscope.move_to(Position(100.0 + 400 * n, 100.0, 0.0))

        mover = threading.Thread(target=move)
        mover.start()
        worst_s = 0.0
        while mover.is_alive():
            began_s = time.monotonic()
            microscope.position()
            worst_s = max(worst_s, time.monotonic() - began_s)
        mover.join()
        assert worst_s < 0.2


# -- scale, direction, roles -----------------------------------------------------------------------


def test_a_magnifier_swung_in_is_noticed_at_every_turn_and_snap() -> None:
    rig = stand_rig(
        **{
            "port = 4827": 'port = 4827\nmagnifier_at = "1.00x"',
            'nosepiece = "Nosepiece"': 'magnifier = "IntermediateMagnification"',
        }
    )
    stand = stand_with()
    with opened(stand, rig) as microscope:
        microscope.move_to(HERE)
        microscope.snap()
        stand.magnifier = "1.50x"
        for verb in (microscope.snap, lambda: microscope.select_objective("20x")):
            with pytest.raises(
                MicroscopeError, match=r"Magnification is at 1.50x, stand.toml holds for 1.00x"
            ):
                verb()
        stand.magnifier = "1.00x"
        microscope.snap()


def test_a_magnifier_nobody_named_shows_in_the_pixel_size() -> None:
    stand = stand_with()
    with opened(stand) as microscope:
        stand.magnifier = "1.50x"
        with pytest.raises(MicroscopeError, match=r"says 0.666667 µm per pixel for 10x, stand"):
            microscope.snap()


def test_no_preset_no_picture_unless_the_rig_knows() -> None:
    stand = stand_with()
    stand.pixel_um.clear()
    with (
        opened(stand) as microscope,
        pytest.raises(MicroscopeError, match="knows no pixel size for 10x; make a pixel size"),
    ):
        microscope.snap()
    told = {'label = "2-Plan Apo 10x"': 'label = "2-Plan Apo 10x"\npixel_size_um = 1.0'}
    with opened(stand, stand_rig(**told)) as microscope:
        microscope.snap()


@pytest.mark.parametrize(("direction", "toward"), [(-1, "+z"), (1, "-z")])
def test_a_contradicted_direction_is_refused(direction: int, toward: str) -> None:
    stand = stand_with(direction=direction)
    rig = stand_rig(**{'toward_specimen = "+z"': f'toward_specimen = "{toward}"'})
    with pytest.raises(InputError, match=f"toward_specimen = '\\{toward}'.* goes the other way"):
        open_stand(stand, rig)
    assert stand.of("set_position", "set_xy_position", "set_state_label") == []


def test_toward_the_glass_may_be_down() -> None:
    stand = stand_with(toward=-1, direction=-1, lock=True)
    rig = stand_rig(
        **{
            'toward_specimen = "+z"': 'toward_specimen = "-z"',
            "z_limits_um = [-900.0, 100.0]": "z_limits_um = [-100.0, 900.0]",
        }
    )
    with opened(stand, rig) as microscope:
        microscope.move_to(HERE)
        microscope.select_objective("20x")
        assert stand.true_z_um > 290


ROLES = {
    'nosepiece = "Nosepiece"': 'camera = "Camera-2"\nfocus_lock = "PFS"\nnosepiece = "Nosepiece"'
}


def test_roles_are_taken_and_given_back() -> None:
    stand = stand_with(auto_focus="")
    before = dict(stand.roles)
    with opened(stand, stand_rig(**ROLES)) as microscope:
        assert (stand.roles["camera"], stand.roles["auto_focus"]) == ("Camera-2", "PFS")
        microscope.move_to(HERE)
        microscope.hold_focus(on=True)
        microscope.hold_focus(on=False)
    assert stand.roles == before


def test_roles_are_given_back_when_the_opening_fails() -> None:
    stand = stand_with(auto_focus="", direction=-1)
    before = dict(stand.roles)
    with pytest.raises(InputError, match="goes the other way"):
        open_stand(stand, stand_rig(**ROLES))
    assert stand.roles == before


def test_roles_are_given_back_though_the_camera_will_not_stop() -> None:
    stand = stand_with(auto_focus="")
    before = dict(stand.roles)
    microscope = open_stand(stand, stand_rig(**ROLES))
    microscope.start_stream()

    def broken() -> None:
        msg = "Camera is gone"
        raise RuntimeError(msg)

    stand.stop_sequence_acquisition = broken
    with pytest.raises(MicroscopeError, match="Camera is gone"):
        microscope.close()
    assert stand.roles == before


def test_a_nosepiece_that_is_mute_while_it_turns() -> None:
    stand = stand_with(mute_while_turning=True, turn_s=0.3)
    with opened(stand) as microscope:
        microscope.select_objective("20x")
        assert microscope.objective() == "20x"


# -- words and numbers -----------------------------------------------------------------------------


def test_numpy_numbers_are_taken_for_numbers() -> None:
    stand = stand_with()
    with pytest.raises(TypeError):
        View(stand, "hardware").set_exposure(np.float32(3))
    with opened(stand) as microscope:
        microscope.move_to(Position(np.float32(10), np.int64(20), np.float64(-3)))
        microscope.set_exposure(np.float32(3))
        assert microscope.exposure_ms() == 3
        backend = microscope._backend
        backend.set_exposure(np.float32(4))
        backend.hold_focus(np.bool_(False))
        assert microscope.exposure_ms() == 4


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError('Error in device "X": bad (1)\nmore\nlines'), 'Error in device "X": bad (1)'),
        (
            Exception("java.lang.Exception: java.lang.Exception: text\n\tat mmcorej.X(Y.java)"),
            "text",
        ),
        (Exception("java.lang.NullPointerException\n\tat a.b"), "java.lang.NullPointerException"),
        pytest.param(
            Exception("java.lang.Exception: \n\tat mmcorej.CMMCore.snapImage"),
            "failed without a word",
        ),
        (IndexError("Circular buffer is empty."), "Circular buffer is empty."),
        (ValueError(""), "failed without a word"),
        (AttributeError("no such verb"), "it does not know this (no such verb)"),
        pytest.param(AttributeError("no\nsuch verb"), "it does not know this (no"),
        (AttributeError("'NoneType' object has no attribute 'send'"), "the connection was cut"),
        (Exception("Bridge has been closed"), "the connection was cut"),
    ],
)
def test_errors_are_put_in_one_line(error: Exception, words: str) -> None:
    with pytest.raises(MicroscopeError) as caught, in_words("snap_image"):
        raise error
    text = one_line(caught.value)
    assert text.startswith(f"Micro-Manager, snap_image: {words}")
    assert not text.endswith(": ")


def test_a_verb_the_core_lacks() -> None:
    with pytest.raises(MicroscopeError, match=r"get_nothing: it does not know this"):
        ask(View(stand_with(), "hardware"), "get_nothing")


def test_a_bug_of_ours_keeps_its_type() -> None:
    with pytest.raises(KeyError), in_words("x"):
        raise KeyError


# -- anything in any order -------------------------------------------------------------------------


def anything(seed: int, verbs: int = 10) -> None:
    """Do things in a random order, some of them behind the program's back; hold it to its laws."""
    chance = random.Random(seed)
    stand = stand_with(
        lock=chance.random() < 0.5,
        hunt_tau_s=0.02,
        off_late_s=chance.choice([0.0, 0.03]),
        off_shows=chance.choice(["enabled", "busy"]),
        z_step_um=chance.choice([0.025, 0.03]),
        mute_while_turning=chance.random() < 0.3,
        turn_s=0.03,
        lose_over_um=chance.choice([1e9, 300.0]),
        lose_s=0.1,
    )
    rig = stand_rig(**TYPED, **{"lock_s = 1.0": "lock_s = 0.5"})
    done: list[str] = []
    with opened(stand, rig) as microscope:
        for _ in range(verbs):
            name, verb = chance.choice(list(anything_of(stand, microscope, chance).items()))
            done.append(name)
            try:
                verb()
            except ScopeSRError as error:
                done[-1] += f" -> {one_line(error)}"
            assert stand.violations == [], done
            assert not microscope._dead, done
    limits = rig.stage.z_limits_um
    assert all(limits[0] <= z_um <= limits[1] for z_um in z_commands(stand)), done


def anything_of(
    stand: Stand, microscope: GuardedMicroscope, chance: random.Random
) -> dict[str, Callable[[], object]]:
    x_um, y_um = chance.uniform(-500, 500), chance.uniform(-500, 500)
    z_um = stand.focus_at(x_um, y_um) + chance.choice([0.0, 4.0, -8.0, -40.0])
    target = Position(x_um, y_um, z_um)

    def go() -> None:
        microscope.move_to(target)
        found, stage = microscope.position(), microscope.rig.stage
        held = microscope.focus_held()
        off_um = microscope.rig.focus_lock.range_um if held else stage.z_tolerance_um
        assert abs(found.x_um - x_um) <= stage.tolerance_um
        assert abs(found.y_um - y_um) <= stage.tolerance_um
        assert abs(found.z_um - z_um) <= off_um
        assert abs(stand.xy[0] - x_um) <= stage.tolerance_um

    def aside() -> None:
        here = microscope.position()
        away = stand.true_z_um < -150
        switched = len(stand.of("enable_continuous_focus"))
        try:
            microscope.move_to(Position(x_um, y_um, here.z_um))
        finally:
            tried = stand.of("enable_continuous_focus")[switched:]
            assert not (away and any(call.values == (True,) for call in tried))

    def turn() -> None:
        name = chance.choice(["10x", "20x"])
        microscope.select_objective(name)
        assert microscope.objective() == name

    def stop_and_go() -> None:
        microscope.stop()
        with pytest.raises(StoppedError):
            microscope.move_to(target)
        microscope.rearm()

    def hold() -> None:
        microscope.hold_focus(on=True)
        if stand.true_z_um > -150:  # retracted it is only remembered
            assert abs(stand.true_z_um - stand.focus_at(*stand.xy)) <= 0.3

    return {
        f"go {target.describe()}": go,
        f"aside {x_um:.0f} {y_um:.0f}": aside,
        "turn": turn,
        "turn again": turn,
        "hold": hold,
        "let go": lambda: microscope.hold_focus(on=False),
        "held?": microscope.focus_held,
        "snap": microscope.snap,
        "stop, rearm": stop_and_go,
        "button on": lambda: stand.press_lock_button(on=True),
        "button off": lambda: stand.press_lock_button(on=False),
        "knob": lambda: None if stand.lock_on else stand.turn_knob(min(30.0, stand.z + 10)),
    }


@pytest.mark.parametrize("seed", range(4))
def test_anything_in_any_order(seed: int) -> None:
    anything(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 160))
def test_much_in_any_order(seed: int) -> None:
    anything(seed, verbs=25)


def test_a_link_is_let_go_of_or_given_up() -> None:
    stand, ended = stand_with(), []
    rig = stand_rig(**{"snap_s = 2.0": "snap_s = 0.2"})
    guarded = GuardedMicroscope(MicroManager(link_to_stand(stand, ended), rig), rig)
    guarded.close()
    assert ended == ["released"]
    ended.clear()
    over = threading.Event()
    hanging = GuardedMicroscope(MicroManager(link_to_stand(stand, ended), rig), rig)
    stand.snap_image = over.wait
    with pytest.raises(DeadlineError, match=r"the camera did not answer within 0.2 s"):
        hanging.snap()
    hanging.close()
    assert ended == ["abandoned"]
    over.set()


def test_a_camera_set_otherwise_calls_itself_otherwise() -> None:
    names = set()
    for faults in (
        Faults(),
        Faults(camera="Camera-2"),
        Faults(binning="2"),
        Faults(roi_at=(8, 0)),
    ):
        with open_stand(Stand(faults)) as microscope:
            names.add(microscope.camera().name)
    assert "Ti2 camera (NikonTi2), 64x48 at 0,0, binning 1, serial number SN-Camera-1" in names
    assert len(names) == 4
