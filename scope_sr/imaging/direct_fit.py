"""Refines the map between two pictures of one tissue on their grey levels, all pixels at once.

The high picture is drawn onto the pixels of the low one, given its contrast, and what is then left
is explained by a small affine displacement (Lucas and Kanade, 1981). Where a low picture has 50
pixels to a side, blocks are few and each is poor; the pixels together still tell the map to
hundredths.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scope_sr.imaging.resample import resampled
from scope_sr.imaging.robust import scatter

Floats = NDArray[np.float64]
Plane = NDArray[np.float32]

STAGES = ((1.0, 6), (0.0, 8))  # smoothing in low px, which widens what a start may miss by; rounds
ENOUGH_PX = 0.002  # a step below this changes nothing any more
LONGEST_PX = 1.5  # step: beyond, the gradient does not hold
BLURS = (0.3, 0.45, 0.65, 0.9, 1.3, 1.8)  # of the low picture in its pixels: its PSF is not known
USUAL_BLUR = 0.45
DETAIL_PX = 25  # coarser differences are light and stain, not place
EDGE_PX = 1.5  # of the high picture, left free: its blur has seen what lies beyond
CAUCHY = 2.385  # robust_lstsq's: folds and dust are in one picture only
RATIOS = (1.0, 4.0)  # reduced high px per low px, beyond which a descent has gone astray
FIT_SIDE_PX = 340  # of the overlap in low px: 0.01 low px are reached with less
NEEDED_RATIO = 1.5  # finer high pixels tell a low picture nothing
LEAST_PIXELS = 400
LEAST_SIDE_PX = 12
TILES = 10  # across the overlap: what one leaves unexplained is taken to tell nothing of the next
LEAST_TILE_PX = 8
LEAST_VARIANCE = 0.05  # of grey levels: they are whole numbers
TINY = 1e-9


@dataclass(frozen=True, eq=False)
class Match:
    """Two pictures on the pixels of the low one, where both show tissue.

    Attributes
    ----------
    low, drawn
        ``(row, column)`` float32: the detail of the low picture, and that of the high one with
        the contrast of the low one; 0 outside of the overlap.
    weight
        ``(row, column)`` float32: 0 outside of the overlap, down to 0 where the pictures disagree.
    variance
        Of what is left, in grey levels squared.
    corner_px
        ``(2,)`` int, (x, y) of the first pixel of these planes in the low picture.
    """

    low: Plane
    drawn: Plane
    weight: Plane
    variance: float
    corner_px: NDArray[np.int_]

    @property
    def likeness(self) -> float:
        """Correlation of the two over the overlap."""
        low, drawn = self.low * self.weight, self.drawn * self.weight
        power = float((low * self.low).sum()) * float((drawn * self.drawn).sum())
        return float((low * self.drawn).sum()) / math.sqrt(power + TINY)


@dataclass(frozen=True, eq=False)
class DirectFit:
    """``low_to_high`` (2, 3) float64 in pixel index coordinates, and how well it is known.

    ``sigma_px`` is the standard error of a mapped point in high pixels, both axes together, RMS
    over the overlap; ``reach`` by how much errors are larger there than where there is something
    to see, 1 if that is everywhere. ``match`` is of a low picture reduced by ``low_step``.
    """

    low_to_high: Floats
    sigma_px: float
    reach: float
    low_step: int
    match: Match


@dataclass(frozen=True, eq=False)
class _Equations:
    """What is left of each pixel as gradient times a small displacement ``basis(v) p``.

    Attributes
    ----------
    basis
        ``(n, 3)``: x, y and 1 of each pixel, centred by `middle_px` and scaled by `span_px`.
    matrices, scores
        ``(tiles, 6, 6)`` and ``(tiles, 6)``, normal equations of each tile, in units of the
        variance of what is left.
    """

    basis: Floats
    middle_px: Floats
    span_px: float
    matrices: Floats
    scores: Floats


def direct_fit(low: Plane, high: Plane, low_to_high: NDArray) -> DirectFit | None:
    """Refine a map that is right to about a low pixel, and tell how well it is known then.

    Parameters
    ----------
    low, high
        ``(row, column)`` float32, grey levels of 8 bits.
    low_to_high
        ``(2, 3)``, pixel index coordinates.

    Returns
    -------
    DirectFit or None
        None where the pictures overlap too little, or the descent leaves them.
    """
    low_step, high_step = _steps(low, high, np.asarray(low_to_high, float))
    low, high = reduced(low, low_step), reduced(high, high_step)
    found: Floats | None = _of_reduced(np.asarray(low_to_high, float), low_step, high_step)
    for smoothing_px, rounds in STAGES:
        found = _descend(low, high, found, smoothing_px, USUAL_BLUR, rounds)
    if found is None:
        return None
    blur = _best_blur(low, high, found)
    found = _descend(low, high, found, 0.0, blur, STAGES[-1][1])
    match = None if found is None else _match(low, _blurred(high, found, 0.0, blur), found, 0.0)
    if found is None or match is None:
        return None
    equations = _equations(match)
    sigma_px = high_step * ratio_of(found) * _standard_error(equations)
    low_to_high = _of_reduced(found, 1 / low_step, 1 / high_step)
    return DirectFit(low_to_high, sigma_px, _reach(equations), low_step, match)


def ratio_of(low_to_high: NDArray) -> float:
    """Give the high pixels per low pixel of a map, as lengths."""
    return math.sqrt(abs(float(np.linalg.det(low_to_high[:, :2]))))


def _steps(low: Plane, high: Plane, low_to_high: Floats) -> tuple[int, int]:
    """Choose by how much to reduce the pictures: what the overlap does not need costs time."""
    ratio = max(ratio_of(low_to_high), 1e-3)
    area = min(high.shape[0] * high.shape[1] / ratio**2, low.shape[0] * low.shape[1])
    low_step = max(1, round(math.sqrt(area) / FIT_SIDE_PX))
    return low_step, max(1, int(low_step * ratio / NEEDED_RATIO))


def reduced(plane: Plane, step: int) -> Plane:
    """Average squares of pixels; what does not fill one at the right and lower end is left out."""
    if step == 1:
        return plane
    rows, columns = (side // step for side in plane.shape)
    plane = plane[: rows * step, : columns * step]
    return np.asarray(cv2.resize(plane, (columns, rows), interpolation=cv2.INTER_AREA), np.float32)


def _of_reduced(low_to_high: Floats, low_step: float, high_step: float) -> Floats:
    """Turn a map between pictures into that between reduced ones, or back by 1 / step.

    Pixel 0 of a picture reduced by 2 has its centre at 0.5 of the whole.
    """
    linear = low_to_high[:, :2] * low_step / high_step
    middle = low_to_high[:, :2] @ np.full(2, (low_step - 1) / 2) + low_to_high[:, 2]
    return np.column_stack([linear, (middle + 0.5) / high_step - 0.5])


def _descend(
    low: Plane, high: Plane, start: Floats | None, smoothing_px: float, blur: float, rounds: int
) -> Floats | None:
    """Walk from a map to the one near it at which the pictures are likest."""
    if start is None or not _sane(start):
        return None
    found, blurred = start, _blurred(high, start, smoothing_px, blur)
    for _ in range(rounds):
        match = _match(low, blurred, found, smoothing_px)
        if match is None:
            return None
        found, length_px = _stepped(found, _equations(match))
        if not _sane(found):
            return None
        if length_px < ENOUGH_PX:
            break
    return found


def _sane(found: Floats) -> bool:
    return bool(RATIOS[0] < ratio_of(found) < RATIOS[1])  # nan is not, either


def _best_blur(low: Plane, high: Plane, found: Floats) -> float:
    """Choose the blur that makes the pictures likest: at any other, less is explained."""
    best, most = USUAL_BLUR, -1.0
    for blur in BLURS:
        match = _match(low, _blurred(high, found, 0.0, blur), found, 0.0)
        likeness = match.likeness if match else -1.0
        if likeness <= most:
            break
        best, most = blur, likeness
    return best


def _blurred(high: Plane, found: Floats, smoothing_px: float, blur: float) -> Plane:
    """Blur a high picture to what pixels of the low one can hold."""
    sigma = ratio_of(found) * math.hypot(blur, smoothing_px)
    return np.asarray(cv2.GaussianBlur(high, (0, 0), sigma), np.float32)


def _match(low: Plane, blurred: Plane, found: Floats, smoothing_px: float) -> Match | None:
    """Draw the high picture on the low one's pixels; None where they hardly overlap."""
    corner, size = _window(found, blurred.shape, low.shape)
    if min(size) < LEAST_SIDE_PX:
        return None
    x, y = np.meshgrid(*(corner[axis] + np.arange(size[axis], dtype=float) for axis in (0, 1)))
    u = np.stack([x, y], axis=-1) @ found[:, :2].T + found[:, 2]
    free = ratio_of(found) * (EDGE_PX + smoothing_px)
    last = np.array(blurred.shape[1::-1]) - 1
    mask = np.asarray(((u > free) & (u < last - free)).all(axis=-1))
    if mask.sum() < LEAST_PIXELS:
        return None
    x, y = u[..., 0].astype(np.float32), u[..., 1].astype(np.float32)
    drawn = resampled(blurred, x, y)
    part = low[corner[1] : corner[1] + size[1], corner[0] : corner[0] + size[0]]
    if smoothing_px:
        part = np.asarray(cv2.GaussianBlur(part, (0, 0), smoothing_px), np.float32)
    return _of_one_contrast(_detail(part, mask), _detail(drawn, mask), mask, corner)


