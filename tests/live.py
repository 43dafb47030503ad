"""A camera thread under test: what it hands on, and waiting for it without sleeping blindly."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from scope_sr.live.board import Board, Note
from scope_sr.live.mailbox import Pool
from scope_sr.live.seen import Seen, Shown
from scope_sr.live.source.camera import Camera
from scope_sr.live.source.stand import Stand

PATIENCE_S = 8.0


@dataclass
class Live:
    """A stand, the camera thread on it, and all it said and showed."""

    stand: Stand
    board: Board = field(default_factory=Board)
    pool: Pool = field(default_factory=Pool)
    shown: list[Shown] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    said: list[Note] = field(default_factory=list)
    camera: Camera = field(init=False)

    def __post_init__(self) -> None:
        self._changed = threading.Condition()
        self.board.heard = self._hear
        self.camera = Camera(
            self.stand, self.board, self.pool, shown=self._show, seen=self.seen.append
        )

    def until(self, there: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
        """Wait until something is so; looked at whenever something happens."""
        until_s = time.monotonic() + patience_s
        with self._changed:
            while not there():
                left_s = until_s - time.monotonic()
                assert left_s > 0, (self.said, len(self.shown))
                self._changed.wait(min(left_s, 0.1))

    def frames(self, more: int = 3) -> Shown:
        """Wait for so many more frames; give the last."""
        wanted = len(self.shown) + more
        self.until(lambda: len(self.shown) >= wanted)
        return self.shown[-1]

    def hears(self, topic: str, words: str, *, bad: bool | None = None) -> Note:
        """Wait for a note that holds these words."""

        def found() -> list[Note]:
            return [
                note
                for note in list(self.said)
                if note.topic == topic and words in note.words and bad in (None, note.bad)
            ]

        self.until(found)
        return found()[-1]

    def close(self) -> float:
        """Close camera and stand; give the seconds it took."""
        began_s = time.monotonic()
        self.camera.close()
        self.stand.close()
        return time.monotonic() - began_s

    def _show(self, shown: Shown) -> None:
        with self._changed:
            self.shown.append(shown)
            self._changed.notify_all()

    def _hear(self) -> None:
        with self._changed:
            self.said += [note for note in self.board.notes() if note not in self.said]
            self._changed.notify_all()


@contextlib.contextmanager
def live(stand: Stand) -> Iterator[Live]:
    """Run a camera thread until the end of the block."""
    running = Live(stand)
    running.camera.start()
    try:
        yield running
    finally:
        running.close()
