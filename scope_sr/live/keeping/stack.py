"""Frames in one BigTIFF that any reader can open after each of them, also if nothing follows.

A page is written behind the last one, pixels first; only then is it linked to the chain of pages.
Whatever happens in between, the program being killed or the disk full, leaves the chain before it
whole. tifffile links a page before it is written, or writes all pages when the file is closed.
"""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from scope_sr.software import this_version

# BigTIFF without a page; little endian, as all computers this runs on
HEADER = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0)
FIRST_LINK = 8
ASCII, SHORT, RATIONAL, LONG8 = 2, 3, 5, 16
PIXELS_ON = 16  # readers map them into memory

Pixels = NDArray[np.uint8] | NDArray[np.uint16]
Tag = tuple[int, int, int, bytes]  # number, type, count, value


class Stack:
    """A BigTIFF that grows.

    Parameters
    ----------
    path
        A new file.
    um_per_px
        None where nobody knows.
    note
        Description of the first page, as long as there is no other.

    Attributes
    ----------
    frames, bytes
        How many are in it, and what they take.
    """

    def __init__(self, path: Path, um_per_px: float | None, note: str) -> None:
        self.path = path
        self.frames = 0
        self.bytes = len(HEADER)
        self._note = note
        self._um_per_px = um_per_px
        self._link = FIRST_LINK
        self._file = _created(path)
        _write(self._file, HEADER)

    def add(self, image: Pixels) -> int:
        """Append a frame, ``(row, column)`` or ``(row, column, 3)``; give the byte it begins at.

        Raises
        ------
        OSError
            The system refused; the frames before are whole.
        """
        start = -(-self.bytes // PIXELS_ON) * PIXELS_ON
        pixels = np.ascontiguousarray(image)
        page = -(-(start + pixels.nbytes) // PIXELS_ON) * PIXELS_ON
        ifd, link = _page(self._tags(pixels, start), page)
        try:
            self._file.seek(start)
            _write(self._file, pixels.data)
            self._file.seek(page)
            _write(self._file, ifd)
            self._file.seek(self._link)
            _write(self._file, struct.pack("<Q", page))
        except OSError:
            with contextlib.suppress(OSError):
                self._forget_what_follows()
            raise
        self._link, self.bytes = link, page + len(ifd)
        self.frames += 1
        return start

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def _forget_what_follows(self) -> None:
        """Make the last whole page the end; both need no room on the disk."""
        self._file.seek(self._link)
        self._file.write(bytes(8))
        self._file.truncate(self.bytes)

    def _tags(self, pixels: NDArray[Any], start: int) -> list[Tag]:
        rows, columns = pixels.shape[:2]
        samples = pixels.shape[2] if pixels.ndim == 3 else 1
        note = [] if self.frames else [_text(270, self._note)]
        return [
            _number(256, LONG8, columns),
            _number(257, LONG8, rows),
            _number(258, SHORT, *[8 * pixels.itemsize] * samples),
            _number(259, SHORT, 1),  # not compressed
            _number(262, SHORT, 2 if samples == 3 else 1),  # RGB, or black is 0
            *note,
            _number(273, LONG8, start),
            _number(277, SHORT, samples),
            _number(278, LONG8, rows),
            _number(279, LONG8, pixels.nbytes),
            *self._resolution(),
            _number(284, SHORT, 1),  # colours pixel by pixel
            *([] if self._um_per_px is None else [_number(296, SHORT, 3)]),  # per cm
            _text(305, this_version()),
        ]

    def _resolution(self) -> list[Tag]:
        if self._um_per_px is None:
            return []
        per_cm = struct.pack("<II", round(1e7 / self._um_per_px), 1000)
        return [(282, RATIONAL, 1, per_cm), (283, RATIONAL, 1, per_cm)]


def _page(tags: list[Tag], at: int) -> tuple[bytes, int]:
    """Give the bytes of a page's directory that begins at `at`, and where its link lies."""
    link = at + 8 + 20 * len(tags)
    entries, values, free = [struct.pack("<Q", len(tags))], b"", link + 8
    for number, kind, count, value in tags:
        entry = value.ljust(8, b"\0")
        if len(value) > 8:
            entry = struct.pack("<Q", free + len(values))
            values += value.ljust(-(-len(value) // 8) * 8, b"\0")
        entries.append(struct.pack("<HHQ", number, kind, count) + entry)
    return b"".join([*entries, bytes(8), values]), link


def _number(number: int, kind: int, *values: int) -> Tag:
    size = "H" if kind == SHORT else "Q"
    return number, kind, len(values), struct.pack(f"<{len(values)}{size}", *values)


def _text(number: int, text: str) -> Tag:
    value = text.encode("utf-8") + b"\0"
    return number, ASCII, len(value), value


def _created(path: Path) -> BinaryIO:
    # Unbuffered: what a failed write left behind must not be written once more by close
    return path.open("xb", buffering=0)


def _write(file: BinaryIO, data: bytes | memoryview) -> None:
    rest = memoryview(data).cast("B")
    while rest:  # an unbuffered write may take only a part
        rest = rest[file.write(rest) :]
