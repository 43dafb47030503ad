"""The hands on the instrument: where they take it, in what order, and how they are stopped."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from java_server import serving
from rigs import demo_rig, make_rig, remote_rig

from scope_sr.calibration import CalibrationRecord
from scope_sr.config import AXES, Rig
from scope_sr.errors import MicroscopeError, StoppedError
from scope_sr.frame import Frame, Position
from scope_sr.live.board import Board
from scope_sr.live.seen import Seen
from scope_sr.live.source.hands import Hands
from scope_sr.microscope import GuardedMicroscope, open_microscope
from scope_sr.microscope.protocol import Microscope
from scope_sr.specimen.optics import View, specimen_offsets_um

EXACT = {
    "\nrepeatability_um = 0.3": "\nrepeatability_um = 0.0",
    "\nz_repeatability_um = 0.05": "\nz_repeatability_um = 0.0",
    "\nrepeatability_um = 0.5": "\nrepeatability_um = 0.0",
    "\nz_repeatability_um = 0.1": "\nz_repeatability_um = 0.0",
    "rotation_deg = 0.6": "rotation_deg = 7.0",
    "distortion = 0.0015": "distortion = 0.05",
    "tilt_um_per_mm = [0.25, -0.15]": "tilt_um_per_mm = [0.0, 0.0]",
    "relief_um = 0.15": "relief_um = 0.0",
}
PATIENCE_S = 20.0


@dataclass
class FakeStand:
    """As much of a stand as the hands ask for."""

    microscope: Microscope | None
    rig: Rig | None
    record: CalibrationRecord | None
    expected_objective: str = ""


@dataclass
class Bench:
    """Hands at work on a microscope, and what they say."""

    microscope: GuardedMicroscope
    stand: FakeStand
    board: Board
    hands: Hands
    moves: list[Position] = field(default_factory=list)

    def done(self) -> None:
        """Wait until nothing is under way."""
        until_s = time.monotonic() + PATIENCE_S
        while self.hands.busy:
            assert time.monotonic() < until_s, self.hands.busy
            time.sleep(0.001)

    def said(self, topic: str) -> str:
        return next((note.words for note in self.board.notes() if note.topic == topic), "")

    def wait_for(self, condition: Callable[[], object]) -> None:
        until_s = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < until_s
            time.sleep(0.001)

    def seen(self, shape: tuple[int, int] | None = None) -> Seen:
        """See what is seen now; the pixels do not matter here."""
        camera = self.microscope.rig.camera
        shape = shape or (camera.height_px, camera.width_px)
        name = self.microscope.objective()
        frame = Frame(
            np.zeros((*shape, 3), np.uint8), self.microscope.position(), name, 10.0, 0.0, 1
        )
        um_per_px = self.stand.record.objectives[name].pixel_size_um
        return Seen(frame, frame.image, um_per_px, 0.0, 1, 0.0)


def true_record(rig: Rig) -> CalibrationRecord:
    """Write down what is true of a simulated rig, as a perfect calibration would find it."""
    nominal, truth = CalibrationRecord.nominal(rig), rig.simulation
    angle = math.radians(truth.camera.rotation_deg)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    axes = turn @ np.array([AXES[rig.camera.image_right], AXES[rig.camera.image_down]]).T
    lenses = {}
    for name, lens in nominal.objectives.items():
        true = truth.objectives[name]
        affine = tuple(map(tuple, (axes * true.pixel_size_um).tolist()))
        parts = {
            "affine_um_per_px": affine,
            "parcentric_um": true.parcentric_um,
            "parfocal_um": true.parfocal_um,
            "distortion": true.distortion,
        }
        lenses[name] = lens.model_copy(update=parts)
    return nominal.model_copy(update={"objectives": lenses, "measured": True})


def bench(microscope: GuardedMicroscope, record: CalibrationRecord) -> Iterator[Bench]:
    board = Board()
    stand = FakeStand(microscope, microscope.rig, record)
    hands = Hands(stand, board)
    made = Bench(microscope, stand, board, hands)
    backend_move = microscope._backend.move_to

    def noted(position: Position) -> None:
        made.moves.append(position)
        backend_move(position)

    microscope._backend.move_to = noted
    hands.start()
    yield made
    hands.close()
    assert not hands._thread.is_alive()


@pytest.fixture
def exact() -> Iterator[Bench]:
    rig = make_rig(**EXACT)
    with open_microscope(rig) as microscope:
        yield from bench(microscope, true_record(rig))


@pytest.fixture
def slow() -> Iterator[Bench]:
    """Have a stage that takes ten seconds for a millimetre, by the clock."""
    changes = {
        'clock = "virtual"': 'clock = "real"',
        "speed_um_per_s = 10000.0\nacceleration": "speed_um_per_s = 100.0\nacceleration",
        "turn_s = 1.2\n\n[simulation.surface]": "turn_s = 0.2\n\n[simulation.surface]",
    }
    rig = make_rig(**EXACT, **changes)
    with open_microscope(rig) as microscope:
        yield from bench(microscope, true_record(rig))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    path = tmp_path_factory.mktemp("server") / "rig.toml"
    path.write_text(demo_rig().text, encoding="utf-8")
    with serving(rig=path) as running:
        yield running


@pytest.fixture(params=["simulated", "demo", "remote"])
def every(request: pytest.FixtureRequest) -> Iterator[Bench]:
    kind = request.param
    rig = make_rig(**EXACT) if kind == "simulated" else demo_rig()
    rig = remote_rig(request.getfixturevalue("server").port) if kind == "remote" else rig
    with open_microscope(rig) as microscope:
        microscope.select_objective(rig.low)
        microscope.move_to(Position(0, 0, 0))
        yield from bench(microscope, CalibrationRecord.nominal(rig))


def true_view(microscope: GuardedMicroscope) -> View:
    return microscope._backend._view()


def true_point_um(view: View, row: int, column: int) -> np.ndarray:
    return np.asarray(view.centre_um) + specimen_offsets_um(view)[:, row, column]


def off_centre_px(view: View, point_um: np.ndarray) -> float:
    return float(np.hypot(*np.linalg.solve(view.matrix, point_um - view.centre_um)))


def near(here: Position, x_um: float, y_um: float, z_um: float) -> bool:
    found, wanted = (here.x_um, here.y_um, here.z_um), (x_um, y_um, z_um)
    return bool(np.allclose(found, wanted, atol=0.3))


# -- where they take it ----------------------------------------------------------------------------


@pytest.mark.parametrize("objective", ["10x", "20x"])
@pytest.mark.parametrize("pixel", [(0, 0), (47, 5), (10, 60)])
def test_a_point_that_is_clicked_comes_to_the_centre(
    exact: Bench, objective: str, pixel: tuple[int, int]
) -> None:
    exact.microscope.select_objective(objective)
    exact.microscope.move_to(Position(120, -80, 2))
    point_um = true_point_um(true_view(exact.microscope), *pixel)
    assert off_centre_px(true_view(exact.microscope), point_um) > 15
    exact.hands.centre_on(exact.seen(), *pixel)
    exact.done()
    assert off_centre_px(true_view(exact.microscope), point_um) < 1
    assert exact.microscope.position().z_um == pytest.approx(2.0)
    assert not exact.board.errors


def test_a_point_of_an_old_frame_comes_to_the_centre_of_another_objective(exact: Bench) -> None:
    seen, point_um = exact.seen(), true_point_um(true_view(exact.microscope), 3, 3)
    exact.hands.go(400.0, 300.0)
    exact.hands.turn_to("20x")
    exact.hands.centre_on(seen, 3, 3)
    exact.done()
    assert exact.microscope.objective() == "20x"
    assert off_centre_px(true_view(exact.microscope), point_um) < 1


def test_a_binned_picture_counts_in_its_own_pixels(exact: Bench) -> None:
    point_um = true_point_um(true_view(exact.microscope), 40, 8)
    whole = exact.seen()
    binned = Seen(
        whole.frame, np.zeros((24, 32, 3), np.uint8), 2 * (whole.um_per_px or 0), 0.0, 1, 0.0
    )
    exact.hands.centre_on(binned, 39.5 / 2, 7.5 / 2)
    exact.done()
    assert off_centre_px(true_view(exact.microscope), point_um) < 1.5


def test_where_the_pixel_size_is_not_known_nothing_moves(exact: Bench) -> None:
    seen = exact.seen()
    exact.hands.centre_on(Seen(seen.frame, seen.rgb, None, 0.0, 1, 0.0), 0, 0)
    exact.done()
    assert exact.said("stage").startswith("nobody knows how large the pixels are")
    assert not exact.moves


def test_an_objective_that_is_turned_to_shows_the_same_point_in_focus(exact: Bench) -> None:
    exact.microscope.move_to(Position(55.5, -20.25, 0))
    before = true_view(exact.microscope)
    assert abs(before.defocus_um) < 0.01
    for name in ("20x", "5x", "20x", "10x"):
        exact.hands.turn_to(name)
        exact.done()
        after = true_view(exact.microscope)
        assert exact.microscope.objective() == name
        assert exact.stand.expected_objective == name
        assert np.allclose(after.centre_um, before.centre_um, atol=0.05)
        assert abs(after.defocus_um) < 0.05
    assert not exact.board.errors


def test_each_objective_has_the_exposure_it_was_last_used_with(exact: Bench) -> None:
    lens = exact.stand.record.objectives["5x"].model_copy(update={"exposure_ms": 8.0})
    lenses = {**exact.stand.record.objectives, "5x": lens}
    exact.stand.record = exact.stand.record.model_copy(update={"objectives": lenses})
    found = []
    for step in (
        lambda: exact.hands.set_exposure(7.0),
        lambda: exact.hands.turn_to("20x"),
        lambda: exact.hands.set_exposure(33.0),
        lambda: exact.hands.turn_to("5x"),
        lambda: exact.hands.turn_to("10x"),
        lambda: exact.hands.turn_to("20x"),
    ):
        step()
        exact.done()
        found.append(exact.microscope.exposure_ms())
    assert found == [7.0, 12.0, 33.0, 8.0, 7.0, 33.0]


def test_an_objective_the_record_does_not_know_goes_by_the_rig(exact: Bench) -> None:
    lenses = {n: lens for n, lens in exact.stand.record.objectives.items() if n != "20x"}
    exact.stand.record = exact.stand.record.model_copy(update={"objectives": lenses})
    exact.hands.turn_to("20x")
    exact.done()
    assert near(exact.microscope.position(), 38.0, -21.0, 4.0), "as the operator typed it"


def test_from_a_place_between_two_objectives_it_turns_and_says_what_is_missing(
    exact: Bench,
) -> None:
    exact.microscope._backend._objective = "4-Unknown"
    exact.hands.turn_to("20x")
    exact.done()
    assert exact.microscope.objective() == "20x"
    assert exact.said("objective").endswith("focus by hand")


def test_steps_go_on_from_where_the_last_ended_on_every_instrument(every: Bench) -> None:
    for _ in range(5):
        every.hands.move_by(10.0, 0.0)
    every.hands.move_by(0.0, -7.0, 2.0)
    every.done()
    assert near(every.microscope.position(), 50.0, -7.0, 2.0)
    every.hands.move_by(1.0, 1.0)
    every.done()
    assert near(every.microscope.position(), 51.0, -6.0, 2.0)
    assert not every.board.errors


def test_all_of_it_goes_on_while_the_camera_runs_on_every_instrument(every: Bench) -> None:
    """Pictures come on, the point that was seen stays, and settings reach the camera."""
    microscope, record, rig = every.microscope, every.stand.record, every.microscope.rig
    microscope.start_stream()
    seen = every.seen()
    every.hands.set_exposure(21.0)
    every.hands.set_gain(2.0)
    every.hands.centre_on(seen, 0, 0)
    every.hands.turn_to(rig.high)
    every.done()
    x, y = (1 - seen.shape[1]) / 2, (1 - seen.shape[0]) / 2
    point_um = record.specimen_um(rig.low, seen.frame.position, (x, y))
    lens = record.objectives[rig.high]
    assert np.allclose(record.specimen_um(rig.high, microscope.position()), point_um, atol=0.3)
    assert microscope.position().z_um == pytest.approx(lens.parfocal_um, abs=0.1)
    assert microscope.exposure_ms() == rig.objectives[rig.high].exposure_ms
    assert (microscope.gain(), every.stand.gain) == (2.0, 2.0)
    until_s, frame = time.monotonic() + PATIENCE_S, None
    while frame is None and time.monotonic() < until_s:
        frame = microscope.latest(0)
    assert frame is not None
    assert not every.board.errors
    every.hands.turn_to(rig.low)
    every.done()
    assert microscope.exposure_ms() == 21.0
    microscope.set_gain(1.0)


# -- what waits ------------------------------------------------------------------------------------


class Held:
    """Holds the hands at the next move until it is let go."""

    def __init__(self, made: Bench) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        move_to = made.microscope._backend.move_to

        def held(position: Position) -> None:
            self.begun.set()
            assert self.go_on.wait(PATIENCE_S)
            move_to(position)

        made.microscope._backend.move_to = held


def test_steps_that_wait_add_up_to_one_move(exact: Bench) -> None:
    held = Held(exact)
    exact.hands.move_by(50.0, 0.0)
    assert held.begun.wait(PATIENCE_S)
    assert exact.hands.busy == "moving"
    for _ in range(4):
        exact.hands.move_by(50.0, 0.0)
        exact.hands.set_exposure(9.0)
    assert len(exact.hands._waiting) == 2
    held.go_on.set()
    exact.done()
    assert near(exact.microscope.position(), 250.0, 0.0, 0.0)
    assert {round(move.x_um) for move in exact.moves} <= {0, 30, 50, 230, 250}
    assert exact.hands.busy == ""


def test_the_latest_setting_counts_and_a_place_makes_steps_before_it_pointless(
    exact: Bench,
) -> None:
    exposures, gains = [], []
    set_exposure, set_gain = exact.microscope.set_exposure, exact.microscope.set_gain
    exact.microscope.set_exposure = lambda ms: exposures.append(ms) or set_exposure(ms)
    exact.microscope.set_gain = lambda gain: gains.append(gain) or set_gain(gain)
    held = Held(exact)
    exact.hands.move_by(50.0, 0.0)
    assert held.begun.wait(PATIENCE_S)
    for number in range(1, 6):
        exact.hands.set_exposure(10.0 + number)
        exact.hands.set_gain(1.0 + number)
        exact.hands.move_by(0.0, 100.0, 1.0)
    exact.hands.go(-40.0, -30.0)
    exact.hands.move_by(5.0, 5.0)
    held.go_on.set()
    exact.done()
    assert (exposures, gains) == ([15.0], [6.0])
    assert near(exact.microscope.position(), -35.0, -25.0, 5.0), "the focus steps stay"


def test_steps_before_and_after_a_turn_are_kept_apart(exact: Bench) -> None:
    held = Held(exact)
    exact.hands.move_by(50.0, 0.0)
    assert held.begun.wait(PATIENCE_S)
    exact.hands.move_by(10.0, 0.0)
    exact.hands.turn_to("5x")
    exact.hands.turn_to("20x")
    exact.hands.go(7.0, 8.0)
    held.go_on.set()
    exact.done()
    assert exact.microscope.objective() == "20x"
    assert near(exact.microscope.position(), 7.0, 8.0, 3.8)


def test_small_steps_do_not_add_up_the_rounding_of_the_device(exact: Bench) -> None:
    for _ in range(3):
        exact.hands.move_by(0.333, 0.0)
        exact.done()
    assert exact.moves[-1].x_um == pytest.approx(0.999, abs=1e-9)


def test_a_stage_moved_by_hand_is_believed(exact: Bench) -> None:
    exact.hands.move_by(10.0, 0.0)
    exact.done()
    exact.microscope.move_to(Position(500, 500, 0))
    exact.hands.move_by(10.0, 0.0)
    exact.done()
    assert near(exact.microscope.position(), 510.0, 500.0, 0.0)


# -- what goes wrong -------------------------------------------------------------------------------


def test_limits_refuse_in_one_line_until_a_move_succeeds(exact: Bench) -> None:
    exact.hands.move_by(10.0, 0.0)
    exact.done()
    exact.moves.clear()
    exact.hands.move_by(1e6, 0.0)
    exact.done()
    assert not exact.moves, "nothing is clipped"
    assert exact.said("stage").endswith("nothing moved")
    exact.hands.move_by(10.0, 0.0)
    exact.done()
    assert exact.said("stage") == ""
    assert near(exact.microscope.position(), 20.0, 0.0, 0.0)
    assert len(exact.board.errors) == 1


@pytest.mark.parametrize(
    ("ask", "topic", "words"),
    [
        (lambda hands: hands.turn_to("100x"), "objective", "nobody knows where 100x looks"),
        (lambda hands: hands.set_exposure(-1.0), "exposure", "an exposure of -1 ms cannot be"),
        (lambda hands: hands.set_gain(99.0), "gain", "goes from 0.5 to 8"),
    ],
)
def test_what_cannot_be_is_said_under_its_own_topic(
    exact: Bench, ask: Callable[[Hands], None], topic: str, words: str
) -> None:
    ask(exact.hands)
    exact.done()
    assert words in exact.said(topic)
    assert [note.topic for note in exact.board.notes()] == [topic]


def test_while_the_microscope_is_gone_it_is_said(exact: Bench) -> None:
    exact.stand.microscope = None
    exact.hands.move_by(10.0, 0.0)
    exact.hands.stop()
    exact.hands.move_by(10.0, 0.0)
    exact.done()
    assert exact.said("stage").startswith("the microscope was not there and nothing was done")


@pytest.mark.parametrize("error", [RuntimeError("the driver crashed"), OSError("unplugged")])
def test_a_driver_that_fails_leaves_the_hands_at_work(exact: Bench, error: Exception) -> None:
    def fail(position: Position) -> None:
        raise error

    move_to, exact.microscope._backend.move_to = exact.microscope._backend.move_to, fail
    exact.hands.move_by(10.0, 0.0)
    exact.done()
    assert exact.said("stage") == str(error)
    exact.microscope._backend.move_to = move_to
    exact.hands.move_by(10.0, 0.0)
    exact.done()
    assert near(exact.microscope.position(), 10.0, 0.0, 0.0)


def test_a_fault_of_our_own_is_logged_and_said(
    exact: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    exact.stand.record = 3
    exact.hands.turn_to("20x")
    exact.done()
    assert "a fault of this program" in exact.said("objective")
    assert "Traceback" in caplog.text
    exact.hands.move_by(10.0, 0.0)
    exact.done()
    assert near(exact.microscope.position(), 10.0, 0.0, 0.0)


# -- stop ------------------------------------------------------------------------------------------


def test_stop_breaks_off_drops_what_waits_and_the_next_request_moves(slow: Bench) -> None:
    slow.hands.move_by(2000.0, 0.0)
    slow.hands.move_by(0.0, 100.0)
    slow.wait_for(lambda: slow.microscope.position().x_um > 5)
    began_s = time.monotonic()
    slow.hands.stop()
    assert time.monotonic() - began_s < 0.1
    slow.done()
    here = slow.microscope.position()
    assert time.monotonic() - began_s < 1.0
    assert here.x_um < 500
    assert slow.said("stage") == "stopped"
    assert not slow.board.errors, "a stop that was asked for is no error"
    slow.hands.move_by(3.0, 0.0)
    slow.done()
    assert slow.said("stage") == ""
    assert near(slow.microscope.position(), here.x_um + 3.0, here.y_um, here.z_um)


def test_a_turn_that_was_stopped_is_taken_up_again_into_focus(slow: Bench) -> None:
    before = true_view(slow.microscope)
    select = slow.microscope._backend.select_objective

    def turned_then_stopped(name: str) -> None:
        select(name)
        slow.hands.stop()

    slow.microscope._backend.select_objective = turned_then_stopped
    slow.hands.turn_to("20x")
    slow.done()
    assert slow.microscope.objective() == "20x"
    assert slow.microscope.retracted
    slow.microscope._backend.select_objective = select
    slow.hands.turn_to("20x")
    slow.done()
    assert not slow.microscope.retracted
    assert abs(true_view(slow.microscope).defocus_um - before.defocus_um) < 0.1
    assert slow.microscope.exposure_ms() == 12.0


def test_a_stop_returns_at_once_whatever_the_device_does(exact: Bench) -> None:
    answer = threading.Event()

    def late() -> None:
        assert answer.wait(PATIENCE_S)
        raise MicroscopeError("the microscope did not confirm a stop within 2 s; stop it by hand")

    stop, exact.microscope.stop = exact.microscope.stop, late
    began_s = time.monotonic()
    exact.hands.stop()
    assert time.monotonic() - began_s < 0.1
    answer.set()
    exact.wait_for(lambda: exact.said("stage") != "stopped")
    assert exact.said("stage").endswith("stop it by hand")
    exact.microscope.stop = stop


def test_no_stop_is_lost_between_two_moves(exact: Bench) -> None:
    """A stop that comes while the one before is being lifted holds."""
    rearm = exact.microscope.rearm

    def stopped_then_rearmed() -> None:
        exact.microscope.rearm = rearm
        exact.hands.stop()
        for stopper in exact.hands._stoppers:
            stopper.join()
        rearm()

    exact.hands.stop()
    exact.microscope.rearm = stopped_then_rearmed
    exact.hands.move_by(100.0, 0.0)
    exact.done()
    assert not exact.moves
    assert exact.said("stage") == "stopped"
    with pytest.raises(StoppedError):
        exact.microscope.move_to(Position(100, 0, 0))
    exact.hands.move_by(1.0, 0.0)
    exact.done()
    assert near(exact.microscope.position(), 1.0, 0.0, 0.0)


def test_a_stop_between_taking_up_a_request_and_beginning_it_holds(exact: Bench) -> None:
    class Late(FakeStand):
        """Stop at the moment the hands reach for the microscope."""

        @property
        def microscope(self) -> Microscope:
            if threading.current_thread() is exact.hands._thread and not stopped:
                stopped.append(True)
                exact.hands.stop()
            return exact.microscope

        @microscope.setter
        def microscope(self, value: Microscope) -> None: ...

    stopped: list[bool] = []
    exact.microscope.rearm = lambda: pytest.fail("nothing is to be lifted")
    exact.hands._stand = Late(None, exact.stand.rig, exact.stand.record)
    exact.hands.move_by(100.0, 0.0)
    exact.done()
    assert stopped
    assert not exact.moves
    assert exact.said("stage") == "stopped"
    del exact.microscope.rearm
    exact.hands.move_by(1.0, 0.0)
    exact.done()
    assert near(exact.microscope.position(), 1.0, 0.0, 0.0)


def test_closing_breaks_off_and_ends_within_a_second(slow: Bench) -> None:
    threads = threading.active_count()
    slow.hands.move_by(2000.0, 0.0)
    slow.wait_for(lambda: slow.microscope.position().x_um > 5)
    began_s = time.monotonic()
    slow.hands.close()
    assert time.monotonic() - began_s < 1.0
    assert threading.active_count() == threads - 1
    assert slow.microscope.position().x_um < 500


def test_hands_that_were_never_started_close() -> None:
    Hands(FakeStand(None, None, None), Board()).close()


@pytest.mark.slow
def test_a_stop_reaches_a_stage_that_blocks_over_the_bridge(tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    path.write_text(demo_rig().text, encoding="utf-8")
    with serving(rig=path, delay={"setXYPosition": 1.0}) as running:
        with open_microscope(remote_rig(running.port)) as microscope:
            for made in bench(microscope, CalibrationRecord.nominal(microscope.rig)):
                made.hands.move_by(3000.0, 0.0)
                made.wait_for(lambda made=made: made.moves)
                began_s = time.monotonic()
                made.hands.stop()
                assert time.monotonic() - began_s < 0.1
                made.done()
                assert made.said("stage") == "stopped"
                assert microscope.position().x_um < 2900
