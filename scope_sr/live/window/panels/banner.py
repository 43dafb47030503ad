"""The line under the toolbar that says what is wrong, or what has been done."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6 import QtCore, QtWidgets

from scope_sr.live.board import Note
from scope_sr.live.window.panels.parts import FOCUS, look, words

GOOD_S = 7.0


class Banner(QtWidgets.QFrame):
    """One note at a time, bad ones first; good ones go by themselves, bad ones with their cause.

    What was put away stays away until its topic says something else.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("banner")
        self.sign = words("")
        self.words = words("", wraps=True)
        self.words.setTextInteractionFlags(QtCore.Qt.TextInteractionFlag.TextSelectableByMouse)
        self.words.setFocusPolicy(FOCUS.NoFocus)
        self.more = words("", "quiet")
        self.close_ = QtWidgets.QToolButton()
        self.close_.setText("✕")
        self.close_.setFocusPolicy(FOCUS.TabFocus)
        self.close_.setAccessibleName("Put this message away")
        self.close_.clicked.connect(self.put_away)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(12, 4, 8, 4)
        row.setSpacing(9)
        row.addWidget(self.sign)
        row.addWidget(self.words, 1)
        row.addWidget(self.more)
        row.addWidget(self.close_)
        self._notes: tuple[Note, ...] = ()
        self._away: set[Note] = set()
        self._fade = QtCore.QTimer(self, singleShot=True, interval=round(1e3 * GOOD_S))
        self._fade.timeout.connect(self.put_away)
        self.shown: Note | None = None
        self.hide()

    def tell(self, notes: Sequence[Note]) -> None:
        """Show what is up now, the newest last."""
        self._notes = tuple(notes)
        self._away &= set(notes)
        self._show()

    def put_away(self) -> None:
        """Hide what is shown; the next comes up."""
        if self.shown:
            self._away.add(self.shown)
        self._show()

    def _show(self) -> None:
        waiting = [note for note in self._notes if note not in self._away]
        waiting.sort(key=lambda note: note.bad)
        self.setVisible(bool(waiting))
        note = waiting[-1] if waiting else None
        more = f"and {len(waiting) - 1} more" if len(waiting) > 1 else ""
        self.more.setText(more)
        if note == self.shown:
            return
        self.shown = note
        self._fade.stop()
        if note is None:
            return
        look(self, "bad" if note.bad else "good")
        look(self.sign, "bad" if note.bad else "")
        self.sign.setText("⚠" if note.bad else "ℹ")
        self.words.setText(f"{note.words[:1].upper()}{note.words[1:]}")
        self.setAccessibleName(f"{'Problem' if note.bad else 'Message'}: {note.words}")
        if not note.bad:
            self._fade.start()
