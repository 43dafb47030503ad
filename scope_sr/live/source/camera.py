"""The camera thread: frames off the stream, developed, numbered by view, and handed on.

It never waits in the driver, and nothing ends it but its closing: whatever the source raises is
said on the board, and the source opened again until it is back.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from scope_sr.errors import DeadlineError, MicroscopeError, ScopeSRError
from scope_sr.frame import Frame
from scope_sr.live.board import Board
from scope_sr.live.mailbox import Pool
from scope_sr.live.seen import Seen, Shown
from scope_sr.live.source.developing import NEUTRAL, Developing, Gains, to_bgra
from scope_sr.live.source.stand import Stand
from scope_sr.live.source.stillness import Stillness
from scope_sr.microscope.protocol import Microscope

log = logging.getLogger(__name__)

PAUSE_S = 0.002  # between two looks for a new frame
PACE_S = 0.022  # from one frame to the next at least: no eye is faster, and models want the time
AGAIN_S = 2.0  # between two tries to open a source that is gone
SILENT_S = 2.0  # beyond two exposures
FIRST_S = 10.0  # the first frame of a stream may take longer
LOOK_S = 0.25
END_S = 0.3  # a thread that takes longer hangs in a driver, and is left to it


class Camera:
    """Follows the camera of a stand for as long as the live view lasts.

    Parameters
    ----------
    shown, seen
        Called in the camera thread with each frame; they must not wait.

    Attributes
    ----------
    gains
        White balance, set at any time by any thread; other gains are another view.
    frozen
        While true nothing is handed on; the stream goes on.
    skipped
        Frames the camera made and nobody fetched, other than those passed over because they came
        within `PACE_S` of one another.
    """

    def __init__(
        self,
        stand: Stand,
        board: Board,
        pool: Pool,
        *,
        shown: Callable[[Shown], None],
        seen: Callable[[Seen], None],
    ) -> None:
        self.gains: Gains = NEUTRAL
        self.frozen = False
        self.skipped = 0
        self._stand = stand
        self._board = board
        self._pool = pool
        self._show = shown
        self._see = seen
        self._developing = Developing()
        self._stillness = Stillness()
        self._objective: str | None = None
        self._shape: tuple[int, ...] = ()
        self._number = 0
        self._arrived_s = 0.0
        self._awaited_s: float | None = None  # until when the next frame should be there
        self._restarted_s = -AGAIN_S
        self._fresh = True
        self._gone = False
        self._quiet = False
        self._logged = ""
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=work, name=f"scope-sr live {name}", daemon=True)
            for name, work in (("camera", self._run), ("watch", self._watch))
        ]

    def start(self) -> None:
        """Open the source and follow it, in a thread of its own."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End; within a second, even while the source is being opened or hangs."""
        self._over.set()
        until_s = time.monotonic() + END_S
        for thread in self._threads:
            thread.join(max(0.0, until_s - time.monotonic()))

    def _run(self) -> None:
        while not self._over.is_set():
            self._live()
            self._over.wait(AGAIN_S)

    def _live(self) -> None:
        """Follow the source as long as it lasts."""
        try:
            self._follow(self._opened())
        except Exception as error:  # noqa: BLE001 - the live view outlives its source
            self._lose(error)

    def _opened(self) -> Microscope:
        if not self._gone:
            self._board.say("camera", f"opening {self._stand.name}", bad=False)
        microscope = self._stand.open()
        rig = self._stand.rig
        self._developing = Developing(self._stand.record, rig.camera.bits if rig else None)
        self._shape = (rig.camera.height_px, rig.camera.width_px) if rig else ()
        self._tell("calibration", self._stand.remark)
        microscope.start_stream()
        self._begin()
        return microscope

    def _begin(self) -> None:
        """Expect the first frame of a stream; its numbers may begin anew."""
        self._number = 0
        self._awaited_s = time.monotonic() + FIRST_S

    def _follow(self, microscope: Microscope) -> None:
        """Hand on what the camera gives, until it fails or the end."""
        after = 0
        while not self._over.is_set():
            try:
                frame = microscope.latest(after)
            except MicroscopeError as error:
                self._restart(microscope, error)
                continue
            if frame is None:
                self._over.wait(PAUSE_S)
                continue
            arrived_s = time.monotonic()
            after = frame.number
            self._take(frame, arrived_s)
            self._over.wait(max(0.0, arrived_s + PACE_S - time.monotonic()))

    def _restart(self, microscope: Microscope, error: MicroscopeError) -> None:
        """Begin the stream anew where it was ended, or its geometry changed, behind our back.

        Raises
        ------
        MicroscopeError
            It was tried a moment ago, or the instrument does not answer: this takes more.
        """
        now_s = time.monotonic()
        if isinstance(error, DeadlineError) or now_s - self._restarted_s < AGAIN_S:
            raise error
        self._restarted_s = now_s
        microscope.stop_stream()
        microscope.start_stream()
        self._begin()
        self._board.say("camera", f"{error}; it was started again", bad=False)

    def _lose(self, error: Exception) -> None:
        """Say what happened to the source, and let go of it."""
        self._awaited_s = None
        self._gone = True
        if self._over.is_set():
            return
        words = str(error)
        if not isinstance(error, ScopeSRError):
            log.error("the camera thread lost its source", exc_info=error)
            words = f"the camera failed: {_in_a_line(error)}; look at its cable and its driver"
        self._board.say("camera", f"{words}; trying again every {AGAIN_S:g} s")
        self._stand.lose()

    def _take(self, frame: Frame, arrived_s: float) -> None:
        """Do with one frame what is to be done; one that cannot be shown stops nothing."""
        self._count(frame, arrived_s)
        if self.frozen:
            return
        try:
            self._notice(frame)
            self._hand_on(frame, arrived_s)
            self._tell("picture", "")
        except ScopeSRError as error:
            self._tell("picture", str(error))
        except Exception as error:
            words = f"a frame could not be shown, which is a fault of this program: {error!r}"
            if words != self._logged:
                log.exception("a frame could not be shown")
            self._logged = words
            self._tell("picture", words)

    def _hand_on(self, frame: Frame, arrived_s: float) -> None:
        gains, still = self.gains, self._stillness
        rgb = self._developing.rgb(frame, gains)
        um_per_px = self._stand.um_per_px(frame.objective)
        light = (gains, self._stand.gain)
        still.look(frame, rgb, light, arrived_s, um_per_px, self._aperture(frame.objective))
        seen = Seen(frame, rgb, um_per_px, arrived_s, still.view, still.since_s)
        self._show(Shown(seen, to_bgra(rgb, self._pool)))
        self._see(seen)

    def _count(self, frame: Frame, arrived_s: float) -> None:
        """Note that the camera lives, and what it made in vain."""
        if self._number:
            self.skipped += missed(frame.number - self._number, arrived_s - self._arrived_s)
        self._number, self._arrived_s = frame.number, arrived_s
        self._awaited_s = arrived_s + SILENT_S + 2 * frame.exposure_ms / 1000
        if self._gone or self._quiet:
            self._board.say("camera", "the camera is back", bad=False)
            self._gone = self._quiet = False
        elif self._fresh:
            self._board.clear("camera")
        self._fresh = False

    def _notice(self, frame: Frame) -> None:
        """Say what changed at the stand without us."""
        if frame.image.shape[:2] != self._shape:
            self._notice_geometry(frame)
        if frame.objective != self._objective:
            self._notice_objective(frame.objective)
        self._tell("flat-field", self._developing.remark)

    def _notice_geometry(self, frame: Frame) -> None:
        before, self._shape = self._shape, frame.image.shape[:2]
        self._stand.look_again(self._shape, frame.objective)
        if not before:
            return
        (rows, columns), um_per_px = self._shape, self._stand.um_per_px(frame.objective)
        scale = f"a pixel is {um_per_px:.4g} µm now" if um_per_px else "the scale is not known now"
        self._board.say(
            "camera",
            f"the camera gives {columns}x{rows} px now and gave {before[1]}x{before[0]} px before:"
            f" its region of interest or binning was changed; {scale}",
            bad=False,
        )

    def _notice_objective(self, objective: str) -> None:
        before, self._objective = self._objective, objective
        by_us = objective == self._stand.expected_objective
        rig = self._stand.rig
        if by_us:
            self._stand.expected_objective = ""
        if rig is not None and objective not in rig.objectives:
            self._board.say(
                "objective",
                f"the nosepiece reports {objective!r}, which {rig.source} does not know: no scale,"
                " no model is chosen by it; turn to one it knows, or add it to the rig",
            )
        elif before is not None and not by_us and self._stand.driven:
            words = f"the objective is now {objective} (turned at the stand)"
            self._board.say("objective", words, bad=False)
        elif by_us:
            self._board.clear("objective")

    def _aperture(self, objective: str) -> float | None:
        rig = self._stand.rig
        known = rig is not None and objective in rig.objectives
        return rig.objectives[objective].numerical_aperture if rig and known else None

    def _tell(self, topic: str, words: str) -> None:
        """Put up what is amiss, or take the note down where nothing is."""
        if words:
            self._board.say(topic, words)
        else:
            self._board.clear(topic)

    def _watch(self) -> None:
        """Say when no frames come: the camera thread itself may be held up by a driver."""
        while not self._over.wait(LOOK_S):
            awaited_s = self._awaited_s
            if awaited_s is not None and time.monotonic() > awaited_s and not self._quiet:
                self._quiet = True
                self._board.say(
                    "camera",
                    "the camera gives no frames; look at its cable, its power and the program that"
                    " drives it",
                )


def missed(steps: int, elapsed_s: float) -> int:
    """Count the frames that came to nothing, but for those that are passed over by choice.

    Parameters
    ----------
    steps
        From the number of one frame in hand to that of the next.
    elapsed_s
        Between their arrivals.

    Examples
    --------
    A camera of 66 frames a second, which is asked for one every 22 ms, and then after 90 ms:

    >>> missed(1, 0.022), missed(2, 0.030), missed(6, 0.090)
    (0, 0, 4)

    And one of 30 frames a second:

    >>> missed(1, 0.033), missed(3, 0.1)
    (0, 2)
    """
    by_choice = int(steps * min(1.0, PACE_S / max(elapsed_s, PACE_S)))
    return max(0, steps - 1 - by_choice)


def _in_a_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
