"""A picture larger than memory, made on the disk; what is done survives a crash."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from scope_sr import disk
from scope_sr.errors import ScopeSRError

STATE, PIXELS = "state.json", "pixels.raw"


class Pixels(Protocol):
    """What can be cut like an array, ``(row, column[, channel])``, and need not lie in memory."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows, columns, and channels if there are any."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its numbers."""

    def __getitem__(self, where: tuple[slice, slice]) -> NDArray[Any]: ...


class Raw:
    """Numbers in a file. It is mapped only while it is read or written.

    A map that stays open counts, page by page, as memory of this process: of a slide, gigabytes.

    Parameters
    ----------
    path
        The file.
    shape, dtype
        Of the picture.
    new
        Make the file, all zeros, in place of any there is.

    Raises
    ------
    ScopeSRError
        The disk has no room for it.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: Any, *, new: bool) -> None:
        self.path, self.shape, self.dtype = path, shape, np.dtype(dtype)
        if new:
            self._make()

    @property
    def nbytes(self) -> int:
        """How large the file is."""
        return int(math.prod(self.shape) * self.dtype.itemsize)

    def __getitem__(self, where: tuple[slice, slice]) -> NDArray[Any]:
        return np.array(np.memmap(self.path, self.dtype, "r", shape=self.shape)[where])

    def __setitem__(self, where: tuple[slice, slice], values: NDArray[Any]) -> None:
        pixels = np.memmap(self.path, self.dtype, "r+", shape=self.shape)
        pixels[where] = values
        pixels.flush()

    def _make(self) -> None:
        free = disk.free_bytes(self.path.parent)
        if free < self.nbytes:
            msg = (
                f"{self.path.parent}: {disk.in_words(self.nbytes)} are needed for the work,"
                f" {disk.in_words(free)} are free; make room, or name another --out"
            )
            raise ScopeSRError(msg)
        try:
            with self.path.open("wb") as file:
                file.truncate(self.nbytes)
                if hasattr(os, "posix_fallocate"):  # a hole in a mapped file that finds no room
                    os.posix_fallocate(file.fileno(), 0, self.nbytes)  # later ends the process
        except OSError:
            self.path.unlink(missing_ok=True)
            raise


class Canvas(Raw):
    """A picture put down row by row from the top; one found on the disk goes on where it stopped.

    Parameters
    ----------
    folder
        Its own; made if it is not there.
    shape, dtype
        Of the picture.
    purpose
        What is being made, of what, and how: a canvas of another purpose is begun anew.

    Attributes
    ----------
    rows
        How many are done.
    """

    def __init__(
        self, folder: Path, shape: tuple[int, ...], dtype: Any, purpose: dict[str, Any]
    ) -> None:
        self._state = folder / STATE
        self._purpose = {**purpose, "shape": list(shape), "dtype": np.dtype(dtype).name}
        disk.make_folders([folder])
        super().__init__(folder / PIXELS, shape, dtype, new=False)
        self.rows = self._rows_done()
        if not self.rows:
            self._make()

    def put(self, top: int, band: NDArray[Any]) -> None:
        """Put down the next rows; they count when they would survive a power cut."""
        if top != self.rows:
            msg = f"row {top} is put down where {self.rows} comes next"
            raise ValueError(msg)
        self[top : top + len(band), :] = band
        self.rows += len(band)
        disk.store(self._state, json.dumps({**self._purpose, "rows": self.rows}).encode())

    def _rows_done(self) -> int:
        try:
            state = json.loads(self._state.read_bytes())
            rows = int(state.pop("rows"))
            whole = self.path.stat().st_size == self.nbytes
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            return 0
        return rows if state == self._purpose and whole else 0
