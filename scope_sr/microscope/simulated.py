"""A microscope that exists only here, and is as awkward as a real one.

What the mechanics do wrong (backlash, repeatability, drift, a nosepiece that never returns to quite
the same place) comes from ``[simulation]`` of the rig. Every draw of chance is a pure function of
the seed, of what was commanded and of how often it has been commanded since the microscope was
opened: two runs of one plan give the same pixels, and so does a run that was broken off and
resumed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from scope_sr.config import Rig, reason
from scope_sr.errors import MicroscopeError, StoppedError
from scope_sr.frame import CameraFacts, Frame, Position
from scope_sr.specimen.optics import View
from scope_sr.specimen.scene import Scene

GAINS = (0.5, 8.0)


class SimulatedMicroscope:
    """The simulated backend: commands in, physics out.

    The gain of its camera is that of an amplifier behind the pixels: it multiplies signal and noise
    alike, so that it shows nothing new.

    Parameters
    ----------
    rig
        A rig whose ``[simulation]`` says what is true.
    log_folder
        Folder whose ``truth.jsonl`` gets one line per snap once it is there; None: no log.

    Raises
    ------
    InputError
        The specimen cannot be read, or an objective samples finer than the specimen was.
    """

    def __init__(self, rig: Rig, log_folder: Path | None = None) -> None:
        self._rig = rig
        self._truth = rig.simulation
        self._scene = Scene(rig)
        self._clock = Clock(real=self._truth.clock == "real")
        self._draws: Counter[tuple[object, ...]] = Counter()
        self._objective = rig.low
        self._turn_um = (0.0, 0.0, 0.0)
        self._motion = Motion(still := Position(0.0, 0.0, 0.0), still, 0.0, 0.0)
        self._commanded = still
        self._play_um = (0.0, 0.0, 0.0)
        self._error_um = (0.0, 0.0, 0.0)
        self._exposure_ms = rig.objectives[rig.low].exposure_ms
        self._gain = 1.0
        self._number = 0
        self._stream: Stream | None = None
        self._log_folder = log_folder
        self._log: TextIO | None = None

    def position(self) -> Position:
        """Report what the motor steps say, not where the specimen really is."""
        here = self._motion.at(self._clock.now_s())
        return Position(round(here.x_um, 2), round(here.y_um, 2), round(here.z_um, 2))

    def move_to(self, position: Position) -> None:
        """Drive all axes at once, at finite speed, and settle."""
        now_s = self._clock.now_s()
        start = self._motion.at(now_s)
        seconds = self._travel_s(start, position)
        if seconds == 0:
            return
        self._misplace(start, position)
        self._motion = Motion(start, position, now_s, seconds)
        self._commanded = position
        arrived = self._clock.wait(seconds)
        place = position if arrived else self._motion.at(self._clock.now_s())
        self._motion = Motion(place, place, 0.0, 0.0)
        self._commanded = place
        if not arrived:
            msg = f"stopped at {place.describe()} on the way to {position.describe()}"
            raise StoppedError(msg)

    def objective(self) -> str:
        """Name the objective in the light path."""
        return self._objective

    def select_objective(self, name: str) -> None:
        """Turn the nosepiece; each turn ends in a slightly different place."""
        self._scene.refuse_empty_magnification(name)
        if not self._clock.wait(self._truth.nosepiece.turn_s):
            msg = f"stopped while the nosepiece turned to {name}"
            raise StoppedError(msg)
        rng = self._chance("turn", name)
        x_um, y_um = rng.normal(0, self._truth.nosepiece.repeatability_um, 2)
        self._turn_um = (x_um, y_um, rng.normal(0, self._truth.nosepiece.z_repeatability_um))
        self._objective = name

    def focus_held(self) -> bool:
        """Say no: there is no focus lock."""
        return False

    def hold_focus(self, on: bool) -> None:
        """Refuse: there is no focus lock."""
        if on:
            msg = "the simulated microscope has no focus lock"
            raise MicroscopeError(msg)

    def camera(self) -> CameraFacts:
        """Name the camera by its size; a lens's true pixel size is not for telling."""
        size = f"{self._rig.camera.width_px}x{self._rig.camera.height_px}"
        return CameraFacts(f"simulated camera, {size} at 0,0, binning 1", gain_limits=GAINS)

    def exposure_ms(self) -> float:
        """Say the exposure, in ms."""
        return self._exposure_ms

    def set_exposure(self, exposure_ms: float) -> None:
        """Set the exposure, in ms; a stream's frames are counted on from here at its pace."""
        self._exposure_ms = exposure_ms
        if self._stream is not None:
            now_s = self._clock.now_s()
            self._stream = Stream(now_s, self._stream.number(now_s), self._period_s())

    def gain(self) -> float:
        """Say the gain; 1 is the camera as the rig describes it."""
        return self._gain

    def set_gain(self, gain: float) -> None:
        """Set the gain."""
        self._gain = gain

    def snap(self) -> Frame:
        """Expose, read out, and log the true pose of the specimen."""
        began = self._clock.utc_s()
        if not self._clock.wait((self._exposure_ms + self._rig.camera.readout_ms) / 1000):
            msg = "stopped during an exposure"
            raise StoppedError(msg)
        view = self._view()
        rng = self._chance("shot", self._objective, self._exposure_ms, *_key(self._commanded))
        image = self._scene.expose(self._objective, view, self._exposure_ms, rng, gain=self._gain)
        self._number += 1
        frame = self._frame(image, began)
        self._log_truth(frame, view)
        return frame

    def start_stream(self) -> None:
        """Let the camera run freely."""
        if self._stream is None:
            self._stream = Stream(self._clock.now_s(), self._number, self._period_s())

    def latest(self, after: int) -> Frame | None:
        """Render the newest frame, if it is newer than `after`."""
        stream = self._stream
        if stream is None:
            msg = "the camera is not streaming; start the stream first"
            raise MicroscopeError(msg)
        self._clock.advance(stream.period_s)
        number = stream.number(self._clock.now_s())
        if number <= max(after, stream.before):
            return None
        self._number = number
        image = self._scene.expose_fast(
            self._objective, self._view(), self._exposure_ms, number, gain=self._gain
        )
        return self._frame(image, self._clock.utc_s())

    def stop_stream(self) -> None:
        """End the stream."""
        self._stream = None

    def stop(self) -> None:
        """Break off whatever is moving or exposing."""
        self._clock.stop()

    def rearm(self) -> None:
        """Let waits last again."""
        self._clock.clear_stop()

    def abandon(self) -> None:
        """Break off the wait that lasts too long."""
        self._clock.stop()

    def close(self) -> None:
        """Stop and close the log."""
        self._clock.stop()
        if self._log is not None:
            self._log.close()
            self._log = None

    def _period_s(self) -> float:
        return max(self._exposure_ms, self._rig.camera.readout_ms, 1.0) / 1000

    def _travel_s(self, start: Position, end: Position) -> float:
        stage = self._truth.stage
        across_um = max(abs(end.x_um - start.x_um), abs(end.y_um - start.y_um))
        seconds = max(
            _trapezoid_s(across_um, stage.speed_um_per_s, stage.acceleration_um_per_s2),
            abs(end.z_um - start.z_um) / stage.z_speed_um_per_s,
        )
        return seconds + stage.settle_ms / 1000 if seconds > 0 else 0.0

    def _misplace(self, start: Position, target: Position) -> None:
        """Work out by how much the specimen will miss the target: play, and repeatability.

        The specimen lags in the play of the spindles (a play operator, one per axis). Across and
        focus draw apart, each only when it moves: a focus stack does not shake the stage.
        """
        stage = self._truth.stage
        steps_um = np.subtract(dataclasses.astuple(target), dataclasses.astuple(start))
        plays_um = (*stage.backlash_um, stage.z_backlash_um)
        x_um, y_um, z_um = (
            min(max(lag_um - step_um, 0.0), play_um)
            for lag_um, step_um, play_um in zip(self._play_um, steps_um, plays_um, strict=True)
        )
        self._play_um = (x_um, y_um, z_um)
        x_um, y_um, z_um = self._error_um
        place = _key(target)
        if steps_um[0] or steps_um[1]:
            x_um, y_um = self._chance("across", *place[:2]).normal(0, stage.repeatability_um, 2)
        if steps_um[2]:
            z_um = self._chance("focus", place[2]).normal(0, stage.z_repeatability_um)
        self._error_um = (float(x_um), float(y_um), float(z_um))

    def _true_stage(self) -> Position:
        """Where the specimen really stands: play, repeatability and drift on top of the motors."""
        motor = dataclasses.astuple(self._motion.at(self._clock.now_s()))
        minutes = self._clock.now_s() / 60
        drift_um = [rate * minutes for rate in self._truth.stage.drift_um_per_min]
        errors_um = zip(motor, self._play_um, self._error_um, drift_um, strict=True)
        return Position(*map(sum, errors_um))

    def _view(self) -> View:
        """Give what the objective sees of the specimen right now."""
        return self._scene.view(self._objective, self._true_stage(), self._turn_um)

    def _chance(self, *key: object) -> np.random.Generator:
        """Draw afresh each time a thing is done, yet the same in every run."""
        self._draws[key] += 1
        return self._rng(self._draws[key], *key)

    def _rng(self, *key: object) -> np.random.Generator:
        digest = hashlib.blake2b(repr((self._truth.seed, *key)).encode(), digest_size=16).digest()
        return np.random.default_rng(int.from_bytes(digest, "little"))

    def _frame(self, image: NDArray[np.uint8] | NDArray[np.uint16], began: float) -> Frame:
        return Frame(
            image, self.position(), self._objective, self._exposure_ms, began, self._number
        )

    def _log_truth(self, frame: Frame, view: View) -> None:
        if self._log_folder is None or not self._log_folder.is_dir():
            return
        truth = {
            "number": frame.number,
            "time": frame.time,
            "objective": frame.objective,
            "exposure_ms": frame.exposure_ms,
            "commanded_um": dataclasses.astuple(self._commanded),
            "centre_um": view.centre_um,
            "matrix_um_per_px": view.matrix.tolist(),
            "defocus_um": view.defocus_um,
            "distortion": view.distortion,
            "turn_um": self._turn_um,
        }
        path = self._log_folder / "truth.jsonl"
        try:
            self._log = self._log or _open_log(path)
            self._log.write(json.dumps(truth) + "\n")
            self._log.flush()
        except OSError as error:
            msg = f"{path}: the simulator cannot log its truth ({reason(error)}); see to the disk"
            raise MicroscopeError(msg) from error


