"""The camera: from light to grey levels.

::

    electrons = Poisson(exposure · light_e_per_ms · colour · light · illumination · response · dust)
    DN        = dark + gain · (min(electrons, full well) + N(0, read noise)) / (e per DN)

rounded and clipped to the range of the camera. The fixed pattern and the dust belong to the sensor
and are the same behind every objective; illumination and colour belong to the objective.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from scope_sr.config import Camera, TrueCamera, TrueObjective

LUMINANCE = (0.30, 0.59, 0.11)
"""Response of a monochrome camera to red, green and blue light."""

Image = NDArray[np.uint8] | NDArray[np.uint16]

NOISE_BANK = 1 << 21
"""Numbers in the bank of noise."""

STRIP = 1 << 15
"""Values exposed at a time."""


class Sensor:
    """The truth of the camera behind one objective.

    Parameters
    ----------
    seed
        Fixes the pixel response and the dust; the objective does not enter.

    Attributes
    ----------
    gain_e_per_dn
        Electrons per grey level.
    rate_e_per_ms
        ``(row, column, 3)`` float32, or ``(row, column)`` of a monochrome camera: what clear glass
        yields in each pixel.
    """

    def __init__(
        self, camera: Camera, true_camera: TrueCamera, lens: TrueObjective, *, seed: int
    ) -> None:
        self._full_scale = camera.full_scale
        self._true = true_camera
        self._seed = seed
        self.gain_e_per_dn = (
            true_camera.gain_e_per_dn or true_camera.full_well_e / camera.full_scale
        )
        size_px = (camera.width_px, camera.height_px)
        shading = illumination(size_px, lens.vignetting, lens.illumination_centre)
        shading *= pixel_response(size_px, true_camera.pixel_response, seed)
        shading *= dust_shadow(size_px, true_camera.dust, seed)
        shading *= lens.light_e_per_ms
        gains = np.asarray(lens.color_gain)
        rate = shading[..., None] * gains if camera.color else shading * gains.mean()
        self.rate_e_per_ms: NDArray[np.float32] = rate.astype(np.float32)

    def expose(
        self,
        light: NDArray[np.float32],
        exposure_ms: float,
        rng: np.random.Generator,
        gain: float = 1.0,
    ) -> Image:
        """Expose one frame, exactly.

        Parameters
        ----------
        light
            ``(row, column, 3)`` float, transmitted fraction 0..1.
        rng
            Source of shot and read noise; the same state gives the same frame.
        gain
            Of the amplifier: grey levels grow by it, and their noise.

        Returns
        -------
        NDArray
            ``(row, column, 3)``, or ``(row, column)`` of a monochrome camera; uint8 at 8 bits,
            uint16 above.
        """
        if self.rate_e_per_ms.ndim == 2:
            light = light @ np.asarray(LUMINANCE, np.float32)
        expected = light * self.rate_e_per_ms * np.float32(exposure_ms)
        electrons = rng.poisson(expected).astype(np.float32)
        np.minimum(electrons, self._true.full_well_e, out=electrons)
        noise = rng.standard_normal(electrons.shape, dtype=np.float32)
        electrons += noise * np.float32(self._true.read_noise_e)
        level = np.rint(electrons / (self.gain_e_per_dn / gain) + self._true.dark_dn)
        image = self._blank()
        np.copyto(image, level.clip(0, self._full_scale), casting="unsafe")
        return image

    def expose_fast(
        self,
        light: NDArray[np.uint8],
        exposure_ms: float,
        frame_number: int,
        gain: float = 1.0,
    ) -> Image:
        """Expose one frame at the pace of a camera.

        The noise is Gaussian with the variance of `expose`, drawn from a bank of 2²¹ numbers at
        places fixed by the seed and `frame_number`; light comes in 255 steps, which a camera of
        more than 8 bits would notice, and the full well is taken before the noise.

        Parameters
        ----------
        light
            ``(row, column, 3)`` uint8, 255 for clear glass.

        Returns
        -------
        NDArray
            As from `expose`.
        """
        image = self._blank()
        # strips that stay in the cache of a core: several times as fast as whole arrays
        rows = max(1, STRIP * image.shape[0] // image.size)
        starts = range(0, image.shape[0], rows)
        rng = np.random.default_rng((self._seed, frame_number))
        offsets = rng.integers(0, NOISE_BANK - image[:rows].size, len(starts))
        for start, offset in zip(starts, offsets, strict=True):
            strip = slice(start, start + rows)
            noise = _noise_bank()[offset : offset + image[strip].size]
            self._expose_strip(light[strip], strip, exposure_ms, gain, noise, image[strip])
        return image

    def _blank(self) -> Image:
        shape = self.rate_e_per_ms.shape
        return np.empty(shape, np.uint8) if self._full_scale == 255 else np.empty(shape, np.uint16)

    def _expose_strip(
        self,
        light: NDArray[np.uint8],
        strip: slice,
        exposure_ms: float,
        gain: float,
        noise: NDArray[np.float32],
        out: Image,
    ) -> None:
        """Write one strip of `expose_fast` into `out`; OpenCV wants it flat and contiguous."""
        if out.ndim == 2:
            light = np.asarray(cv2.transform(light, np.asarray(LUMINANCE)[None]), np.uint8)
        flat = (len(out), -1)
        rate = self.rate_e_per_ms[strip].reshape(flat)
        scale = exposure_ms / 255
        electrons = cv2.multiply(light.reshape(flat), rate, scale=scale, dtype=cv2.CV_32F)
        cv2.threshold(electrons, self._true.full_well_e, 0, cv2.THRESH_TRUNC, dst=electrons)
        spread = cv2.sqrt(electrons + np.float32(self._true.read_noise_e**2))
        cv2.multiply(spread, noise.reshape(flat), dst=spread)
        per_e = gain / self.gain_e_per_dn
        depth = cv2.CV_8U if out.dtype == np.uint8 else cv2.CV_16U
        dark = self._true.dark_dn
        level = out.reshape(flat)
        cv2.addWeighted(electrons, per_e, spread, per_e, dark, dst=level, dtype=depth)
        if depth == cv2.CV_16U:
            np.minimum(level, level.dtype.type(self._full_scale), out=level)


def illumination(
    size_px: tuple[int, int], vignetting: float, centre: tuple[float, float]
) -> NDArray[np.float64]:
    """Brightness of the lamp over the sensor: 1 - v |d/R - c|², 1 at its brightest pixel.

    d runs from the image centre, R is half the diagonal, c the `centre` of the lamp in R.
    """
    width, height = size_px
    radius = np.hypot(width, height) / 2
    x = (np.arange(width) - (width - 1) / 2) / radius - centre[0]
    y = (np.arange(height) - (height - 1) / 2)[:, None] / radius - centre[1]
    shading = (1 - vignetting * (x**2 + y**2)).clip(min=0.0)
    # a lamp far beside the sensor may leave none of it lit
    return np.asarray(shading / shading.max() if shading.any() else shading)


def pixel_response(size_px: tuple[int, int], spread: float, seed: int) -> NDArray[np.float64]:
    """Sensitivity of each pixel, ``(row, column)``: 1 with a relative standard deviation."""
    width, height = size_px
    pattern = np.random.default_rng((seed, 1)).standard_normal((height, width))
    return np.asarray((1 + spread * pattern).clip(min=0.0))


def dust_shadow(size_px: tuple[int, int], specks: int, seed: int) -> NDArray[np.float64]:
    """Light that passes the dust on the sensor, ``(row, column)``.

    Each speck of radius r = 2..8 px takes a = 10..40 % of the light: 1 - a exp(-(d/r)⁴).
    """
    width, height = size_px
    shadow = np.ones((height, width))
    rng = np.random.default_rng((seed, 2))
    for _ in range(specks):
        x, y = rng.uniform((0, 0), (width, height))
        radius, absorbed = rng.uniform((2, 0.1), (8, 0.4))
        left, top = max(int(x - 2 * radius), 0), max(int(y - 2 * radius), 0)
        rows = np.arange(top, min(int(y + 2 * radius) + 2, height))[:, None]
        columns = np.arange(left, min(int(x + 2 * radius) + 2, width))
        distance2 = ((columns - x) ** 2 + (rows - y) ** 2) / radius**2
        shadow[rows, columns] *= 1 - absorbed * np.exp(-(distance2**2))
    return shadow


@lru_cache(maxsize=1)
def _noise_bank() -> NDArray[np.float32]:
    bank = np.random.default_rng(0).standard_normal(NOISE_BANK, dtype=np.float32)
    bank.setflags(write=False)
    return bank
