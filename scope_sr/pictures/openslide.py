"""Slides of formats that only OpenSlide reads, by windows; it is an extra."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scope_sr.config import reason
from scope_sr.errors import InputError
from scope_sr.pictures.boxes import Box
from scope_sr.pictures.files import DAMAGED, fault
from scope_sr.pictures.whole import Alpha

# No TIFF, or one whose blocks overlap (.bif), are many slides in one (.scn) or one block (.ndpi)
ENDINGS = (
    ".bif", ".czi", ".dcm", ".mrxs", ".ndpi", ".scn", ".svslide", ".vms", ".vmu", ".zvi",
)  # fmt: skip
INSTALL = 'python -m pip install "scope-sr[openslide]"'


class OpenSlidePixels:
    """The finest level of a slide, as far as it was scanned; the twin of `TiffPixels`.

    What was not scanned is transparent.

    Raises
    ------
    InputError
        OpenSlide is not installed, or cannot read the file.
    """

    samples, white, inverted = 4, 255, False
    palette: NDArray[np.uint8] | None = None
    alpha: Alpha = "straight"
    resolution_um: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()
    dtype = np.dtype(np.uint8)

    def __init__(self, path: Path) -> None:
        self.path = path
        self._library = _library(path)
        self._slide = self._asked(lambda: self._library.OpenSlide(str(path)))
        known = self._slide.properties
        self.stated_um = _stated_um(known)
        self._left, self._top = (int(known.get(f"openslide.bounds-{axis}", 0)) for axis in "xy")
        self.width, self.height = (
            int(known.get(f"openslide.bounds-{side}", whole))
            for side, whole in zip(("width", "height"), self._slide.dimensions, strict=True)
        )

    def read(self, window: Box) -> NDArray:
        """Read a window inside the slide: (height, width, 4), RGB and opacity."""
        corner = self._left + window.column, self._top + window.row
        size = window.width, window.height
        return np.asarray(self._asked(lambda: self._slide.read_region(corner, 0, size)))

    def _asked(self, ask: Any) -> Any:
        try:
            return ask()
        except (self._library.OpenSlideError, *DAMAGED) as error:
            text = f"OpenSlide cannot read it ({reason(error)}); copy it again, or save it as TIFF"
            raise fault(self.path, text) from error


def _library(path: Path) -> Any:
    try:
        return importlib.import_module("openslide")
    except (ImportError, OSError) as error:
        msg = f"{path}: slides of this format are read by OpenSlide: {INSTALL}"
        raise InputError(msg) from error


def _stated_um(known: Any) -> tuple[float, float] | None:
    try:
        return float(known["openslide.mpp-x"]), float(known["openslide.mpp-y"])
    except (KeyError, ValueError):
        return None
