"""What finished images say of themselves: compared, and each cell judged by what is around it."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from scope_sr.dataset.cells import CELL_PX, shape_of
from scope_sr.imaging.laying import block_side, softened
from scope_sr.imaging.pair_quality import Comparison, compare
from scope_sr.imaging.shift import green

BAD_CELL_PX = 0.75  # a block that is off by more, in high pixels, spoils its cells
ALIKE_CELL = 0.6  # likewise where the neighbourhood correlates less


def filled(inside: NDArray[np.bool_], scale: int) -> NDArray[np.bool_]:
    """Mark the low pixels that the high image fills wholly."""
    size = inside.shape[1] // scale, inside.shape[0] // scale
    share = cv2.resize(inside.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return np.asarray(share > 0.999)


def made_small(high: NDArray, scale: int, blur_px: float) -> NDArray[np.float32]:
    """Make a high image as soft as a low one, by `blur_px` of its own pixels, and as small."""
    # the mean of scale x scale pixels blurs as well
    rest = math.sqrt(max(blur_px**2 - (scale**2 - 1) / 12, 0.0))
    size = high.shape[1] // scale, high.shape[0] // scale
    soft = softened(np.asarray(high, np.float32), rest)
    return np.asarray(cv2.resize(soft, size, interpolation=cv2.INTER_AREA), np.float32)


def compared(
    part: NDArray,
    high: NDArray,
    whole: NDArray[np.bool_],
    *,
    scale: int,
    blur_px: float,
    levels: np.float32,
) -> Comparison:
    """Compare the finished images of a pair.

    Parameters
    ----------
    part, high
        Of the low image, and the high one on `scale` times its pixels.
    whole
        Low pixels that the high image fills.
    blur_px
        Sigma, in high pixels, that makes the high image as soft as the low one.
    levels
        Factor to grey levels of 8 bits.
    """
    small = made_small(green(high) * levels, scale, blur_px)
    own = np.asarray(green(part) * levels)
    return compare(own, small, whole, _side(part.shape))


def good_cells(comparison: Comparison, bad: NDArray[np.bool_], scale: int) -> NDArray[np.bool_]:
    """Mark the cells both images show alike: folds, dirt and what is `bad` are left out."""
    rows, columns = shape_of(bad.shape[1], bad.shape[0])
    bad = bad | (np.nan_to_num(comparison.local, nan=1.0) < ALIKE_CELL)
    cells = bad[: rows * CELL_PX, : columns * CELL_PX].reshape(rows, CELL_PX, columns, CELL_PX)
    good = np.asarray(~cells.any(axis=(1, 3)))
    shifts = comparison.shifts
    if not len(shifts):
        return good
    far = scale * np.hypot(*shifts.shift_px.T) > BAD_CELL_PX
    reach = _side(bad.shape) / 4
    for at in shifts.at_px[far] + (np.array(bad.shape[::-1]) - 1) / 2:
        first = np.maximum(at - reach, 0).astype(int) // CELL_PX
        last = np.maximum(at + reach, 0).astype(int) // CELL_PX
        good[first[1] : last[1] + 1, first[0] : last[0] + 1] = False
    return good


def _side(shape: tuple[int, ...]) -> int:
    return block_side(min(shape[:2]))
