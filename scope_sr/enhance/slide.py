"""A picture or a slide of any size as 8-bit RGB, read by windows, and what was made of it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scope_sr.config import reason
from scope_sr.pictures import openslide
from scope_sr.pictures.boxes import Box
from scope_sr.pictures.files import TIFF_STARTS, fault, refuse_deep_color
from scope_sr.pictures.openslide import OpenSlidePixels
from scope_sr.pictures.tiff import TiffPixels
from scope_sr.pictures.whole import Pixels, WholeImage, to_rgb

START_BYTES = 26  # enough to know a PNG of 16 bits
LEAST_PX = 16
SQUARE = 0.01  # by how much the sides of a pixel may differ
GREY = "grey, repeated to RGB; the models learnt from colour"


class Slide:
    """A picture to be enhanced; see `opened`.

    Attributes
    ----------
    name
        Of the file.
    shape
        Rows and columns.
    um_per_px
        As the file states it; None where it does not, or where pixels are not square.
    notes
        What was made of its pixels, and what to beware of, in words.
    """

    def __init__(self, pixels: Pixels) -> None:
        self._pixels = pixels
        self.name = pixels.path.name
        self.shape = pixels.height, pixels.width
        self.um_per_px, oblong = square_um(pixels.stated_um or pixels.resolution_um)
        grey = (GREY,) if pixels.palette is None and pixels.samples < 3 else ()
        self.notes = (*pixels.notes, *grey, *oblong)

    def region(self, rows: slice, columns: slice) -> NDArray[np.uint8]:
        """Read a window: ``(row, column, 3)`` RGB, uint8, C-contiguous.

        Raises
        ------
        InputError
            That part of the file is damaged.
        """
        top, bottom, _ = rows.indices(self.shape[0])
        left, right, _ = columns.indices(self.shape[1])
        height, width = max(0, bottom - top), max(0, right - left)
        if height * width == 0:
            return np.empty((height, width, 3), np.uint8)
        stored = self._pixels.read(Box(left, top, width, height))
        return np.ascontiguousarray(to_rgb(stored, self._pixels))


def opened(path: Path) -> Slide:
    """Open a picture by what it is, whatever its name ends in; OpenSlide's slides go by name.

    A TIFF is read by windows as it is stored, the finest level of a pyramid. PNG, JPEG and BMP are
    held in memory, and turned upright where their Exif says so.

    Raises
    ------
    InputError
        It is no picture, damaged, or of a kind that no model learnt from; with the way out.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(START_BYTES)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise fault(path, "no such file; correct its name") from error
    except (OSError, ValueError) as error:
        way = "name a picture in it" if path.is_dir() else "make it readable"
        raise fault(path, f"cannot be read ({reason(error)}); {way}") from error
    if not start:
        raise fault(path, "is empty; copy it again")
    refuse_deep_color(path, start)
    pixels = _pixels(path, start)
    _refuse_unfit(pixels)
    return Slide(pixels)


def square_um(stated_um: tuple[float, float] | None) -> tuple[float | None, tuple[str, ...]]:
    """Give the one pixel size of two equal sides; else none, and a note.

    >>> square_um((0.25, 0.251))
    (0.2505, ())
    >>> square_um((0.25, 0.5))
    (None, ('its pixels are 0.25 x 0.5 µm, not square; that is not taken for their size',))
    """
    if stated_um is None or not all(0 < um < math.inf for um in stated_um):
        return None, ()
    x_um, y_um = stated_um
    if abs(x_um / y_um - 1) <= SQUARE:
        return (x_um + y_um) / 2, ()
    words = f"its pixels are {x_um:.4g} x {y_um:.4g} µm, not square"
    return None, (f"{words}; that is not taken for their size",)


def _pixels(path: Path, start: bytes) -> Pixels:
    if path.suffix.lower() in openslide.ENDINGS:
        return OpenSlidePixels(path)
    return TiffPixels(path) if start[:4] in TIFF_STARTS else WholeImage(path)


def _refuse_unfit(pixels: Pixels) -> None:
    """Refuse other than 8 bits: what is white in 16 bits nobody knows."""
    if pixels.palette is None and (pixels.dtype != np.uint8 or pixels.white != 255):
        text = f"its pixels are {pixels.dtype} of {pixels.white.bit_length()} bits"
        way = "save it as 8-bit RGB, white as 255"
        raise fault(pixels.path, f"{text}, the models learnt from 8-bit RGB; {way}")
    if min(pixels.width, pixels.height) < LEAST_PX:
        size = f"{pixels.width} x {pixels.height} px"
        raise fault(pixels.path, f"{size} is too small; {LEAST_PX} px each way are needed")
