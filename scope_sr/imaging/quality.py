"""Tells whether a field is worth keeping, while it could still be taken again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8] | NDArray[np.uint16]

MOST_CLIPPED = 0.25  # of the pixels; clear glass well exposed clips none
LEAST_LIGHT = 0.02  # of full scale, in the mean; a shutter left closed gives the dark level


def faults(image: Image, full_scale: int, previous: Image | None = None) -> tuple[str, ...]:
    """List the reasons to reject a field; empty when there is none.

    Parameters
    ----------
    image
        ``(row, column, 3)`` or ``(row, column)``, uint8 or uint16.
    full_scale
        Largest value a pixel can have.
    previous
        The field taken before it. Two exposures never agree in every pixel: noise sees to that.

    Examples
    --------
    >>> faults(np.zeros((4, 4), np.uint8), 255)
    ('dark: the mean is 0.0 % of full scale; is the lamp on and the shutter open?',)
    """
    found = []
    sample: NDArray = np.ascontiguousarray(image[::8, ::8])
    light = float(sample.mean()) / full_scale
    clipped = float(np.count_nonzero(sample >= full_scale)) / sample.size
    if light < LEAST_LIGHT:
        found.append(
            f"dark: the mean is {100 * light:.1f} % of full scale;"
            " is the lamp on and the shutter open?"
        )
    if clipped > MOST_CLIPPED:
        found.append(
            f"overexposed: {100 * clipped:.0f} % of the pixels are at full scale;"
            " shorten exposure_ms or dim the lamp"
        )
    if not found and previous is not None and _equal(image, previous):
        found.append("repeated: every pixel equals the field before; the camera is stuck")
    return tuple(found)


def _equal(image: Image, other: Image) -> bool:
    """Compare a few rows first: different images differ there, and that is cheap to see."""
    return np.array_equal(image[::64], other[::64]) and np.array_equal(image, other)
