"""How bright the picture is: histogram, clipping, and the gains that make glass neutral.

Gains multiply the grey levels of red, green and blue. The brightest channel keeps gain 1 and the
others are raised to it: what the camera clipped stays white. Lowered instead, it would turn pink,
and nobody would see any more that it was clipped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scope_sr.errors import InputError
from scope_sr.imaging.tissue import TISSUE_DENSITY, tissue_mask
from scope_sr.live.seen import Rgb, Window

Gains = tuple[float, float, float]

NEUTRAL: Gains = (1.0, 1.0, 1.0)
THIN = 4  # every fourth pixel, in both directions: 2 ms instead of 30, and the same histogram
DARKEST = 64  # grey level below which noise and dark level would tint the gains
CLIPPED_SHARE = 0.01
# Dust, bubbles and the noise of the mask; tissue at the rim of a field covers more
STRAY_SHARE = 0.03
BLUR_PX = 2.0  # of the thinned picture
LARGEST_GAIN = 4.0  # a halogen lamp without its blue filter needs about 2.5
PATCH_PX = 5  # around a click, to each side
STAINED = 1.15  # by how much a spot may let one colour through better than another
# Of red and blue. No lamp or sensor has green weakest; both stains of H&E make it so
LEAST_GREEN = 0.9


@dataclass(frozen=True, eq=False)
class Levels:
    """The grey levels of a picture.

    Attributes
    ----------
    counts
        ``(3, 256)`` int64, pixels of each level in red, green and blue, of those looked at.
    high, low
        ``(3,)`` float64, the shares at 255 and at 0.
    """

    counts: NDArray[np.int64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]


def histogram(rgb: Rgb) -> Levels:
    """Count the grey levels of every fourth pixel in both directions.

    Parameters
    ----------
    rgb
        ``(row, column, 3)`` uint8.

    Examples
    --------
    >>> levels = histogram(np.array([[[255, 9, 0]]], np.uint8))
    >>> levels.high.tolist(), levels.low.tolist(), int(levels.counts[1, 9])
    ([1.0, 0.0, 0.0], [0.0, 0.0, 1.0], 1)
    """
    pixels = rgb[::THIN, ::THIN].reshape(-1, 3)
    counts = np.stack([np.bincount(pixels[:, channel], minlength=256) for channel in range(3)])
    shares = counts / max(len(pixels), 1)
    return Levels(counts, shares[:, 255], shares[:, 0])


def gains_of_blank(rgb: Rgb, window: Window | None = None, current: Gains = NEUTRAL) -> Gains:
    """Find the gains that make the glass of a blank field neutral.

    Specks of dust do not count. The mean of what is left is taken: it is exact to a hundredth of a
    grey level, where a median is not better than half of one.

    Parameters
    ----------
    rgb
        ``(row, column, 3)`` uint8, with `current` gains in it.
    window
        The part of it to look at; None: all.
    current
        Gains set now; those returned replace them.

    Raises
    ------
    InputError
        The field is dark, overexposed or not blank.
    """
    part = (rgb if window is None else rgb[window.slices])[::THIN, ::THIN]
    _refuse_clipped(part, "the field")
    light = _undone(part, current)
    brightest = np.percentile(light, 99.5, axis=(0, 1)).astype(np.float64)
    _refuse_dark(brightest, "the field")
    covered = tissue_mask(light, brightest, BLUR_PX, density=TISSUE_DENSITY)
    if covered.mean() > STRAY_SHARE:
        msg = (
            f"the field is not blank: {100 * covered.mean():.0f} % of it takes light away, as"
            " tissue and shadows do; move to clear glass and take the white balance there"
        )
        raise InputError(msg)
    glass = light[~covered].mean(axis=0, dtype=np.float64)
    _refuse_pink(glass)
    return _leveling(glass)


def gains_of_neutral(rgb: Rgb, row: float, column: float, current: Gains = NEUTRAL) -> Gains:
    """Find the gains that make the spot around a point neutral.

    Parameters
    ----------
    rgb
        ``(row, column, 3)`` uint8, with `current` gains in it.
    row, column
        The point, in pixels.

    Raises
    ------
    InputError
        The point lies beside the picture; the spot is dark, overexposed or stained.
    """
    patch = _around(rgb, row, column)
    _refuse_clipped(patch, "this spot")
    light = _undone(patch, current).mean(axis=(0, 1), dtype=np.float64)
    _refuse_dark(light, "this spot")
    glass = np.percentile(_undone(rgb[::THIN, ::THIN], current), 99.5, axis=(0, 1))
    through = light / np.maximum(glass, 1.0)
    if through.max() > STAINED * through.min():
        best, worst = (("red", "green", "blue")[i] for i in (through.argmax(), through.argmin()))
        msg = (
            f"this spot is stained: it lets {100 * through.max():.0f} % of the {best} light"
            f" through, and {100 * through.min():.0f} % of the {worst}; click on clear glass"
        )
        raise InputError(msg)
    _refuse_pink(light)
    return _leveling(light)


def _undone(rgb: Rgb, gains: Gains) -> NDArray[np.float32]:
    """Take gains off again: the light that the camera saw."""
    return np.asarray(rgb / np.asarray(gains, np.float32), np.float32)


def _around(rgb: Rgb, row: float, column: float) -> Rgb:
    """Cut out the spot around a point, as far as the picture goes."""
    middle = int(row), int(column)
    if not all(0 <= at < side for at, side in zip(middle, rgb.shape, strict=False)):
        msg = "this spot lies beside the picture; click on clear glass within it"
        raise InputError(msg)
    top, left = (max(0, at - PATCH_PX) for at in middle)
    return rgb[top : middle[0] + PATCH_PX + 1, left : middle[1] + PATCH_PX + 1]


def _refuse_clipped(part: Rgb, what: str) -> None:
    share = float((part == 255).any(axis=2).mean())
    if share > CLIPPED_SHARE:
        msg = (
            f"{what} is overexposed: {100 * share:.0f} % of its pixels are at the upper end (255);"
            " lower the exposure until glass is at about 220"
        )
        raise InputError(msg)


def _refuse_dark(light: NDArray[np.floating], what: str) -> None:
    if light.min() < DARKEST:
        msg = (
            f"{what} is too dark: {light.min():.0f} of 255 in its weakest colour, at least"
            f" {DARKEST} are needed; raise the exposure until glass is at about 220"
        )
        raise InputError(msg)


def _refuse_pink(light: NDArray[np.float64]) -> None:
    red, green, blue = light
    if green < LEAST_GREEN * min(red, blue):
        msg = (
            f"this is evenly pink, not glass: green is {100 * green / min(red, blue):.0f} % of the"
            " weaker of red and blue; move to clear glass and take the white balance there"
        )
        raise InputError(msg)


def _leveling(light: NDArray[np.float64]) -> Gains:
    """Raise the weaker channels to the strongest."""
    red, green, blue = (float(gain) for gain in light.max() / light)
    if max(red, green, blue) > LARGEST_GAIN:
        msg = (
            f"the light is too far from white: it would need a gain of {max(red, green, blue):.1f},"
            f" at most {LARGEST_GAIN:g} are given; look for a colour filter in the light path"
        )
        raise InputError(msg)
    return red, green, blue
