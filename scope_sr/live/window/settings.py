"""What the window remembers; a damaged or foreign value is as good as none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from PySide6 import QtCore


class Settings:
    """Values that survive the program, each read as what it has to be.

    Parameters
    ----------
    path
        An INI file; None takes this user's own.
    """

    def __init__(self, path: Path | None = None) -> None:
        ini = QtCore.QSettings.Format.IniFormat
        self._held = (
            QtCore.QSettings(str(path), ini)
            if path
            else QtCore.QSettings(ini, QtCore.QSettings.Scope.UserScope, "scope-sr", "live")
        )

    def put(self, key: str, value: object) -> None:
        """Remember a value; what cannot be written is forgotten, and nothing else happens."""
        self._held.setValue(key, value)

    def text(self, key: str, default: str = "") -> str:
        """Read words of one line."""
        value = self._held.value(key, default)
        return value if isinstance(value, str) and "\0" not in value else default

    def choice(self, key: str, among: Sequence[str], default: str) -> str:
        """Read one of several words."""
        value = self.text(key, default)
        return value if value in among else default

    def number(self, key: str, default: float, least: float, most: float) -> float:
        """Read a number between limits."""
        try:
            value = float(str(self._held.value(key, default)))
        except ValueError:
            return default
        return value if math.isfinite(value) and least <= value <= most else default

    def flag(self, key: str, default: bool) -> bool:
        """Read yes or no."""
        return {"true": True, "false": False}.get(
            str(self._held.value(key, default)).lower(), default
        )

    def gains(self, source: str) -> tuple[float, float, float]:
        """Read the white balance of a source: that of another lamp or camera would be wrong."""
        red, green, blue = (
            self.number(f"gains/{_key(source)}/{name}", 1.0, 0.1, 10.0)
            for name in ("red", "green", "blue")
        )
        return red, green, blue

    def put_gains(self, source: str, gains: tuple[float, float, float]) -> None:
        """Remember the white balance of a source."""
        for name, gain in zip(("red", "green", "blue"), gains, strict=True):
            self.put(f"gains/{_key(source)}/{name}", gain)

    def bytes(self, key: str) -> QtCore.QByteArray:
        """Read what Qt packed, as the place and size of a window."""
        value = self._held.value(key)
        return value if isinstance(value, QtCore.QByteArray) else QtCore.QByteArray()

    def flush(self) -> None:
        """Write now."""
        self._held.sync()


def _key(source: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in source)
