"""The threads of the live view and what lies between them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from scope_sr.live.board import Board
from scope_sr.live.figures import Meter
from scope_sr.live.keeping.writer import Writer
from scope_sr.live.mailbox import Latest, Pool, Tray
from scope_sr.live.model.thread import Model
from scope_sr.live.seen import Patch, Shown, Wishes
from scope_sr.live.source.camera import Camera
from scope_sr.live.source.hands import Hands
from scope_sr.live.source.stand import Stand

END_S = 1.0  # a window that was closed must be gone


class Pipeline:
    """Camera, model, hands and writer, each in a thread of its own.

    Attributes
    ----------
    shown, tray
        What waits for the screen.
    original, enhanced
        Rates and latencies; whoever takes pictures and patches out counts them.
    notify
        Called by any thread whenever there is something in `shown`, in `tray` or on `board`.
    """

    def __init__(
        self, stand: Stand, folder: Path, wishes: Wishes | None = None, runtime: str = "auto"
    ) -> None:
        self.stand = stand
        self.notify: Callable[[], None] = lambda: None
        self.board = Board(lambda: self.notify())
        self.pool = Pool()
        self.shown: Latest[Shown] = Latest()
        self.tray = Tray()
        self.original = Meter()
        self.enhanced = Meter()
        self.model = Model(self.board, self._lay, runtime=runtime)
        self.model.wishes = wishes or Wishes()
        self.camera = Camera(stand, self.board, self.pool, shown=self._show, seen=self.model.offer)
        self.hands = Hands(stand, self.board)
        self.writer = Writer(folder, self.board)

    def start(self) -> None:
        """Let everything run; the camera first, models follow when they are loaded."""
        self.camera.start()
        self.hands.start()
        self.model.start()

    def wish(self, **changes: object) -> None:
        """Tell the model thread what is wanted now."""
        self.model.wishes = replace(self.model.wishes, **changes)  # type: ignore[arg-type]

    def close(self) -> None:
        """End all threads within a second, and leave the instrument as it was found."""
        self.notify = lambda: None
        parts = (self.writer, self.model, self.hands, self.camera)
        ends = [threading.Thread(target=part.close, daemon=True) for part in parts]
        for end in ends:
            end.start()
        for end in ends:
            end.join(END_S)
        self.stand.close()

    def _show(self, shown: Shown) -> None:
        """Leave a frame for the screen; one that nobody fetched gives its buffer back."""
        self.writer.add(shown.seen)
        before = self.shown.put(shown)
        if before is not None:
            self.pool.put(before.pixels)
        self.notify()

    def _lay(self, patch: Patch) -> None:
        self.tray.put(patch)
        self.notify()
