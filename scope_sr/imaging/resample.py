"""Pixels between pixels, where they belong: OpenCV's cubic interpolation with its shift taken out.

OpenCV interpolates with Keys' kernel and a = -0.75, which does not reproduce a ramp: what should
stand at the fraction t of a pixel stands at ``m(t) = t + t (1 - t) (1 - 2 t) / 2``, up to 0.048 px
off. Where two grids differ little in pitch the fraction drifts slowly across a field, and the error
looks like a change of scale. Asking for ``m⁻¹(t)`` takes it out.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

STEPS = 1024  # OpenCV itself knows 32 fractions


def resampled(image: NDArray, x: Floats, y: Floats) -> NDArray:
    """Interpolate an image at places of its own, cubic; beyond its edge the edge goes on.

    Parameters
    ----------
    image
        ``(row, column[, channel])``, uint8, uint16 or float32.
    x, y
        Columns and rows, float32 of one shape.

    Examples
    --------
    >>> ramp = np.tile(np.arange(8, dtype=np.float32), (8, 1))
    >>> at = np.full((1, 1), 3.25, np.float32)
    >>> round(float(resampled(ramp, at, at)[0, 0]), 2)
    3.25
    """
    return np.asarray(
        cv2.remap(
            image, _asked(x), _asked(y), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
    )  # fmt: skip


def _asked(at: Floats) -> Floats:
    whole = np.floor(at)
    fraction = ((at - whole) * STEPS + 0.5).astype(np.int32)
    return np.asarray(whole + _table()[fraction], np.float32)


@lru_cache(maxsize=1)
def _table() -> Floats:
    """Invert m at equal steps from 0 to 1, by Newton's method."""
    wanted = np.linspace(0.0, 1.0, STEPS + 1)
    t = wanted.copy()
    for _ in range(6):
        t -= (t + t * (1 - t) * (1 - 2 * t) / 2 - wanted) / (1 + (1 - 6 * t + 6 * t * t) / 2)
    return np.append(t, 1.0).astype(np.float32)
