"""The hands on the instrument: moves, turns and settings, one after the other, in a thread.

What waits is never more than one move, one turn, one exposure and one gain: steps that wait add up,
and of settings the latest counts. A stop passes them all by.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from scope_sr.calibration import CalibrationRecord
from scope_sr.errors import MicroscopeError, ScopeSRError, StoppedError
from scope_sr.frame import Position
from scope_sr.microscope import GuardedMicroscope
from scope_sr.microscope.way import arrived

if TYPE_CHECKING:
    from scope_sr.live.board import Board
    from scope_sr.live.seen import Seen
    from scope_sr.live.source.stand import Stand
    from scope_sr.microscope.protocol import Microscope

END_S = 1.0  # a window that was closed is gone within this
STOP_S = 3.0  # a guarded microscope confirms a stop, or says that it cannot, before this


@dataclass(frozen=True)
class Move:
    """To a specimen point, a stage position or where the stage is, and on by some µm from there."""

    by_um: tuple[float, float, float] = (0.0, 0.0, 0.0)
    specimen_um: tuple[float, float] | None = None
    stage_um: tuple[float, float] | None = None
    topic: ClassVar[str] = "stage"
    words: ClassVar[str] = "moving"

    def then(self, later: Move) -> Move:
        """Add a later move: steps add up, a place makes those before it pointless but for focus.

        >>> Move((1.0, 2.0, 3.0)).then(Move((10.0, 0.0, 0.5))).by_um
        (11.0, 2.0, 3.5)
        >>> Move((1.0, 2.0, 3.0)).then(Move(stage_um=(5.0, 5.0))).by_um
        (0.0, 0.0, 3.0)
        """
        x_um, y_um, z_um = self.by_um
        if later.specimen_um or later.stage_um:
            return replace(later, by_um=(*later.by_um[:2], z_um + later.by_um[2]))
        dx_um, dy_um, dz_um = later.by_um
        return replace(self, by_um=(x_um + dx_um, y_um + dy_um, z_um + dz_um))


@dataclass(frozen=True)
class Turn:
    """To another objective, into focus."""

    objective: str
    topic: ClassVar[str] = "objective"
    words: ClassVar[str] = "turning the nosepiece"


@dataclass(frozen=True)
class Expose:
    """Another exposure."""

    exposure_ms: float
    topic: ClassVar[str] = "exposure"
    words: ClassVar[str] = "setting the exposure"


@dataclass(frozen=True)
class Amplify:
    """Another gain."""

    gain: float
    topic: ClassVar[str] = "gain"
    words: ClassVar[str] = "setting the gain"


Request = Move | Turn | Expose | Amplify


class Hands:
    """Carries out what the person in front wants of the instrument; call it from any thread.

    Nothing here waits for a device but the thread. What goes wrong stands on the board in one line,
    under ``stage``, ``objective``, ``exposure`` or ``gain``, until the next of its kind succeeds.
    """

    def __init__(self, stand: Stand, board: Board) -> None:
        self._stand = stand
        self._board = board
        self._changed = threading.Condition()
        self._waiting: deque[Request] = deque()
        self._doing: Request | None = None
        self._closed = False
        self._stops = 0
        self._latched = False
        self._stoppers: list[threading.Thread] = []
        self._goal: Position | None = None
        self._focus_um: float | None = None
        self._exposures_ms: dict[str, float] = {}
        self._thread = threading.Thread(target=self._work, name="scope-sr hands", daemon=True)

    @property
    def busy(self) -> str:
        """What is under way, in words; empty while nothing is."""
        with self._changed:
            first = self._doing or next(iter(self._waiting), None)
            return first.words if first else ""

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def close(self) -> None:
        """Break off what is under way, drop what waits and end, within a second."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            busy = self._doing is not None
            self._changed.notify()
        if busy:
            self._stop_aside()
        until_s = time.monotonic() + END_S
        for thread in (self._thread, *self._stoppers):
            if thread.is_alive():
                thread.join(max(0.0, until_s - time.monotonic()))

    def move_by(self, dx_um: float, dy_um: float, dz_um: float = 0.0) -> None:
        """Move by µm of the stage from where the last request goes: five steps are five steps."""
        self._ask_for(Move((dx_um, dy_um, dz_um)))

    def centre_on(self, seen: Seen, row: float, column: float) -> None:
        """Bring a point of a frame to the centre, wherever the stage has gone since.

        Parameters
        ----------
        row, column
            In pixels of the camera; whole numbers at the centres of pixels.
        """
        point_um = self._point_um(seen, row, column)
        if point_um is not None:
            self._ask_for(Move(specimen_um=point_um))

    def go(self, x_um: float, y_um: float) -> None:
        """Move to a position of the stage, the focus staying as it is."""
        self._ask_for(Move(stage_um=(x_um, y_um)))

    def turn_to(self, objective: str) -> None:
        """Turn to an objective, show what was seen before in focus, with the exposure it had."""
        self._ask_for(Turn(objective))

    def set_exposure(self, exposure_ms: float) -> None:
        """Set the exposure, in ms."""
        self._ask_for(Expose(exposure_ms))

    def set_gain(self, gain: float) -> None:
        """Set the gain of the camera."""
        self._ask_for(Amplify(gain))

    def stop(self) -> None:
        """Stop all motion at once and drop what waits; the next request moves again."""
        with self._changed:
            self._waiting.clear()
            self._stops += 1
            self._latched = True
        self._board.say("stage", "stopped", bad=False)
        self._stop_aside()

    def _stop_aside(self) -> None:
        """Stop in a thread of its own: who presses stop must not wait for a device."""
        stopper = threading.Thread(target=self._stop_now, name="scope-sr stopper", daemon=True)
        with self._changed:
            self._stoppers = [one for one in self._stoppers if one.is_alive()] + [stopper]
            stopper.start()

    def _stop_now(self) -> None:
        microscope = self._stand.microscope
        if microscope is None:
            return
        try:
            microscope.stop()
        except Exception as error:
            logging.getLogger(__name__).info("stop", exc_info=True)
            self._board.say("stage", str(error) or "the microscope did not stop; stop it by hand")

    def _ask_for(self, request: Request) -> None:
        with self._changed:
            if isinstance(request, Move):
                self._append_move(request)
            else:
                others = (one for one in self._waiting if type(one) is not type(request))
                self._waiting = deque([*others, request])
            self._changed.notify()

    def _append_move(self, move: Move) -> None:
        """Add it to the move that waits, unless the nosepiece turns in between."""
        for index in reversed(range(len(self._waiting))):
            before = self._waiting[index]
            if isinstance(before, Move):
                self._waiting[index] = before.then(move)
                return
            if isinstance(before, Turn):
                break
        self._waiting.append(move)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._doing = None
                while not (self._waiting or self._closed):
                    self._changed.wait()
                if self._closed:
                    return
                request = self._doing = self._waiting.popleft()
                stops = self._stops
            self._try(request, stops)

    def _try(self, request: Request, stops: int) -> None:
        """Carry a request out and say on the board what came of it."""
        try:
            microscope = self._stand.microscope
            if microscope is None:  # what is wrong with it the camera says, until it is back
                words = "the microscope was not there and nothing was done; ask again"
                self._board.say(request.topic, words, bad=False)
                return
            if isinstance(request, Move | Turn):
                self._rearm(microscope, stops)
            self._carry_out(request, microscope)
        except StoppedError:
            if not self._latched:  # else whoever stopped it has said so, or why it failed
                self._board.say("stage", "stopped", bad=False)
        except (ScopeSRError, RuntimeError, OSError, MemoryError) as error:
            self._board.say(request.topic, str(error) or type(error).__name__)
        except Exception as error:
            logging.getLogger(__name__).exception("%s", request)
            self._board.say(request.topic, f"{request.words}: a fault of this program ({error!r})")
        else:
            self._board.clear(request.topic)

    def _rearm(self, microscope: Microscope, stops: int) -> None:
        """Allow motion again after a stop that came before the request, never after a later one."""
        with self._changed:
            self._refuse_stopped(stops)
            if not self._latched:
                return
            stoppers = list(self._stoppers)
        for stopper in stoppers:  # one that is late would stop what comes now
            stopper.join(STOP_S)
        microscope.rearm()
        with self._changed:
            if self._stops == stops:
                self._latched = False
                return
        self._stop_now()
        self._refuse_stopped(stops)

    def _refuse_stopped(self, stops: int) -> None:
        if self._stops != stops:
            msg = "stopped before it began"
            raise StoppedError(msg)

    def _carry_out(self, request: Request, microscope: Microscope) -> None:
        if isinstance(request, Move):
            self._move(microscope, request)
        elif isinstance(request, Turn):
            self._turn(microscope, request.objective)
        elif isinstance(request, Expose):
            microscope.set_exposure(request.exposure_ms)
        else:
            microscope.set_gain(request.gain)
            self._stand.gain = microscope.gain()

    def _move(self, microscope: Microscope, move: Move) -> None:
        here = self._here(microscope)
        x_um, y_um = move.stage_um or (here.x_um, here.y_um)
        if move.specimen_um:
            objective = microscope.objective()
            record = self._offsets(objective)
            place = record.position(objective, move.specimen_um, focus_um=0.0)
            x_um, y_um = place.x_um, place.y_um
        dx_um, dy_um, dz_um = move.by_um
        self._go(microscope, Position(x_um + dx_um, y_um + dy_um, here.z_um + dz_um))

    def _turn(self, microscope: Microscope, name: str) -> None:
        """Turn, then go where the new objective sees, in focus, what the old one saw."""
        origin, here = microscope.objective(), self._here(microscope)
        record = self._offsets(name)
        known = origin in record.objectives
        retracted = isinstance(microscope, GuardedMicroscope) and microscope.retracted
        if not retracted:
            if origin == name:
                return
            self._exposures_ms[origin] = microscope.exposure_ms()
            self._focus_um = here.z_um - record.objectives[origin].parfocal_um if known else None
        self._stand.expected_objective = name
        microscope.select_objective(name)
        if not known or self._focus_um is None:
            msg = f"{name} is in place; where it is in focus nobody knows: focus by hand"
            raise MicroscopeError(msg)
        point_um = record.specimen_um(origin, here)
        self._go(microscope, record.position(name, point_um, self._focus_um))
        microscope.set_exposure(self._exposure_ms(name, record))

    def _go(self, microscope: Microscope, target: Position) -> None:
        microscope.move_to(target)
        self._goal = target

    def _here(self, microscope: Microscope) -> Position:
        """Where the stage was sent if it is still there: what it reports is rounded."""
        here, goal, rig = microscope.position(), self._goal, self._stand.rig
        if goal is None or rig is None:
            return here
        return goal if arrived(rig, here, goal, held=microscope.focus_held()) else here

    def _exposure_ms(self, name: str, record: CalibrationRecord) -> float:
        """Give what the person last had with it, else what was measured, else the rig's."""
        rig = self._stand.rig
        claimed_ms = rig.objectives[name].exposure_ms if rig else 0.0
        measured_ms = record.objectives[name].exposure_ms
        return self._exposures_ms.get(name) or measured_ms or claimed_ms

    def _offsets(self, name: str) -> CalibrationRecord:
        """Give the record where it knows an objective, else what the rig claims.

        Raises
        ------
        MicroscopeError
            Neither knows it.
        """
        record, rig = self._stand.record, self._stand.rig
        if record is not None and name in record.objectives:
            return record
        if rig is not None and name in rig.objectives:
            return CalibrationRecord.nominal(rig)
        msg = f"nobody knows where {name} looks and how large its pixels are; nothing moved"
        raise MicroscopeError(msg)

    def _point_um(self, seen: Seen, row: float, column: float) -> tuple[float, float] | None:
        """Work out the specimen point seen at a pixel; None, and a note, where nobody knows."""
        rows, columns = seen.shape
        x, y = column - (columns - 1) / 2, row - (rows - 1) / 2
        frame = seen.frame
        try:
            record = self._offsets(frame.objective)
            if seen.um_per_px is None:
                msg = "nobody knows how large the pixels are now; nothing moved"
                raise MicroscopeError(msg)
        except MicroscopeError as error:
            self._board.say("stage", str(error))
            return None
        lens = record.objectives[frame.objective]
        distorted = lens.distortion * (x**2 + y**2) / (math.hypot(rows, columns) / 2) ** 2
        # the record's pixels are those of the camera without binning
        binning = seen.um_per_px / lens.pixel_size_um
        scale = (1 + distorted) * binning
        return record.specimen_um(frame.objective, frame.position, (x * scale, y * scale))
