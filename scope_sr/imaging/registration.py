"""Lays a field of high magnification onto the field of low magnification it lies in.

The pair is found by a wide search, then measured in blocks with the high field drawn onto the
pixels of the low one; the low pixels stay as they are. Geometry is that of green light.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from scope_sr.imaging.affine import bent, radius_px, straightened
from scope_sr.imaging.resample import resampled
from scope_sr.imaging.robust import robust_lstsq
from scope_sr.imaging.shift import BlockShifts, block_shifts, green, template_shift

ROUNDS = 4  # each draws the high field anew, by what the last one found
LEAST_LIKENESS = 0.25
LEAST_BLOCKS = 12
EDGE_PX = 1.5  # left free at the edge of a field, for interpolation and distortion
COARSE_PX = 192  # a field larger than this in low pixels is first found at half its size
MOST_RESIDUAL_PX = 0.3  # blocks of one tissue scatter by hundredths
MOST_OFF = 0.08  # of scale, between what was expected and what may still be found


@dataclass(frozen=True, eq=False)
class Registration:
    """Where a high field lies in a low one.

    A pixel offset u of the high image and the offset v of the low image at which the same tissue is
    seen obey ``g_low(v) = linear @ g_high(u) + centre_px``.

    Attributes
    ----------
    linear
        ``(2, 2)`` undistorted low pixels per undistorted high pixel.
    centre_px
        ``(2,)`` where the centre of the high field lies, in undistorted low pixels.
    distortion
        k of the high objective.
    residual_px, blocks, likeness
        Scatter of the blocks in low pixels, their number, and the correlation of the wide search.
    """

    linear: NDArray[np.float64]
    centre_px: NDArray[np.float64]
    distortion: float
    residual_px: float
    blocks: int
    likeness: float


def register(
    low: NDArray, high: NDArray, expected: NDArray, low_distortion: float = 0.0
) -> Registration | None:
    """Find a high field in a low one, wherever it lies in it.

    Parameters
    ----------
    low, high
        Images in grey levels of 8 bits, flat-corrected if they can be.
    expected
        ``(2, 2)`` low pixels per high pixel as far as known: right to a few percent and degrees.
    low_distortion
        k of the low objective.

    Returns
    -------
    Registration or None
        None where they have too little in common.
    """
    low_plane, high_plane = green(low), green(high)
    expected = np.asarray(expected, float)
    found = _coarse(low_plane, high_plane, expected, low_distortion)
    found = found or _search(low_plane, high_plane, expected)
    for _ in range(ROUNDS):
        if found is None:
            return None
        found = _measure(low_plane, high_plane, found, low_distortion)
    return found if found is not None and _plausible(found, expected) else None


def drawn_on_low(
    high: NDArray,
    found: Registration,
    low_distortion: float,
    corner_px: NDArray,
    size: NDArray,
    low_shape: tuple[int, ...],
) -> NDArray[np.float32]:
    """Draw a high image on pixels of the low one: (row, column[, channel]), nan outside of it.

    `corner_px` is the upper left pixel (x, y) of the part wanted, `size` its width and height.
    """
    rows, columns = low_shape[:2]
    x, y = np.meshgrid(*(corner_px[a] + np.arange(size[a]) for a in (0, 1)))
    v = np.stack([x - (columns - 1) / 2, y - (rows - 1) / 2], axis=-1).astype(float)
    u = _into_high(bent(v, low_distortion, radius_px((columns, rows))), found, high.shape)
    last = np.array(high.shape[1::-1]) - 1
    at = (u + last / 2).astype(np.float32)
    drawn = resampled(_for_low(high, found.linear), at[..., 0], at[..., 1])
    # a border of nan would also wipe the pixels that OpenCV computes in one go with those outside
    drawn[((at < 0) | (at > last)).any(axis=-1)] = math.nan
    return np.asarray(drawn, np.float32)


def frame_in_low(
    found: Registration, high_shape: tuple[int, ...], low_shape: tuple[int, ...]
) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Give the upper left pixel (x, y) and the size of the part of the low image a field covers."""
    half = (np.array(high_shape[1::-1]) - 1) / 2
    corners = np.array([(i, j) for i in (-1, 1) for j in (-1, 1)]) * half
    low_size = np.array(low_shape[1::-1])
    at = corners @ found.linear.T + found.centre_px + (low_size - 1) / 2
    first = np.clip(np.floor(at.min(axis=0)).astype(int), 0, low_size)
    last = np.clip(np.ceil(at.max(axis=0)).astype(int) + 1, 0, low_size)
    return first, last - first


def _filled_part(
    found: Registration, high_shape: tuple[int, ...], low_shape: tuple[int, ...]
) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Give corner (x, y) and size of the upright part of the low image that a field fills.

    Exactly so for a slightly turned field; blocks of a part with empty edges would be lost there,
    where they tell most about scale and rotation.
    """
    low_size = np.array(low_shape[1::-1])
    middle = found.centre_px + (low_size - 1) / 2
    reach = _upright_reach(found, high_shape) - EDGE_PX
    first = np.clip(np.ceil(middle - reach).astype(int), 0, low_size)
    last = np.clip(np.floor(middle + reach).astype(int) + 1, 0, low_size)
    return first, np.maximum(last - first, 0)


def _upright_reach(found: Registration, high_shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Give half the size of the largest upright rectangle about a field's centre within it."""
    corners = np.array([(i, j) for i in (-1, 1) for j in (-1, 1)])
    half = (np.array(high_shape[1::-1]) - 1) / 2
    return np.asarray(np.abs(corners * half @ found.linear.T).min(axis=0))


