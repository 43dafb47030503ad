"""Which models are in use: loaded when they are wished for, put aside when they fail."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from scope_sr.errors import ScopeSRError
from scope_sr.live.board import Board
from scope_sr.live.model.choosing import generator_of, nuclei_of, odd_stain, outside
from scope_sr.live.model.tiling import settled
from scope_sr.live.seen import Seen, Wishes

if TYPE_CHECKING:  # torch comes with them, when the first frame is on the screen already
    from scope_sr.engine import Engine
    from scope_sr.live.model.enhancing import Enhancer
    from scope_sr.live.model.loading import Shelf

FAILURES = 5  # in a row: then a model is put aside
STAIN_S = 2.0

T = TypeVar("T")
log = logging.getLogger(__name__)


class Equipment:
    """The models in use.

    A model that cannot be loaded is said on the board, and the last one stays. One that fails on
    `FAILURES` pictures in a row is put aside. Both are tried anew when another wish has been made
    since, or by `again`.

    Attributes
    ----------
    enhancer
        None: there is nothing to compute.
    reason
        Why nothing is enhanced, where nobody said that nothing should be.
    """

    def __init__(self, board: Board, runtime: str, loading: Callable[[bool], None]) -> None:
        self.enhancer: Enhancer | None = None
        self.names = {"model": "", "nuclei": ""}
        self.reason = ""
        self._board = board
        self._runtime = runtime
        self._loading = loading
        self._shelf: Shelf | None = None
        self._wished = ("", "")
        self._refused: set[str] = set()
        self._failures: dict[str, int] = {}
        self._aside: set[str] = set()
        self._stain_s, self._stain = -STAIN_S, ""

    def fit(self, wishes: Wishes, seen: Seen, *, shown: bool) -> Enhancer | None:
        """See to it that the models are in use which are wished for and fit the pixel size.

        Parameters
        ----------
        shown
            Whether anything was enhanced yet: the nuclei model is loaded after that.
        """
        if (wishes.model, wishes.nuclei) != self._wished:
            self._wished = (wishes.model, wishes.nuclei)
            self.again()
        choice = generator_of(wishes, seen.um_per_px)
        self.reason = choice.reason
        generator = self._engine("model", choice.generator, None)
        scale = generator.card.scale if generator else 1
        name = nuclei_of(wishes, seen.um_per_px, scale)
        nuclei = self._engine("nuclei", name, generator) if shown or not generator else None
        self._use(generator, nuclei)
        return self.enhancer

    def tried(self, part: str, work: Callable[[], T]) -> T | None:
        """Let a model work on a picture; None where it failed, which is said.

        Parameters
        ----------
        part
            ``model`` or ``nuclei``.

        Raises
        ------
        MemoryError
            It ended, not that of the engine, which sees to its own.
        """
        try:
            done = work()
        except MemoryError:
            raise
        except Exception as error:
            if not isinstance(error, (ScopeSRError, RuntimeError, OSError)):
                log.exception("%s", self.names[part])
            self._failed(part, error)
            return None
        if self._failures.pop(part, 0) and not self._refused | self._aside:
            self._board.clear("model")
        return done

    def again(self) -> None:
        """Try anew what could not be loaded or was put aside."""
        if self._shelf:
            for name in self._aside:
                self._shelf.drop(name)
        if self._refused or self._aside:
            self._board.clear("model")
        self._refused.clear()
        self._aside.clear()

    def warnings(self, seen: Seen, now_s: float) -> tuple[str, ...]:
        """Say what makes a frame unlike those the models were made for."""
        if self.enhancer is None:
            return ()
        um_per_px, found = seen.um_per_px, []
        if self.enhancer.generator:
            found.append(outside(self.enhancer.generator.card, um_per_px))
        if self.enhancer.nuclei:
            small_um = um_per_px and um_per_px / self.enhancer.scale
            found.append(outside(self.enhancer.nuclei.card, small_um))
        if now_s - self._stain_s >= STAIN_S and settled(now_s, seen.since_s):
            self._stain_s, self._stain = now_s, odd_stain(seen.rgb)
        return tuple(words for words in (*found, self._stain) if words)

    def sums(self) -> dict[str, str]:
        """Give the SHA-256 of the models in use."""
        known = self._shelf.sums if self._shelf else {}
        return {part: known[name] for part, name in self.names.items() if name in known}

    def _engine(self, part: str, name: str, beside: Engine | None) -> Engine | None:
        """Give the model of a name; the last one where it cannot be loaded."""
        if not name or name in self._aside:
            self.names[part] = ""
            return None
        if name not in self._refused:
            found = self._loaded(part, name, beside)
            if found:
                self.names[part] = name
                return found
        if self.enhancer is None:
            return None
        return self.enhancer.generator if part == "model" else self.enhancer.nuclei

    def _loaded(self, part: str, name: str, beside: Engine | None) -> Engine | None:
        if self._shelf and name in self._shelf.engines:
            return self._shelf.engines[name]
        self._loading(True)
        try:
            return self._load(part, name, beside)
        except Exception as error:
            if not isinstance(error, (ScopeSRError, RuntimeError, OSError, MemoryError)):
                log.exception("loading %s", name)
            self._refused.add(name)
            self._board.say("model", f"{_said(error)}; what was there before goes on")
            return None
        finally:
            self._loading(False)

    def _load(self, part: str, name: str, beside: Engine | None) -> Engine:
        if self._shelf is None:
            from scope_sr.live.model.loading import Shelf

            self._shelf = Shelf(self._board, self._runtime)
        began_s = time.perf_counter()
        kind = "nuclei" if part == "nuclei" else "sr"
        found = self._shelf.load(name, kind, beside)
        log.info("%s was ready after %.1f s", name, time.perf_counter() - began_s)
        return found

    def _use(self, generator: Engine | None, nuclei: Engine | None) -> None:
        if generator is None and nuclei is None:
            self.enhancer = None
            return
        now = self.enhancer
        if now is None or (now.generator, now.nuclei) != (generator, nuclei):
            from scope_sr.live.model.enhancing import Enhancer

            self.enhancer = Enhancer(generator, nuclei)

    def _failed(self, part: str, error: Exception) -> None:
        name = self.names[part]
        self._failures[part] = self._failures.get(part, 0) + 1
        if self._failures[part] < FAILURES:
            self._board.say("model", f"{name}: {_said(error)}; trying the next frame")
            return
        del self._failures[part]
        self._aside.add(name)
        self._board.say(
            "model",
            f"{name} failed {FAILURES} times in a row ({_said(error)}) and was put aside;"
            " choose it again to try it anew, or another",
        )


def _said(error: Exception) -> str:
    """Give the last line of what an error says: that of libraries is preceded by where."""
    if isinstance(error, MemoryError):
        return "the memory of this computer is full"
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__
