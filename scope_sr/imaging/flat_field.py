"""Shading of the lamp, response of the pixels and dust on the sensor, measured on blank glass.

A pixel reads ``I = D + F · light``: dark level D in grey levels, flat F with mean 1 per channel.
Blank glass, moved between frames, gives F: what moves is dirt on the slide, what stays is the
sensor and the lamp. Images are ``(row, column, 3)`` or ``(row, column)``, uint8 or uint16.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import erfinv

Image = NDArray[np.uint8] | NDArray[np.uint16]
Floats = NDArray[np.float32]

DIRT_BLUR_PX = 2.0  # slide dirt is wider than a pixel, noise is not
DIRT_SIGMAS = 5.0
SHADING_PX = 8.0  # sigma; the flat is smooth above it, but for dust and pixel response
SHARE_PX = 3.0  # sigma of the neighbourhood in which signal is told from noise
LEAST_FLAT = 0.05  # a dead pixel must not divide by zero
DARK_PX = 16.0  # sigma; the dark level of a camera is even
CELL_PX = 16
TARGET = 0.875  # of full scale: within 85 to 90 %
OKAY = (0.85, 0.90)
SATURATED = 0.97  # of full scale; nearer, the noise is cut off and the mean is false
RETREAT = 4.0
FARTHEST_STEP = 16.0  # a frame almost dark does not tell the next exposure any better
FINE_PX, COARSE_PX = 2.0, 20.0  # band of structure: about 4 to 60 px
DUST_SHARE = 0.02  # of the pixels may be dust, on sensor or slide
BLANK_STRUCTURE = 0.006  # glass gives less than 0.003, a field of tissue more than 0.02


def flat_from_blanks(frames: Sequence[Image], dark: Floats) -> Floats:
    """Measure the flat on blank glass that was moved between frames.

    Dirt on the slide is a smooth deviation of one frame from what others see there, and left out
    pixel by pixel. What is finer than the shading is shrunk towards it by its share of
    noise, which the spread between frames tells (Wiener's weight): near nothing at dust, a third or
    so where only the response of pixels differs. 16 blanks of 10000 e leave 0.2 to 0.3 % RMS.

    Parameters
    ----------
    frames
        At least one; dirt is found from three on. Lamp drift between them does no harm.
    dark
        In grey levels, of the shape of a frame; see `dark_from_shutter`, `dark_from_exposures`.

    Returns
    -------
    NDArray
        Of the shape of a frame, float32, mean 1 per channel, never below 0.05.

    Raises
    ------
    ValueError
        There is no frame, or no light in them.
    """
    if not len(frames):
        msg = "a flat needs at least one blank frame"
        raise ValueError(msg)
    if np.ndim(frames[0]) == 2:
        return _flat_of_channel(np.stack([frame - dark for frame in frames]))
    channels = [
        _flat_of_channel(np.stack([frame[..., c] - dark[..., c] for frame in frames]))
        for c in range(frames[0].shape[2])
    ]
    return np.stack(channels, axis=-1)


def dark_from_shutter(frames: Sequence[Image]) -> Floats:
    """Average frames taken without light: per pixel, in grey levels, float32."""
    return np.asarray(_mean(frames), np.float32)


def dark_from_exposures(short: Sequence[Image], long: Sequence[Image], ratio: float) -> Floats:
    """Extrapolate to no exposure where no shutter can be closed.

    Light adds in proportion to time, the dark level does not: ``D = (ratio · S - L) / (ratio - 1)``
    per pixel, then smoothed over 16 px, since noise is magnified and the level is even.

    Parameters
    ----------
    short, long
        Frames of the same field, the exposure of `long` being `ratio` times that of `short`.
        At 8 bits the short ones should reach 10 grey levels, lest rounding be seen as dark level.

    Returns
    -------
    NDArray
        Of the shape of a frame, float32, in grey levels, not negative.

    Examples
    --------
    >>> short, long = np.full((2, 4, 4), 12, np.uint8), np.full((2, 4, 4), 42, np.uint8)
    >>> float(dark_from_exposures(short, long, 4.0)[0, 0])
    2.0
    """
    if ratio <= 1:
        msg = f"the long exposure must be longer than the short one; the ratio is {ratio}"
        raise ValueError(msg)
    dark = (ratio * _mean(short) - _mean(long)) / (ratio - 1)
    return np.maximum(_blur(dark.astype(np.float32), DARK_PX), np.float32(0))


def correct(image: Image, flat: Floats, dark: Floats) -> Floats:
    """Take dark level and shading off an image: ``(I - D) / F``, float32 in grey levels.

    >>> image, flat = np.full((1, 2), 42, np.uint8), np.array([[0.8, 1.0]], np.float32)
    >>> correct(image, flat, np.full((1, 2), 2, np.float32)).tolist()
    [[50.0, 40.0]]
    """
    corrected: Floats = image.astype(np.float32)
    corrected -= dark
    corrected /= flat
    return corrected


def blank_level(frames: Sequence[Image], dark: Floats) -> NDArray[np.float64]:
    """Give the level of blank glass above dark, ``(channels,)``, in grey levels.

    It is what a flat of mean 1 multiplies: the mean over pixels of the median over frames.
    """
    light = np.stack([(frame - dark)[::2, ::2] for frame in frames])
    level: NDArray[np.float64] = np.median(light, axis=0).mean(axis=(0, 1), dtype=np.float64)
    return np.atleast_1d(level)


def white_gains(level: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the factors that make glass neutral, ``(channels,)``; green keeps its level.

    >>> white_gains(np.array([220.0, 200.0, 160.0])).round(3).tolist()
    [0.909, 1.0, 1.25]
    """
    gains: NDArray[np.float64] = level[len(level) // 2] / level
    return gains


def exposure_share(image: Image, full_scale: int) -> float:
    """Give the level of the brightest area of the brightest channel, as a share of full scale.

    An area is a cell of 16 px, so that no hot pixel decides; of the cells, the 99.5th percentile.
    """
    cells = _cells(image.astype(np.float32))
    return float(np.percentile(cells, 99.5, axis=(0, 1)).max()) / full_scale


def exposure_ok(share: float) -> bool:
    """Tell whether glass is well exposed: 85 to 90 % of full scale."""
    return OKAY[0] <= share <= OKAY[1]


def next_exposure_ms(
    image: Image, dark_dn: float, exposure_ms: float, full_scale: int, target: float = TARGET
) -> float:
    """Give the exposure that would put the brightest area at `target` of full scale.

    One proportional step; a saturated frame does not tell how far to go, so that is a quarter.

    >>> next_exposure_ms(np.full((16, 16), 102, np.uint8), 2.0, 10.0, 255, target=0.4)
    10.0
    >>> next_exposure_ms(np.full((16, 16), 255, np.uint8), 2.0, 10.0, 255)
    2.5
    """
    share = exposure_share(image, full_scale)
    if share >= SATURATED:
        return exposure_ms / RETREAT
    light_dn = share * full_scale - dark_dn
    wanted_dn = target * full_scale - dark_dn
    if light_dn * FARTHEST_STEP <= wanted_dn:
        return exposure_ms * FARTHEST_STEP
    return exposure_ms * wanted_dn / light_dn


def clipped_share(image: Image, full_scale: int) -> float:
    """Give the share of pixels at full scale, in the channel where it is largest."""
    return float((image >= full_scale).mean(axis=(0, 1)).max())


def structure(image: Image, flat: Floats | None = None) -> float:
    """Tell how far a field is from blank: RMS of its structure relative to its level.

    Green light, which both H and E absorb. A quadratic surface takes most of the vignetting off,
    a band of about 4 to 60 px the rest. Photon noise is estimated in the finest scale and taken
    off. The 2 % of the pixels that deviate most are left out, or a few specks of dust would look
    like tissue; tissue in less of the field goes unseen.

    Parameters
    ----------
    flat
        Where known, also takes off what dust there is on the sensor.

    Returns
    -------
    float
        Less than 0.003 on glass, more than 0.02 on tissue; see `is_blank`.
    """
    light = _green(image).astype(np.float32)
    if flat is not None:
        light /= _green(flat)
    light /= np.maximum(_quadratic(light), np.float32(1e-3))
    coarse_px = min(COARSE_PX, min(light.shape) / 4)
    fine = _blur(light, FINE_PX) - _blur(light, coarse_px)
    square = np.sort(np.square(fine - np.median(fine)), axis=None)
    kept = square[: max(1, round(len(square) * (1 - DUST_SHARE)))]
    variance = float(kept.mean()) / _kept_variance(1 - DUST_SHARE)
    excess = variance - _finest_variance(light) * _band_gain(coarse_px)
    return float(np.sqrt(max(excess, 0.0)))


def is_blank(image: Image, flat: Floats | None = None) -> bool:
    """Tell glass from tissue by `structure`. A closed shutter is blank too: look at the level."""
    return structure(image, flat) < BLANK_STRUCTURE


def flat_ratio_rms(blank: Image, flat: Floats, dark: Floats) -> float:
    """Check for drift: how far a new blank is from the flat, as a fraction (0.005 is 0.5 %).

    RMS of their ratio over cells of 16 px, in the worst channel. The level is the lamp's business
    and taken off; a median over neighbouring cells takes dirt off.
    """
    ratio = cv2.medianBlur(_cells(correct(blank, flat, dark)), 3)
    deviation = ratio / ratio.mean(axis=(0, 1)) - 1
    return float(np.sqrt(np.square(deviation).mean(axis=(0, 1))).max())


def _flat_of_channel(light: NDArray) -> Floats:
    """Make the flat of one channel from ``(frame, row, column)`` light above dark."""
    level = np.median(light[:, ::4, ::4], axis=(1, 2))
    if level.min() <= 0:
        msg = "a blank frame has no light above the dark level"
        raise ValueError(msg)
    stack: Floats = (light / level[:, None, None]).astype(np.float32)
    usual = np.sort(stack, axis=0)[2 * len(stack) // 3]
    clean = ~_dirt(stack, usual)
    seen = clean.sum(axis=0)
    count = np.maximum(seen, 1)
    mean = np.where(clean, stack, 0).sum(axis=0) / count
    mean = np.where(seen > 0, mean, usual).astype(np.float32)
    if len(stack) > 1:
        spread = np.where(clean, np.square(stack - mean), 0).sum(axis=0) / max(len(stack) - 1, 1)
        mean = _shrink(mean, (spread / count).astype(np.float32))
    flat = np.maximum(mean / mean.mean(dtype=np.float64), LEAST_FLAT)
    return np.asarray(flat / flat.mean(dtype=np.float64), np.float32)


def _dirt(stack: Floats, usual: Floats) -> NDArray[np.bool_]:
    """Mark what differs from the `usual` light over more than noise can do.

    That is a little above the median, since dirt takes light: two dirty frames of four are seen.
    """
    marked = np.zeros(stack.shape, bool)
    if len(stack) < 3:
        return marked
    around = np.ones((5, 5), np.uint8)
    for frame, mark in zip(stack, marked, strict=True):
        deviation = _blur(frame - usual, DIRT_BLUR_PX)
        deviation -= np.median(deviation)
        sigma = 1.4826 * np.median(np.abs(deviation[::2, ::2]))
        far = np.abs(deviation) > DIRT_SIGMAS * sigma
        mark[...] = cv2.dilate(far.astype(np.uint8), around) > 0
    return marked


def _shrink(mean: Floats, noise: Floats) -> Floats:
    """Shrink what is finer than the shading by its share of noise (variance `noise`)."""
    smooth = _blur(mean, SHADING_PX)
    detail = mean - smooth
    power = np.maximum(_blur(np.square(detail), SHARE_PX), np.float32(1e-12))
    return smooth + detail * np.maximum(1 - _blur(noise, SHADING_PX) / power, np.float32(0))


def _mean(frames: Sequence[Image]) -> NDArray[np.float64]:
    total = np.zeros(frames[0].shape, np.float64)
    for frame in frames:
        total += frame
    return total / len(frames)


def _blur(image: NDArray, sigma_px: float) -> Floats:
    blurred = cv2.GaussianBlur(image, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT)
    return np.asarray(blurred, np.float32)


def _cells(image: Floats) -> Floats:
    """Average over cells of 16 px, the last ones a little larger."""
    rows, columns = (max(1, side // CELL_PX) for side in image.shape[:2])
    cells = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(cells, np.float32)


def _green(image: NDArray) -> NDArray:
    return image[..., 1] if image.ndim == 3 else image


def _quadratic(light: Floats) -> Floats:
    """Fit a quadratic surface, as the shading of a lamp is at first order."""
    rows, columns = light.shape
    y, x = np.linspace(-1, 1, rows, dtype=np.float32), np.linspace(-1, 1, columns, dtype=np.float32)
    thin = np.s_[:: max(1, rows // 128)], np.s_[:: max(1, columns // 128)]
    few_y, few_x = np.meshgrid(y[thin[0]], x[thin[1]], indexing="ij")
    terms = np.stack([few_y**0, few_y, few_x, few_y**2, few_y * few_x, few_x**2], axis=-1)
    c = np.linalg.lstsq(terms.reshape(-1, 6), light[thin].ravel(), rcond=None)[0]
    down = (c[0] + c[1] * y + c[3] * y**2)[:, None]
    return np.asarray(down + np.outer(c[4] * y, x) + (c[2] * x + c[5] * x**2), np.float32)


def _finest_variance(light: Floats) -> float:
    """Estimate the variance of white noise, robustly, from diagonal differences of 2 x 2 px."""
    difference = (light[:-1, :-1] - light[:-1, 1:] - light[1:, :-1] + light[1:, 1:]) / 2
    return float((1.4826 * np.median(np.abs(difference))) ** 2)


def _band_gain(coarse_px: float) -> float:
    """Give the share of the variance of white noise that the band of `structure` lets through.

    Gaussians of sigma s and t overlap by 1 / (2π (s² + t²)).
    """
    fine, coarse = 1 / FINE_PX**2, 1 / coarse_px**2
    return float((fine / 2 + coarse / 2 - 2 / (FINE_PX**2 + coarse_px**2)) / (2 * np.pi))


def _kept_variance(share: float) -> float:
    """Give the variance of a standard normal cut to its central `share`."""
    limit = np.sqrt(2) * erfinv(share)
    return float(1 - 2 * limit * np.exp(-(limit**2) / 2) / np.sqrt(2 * np.pi) / share)
