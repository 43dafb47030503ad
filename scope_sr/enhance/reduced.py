"""A picture of any size made small, band by band."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from scope_sr.enhance.canvas import Pixels

BAND_ROWS = 1024


def reduced(picture: Pixels, factor: int) -> NDArray[np.uint8]:
    """Give the means of squares; what is left over below and on the right is dropped.

    Parameters
    ----------
    picture
        ``(row, column, 3)`` uint8.
    factor
        Side of a square, in pixels of the picture.

    Examples
    --------
    >>> ramp = np.arange(5, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 3), np.uint8)
    >>> reduced(ramp, 2)[..., 0].tolist()  # 0.5 and 2.5 are rounded
    [[1, 1], [3, 3]]
    """
    rows, columns = (side // factor for side in picture.shape[:2])
    small = np.empty((rows, columns, 3), np.uint8)
    step = max(1, BAND_ROWS // factor)
    for top in range(0, rows, step):
        bottom = min(top + step, rows)
        band = picture[top * factor : bottom * factor, 0 : columns * factor]
        small[top:bottom] = cv2.resize(band, (columns, bottom - top), interpolation=cv2.INTER_AREA)
    return small


def factor_for(shape: tuple[int, ...], longest_px: int) -> int:
    """Give the least factor that makes a picture no longer than so many pixels.

    >>> factor_for((5000, 8193, 3), 4096), factor_for((5, 7, 3), 4096), factor_for((9000, 3), 3)
    (3, 1, 3)
    """
    wanted = -(-max(shape[:2]) // longest_px)
    return max(1, min(wanted, *shape[:2]))
