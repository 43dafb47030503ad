"""Finds the map between two pictures of which nothing is known but that they show one tissue.

Features matched between the pictures, as they are and mirrored, propose a map; the grey levels of
all pixels refine it (`direct_fit`). What is found is then doubted: it must be likely, precise by
its own standard error, the only place that fits, and borne out by blocks measured on their own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from scope_sr.imaging.direct_fit import DETAIL_PX, DirectFit, Plane, direct_fit, ratio_of, reduced
from scope_sr.imaging.robust import scatter
from scope_sr.imaging.shift import BlockShifts, block_shifts, green

Floats = NDArray[np.float64]
FEATURE_SIDE_PX = 640  # features are sought in pictures reduced to this: they only make a start
RATIOS = (1.0, 8.0)  # of features and starts; wider than of maps, for they scatter
LEAST_RATIO = 1.5  # expected; the high picture has no use for finer features
KEYPOINTS = (4000, 1500)  # low, high: the low picture may show far more than the high one
UNIQUE = 0.92  # of the distance to the second best; loose, for the vote sorts them out
VOTE_PX = 2.5  # low px within which matches agree on a map
LEAST_VOTES = 4  # a similarity takes two matches, and chance agrees on three
SIDES_PX = (16, 24, 32)  # of blocks; the largest that goes four times into the overlap
FAR_PX = 6  # what fits there is another place
LEAST_SHARE = 0.4  # of the overlap that another place must leave

# Set on 840 pairs with known maps, from eight public sets of images: error / sigma has p99 1.8, and
# the false maps among them showed in sigma, reach or blocks. On 252 other pairs then: 234 accepted,
# off by 0.16 HR px at most; of 100 of other tissue none, their sigma is above 2 HR px. The like on
# the shipped tissue: pytest -m slow tests/test_unknown_geometry.py
LEAST_LIKENESS = 0.5
MOST_SIGMA_PX = 0.15  # an error of 0.3 is 2 sigma then
CALIBRATED = 1.2  # errors of known pairs, in what the fit says of them
MODEL_PX = 0.01  # low px, of error that the fit knows nothing of
MOST_RESIDUAL_PX = 0.5
MOST_REACH = 2.0
MOST_RIVAL = 0.8
LEAST_BLOCKS = 4
LEAST_SCALE, MOST_SCALE = 1.25, 6.0
LEAST_PIXELS = 24  # of either side of either picture


@dataclass(frozen=True, eq=False)
class Geometry:
    """The map between two pictures, or why there is none to be trusted.

    What was measured of a map that is refused is still told; the map is not.

    Attributes
    ----------
    accepted, reasons
        Whether the map may be used; if not, why, with value and limit.
    high_to_low
        ``(2, 3)`` float64, None if refused: ``[x_low, y_low] = high_to_low @ [x_high, y_high, 1]``
        in pixel index coordinates (centres at integers, the upper left pixel at the origin).
    scale
        High pixels per low pixel: the ratio of the magnifications.
    rotation_deg
        From x to y, in (-180, 180], after a flip is taken out as a left-right mirror of the high
        picture, ``linear = turn @ diag(-1, 1) / scale``: an up-down flip has 180 degrees.
    flipped
        Whether the map mirrors.
    residual_hr_px
        Scatter of the blocks about the map, in high pixels per axis, robust.
    overlap
        Share of the high picture that lies in the low one.
    likeness
        Correlation of the detail over the overlap, 0..1.
    sigma_hr_px
        Standard error of the map in high pixels, both axes together, RMS over the overlap.
    reach
        How much larger errors are over the overlap than where it shows something; 1 if all over.
    rival
        Likeness of the best other place in the low picture, as a share of that of this one.
    blocks, votes
        Numbers of blocks measured and of features that agreed on the map.
    """

    accepted: bool
    reasons: tuple[str, ...]
    high_to_low: Floats | None
    scale: float = math.nan
    rotation_deg: float = math.nan
    flipped: bool = False
    residual_hr_px: float = math.nan
    overlap: float = 0.0
    likeness: float = 0.0
    sigma_hr_px: float = math.inf
    reach: float = math.inf
    rival: float = 0.0
    blocks: int = 0
    votes: int = 0


@dataclass(frozen=True, eq=False)
class _Start:
    """A map proposed by features, into the high picture, mirrored left to right if so."""

    low_to_high: Floats
    flipped: bool
    votes: int


@dataclass(frozen=True, eq=False)
class _Features:
    """Places (n, 2) in px of the whole picture, sizes (n,) likewise, and descriptors (n, 128)."""

    at_px: Floats
    size_px: Floats
    words: Plane


def register_unknown(low: NDArray, high: NDArray) -> Geometry:
    """Find the map from a picture of high magnification into one of low, or say why not.

    Any ratio of about 1.5 to 5, rotation, flip and offset; the pictures may overlap in part.

    Parameters
    ----------
    low, high
        ``(row, column[, channel])``, uint8 or uint16, of any colour balance.
    """
    if min(*low.shape[:2], *high.shape[:2]) < LEAST_PIXELS:
        sizes = " and ".join(f"{image.shape[1]}x{image.shape[0]}" for image in (low, high))
        return _refused(f"{sizes} px is too small: a side needs {LEAST_PIXELS} px at least")
    low_plane, high_plane = _eight_bit(low), _eight_bit(high)
    starts = _starts(low_plane, high_plane)
    votes = max((start.votes for start in starts), default=0)
    if votes < LEAST_VOTES:
        return _refused(f"only {votes} features agree on a map, {LEAST_VOTES} must")
    tried: list[Geometry] = []
    for start in (start for start in starts if start.votes >= LEAST_VOTES):
        tried.append(_tried(low_plane, high_plane, start))
        if tried[-1].accepted:
            break
    return max(tried, key=lambda found: (found.accepted, found.likeness))


def _refused(reason: str) -> Geometry:
    return Geometry(False, (reason,), None)


def _eight_bit(image: NDArray) -> Plane:
    """Give green light in grey levels of 8 bits; those of more bits by what they hold."""
    plane = np.ascontiguousarray(green(image[..., 0] if image.shape[2:] == (1,) else image))
    if image.dtype == np.uint8:
        return plane
    bits = max(8, 2 * math.ceil(math.log2(float(image.max()) + 1) / 2))
    return np.asarray(plane * np.float32(255 / (2**bits - 1)))


def _mirrored(plane: Plane) -> Plane:
    return np.ascontiguousarray(plane[:, ::-1])


def _starts(low: Plane, high: Plane) -> list[_Start]:
    """Propose a map for the high picture as it is and mirrored, most votes first."""
    there = _features(low, max(1.0, max(low.shape) / FEATURE_SIDE_PX), KEYPOINTS[0])
    reduction = max(LEAST_RATIO, max(high.shape) / FEATURE_SIDE_PX)
    starts = []
    for flipped in (False, True):
        here = _features(_mirrored(high) if flipped else high, reduction, KEYPOINTS[1])
        start = _voted(there, here, flipped)
        if start is not None:
            starts.append(start)
    return sorted(starts, key=lambda start: -start.votes)


def _features(plane: Plane, reduction: float, most: int) -> _Features:
    """Find features, described by RootSIFT (Arandjelović and Zisserman, 2012)."""
    size = [max(1, round(side / reduction)) for side in plane.shape[::-1]]
    small = np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA))
    dark, bright = np.percentile(small, [1, 99])
    level = np.clip((small - dark) * 255 / max(bright - dark, 20.0), 0, 255).astype(np.uint8)
    # precise upscale: without, OpenCV's places are a quarter of a pixel off
    sift = cv2.SIFT.create(most, 3, 0.02, 15, 1.6, True)
    points, words = sift.detectAndCompute(level, None)
    if words is None:
        return _Features(np.empty((0, 2)), np.empty(0), np.empty((0, 128), np.float32))
    step = np.array(plane.shape[::-1]) / size
    at_px = (np.array([point.pt for point in points]) + 0.5) * step - 0.5
    size_px = np.array([point.size for point in points]) * step.mean()
    root = np.sqrt(words / np.maximum(words.sum(axis=1, keepdims=True), 1e-6))
    return _Features(at_px, size_px, root.astype(np.float32))


def _voted(low: _Features, high: _Features, flipped: bool) -> _Start | None:
    """Let matches vote on a similarity: the one most agree on."""
    here, there = _matched(low, high)
    if len(here) < LEAST_VOTES:
        return None
    ratio = float(np.median(high.size_px[there] / low.size_px[here]))
    linear, agreed = cv2.estimateAffinePartial2D(
        low.at_px[here],
        high.at_px[there],
        method=cv2.RANSAC,
        ransacReprojThreshold=VOTE_PX * ratio,
        maxIters=5000,
        confidence=0.999,
    )
    if linear is None or not RATIOS[0] < ratio_of(linear) < RATIOS[1]:
        return None
    return _Start(np.asarray(linear, float), flipped, int(agreed.sum()))


def _matched(low: _Features, high: _Features) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Pair features that are likest to each other, clearly so, and of sizes that can be."""
    if min(len(low.words), len(high.words)) < 2:
        return np.empty(0, int), np.empty(0, int)
    alike = low.words @ high.words.T
    there = alike.argmax(axis=1)
    here = np.arange(len(there))
    first = alike[here, there]
    mutual = alike.argmax(axis=0)[there] == here
    alike[here, there] = -1.0
    # words have unit length, so distance² = 2 - 2 alike
    clear = 1 - first < UNIQUE**2 * (1 - alike.max(axis=1))
    ratio = high.size_px[there] / low.size_px[here]
    good = mutual & clear & (ratio > RATIOS[0]) & (ratio < RATIOS[1])
    return here[good], there[good]


