"""The application around the window: opened, closed by Ctrl-C as well, or rendered to a file."""

from __future__ import annotations

import logging
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from PySide6 import QtCore, QtWidgets

from scope_sr.disk import whole
from scope_sr.errors import MicroscopeError
from scope_sr.live.pipeline import Pipeline
from scope_sr.live.window.asking import Asking
from scope_sr.live.window.settings import Settings
from scope_sr.live.window.wandering import Wandering
from scope_sr.live.window.window import LiveWindow

log = logging.getLogger(__name__)

Hook = Callable[[type[BaseException], BaseException, "TracebackType | None"], object]

PYTHON_MS = 200  # so often Python gets to see Ctrl-C
ALL = 0.999  # of the field


def application() -> QtWidgets.QApplication:
    """Give the one application there can be."""
    app = QtWidgets.QApplication.instance()
    if isinstance(app, QtWidgets.QApplication):
        return app
    app = QtWidgets.QApplication(sys.argv[:1])
    app.setApplicationName("scope-sr live")
    app.setDesktopFileName("scope-sr")
    return app


def show(pipeline: Pipeline, settings: Settings | None = None, asking: Asking | None = None) -> int:
    """Open the window, run until it is closed, and give the exit code.

    Parameters
    ----------
    asking
        What the stand asks its questions with, if it asks any.
    """
    app = application()
    window = LiveWindow(pipeline, settings or Settings(), asking)
    wandering = _wandering(pipeline, window)
    awake = QtCore.QTimer(interval=PYTHON_MS)
    awake.timeout.connect(lambda: None)  # Qt's loop alone never lets Python look at signals
    awake.start()
    before = signal.signal(signal.SIGINT, lambda *_: window.close())
    hook, sys.excepthook = sys.excepthook, _telling(pipeline)
    try:
        pipeline.start()
        window.show()
        return int(app.exec())
    finally:
        signal.signal(signal.SIGINT, before)
        sys.excepthook = hook
        if wandering:
            wandering.stop()
        window.close()


def screenshot(
    pipeline: Pipeline, path: Path, seconds: float, size: tuple[int, int] = (1440, 900)
) -> None:
    """Render the window into a PNG, as soon as the whole field is enhanced.

    Parameters
    ----------
    seconds
        The longest to wait; what is there then is taken.
    size
        Pixels across and down.

    Raises
    ------
    MicroscopeError
        No picture came.
    OSError
        The file cannot be written; nothing stands under its name.
    """
    app = application()
    with tempfile.TemporaryDirectory() as folder:  # not this user's own settings
        window = LiveWindow(pipeline, Settings(Path(folder) / "live.ini"))
        window.resize(*size)
        window.show()
        pipeline.start()
        try:
            until_s = time.monotonic() + seconds
            while time.monotonic() < until_s and not _complete(window):
                app.processEvents(QtCore.QEventLoop.ProcessEventsFlag.AllEvents, 50)
            if window.seen is None:
                raise MicroscopeError(_silence(pipeline, seconds))
            _save(window, path)
        finally:
            window.close()


def _complete(window: LiveWindow) -> bool:
    """Say whether picture, enhancement and counts are there, or will not come."""
    if window.seen is None:
        return False
    wishes = window.pipeline.model.wishes
    wanted = wishes.enhance and (wishes.model or wishes.nuclei)
    return not wanted or window.canvas.enhanced.covered >= ALL


def _save(window: LiveWindow, path: Path) -> None:
    notes = window.pipeline.board.notes()
    window.banner.tell([])  # what was put away comes up again
    window.banner.tell([note for note in notes if note.bad or note.topic == "notice"])
    window.readouts.read_status()
    window.readouts.read_picture()
    window.readouts.visit()
    QtWidgets.QApplication.processEvents()
    picture = window.grab().toImage()
    flat = picture.convertToFormat(picture.Format.Format_RGB888)  # no transparent pixels in a file
    with whole(path) as part:
        if not flat.save(str(part), "PNG"):  # type: ignore[call-overload]
            msg = f"{path}: the picture could not be written; is the disk full?"
            raise OSError(msg)


def _telling(pipeline: Pipeline) -> Hook:
    """Log a fault in what Qt called and say it in the window, once: a timer would repeat it."""
    told: set[str] = set()

    def tell(kind: type[BaseException], fault: BaseException, trace: TracebackType | None) -> None:
        words = f"a fault of this program ({fault!r}); the live view goes on"
        if words not in told:
            told.add(words)
            log.error("the window", exc_info=(kind, fault, trace))
            pipeline.board.say("window", words)

    return tell


def _wandering(pipeline: Pipeline, window: LiveWindow) -> Wandering | None:
    """Let the simulator's stage wander; no other stage moves without being told to."""
    rig = pipeline.stand.rig
    if rig is None or rig.backend != "simulated":
        return None
    wandering = Wandering(pipeline)
    window.canvas.painted.connect(lambda shown: setattr(wandering, "seen", shown.seen))
    wandering.start()
    return wandering


def _silence(pipeline: Pipeline, seconds: float) -> str:
    notes = "; ".join(note.words for note in pipeline.board.notes() if note.bad)
    return f"{pipeline.stand.name}: no frame within {seconds:g} s; {notes or 'no reason told'}"
