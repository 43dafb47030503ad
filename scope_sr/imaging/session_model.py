"""One map for all fields of a session: what they share is fitted once, each has only its shift.

A pixel offset u of a high image and the offset v of its low image at which the same tissue is seen
obey, with h(d) = d (1 + k |d|²/R²) as in :mod:`scope_sr.imaging.affine`::

    h_low(v) + P_low(v) = L h_high(u) + P_high(u) + s

L (2x2), both k and the polynomials P of degree 2 and 3 in sensor coordinates belong to the session,
the shift s to the field. Fitting an affine to each field alone leaves the distortion of both
lenses, 0.1 px; a free cubic for each field runs away where there is little tissue
(notes/acquisition.md 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scope_sr.imaging.affine import bent, straightened
from scope_sr.imaging.robust import CAUCHY, scatter

Points = NDArray[np.float64]

ROUNDS = 12
TERMS = 7  # x², xy, y², x³, x²y, xy², y³
LINEAR = 2
BEND_PX = 0.03
FLOOR_PX = 0.004  # of low pixels: no block is better than that
SHARED = 4.0  # blocks share half their pixels in x and y, so a quarter of them counts as apart
FEW = 24  # blocks; a field with fewer does not help to fit what all share


@dataclass(frozen=True, eq=False)
class Lens:
    """A camera behind an objective: half the diagonal R of its image in px, and the k of h."""

    radius_px: float
    distortion: float


@dataclass(frozen=True, eq=False)
class Matches:
    """Blocks of one field: offsets ``(n, 2)`` in the low and in the high image, in px."""

    low_px: Points
    high_px: Points

    def __len__(self) -> int:
        return len(self.low_px)


@dataclass(frozen=True, eq=False)
class SessionModel:
    """What all fields of a session share.

    Attributes
    ----------
    linear
        L, ``(2, 2)``, low pixels per high pixel.
    low, high
        The lenses as they were calibrated.
    low_bend, high_bend
        ``(7, 2)`` coefficients of P_low and P_high in low pixels, of offsets divided by R: what was
        not in the calibration.
    free_px
        By how many low pixels, at the corner, the radial distortions may differ from what was
        calibrated: they are held to that.
    residual_px
        Scatter of the blocks, in low pixels.
    blocks
        How many it was fitted to; 0 for a model that was only calibrated.
    """

    linear: Points
    low: Lens
    high: Lens
    low_bend: Points
    high_bend: Points
    free_px: float = 1.0
    residual_px: float = 0.0
    blocks: int = 0

    @classmethod
    def calibrated(cls, linear: Points, low: Lens, high: Lens, free_px: float) -> SessionModel:
        """Take the calibration's word."""
        none = np.zeros((TERMS, 2))
        return cls(np.asarray(linear, float), low, high, none, none, free_px)

    def to_high(self, low_px: Points, shift_px: Points) -> Points:
        """Give the offsets ``(..., 2)`` of the high image that show what is seen at `low_px`."""
        low_px = np.asarray(low_px, float)
        back = np.linalg.inv(self.linear).T
        wanted = self._flat_low(low_px) - shift_px
        found = straightened(wanted @ back, self.high.distortion, self.high.radius_px)
        if not self.high_bend.any():
            return found
        for _ in range(3):
            flat = (wanted - _bend(found / self.high.radius_px, self.high_bend)) @ back
            found = straightened(flat, self.high.distortion, self.high.radius_px)
        return found

    def to_low(self, high_px: Points, shift_px: Points) -> Points:
        """Give the offsets of the low image at which `high_px` ``(..., 2)`` of the high is seen."""
        wanted = self._flat_high(np.asarray(high_px, float)) + shift_px
        found = straightened(wanted, self.low.distortion, self.low.radius_px)
        for _ in range(3):
            flat = wanted - _bend(found / self.low.radius_px, self.low_bend)
            found = straightened(flat, self.low.distortion, self.low.radius_px)
        return found

    def misfit(self, matches: Matches) -> Points:
        """Give, per block, the shift it asks for: ``(n, 2)`` in low pixels."""
        return self._flat_low(matches.low_px) - self._flat_high(matches.high_px)

    def _flat_low(self, low_px: Points) -> Points:
        flat = bent(low_px, self.low.distortion, self.low.radius_px)
        return np.asarray(flat + _bend(low_px / self.low.radius_px, self.low_bend))

    def _flat_high(self, high_px: Points) -> Points:
        flat = bent(high_px, self.high.distortion, self.high.radius_px) @ self.linear.T
        return np.asarray(flat + _bend(high_px / self.high.radius_px, self.high_bend))


