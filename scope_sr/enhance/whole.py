"""A file that a library writes bit by bit, under its name only when it is whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scope_sr.disk import PART, sync_file


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give the name to write under; after the last line of the block it stands under its own.

    Raises
    ------
    OSError
        The system refused; nothing stands under `path` that did not stand there before.
    """
    part = path.with_name(path.name + PART)
    try:
        yield part
        sync_file(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
