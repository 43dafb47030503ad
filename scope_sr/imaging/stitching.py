"""Fields of one objective laid side by side and put together to one picture.

Fields are moved, never resampled: each pixel of the mosaic is a pixel of one field, except in the
narrow seams. Neighbours are linked by what their overlap shows; where it shows too little, the
stage has the word, read through the map on which links and stage agree best (as in ashlar, Muhlich
et al., Bioinformatics 38:4613, 2022, which keeps a spanning tree of the links; here all count).

Corners are the upper left pixels (x, y) of fields, in px.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array, diags_array
from scipy.sparse.linalg import splu

from scope_sr.imaging.robust import CAUCHY, scatter
from scope_sr.imaging.shift import LEAST_SIDE_PX, block_shifts, wide_shift

Points = NDArray[np.float64]

LEAST_OVERLAP_PX = 12  # narrower ones hold no block that tells a shift
LONG_SIDE = 0.5  # of a field, at least: where only corners meet, the sides tell it better
LEAST_LIKENESS = 0.3  # of whitened overlaps: true ones reach 0.6 to 0.95, others 0.15
SIDES_PX = (LEAST_SIDE_PX, 64)  # of blocks: no larger than the overlap is wide
SHARED = 2.0  # blocks share half their pixels with each neighbour: half of them count as apart
LEAST_BLOCKS, MOST_AWAY_PX = 2, 1.0  # from their median; chance scatters them by 3 px either way
LINK_SIGMA_PX, BLOCK_SIGMA_PX = 0.05, 0.15  # at best: a few blocks may agree by chance
WRONG_PX = 1.0  # a link that is off by more against all others is none
ROUNDS = 20  # the first halve the width of the weights
SEAM_PX = 9
WHITE = 255


class Pixels(Protocol):
    """What can be cut like an array, ``(row, column, channel)``, and need not lie in memory."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows, columns, channels."""

    @property
    def dtype(self) -> np.dtype:
        """Of its numbers."""

    def __getitem__(self, where: tuple[slice, slice]) -> NDArray: ...


@dataclass(frozen=True, eq=False)
class Link:
    """What the overlap of two fields says of their places.

    Attributes
    ----------
    first, second
        Numbers of the fields.
    between_px
        ``(2,)`` corner of the second minus that of the first, on the mean over the blocks.
    sigma_px, scatter_px
        Standard deviation of `between_px` per axis, and of the blocks about it: distortion of the
        lens is in it, since it changes along a seam.
    likeness
        Correlation of the overlap, 0..1.
    """

    first: int
    second: int
    between_px: Points
    sigma_px: float
    scatter_px: float
    likeness: float


@dataclass(frozen=True, eq=False)
class Places:
    """Where fields lie.

    Attributes
    ----------
    corners_px
        ``(n, 2)``, in the stage's frame of the corners expected.
    used
        ``(links,)`` bool: the others contradict the rest.
    residual_px
        ``(links, 2)`` link minus places.
    linked
        ``(n,)`` bool: held by a link; the others stand where the stage says.
    stage_sigma_px
        How far the stage is off, per axis.
    """

    corners_px: Points
    used: NDArray[np.bool_]
    residual_px: Points
    linked: NDArray[np.bool_]
    stage_sigma_px: float


def neighbours(corners_px: NDArray, size_px: tuple[int, int]) -> list[tuple[int, int]]:
    """Give the pairs of fields that overlap along a side, the earlier field of a pair first.

    Parameters
    ----------
    corners_px
        ``(n, 2)``, as far as known.
    size_px
        Width and height of a field.

    Examples
    --------
    >>> neighbours(np.array([[0, 0], [85, 0], [0, 80], [85, 80]]), (100, 100))
    [(0, 1), (0, 2), (1, 3), (2, 3)]
    """
    corners, size = np.asarray(corners_px, float), np.array(size_px)
    pairs = []
    for first in range(len(corners) - 1):
        shared = size - np.abs(corners[first + 1 :] - corners[first])
        along = (shared >= LEAST_OVERLAP_PX).all(axis=1) & (shared >= LONG_SIDE * size).any(axis=1)
        pairs += [(first, first + 1 + int(other)) for other in np.flatnonzero(along)]
    return pairs


