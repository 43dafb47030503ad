"""How sharp an image is, and where a stack of images is sharpest."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Image = NDArray[np.uint8] | NDArray[np.uint16]
Values = NDArray[np.float64]

LOG_SIGMA_PX = 1.5

# A peak is one if the sharpest value exceeds the faintest by this much (natural logarithm). Bare
# glass under noise varies by 0.05, tissue within one and a half depths of focus by 0.3 and more.
LEAST_CONTRAST = 0.15
MOST_RESIDUAL = 0.15  # rms about the parabola, as a share of what it spans
FLAT = "no plane is sharper than the others: glass, or far out of focus"
LEAST_NOISE = 0.01  # of a value: shot noise, flicker and vibration; no fit knows better than this


def depth_of_field_um(
    numerical_aperture: float, pixel_size_um: float, wavelength_um: float = 0.55
) -> float:
    """Give the depth within which the specimen looks sharp: that of waves and that of pixels.

    d = λn/NA² + n·e/(M·NA), with e/M the camera pixel on the specimen.

    Parameters
    ----------
    pixel_size_um
        µm per pixel, on the specimen.

    References
    ----------
    Nikon MicroscopyU, "Depth of Field and Depth of Focus".

    Examples
    --------
    >>> round(depth_of_field_um(0.30, 0.5), 2), round(depth_of_field_um(0.75, 0.25), 2)
    (7.78, 1.31)
    """
    index = 1.0  # air, oil, or what the widest lenses need
    if numerical_aperture >= 1.0:
        index = 1.515 if numerical_aperture < 1.5 else 1.78
    waves_um = wavelength_um * index / numerical_aperture**2
    return waves_um + index * pixel_size_um / numerical_aperture


def normalised_variance(image: Image) -> float:
    """Variance of green over its mean squared: a broad peak, seen from many depths away.

    Parameters
    ----------
    image
        ``(row, column, 3)`` RGB or ``(row, column)``. Green alone, since red and blue are in focus
        elsewhere.

    References
    ----------
    Redondo et al., J. Biomed. Opt. 17 (2012) 036008, who compare sixteen metrics.

    Examples
    --------
    >>> normalised_variance(np.array([[1, 3], [3, 1]], np.uint8))
    0.25
    """
    mean, deviation = cv2.meanStdDev(_green(image))
    return float((deviation[0, 0] / mean[0, 0]) ** 2) if mean[0, 0] else 0.0


def laplacian_of_gaussian_variance(image: Image) -> float:
    """Variance of the Laplacian of Gaussian of green over its mean squared: a narrow peak.

    At σ = 1.5 px it leaves out most of the noise and keeps the edges of chromatin. Parameters as in
    :func:`normalised_variance`.

    Examples
    --------
    >>> laplacian_of_gaussian_variance(np.full((9, 9), 7, np.uint8)) < 1e-12
    True
    """
    green = _green(image).astype(np.float32)
    mean = float(cv2.mean(green)[0])
    smooth = cv2.GaussianBlur(green, (0, 0), LOG_SIGMA_PX)
    _, deviation = cv2.meanStdDev(cv2.Laplacian(smooth, cv2.CV_32F))
    return float((deviation[0, 0] / mean) ** 2) if mean else 0.0


@dataclass(frozen=True)
class Peak:
    """Where a stack is sharpest, and whether to believe it.

    Attributes
    ----------
    z_um
        Vertex of the parabola if accepted, else the sharpest plane.
    sigma_um
        Standard error of `z_um`; infinite if it was not accepted.
    why
        Why it was not accepted; empty if it was.
    beyond
        1 if the focus lies above the stack, -1 below it, 0 within or nowhere.
    """

    z_um: float
    sigma_um: float
    accepted: bool
    why: str = ""
    beyond: int = 0


def find_peak(z_um: ArrayLike, values: ArrayLike) -> Peak:
    """Find the peak of a narrow metric: a parabola through log sharpness, next to the sharpest.

    Parameters
    ----------
    z_um, values
        Shape (planes,), three or more, in any order; sharpness in any unit.

    Returns
    -------
    Accepted only if the stack shows contrast, its sharpest plane is not an end, and the planes, up
    to five, lie on a concave parabola.

    Examples
    --------
    >>> z_um = np.arange(-3.0, 4.0)
    >>> round(find_peak(z_um, np.exp(-((z_um - 0.4) ** 2) / 8)).z_um, 6)
    0.4
    >>> find_peak(z_um, np.exp(z_um)).why
    'the sharpest plane is the last one: the focus lies above the stack'
    """
    z, value = _ascending(z_um, values)
    best = int(np.argmax(value))
    if not _contrast(value):
        return _no_peak(float(z[best]), FLAT)
    if best in (0, len(z) - 1):
        return _beyond(z, best)
    return _judge(z, np.log(value), best)


def find_broad_peak(z_um: ArrayLike, values: ArrayLike) -> Peak:
    """Find the peak of a broad metric from planes one to two depths apart.

    As :func:`find_peak`, but of the inverse square: out of focus, contrast falls with the width of
    the blur, that is as 1/|z|, which makes a cusp of its logarithm and a parabola of its inverse
    square. So it is enough that the vertex lies within the stack.

    Examples
    --------
    >>> z_um = np.array([-0.5, 1.0, 2.5])
    >>> peak = find_broad_peak(z_um, (1 + z_um**2) ** -0.5)
    >>> peak.accepted, round(peak.z_um, 6)
    (True, 0.0)
    """
    z, value = _ascending(z_um, values)
    best = int(np.argmax(value))
    if not _contrast(value):
        return _no_peak(float(z[best]), FLAT)
    peak = _judge(z, -0.5 * (value[best] / value) ** 2, best)
    within = peak.accepted and z[0] <= peak.z_um <= z[-1]
    return _beyond(z, best) if best in (0, len(z) - 1) and not within else peak


def _green(image: Image) -> Image:
    return image[..., 1].copy() if image.ndim == 3 else image


def _no_peak(z_um: float, why: str, beyond: int = 0) -> Peak:
    return Peak(z_um, math.inf, accepted=False, why=why, beyond=beyond)


def _ascending(z_um: ArrayLike, values: ArrayLike) -> tuple[Values, Values]:
    z, value = np.asarray(z_um, np.float64), np.asarray(values, np.float64)
    if len(z) < 3:
        msg = f"a peak needs three planes, not {len(z)}"
        raise ValueError(msg)
    order = np.argsort(z)
    # a black image has no sharpness, and no logarithm
    return z[order], np.maximum(value[order], max(float(value.max()) * 1e-6, 1e-300))


def _contrast(value: Values) -> bool:
    return math.log(value.max() / value.min()) >= LEAST_CONTRAST


def _beyond(z_um: Values, best: int) -> Peak:
    plane, side, beyond = ("last", "above", 1) if best else ("first", "below", -1)
    why = f"the sharpest plane is the {plane} one: the focus lies {side} the stack"
    return _no_peak(float(z_um[best]), why, beyond)


def _judge(z_um: Values, curve: Values, best: int) -> Peak:
    """Fit a parabola to the planes around the sharpest, and accept it if they lie on it."""
    around = slice(max(0, best - 2), best + 3)
    at_um = float(z_um[best])
    z, curve = z_um[around] - at_um, curve[around]
    powers = np.stack([np.ones_like(z), z, z**2], 1)
    coefficients = np.linalg.lstsq(powers, curve, rcond=None)[0]
    _, slope, bend = (float(c) for c in coefficients)
    residual = curve - powers @ coefficients
    if bend >= 0:
        return _no_peak(at_um, "sharpness does not fall off on both sides")
    if float(np.sqrt(np.mean(residual**2))) > MOST_RESIDUAL * float(np.ptp(curve)):
        return _no_peak(at_um, "sharpness does not follow one peak: is something moving?")
    spare = max(len(z) - 3, 1)
    noise = max(math.sqrt(float(residual @ residual) / spare), LEAST_NOISE)
    gradient = np.array([0.0, -1 / (2 * bend), slope / (2 * bend**2)])
    variance = float(gradient @ np.linalg.inv(powers.T @ powers) @ gradient)
    return Peak(at_um - slope / (2 * bend), noise * math.sqrt(variance), accepted=True)
