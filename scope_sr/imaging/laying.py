"""Lays a field of high magnification on its low one by the map of the session.

It is drawn where it should lie, looked for nearby, then everywhere, and measured in blocks. The low
pixels stay as they are; what is drawn is the high image, by the whole map at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scope_sr.imaging.resample import resampled
from scope_sr.imaging.session_model import Matches, SessionModel
from scope_sr.imaging.shift import block_shifts, template_shift

Points = NDArray[np.float64]
Floats = NDArray[np.float32]

NODE_PX = 16  # the map is computed this far apart and interpolated: it is smooth to 1e-3 px
EDGE_PX = 1.5  # of low pixels, left free at the edge of a field
COARSE_PX = 160  # a field larger than this in low pixels is first looked for at half its size
NEAR_LIKENESS, WIDE_LIKENESS = 0.3, 0.25  # correlation of whitened pictures; strangers reach 0.1
LEAST_SIDE_PX = 40
MANY_BLOCKS = 60
MEASURED_PX = 0.6  # blocks shifted by more than this are measured again from there


@dataclass(frozen=True)
class Box:
    """A part of the low image: its upper left pixel and its size."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, eq=False)
class Laid:
    """Where a field was found.

    Attributes
    ----------
    shift_px
        s of the session's map, as far as the search tells.
    likeness
        Correlation of the search, 0..1.
    wide
        Whether it was only found by looking everywhere.
    matches
        Blocks with tissue that both show.
    """

    shift_px: Points
    likeness: float
    wide: bool
    matches: Matches


def lay(
    low: Floats,
    high: Floats,
    model: SessionModel,
    expected_px: Points,
    blur_px: float,
    reach_px: float,
) -> Laid | None:
    """Find a field in its low one and measure it in blocks.

    Parameters
    ----------
    low, high
        ``(row, column)`` planes in grey levels of 8 bits, flat-corrected.
    model
        Right to 3 low pixels over a field.
    expected_px
        ``(2,)`` s as predicted from the stage.
    blur_px
        Sigma in high pixels that makes the high image as soft as the low one.
    reach_px
        How far from there it is looked for first, in low pixels.

    Returns
    -------
    Laid or None
        None where nothing alike is seen.
    """  # fmt: skip
    soft = softened(high, blur_px)
    found = _search(low, soft, model, np.asarray(expected_px, float), reach_px)
    if found is None:
        return None
    shift, likeness, wide = found
    matches = _measure(low, soft, model, shift)
    off = _median_shift(model, matches, shift)
    if np.hypot(*off) > MEASURED_PX:
        shift = shift + off
        matches = _measure(low, soft, model, shift)
    return Laid(shift, likeness, wide, matches)


def softened(plane: Floats, blur_px: float) -> Floats:
    """Blur an image ``(row, column[, 3])``; a sigma below 0.3 px leaves it as it is."""
    if blur_px < 0.3:
        return np.asarray(plane, np.float32)
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), blur_px), np.float32)


def draw(
    high: NDArray,
    model: SessionModel,
    shift_px: Points,
    box: Box,
    low_shape: tuple[int, ...],
    *,
    scale: int = 1,
) -> tuple[Floats, NDArray[np.bool_]]:
    """Draw a high image on the pixels of a part of the low one, or on a multiple of them.

    Pixel j of a row of the drawing stands at low pixel ``box.x + (j + 1/2) / scale - 1/2``.

    Returns
    -------
    drawn
        ``(scale height, scale width[, 3])`` float32; what lies outside the high image repeats its
        edge.
    inside
        Where it shows the high image, no edge repeated.
    """
    at = _map(high.shape, model, shift_px, box, low_shape, scale)
    # cubic: 59 dB to the light itself, where shot noise of 9000 e leaves 43; Lanczos has 66, at
    # six times the time (docs/decisions/0014)
    drawn = resampled(high, at[0], at[1])
    rows, columns = high.shape[:2]
    # an interpolation of 4 x 4 px reaches 2 px beyond
    inside = (at[0] >= 1) & (at[0] <= columns - 2) & (at[1] >= 1) & (at[1] <= rows - 2)
    return np.asarray(drawn, np.float32), inside