def link(
    pair: tuple[int, int], first: NDArray, second: NDArray, expected_px: NDArray, reach_px: float
) -> Link | None:
    """Measure how two fields lie to each other, by their overlap.

    It is looked for within the reach of where it is expected, then measured in blocks.

    Parameters
    ----------
    pair
        Numbers of the fields.
    first, second
        ``(row, column)`` planes of one size, in grey levels of 8 bits, flat-corrected.
    expected_px
        ``(2,)`` corner of the second minus that of the first.
    reach_px
        How far that may be off, in x and in y.

    Returns
    -------
    Link or None
        None where the overlap shows too little: glass, another focus, or another place.
    """
    expected, reach = np.rint(expected_px).astype(int), math.ceil(reach_px)
    first_at, first_part = _side(first, expected, reach)
    second_at, second_part = _side(second, -expected, reach)
    apart = first_at - second_at
    shift, likeness = wide_shift(first_part, second_part, apart - expected, reach)
    if likeness < LEAST_LIKENESS:
        return None
    narrow = min(first_part.shape[::-1] - np.abs(np.rint(shift)))
    blocks = block_shifts(first_part, second_part, shift, side_px=int(np.clip(narrow, *SIDES_PX)))
    if len(blocks) < LEAST_BLOCKS:
        return None
    away_px = np.hypot(*(blocks.shift_px - np.median(blocks.shift_px, axis=0)).T)
    inside = blocks.shift_px[away_px < MOST_AWAY_PX]
    if len(inside) < max(LEAST_BLOCKS, len(blocks) / 2):
        return None
    mean, scatter_px = inside.mean(axis=0), float(np.sqrt(inside.var(axis=0).mean()))
    block_px = max(scatter_px, BLOCK_SIGMA_PX)
    sigma_px = math.hypot(LINK_SIGMA_PX, block_px * math.sqrt(SHARED / len(inside)))
    return Link(*pair, apart - mean, sigma_px, scatter_px, likeness)


def placed(
    stage_px: NDArray, links: Sequence[Link], stage_sigma_px: float, map_sigma: float
) -> Places:
    """Lay fields out by their links and by the stage, which also holds what nothing links.

    Least squares over places q and a linear map M near 1: a link says ``q_j - q_i``, the stage
    says ``q = M s``. Cauchy's weights, narrowing round by round, take their say from false links.

    Parameters
    ----------
    stage_px
        ``(n, 2)`` corners by the stage.
    links
        Of neighbours; none will do.
    stage_sigma_px
        How far the stage is off at least, per axis; more where links say so.
    map_sigma
        By what share the map from stage to pixels may be off.
    """
    stage = np.asarray(stage_px, float)
    middle, count = stage.mean(axis=0), len(stage)
    design, values = _equations(stage - middle, links)
    of_links, of_stage = slice(0, len(links)), slice(len(links), len(links) + count)
    linked = _linked(links, count)
    known = [*[stage_sigma_px] * count, map_sigma, map_sigma]
    sigmas = np.array([*(one.sigma_px for one in links), *known])
    solution = np.concatenate([stage - middle, np.zeros((2, 2))])
    residuals = values - design @ solution
    width_px = scatter(residuals[of_links])
    for _ in range(ROUNDS):
        sigmas[of_stage] = max(stage_sigma_px, scatter(residuals[of_stage][linked]))
        widths = sigmas.copy()
        widths[of_links] = np.maximum(sigmas[of_links], width_px)
        weights = _cauchy(residuals, widths) / sigmas**2
        solution = _solved(design, values, weights)
        residuals = values - design @ solution
        width_px /= 2
    used = np.hypot(*residuals[of_links].T) <= WRONG_PX
    weights[of_links] = used / sigmas[of_links] ** 2
    solution = _solved(design, values, weights)
    return Places(
        corners_px=solution[:count] + middle,
        used=used,
        residual_px=(values - design @ solution)[of_links],
        linked=_linked([one for one, good in zip(links, used, strict=True) if good], count),
        stage_sigma_px=float(sigmas[len(links)]),
    )


