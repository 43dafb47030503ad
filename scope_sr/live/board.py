"""What is wrong right now, in plain words, for whoever looks: a window, a log, a test."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """One thing to say.

    Attributes
    ----------
    topic
        Who it is about: ``camera``, ``model``, ``stage``, ``recording`` ...
    words
        For a person; names the way out where there is one.
    bad
        False for good news and information.
    """

    topic: str
    words: str
    bad: bool = True


class Board:
    """The last note of each topic, and all errors there were; for any thread.

    Attributes
    ----------
    errors
        Every bad note in order, those that repeat the one before in their topic left out.

    Examples
    --------
    >>> board = Board()
    >>> board.say("camera", "the camera is gone")
    >>> board.say("camera", "the camera is gone")
    >>> board.clear("camera")
    >>> board.notes(), len(board.errors)
    ([], 1)
    """

    def __init__(self, heard: Callable[[], None] = lambda: None) -> None:
        self.errors: list[Note] = []
        self.heard = heard
        self._lock = threading.Lock()
        self._notes: dict[str, Note] = {}

    def say(self, topic: str, words: str, *, bad: bool = True) -> None:
        """Put a note up in place of the last one of its topic."""
        note = Note(topic, " ".join(words.split()), bad)
        with self._lock:
            if self._notes.get(topic) == note:
                return
            self._notes.pop(topic, None)  # else it would keep the place of the one before
            self._notes[topic] = note
            if bad:
                self.errors.append(note)
        self.heard()

    def clear(self, topic: str) -> None:
        """Take the note of a topic down: it is well again."""
        with self._lock:
            there = self._notes.pop(topic, None)
        if there:
            self.heard()

    def notes(self) -> list[Note]:
        """Give what is up, the newest last."""
        with self._lock:
            return list(self._notes.values())