def _tried(low: Plane, high: Plane, start: _Start) -> Geometry:
    """Refine a proposed map and judge it."""
    if start.flipped:
        high = _mirrored(high)
    fitted = direct_fit(low, high, start.low_to_high)
    if fitted is None:
        return _refused("the features agree on a map by which the pictures hardly overlap")
    high_to_low = _into_low(fitted.low_to_high, start.flipped, high.shape[1])
    shifts = _blocks(fitted)
    scale = ratio_of(fitted.low_to_high)
    fit_px = scale * fitted.low_step  # a pixel of the fit, in high pixels
    return _judged(
        Geometry(
            accepted=True,
            reasons=(),
            high_to_low=high_to_low,
            scale=scale,
            rotation_deg=_rotation_deg(high_to_low),
            flipped=start.flipped,
            residual_hr_px=fit_px * scatter(shifts.shift_px),
            overlap=_overlap(high_to_low, high.shape, low.shape),
            likeness=fitted.match.likeness,
            sigma_hr_px=math.hypot(CALIBRATED * fitted.sigma_px, MODEL_PX * fit_px * fitted.reach),
            reach=fitted.reach,
            rival=_rival(low, fitted),
            blocks=len(shifts),
            votes=start.votes,
        )
    )


def _judged(found: Geometry) -> Geometry:
    """Refuse a map that is not likely, precise, the only one, and borne out by its blocks."""
    limits = (
        ("likeness", found.likeness, LEAST_LIKENESS, math.inf),
        ("standard error in HR px", found.sigma_hr_px, 0.0, MOST_SIGMA_PX),
        ("number of blocks", found.blocks, LEAST_BLOCKS, math.inf),
        ("scatter of the blocks in HR px", found.residual_hr_px, 0.0, MOST_RESIDUAL_PX),
        ("error, as a multiple of that at the tissue,", found.reach, 0.0, MOST_REACH),
        ("likeness of another place, of this one's,", found.rival, -math.inf, MOST_RIVAL),
        ("ratio of the magnifications", found.scale, LEAST_SCALE, MOST_SCALE),
    )
    reasons = tuple(
        f"{name} is {value:.3g}, may be "
        + (f"{least:g} at least" if value < least else f"{most:g} at most")
        for name, value, least, most in limits
        if not least <= value <= most
    )
    return replace(found, accepted=False, reasons=reasons, high_to_low=None) if reasons else found


