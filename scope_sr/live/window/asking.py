"""Questions to whoever sits in front, from any thread: a nosepiece without a motor needs them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from PySide6 import QtCore, QtWidgets


@dataclass(eq=False)
class _Question:
    words: str
    answers: Sequence[str]
    answer: str = ""
    done: threading.Event = field(default_factory=threading.Event)


class Asking(QtCore.QObject):
    """Puts a question up as a dialog and waits for its answer; `ask` is an operator's ``Ask``.

    Made in the thread of the window. After `close` every question is answered with nothing.
    """

    _came = QtCore.Signal()

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[_Question] = []
        self._dialog: QtWidgets.QMessageBox | None = None
        self._closed = False
        self._lock = threading.Lock()
        self._came.connect(self._put_up, QtCore.Qt.ConnectionType.QueuedConnection)

    def ask(self, question: str, answers: Sequence[str]) -> str:
        """Give one of the answers, or an empty string where nobody answered."""
        asked = _Question(question, answers)
        with self._lock:
            if self._closed:
                return ""
            self._waiting.append(asked)
        if QtCore.QThread.currentThread() is self.thread():
            self._put_up()
        else:
            self._came.emit()
            asked.done.wait()
        return asked.answer

    def close(self) -> None:
        """Answer what waits with nothing, and all that comes; from the thread of the window."""
        with self._lock:
            self._closed = True
        if self._dialog:
            self._dialog.reject()
        self._answer_rest()

    @QtCore.Slot()
    def _put_up(self) -> None:
        if self._dialog:  # the one that is up goes on with the rest
            return
        while not self._closed and self._waiting:
            asked = self._waiting[0]
            asked.answer = self._answered(asked)
            with self._lock:
                self._waiting.remove(asked)
            asked.done.set()

    def _answered(self, asked: _Question) -> str:
        box = self._dialog = QtWidgets.QMessageBox(QtWidgets.QApplication.activeWindow())
        box.setWindowTitle("At the microscope")
        box.setText(asked.words)
        buttons = {
            box.addButton(answer, QtWidgets.QMessageBox.ButtonRole.AcceptRole): answer
            for answer in asked.answers
        }
        box.addButton("Leave it", QtWidgets.QMessageBox.ButtonRole.RejectRole)
        box.exec()
        self._dialog = None
        clicked = box.clickedButton()
        box.deleteLater()
        return next((words for button, words in buttons.items() if button is clicked), "")

    def _answer_rest(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for asked in waiting:
            asked.done.set()
