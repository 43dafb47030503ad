"""The thread that writes snapshots and recordings, and keeps an eye on the room on the disk.

Nobody waits for it: who asks goes on at once, and a frame for which there is no room in memory is
left out and counted. What goes wrong is said on the board; the live view goes on.
"""

from __future__ import annotations

import atexit
import errno
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from scope_sr import disk
from scope_sr.config import reason
from scope_sr.errors import ScopeSRError
from scope_sr.live.board import Board
from scope_sr.live.figures import Meter
from scope_sr.live.keeping.provenance import Circumstances
from scope_sr.live.keeping.recording import Recording
from scope_sr.live.keeping.snapshot import Moment, write
from scope_sr.live.seen import Seen

WAITING_BYTES = 128 * 2**20  # of frames on their way to the disk; 40 of 1024 x 1024 in colour
WAITING_SNAPSHOTS = 4
LEAST_TO_BEGIN = 10**9
LEAST_S = 30.0
LEAST_TO_GO_ON = 500 * 10**6
GUARD_S = 1.0
END_S = 1.0
LAST_S = 10.0  # for what was not finished then, before the program ends
SNAPSHOT, RECORDING = "snapshot", "recording"  # topics of the board
BY_HAND, CLOSED = "by hand", "the program was closed"
WAY_OUT = "choose a folder on a disk with room that can be written to"
FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}

Done = Callable[[Path], None]


class Progress(NamedTuple):
    """How far a recording is: from first to last frame, bytes written, bytes free on its disk."""

    seconds: float
    bytes: int
    free_bytes: int


@dataclass(frozen=True)
class _Snapshot:
    moment: Moment
    done: Done | None


@dataclass(frozen=True)
class _Begin:
    circumstances: Circumstances


@dataclass(frozen=True)
class _End:
    why: str
    left_out: int | None = None  # of that recording; None: as many as there are then


_Job = _Snapshot | _Begin | _End | Seen


