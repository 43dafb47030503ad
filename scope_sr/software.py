"""Which scope-sr this is, as everything it writes says of itself."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

# What Qt 6 wants of a bare Debian 12, by the names of its packages; none brings another along
QT_NEEDS = "libglib2.0-0 libgl1 libegl1 libxkbcommon0 libdbus-1-3 libfontconfig1"
X_NEEDS = "libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 libxcb-shape0 libxkbcommon-x11-0"

NOTICE = "Enhanced pictures contain generated detail. Research use only, not for diagnosis."


def this_version() -> str:
    """Give name and version, ``scope-sr 0.1.0``."""
    try:
        return f"scope-sr {version('scope-sr')}"
    except PackageNotFoundError:  # a checkout that was not installed
        return "scope-sr (not installed)"
