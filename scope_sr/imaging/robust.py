"""Least squares that a few false values cannot pull away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CAUCHY = 2.385  # 95 % efficient where the errors are normal
ROUNDS = 20
TO_SIGMA = 1.4826  # of the median absolute deviation, for normal errors


@dataclass(frozen=True, eq=False)
class Fit:
    """A robust linear fit.

    Attributes
    ----------
    solution
        ``(parameters,)`` or ``(parameters, columns)``.
    covariance
        ``(parameters, parameters)`` for values of unit variance.
    residuals, sigma
        As the values, and their robust standard deviation.
    outliers
        Per row: beyond 4 sigma.
    """

    solution: NDArray[np.float64]
    covariance: NDArray[np.float64]
    residuals: NDArray[np.float64]
    sigma: float
    outliers: NDArray[np.bool_]


def scatter(values: NDArray, freedom: float = 1.0) -> float:
    """Give the standard deviation by the median of |values|; `freedom` lost to a fit raises it.

    >>> round(scatter(np.array([-1.0, 1.0, -1.0, 1.0, 50.0])), 3)
    1.483
    """
    return float(TO_SIGMA * np.median(np.abs(values)) / np.sqrt(freedom)) if np.size(values) else 0


def robust_lstsq(design: NDArray, values: NDArray) -> Fit:
    """Solve ``design @ solution = values`` by reweighted least squares with Cauchy's weights.

    Parameters
    ----------
    design
        ``(rows, parameters)``.
    values
        ``(rows,)`` or ``(rows, columns)``; the columns of one row are kept or doubted together.

    Raises
    ------
    ValueError
        There are fewer rows than parameters, or they do not determine them.
    """
    rows, parameters = design.shape
    columns = np.reshape(values, (rows, -1)).astype(float)
    if rows < parameters or np.linalg.matrix_rank(design) < parameters:
        msg = f"{rows} measurements do not determine {parameters} unknowns"
        raise ValueError(msg)
    weights = np.ones(rows)
    freedom = max(1 - parameters / rows, 1 / rows)
    for _ in range(ROUNDS):
        root = np.sqrt(weights)[:, None]
        solution = np.linalg.lstsq(design * root, columns * root, rcond=None)[0]
        residuals = columns - design @ solution
        sigma = max(scatter(residuals, freedom), 1e-9)
        length = np.sqrt((residuals**2).mean(axis=1))
        weights = 1 / (1 + (length / (CAUCHY * sigma)) ** 2)
    outliers = length > 4 * sigma
    kept = design[~outliers] if (~outliers).sum() >= parameters else design
    covariance = np.linalg.pinv(kept.T @ kept)
    good = residuals[~outliers]
    if len(good) > parameters:
        sigma = float(np.sqrt((good**2).sum() / ((len(good) - parameters) * columns.shape[1])))
    shape = (parameters, *np.shape(values)[1:])
    return Fit(
        solution.reshape(shape), covariance, residuals.reshape(np.shape(values)), sigma, outliers
    )
