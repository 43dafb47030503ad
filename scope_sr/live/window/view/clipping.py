"""Stripes over pixels that are clipped: what is white or black there, nobody knows how much."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from scope_sr.live.dyes import Colours, Rgb, premultiplied
from scope_sr.live.seen import Bgra

RANGES = (
    ((1, 1, 1, 0), (255,) * 4),
    ((0,) * 4, (254, 254, 254, 255)),
)  # nothing black; nothing white
STRIPES = 128  # across the field, so that they are seen at the size of a screen


def stripes(pixels: Bgra, high: Rgb, low: Rgb) -> Colours:
    """Draw stripes where a channel is 255, in one colour, or 0, in another.

    >>> pixels = np.full((8, 256, 4), (0, 90, 90, 255), np.uint8)
    >>> drawn = stripes(pixels, (255, 0, 0), (0, 0, 255))
    >>> sorted({f"{int(colour):08x}" for colour in drawn.ravel()})
    ['00000000', 'ff0000ff']
    """
    table = np.zeros(256, np.uint32)
    table[1] = premultiplied(low, 1.0)
    table[2] = table[3] = premultiplied(high, 1.0)
    within = [np.asarray(cv2.inRange(pixels, least, most), np.uint8) for least, most in RANGES]
    kinds = (~within[0] & np.uint8(1)) | (~within[1] & np.uint8(2))
    kinds &= _pattern(*kinds.shape)
    return np.asarray(cv2.LUT(kinds, table.view(np.int32))).view(np.uint32)


@lru_cache(maxsize=2)
def _pattern(rows: int, columns: int) -> NDArray[np.uint8]:
    wide = max(2, columns // STRIPES)
    diagonal = np.add.outer(np.arange(rows), np.arange(columns)) // wide
    return np.asarray(np.where(diagonal % 2, 255, 0), np.uint8)
