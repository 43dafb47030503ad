"""How near a picture comes to the true one: PSNR and SSIM by one protocol, and what is compared.

Pictures are ``(row, column, 3)`` RGB of 8 bits, as they are shown; a border is left out, where no
method sees all there is to see. Figures are of one picture; the mean over pictures is the caller's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import shift as shifted

Picture = NDArray[np.uint8]
Floats = NDArray[np.float64]

FULL_SCALE = 255.0
BEST_DB = 100.0  # of pictures that are the same: infinity has no mean
SIGMA_PX, TAPS = 1.5, 11  # of the window of SSIM
K1, K2 = 0.01, 0.03
REACH_PX = 2  # how far a captured pair may be shifted
SHIFT_PX = 512  # side of the part that a shift is measured on
ROUNDS = 4  # of the fit of a shift
LUMA = np.array([65.481, 128.553, 24.966]) / FULL_SCALE  # BT.601, studio swing


@dataclass(frozen=True)
class PictureScores:
    """Of one picture: of RGB, and of luma (``y``) for comparison with papers."""

    psnr_db: float
    ssim: float
    y_psnr_db: float
    y_ssim: float


def picture_scores(picture: Picture, truth: Picture, crop_px: int) -> PictureScores:
    """Give all scores of a picture, a border of `crop_px` left out."""
    y, true_y = luma(picture), luma(truth)
    return PictureScores(
        psnr_db(picture, truth, crop_px),
        ssim(picture, truth, crop_px),
        psnr_db(y, true_y, crop_px),
        ssim(y, true_y, crop_px),
    )


def psnr_db(picture: NDArray, truth: NDArray, crop_px: int = 0) -> float:
    """Give the peak signal-to-noise ratio over all channels, at most `BEST_DB`.

    Examples
    --------
    >>> grey = np.full((9, 9, 3), 100, np.uint8)
    >>> round(psnr_db(grey + 1, grey), 2), psnr_db(grey, grey)
    (48.13, 100.0)
    """
    return _db(_mse(cropped(picture, crop_px).astype(np.float64), cropped(truth, crop_px)))


def ssim(picture: NDArray, truth: NDArray, crop_px: int = 0) -> float:
    """Give the structural similarity of Wang et al. (2004), the mean over channels.

    Window of 11 taps (Gaussian, sigma 1.5), where it lies wholly within the picture; K 0.01 and
    0.03; as scikit-image with ``gaussian_weights=True, use_sample_covariance=False``.

    Raises
    ------
    ValueError
        The picture is smaller than the window.
    """
    one, other = (cropped(image, crop_px).astype(np.float64) for image in (picture, truth))
    if min(one.shape[:2]) < TAPS:
        msg = f"{one.shape[1]}x{one.shape[0]} px is too small for SSIM, which takes {TAPS}"
        raise ValueError(msg)
    mean, true_mean = _windowed(one), _windowed(other)
    variance = _windowed(one * one) - mean * mean
    true_variance = _windowed(other * other) - true_mean * true_mean
    covariance = _windowed(one * other) - mean * true_mean
    c1, c2 = (K1 * FULL_SCALE) ** 2, (K2 * FULL_SCALE) ** 2
    likeness = (2 * mean * true_mean + c1) * (2 * covariance + c2)
    scale = (mean**2 + true_mean**2 + c1) * (variance + true_variance + c2)
    return float((likeness / scale).mean())


def luma(picture: Picture) -> Floats:
    """Give Y of BT.601 in studio swing, 16 to 235, ``(row, column)``, not rounded.

    >>> luma(np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)).round(3).tolist()
    [[16.0, 235.0]]
    """
    return np.asarray(16.0 + picture.astype(np.float64) @ LUMA)


def cropped(image: NDArray, px: int) -> NDArray:
    """Leave a border out."""
    return image[px : image.shape[0] - px, px : image.shape[1] - px]


def bicubic(low: Picture, scale: int) -> Picture:
    """Enlarge a picture by bicubic interpolation, in 8 bits."""
    return _enlarged(low, scale, Image.Resampling.BICUBIC)


def lanczos(low: Picture, scale: int) -> Picture:
    """Enlarge a picture by Lanczos interpolation, in 8 bits."""
    return _enlarged(low, scale, Image.Resampling.LANCZOS)


def consistency_db(
    picture: Picture, low: Picture, degrade: Callable[[Picture], Picture], crop_px: int = 1
) -> float:
    """Give the PSNR of a picture made low again against the low one: what it adds, it must show.

    Parameters
    ----------
    degrade
        Makes the low picture of a high one; without noise.
    crop_px
        Border left out, in low pixels.
    """
    return psnr_db(degrade(picture), low, crop_px)


def fitted_psnr_db(picture: Picture, truth: Picture, crop_px: int) -> tuple[float, float]:
    """Give the PSNR after the best shift, and after that and the best linear colours.

    For captured pairs: else their registration and the lamp would be measured. The picture is
    moved, by at most 2 px, in fractions of a pixel; then its colours are mapped by the affine map
    nearest to the true ones. A border of 2 px more is left out.

    Returns
    -------
    shift_db, color_db
    """
    border_px = crop_px + REACH_PX
    true = cropped(truth, border_px).reshape(-1, 3).astype(np.float64)
    shift = (*_best_shift(luma(picture), luma(truth), border_px), 0)
    moved = shifted(picture.astype(np.float64), shift, order=3, mode="nearest")
    flat = [cropped(one, border_px).reshape(-1, 3).astype(np.float64) for one in (picture, moved)]
    best = min(flat, key=lambda one: _mse(one, true))
    inputs = np.column_stack([best, np.full(len(best), FULL_SCALE)])
    matrix, *_ = np.linalg.lstsq(inputs.T @ inputs, inputs.T @ true, rcond=None)
    colored = np.clip(inputs @ matrix, 0, FULL_SCALE)
    return _db(_mse(best, true)), _db(_mse(colored, true))


def _best_shift(picture: Floats, truth: Floats, border_px: int) -> NDArray[np.float64]:
    """Give how far (down, right) a plane must be moved; whole pixels first, then Gauss and Newton.

    The middle of the picture decides: it is one shift for all of it.
    """
    middle = tuple(
        slice(max(0, (n - SHIFT_PX) // 2), max(0, (n - SHIFT_PX) // 2) + SHIFT_PX)
        for n in truth.shape
    )
    picture, true = picture[middle], cropped(truth[middle], border_px)
    reach = range(-REACH_PX, REACH_PX + 1)
    total = np.array(
        min(
            ((y, x) for y in reach for x in reach),
            key=lambda at: _mse(cropped(np.roll(picture, at, (0, 1)), border_px), true),
        ),
        float,
    )
    for _ in range(ROUNDS):
        moved = shifted(picture, total, order=3, mode="nearest")
        slopes = [cropped(slope, border_px).ravel() for slope in np.gradient(moved)]
        a = np.stack(slopes, axis=1)
        # moved by +d it holds moved - d slope
        off = (cropped(moved, border_px) - true).ravel()
        step, *_ = np.linalg.lstsq(a.T @ a, a.T @ off, rcond=None)
        total = np.clip(total + step, -REACH_PX, REACH_PX)
    return total


def _enlarged(low: Picture, scale: int, how: Image.Resampling) -> Picture:
    rows, columns = (scale * n for n in low.shape[:2])
    return np.array(Image.fromarray(np.ascontiguousarray(low)).resize((columns, rows), how))


def _windowed(plane: Floats) -> Floats:
    """Average within the window, wherever it lies within the picture."""
    smooth = cv2.GaussianBlur(plane, (TAPS, TAPS), SIGMA_PX)
    return np.asarray(cropped(smooth, TAPS // 2))


def _mse(one: Floats, other: NDArray) -> float:
    return float(np.square(one - other).mean())


def _db(mse: float) -> float:
    return min(BEST_DB, 10 * math.log10(FULL_SCALE**2 / mse)) if mse > 0 else BEST_DB
