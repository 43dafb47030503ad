"""Band-limited textures, which can be shifted by any fraction of a pixel and stay exact."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

CANVAS = 512


def texture(
    shape: tuple[int, int],
    shift_px: tuple[float, float] = (0.0, 0.0),
    seed: int = 0,
    corner_px: tuple[int, int] = (40, 40),
) -> NDArray[np.float64]:
    """Cut a picture from a random periodic canvas moved by `shift_px` (x, y); grey levels."""
    noise = np.random.default_rng(seed).normal(size=(CANVAS, CANVAS))
    f_x, f_y = fft.rfftfreq(CANVAS), fft.fftfreq(CANVAS)[:, None]
    frequency = np.hypot(f_x, f_y)
    # falls off as tissue does, and holds nothing near the Nyquist frequency
    spectrum = fft.rfft2(noise) * np.exp(-((frequency / 0.25) ** 4))
    spectrum /= np.maximum(frequency, 1 / 64)
    spectrum[0, 0] = 0
    level = fft.irfft2(spectrum).std()
    moved = fft.irfft2(spectrum * np.exp(-2j * np.pi * (f_x * shift_px[0] + f_y * shift_px[1])))
    left, top = corner_px
    rows, columns = shape
    return 128 + 25 * moved[top : top + rows, left : left + columns] / level