@dataclass(frozen=True)
class Motion:
    """A straight move from one position to another, as a function of the clock."""

    start: Position
    end: Position
    began_s: float
    seconds: float

    def at(self, now_s: float) -> Position:
        """Where the motors are at a time."""
        share = min(1.0, (now_s - self.began_s) / self.seconds) if self.seconds > 0 else 1.0
        if share == 1.0:
            return self.end
        pairs = zip(dataclasses.astuple(self.start), dataclasses.astuple(self.end), strict=True)
        return Position(*(a + (b - a) * share for a, b in pairs))


@dataclass(frozen=True)
class Stream:
    """Frames at an even pace, one exposure long; `before` is the number of the last before it."""

    began_s: float
    before: int
    period_s: float

    def number(self, now_s: float) -> int:
        """Give the number of the newest frame at a time."""
        return self.before + int((now_s - self.began_s) / self.period_s)


class Clock:
    """Seconds since the microscope was opened: real ones waited for, or counted without waiting."""

    def __init__(self, *, real: bool) -> None:
        self._real = real
        self._opened_s = time.monotonic()
        self._opened_utc_s = time.time()
        self._waited_s = 0.0
        self._stopped = threading.Event()

    def now_s(self) -> float:
        """Seconds since opening."""
        return time.monotonic() - self._opened_s if self._real else self._waited_s

    def utc_s(self) -> float:
        """Seconds since 1970."""
        return self._opened_utc_s + self.now_s()

    def wait(self, seconds: float) -> bool:
        """Let time pass; False if :meth:`stop` broke the wait."""
        if self._real:
            return not self._stopped.wait(seconds)
        self._waited_s += seconds
        return not self._stopped.is_set()

    def advance(self, seconds: float) -> None:
        """Let counted time pass by itself, as it does where it is real."""
        if not self._real:
            self._waited_s += seconds

    def stop(self) -> None:
        """Break the wait under way."""
        self._stopped.set()

    def clear_stop(self) -> None:
        """Begin anew after a stop."""
        self._stopped.clear()


def _trapezoid_s(distance_um: float, speed_um_per_s: float, acceleration_um_per_s2: float) -> float:
    """Time of a move that speeds up, cruises and slows down evenly."""
    ramp_um = speed_um_per_s**2 / acceleration_um_per_s2
    if distance_um < ramp_um:
        return 2 * math.sqrt(distance_um / acceleration_um_per_s2)
    return distance_um / speed_um_per_s + speed_um_per_s / acceleration_um_per_s2


def _key(position: Position) -> tuple[float, float, float]:
    return (round(position.x_um, 3), round(position.y_um, 3), round(position.z_um, 3))


def _open_log(path: Path) -> TextIO:
    """Append to a log; a line torn by a crash is ended first, so that the next one stands alone."""
    log = path.open("a", encoding="utf-8")
    if log.tell() and not path.read_bytes().endswith(b"\n"):
        log.write("\n")
    return log
