"""The surface on which a slide is in focus, laid through what autofocus found at a few places."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scope_sr.errors import InputError

Values = NDArray[np.float64]

QUADRATIC_FROM = 9  # points; below, a plane
RELIEF_FROM = 16  # points; below, nothing but the quadratic can be told from noise
RELIEF_MM = 1.5  # over this distance the relief of tissue forgets itself
RELIEF_TO_NOISE = 1.0  # variance of the relief over that of one autofocus
LEAST_SPREAD = 0.02  # smallest over largest singular value: below, points lie on a line or two
LEAST_SIGMA_UM = 0.05  # focus drives repeat no better
OUTLIER_SIGMAS = 4.5


@dataclass(frozen=True)
class FocusSurface:
    """The height at which the slide is in focus: a polynomial of x and y, and the relief on it.

    Made of plain numbers, so that it can be written down.

    Attributes
    ----------
    centre_um
        Middle of the points, from which everything is reckoned.
    coefficients
        Of 1, x, y and, for a quadratic, x², xy, y²; x and y in mm from the centre, z in µm.
    knots_mm, weights_um
        Where and by how much the relief was met: Matérn 3/2 bumps; none for few points.
    sigma_um
        Robust standard deviation of each point from the surface of the others, its own autofocus
        noise included; None where no point can be spared.
    outliers
        One per point, in their order: True where it was left out.
    """

    centre_um: tuple[float, float]
    coefficients: tuple[float, ...]
    knots_mm: tuple[tuple[float, float], ...]
    weights_um: tuple[float, ...]
    sigma_um: float | None
    outliers: tuple[bool, ...]

    def at(self, xy_um: ArrayLike) -> Values:
        """Give the focus in µm, shape (...), at places of shape (..., 2) in µm.

        Far outside its points a quadratic is no more than a guess.
        """
        mm = (np.asarray(xy_um, np.float64) - self.centre_um) / 1000
        flat = mm.reshape(-1, 2)
        z_um = _powers(flat, len(self.coefficients)) @ np.array(self.coefficients)
        if self.knots_mm:
            z_um = z_um + _bumps(flat, np.array(self.knots_mm)) @ np.array(self.weights_um)
        return np.asarray(z_um.reshape(mm.shape[:-1]))

    @property
    def tilt_um_per_mm(self) -> tuple[float, float]:
        """Slope along x and along y, in the middle of the points and without the relief."""
        return self.coefficients[1], self.coefficients[2]


def fit_surface(
    xy_um: ArrayLike, z_um: ArrayLike, sigma_um: ArrayLike | None = None
) -> FocusSurface:
    """Lay a surface through autofocus results, as bent as their number allows, without outliers.

    Three points give a plane, nine a quadratic, sixteen a quadratic and the relief on it (universal
    kriging with a Matérn 3/2 covariance). A point is an outlier if it lies 4.5 robust standard
    deviations off the surface of the others.

    Parameters
    ----------
    xy_um, z_um
        Shape (points, 2) and (points,).
    sigma_um
        Standard errors, shape (points,). One worse than most counts less; one better counts no
        more, since the relief of tissue is the same for all.

    Raises
    ------
    InputError
        Fewer than three points, or all on one line.

    References
    ----------
    O. Dubrule, Cross validation of kriging in a unique neighborhood, Math. Geology 15 (1983) 687.

    Examples
    --------
    >>> surface = fit_surface([[0, 0], [1000, 0], [0, 2000]], [1.0, 3.0, 1.0])
    >>> float(surface.at([500.0, 100.0]).round(6)), round(surface.tilt_um_per_mm[0], 6)
    (2.0, 2.0)
    """
    xy, z = np.asarray(xy_um, np.float64).reshape(-1, 2), np.asarray(z_um, np.float64)
    sigma = np.ones(len(z)) if sigma_um is None else np.asarray(sigma_um, np.float64)
    centre_um = xy.mean(axis=0) if len(xy) else np.zeros(2)
    mm = (xy - centre_um) / 1000
    usual = max(float(np.median(sigma)), np.finfo(float).tiny) if len(z) else 1.0
    points = _Points(mm, z, np.maximum(sigma / usual, 1.0) ** 2)
    kept = _inliers(points)
    solved = _solve(points.only(kept), _terms(mm[kept]))
    spared = int(kept.sum()) > solved.terms
    return FocusSurface(
        centre_um=(float(centre_um[0]), float(centre_um[1])),
        coefficients=tuple(solved.coefficients.tolist()),
        knots_mm=tuple((float(x), float(y)) for x, y in mm[kept]) if solved.relief else (),
        weights_um=tuple((RELIEF_TO_NOISE * solved.weights).tolist()) if solved.relief else (),
        sigma_um=_robust_sigma(solved.left_out_um) if spared else None,
        outliers=tuple((~kept).tolist()),
    )


@dataclass(frozen=True, eq=False)
class _Points:
    """Places in mm from their middle, heights in µm, noise variance (1 is usual)."""

    mm: Values
    z_um: Values
    noise: Values

    def only(self, kept: NDArray[np.bool_]) -> _Points:
        return _Points(self.mm[kept], self.z_um[kept], self.noise[kept])


@dataclass(frozen=True, eq=False)
class _Solved:
    """Kriging weights and what follows from the inverse of the bordered matrix."""

    points: _Points
    terms: int
    relief: bool
    inverse: Values
    weights: Values
    coefficients: Values

    @property
    def left_out_um(self) -> Values:
        """Each point minus the surface of the others (Dubrule's short cut)."""
        return self.weights / self._diagonal

    @property
    def left_out_sigmas(self) -> Values:
        """The same over its standard deviation, which is known but for a common factor."""
        return self.weights / np.sqrt(self._diagonal)

    @property
    def _diagonal(self) -> Values:
        diagonal = np.diag(self.inverse)[: len(self.weights)]
        return np.asarray(np.maximum(diagonal, np.finfo(float).eps))

    def sigmas_off(self, others: _Points) -> Values:
        """How far points that had no part in it lie off, likewise."""
        known = _powers(others.mm, self.terms)
        reach = RELIEF_TO_NOISE * _bumps(others.mm, self.points.mm) * self.relief
        row = np.hstack([reach, known])
        expected = row @ np.concatenate([self.weights, self.coefficients])
        variance = RELIEF_TO_NOISE * self.relief + others.noise
        variance = variance - np.einsum("ij,jk,ik->i", row, self.inverse, row)
        return np.asarray((others.z_um - expected) / np.sqrt(np.maximum(variance, 1e-9)))


def _powers(mm: Values, terms: int) -> Values:
    x, y = mm[:, 0], mm[:, 1]
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y][:terms], 1)