def covered(
    model: SessionModel, shift_px: Points, high_shape: tuple[int, ...], low_shape: tuple[int, ...]
) -> Box:
    """Give the smallest upright part of the low image that holds a field, cut off at its edges."""
    edge = _outline(high_shape)
    at = model.to_low(edge, shift_px) + _middle(low_shape)
    return _clipped(np.floor(at.min(axis=0)), np.ceil(at.max(axis=0)) + 1, low_shape)


def within(
    model: SessionModel, shift_px: Points, high_shape: tuple[int, ...], low_shape: tuple[int, ...]
) -> Box:
    """Give an upright part of the low image which the field fills, cut off at its edges."""
    first, last = _inner(model, shift_px, high_shape, low_shape)
    return _clipped(first, last, low_shape)


def block_side(short_px: int) -> int:
    """Choose the side of blocks for a picture's shorter side: enough blocks, each with tissue."""
    sides = ((100, 16), (200, 32), (400, 48))
    return next((side for below, side in sides if short_px < below), 64)


def _search(
    low: Floats, soft: Floats, model: SessionModel, expected: Points, reach_px: float
) -> tuple[Points, float, bool] | None:
    first, last = _inner(model, expected, soft.shape, low.shape)
    size = (last - first).astype(int)
    if min(size) < LEAST_SIDE_PX:
        return None
    box = Box(int(first[0]), int(first[1]), int(size[0]), int(size[1]))
    template, _ = draw(soft, model, expected, box, low.shape)
    near = _clipped(first - math.ceil(reach_px), last + math.ceil(reach_px), low.shape)
    found = _found(low, template, box, near)
    if found is not None and found[1] >= NEAR_LIKENESS:
        return expected + found[0], found[1], False
    found = _found(low, template, box, Box(0, 0, low.shape[1], low.shape[0]))
    if found is None or found[1] < WIDE_LIKENESS:
        return None
    return expected + found[0], found[1], True


def _found(low: Floats, template: Floats, box: Box, where: Box) -> tuple[Points, float] | None:
    """Look for what was drawn in a part of the low image; gives how far off it stands."""
    width, height = min(box.width, where.width), min(box.height, where.height)
    cut_x, cut_y = (box.width - width) // 2, (box.height - height) // 2
    template = template[cut_y : cut_y + height, cut_x : cut_x + width]
    part = low[where.y : where.y + where.height, where.x : where.x + where.width]
    factor = 2 if min(template.shape) > COARSE_PX else 1
    if min(template.shape) < LEAST_SIDE_PX:
        return None
    centre, likeness = template_shift(_smaller(part, factor), _smaller(template, factor))
    seen = np.array([where.x, where.y]) + (np.array([where.width, where.height]) - 1) / 2
    drawn = np.array([box.x + cut_x, box.y + cut_y]) + (np.array(template.shape[::-1]) - 1) / 2
    return np.asarray(seen + factor * centre - drawn), likeness


