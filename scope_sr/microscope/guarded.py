"""Safety in one place: limits, escape, one-sided approach, read-back, deadlines, stop."""

from __future__ import annotations

import contextlib
import itertools
import math
import queue
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Generic, TypeVar, cast

from scope_sr.config import Rig
from scope_sr.errors import (
    DeadlineError,
    InputError,
    LimitError,
    MicroscopeError,
    ReadbackError,
    StoppedError,
)
from scope_sr.frame import Frame, Position
from scope_sr.microscope.protocol import Microscope
from scope_sr.plan import outside, retracted

T = TypeVar("T")

STOP_S = 2.0  # a stop that takes longer is no stop


class GuardedMicroscope:
    """A microscope that cannot be driven where the rig forbids.

    Keeps every law of :class:`~scope_sr.microscope.protocol.Microscope` whatever the backend does:
    outside the limits it refuses, it retracts before the nosepiece turns, arrives from one side,
    reads back after each move, and gives up on a device that does not answer in time. Verbs of
    several motions are carried out one after the other, whichever threads ask. Use it as a context
    manager; leaving the block stops the stage and closes the devices.
    """

    def __init__(self, backend: Microscope, rig: Rig) -> None:
        self.rig = rig
        self._backend = backend
        self._hardware = Lane("microscope")
        self._frames = Lane("camera stream")
        self._emergency = Lane("stop")
        self._one_at_a_time = threading.RLock()
        self._stopped = threading.Event()
        self._dead = ""
        self._closed = False
        self._streaming = False
        self._taken_up = False
        self._escaped = False
        self._sent: Position | None = None

    def __enter__(self) -> GuardedMicroscope:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def position(self) -> Position:
        """Say where the stage is, as the devices report it."""
        return self._ask("the stage", self._backend.position, self.rig.deadlines.move_s)

    def move_to(self, position: Position) -> None:
        """Move and return settled; limits raise, the place is read back, each axis is taken up.

        A retracting focus drive moves before the stage, an approaching one after it, so that the
        lens is never near the glass while the stage travels.
        """
        target = Position(float(position.x_um), float(position.y_um), float(position.z_um))
        with self._one_at_a_time:
            self._refuse_outside(target)
            here = self._here()
            way = self._way(here, target)
            taken_up, self._taken_up = self._taken_up, False
            self._escaped = self._escaped and target.z_um == here.z_um
            for place in way:
                here = self._go(here, place)
            self._taken_up = taken_up or bool(way)

    def objective(self) -> str:
        """Name the objective in the light path."""
        return self._ask("the nosepiece", self._backend.objective, self.rig.deadlines.turn_s)

    def select_objective(self, name: str) -> None:
        """Retract, turn, read the label back; the objective stays retracted."""
        if name not in self.rig.objectives:
            known = ", ".join(self.rig.objectives)
            msg = f"objective {name!r} is not on rig {self.rig.name}; it has {known}"
            raise InputError(msg)
        with self._one_at_a_time:
            if self.objective() == name:
                return
            self._escape()
            self._ask(
                "the nosepiece",
                self._unless_stopped(lambda: self._backend.select_objective(name)),
                self.rig.nosepiece.turn_s * 2 + self.rig.deadlines.turn_s,
            )
            found = self.objective()
        if found != name:
            msg = (
                f"the nosepiece reports {found} after it was turned to {name}; the objective stays"
                f" retracted by {self.rig.nosepiece.escape_um:g} µm: look at the nosepiece and at"
                f" the slots in {self.rig.source}"
            )
            raise ReadbackError(msg)

    def exposure_ms(self) -> float:
        """Say the exposure the camera will use, in ms."""
        return self._ask("the camera", self._backend.exposure_ms, self.rig.deadlines.snap_s)

    def set_exposure(self, exposure_ms: float) -> None:
        """Set the exposure, in ms."""
        if not (math.isfinite(exposure_ms) and exposure_ms > 0):
            msg = f"an exposure of {exposure_ms:g} ms cannot be; it must be above 0"
            raise InputError(msg)
        with self._one_at_a_time:
            self._ask(
                "the camera",
                lambda: self._backend.set_exposure(float(exposure_ms)),
                self.rig.deadlines.snap_s,
            )

    def snap(self) -> Frame:
        """Take one image and check that it is what the rig's camera delivers."""
        with self._one_at_a_time:
            if self._streaming:
                msg = "the camera is streaming; stop the stream before a snap"
                raise MicroscopeError(msg)
            longest_s = self.exposure_ms() / 1000 + self.rig.deadlines.snap_s
            frame = self._ask("the camera", self._unless_stopped(self._backend.snap), longest_s)
        camera = self.rig.camera
        shape: tuple[int, ...] = (camera.height_px, camera.width_px)
        shape = (*shape, 3) if camera.color else shape
        if frame.image.shape != shape:
            msg = (
                f"the camera delivers images of shape {frame.image.shape}, the rig says {shape};"
                f" correct [camera] in {self.rig.source} or the camera's ROI and binning"
            )
            raise MicroscopeError(msg)
        return frame

    def start_stream(self) -> None:
        """Let the camera run freely."""
        with self._one_at_a_time:
            self._ask("the camera", self._backend.start_stream, self.rig.deadlines.snap_s)
            self._streaming = True

    def latest(self, after: int) -> Frame | None:
        """Give the newest frame above number `after`, else None."""
        deadline_s = self.rig.deadlines.snap_s
        return self._ask(
            "the camera", lambda: self._backend.latest(after), deadline_s, self._frames
        )

    def stop_stream(self) -> None:
        """End the stream."""
        with self._one_at_a_time:
            self._ask("the camera", self._backend.stop_stream, self.rig.deadlines.snap_s)
            self._streaming = False

    def stop(self) -> None:
        """Stop all motion at once, past every queue, from any thread; motion waits for `rearm`."""
        self._stopped.set()
        try:
            self._emergency.call(self._backend.stop, STOP_S)
        except TimeoutError as error:
            msg = f"the microscope did not confirm a stop within {STOP_S:g} s; stop it by hand"
            raise DeadlineError(msg) from error

    def rearm(self) -> None:
        """Allow motion again after a stop."""
        with self._one_at_a_time:
            self._ask("the microscope", self._backend.rearm, self.rig.deadlines.move_s)
            self._stopped.clear()

    def close(self) -> None:
        """Stop everything and let go of the devices; twice is fine."""
        if self._closed:
            return
        self._closed = True
        try:
            self._stop_quietly()
            if not self._dead:  # a dead device would not answer this either
                self._hardware.call(self._backend.close, self.rig.deadlines.move_s)
        except TimeoutError as error:
            msg = f"the microscope did not close within {self.rig.deadlines.move_s:.1f} s"
            raise DeadlineError(msg) from error
        finally:
            for lane in (self._hardware, self._frames, self._emergency):
                lane.end()

    def _stop_quietly(self) -> None:
        """Stop where another error is on its way, which must not be lost to a failing stop."""
        with contextlib.suppress(Exception):
            self.stop()

    def _refuse_outside(self, target: Position) -> None:
        if not all(map(math.isfinite, (target.x_um, target.y_um, target.z_um))):
            msg = f"a position must be finite, not {target.describe()}; nothing moved"
            raise LimitError(msg)
        fault = outside(self.rig, target)
        if fault:
            msg = f"{fault}; nothing moved"
            raise LimitError(msg)

    def _escape(self) -> None:
        """Retract before a turn, unless the last turn left the objective retracted."""
        here = self._here()
        if self._escaped and here == self._sent:
            return
        safe = retracted(self.rig, here)
        fault = outside(self.rig, safe)
        if fault:
            msg = (
                f"cannot retract {self.rig.nosepiece.escape_um:g} µm before the nosepiece turns:"
                f" {fault}; widen z_limits_um or shorten escape_um; nothing moved"
            )
            raise LimitError(msg)
        self._go(here, safe)
        self._escaped = True

    def _way(self, here: Position, target: Position) -> list[Position]:
        """Lay out the legs of a move: off in z, a waypoint in x and y, across, into focus."""
        stage, toward = self.rig.stage, self.rig.toward
        z_um = self._take_up(
            here.z_um * toward,
            target.z_um * toward,
            stage.z_approach_um,
            min(limit_um * toward for limit_um in stage.z_limits_um),
        )
        x_um = self._take_up(here.x_um, target.x_um, stage.approach_um[0], stage.x_limits_um[0])
        y_um = self._take_up(here.y_um, target.y_um, stage.approach_um[1], stage.y_limits_um[0])
        across = Position(target.x_um, target.y_um, z_um * toward)
        legs = [
            Position(here.x_um, here.y_um, across.z_um),
            Position(x_um, y_um, across.z_um),
            across,
            target,
        ]
        return [leg for before, leg in itertools.pairwise([here, *legs]) if leg != before]

    def _take_up(self, now_um: float, to_um: float, by_um: float, lowest_um: float) -> float:
        """Give the place from which an axis can arrive moving up: where it is, if that will do."""
        start_um = max(lowest_um, to_um - by_um)
        still = self._taken_up and to_um == now_um
        return now_um if still or now_um <= start_um else start_um

    def _go(self, here: Position, target: Position) -> Position:
        """Send the devices to one place and read it back; a second try, then an error."""
        deadline_s = self._travel_s(here, target) + self.rig.deadlines.move_s
        self._sent = None
        for _ in range(2):
            send = self._unless_stopped(lambda: self._backend.move_to(target))
            self._ask("the stage", send, deadline_s)
            found = self.position()
            if self._is_at(found, target):
                self._sent = target
                return target
        msg = (
            f"the stage was sent to {target.describe()} and reports {found.describe()}, twice;"
            f" tolerance is {self.rig.stage.tolerance_um:g} µm in x and y and"
            f" {self.rig.stage.z_tolerance_um:g} µm in z: look for an obstacle or a slipping stage"
        )
        raise ReadbackError(msg)

    def _here(self) -> Position:
        """Where the stage was sent if it is still there, else where it says it is.

        The read-back is rounded by the device; sending it back would move the stage by the
        rounding.
        """
        here = self.position()
        if self._sent is not None and self._is_at(here, self._sent):
            return self._sent
        return here

    def _is_at(self, here: Position, target: Position) -> bool:
        stage = self.rig.stage
        return (
            abs(here.x_um - target.x_um) <= stage.tolerance_um
            and abs(here.y_um - target.y_um) <= stage.tolerance_um
            and abs(here.z_um - target.z_um) <= stage.z_tolerance_um
        )

    def _travel_s(self, here: Position, target: Position) -> float:
        stage = self.rig.stage
        xy_um = math.hypot(target.x_um - here.x_um, target.y_um - here.y_um)
        z_um = abs(target.z_um - here.z_um)
        return 3 * (xy_um / stage.speed_um_per_s + z_um / stage.z_speed_um_per_s)

    def _unless_stopped(self, verb: Callable[[], T]) -> Callable[[], T]:
        """Look for a stop at the last moment, in the thread that makes the call."""

        def guarded_verb() -> T:
            if self._stopped.is_set():
                msg = "stopped; nothing more is moved until rearm()"
                raise StoppedError(msg)
            return verb()

        return guarded_verb

    def _ask(
        self, who: str, verb: Callable[[], T], deadline_s: float, lane: Lane | None = None
    ) -> T:
        if self._closed:
            msg = "the microscope is closed; open it again"
            raise MicroscopeError(msg)
        if self._dead:
            raise DeadlineError(self._dead)
        try:
            return (lane or self._hardware).call(verb, deadline_s)
        except TimeoutError as error:
            self._dead = (
                f"{who} did not answer within {deadline_s:.1f} s; look at the device and its"
                f" cable, then start again (deadlines in {self.rig.source})"
            )
            self._stop_quietly()
            raise DeadlineError(self._dead) from error
        except KeyboardInterrupt:
            self._stop_quietly()
            raise