def _into_low(low_to_high: Floats, flipped: bool, high_columns: int) -> Floats:
    """Invert a map, and lead it back to the picture before it was mirrored."""
    linear = np.linalg.inv(low_to_high[:, :2])
    offset = -linear @ low_to_high[:, 2]
    if flipped:
        offset = offset + linear[:, 0] * (high_columns - 1)
        linear = linear * [-1.0, 1.0]
    return np.column_stack([linear, offset])


def _rotation_deg(high_to_low: Floats) -> float:
    """Give the angle of the turn nearest to a map, a mirror taken out."""
    mirror = math.copysign(1.0, float(np.linalg.det(high_to_low[:, :2])))
    (a, b), (c, d) = high_to_low[:, :2] * [mirror, 1.0]
    return math.degrees(math.atan2(c - b, a + d))


def _overlap(high_to_low: Floats, high_shape: tuple[int, ...], low_shape: tuple[int, ...]) -> float:
    """Give the share of the high picture within the low one."""
    high, low = (
        np.array([(0, 0), (columns, 0), (columns, rows), (0, rows)]) - 0.5
        for rows, columns in (high_shape[:2], low_shape[:2])
    )
    there = (high @ high_to_low[:, :2].T + high_to_low[:, 2]).astype(np.float32)
    common, _ = cv2.intersectConvexConvex(there, low.astype(np.float32))
    return float(common) / float(cv2.contourArea(there))


