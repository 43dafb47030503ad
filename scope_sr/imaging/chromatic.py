"""Lateral chromatic aberration from ordinary tissue that several fields show at other places.

Red laid on green would measure the stain as well: colours of one slide have edges of their own,
tenths of a pixel apart. So each colour is laid on itself, in two fields that overlap. An image
larger by the fraction e moves by ``(1 + e) d`` between two fields where green moves by d, whatever
the tissue, the dust on the sensor and the stage did: all colours are of the same two exposures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scope_sr.imaging.affine import Overlap
from scope_sr.imaging.robust import robust_lstsq
from scope_sr.imaging.shift import BlockShifts, block_shifts

RED, GREEN, BLUE = 0, 1, 2
LEAST_BLOCKS = 24
SHARED = 4.0  # blocks share half their pixels in x and y, so a quarter of them counts as apart


@dataclass(frozen=True, eq=False)
class Chromatic:
    """How large red and blue are against green.

    Attributes
    ----------
    lateral_chromatic, sigma
        Size of the red and of the blue image against the green, minus 1, and its standard
        deviation.
    shift_px
        ``(2, 2)`` by how much red (first row) and blue stand off green at the image centre, x and
        y: of a prism or of slanting light, but also of the stain and of how the slide was scanned.
    residual_px, blocks
        Scatter of the blocks of red and of blue, and their number.
    moves_px
        For a plot, of red and of blue, ``(n, 2)``: how far green moved between two fields, along
        one axis, and how much farther the colour did.
    """

    lateral_chromatic: tuple[float, float]
    sigma: tuple[float, float]
    shift_px: NDArray[np.float64]
    residual_px: tuple[float, float]
    blocks: tuple[int, int]
    moves_px: tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class _Size:
    """Size of one colour against green, minus 1; its sigma, scatter, blocks and their moves."""

    value: float
    sigma: float
    residual_px: float
    blocks: int
    moves_px: NDArray[np.float64]


def chromatic(
    images: Sequence[NDArray], overlaps: Sequence[Overlap], *, side_px: int = 64
) -> Chromatic:
    """Measure the lateral chromatic aberration of an objective.

    Parameters
    ----------
    images
        Fields of tissue, ``(row, column, 3)`` RGB in grey levels of 8 bits.
    overlaps
        What they show in common, as for :func:`scope_sr.imaging.affine.lay_out`; the farther the
        fields stand apart, the more it tells.
    side_px
        Of a block.

    Raises
    ------
    ValueError
        The fields have too little tissue in common.
    """
    if any(image.ndim != 3 for image in images):
        msg = "lateral chromatic aberration needs colour images"
        raise ValueError(msg)
    linked = [overlap for overlap in overlaps if len(overlap.shifts)]
    in_green = [_moved(images, overlap, GREEN, side_px) for overlap in linked]
    sizes, shifts = [], []
    for channel in (RED, BLUE):
        in_color = [_moved(images, overlap, channel, side_px) for overlap in linked]
        sizes.append(_size(in_green, in_color, "blue" if channel == BLUE else "red"))
        shifts.append(_shift_px(images, channel, sizes[-1].value, side_px))
    red, blue = sizes
    return Chromatic(
        lateral_chromatic=(red.value, blue.value),
        sigma=(red.sigma, blue.sigma),
        shift_px=np.array(shifts),
        residual_px=(red.residual_px, blue.residual_px),
        blocks=(red.blocks, blue.blocks),
        moves_px=(red.moves_px, blue.moves_px),
    )


def _moved(images: Sequence[NDArray], overlap: Overlap, channel: int, side_px: int) -> BlockShifts:
    """Measure an overlap in one colour; the same blocks are tried in each."""
    first, second = (images[i][..., channel] for i in (overlap.first, overlap.second))
    expected_px = np.median(overlap.shifts.shift_px, axis=0)
    return block_shifts(first, second, expected_px, side_px=side_px)


def _size(in_green: Sequence[BlockShifts], in_color: Sequence[BlockShifts], color: str) -> _Size:
    """Fit ``shift of a colour - shift of green = size * shift of green``."""
    pairs = [_common(*both) for both in zip(in_green, in_color, strict=True)]
    green, other = (np.concatenate([p[i] for p in pairs] or [np.empty((0, 2))]) for i in (0, 1))
    if len(green) < LEAST_BLOCKS:
        msg = (
            f"{len(green)} blocks of {len(pairs)} overlaps show tissue in green and in {color};"
            f" {LEAST_BLOCKS} are needed"
        )
        raise ValueError(msg)
    moves_px = np.column_stack([green.T.ravel(), (other - green).T.ravel()])
    fit = robust_lstsq(moves_px[:, :1], moves_px[:, 1])
    sigma = fit.sigma * math.sqrt(fit.covariance[0, 0] * SHARED)
    return _Size(float(fit.solution[0]), sigma, fit.sigma, len(green), moves_px)


def _common(
    green: BlockShifts, other: BlockShifts
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pick the shifts of the blocks measured in both colours."""
    found = {tuple(at): number for number, at in enumerate(other.at_px.tolist())}
    both = [
        (i, found[tuple(at)]) for i, at in enumerate(green.at_px.tolist()) if tuple(at) in found
    ]
    first, second = np.array(both, int).reshape(-1, 2).T
    return green.shift_px[first], other.shift_px[second]


def _shift_px(
    images: Sequence[NDArray], channel: int, size: float, side_px: int
) -> NDArray[np.float64]:
    """Give the median by which a colour stands off green, its size set aside; nan if unseen."""
    fields = [block_shifts(i[..., GREEN], i[..., channel], side_px=side_px) for i in images]
    off_px = np.concatenate([field.shift_px - size * field.at_px for field in fields])
    return np.asarray(np.median(off_px, axis=0) if len(off_px) else np.full(2, np.nan))
