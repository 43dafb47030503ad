"""Where an enhanced picture says something else than the picture it was made of."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

SIGMA_PX = 1.0  # of low pixels: takes off most of the camera's noise
REACH_PX = 8  # beyond which a pixel has no say
SHARPER_PX = np.arange(0, 2.01, 0.1)  # sigmas that are tried

Picture = NDArray[np.uint8]


def disagreement(low: Picture, enhanced: Picture, sharper_px: float = 0.0) -> NDArray[np.float32]:
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
    sharper_px
        Sigma of the blur of the low objective that the generator has taken off, in low pixels (see
        `sharper_by_px`): put on again, else each edge would disagree.

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
    made_small = _smoothed(_small(enhanced, low), float(np.hypot(SIGMA_PX, sharper_px)))
    apart = made_small - _smoothed(low.astype(np.float32), SIGMA_PX)
    return np.asarray(np.sqrt(np.mean(np.square(apart), axis=2)), np.float32)


def sharper_by_px(pairs: Sequence[tuple[Picture, Picture]]) -> float:
    """Find how much blur the generator took off: the sigma that makes pairs most alike.

    Parameters
    ----------
    pairs
        Parts of the low picture, and of the enhanced one in their place.

    Returns
    -------
    float
        Sigma in low pixels, 0 to 2.
    """
    errors = [
        sum(float(np.square(disagreement(*pair, sigma_px)).sum()) for pair in pairs)
        for sigma_px in SHARPER_PX
    ]
    return round(float(SHARPER_PX[int(np.argmin(errors))]), 1)


def _small(enhanced: Picture, low: Picture) -> NDArray[np.float32]:
    size = (low.shape[1], low.shape[0])
    small = cv2.resize(enhanced.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def _smoothed(picture: NDArray[np.float32], sigma_px: float) -> NDArray[np.float32]:
    size = (2 * REACH_PX + 1,) * 2
    blurred = cv2.GaussianBlur(picture, size, sigma_px, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(blurred, np.float32)
