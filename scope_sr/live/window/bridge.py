"""From any thread into the window: one event at most is on its way, whatever comes meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable

from PySide6 import QtCore


class Bridge(QtCore.QObject):
    """Calls a function in the thread of the window, once for however many calls before it ran.

    The mailboxes hold what there is to fetch; this only wakes whoever fetches. Without the mark
    that an event is pending, a camera faster than the screen would fill Qt's queue.

    Examples
    --------
    ::

        bridge = Bridge(window.fetch)
        pipeline.notify = bridge.notify
    """

    _called = QtCore.Signal()

    def __init__(self, run: Callable[[], None]) -> None:
        super().__init__()
        self._run = run
        self._pending = False
        self._lock = threading.Lock()
        self._called.connect(self._answer, QtCore.Qt.ConnectionType.QueuedConnection)

    def notify(self) -> None:
        """Have the function called soon; from any thread, never waits."""
        with self._lock:
            if self._pending:
                return
            self._pending = True
        self._called.emit()

    @QtCore.Slot()
    def _answer(self) -> None:
        with self._lock:  # before fetching: what comes from here on is announced anew
            self._pending = False
        self._run()