def _blocks(fitted: DirectFit) -> BlockShifts:
    """Measure in blocks what the map leaves, in low pixels: independent of how it was found."""
    low, drawn, mask = fitted.match.low, fitted.match.drawn, fitted.match.weight > 0
    room = math.sqrt(mask.sum()) / 4
    side = max([side for side in SIDES_PX if side <= room], default=SIDES_PX[0])
    if min(mask.shape) < side:
        return BlockShifts(np.empty((0, 2)), np.empty((0, 2)), np.empty(0))
    shifts = block_shifts(low, drawn, side_px=side)
    empty = cv2.boxFilter((~mask).astype(np.float32), -1, (side, side))
    column, row = np.rint(shifts.at_px + (np.array(mask.shape[::-1]) - 1) / 2).astype(int).T
    keep = empty[row, column] < 1e-6
    return BlockShifts(shifts.at_px[keep], shifts.shift_px[keep], shifts.likeness[keep])


def _rival(low: Plane, fitted: DirectFit) -> float:
    """Give how well the overlap fits the best other place, as a share of how well it fits its own.

    Repeating texture fits elsewhere too; of tissue no two places are alike.
    """
    drawn, mask = fitted.match.drawn, fitted.match.weight > 0
    plane = reduced(low, fitted.low_step)
    plane = plane - cv2.blur(plane, (DETAIL_PX, DETAIL_PX))
    corner = fitted.match.corner_px
    shape = [a + b - 1 for a, b in zip(plane.shape, mask.shape, strict=True)]
    fast = [fft.next_fast_len(side, real=True) for side in shape]

    def correlate(template: NDArray, image: NDArray) -> Plane:
        product = np.conj(fft.rfft2(template, fast)) * fft.rfft2(image, fast)
        return np.asarray(fft.irfft2(product, fast), np.float32)

    inside = mask.astype(np.float32)
    ones = np.ones_like(plane)
    energy = correlate(drawn**2, ones) * correlate(inside, plane**2)
    surface = correlate(drawn, plane) / np.sqrt(np.maximum(energy, 1e-4 * energy.max()) + 1e-9)
    surface[correlate(inside, ones) < LEAST_SHARE * inside.sum()] = 0
    surface = np.roll(surface, (-corner[1], -corner[0]), axis=(0, 1))
    own = float(surface[0, 0])
    near = np.hypot(*np.meshgrid(*(fft.fftfreq(n, 1 / n) for n in fast[::-1])))
    return float(surface[near > FAR_PX].max()) / max(own, 1e-3)
