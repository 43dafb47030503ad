"""The colours of one objective as another sees them: an affine map between their grey levels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8] | NDArray[np.uint16]

LEAST_SPREAD = (0.04, 0.005)  # of the level, along the main and the second direction of colour
OUTLIER = 4.685  # of sigma; Tukey's biweight, 95 % efficient on normal noise
ROUNDS = 12


def color_matrix(
    target: NDArray[np.float32], source: NDArray[np.float32]
) -> tuple[NDArray[np.float64], float]:
    """Find M with ``target = M @ [source, 1]``, robustly.

    Fit only after registration and flat-field correction, on samples blurred to the same PSF:
    6 px of misregistration cost more than the matrix gains (notes, 2.4). Samples off by more
    than about five sigma, as at folds, do not count (Tukey's biweight, iterated).

    Parameters
    ----------
    target, source
        ``(n, 3)`` float32, grey levels of the same points; drop clipped ones, see `usable`.

    Returns
    -------
    matrix
        ``(3, 4)`` float64; the last column is an offset in grey levels.
    residual_dn
        RMS of what the matrix leaves, over the samples that count, in grey levels.

    Raises
    ------
    ValueError
        The samples do not span the colours, as on bare glass: M would follow the noise.

    Examples
    --------
    >>> source = np.random.default_rng(0).uniform(20, 230, (99, 3)).astype(np.float32)
    >>> matrix, residual_dn = color_matrix(source * np.float32(0.5) + 3, source)
    >>> np.abs(matrix[0]).round(3).tolist()
    [0.5, 0.0, 0.0, 3.0]
    """
    _refuse_few_colors(source)
    # 1 as large as the grey levels: else the offset would be lost in rounding
    scale = float(source.mean())
    inputs = np.column_stack([source.astype(np.float64), np.full(len(source), scale)])
    weight = np.ones(len(source))
    for _ in range(ROUNDS):
        weighted = inputs * weight[:, None]
        solution = np.linalg.solve(weighted.T @ inputs, weighted.T @ target)
        # root of the mean over channels, so that a residual is per channel value
        off = np.sqrt(np.square(target - inputs @ solution).mean(axis=1))
        weight = _biweight(off)
    matrix = solution.T * np.array([1.0, 1.0, 1.0, scale])
    counted = off[weight > 0]
    return matrix, float(np.sqrt(np.square(counted).mean()))


def apply_color_matrix(
    image: NDArray[np.float32] | Image, matrix: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Map the colours of an image ``(row, column, 3)``; float32, neither rounded nor clipped."""
    return np.asarray(cv2.transform(image.astype(np.float32), matrix), np.float32)


def usable(image: Image, full_scale: int) -> NDArray[np.bool_]:
    """Mark pixels clipped in no channel, ``(row, column)``; of the image as the camera gave it.

    >>> usable(np.array([[[9, 9, 9], [9, 255, 9], [0, 9, 9]]], np.uint8), 255).tolist()
    [[True, False, False]]
    """
    return np.asarray(((image > 0) & (image < full_scale)).all(axis=2))


def _refuse_few_colors(source: NDArray[np.float32]) -> None:
    if len(source) < 16:
        msg = f"{len(source)} samples of colour are too few; at least 16 are needed"
        raise ValueError(msg)
    centred = source.astype(np.float64) - np.median(source, axis=0)
    spread = np.sqrt(np.linalg.eigvalsh(centred.T @ centred / len(centred)).clip(min=0))
    level = float(np.percentile(source, 99))
    if spread[2] < LEAST_SPREAD[0] * level or spread[1] < LEAST_SPREAD[1] * level:
        msg = (
            f"the samples span too few colours: {100 * spread[2] / level:.1f} % and"
            f" {100 * spread[1] / level:.1f} % of the level; take fields with stained tissue"
        )
        raise ValueError(msg)


def _biweight(off: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weigh samples by how far `off` they are; the median of a 3-channel RMS is 0.888 sigma."""
    sigma = max(float(np.median(off)) / 0.888, 1e-9)
    weight: NDArray[np.float64] = (1 - (off / (OUTLIER * sigma)) ** 2).clip(min=0) ** 2
    return weight
