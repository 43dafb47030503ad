"""The model thread: the newest frame in, enhanced patches out, whatever that costs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from scope_sr.live.board import Board
from scope_sr.live.figures import Meter
from scope_sr.live.mailbox import Latest
from scope_sr.live.model.beside import Beside
from scope_sr.live.model.course import Course, Turn
from scope_sr.live.model.equipping import Equipment
from scope_sr.live.seen import Bgra, Nuclei, Patch, Rgb, Seen, Window, Wishes
from scope_sr.modelfile import Card

if TYPE_CHECKING:
    from scope_sr.live.model.enhancing import Enhancer, Piece

WAIT_S = 0.05
CLOSE_S = 0.8

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelState:
    """What the model thread is at.

    Attributes
    ----------
    backend
        What is computed with, in words; empty where nothing is.
    model, nuclei
        Names on the cards of the models in use; empty: none.
    cards, sums
        Cards and SHA-256 of these models, by ``model`` and ``nuclei``.
    scale
        Pixels of the result to one of the camera.
    window_px
        Longest side of what is done in a turn, in pixels of the camera.
    whole
        Whether that is the whole field.
    warnings
        In plain words, what makes the pictures unlike those the models were made for.
    reason
        Why nothing is enhanced, where nobody said that nothing should be.
    loading
        Whether a model is being made ready.
    sr_s, nuclei_s
        What each network took when it was last run.
    """

    backend: str = ""
    model: str = ""
    nuclei: str = ""
    cards: dict[str, Card] = field(default_factory=dict)
    sums: dict[str, str] = field(default_factory=dict)
    scale: int = 1
    window_px: int = 0
    whole: bool = False
    warnings: tuple[str, ...] = ()
    reason: str = ""
    loading: bool = False
    sr_s: float = 0.0
    nuclei_s: float = 0.0


@dataclass(frozen=True, eq=False)
class Held:
    """The picture of a part, whose nuclei are still to be found.

    The frame is let go of: its pixels would fill the memory, and any other of the view will do.
    """

    around: Window
    scale: int
    rgb: Rgb
    pixels: Bgra
    arrived_s: float
    model: str


class Model:
    """Enhances what the camera sees, and looks for nuclei in it, in a thread of its own.

    A small computer does the field part by part once it stands still, and what is looked at again
    and again; the picture of a part is handed on at once, and once more with its nuclei. A computer
    that does the whole field within `scope_sr.live.model.tiling.WHOLE_S` does it for each frame,
    moving or not. Then nuclei are told apart in a second thread, and come with the next picture of
    the same view.

    Attributes
    ----------
    wishes
        What is wanted; replaced at any time from any thread.
    meter
        Rate and latency of patches: from a frame's arrival until its patch was ready.
    idle
        Whether there is nothing to compute with what is seen and wished.

    Examples
    --------
    ``model = Model(board, tray.put); model.start(); model.offer(seen)``
    """

    def __init__(
        self, board: Board, put: Callable[[Patch], None], *, runtime: str = "auto"
    ) -> None:
        self.wishes = Wishes()
        self.meter = Meter()
        self.idle = False
        self._board = board
        self._put = put
        self._box: Latest[Seen] = Latest()
        self._seen: Seen | None = None
        self._equipment = Equipment(board, runtime, self._tell_loading)
        self._enhancer: Enhancer | None = None
        self._course: Course | None = None
        self._mapped = False
        self._beside: Beside[Nuclei] | None = None
        self._looked: Seen | None = None
        self._waiting: Piece | None = None
        self._held: dict[Window, Held] = {}
        self._held_of: object = None
        self._last: Patch | None = None
        self._again = threading.Event()
        self._closed = threading.Event()
        self._state = ModelState()
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)

    @property
    def skipped(self) -> int:
        """How many frames were replaced by newer ones before anybody looked at them."""
        return self._box.replaced

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End; what is still being computed is dropped. Returns within a second."""
        self._closed.set()
        if self._beside:
            self._beside.close()
        if self._thread.is_alive():
            self._thread.join(CLOSE_S)

    def offer(self, seen: Seen) -> None:
        """Leave a frame; the newest only is looked at. Never waits."""
        self._box.put(seen)

    def again(self) -> None:
        """Try models anew that could not be loaded or were put aside: the person asked for it."""
        self._again.set()

    def state(self) -> ModelState:
        """Say what is in use, how it goes, and what to beware of."""
        return self._state

    # The loop

    def _run(self) -> None:
        worked = False
        while not self._closed.is_set():
            self._seen = self._box.take(0.0 if worked else WAIT_S) or self._seen
            try:
                worked = self._seen is not None and self.wishes.enhance and self._step(self._seen)
            except MemoryError:
                self._smaller()
                self._seen, worked = None, False
            except Exception as error:  # nothing that happens here ends the live view
                log.exception("the model thread")
                self._board.say("model", f"a fault of scope-sr itself ({error!r}); going on")
                self._seen, worked = None, False

    def _step(self, seen: Seen) -> bool:
        """Do what is next; False where there is nothing to do until something changes."""
        enhancer = self._equipped(seen)
        if enhancer is None:
            return False
        course = self._course_of(seen, enhancer)
        wishes = self.wishes
        turn = course.next(seen, wishes.focus_px, wishes.area_px, time.monotonic())
        if turn is None:
            return self._hand_on_late(seen)
        begin = time.perf_counter()
        if turn.picture and not self._enhance(turn, seen, enhancer):
            self._seen = None  # the next frame may do
            return False
        if turn.nuclei and enhancer.nuclei and not course.whole:
            self._search(turn.window, seen, enhancer)
        course.done(turn, seen, time.monotonic(), time.perf_counter() - begin)
        return True

    def _equipped(self, seen: Seen) -> Enhancer | None:
        if self._again.is_set():
            self._again.clear()
            self._equipment.again()
        shown = self._last is not None
        enhancer = self._equipment.fit(self.wishes, seen, shown=shown)
        self.idle = enhancer is None
        if enhancer is None:
            self._state = ModelState(reason=self._equipment.reason)
        return enhancer

    def _course_of(self, seen: Seen, enhancer: Enhancer) -> Course:
        """Go on with what was begun, or begin anew with other models or another field."""
        if (
            self._course is None
            or self._enhancer is not enhancer
            or self._course.shape != seen.shape
        ):
            self._enhancer = enhancer
            searched = enhancer.nuclei is not None
            self._course = Course(seen.shape, enhancer.halo_px, time.monotonic(), nuclei=searched)
            self._held.clear()
        mapped = self.wishes.disagreement
        if mapped and not self._mapped:
            self._course.anew()
        self._mapped = mapped
        return self._course

    def _enhance(self, turn: Turn, seen: Seen, enhancer: Enhancer) -> bool:
        """Hand on the picture of a part; False where it could not be made."""
        begin = time.perf_counter()
        tried = self._equipment.tried
        piece = tried("model", lambda: enhancer.piece(seen, turn.window, turn.size))
        if piece is None:
            return False
        sr_s = time.perf_counter() - begin
        apart = tried("model", lambda: enhancer.disagreement(piece)) if self._mapped else None
        begin = time.perf_counter()
        whole = bool(enhancer.nuclei and self._course and self._course.whole)
        nuclei = self._nuclei_of_field(piece, enhancer) if whole else None
        patch = Patch(
            seen,
            turn.window,
            piece.scale,
            piece.pixels,
            nuclei,
            apart,
            model=enhancer.generator.card.name if enhancer.generator else "",
            sr_s=sr_s if enhancer.generator else 0.0,
            nuclei_s=time.perf_counter() - begin if whole else 0.0,
        )
        if enhancer.nuclei and not whole:
            self._hold(piece, patch, turn)
        self._hand_on(patch)
        self._tell(patch)
        return True

    def _hand_on(self, patch: Patch) -> None:
        if self._closed.is_set():
            return
        self._last = patch
        self.meter.add(time.monotonic() - patch.seen.arrived_s)
        self._put(patch)

    # Nuclei

    def _hold(self, piece: Piece, patch: Patch, turn: Turn) -> None:
        """Keep a part until its nuclei are looked for; those of other views are let go."""
        of = (piece.seen.view, turn.size)
        if of != self._held_of:
            self._held_of = of
            self._held.clear()
        self._held[turn.window] = Held(
            piece.around, piece.scale, piece.rgb, piece.pixels, piece.seen.arrived_s, patch.model
        )

    def _search(self, window: Window, seen: Seen, enhancer: Enhancer) -> None:
        """Look for the nuclei of a part, and hand its picture on again with them."""
        from scope_sr.live.model.enhancing import Piece, found

        held = self._held.pop(window)
        of = replace(seen, arrived_s=held.arrived_s)
        piece = Piece(of, window, held.around, held.scale, held.rgb, held.pixels)
        begin = time.perf_counter()
        nuclei = self._equipment.tried("nuclei", lambda: found(enhancer.planes(piece), piece))
        if nuclei is None or self._closed.is_set():
            return
        took_s = time.perf_counter() - begin
        patch = Patch(
            of,
            window,
            held.scale,
            held.pixels,
            nuclei,
            model=held.model,
            nuclei_s=took_s,
            late=True,
        )
        self._put(patch)
        self._tell(patch)

    def _nuclei_of_field(self, piece: Piece, enhancer: Enhancer) -> Nuclei | None:
        """Let the nuclei of a whole field be told apart beside the pictures."""
        if self._beside is None:
            self._beside = Beside()
        self._waiting = piece
        nuclei = self._told_apart(piece.seen)
        self._let_be_told_apart(self._beside, enhancer)
        return nuclei

    def _let_be_told_apart(self, beside: Beside[Nuclei], enhancer: Enhancer) -> None:
        """Give the newest field to the second thread, if it has nothing to do."""
        from scope_sr.live.model.enhancing import found

        piece = self._waiting
        if piece is None or not beside.free:
            return
        self._waiting = None
        planes = self._equipment.tried("nuclei", lambda: enhancer.planes(piece))
        if planes is not None:
            self._looked = piece.seen
            beside.give(lambda: found(planes, piece))

    def _told_apart(self, seen: Seen) -> Nuclei | None:
        """Fetch the nuclei of a field, when they are found, and if they are of this view."""
        outcome = self._beside.take() if self._beside else None
        if outcome is None:
            return None
        nuclei = self._equipment.tried("nuclei", outcome)
        looked = self._looked
        same = looked is not None and (looked.view, looked.shape) == (seen.view, seen.shape)
        return nuclei if same else None

    def _hand_on_late(self, seen: Seen) -> bool:
        """Hand on the nuclei of a field of which no newer picture comes."""
        nuclei = self._told_apart(seen)
        waiting = self._waiting
        if self._beside and self._enhancer and waiting and waiting.seen is seen:
            self._let_be_told_apart(self._beside, self._enhancer)
        if nuclei is None or self._last is None or self._last.seen is not seen:
            return False
        self._put(replace(self._last, nuclei=nuclei, late=True))
        return True

    # What there is to say

    def _smaller(self) -> None:
        """Take smaller windows where the memory ended, other than in the engine."""
        if self._course:
            self._course.give_way()
            side = self._course.window_px
            self._board.say(
                "model",
                f"the memory of this computer is full; going on with windows of {side} px",
            )

    def _tell_loading(self, loading: bool) -> None:
        self._state = replace(self._state, loading=loading)

    def _tell(self, patch: Patch) -> None:
        from scope_sr.live.model.loading import words

        enhancer, course = self._enhancer, self._course
        if enhancer is None or course is None:
            return
        engines = {"model": enhancer.generator, "nuclei": enhancer.nuclei}
        cards = {part: engine.card for part, engine in engines.items() if engine}
        first = enhancer.generator or enhancer.nuclei
        self._state = ModelState(
            backend=words(first) if first else "",
            model=cards["model"].name if "model" in cards else "",
            nuclei=cards["nuclei"].name if "nuclei" in cards else "",
            cards=cards,
            sums=self._equipment.sums(),
            scale=enhancer.scale,
            window_px=course.window_px,
            whole=course.whole,
            warnings=self._equipment.warnings(patch.seen, time.monotonic()),
            reason=self._equipment.reason,
            sr_s=patch.sr_s or self._state.sr_s,
            nuclei_s=patch.nuclei_s or self._state.nuclei_s,
        )
