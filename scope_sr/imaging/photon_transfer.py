"""The photon transfer curve: what a grey level is worth in electrons (Janesick 2007).

The variance of a camera grows with its level: ``variance = a · mean + b``, ``1 / a`` electrons per
grey level. Two frames of the same glass differ by noise alone, so that neither vignetting nor the
response of pixels counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8] | NDArray[np.uint16]
Floats = NDArray[np.float64]
Pair = tuple[float, Image, Image]

CELL_PX = 16
BINS = 8  # at most, per exposure, by level: vignetting alone spreads it
CELLS_PER_BIN = 8  # at least; of fewer, the variance is too uncertain to see a full well
ROUNDING = 1 / 12  # variance of rounding to whole grey levels, in DN²
LEAST_VARIANCE = 0.5  # DN²; with less noise, rounding makes steps instead of noise
CLIP_SIGMAS = 4.0  # a level nearer to full scale has lost the top of its noise
COLLAPSED = 0.75  # of the largest variance; above that level pixels are full
LINEAR_RANGE = (0.05, 0.95)  # of full scale
NEIGHBOURS = 0.05  # correlation of noise between neighbouring pixels that are not independent
FEWEST = 4  # exposures
LEAST_SPAN = 2.0  # brightest over dimmest level


@dataclass(frozen=True)
class Noise:
    """What was found, one entry per channel.

    Attributes
    ----------
    gain_e_per_dn, gain_sigma_e_per_dn
        Electrons per grey level, and its standard error.
    read_noise_e
        Noise without light, from ``b`` less that of rounding; None where it is below the noise of
        rounding (0.29 grey levels), which then hides it.
    full_well_e
        The highest level seen below full scale: a full pixel where the variance collapses there,
        else what the camera can hold is at least that.
    dark_dn
        Level at no exposure, extrapolated.
    linearity
        Largest deviation of the level from a straight line over exposure, as a fraction of full
        scale, over 5 to 95 % of it. An unsteady lamp shows here too.
    slope, offset_dn2
        a and b of ``variance = a · mean + b``; the mean counts from 0, dark level included.
    levels_dn, variances_dn2
        The points of the curve that were fitted, for a plot.
    hidden_by_bits
        Whether rounding hides the read noise of some channel.
    effective
        Whether the noise of neighbours is correlated, as after demosaicing or filtering in the
        camera. All figures are then effective ones: of this camera with that filter. Bilinear
        demosaicing leaves 0.59 to 0.65 of the variance (notes, 2.5), so the gain reads too high.
    lamp_drift
        Largest change of light between the frames of a pair, as a fraction. It does no harm to
        gain and read noise; between exposures it shows in `linearity` and `dark_dn`.
    """

    gain_e_per_dn: tuple[float, ...]
    gain_sigma_e_per_dn: tuple[float, ...]
    read_noise_e: tuple[float | None, ...]
    full_well_e: tuple[float, ...]
    dark_dn: tuple[float, ...]
    linearity: tuple[float, ...]
    slope: tuple[float, ...]
    offset_dn2: tuple[float, ...]
    levels_dn: tuple[tuple[float, ...], ...]
    variances_dn2: tuple[tuple[float, ...], ...]
    hidden_by_bits: bool
    effective: bool
    lamp_drift: float


class _Curve(NamedTuple):
    """Bins of one channel: ``(exposure, bin)``; which to fit; and ``(exposure,)`` levels."""

    mean: Floats
    variance: Floats
    fitted: NDArray[np.bool_]
    exposure_ms: Floats
    level: Floats


class _Channel(NamedTuple):
    gain: float
    sigma: float
    read_noise: float | None
    full_well: float
    dark: float
    linearity: float
    slope: float
    offset: float


def photon_transfer(pairs: Sequence[Pair], full_scale: int) -> Noise:
    """Measure gain, read noise, full well, dark level and linearity of a camera.

    Parameters
    ----------
    pairs
        (exposure_ms, one image, another) of the same blank glass in the same place, at about 12
        exposures up to full scale: ``(row, column, 3)`` or ``(row, column)``, uint8 or uint16.
    full_scale
        Largest value a pixel can have.

    Returns
    -------
    Noise
        The gain is within 1 % at 512 x 512 px. Of a camera that demosaics, figures are effective.

    Raises
    ------
    ValueError
        Fewer than four exposures are free of clipping and noisier than rounding, they span less
        than a factor of two, or the variance does not grow with the level.
    """
    channels = 1 if pairs[0][1].ndim == 2 else pairs[0][1].shape[2]
    curves = [_curve(pairs, channel, full_scale) for channel in range(channels)]
    results = [_measure(curve, full_scale) for curve in curves]
    return Noise(
        gain_e_per_dn=tuple(one.gain for one in results),
        gain_sigma_e_per_dn=tuple(one.sigma for one in results),
        read_noise_e=tuple(one.read_noise for one in results),
        full_well_e=tuple(one.full_well for one in results),
        dark_dn=tuple(one.dark for one in results),
        linearity=tuple(one.linearity for one in results),
        slope=tuple(one.slope for one in results),
        offset_dn2=tuple(one.offset for one in results),
        levels_dn=tuple(tuple(curve.mean[curve.fitted].tolist()) for curve in curves),
        variances_dn2=tuple(tuple(curve.variance[curve.fitted].tolist()) for curve in curves),
        hidden_by_bits=any(one.read_noise is None for one in results),
        effective=_correlated(pairs, curves),
        lamp_drift=max(abs(float(a.mean()) / max(float(b.mean()), 1.0) - 1) for _, a, b in pairs),
    )


def _curve(pairs: Sequence[Pair], channel: int, full_scale: int) -> _Curve:
    planes = [(_plane(a, channel), _plane(b, channel)) for _, a, b in pairs]
    bins = np.array([_bins(a, b) for a, b in planes])
    mean, variance = bins[:, 0], bins[:, 1]
    fitted = (variance >= LEAST_VARIANCE) & ~_clipped(mean, variance, full_scale)
    if fitted.any():
        fitted &= ~_full(mean, variance, fitted)
    level = np.array([(float(a.mean()) + float(b.mean())) / 2 for a, b in planes])
    return _Curve(mean, variance, fitted, np.array([p[0] for p in pairs], np.float64), level)


def _plane(image: Image, channel: int) -> NDArray[np.float32]:
    # float64 sums would gain nothing: a mean over a cell is good to 1e-6
    return (image if image.ndim == 2 else image[..., channel]).astype(np.float32)


def _bins(a: NDArray[np.float32], b: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Give levels and variances of one pair, in bins of cells of similar level.

    Within a cell the mean difference is taken off, so that a lamp that changed does no harm.
    """
    difference = a - b
    pixels = CELL_PX**2
    shift = _cells(difference)
    # half the variance of the difference: two frames made it
    variance = (_cells(np.square(difference)) - np.square(shift)) * (pixels / (pixels - 1) / 2)
    mean = _cells((a + b) / 2)
    bins = max(1, min(BINS, len(mean) // CELLS_PER_BIN))
    groups = np.array_split(np.argsort(mean), bins)
    means = np.array([mean[group].mean() for group in groups])
    variances = np.array([_robust_mean(variance[group]) for group in groups])
    return means, variances


def _cells(image: NDArray) -> Floats:
    rows, columns = (side // CELL_PX for side in image.shape)
    whole = image[: rows * CELL_PX, : columns * CELL_PX]
    cells = cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(cells, np.float64).ravel()


def _robust_mean(values: Floats) -> float:
    """Leave out cells where dirt moved between the frames."""
    middle = np.median(values)
    sigma = 1.4826 * np.median(np.abs(values - middle))
    return float(values[np.abs(values - middle) <= 5 * sigma].mean())


def _clipped(mean: Floats, variance: Floats, full_scale: int) -> NDArray[np.bool_]:
    room = CLIP_SIGMAS * np.sqrt(variance)
    return np.asarray((mean + room >= full_scale) | (mean - room < 0))


def _full(mean: Floats, variance: Floats, fitted: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark levels from where pixels are full: more light, less noise."""
    highest = np.argmax(np.where(fitted, variance, 0))
    peak_dn, most = mean.flat[highest], variance.flat[highest]
    if not ((mean > peak_dn) & (variance < COLLAPSED * most)).any():
        return np.zeros(mean.shape, bool)
    # near the brim the brightest electrons of the noise are already lost
    return np.asarray(mean + CLIP_SIGMAS * np.sqrt(most) >= peak_dn)


def _measure(curve: _Curve, full_scale: int) -> _Channel:
    whole = curve.fitted.all(axis=1)
    if whole.sum() < FEWEST:
        msg = (
            f"only {whole.sum()} exposures are unclipped and noisier than rounding;"
            f" at least {FEWEST} are needed, spread from dim to 90 % of full scale"
        )
        raise ValueError(msg)
    if curve.level[whole].max() < LEAST_SPAN * curve.level[whole].min():
        msg = "the exposures span too little: the brightest level is not twice the dimmest"
        raise ValueError(msg)
    slope, offset, sigma = _fit_variance(curve.mean[curve.fitted], curve.variance[curve.fitted])
    if slope <= 3 * sigma:
        msg = "the noise does not grow with the level; is it a picture of blank glass, unprocessed?"
        raise ValueError(msg)
    exposure_ms, level = curve.exposure_ms[whole], curve.level[whole]
    # relative errors: the lamp's are, and the dim levels tell the dark one
    per_ms, dark = np.polyfit(exposure_ms, level, 1, w=1 / level)
    gain = 1 / slope
    below = curve.mean[curve.mean < full_scale - 0.5]
    read_dn2 = offset + slope * dark - ROUNDING
    return _Channel(
        gain=float(gain),
        sigma=float(sigma * gain**2),
        read_noise=float(gain * np.sqrt(read_dn2)) if read_dn2 > ROUNDING else None,
        full_well=float((below.max() - dark) * gain),
        dark=float(dark),
        linearity=_deviation(level, dark + per_ms * exposure_ms, full_scale),
        slope=slope,
        offset=offset,
    )


def _fit_variance(mean: Floats, variance: Floats) -> tuple[float, float, float]:
    """Fit a line, robustly; give slope, offset and the standard error of the slope.

    The error of a variance is in proportion to it.
    """
    error, trust = variance, np.ones_like(variance)
    for _ in range(10):
        weight = np.sqrt(trust) / error
        slope, offset = np.polyfit(mean, variance, 1, w=weight)
        line = np.maximum(slope * mean + offset, LEAST_VARIANCE / 2)
        off = np.abs(variance - line) / line
        spread = max(1.4826 * float(np.median(off)), 1e-9)
        error, trust = line, np.minimum(1, 2 * spread / np.maximum(off, 1e-12))
    centre = np.average(mean, weights=weight**2)
    sigma = spread / np.sqrt((weight**2 * (mean - centre) ** 2).sum())
    return float(slope), float(offset), float(sigma)


def _deviation(level: Floats, line: Floats, full_scale: int) -> float:
    low, high = LINEAR_RANGE
    counted = (level >= low * full_scale) & (level <= high * full_scale)
    return float(np.abs(level - line)[counted].max(initial=0.0)) / full_scale


def _correlated(pairs: Sequence[Pair], curves: Sequence[_Curve]) -> bool:
    """Tell whether noise is shared by neighbours, at the brightest exposure that was fitted."""
    for channel, curve in enumerate(curves):
        brightest = int(np.argmax(np.where(curve.fitted.all(axis=1), curve.level, -1)))
        _, a, b = pairs[brightest]
        noise = _plane(a, channel) - _plane(b, channel)
        noise -= cv2.blur(noise, (CELL_PX, CELL_PX))
        power = float(np.square(noise).mean())
        across = float((noise[:, 1:] * noise[:, :-1]).mean()) / power
        down = float((noise[1:] * noise[:-1]).mean()) / power
        if max(abs(across), abs(down)) > NEIGHBOURS:
            return True
    return False
