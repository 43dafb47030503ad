"""Where an enhanced picture says something else than the picture it was made of."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

SIGMA_PX = 1.0  # of low pixels: takes off most of the camera's noise, and of the blur of its optics
REACH_PX = 4  # beyond which a pixel has no say


def disagreement(low: NDArray[np.uint8], enhanced: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Make an enhanced picture small again and give how far it is from the low one.

    Each low pixel is compared with the mean of the pixels that stand in its place, both smoothed by
    `SIGMA_PX`: without that, noise, which a generator takes off, would pass for disagreement. What
    is finer than low pixels is invisible here: that a nucleus has a wrong texture is not seen, that
    there is one where none was is.

    Parameters
    ----------
    low
        ``(row, column, 3)``, RGB of 8 bits.
    enhanced
        The same, a whole number of times as large.

    Returns
    -------
    ``(row, column)`` in grey levels of 255: RMS of the three colours.

    Examples
    --------
    >>> low = np.full((20, 20, 3), 100, np.uint8)
    >>> enhanced = np.full((40, 40, 3), 110, np.uint8)
    >>> round(float(disagreement(low, enhanced).max()), 3)
    10.0
    """
    size = (low.shape[1], low.shape[0])
    small = cv2.resize(enhanced.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    apart = cv2.GaussianBlur(
        small - low, (2 * REACH_PX + 1,) * 2, SIGMA_PX, borderType=cv2.BORDER_REFLECT_101
    )
    return np.asarray(np.sqrt(np.mean(np.square(apart), axis=2)), np.float32)