def _measure(low: Floats, soft: Floats, model: SessionModel, shift: Points) -> Matches:
    """Draw the field where it lies and measure in blocks what is left."""
    box = within(model, shift, soft.shape, low.shape)
    none = Matches(np.empty((0, 2)), np.empty((0, 2)))
    if min(box.width, box.height) < LEAST_SIDE_PX:
        return none
    drawn, _ = draw(soft, model, shift, box, low.shape)
    part = low[box.y : box.y + box.height, box.x : box.x + box.width]
    side_px = block_side(min(box.width, box.height))
    # where there is tissue enough, a smaller overlap tells nearly as much in half the time
    shifts = block_shifts(part, drawn, side_px=side_px, step_px=3 * side_px // 4)
    if len(shifts) < MANY_BLOCKS:
        shifts = block_shifts(part, drawn, side_px=side_px)
    if not len(shifts):
        return none
    centre = np.array([box.x, box.y]) + (np.array([box.width, box.height]) - 1) / 2
    at = shifts.at_px + centre - _middle(low.shape)
    return Matches(at, model.to_high(at + shifts.shift_px, shift))


def _median_shift(model: SessionModel, matches: Matches, shift: Points) -> Points:
    if not len(matches):
        return np.zeros(2)
    return np.asarray(np.median(model.misfit(matches), axis=0) - shift)


def _map(
    high_shape: tuple[int, ...],
    model: SessionModel,
    shift_px: Points,
    box: Box,
    low_shape: tuple[int, ...],
    scale: int,
) -> Floats:
    """Give where each pixel of a drawing lies in the high image: ``(2, rows, columns)``, x and y.

    Computed at nodes that lie where `cv2.resize` takes them to be, and interpolated between.
    """
    rows, columns = box.height * scale, box.width * scale
    nodes = [(side + NODE_PX - 1) // NODE_PX + 2 for side in (columns, rows)]
    x, y = (NODE_PX * (np.arange(n) - 1) + (NODE_PX - 1) / 2 for n in nodes)
    low_x = box.x + (x + 0.5) / scale - 0.5
    low_y = box.y + (y + 0.5) / scale - 0.5
    v = np.stack(np.meshgrid(low_x, low_y), axis=-1) - _middle(low_shape)
    u = model.to_high(v, np.asarray(shift_px)) + _middle(high_shape)
    size = nodes[0] * NODE_PX, nodes[1] * NODE_PX
    inner = slice(NODE_PX, NODE_PX + rows), slice(NODE_PX, NODE_PX + columns)
    return np.stack(
        [
            cv2.resize(u[..., axis].astype(np.float32), size, interpolation=cv2.INTER_LINEAR)[inner]
            for axis in (0, 1)
        ]
    )


def _inner(
    model: SessionModel, shift_px: Points, high_shape: tuple[int, ...], low_shape: tuple[int, ...]
) -> tuple[Points, Points]:
    """Give the corners of an upright rectangle that a field fills, whatever the low image shows."""
    edge = _outline(high_shape)
    at = model.to_low(edge, shift_px) + _middle(low_shape)
    centre = model.to_low(np.zeros((1, 2)), shift_px)[0] + _middle(low_shape)
    corners = at[[0, 8, 16, 24]] - centre
    reach = np.abs(corners).min(axis=0) - EDGE_PX
    return np.ceil(centre - reach), np.floor(centre + reach) + 1


def _outline(shape: tuple[int, ...]) -> Points:
    """Give 32 points along the edge of an image, from its centre; every eighth is a corner."""
    half = (np.array(shape[1::-1]) - 1) / 2
    t = np.arange(8) / 4 - 1
    sides = [
        np.stack([t, -np.ones(8)], 1),
        np.stack([np.ones(8), t], 1),
        np.stack([-t, np.ones(8)], 1),
        np.stack([-np.ones(8), -t], 1),
    ]
    return np.asarray(np.concatenate(sides) * half)


def _middle(shape: tuple[int, ...]) -> Points:
    return (np.array(shape[1::-1]) - 1) / 2


def _clipped(first: Points, last: Points, shape: tuple[int, ...]) -> Box:
    size = np.array(shape[1::-1])
    low, high = np.clip(first, 0, size).astype(int), np.clip(last, 0, size).astype(int)
    width, height = np.maximum(high - low, 0)
    return Box(int(low[0]), int(low[1]), int(width), int(height))


def _smaller(plane: Floats, factor: int) -> Floats:
    if factor == 1:
        return plane
    rows, columns = (n - n % factor for n in plane.shape)
    size = columns // factor, rows // factor
    return np.asarray(cv2.resize(plane[:rows, :columns], size, interpolation=cv2.INTER_AREA))