def composed(
    pictures: Sequence[Pixels],
    corners_px: NDArray[np.int_],
    shape: tuple[int, int],
    rows: slice,
) -> NDArray:
    """Put a band of rows of a mosaic together.

    Where fields overlap, a pixel belongs to the one in which it lies deepest, so that the seam runs
    half way between neighbours. Fields are blended in a strip of `SEAM_PX` about it; everywhere
    else stand the pixels of one field, unchanged, and white (of float32: 0) where there is none.

    Parameters
    ----------
    pictures
        ``(row, column, channel)`` uint8, or float32; only rows of the band are read.
    corners_px
        ``(n, 2)`` whole numbers, x and y in the mosaic, which the pictures do not leave.
    shape
        Rows and columns of the mosaic.
    rows
        Of the mosaic, with start and stop.

    Returns
    -------
    NDArray
        ``(rows, columns, channel)``. Bands laid one below the other are the mosaic.
    """
    top, bottom = rows.start, rows.stop
    first, last = max(0, top - SEAM_PX // 2), min(shape[0], bottom + SEAM_PX // 2)
    owners = _owners(pictures, corners_px, (first, last), shape[1])
    exact = np.uint16 if pictures[0].dtype == np.uint8 else np.float32
    total = np.zeros((bottom - top, shape[1], *pictures[0].shape[2:]), exact)
    weight = np.zeros((bottom - top, shape[1], 1), np.uint16)
    for number, (picture, corner) in enumerate(zip(pictures, corners_px, strict=True)):
        left, upper = map(int, corner)
        begin, end = max(top, upper), min(bottom, upper + picture.shape[0])
        if begin >= end:
            continue
        columns = slice(left, left + picture.shape[1])
        share = _share(owners[:, columns] == number)[begin - first : end - first]
        if share.any():
            band = slice(begin - top, end - top), columns
            total[band] += share * picture[begin - upper : end - upper, :]
            weight[band] += share
    return _mean(total, weight)


def _mean(total: NDArray, weight: NDArray[np.uint16]) -> NDArray:
    if total.dtype == np.float32:
        return total / np.maximum(weight, 1, dtype=np.float32)
    mean = (total + weight // 2) // np.maximum(weight, 1)
    return np.where(weight > 0, mean, WHITE).astype(np.uint8)


def _side(plane: NDArray, corner: NDArray, reach: int) -> tuple[NDArray[np.int_], NDArray]:
    """Cut out what a field whose corner is given may show too; gives the cut's own corner."""
    size = np.array(plane.shape[::-1])
    start, stop = np.maximum(corner - reach, 0), np.minimum(corner + size + reach, size)
    return start, plane[start[1] : stop[1], start[0] : stop[0]]


def _equations(stage: Points, links: Sequence[Link]) -> tuple[csr_array, Points]:
    """Lay out what links, stage and map say: unknown are n places, then M - 1 (transposed)."""
    count, pairs = len(stage), len(links)
    number, ones = np.arange(count), np.ones(count)
    link_of = np.arange(pairs)
    rows = [link_of, link_of, *[pairs + number] * 3, pairs + count + np.arange(2)]
    columns = [
        np.array([one.second for one in links], int),
        np.array([one.first for one in links], int),
        number,
        count + 0 * number,
        count + 1 + 0 * number,
        count + np.arange(2),
    ]
    entries = [np.ones(pairs), -np.ones(pairs), ones, -stage[:, 0], -stage[:, 1], np.ones(2)]
    where = np.concatenate(rows), np.concatenate(columns)
    shape = (pairs + count + 2, count + 2)
    between = np.reshape([one.between_px for one in links], (pairs, 2))
    values = np.concatenate([between, stage, np.zeros((2, 2))])
    return csr_array(coo_array((np.concatenate(entries), where), shape=shape)), values


def _solved(design: csr_array, values: Points, weights: NDArray) -> Points:
    weighted = diags_array(weights) @ design
    return np.asarray(splu((design.T @ weighted).tocsc()).solve(weighted.T @ values))


def _cauchy(residuals: Points, widths: NDArray) -> NDArray[np.float64]:
    square = (residuals**2).mean(axis=1) / (CAUCHY * widths) ** 2
    return np.asarray(1 / (1 + square))


def _linked(links: Sequence[Link], count: int) -> NDArray[np.bool_]:
    ends = [number for one in links for number in (one.first, one.second)]
    return np.isin(np.arange(count), ends)


def _owners(
    pictures: Sequence[Pixels], corners: NDArray, rows: tuple[int, int], columns: int
) -> NDArray[np.int32]:
    """Say for each pixel of a band in which field it lies deepest; -1 where it lies in none."""
    first, last = rows
    owners = np.full((last - first, columns), -1, np.int32)
    depth = np.zeros(owners.shape, np.float32)
    for number, (picture, corner) in enumerate(zip(pictures, corners, strict=True)):
        left, upper = map(int, corner)
        height, width = picture.shape[:2]
        begin, end = max(first, upper), min(last, upper + height)
        if begin >= end:
            continue
        where = slice(begin - first, end - first), slice(left, left + width)
        # a product, as of the weights of a bilinear interpolation: the least distance alone is
        # the same for two neighbours all along an edge they share
        own = np.outer(_depth(height)[begin - upper : end - upper], _depth(width))
        deeper = own > depth[where]
        depth[where][deeper], owners[where][deeper] = own[deeper], number
    return owners


def _depth(size: int) -> NDArray[np.float32]:
    """Give how deep pixels lie along one side.

    >>> _depth(5).tolist()
    [1.0, 2.0, 3.0, 2.0, 1.0]
    """
    at = np.arange(size)
    return np.minimum(at + 1, size - at).astype(np.float32)


def _share(mine: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """Count the pixels of one field's own about each; ``(row, column, 1)``."""
    window = (SEAM_PX, SEAM_PX)
    counts = cv2.boxFilter(
        mine.astype(np.uint8), cv2.CV_16U, window, normalize=False, borderType=cv2.BORDER_CONSTANT
    )
    return np.asarray(counts, np.uint16)[..., None]
