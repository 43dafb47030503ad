"""The live viewer: whether its libraries are there, and whether they work on this computer."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping

from scope_sr.doctor.computer import run
from scope_sr.doctor.report import Finding
from scope_sr.software import QT_NEEDS, X_NEEDS

GROUP = "Live viewer"
ENOUGH = 'python -m pip install "scope-sr[live]"'
LIBRARIES = ("PySide6-Essentials", "pyqtgraph")
START_S = 60.0
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
    answer, fault = run([sys.executable, "-c", TRIAL], START_S, QT_QPA_PLATFORM="offscreen")
    if answer.endswith("works"):
        return Finding(GROUP, "window", "ok", "can be drawn")
    if answer.endswith("loses None"):
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        text = f"{there} would end Python {python} after a minute"
        remedy = "python -m pip install 'PySide6-Essentials>=6.8,!=6.9.1,!=6.9.2,<6.12'"
        return Finding(GROUP, "window", "note", text, remedy)
    remedy = ENOUGH.replace("install", "install --force-reinstall")
    if sys.platform == "linux":
        remedy = f"apt install {QT_NEEDS}; for windows on X also {X_NEEDS}"
    return Finding(GROUP, "window", "note", f"Qt does not start: {fault}", remedy)
