"""What is wrong with a finished pair, as numbers: its two images are all it looks at.

Plain correlation hardly notices a whole pixel of shift (0.999 to 0.995); block shifts, the share of
fine detail and the correlation of a band do (notes/acquisition.md 3.4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scope_sr.imaging.shift import BlockShifts, block_shifts

Floats = NDArray[np.float32]

FINE_PX, COARSE_PX = 1.0, 4.0  # band in which two objectives show the same
FINEST_PX = 0.5  # sigma: what defocus takes first
DETAIL_PX = (2.5, 5.0)  # band of what every objective in focus shows in full
AROUND_PX = 25  # side of the neighbourhood in which likeness is judged locally
TEXTURE_DN = 3.0  # of the band; below, noise decides what is alike
ENOUGH_BLOCKS = 24
TINY = 1e-6


@dataclass(frozen=True, eq=False)
class Comparison:
    """How a low image and a high one, drawn small onto its pixels, differ.

    Attributes
    ----------
    shift_px
        Length of the median block shift, in low pixels: what the whole is off by.
    spread_px
        Median length of the block shifts, in low pixels: what its parts are off by.
    likeness
        Correlation of the band of 1 to 4 px where there is texture, -1..1.
    sharpness
        How much of the fine detail that the high image foretells the low one shows, against coarse
        detail: below 1 the low image is soft, above 1 the high one. Noise of the low image does not
        count.
    shifts
        The blocks.
    local
        Likeness of the neighbourhood of each pixel; nan where there is no texture.
    """

    shift_px: float
    spread_px: float
    likeness: float
    sharpness: float
    shifts: BlockShifts
    local: Floats


def compare(low: Floats, drawn: Floats, inside: NDArray[np.bool_], side_px: int) -> Comparison:
    """Compare two planes of one size in grey levels of 8 bits.

    Parameters
    ----------
    low
        ``(row, column)``, part of the low image.
    drawn
        The high image on the same pixels, as soft as the low one should be.
    inside
        Where `drawn` shows something.
    side_px
        Of the blocks.
    """
    filled = np.where(inside, drawn, low).astype(np.float32)
    # where there is tissue enough, blocks side by side tell enough, in a quarter of the time
    shifts = block_shifts(low, filled, side_px=side_px, step_px=side_px)
    if len(shifts) < ENOUGH_BLOCKS:
        shifts = block_shifts(low, filled, side_px=side_px)
    clear = _well_inside(inside)
    keep = _clear(shifts, clear, side_px)
    length = np.hypot(*shifts.shift_px[keep].T) if keep.any() else np.array([np.nan])
    median = np.median(shifts.shift_px[keep], axis=0) if keep.any() else np.full(2, np.nan)
    band_low, band_high = _band(low), _band(filled)
    local, textured = _local_likeness(band_low, band_high, clear)
    return Comparison(
        shift_px=float(np.hypot(*median)),
        spread_px=float(np.median(length)),
        likeness=_correlation(band_low[textured], band_high[textured]),
        sharpness=_sharpness(low, filled, clear),
        shifts=BlockShifts(shifts.at_px[keep], shifts.shift_px[keep], shifts.likeness[keep]),
        local=local,
    )


def sharpness(low: Floats, drawn: Floats, inside: NDArray[np.bool_]) -> float:
    """Give the share of fine detail alone, see :class:`Comparison`; arguments as of `compare`."""
    filled = np.where(inside, drawn, low).astype(np.float32)
    return _sharpness(low, filled, _well_inside(inside))


def _well_inside(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Leave out what a filter of 9 px draws from beyond the edge."""
    return np.asarray(cv2.erode(inside.astype(np.uint8), np.ones((9, 9)), borderValue=0) > 0)


def _clear(shifts: BlockShifts, clear: NDArray[np.bool_], side: int) -> NDArray[np.bool_]:
    """Keep the blocks that lie wholly where both images show something."""
    if not len(shifts):
        return np.zeros(0, bool)
    area = cv2.boxFilter(clear.astype(np.float32), -1, (side - 8, side - 8))
    at = shifts.at_px + (np.array(clear.shape[::-1]) - 1) / 2
    x, y = np.rint(at).astype(int).T
    return np.asarray(area[y, x] > 0.999)


def _band(plane: Floats) -> Floats:
    fine = cv2.GaussianBlur(plane, (0, 0), FINE_PX)
    return np.asarray(fine - cv2.GaussianBlur(plane, (0, 0), COARSE_PX))


def _local_likeness(
    low: Floats, high: Floats, clear: NDArray[np.bool_]
) -> tuple[Floats, NDArray[np.bool_]]:
    """Correlate neighbourhoods; gives nan where the high image has no texture, and where it has."""
    size = (AROUND_PX, AROUND_PX)
    both, own, other = (cv2.boxFilter(p, -1, size) for p in (low * high, high * high, low * low))
    textured = (np.maximum(own, other) > TEXTURE_DN**2) & clear
    alike = both / np.sqrt(np.maximum(own * other, TINY))
    return np.where(textured, alike, np.nan).astype(np.float32), textured


def _correlation(a: Floats, b: Floats) -> float:
    if a.size < AROUND_PX**2:
        return math.nan
    energy = float((a * a).sum(dtype=np.float64) * (b * b).sum(dtype=np.float64))
    return float((a * b).sum(dtype=np.float64)) / math.sqrt(max(energy, TINY))


def _sharpness(low: Floats, high: Floats, clear: NDArray[np.bool_]) -> float:
    """Compare fine detail with coarse: contrast and colour, which differ as well, drop out."""
    fine = _slope(_finest(low)[clear], _finest(high)[clear])
    coarse = _slope(_coarse_band(low)[clear], _coarse_band(high)[clear])
    return fine / coarse if coarse > TINY else math.nan


def _finest(plane: Floats) -> Floats:
    smooth = cv2.GaussianBlur(plane, (0, 0), FINEST_PX)
    return np.asarray(cv2.Laplacian(smooth, cv2.CV_32F))


def _coarse_band(plane: Floats) -> Floats:
    near = cv2.GaussianBlur(plane, (0, 0), DETAIL_PX[0])
    return np.asarray(near - cv2.GaussianBlur(near, (0, 0), DETAIL_PX[1]))


def _slope(seen: Floats, foretold: Floats) -> float:
    """Regress one on the other: noise of what is seen does not count."""
    own = float((foretold * foretold).sum(dtype=np.float64))
    return float((seen * foretold).sum(dtype=np.float64)) / own if own > TINY else math.nan
