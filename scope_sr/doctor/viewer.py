"""The live viewer: whether its libraries are there, and whether they work on this computer."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping

from scope_sr.doctor.report import Finding

GROUP = "Live viewer"
ENOUGH = 'python -m pip install "scope-sr[live]"'
LIBRARIES = ("PySide6-Essentials", "pyqtgraph")
START_S = 60.0
# Qt 6 on a bare Debian 12 (measured: notes of the viewer's design); none brings another along
FOR_QT = "libglib2.0-0 libgl1 libegl1 libxkbcommon0 libdbus-1-3 libfontconfig1"
FOR_X = "libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 libxcb-shape0 libxkbcommon-x11-0"
# In a process of its own: a broken Qt ends it. Each call that gives nothing back must leave the
# count of None as it was; PySide6 6.12.0 on Python 3.11 takes one away, until the program dies
TRIAL = """
import sys
from PySide6 import QtCore, QtWidgets
import pyqtgraph
app = QtWidgets.QApplication([])
thing, before = QtCore.QObject(), sys.getrefcount(None)
for _ in range(50):
    thing.setObjectName("x")
lost = sys.version_info < (3, 12) and sys.getrefcount(None) < before - 25
print("loses None" if lost else "works")
"""


def viewer(installed: Mapping[str, str | None]) -> Iterator[Finding]:
    """Look at what `scope-sr live` needs, and try it; no capture hangs on it."""
    missing = [name for name in LIBRARIES if not installed[name]]
    if missing:
        text = f"not installed: {', '.join(missing)}; scope-sr live opens its window with them"
        yield Finding(GROUP, "libraries", "note", text, ENOUGH)
        return
    there = ", ".join(f"{name} {installed[name]}" for name in LIBRARIES)
    yield Finding(GROUP, "libraries", "ok", there)
    yield _tried(there)


def _tried(there: str) -> Finding:
    answer, fault = _trial()
    if answer.endswith("works"):
        return Finding(GROUP, "window", "ok", "can be drawn")
    if answer.endswith("loses None"):
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        text = f"{there} would end Python {python} after a minute"
        remedy = "python -m pip install 'PySide6-Essentials>=6.8,!=6.9.1,!=6.9.2,<6.12'"
        return Finding(GROUP, "window", "note", text, remedy)
    remedy = ENOUGH.replace("install", "install --force-reinstall")
    if sys.platform == "linux":
        remedy = f"apt install {FOR_QT}; for windows on X also {FOR_X}"
    return Finding(GROUP, "window", "note", f"Qt does not start: {fault}", remedy)


def _trial() -> tuple[str, str]:
    """Draw nothing, without a display; give what was said, and in words why nothing was."""
    try:
        done = subprocess.run(  # noqa: S603 - our own words to our own Python
            [sys.executable, "-c", TRIAL],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=START_S,
            check=False,
            env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
        )
    except subprocess.TimeoutExpired:
        return "", f"no answer within {START_S:g} s"
    if done.returncode == 0:
        return done.stdout.strip(), ""
    said = done.stderr.strip().splitlines()
    return "", said[-1] if said else f"exit code {done.returncode}"
