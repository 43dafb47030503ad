"""A picture larger than memory, made band by band on the disk; what is done survives a crash."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scope_sr import disk

STATE, PIXELS = "state.json", "pixels.raw"


class Canvas:
    """Rows are put down from the top; a canvas found on the disk goes on where it stopped.

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
    pixels
        The picture, in a file.
    """

    def __init__(
        self, folder: Path, shape: tuple[int, ...], dtype: Any, purpose: dict[str, Any]
    ) -> None:
        self._state = folder / STATE
        self._purpose = {**purpose, "shape": list(shape), "dtype": np.dtype(dtype).name}
        disk.make_folders([folder])
        self.rows = self._rows_done(folder / PIXELS)
        self.pixels = _mapped(folder / PIXELS, shape, dtype, new=not self.rows)

    def put(self, top: int, band: NDArray[Any]) -> None:
        """Put down the next rows; they count when they would survive a power cut."""
        if top != self.rows:
            msg = f"row {top} is put down where {self.rows} comes next"
            raise ValueError(msg)
        self.pixels[top : top + len(band)] = band
        self.pixels.flush()  # type: ignore[attr-defined]
        self.rows += len(band)
        disk.store(self._state, json.dumps({**self._purpose, "rows": self.rows}).encode())

    def _rows_done(self, pixels: Path) -> int:
        try:
            state = json.loads(self._state.read_bytes())
            rows = int(state.pop("rows"))
        except (OSError, ValueError, KeyError, AttributeError):
            return 0
        return rows if state == self._purpose and pixels.exists() else 0


def _mapped(path: Path, shape: tuple[int, ...], dtype: Any, *, new: bool) -> NDArray[Any]:
    return np.memmap(path, np.dtype(dtype), "w+" if new else "r+", shape=shape)


def swept(folder: Path) -> None:
    """Remove a canvas that is not needed any more."""
    shutil.rmtree(folder, ignore_errors=True)
