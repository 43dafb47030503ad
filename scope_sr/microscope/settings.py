"""What may be asked of a camera, and whether it did it."""

from __future__ import annotations

import math

from scope_sr.errors import InputError, MicroscopeError, ReadbackError

EXPOSURE_TOLERANCE = 0.05  # cameras expose in whole lines
GAIN_TOLERANCE = 0.05  # and amplify in steps of their own
GAIN_STEP = 0.01  # of the range of the gain, where it is set near 0
HALF = 0.5  # some gains are whole numbers


def refuse_impossible_exposure(exposure_ms: float) -> None:
    """Raise InputError for what is no time."""
    if not (math.isfinite(exposure_ms) and exposure_ms > 0):
        msg = f"an exposure of {exposure_ms:g} ms cannot be; it must be above 0"
        raise InputError(msg)


def refuse_other_exposure(exposure_ms: float, found_ms: float, source: str) -> None:
    """Raise ReadbackError where the camera left the exposure at something else."""
    if abs(found_ms - exposure_ms) > EXPOSURE_TOLERANCE * exposure_ms:
        msg = (
            f"the camera was asked for {exposure_ms:g} ms and reports {found_ms:g} ms; correct"
            f" exposure_ms in {source} to what it can do"
        )
        raise ReadbackError(msg)


def settable(gain: float, limits: tuple[float, float] | None) -> tuple[float, float]:
    """Give the limits of a camera within which a gain lies.

    Raises
    ------
    InputError
        It lies outside.
    MicroscopeError
        The camera has no gain to set.
    """
    if limits is None:
        msg = "the camera has no gain that could be set"
        raise MicroscopeError(msg)
    if not limits[0] <= gain <= limits[1]:
        msg = f"a gain of {gain:g} cannot be; the camera's goes from {limits[0]:g} to {limits[1]:g}"
        raise InputError(msg)
    return limits


def refuse_other_gain(gain: float, found: float, limits: tuple[float, float]) -> None:
    """Raise ReadbackError where the camera left the gain at something else.

    >>> refuse_other_gain(2.5, 2.0, (1.0, 16.0))
    """
    step = max(GAIN_TOLERANCE * abs(gain), GAIN_STEP * (limits[1] - limits[0]))
    step = max(step, HALF) if found.is_integer() else step
    if abs(found - gain) > step:
        msg = (
            f"the camera was asked for a gain of {gain:g} and reports {found:g}; look whether it"
            " sets its gain by itself"
        )
        raise ReadbackError(msg)