def _coarse(
    low: NDArray, high: NDArray, expected: NDArray, low_distortion: float
) -> Registration | None:
    """Register a large field at half its size first, where a wrong guess costs fewer pixels."""
    guess = _expected_at_centre(expected)
    if _upright_reach(guess, high.shape).min() * 2 < COARSE_PX:
        return None
    found = register(_halved(low), _halved(high), expected, low_distortion)
    return None if found is None else replace(found, centre_px=found.centre_px * 2)


def _halved(plane: NDArray) -> NDArray:
    """Average pixels in fours; the image centre stays, to half a pixel where a size is odd."""
    size = plane.shape[1] // 2, plane.shape[0] // 2
    return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA))


def _expected_at_centre(expected: NDArray) -> Registration:
    return Registration(expected, np.zeros(2), 0.0, math.inf, 0, 0.0)


def _plausible(found: Registration, expected: NDArray) -> bool:
    """Tell whether what was found is about what was expected, and holds together."""
    off = math.sqrt(abs(np.linalg.det(found.linear) / np.linalg.det(expected))) - 1
    return abs(off) < MOST_OFF and found.residual_px < MOST_RESIDUAL_PX


def _search(low: NDArray, high: NDArray, expected: NDArray) -> Registration | None:
    """Search the whole low image for the high field, drawn small by the map expected."""
    guess = _expected_at_centre(expected)
    reach = _upright_reach(guess, high.shape) - EDGE_PX
    room = np.minimum(reach * 2, np.array(low.shape[::-1]) - 2)
    size = np.maximum(room.astype(int), 1)
    size -= (size - np.array(low.shape[::-1])) % 2  # centres agree on whole pixels then
    corner = (np.array(low.shape[::-1]) - size) // 2
    template = drawn_on_low(high, guess, 0.0, corner, size, low.shape)
    if min(size) < 16 or np.isnan(template).any():
        return None
    centre, likeness = template_shift(low, template)
    if likeness < LEAST_LIKENESS:
        return None
    return Registration(expected, centre, 0.0, math.inf, 0, likeness)


def _measure(
    low: NDArray, high: NDArray, found: Registration, low_distortion: float
) -> Registration | None:
    """Draw the high field by the map so far, measure what is left in blocks, and fit anew."""
    corner, size = _filled_part(found, high.shape, low.shape)
    if min(size) < 48:
        return None
    drawn = drawn_on_low(high, found, low_distortion, corner, size, low.shape)
    part = low[corner[1] : corner[1] + size[1], corner[0] : corner[0] + size[0]]
    empty = np.isnan(drawn)
    drawn = np.where(empty, part, drawn).astype(np.float32)
    side = 32 if min(size) < 200 else 48 if min(size) < 400 else 64
    shifts = block_shifts(part, drawn, side_px=side)
    keep = _clear_of(empty, shifts, side)
    if keep.sum() < LEAST_BLOCKS:
        return None
    middle = corner + (size - 1) / 2 - (np.array(low.shape[::-1]) - 1) / 2
    v = shifts.at_px[keep] + middle
    radius = radius_px(low.shape[::-1])
    true_v = bent(v, low_distortion, radius)
    u = _into_high(bent(v + shifts.shift_px[keep], low_distortion, radius), found, high.shape)
    return _fitted(true_v, u, found, high.shape)


def _fitted(
    v: NDArray, u: NDArray, before: Registration, high_shape: tuple[int, ...]
) -> Registration | None:
    """Fit ``v = L u + L0 h(u) k + s``: linear in all it asks for."""
    h = bent(u, 1.0, radius_px(high_shape[1::-1])) - u
    pulled = h @ before.linear.T
    n = len(u)
    design = np.zeros((2 * n, 7))
    for axis in (0, 1):
        rows = slice(axis * n, (axis + 1) * n)
        design[rows, 2 * axis : 2 * axis + 2] = u
        design[rows, 4 + axis] = 1.0
        design[rows, 6] = pulled[:, axis]
    try:
        fit = robust_lstsq(design, v.T.ravel())
    except ValueError:
        return None
    linear = fit.solution[:4].reshape(2, 2)
    return Registration(
        linear, fit.solution[4:6], float(fit.solution[6]), fit.sigma, n, before.likeness
    )


def _into_high(
    true_v: NDArray, found: Registration, high_shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Map undistorted low offsets to pixel offsets of the high image."""
    flat_u = (true_v - found.centre_px) @ np.linalg.inv(found.linear).T
    return straightened(flat_u, found.distortion, radius_px(high_shape[1::-1]))


def _for_low(high: NDArray, linear: NDArray) -> NDArray[np.float32]:
    """Blur a high image to what pixels of the low one can hold."""
    ratio = 1 / math.sqrt(abs(float(np.linalg.det(linear))))
    plane = np.asarray(high, np.float32)
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), max(0.45 * ratio, 0.3)), np.float32)


def _clear_of(empty: NDArray[np.bool_], shifts: BlockShifts, side: int) -> NDArray[np.bool_]:
    """Keep the blocks that lie wholly in the high field."""
    area = cv2.boxFilter(empty.astype(np.float32), -1, (side, side), normalize=True)
    at = shifts.at_px + (np.array(empty.shape[::-1]) - 1) / 2
    x, y = np.rint(at).astype(int).T
    return np.asarray(area[y, x] < 1e-6)
