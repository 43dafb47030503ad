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
from typing import Any

from PySide6 import QtCore, QtWidgets

from scope_sr.disk import whole
from scope_sr.errors import MicroscopeError
from scope_sr.live.board import Note
from scope_sr.live.pipeline import Pipeline
from scope_sr.live.window.asking import Asking
from scope_sr.live.window.settings import Settings
from scope_sr.live.window.theme import THEMES, dress
from scope_sr.live.window.wandering import Wandering
from scope_sr.live.window.window import LiveWindow
from scope_sr.software import NOTICE

log = logging.getLogger(__name__)

Hook = Callable[[type[BaseException], BaseException, "TracebackType | None"], object]

Handlers = dict[signal.Signals, Any]

PATIENCE_MS = 50
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
    dress(app, THEMES["dark"])  # before there are widgets: those keep the size of their writing
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
    before = _closing_on_signals(window)
    hook, sys.excepthook = sys.excepthook, _telling(pipeline)
    try:
        pipeline.start()
        window.show()
        return int(app.exec())
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.excepthook = hook
        if wandering:
            wandering.stop()
        window.close()


def _closing_on_signals(window: LiveWindow) -> Handlers:
    """Let Ctrl-C and the end of the session close the window; give what they did before."""

    def close(*_: object) -> None:  # not here and now: it may be in the midst of painting
        QtCore.QTimer.singleShot(0, window.close)

    return {number: signal.signal(number, close) for number in (signal.SIGINT, signal.SIGTERM)}


def screenshot(
    pipeline: Pipeline,
    path: Path,
    seconds: float,
    size: tuple[int, int] = (1440, 900),
    prepare: Callable[[LiveWindow], object] = lambda window: None,
) -> None:
    """Render the window into a PNG, as soon as the whole field is enhanced and counted.

    Parameters
    ----------
    seconds
        The longest to wait; what is there then is taken.
    size
        Pixels across and down.
    prepare
        Called once, with the first frame on the screen.

    Raises
    ------
    MicroscopeError
        No picture came.
    OSError
        The file cannot be written; nothing stands under its name.
    """
    application()
    with tempfile.TemporaryDirectory() as folder:  # not this user's own settings
        window = LiveWindow(pipeline, Settings(Path(folder) / "live.ini"))
        window.resize(*size)
        window.show()
        pipeline.start()
        try:
            until_s = time.monotonic() + seconds
            _wait(lambda: window.seen is not None, until_s)
            if window.seen is None:
                raise MicroscopeError(_silence(pipeline, seconds))
            prepare(window)
            _wait(lambda: _complete(window), until_s)
            _save(window, path)
        finally:
            window.close()


def _wait(held: Callable[[], bool], until_s: float) -> None:
    """Let the window work until something holds, or it is late."""
    while time.monotonic() < until_s and not held():
        QtCore.QCoreApplication.processEvents(
            QtCore.QEventLoop.ProcessEventsFlag.AllEvents, PATIENCE_MS
        )


def _complete(window: LiveWindow) -> bool:
    """Say whether picture, enhancement and counts are there, or will not come."""
    seen, layer = window.seen, window.canvas.enhanced.layer
    wishes, state = window.pipeline.model.wishes, window.pipeline.model.state()
    if seen is None:
        return False
    if not (wishes.enhance and (wishes.model or wishes.nuclei)):
        return True
    if layer is None or layer.seen.view != seen.view or layer.covered < ALL:
        return False
    return not (wishes.nuclei and state.nuclei) or layer.counted_px >= ALL * seen.rgb[..., 0].size


def _save(window: LiveWindow, path: Path) -> None:
    bad = [note.words for note in window.pipeline.board.notes() if note.bad]
    window.banner.tell([Note("picture", ". ".join([*bad, NOTICE]), bad=bool(bad))])
    window.readouts.read_status()
    window.readouts.read_picture()
    window.readouts.visit()
    QtWidgets.QApplication.processEvents()
    picture = window.grab().toImage()
    flat = picture.convertToFormat(picture.Format.Format_RGB888)  # no transparent pixels in a file
    flat.setText("Description", NOTICE)
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
    window.canvas.painted.connect(lambda shown: wandering.follow(shown.seen))
    wandering.start()
    return wandering


def _silence(pipeline: Pipeline, seconds: float) -> str:
    notes = "; ".join(note.words for note in pipeline.board.notes() if note.bad)
    return f"{pipeline.stand.name}: no frame within {seconds:g} s; {notes or 'no reason told'}"
