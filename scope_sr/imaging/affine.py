"""Pixels to µm of the stage: from pictures of overlapping places to an affine and a distortion.

The pictures are laid against each other first, by themselves, which needs no stage and is good to
hundredths of a pixel; only then is the picture's frame compared with where the stage says it was.
What the two disagree by is the stage's scatter, and so the uncertainty comes out by itself.

A pixel offset d looks at ``A g(d)`` from the specimen point at the image centre, with
``g(d) = d (1 + k |d|²/R²)``, R half the diagonal: k is the distortion at the corner.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from scope_sr.imaging.robust import robust_lstsq
from scope_sr.imaging.shift import BlockShifts

Points = NDArray[np.float64]
SHARED = 2.0  # blocks share half their pixels with each neighbour: half of them count as apart
MOST_BLOCKS = 40  # per overlap; more only cost time
LEAST_WIDTH = 0.02  # of a set of places, in its length: below, its width is mere scatter


@dataclass(frozen=True, eq=False)
class Overlap:
    """What two of several pictures show in common: picture numbers, and shifts first to second."""

    first: int
    second: int
    shifts: BlockShifts


@dataclass(frozen=True, eq=False)
class Layout:
    """Pictures laid against each other.

    Attributes
    ----------
    at_px
        ``(n, 2)`` places of the image centres in undistorted pixels, from that of the
        first that is linked; 0 for those that are not.
    distortion, distortion_sigma
        k, and its standard deviation.
    residual_px
        Scatter of the blocks about the layout.
    linked
        ``(n,)`` bool: the largest group of pictures that hang together by what they show.
    """

    at_px: Points
    distortion: float
    distortion_sigma: float
    residual_px: float
    linked: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Affine:
    """µm of the stage per pixel, and how well it is known.

    ``matrix`` (2, 2); ``scale_sigma`` is a fraction, ``rotation_sigma_rad`` an angle;
    ``residuals_um`` (n, 2) is stage minus picture, ``stage_sigma_um`` their scatter per axis.
    """

    matrix: Points
    scale_sigma: float
    rotation_sigma_rad: float
    residuals_um: Points
    stage_sigma_um: float
    outliers: NDArray[np.bool_]

    @property
    def pixel_size_um(self) -> float:
        """Side of a square of the area a pixel covers."""
        return math.sqrt(abs(float(np.linalg.det(self.matrix))))


def bent(offsets_px: NDArray, distortion: float, radius_px: float) -> Points:
    """Apply g: where distorted pixels look, in undistorted ones; offsets ``(..., 2)``."""
    return np.asarray(offsets_px * (1 + distortion * _square(offsets_px, radius_px)))


def straightened(offsets_px: NDArray, distortion: float, radius_px: float) -> Points:
    """Undo :func:`bent`, by iteration.

    >>> there = bent(np.array([[300.0, -200.0]]), 0.002, 724.0)
    >>> bool(np.allclose(straightened(there, 0.002, 724.0), [[300.0, -200.0]], atol=1e-6))
    True
    """
    found = np.asarray(offsets_px, float)
    for _ in range(4):
        found = offsets_px / (1 + distortion * _square(found, radius_px))
    return np.asarray(found)


def radius_px(size_px: tuple[int, ...]) -> float:
    """Give R: half the diagonal of an image (width, height)."""
    return math.hypot(*size_px) / 2


def rough_affine(moves_um: NDArray, shifts_px: NDArray) -> Points:
    """Get a first affine from a few moves and the shifts of the picture they made.

    Tissue shifts against the move of the view: A = -moves / shifts. Good to a percent.

    >>> rough_affine(np.array([[10.0, 0], [0, 10.0]]), np.array([[-20.0, 0], [0, 20.0]]))
    array([[ 0.5,  0. ],
           [ 0. , -0.5]])
    """
    solved = np.linalg.lstsq(-np.asarray(shifts_px, float), np.asarray(moves_um, float), rcond=None)
    return np.asarray(solved[0].T + 0.0)


def lay_out(overlaps: Sequence[Overlap], count: int, size_px: tuple[int, int]) -> Layout:
    """Lay pictures against each other and find their common distortion.

    Tissue at u in picture i and at v in picture j gives ``q_j - q_i - k (h(u) - h(v)) = u - v``
    with ``h(d) = d |d|²/R²``: linear in the places q and in k.

    Raises
    ------
    ValueError
        The overlaps do not hold the pictures together.
    """
    overlaps = [overlap for overlap in overlaps if len(overlap.shifts)]
    linked = _linked(overlaps, count)
    if linked.sum() < 2:
        msg = "no two pictures show the same tissue"
        raise ValueError(msg)
    number = np.where(linked, np.cumsum(linked) - 2, -1)  # the first stands at 0: no unknown
    unknowns = 2 * (int(linked.sum()) - 1) + 1
    designs, values = [], []
    for overlap in overlaps:
        if not linked[overlap.first]:
            continue
        design, value = _rows(overlap, number, unknowns, radius_px(size_px))
        designs.append(design)
        values.append(value)
    fit = robust_lstsq(np.concatenate(designs), np.concatenate(values))
    places = np.zeros((count, 2))
    places[linked] = np.concatenate([np.zeros(2), fit.solution[:-1]]).reshape(-1, 2)
    k_sigma = fit.sigma * math.sqrt(fit.covariance[-1, -1] * SHARED)
    return Layout(places, float(fit.solution[-1]), k_sigma, fit.sigma, linked)


def fit_affine(at_px: NDArray, stage_um: NDArray) -> Affine:
    """Compare the picture's frame with the stage's: robust least squares with its uncertainty.

    Parameters
    ----------
    at_px
        ``(n, 2)`` from :func:`lay_out`.
    stage_um
        ``(n, 2)`` where the stage was sent.

    Raises
    ------
    ValueError
        Fewer than four places, or all in one line.
    """
    at_px, stage_um = np.asarray(at_px, float), np.asarray(stage_um, float)
    if len(at_px) < 4:
        msg = f"{len(at_px)} places are too few for an affine and its uncertainty"
        raise ValueError(msg)
    around = at_px - at_px.mean(axis=0)
    long, short = np.linalg.svd(around, compute_uv=False)
    if short < LEAST_WIDTH * long:
        msg = "the places lie in one line, which tells nothing of the other direction"
        raise ValueError(msg)
    design = np.column_stack([around, np.ones(len(at_px))])
    fit = robust_lstsq(design, stage_um)
    matrix = fit.solution[:2].T
    scale, rotation = _relative_sigmas(matrix, fit.covariance[:2, :2] * fit.sigma**2)
    return Affine(matrix, scale, rotation, fit.residuals, fit.sigma, fit.outliers)


def rotation_rad(matrix: NDArray) -> float:
    """Give the angle of an affine against the nearest mounting in quarter turns and flips."""
    axis = math.atan2(matrix[1, 0], matrix[0, 0])
    down = math.atan2(matrix[1, 1], matrix[0, 1])
    quarter = math.pi / 2
    return float(np.mean([a - round(a / quarter) * quarter for a in (axis, down)]))


def shear_rad(matrix: NDArray) -> float:
    """Give by how much rows and columns are not at right angles."""
    x, y = matrix[:, 0], matrix[:, 1]
    return float(math.asin(x @ y / (math.hypot(*x) * math.hypot(*y))))


def _square(offsets_px: NDArray, radius: float) -> NDArray:
    return np.asarray((np.asarray(offsets_px) ** 2).sum(axis=-1, keepdims=True) / radius**2)


def _rows(
    overlap: Overlap, number: NDArray[np.int_], unknowns: int, radius: float
) -> tuple[Points, Points]:
    """Lay out the equations of one overlap: those in x, then those in y."""
    every = max(1, len(overlap.shifts) // MOST_BLOCKS)
    u, v = overlap.shifts.at_px[::every], overlap.shifts.to_px[::every]
    bend = v * _square(v, radius) - u * _square(u, radius)
    design = np.zeros((2, len(u), unknowns))
    for axis in (0, 1):
        for picture, sign in ((overlap.second, 1.0), (overlap.first, -1.0)):
            if number[picture] >= 0:
                design[axis, :, 2 * number[picture] + axis] = sign
        design[axis, :, -1] = bend[:, axis]
    return design.reshape(-1, unknowns), (u - v).T.ravel()


def _linked(overlaps: Sequence[Overlap], count: int) -> NDArray[np.bool_]:
    """Mark the largest group of pictures that hang together."""
    pairs = np.array([(overlap.first, overlap.second) for overlap in overlaps]).reshape(-1, 2)
    graph = coo_array((np.ones(len(pairs)), pairs.T), shape=(count, count))
    _, group = connected_components(graph, directed=False)
    return np.asarray(group == np.argmax(np.bincount(group)))


def _relative_sigmas(matrix: Points, covariance: Points) -> tuple[float, float]:
    """Propagate the covariance of one row of an affine into its scale and its rotation."""
    inverse = np.linalg.inv(matrix)
    # d(scale)/scale = tr(A⁻¹ dA) / 2, and the turn is the odd part of dA A⁻¹
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]]) @ inverse.T
    scale, rotation = (
        math.sqrt(sum(float(row @ covariance @ row) for row in weights))
        for weights in (inverse.T / 2, turn / 2)
    )
    return scale, rotation