class Writer:
    """Writes into a folder what it is handed; for any thread.

    Parameters
    ----------
    folder
        Made when the first file is written.
    board
        Hears of everything under the topics ``snapshot`` and ``recording``.
    """

    def __init__(self, folder: Path, board: Board) -> None:
        self.folder = folder
        self._board = board
        self._changed = threading.Condition()
        self._jobs: deque[_Job] = deque()
        self._taking = False  # frames
        self._closing = False
        self._last_frame_s = math.inf  # after which those that wait are left out
        self._waiting_bytes = 0
        self._left_out = 0
        self._thread: threading.Thread | None = None
        self._rate = Meter()
        self._frame_bytes = 0
        # of the writer's thread alone
        self._first_s = self._looked_s = 0.0
        self._recording: Recording | None = None
        self._progress: Progress | None = None

    @property
    def recording(self) -> Progress | None:
        """How far the recording is; None while there is none."""
        return self._progress

    @property
    def left_out(self) -> int:
        """Frames of this recording, or of the last, for which there was no time."""
        return self._left_out

    def snapshot(self, moment: Moment, done: Done | None = None) -> None:
        """Save a moment; `done` is told its PNG, in the writer's thread."""
        with self._changed:
            waiting = sum(isinstance(job, _Snapshot) for job in self._jobs)
            if waiting < WAITING_SNAPSHOTS:
                self._put(_Snapshot(moment, done))
                return
        self._board.say(
            SNAPSHOT, f"not saved: {waiting} snapshots are still being written; try again"
        )

    def begin_recording(self, circumstances: Circumstances) -> None:
        """Record the frames from now on; if the disk has no room for it the board says so."""
        with self._changed:
            if not self._taking and not self._closing:
                self._taking, self._left_out = True, 0
                self._put(_Begin(circumstances))

    def add(self, seen: Seen) -> None:
        """Hand a frame over; it is written if a recording is going on. Never waits.

        Every frame should come here: from their rate follows what a recording will need.
        """
        size = seen.frame.image.nbytes
        self._rate.add(0.0)
        with self._changed:
            self._frame_bytes = size
            if not self._taking:
                return
            if self._waiting_bytes + size > WAITING_BYTES:
                self._left_out += 1
                return
            self._waiting_bytes += size
            self._put(seen)

    def end_recording(self) -> None:
        """Record no more; what waits is still written."""
        with self._changed:
            if self._taking:
                self._taking = False
                self._put(_End(BY_HAND, self._left_out))

    def close(self) -> None:
        """Finish the files and end the thread, within a second.

        Frames that wait are written for half of it, and then left out; snapshots come last.
        """
        with self._changed:
            self._last_frame_s = time.monotonic() + END_S / 2
            self._closing = True
            self._taking = False
            snapshots = [job for job in self._jobs if isinstance(job, _Snapshot)]
            others = [job for job in self._jobs if not isinstance(job, _Snapshot)]
            self._jobs = deque([*others, _End(CLOSED), *snapshots])
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(END_S)
            if self._thread.is_alive():
                topic = SNAPSHOT if self._progress is None else RECORDING
                self._board.say(topic, f"{self.folder}: the disk is slow; still being written")
                # else the interpreter would cut it off in the middle of a file
                atexit.register(self._thread.join, LAST_S)

    def _put(self, job: _Job) -> None:
        """Queue a job; begin the thread with the first. The lock is held."""
        if self._closing:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
            self._thread.start()
        self._jobs.append(job)
        self._changed.notify()

    def _drop_frames(self) -> None:
        """Leave out the frames that wait. The lock is held."""
        kept = [job for job in self._jobs if not isinstance(job, Seen)]
        self._left_out += len(self._jobs) - len(kept)
        self._jobs = deque(kept)
        self._waiting_bytes = 0

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._jobs and not self._closing:
                    self._changed.wait(GUARD_S)
                job = self._next()
                done = job is None and self._closing
            if done:
                return
            self._do(job)

    def _meanwhile(self) -> None:
        """Write the frames that wait: a snapshot takes longer than there is room for them."""
        while True:
            with self._changed:
                if not (self._jobs and isinstance(self._jobs[0], Seen)):
                    return
                job = self._next()
            self._do(job)

    def _next(self) -> _Job | None:
        """Fetch the next thing to do, if there is one. The lock is held."""
        while self._jobs:
            job = self._jobs.popleft()
            if not isinstance(job, Seen):
                return job
            self._waiting_bytes -= job.frame.image.nbytes
            if time.monotonic() <= self._last_frame_s:
                return job
            self._left_out += 1
        return None

    def _do(self, job: _Job | None) -> None:
        """Do one thing, and see to the disk; no failure ends the thread."""
        topic = SNAPSHOT if isinstance(job, _Snapshot) else RECORDING
        try:
            if isinstance(job, _Snapshot):
                self._save(job)
            elif isinstance(job, _Begin):
                self._begin(job.circumstances)
            elif isinstance(job, _End):
                self._end(job.why, job.left_out)
            elif job is not None:
                self._append(job)
            self._guard()
        except (OSError, MemoryError, ScopeSRError) as error:
            self._failed(topic, error)
        except Exception as error:  # a defect of ours must not end a recording unsaid
            logging.exception("the writer of the live view failed")
            self._failed(topic, error)

    def _save(self, job: _Snapshot) -> None:
        picture = write(self.folder, job.moment, self._meanwhile)
        self._board.say(SNAPSHOT, f"saved as {picture.stem} in {self.folder}", bad=False)
        if job.done is None:
            return
        try:
            job.done(picture)
        except Exception:  # it is saved, whatever its asker makes of it
            logging.exception("told of a snapshot, its asker failed")

    def _begin(self, circumstances: Circumstances) -> None:
        free, needed = disk.free_bytes(self.folder), self._needed_bytes()
        if free < needed:
            self._take_no_more()
            self._board.say(
                RECORDING,
                f"not begun: {disk.in_words(free)} are free where {self.folder} is, and"
                f" {disk.in_words(needed)} needed; make room or choose another folder",
            )
            return
        self._progress = Progress(0.0, 0, free)
        self._recording = Recording(self.folder, circumstances)
        self._looked_s = time.monotonic()
        self._board.clear(RECORDING)

    def _needed_bytes(self) -> float:
        return max(LEAST_TO_BEGIN, LEAST_S * self._rate.fps() * self._frame_bytes)

    def _append(self, seen: Seen) -> None:
        if self._recording is None or self._progress is None:
            return
        self._recording.add(seen)
        if self._recording.frames == 1:
            self._first_s = seen.arrived_s
        self._progress = self._progress._replace(
            seconds=seen.arrived_s - self._first_s, bytes=self._recording.written_bytes
        )

    def _guard(self) -> None:
        """End the recording when its disk is nearly full, or gone; looks once a second."""
        now_s = time.monotonic()
        if self._recording is None or self._progress is None or now_s - self._looked_s < GUARD_S:
            return
        self._looked_s = now_s
        if not self._recording.there:
            raise FileNotFoundError(errno.ENOENT, "its folder is gone", str(self._recording.folder))
        free = disk.free_bytes(self.folder)
        self._progress = self._progress._replace(free_bytes=free)
        if free < LEAST_TO_GO_ON:
            self._take_no_more()
            self._end(f"only {disk.in_words(free)} are free on the disk")

    def _end(self, why: str, left_out: int | None = None) -> None:
        """Finish the recording, if there is one, and say what became of it."""
        recording, progress = self._recording, self._progress
        if recording is None or progress is None:
            return
        left_out = self._left_out if left_out is None else left_out
        folder = recording.finish(why, left_out)
        self._recording = self._progress = None
        self._board.say(
            RECORDING,
            f"saved as {folder.name} in {self.folder}: {_extent(recording, progress)};"
            f" ended: {why}{_missing(left_out)}",
            bad=left_out > 0 or why not in (BY_HAND, CLOSED),
        )

    def _failed(self, topic: str, error: Exception) -> None:
        """Say what went wrong; a recording it happened to ends, and stays readable."""
        full = isinstance(error, OSError) and error.errno in FULL
        what = "disk full" if full else reason(error)
        if topic == SNAPSHOT:
            self._board.say(SNAPSHOT, f"not saved in {self.folder}: {what}; {WAY_OUT}")
            return
        self._take_no_more()
        recording, progress = self._recording, self._progress
        self._recording = self._progress = None
        if recording is None or progress is None:
            self._board.say(RECORDING, f"not begun in {self.folder}: {what}; {WAY_OUT}")
            return
        kept = _kept(recording, what, self._left_out)
        self._board.say(
            RECORDING,
            f"{what}: recording ended after {progress.seconds:.1f} s; {kept}"
            f"{_missing(self._left_out)}",
        )

    def _take_no_more(self) -> None:
        """Let the frames go that wait, unless another recording was asked for meanwhile."""
        with self._changed:
            if not any(isinstance(job, _Begin) for job in self._jobs):
                self._taking = False
                self._drop_frames()


def _missing(left_out: int) -> str:
    if not left_out:
        return ""
    return f"; {left_out} frames left out, for which there was no time"


def _extent(recording: Recording, progress: Progress) -> str:
    size = disk.in_words(recording.written_bytes)
    return f"{recording.frames} frames in {progress.seconds:.1f} s, {size}"


def _kept(recording: Recording, what: str, left_out: int) -> str:
    """Finish a recording that failed as far as that goes; say where its frames are."""
    try:
        folder = recording.finish(what, left_out)
    except (OSError, ScopeSRError):
        folder = recording.folder
        recording.let_go()
    try:
        there = folder.exists()
    except OSError:
        there = False
    if not there:
        return f"{folder.name} is lost with its disk or folder"
    return f"its {recording.frames} frames are in {folder}"