class Call(Generic[T]):
    """One call on its way through a lane, and what came of it."""

    def __init__(self, verb: Callable[[], T]) -> None:
        self._verb = verb
        self._outcome: queue.SimpleQueue[tuple[T | None, BaseException | None]]
        self._outcome = queue.SimpleQueue()

    def run(self) -> None:
        """Make the call, in the lane's thread."""
        try:
            self._outcome.put((self._verb(), None))
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self._outcome.put((None, error))

    def wait(self, deadline_s: float) -> T:
        """Wait for the outcome, in the caller's thread; TimeoutError past the deadline."""
        until_s = time.monotonic() + deadline_s
        while (left_s := until_s - time.monotonic()) > 0:
            try:
                # Short waits, because on Windows Ctrl-C does not break a long one.
                result, error = self._outcome.get(timeout=min(0.1, left_s))
            except queue.Empty:
                continue
            if error is not None:
                raise error
            return cast("T", result)
        raise TimeoutError


class Lane:
    """A thread that makes calls one after the other, each with a deadline.

    A daemon, because a call that never returns must not keep the interpreter from ending.
    """

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"scope-sr {name}", daemon=True)
        self._thread.start()

    def call(self, verb: Callable[[], T], deadline_s: float) -> T:
        """Make a call and wait for it; TimeoutError past the deadline, its own error otherwise."""
        call = Call(verb)
        self._calls.put(call)
        return call.wait(deadline_s)

    def end(self) -> None:
        """Let the thread finish what it does and end."""
        self._calls.put(None)
        self._thread.join(timeout=1.0)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call.run()
