"""The pupil of an objective and what it does to contrast.

Ideal but for defocus: a circular pupil, evenly filled by the condenser, with no other aberration
and no aplanatic apodisation.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

WAVELENGTHS_UM = (0.610, 0.540, 0.460)
"""Red, green and blue of the camera."""

MAX_WAVES = 24.0
"""Defocus at the rim of the pupil, in waves, beyond which the blur grows no further."""


def immersion_index(numerical_aperture: float) -> float:
    """Refractive index in front of the lens: air, oil, or what the widest lenses need."""
    if numerical_aperture < 1.0:
        return 1.0
    return 1.515 if numerical_aperture < 1.5 else 1.78


def rim_path(numerical_aperture: float, index: float) -> float:
    """Path the rim of the pupil loses against its centre, per µm of defocus: n - √(n² - NA²)."""
    return index - math.sqrt(index**2 - numerical_aperture**2)


def defocus_limit_um(numerical_aperture: float) -> float:
    """Defocus of `MAX_WAVES` in green: 38 µm at NA 0.75, 283 µm at NA 0.30."""
    index = immersion_index(numerical_aperture)
    return MAX_WAVES * WAVELENGTHS_UM[1] / rim_path(numerical_aperture, index)


def otf(
    numerical_aperture: float,
    wavelength_um: float,
    defocus_um: float,
    frequency_per_um: NDArray[np.float64],
    *,
    index: float = 1.0,
) -> NDArray[np.float64]:
    """Incoherent optical transfer function of a defocused circular pupil.

    With u in units of the pupil radius and s = frequency · wavelength / NA, it is the pupil's
    autocorrelation over the lens where two pupils s apart overlap::

        H(s) = 1/π ∬ exp i[φ(|u + s/2|) - φ(|u - s/2|)] du
        φ(ρ) = 2π/λ · z · (√(n² - NA²ρ²) - n)

    The lens is symmetric and the phase odd, so a quarter of it and the cosine suffice; writing
    u_x = cos θ - s/2, u_y = t sin θ makes the integrand smooth for Gauss-Legendre quadrature.

    Parameters
    ----------
    frequency_per_um
        Any shape, cycles per µm in the specimen.
    index
        Refractive index of the medium in which `defocus_um` is measured.

    Returns
    -------
    NDArray
        Same shape, float64; 1 at zero frequency, 0 from 2 NA/λ upward.

    References
    ----------
    H. H. Hopkins, The frequency response of a defocused optical system, Proc. R. Soc. A 231
    (1955) 91; J. W. Goodman, Introduction to Fourier Optics, chapter 6.

    Examples
    --------
    >>> otf(0.5, 0.5, 0.0, np.array([0.0, 1.0, 2.0])).round(4)
    array([1.   , 0.391, 0.   ])
    """
    shift = np.abs(np.asarray(frequency_per_um)) * (wavelength_um / numerical_aperture)
    waves = abs(defocus_um) * rim_path(numerical_aperture, index) / wavelength_um
    nodes, weights = np.polynomial.legendre.leggauss(12 + math.ceil(4 * waves))
    nodes, weights = (nodes + 1) / 2, weights / 2

    def path_um(across: NDArray[np.float64], along: NDArray[np.float64]) -> NDArray[np.float64]:
        rho2 = across[:, None] ** 2 + along**2
        return np.asarray(np.sqrt(index**2 - numerical_aperture**2 * rho2.clip(max=1.0)))

    def overlap(s: float) -> float:
        span = math.acos(min(s / 2, 1.0))
        sine, cosine = np.sin(span * nodes), np.cos(span * nodes)
        along = sine[:, None] * nodes
        # cos θ is already the distance from the far pupil's centre, cos θ - s from the near one's
        difference = path_um(cosine, along) - path_um(cosine - s, along)
        wave = np.cos(2 * math.pi / wavelength_um * defocus_um * difference)
        return float(4 / math.pi * span * (weights * sine**2) @ wave @ weights)

    return np.array([overlap(s) for s in shift.ravel()]).reshape(shift.shape)


@lru_cache(maxsize=32)
def radial_otf(
    numerical_aperture: float, wavelength_um: float, defocus_um: float
) -> tuple[float, NDArray[np.float32]]:
    """Tabulate `otf`: entries per (cycle per µm), and entries so dense that the nearest will do."""
    index = immersion_index(numerical_aperture)
    waves = abs(defocus_um) * rim_path(numerical_aperture, index) / wavelength_um
    cutoff = 2 * numerical_aperture / wavelength_um
    # closer at both ends, where the function bends: 3e-5 off at most
    turn = np.linspace(0.0, math.pi, 49 + math.ceil(20 * waves))
    knots = cutoff / 2 * (1 - np.cos(turn))
    values = otf(numerical_aperture, wavelength_um, defocus_um, knots, index=index)
    dense = np.linspace(0.0, cutoff, 1 + 2**14 + 1024 * math.ceil(waves))
    table = CubicSpline(knots, values)(dense).astype(np.float32)
    table[-1] = 0.0
    return (dense.size - 1) / cutoff, table
