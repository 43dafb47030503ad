"""Can there be a window here? Asked before anything of Qt but its core is imported."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from scope_sr.errors import InputError
from scope_sr.software import QT_NEEDS, X_NEEDS

APT = "sudo apt install --no-install-recommends"
WITHOUT = "--headless and --screenshot need no screen"


def refuse_what_cannot_be(*, screen: bool = True) -> None:
    """Refuse in one line where there can be no window.

    Parameters
    ----------
    screen
        False for a picture rendered without one (``QT_QPA_PLATFORM=offscreen``).

    Raises
    ------
    InputError
        PySide6 or pyqtgraph is missing, or libraries of the system that they need; this PySide6
        does not go with this Python; there is no display.
    """
    _refuse_missing()
    if not keeps_references():
        msg = (
            f"PySide6 {_version()} loses references on Python {_python()} and would abort within"
            " minutes; install another: pip install 'PySide6-Essentials<6.12'"
        )
        raise InputError(msg)
    if screen:
        _refuse_no_display()


def keeps_references() -> bool:
    """Say whether calls into Qt leave the count of None alone.

    PySide6 6.12.0 drops one reference per call that returns nothing, which ends Python 3.10 and
    3.11 after some 60 000 of them; from 3.12 on None is immortal.
    """
    from PySide6 import QtCore

    probe = QtCore.QObject()
    before = sys.getrefcount(None)
    for _ in range(50):
        probe.setObjectName("x")
    return sys.version_info >= (3, 12) or sys.getrefcount(None) > before - 25


def _refuse_missing() -> None:
    try:
        for needed in ("PySide6.QtCore", "PySide6.QtGui", "PySide6.QtWidgets"):
            importlib.import_module(needed)
        if importlib.util.find_spec("pyqtgraph") is None:  # imported, it would want a screen
            raise ModuleNotFoundError(name="pyqtgraph")
    except ImportError as error:
        raise InputError(why_not(error)) from error


def why_not(error: ImportError) -> str:
    """Say in one line what a failed import means, and what to do.

    Examples
    --------
    >>> why_not(ModuleNotFoundError("No module named 'PySide6'", name="PySide6"))
    'the window needs PySide6, which is not installed; install it: pip install "scope-sr[live]"'
    """
    if isinstance(error, ModuleNotFoundError):
        missing = (error.name or "PySide6").split(".")[0]
        return (
            f"the window needs {missing}, which is not installed; install it:"
            ' pip install "scope-sr[live]"'
        )
    words = " ".join(str(error).split())
    way = f"; install them: {APT} {QT_NEEDS} {X_NEEDS}" if sys.platform == "linux" else ""
    return f"libraries of the system that Qt needs are missing ({words}){way}"


def _refuse_no_display() -> None:
    """Refuse what Qt would abort the program for, with a core dump in place of a word."""
    if sys.platform != "linux":
        return
    asked = os.environ.get("QT_QPA_PLATFORM", "")
    platform = asked.partition(";")[0].partition(":")[0]
    if platform:
        _refuse_unknown_platform(asked, platform)
    if platform and not platform.startswith(("xcb", "wayland")):
        return  # drawn where no screen is needed
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        msg = (
            "no display to open a window on (neither DISPLAY nor WAYLAND_DISPLAY is set); start it"
            f" on a desktop, or over ssh -X; {WITHOUT}"
        )
        raise InputError(msg)
    wayland = platform != "xcb" and _wayland_answers()
    if asked.startswith("wayland") and not wayland and ";" not in asked:
        raise _dead(os.environ.get("WAYLAND_DISPLAY", "of Wayland"))
    if not wayland:
        _refuse_missing_xcb()
        _refuse_dead_display()


def _refuse_unknown_platform(asked: str, platform: str) -> None:
    if _plugins().is_dir() and not list(_plugins().glob(f"libq{platform.split('-')[0]}*")):
        msg = f"QT_QPA_PLATFORM={asked}: this Qt has no platform {platform!r}; unset it"
        raise InputError(msg)


def _wayland_answers() -> bool:
    """Say whether there is a Wayland server where the environment says."""
    import socket

    name = os.environ.get("WAYLAND_DISPLAY")
    if not name or sys.platform != "linux":
        return False
    with socket.socket(socket.AF_UNIX) as tried:
        return tried.connect_ex(str(Path(os.environ.get("XDG_RUNTIME_DIR", ""), name))) == 0


def _refuse_dead_display() -> None:
    """Knock at the X server as Qt will, with the library that its plugin has loaded already."""
    import ctypes

    xcb = ctypes.CDLL("libxcb.so.1")
    xcb.xcb_connect.restype = ctypes.c_void_p
    connection = ctypes.c_void_p(xcb.xcb_connect(None, None))
    failed = xcb.xcb_connection_has_error(connection)
    xcb.xcb_disconnect(connection)
    if failed:
        raise _dead(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY", ""))


def _dead(name: str) -> InputError:
    return InputError(
        f"the display {name} does not answer, or not to this user; log in on a desktop, or come"
        f" anew over ssh -X; {WITHOUT}"
    )


def _refuse_missing_xcb() -> None:
    """Load what the X plugin of Qt links to: Qt itself aborts the program where one is missing."""
    import ctypes

    plugin = _plugins() / "libqxcb.so"
    if not plugin.exists():
        return
    try:
        ctypes.CDLL(str(plugin))
    except OSError as error:
        words = " ".join(str(error).split())
        msg = f"Qt cannot open a window: {words}; install what it needs: {APT} {X_NEEDS}; {WITHOUT}"
        raise InputError(msg) from error


def _plugins() -> Path:
    """Give the folder of what Qt can draw on, as its wheels have it."""
    import PySide6

    return Path(PySide6.__file__).parent / "Qt" / "plugins" / "platforms"


def _version() -> str:
    import PySide6

    return str(PySide6.__version__)


def _python() -> str:
    return ".".join(str(part) for part in sys.version_info[:2])
