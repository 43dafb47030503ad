"""Which scope-sr this is, as everything it writes says of itself."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

NOTICE = "Enhanced pictures contain generated detail. Research use only, not for diagnosis."


def this_version() -> str:
    """Give name and version, ``scope-sr 0.1.0``."""
    try:
        return f"scope-sr {version('scope-sr')}"
    except PackageNotFoundError:  # a checkout that was not installed
        return "scope-sr (not installed)"
