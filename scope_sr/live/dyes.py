"""Colours of what is laid over the picture: nuclei by their class, disagreement by its size.

Colours are premultiplied, 0xAARRGGBB in one uint32: Qt's ``Format_ARGB32_Premultiplied``.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Colours = NDArray[np.uint32]
Rgb = tuple[int, int, int]

FILL_OPACITY = 0.25  # of the colour within a nucleus; the outline has all of it
NUCLEI_RGB = (255, 230, 0)  # as everywhere in this program: neither stain is yellow
VISIBLE_DN, STRIKING_DN = 6.0, 30.0  # disagreement: below the one nothing is drawn
HEAT_RGB = (255, 40, 0)  # apart from both stains, and from the yellow of nuclei
HEAT_OPACITY = (0.25, 0.8)  # at the two levels


def table(*, fill: bool, outline: bool, rgb: tuple[int, int, int] = NUCLEI_RGB) -> Colours:
    """Give the colours of the classes nothing, within a nucleus, outline; of all others none.

    >>> [f"{colour:08x}" for colour in table(fill=False, outline=True, rgb=(255, 230, 0))[:3]]
    ['00000000', '00000000', 'ffffe600']
    """
    made = np.zeros(256, np.uint32)
    inside = FILL_OPACITY if fill else 0.0
    made[1] = premultiplied(rgb, inside)
    made[2] = premultiplied(rgb, 1.0 if outline else inside)
    return made


def dyed(classes: NDArray[np.uint8], colours: Colours) -> Colours:
    """Look colours up; OpenCV's table is seven times as fast as numpy's."""
    return np.asarray(cv2.LUT(classes, colours.view(np.int32))).view(np.uint32)


def heated(apart: NDArray[np.float32]) -> Colours:
    """Give disagreement its colours: nothing below `VISIBLE_DN`, and where it is not known."""
    levels = np.nan_to_num(apart * np.float32(254 / STRIKING_DN), nan=0.0)
    return dyed(np.rint(np.minimum(levels, 254)).astype(np.uint8), HEAT)


def premultiplied(rgb: Sequence[int], opacity: float) -> int:
    """Write a colour as Qt wants it.

    >>> f"{premultiplied((255, 0, 128), 0.5):08x}"
    '80800040'
    """
    red, green, blue = (round(level * opacity) for level in rgb)
    return round(255 * opacity) << 24 | red << 16 | green << 8 | blue


def _heat() -> Colours:
    levels = np.arange(256) * STRIKING_DN / 254
    opacities = np.interp(levels, (VISIBLE_DN, STRIKING_DN), HEAT_OPACITY)
    return np.array(
        [
            premultiplied(HEAT_RGB, float(opacity)) if level >= VISIBLE_DN else 0
            for level, opacity in zip(levels, opacities, strict=True)
        ],
        np.uint32,
    )


HEAT = _heat()