def _bumps(mm: Values, knots_mm: Values) -> Values:
    """Matérn 3/2 correlation between places, shape (places, knots)."""
    apart = np.linalg.norm(mm[:, None] - knots_mm[None], axis=2) * (math.sqrt(3) / RELIEF_MM)
    return np.asarray((1 + apart) * np.exp(-apart))


def _terms(mm: Values) -> int:
    """Terms of the polynomial that the points can tell apart."""
    if len(mm) >= QUADRATIC_FROM and _spread(mm, 6) >= LEAST_SPREAD:
        return 6
    if len(mm) < 3 or _spread(mm, 3) < LEAST_SPREAD:
        msg = (
            f"a focus surface needs three points or more that are not on one line, not {len(mm)}"
            " in such a place; focus at more places, farther apart"
        )
        raise InputError(msg)
    return 3


def _spread(mm: Values, terms: int) -> float:
    extent_mm = max(float(np.abs(mm).max()), 1e-9)
    singular = np.linalg.svd(_powers(mm / extent_mm, terms), compute_uv=False)
    return float(singular[-1] / singular[0])


def _solve(points: _Points, terms: int) -> _Solved:
    """Universal kriging; without relief it is weighted least squares."""
    count = len(points.z_um)
    relief = terms == 6 and count >= RELIEF_FROM
    known = _powers(points.mm, terms)
    covariance = np.diag(points.noise)
    if relief:
        covariance = covariance + RELIEF_TO_NOISE * _bumps(points.mm, points.mm)
    matrix = np.block([[covariance, known], [known.T, np.zeros((terms, terms))]])
    inverse = np.linalg.inv(matrix)
    solution = inverse[:, :count] @ points.z_um
    return _Solved(points, terms, relief, inverse, solution[:count], solution[count:])


def _inliers(points: _Points) -> NDArray[np.bool_]:
    """Tell the points that belong together from the outliers, begun from both polynomials.

    An outlier bends a quadratic toward itself, so that it hides and good points stand out; a bow
    does that to a plane. The start after which most points agree is the better one.
    """
    count, terms = len(points.z_um), _terms(points.mm)
    if count < 5:  # with one of four left out, any three agree
        return np.ones(count, np.bool_)
    starts = {_robust_start(points, polynomial).tobytes() for polynomial in {3, terms}}
    verdicts = [_settle(points, np.frombuffer(start, np.bool_), terms) for start in sorted(starts)]
    return min(verdicts, key=lambda verdict: verdict[1])[0]


def _settle(
    points: _Points, kept: NDArray[np.bool_], terms: int
) -> tuple[NDArray[np.bool_], float]:
    """Judge each point by the surface of those kept until the verdicts stay; and their scatter."""
    off = np.empty(len(kept))
    for _ in range(10):
        solved = _solve(points.only(kept), min(terms, _terms(points.mm[kept])))
        off[kept] = solved.left_out_sigmas
        off[~kept] = solved.sigmas_off(points.only(~kept))
        sigma = max(_robust_sigma(solved.left_out_sigmas), LEAST_SIGMA_UM)
        new = np.abs(off) < OUTLIER_SIGMAS * sigma
        if bool((new == kept).all()) or not _enough(points.mm[new], terms):
            break
        kept = new
    return kept, _robust_sigma(off)


def _robust_start(points: _Points, terms: int) -> NDArray[np.bool_]:
    """Fit the polynomial with Tukey's weights, begun from Huber's; give what it does not cut."""
    known = _powers(points.mm, terms)
    weight = 1 / points.noise
    factor = math.sqrt(len(points.z_um) / (len(points.z_um) - terms))
    off = np.zeros(len(points.z_um))
    for step in range(50):
        root = np.sqrt(weight)
        fit = np.linalg.lstsq(known * root[:, None], points.z_um * root, rcond=None)[0]
        sigma_um = max(_robust_sigma(points.z_um - known @ fit) * factor, LEAST_SIGMA_UM)
        off = np.abs(points.z_um - known @ fit) / sigma_um
        huber = 1 / np.maximum(1.0, off / 1.345)
        tukey = np.maximum(1 - (off / 4.685) ** 2, 1e-6) ** 2
        weight = (huber if step < 30 else tukey) / points.noise
    kept = np.asarray(off < OUTLIER_SIGMAS)
    return kept if _enough(points.mm[kept], terms) else np.ones(len(off), np.bool_)


def _enough(mm: Values, terms: int) -> bool:
    return len(mm) > terms and _spread(mm, terms) >= LEAST_SPREAD


def _robust_sigma(values: Values) -> float:
    return 1.4826 * float(np.median(np.abs(values)))