def _window(
    found: Floats, high_shape: tuple[int, ...], low_shape: tuple[int, ...]
) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Give the upper left pixel (x, y) and the size of the part of the low picture in question."""
    last = np.array(high_shape[1::-1]) - 1.0
    corners = np.array([(i, j) for i in (0, 1) for j in (0, 1)]) * last
    at = np.linalg.solve(found[:, :2], (corners - found[:, 2]).T).T
    size = np.array(low_shape[1::-1])
    first = np.clip(np.floor(at.min(axis=0)), 0, size).astype(int)
    end = np.clip(np.ceil(at.max(axis=0)) + 1, 0, size).astype(int)
    return first, end - first


def _detail(plane: NDArray, mask: NDArray[np.bool_]) -> Plane:
    """Take off the average about each pixel, of the overlap only; 0 outside of it."""
    inside = mask.astype(np.float32)
    coarse = _average(plane * inside) / np.maximum(_average(inside), np.float32(1e-6))
    return np.asarray((plane - coarse) * inside, np.float32)


def _average(plane: NDArray) -> Plane:
    size = (DETAIL_PX, DETAIL_PX)
    return np.asarray(cv2.blur(plane, size, borderType=cv2.BORDER_CONSTANT), np.float32)


def _of_one_contrast(
    low: Plane, high: Plane, mask: NDArray[np.bool_], corner: NDArray[np.int_]
) -> Match:
    """Give the high picture the contrast of the low one, and doubt the pixels that stay apart."""
    source, target = high[mask], low[mask]
    # bare glass, where it is clipped, has less noise than the tissue that counts
    seen = np.abs(source) >= np.percentile(np.abs(source), 75)
    weight = np.ones(len(source), np.float32)
    for _ in range(3):
        gain = float((weight * source) @ target) / (float((weight * source) @ source) + TINY)
        left = target - np.float32(gain) * source
        variance = scatter(left[seen]) ** 2 + LEAST_VARIANCE
        weight = np.asarray(1 / (1 + np.square(left) / (variance * CAUCHY**2)), np.float32)
    full = np.zeros(mask.shape, np.float32)
    full[mask] = weight
    return Match(low, high * np.float32(gain), full, variance, corner)


def _equations(match: Match) -> _Equations:
    """Set up the normal equations of the displacement, tile by tile."""
    # the gradient at the rim would reach out of the overlap
    inner = cv2.erode((match.weight > 0).astype(np.uint8), np.ones((3, 3)), borderValue=0) > 0
    slopes = [np.gradient(match.drawn, axis=axis)[inner].astype(float) for axis in (1, 0)]
    weight = match.weight[inner] / match.variance
    left = (match.low - match.drawn)[inner] * weight
    row, column = np.nonzero(inner)
    at = np.stack([column, row], axis=1) + match.corner_px
    middle = at.mean(axis=0)
    span = float(at.std()) + TINY
    basis = np.column_stack([(at - middle) / span, np.ones(len(at))])
    tile_px = max(LEAST_TILE_PX, int(math.sqrt(len(at)) / TILES))
    code = row // tile_px * match.low.shape[1] + column // tile_px
    _, tile = np.unique(code, return_inverse=True)
    # a row of the design is the slope along x times the basis, and then that along y
    design = np.hstack([basis * slope[:, None] for slope in slopes])
    scores = np.stack([np.bincount(tile, column * left) for column in design.T], axis=1)
    matrices = np.empty((len(scores), 6, 6))
    for i, j in zip(*np.triu_indices(6), strict=True):
        matrices[:, i, j] = np.bincount(tile, design[:, i] * design[:, j] * weight)
        matrices[:, j, i] = matrices[:, i, j]
    return _Equations(basis, middle, span, matrices, scores.astype(float))


def _stepped(found: Floats, equations: _Equations) -> tuple[Floats, float]:
    """Solve for the displacement and go there; returns the map and the length of the step."""
    p = _inverse(equations.matrices.sum(axis=0)) @ equations.scores.sum(axis=0)
    length = float(np.linalg.norm(p))
    p = (p * min(1.0, LONGEST_PX / max(length, TINY))).reshape(2, 3)
    linear = np.eye(2) + p[:, :2] / equations.span_px
    shift = p[:, 2] - p[:, :2] / equations.span_px @ equations.middle_px
    to = np.column_stack([found[:, :2] @ linear, found[:, :2] @ shift + found[:, 2]])
    return to, length


def _inverse(matrices: Floats) -> Floats:
    """Invert (..., 6, 6); what the pixels do not tell becomes very uncertain, and no error."""
    size = np.trace(matrices, axis1=-2, axis2=-1)[..., None, None]
    return np.asarray(np.linalg.inv(matrices + TINY * (1 + size) * np.eye(6)))


def _standard_error(equations: _Equations) -> float:
    """Give by how much the map would be off, in low pixels, from what single tiles do to it.

    Leaving out one tile at a time (the jackknife) also counts what the model does not explain and
    what hangs together over pixels, as folds and other focus, and shows a map that hangs on few
    tiles. Never less than what independent pixels would give.
    """
    matrix = equations.matrices.sum(axis=0)
    without = _inverse(matrix - equations.matrices)
    moved = np.einsum("tij,tj->ti", without, equations.scores)
    variances = (_over_overlap(equations, c) for c in (moved.T @ moved, _inverse(matrix)))
    return math.sqrt(max(variances))


def _reach(equations: _Equations) -> float:
    """Give the error over the overlap in terms of that at its texture: tissue may fill a corner.

    Weighted with the texture, the variance of independent pixels is 6 / texture per pixel.
    """
    matrix = equations.matrices.sum(axis=0)
    texture = float(matrix[2, 2] + matrix[5, 5]) / 2
    return math.sqrt(_over_overlap(equations, _inverse(matrix)) * texture / 6)


def _over_overlap(equations: _Equations, covariance: Floats) -> float:
    """Propagate a covariance (6, 6) to the variance of a point, mean of the overlap, both axes."""
    moment = equations.basis.T @ equations.basis / len(equations.basis)
    blocks = (covariance[axis : axis + 3, axis : axis + 3] for axis in (0, 3))
    return sum(float((block * moment).sum()) for block in blocks)
