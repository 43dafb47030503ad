"""Safety in one place: limits, escape, one-sided approach, read-back, deadlines, stop."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from scope_sr.config import Rig
from scope_sr.errors import (
    DeadlineError,
    InputError,
    LimitError,
    MicroscopeError,
    ReadbackError,
    StoppedError,
)
from scope_sr.frame import CameraFacts, Frame, Position
from scope_sr.microscope.lane import Lane
from scope_sr.microscope.operator import Ask, Operator
from scope_sr.microscope.protocol import UNKNOWN, Backend
from scope_sr.microscope.settings import (
    refuse_impossible_exposure,
    refuse_other_exposure,
    refuse_other_gain,
    settable,
)
from scope_sr.microscope.way import arrived, runaway, travel_s, way
from scope_sr.plan import outside, retracted

T = TypeVar("T")

STOP_S = 2.0  # a stop that takes longer is no stop
CLOSE_S = 3.0  # a program that was told to end must end, whatever became of the instrument


class GuardedMicroscope:
    """A microscope that cannot be driven where the rig forbids.

    Keeps every law of :class:`~scope_sr.microscope.protocol.Microscope` whatever the backend does:
    outside the limits it refuses, it retracts before the nosepiece turns, arrives from one side,
    reads back after each move, and gives up on a device that does not answer in time. Verbs of
    several motions are carried out one after the other, whichever threads ask. Use it as a context
    manager; leaving the block stops the stage and closes the devices.
    """

    def __init__(self, backend: Backend, rig: Rig, ask: Ask | None = None) -> None:
        self.rig = rig
        self.frames_lost = 0
        self._backend = backend
        self._operator = Operator(ask, rig)
        self._hardware = Lane("microscope")
        self._frames = Lane("camera stream")
        self._emergency = Lane("stop")
        self._one_at_a_time = threading.RLock()
        self._stopped = threading.Event()
        self._dead = ""
        self._closed = False
        self._streaming = False
        self._taken_up = False
        self._retracted_um: float | None = None
        self._held = False
        self._hold_again = False
        self._newest = 0
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
        """Say where the stage is, as the devices report it; it does not wait for a move."""
        deadline_s = self.rig.deadlines.move_s
        return self._ask("the stage", self._backend.position, deadline_s, self._frames)

    def move_to(self, position: Position, *, straight: bool = False) -> None:
        """Move and return settled; limits raise, the place is read back, each axis is taken up.

        A `straight` move across is not taken up, so as to measure what that is good for.

        A retracting focus drive moves before the stage, an approaching one after it, so that the
        lens is never near the glass while the stage travels. A focus lock is off while the focus
        drive moves, and on again at the end if it was on before.
        """
        target = Position(float(position.x_um), float(position.y_um), float(position.z_um))
        with self._one_at_a_time:
            self._refuse_outside(target)
            self._hear_of_the_lock()
            here = self._here()
            legs = way(self.rig, here, target, taken_up=self._taken_up, straight=straight)
            taken_up, self._taken_up = self._taken_up, False
            away_um = abs(target.z_um - here.z_um)
            stays = self._retracted_um is not None and away_um <= self.rig.stage.z_tolerance_um
            if any(place.z_um != here.z_um for place in legs):
                self._release_focus()
            for place in legs:
                here = self._go(here, place)
            if not stays:
                self._retracted_um = None
            if self._hold_again and not stays:
                self._hold_focus()
            self._taken_up = not straight and (taken_up or bool(legs))

    def objective(self) -> str:
        """Name the objective in the light path."""
        return self._ask("the nosepiece", self._backend.objective, self.rig.deadlines.turn_s)

    def identify_objective(self) -> None:
        """Ask the operator which objective is in place where nothing else can say it."""
        if self.objective() == UNKNOWN:
            name, turn_s = self._operator.which_is_in_place(), self.rig.deadlines.turn_s
            self._ask("the nosepiece", lambda: self._backend.select_objective(name), turn_s)

    def select_objective(self, name: str) -> None:
        """Retract, turn, read the label back; the objective stays retracted."""
        if name not in self.rig.objectives:
            known = ", ".join(self.rig.objectives)
            msg = f"objective {name!r} is not on rig {self.rig.name}; it has {known}"
            raise InputError(msg)
        with self._one_at_a_time:
            if self.objective() == name:
                return
            if self.rig.nosepiece.manual:
                self._operator.refuse_absence()
            self._escape()
            if self.rig.nosepiece.manual:
                self._operator.turn_to(name)
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

    @property
    def retracted(self) -> bool:
        """Whether the objective was retracted for a turn and not brought into focus since."""
        return self._retracted_um is not None

    def focus_held(self) -> bool:
        """Say whether a focus lock holds the focus."""
        return self._ask("the focus lock", self._backend.focus_held, self.rig.deadlines.lock_s)

    def hold_focus(self, on: bool) -> None:
        """Switch the focus lock; from then on it is on in focus and off on the way there."""
        with self._one_at_a_time:
            if on and self._retracted_um is not None:
                msg = (
                    "the objective is retracted; bring it into focus before the focus lock goes on"
                )
                raise MicroscopeError(msg)
            if on:
                self._hold_focus()
            else:
                self._release_focus()
                self._hold_again = False

    def camera(self) -> CameraFacts:
        """Say which camera it is, and how it is set."""
        return self._ask("the camera", self._backend.camera, self.rig.deadlines.snap_s)

    def exposure_ms(self) -> float:
        """Say the exposure the camera will use, in ms."""
        return self._ask("the camera", self._backend.exposure_ms, self.rig.deadlines.snap_s)

    def set_exposure(self, exposure_ms: float) -> None:
        """Set the exposure, in ms, and read it back: cameras leave out what they cannot do."""
        refuse_impossible_exposure(exposure_ms)
        verb = self._backend.set_exposure
        with self._one_at_a_time:
            self._ask("the camera", lambda: verb(float(exposure_ms)), self.rig.deadlines.snap_s)
            refuse_other_exposure(exposure_ms, self.exposure_ms(), self.rig.source)

    def gain(self) -> float:
        """Say the gain of the camera, in its own unit."""
        return self._ask("the camera", self._backend.gain, self.rig.deadlines.snap_s)

    def set_gain(self, gain: float) -> None:
        """Set the gain and read it back; outside the camera's limits it is refused."""
        verb = self._backend.set_gain
        with self._one_at_a_time:
            limits = settable(gain, self.camera().gain_limits)
            self._ask("the camera", lambda: verb(float(gain)), self.rig.deadlines.snap_s)
            refuse_other_gain(gain, self.gain(), limits)

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
            self._newest = 0

    def latest(self, after: int) -> Frame | None:
        """Give the newest frame above number `after`, else None.

        The frames between one given and the next, lost on the way or never asked for, add up in
        ``frames_lost``.
        """
        deadline_s = self.rig.deadlines.snap_s
        frame = self._ask(
            "the camera", lambda: self._backend.latest(after), deadline_s, self._frames
        )
        if frame is not None:
            self.frames_lost += max(0, frame.number - self._newest - 1) if self._newest else 0
            self._newest = frame.number
        return frame

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
                self._hardware.call(self._backend.close, CLOSE_S)
        except TimeoutError as error:
            self._abandon()
            msg = f"the microscope did not close within {CLOSE_S:g} s and was left as it is"
            raise DeadlineError(msg) from error
        finally:
            for lane in (self._hardware, self._frames, self._emergency):
                lane.end()

    def _stop_quietly(self) -> None:
        """Stop where another error is on its way, which must not be lost to a failing stop."""
        with contextlib.suppress(Exception):
            self.stop()

    def _abandon(self) -> None:
        with contextlib.suppress(Exception):
            self._backend.abandon()

    def _hear_of_the_lock(self) -> None:
        """Learn what became of the lock; one that let go by itself is wanted again, in focus."""
        held = self.focus_held()
        self._hold_again = self._hold_again or (self._held and not held)
        self._held = held

    def _release_focus(self) -> None:
        """Switch a focus lock off, and remember that it is wanted."""
        if self.focus_held():
            self._switch_lock(on=False)
            self._hold_again = True
        self._held = False

    def _hold_focus(self) -> None:
        """Switch the focus lock on where the objective is in focus, and see where it carried it."""
        self._held = self._hold_again = False
        began_um = self._here().z_um
        self._switch_lock(on=True)
        self._held = True
        self._refuse_runaway(self.position(), began_um)

    def _switch_lock(self, *, on: bool) -> None:
        longest_s = self.rig.focus_lock.stable_s + 2 * self.rig.deadlines.lock_s
        self._ask("the focus lock", lambda: self._backend.hold_focus(on), longest_s)

    def _refuse_runaway(self, found: Position, sent_um: float) -> None:
        """Switch off a lock that carries the objective outside the limits or out of its range."""
        fault = runaway(self.rig, found, sent_um)
        if fault:
            self._switch_lock(on=False)
            self._held = False
            raise LimitError(fault)

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
        self._hear_of_the_lock()
        self._release_focus()
        here = self._here()
        away_um = abs(here.z_um - (math.inf if self._retracted_um is None else self._retracted_um))
        if away_um <= self.rig.stage.z_tolerance_um:
            return
        safe = retracted(self.rig, here)
        fault = outside(self.rig, safe)
        if fault:
            msg = (
                f"cannot retract {self.rig.nosepiece.escape_um:g} µm before the nosepiece turns:"
                f" {fault}; focus first, or correct escape_um or z_limits_um; nothing moved"
            )
            raise LimitError(msg)
        self._go(here, safe)
        self._retracted_um = safe.z_um

    def _go(self, here: Position, target: Position) -> Position:
        """Send the devices to one place and read it back; a second try, then an error."""
        deadline_s = travel_s(self.rig, here, target) + self.rig.deadlines.move_s
        deadline_s += self._held * (self.rig.focus_lock.stable_s + 2 * self.rig.deadlines.lock_s)
        self._sent = None
        for _ in range(2):
            send = self._unless_stopped(lambda: self._backend.move_to(target))
            try:
                self._ask("the stage", send, deadline_s)
            except MicroscopeError:
                self._held = False  # a lock that failed stays off until it is asked for
                raise
            found = self.position()
            if arrived(self.rig, found, target, held=self._held):
                self._sent = target
                return target
            if self._held:
                self._refuse_runaway(found, target.z_um)
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
        sent = self._sent
        return sent if sent and arrived(self.rig, here, sent, held=self._held) else here

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
                f"{who} did not answer within {deadline_s:.1f} s; look at the device, its cable and"
                f" the program that drives it, then start again (deadlines in {self.rig.source})"
            )
            self._stop_quietly()
            self._abandon()
            raise DeadlineError(self._dead) from error
        except KeyboardInterrupt:
            self._stop_quietly()
            raise