def fit_session(fields: Sequence[Matches], start: SessionModel) -> SessionModel:
    """Fit what all fields share, by reweighted least squares with Cauchy's weights.

    The shift of each field drops out by taking its mean from all its equations, so the cost grows
    with the blocks and not with the fields. The polynomials are held to zero by what a lens may
    bend: where the blocks do not tell, they stay what was calibrated.

    Parameters
    ----------
    fields
        Blocks of each field; those of fields with fewer than 24 are left out.
    start
        The calibration's word, or an earlier fit.

    Returns
    -------
    SessionModel
        `start` itself where no field has enough blocks.
    """
    fields = [matches for matches in fields if len(matches) >= FEW]
    if not fields:
        return start
    owner = np.repeat(np.arange(len(fields)), [len(matches) for matches in fields])
    low = np.concatenate([matches.low_px for matches in fields])
    high = np.concatenate([matches.high_px for matches in fields])
    flat_low = bent(low, start.low.distortion, start.low.radius_px)
    per_axis = [_columns(low, high, start, axis) for axis in (0, 1)]
    held = np.repeat(
        [0.0, BEND_PX, 0.0, BEND_PX, start.free_px], [LINEAR, 2 * TERMS, LINEAR, 2 * TERMS, 2]
    )
    weights = np.ones(len(low))
    sigma = 0.05
    for _ in range(ROUNDS):
        hold = np.divide(SHARED * sigma**2, held**2, out=np.zeros_like(held), where=held > 0)
        solution, residuals = _solved(per_axis, flat_low, weights, owner, hold)
        length = np.sqrt((residuals**2).mean(axis=1))
        sigma = max(scatter(residuals), FLOOR_PX)
        weights = 1 / (1 + (length / (CAUCHY * sigma)) ** 2)
    return _refined(start, solution, sigma, len(low))


def _columns(low: Points, high: Points, start: SessionModel, axis: int) -> Points:
    """Give what multiplies the unknowns in the equations of one axis, ``(n, 18)``.

    A row of L, both polynomials, and both radial distortions in low pixels at the corner.
    """
    u, v = high / start.high.radius_px, low / start.low.radius_px
    radial_high = (u @ start.linear.T)[:, axis] * (u**2).sum(axis=1) / _ratio(start)
    radial_low = -v[:, axis] * (v**2).sum(axis=1)
    flat_high = bent(high, start.high.distortion, start.high.radius_px)
    return np.column_stack([flat_high, _terms(u), -_terms(v), radial_high, radial_low])


def _ratio(model: SessionModel) -> float:
    """Give low pixels per high pixel."""
    return float(np.sqrt(abs(np.linalg.det(model.linear))))


def _refined(start: SessionModel, solution: Points, sigma: float, blocks: int) -> SessionModel:
    """Put the unknowns where they belong."""
    own = LINEAR + 2 * TERMS
    rows = [solution[axis * own : (axis + 1) * own] for axis in (0, 1)]
    radial_high, radial_low = solution[2 * own :]
    high_k = radial_high / (start.high.radius_px * _ratio(start))
    low_k = radial_low / start.low.radius_px
    return SessionModel(
        linear=np.stack([row[:LINEAR] for row in rows]),
        low=Lens(start.low.radius_px, start.low.distortion + float(low_k)),
        high=Lens(start.high.radius_px, start.high.distortion + float(high_k)),
        high_bend=np.stack([row[LINEAR : LINEAR + TERMS] for row in rows], axis=1),
        low_bend=np.stack([row[LINEAR + TERMS :] for row in rows], axis=1),
        free_px=start.free_px,
        residual_px=sigma,
        blocks=blocks,
    )


def shift_of(model: SessionModel, matches: Matches) -> tuple[Points, Points]:
    """Find the shift of one field, the only thing of it that is free.

    Returns
    -------
    shift
        ``(2,)`` low pixels; Cauchy's mean of what the blocks ask for.
    residuals
        ``(n, 2)`` what it leaves of them.
    """
    asked = model.misfit(matches)
    shift = np.median(asked, axis=0)
    for _ in range(ROUNDS):
        residuals = asked - shift
        sigma = max(scatter(residuals), FLOOR_PX)
        weights = 1 / (1 + (residuals**2).mean(axis=1) / (CAUCHY * sigma) ** 2)
        shift = (asked * weights[:, None]).sum(axis=0) / weights.sum()
    return shift, np.asarray(asked - shift)


def _solved(
    per_axis: list[Points],
    values: Points,
    weights: Points,
    owner: NDArray[np.int_],
    hold: Points,
) -> tuple[Points, Points]:
    """Solve the weighted, held equations of both axes, the mean of each field taken off."""
    first = np.concatenate([[0], np.flatnonzero(np.diff(owner)) + 1])
    total = np.add.reduceat(weights, first)

    def centred(columns: Points) -> Points:
        mean = np.add.reduceat(columns * weights[:, None], first) / total[:, None]
        return np.asarray(columns - mean[owner])

    own = LINEAR + 2 * TERMS
    normal, wanted = np.diag(hold), np.zeros(len(hold))
    inner, target = [centred(design) for design in per_axis], centred(values)
    where = [np.r_[axis * own : (axis + 1) * own, 2 * own, 2 * own + 1] for axis in (0, 1)]
    for axis in (0, 1):
        weighted = inner[axis] * weights[:, None]
        normal[np.ix_(where[axis], where[axis])] += weighted.T @ inner[axis]
        wanted[where[axis]] += weighted.T @ target[:, axis]
    solution = np.linalg.solve(normal, wanted)
    left = [target[:, axis] - inner[axis] @ solution[where[axis]] for axis in (0, 1)]
    return np.asarray(solution), np.stack(left, axis=1)


def _terms(at: Points) -> Points:
    """Give x², xy, y², x³, x²y, xy², y³ of ``(..., 2)`` as ``(..., 7)``."""
    x, y = at[..., 0], at[..., 1]
    return np.stack([x * x, x * y, y * y, x**3, x * x * y, x * y * y, y**3], axis=-1)


def _bend(at: Points, coefficients: Points) -> Points:
    return np.asarray(_terms(at) @ coefficients)
