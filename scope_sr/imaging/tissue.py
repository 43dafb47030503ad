"""Tells tissue from bare glass."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]

LEAST_GLASS = 0.75  # of full scale: exposures put clear glass at 85-90 %
# Optical density in green. Where the shading is unknown it must be more than vignetting alone makes
# (12 %: 0.055); where shading and glass are measured, benchmarks/tissue_mask.py chose it
TISSUE_DENSITY = 0.08
MEASURED_DENSITY = 0.03


def glass_level(images: Iterable[Image], full_scale: int) -> NDArray[np.float64]:
    """Find the brightest light through the slide, per channel, over many fields.

    Returns
    -------
    Shape (channels,), in grey levels: the largest of the fields' 99.5th percentiles, and never
    below the level that a well-set exposure gives clear glass, so that a grid all of tissue is not
    taken for glass.
    """
    levels = [np.percentile(_thin(image), 99.5, axis=(0, 1)) for image in images]
    floor = LEAST_GLASS * full_scale
    brightest: NDArray[np.float64] = np.maximum(
        np.max([np.atleast_1d(level) for level in levels], axis=0), floor
    )
    return brightest


def tissue_mask(
    image: Image,
    glass: NDArray[np.float64],
    blur_px: float,
    *,
    density: float = TISSUE_DENSITY,
    speck_px: float = 0.0,
) -> NDArray[np.bool_]:
    """Mark tissue by its optical density in green, which both H and E absorb.

    Parameters
    ----------
    image
        ``(row, column, 3)`` RGB or ``(row, column)``; with its shading taken off where that is
        known.
    glass
        Level of clear glass per channel, see :func:`glass_level`.
    blur_px
        Sigma of the smoothing; about 5 µm bridges the pale gaps within tissue.
    density
        Optical density from which it is tissue.
    speck_px
        Area in pixels below which it is dirt, unless it goes on beyond the rim of the image.

    Returns
    -------
    ``(row, column)`` bool.
    """
    green, level = (image[..., 1], glass[1]) if image.ndim == 3 else (image, glass[0])
    light = np.maximum(green.astype(np.float32), 1.0) / np.float32(level)
    smooth = cv2.GaussianBlur(-np.log10(light), (0, 0), max(blur_px, 0.3))
    mask: NDArray[np.bool_] = smooth > density
    return _without_specks(mask, speck_px) if speck_px else mask


def share_within(
    mask: NDArray[np.bool_], centre_px: tuple[float, float], size_px: tuple[float, float]
) -> float:
    """Give the share of tissue in a rectangle; centre from the image centre, size (width, height).

    >>> mask = np.zeros((4, 4), bool); mask[:, 2:] = True
    >>> share_within(mask, (1.0, 0.0), (2.0, 4.0)), share_within(mask, (0.0, 0.0), (4.0, 4.0))
    (1.0, 0.5)
    """
    rows, columns = mask.shape
    x = (columns - 1) / 2 + centre_px[0]
    y = (rows - 1) / 2 + centre_px[1]
    left, right = x - size_px[0] / 2 + 0.5, x + size_px[0] / 2 + 0.5
    top, bottom = y - size_px[1] / 2 + 0.5, y + size_px[1] / 2 + 0.5
    part = mask[
        max(0, round(top)) : min(rows, round(bottom)),
        max(0, round(left)) : min(columns, round(right)),
    ]
    return float(part.mean()) if part.size else 0.0


def densest(plane: NDArray[np.float32], window_px: float) -> tuple[NDArray[np.float64], float]:
    """Find the window with most tissue: its place (x, y) from the image centre, and the share.

    Tissue is where the grey levels of a 16 px square scatter.

    >>> plane = np.full((64, 96), 200.0, np.float32); plane[::2, 64:] = 100.0
    >>> bool(densest(plane, 32.0)[0][0] > 20)
    True
    """
    side = 16
    rows, columns = (n // side for n in plane.shape)
    squares = plane[: rows * side, : columns * side].reshape(rows, side, columns, side)
    textured = (squares.std(axis=(1, 3)) > 6.0).astype(np.float32)
    size = max(1, round(window_px / side))
    share = cv2.boxFilter(textured, -1, (size, size), borderType=cv2.BORDER_CONSTANT)
    # of equals the one nearest to the centre
    y, x = np.mgrid[:rows, :columns] + 0.5
    off = np.stack([x - columns / 2, y - rows / 2], axis=-1) * side
    better = share - 1e-4 * np.hypot(off[..., 0], off[..., 1])
    row, column = np.unravel_index(int(np.argmax(better)), share.shape)
    return off[row, column], float(share[row, column])


def _without_specks(mask: NDArray[np.bool_], speck_px: float) -> NDArray[np.bool_]:
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    rim = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    kept = stats[:, cv2.CC_STAT_AREA] >= speck_px
    kept[np.unique(rim)] = True
    kept[0] = False  # what is not tissue
    return np.asarray(kept[labels])


def _thin(image: Image) -> Image:
    """Keep every fourth pixel: a percentile needs no more."""
    return image[::4, ::4]
