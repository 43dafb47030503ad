"""The enhanced picture with its nuclei outlined and a scale bar: one PNG to look at."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from scope_sr.disk import whole
from scope_sr.drawing import draw_scale_bar, rounded, scale_bar_px
from scope_sr.enhance.canvas import Pixels
from scope_sr.enhance.counting import Counted
from scope_sr.enhance.measure import Outline
from scope_sr.enhance.reduced import factor_for, reduced

LONGEST_PX = 4096
FOUND_RGB = (255, 230, 0)  # as in the report of `evaluate`: neither stain is yellow
NUCLEUS_UM = 8.0
OUTLINED_PX = 8  # narrower nuclei are filled: outlines would hide them, or run together
VEIL = 0.6  # of the colour, on nuclei that are filled
FRACTION_BITS = 4  # of OpenCV's coordinates: sixteenths of a pixel
BAR_SHARE, LEAST_BAR_PX = 0.12, 90  # a bar shorter than its writing says nothing

Rgb = NDArray[np.uint8]


def write(path: Path, counted: Counted, picture: Pixels) -> None:
    """Draw the overlay, at most `LONGEST_PX` long.

    Parameters
    ----------
    picture
        ``(row, column, 3)`` RGB of 8 bits, in which the nuclei were counted.

    Raises
    ------
    OSError
        The system refused; nothing stands under `path`.
    """
    factor = factor_for(picture.shape, LONGEST_PX)
    drawn = with_nuclei(reduced(picture, factor), counted, factor)
    barred = with_bar(drawn, counted.um_per_px * factor)
    with whole(path) as part:
        Image.fromarray(barred).save(part, format="png")


def with_nuclei(small: Rgb, counted: Counted, factor: int) -> Rgb:
    """Outline the nuclei in a picture reduced by a factor, or fill them where they are small."""
    drawn = small.copy()
    outlined = NUCLEUS_UM / (counted.um_per_px * factor) >= OUTLINED_PX
    for _, outline in counted.journal:
        corners = _corners(outline, factor)
        if outlined:
            cv2.polylines(drawn, [corners], True, FOUND_RGB, 1, cv2.LINE_AA, FRACTION_BITS)
        else:
            cv2.fillPoly(drawn, [corners], FOUND_RGB, cv2.LINE_AA, FRACTION_BITS)
    return drawn if outlined else cv2.addWeighted(drawn, VEIL, small, 1 - VEIL, 0).astype(np.uint8)


def _corners(outline: Outline, factor: int) -> NDArray[np.int32]:
    """Give corners in OpenCV's numbers, where the middle of the first pixel is (0, 0)."""
    return np.asarray(np.rint((outline / factor - 0.5) * 2**FRACTION_BITS), np.int32)


def with_bar(drawn: Rgb, um_per_px: float) -> Rgb:
    """Draw a scale bar into the lower left corner; a picture too small for it stays without."""
    rows, columns = drawn.shape[:2]
    wanted_px = max(BAR_SHARE * columns, LEAST_BAR_PX)
    length_um = rounded(wanted_px * um_per_px)
    text_px = max(14, min(rows, columns) // 64)
    pad = text_px // 2
    width, height = scale_bar_px(um_per_px, length_um, text_px)
    if width + 2 * pad > columns or height + 2 * pad > rows:
        return drawn
    image = Image.fromarray(drawn)
    draw_scale_bar(ImageDraw.Draw(image), (pad, rows - pad), um_per_px, length_um, text_px)
    return np.asarray(image)
