"""Low patches made of high ones while training: other noise and another focus at every step."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from scope_sr.config import Degradation, load_rig
from scope_sr.degradation import BICUBIC, optics_of
from scope_sr.specimen.pupil import WAVELENGTHS_UM, radial_otf
from scope_sr.train.pairs import MARGIN_PX

FULL_SCALE = 255
FOCI = 8  # tabulated between 0 and the largest defocus


class LowMaker:
    """Make low patches of high ones.

    The optics are those of :func:`scope_sr.degradation.low_of`, a pupil and a square pixel in one
    Fourier product; the patch is taken for periodic, and `MARGIN_PX` are cut off for that.

    Parameters
    ----------
    degradation
        From a recipe; not ``dataset``.
    scale
        High pixels per low pixel.
    seed
        Of the noise.
    """

    def __init__(self, degradation: Degradation, scale: int, seed: int) -> None:
        self.scale = scale
        self.seed = seed
        self.defocus_um = degradation.defocus_um
        self.optics = None
        if degradation.low == "optics":
            self.optics = optics_of(load_rig(degradation.rig), scale)

    @property
    def words(self) -> str:
        """Say how the low patches come about, for the card."""
        if self.optics is None:
            return BICUBIC
        return f"{self.optics}, up to {self.defocus_um:g} µm out of focus"

    def __call__(self, high: Tensor, step: int, rank: int) -> Tensor:
        """Give ``(batch, 3, n, n)`` of ``(batch, 3, scale (n + 2 margin), ...)``, in 256 levels."""
        rng = np.random.default_rng([self.seed, step, rank, 1])
        if self.optics is None:
            size = [n // self.scale for n in high.shape[-2:]]
            light = functional.interpolate(high, size, mode="bicubic", antialias=True)
        else:
            light = self._light(high, int(rng.integers(FOCI)))
        light = light[..., MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX] * FULL_SCALE
        if self.optics is not None:
            slope, base = self.optics.variance
            chance = torch.Generator().manual_seed(int(rng.integers(2**62)))
            noise = torch.randn(light.shape, generator=chance).to(light.device)
            light = light + noise * (slope * light + base).clamp(min=0).sqrt()
        return light.round().clamp(0, FULL_SCALE) / FULL_SCALE

    def high(self, high: Tensor) -> Tensor:
        """Cut the margin off the high patches."""
        margin = MARGIN_PX * self.scale
        return high[..., margin:-margin, margin:-margin]

    def _light(self, high: Tensor, focus: int) -> Tensor:
        defocus_um = self.defocus_um * focus / (FOCI - 1)
        transfer = self._transfer(high.shape[-1], defocus_um).to(high.device)
        blurred: Tensor = torch.fft.irfft2(torch.fft.rfft2(high) * transfer, s=high.shape[-2:])
        return blurred[..., :: self.scale, :: self.scale]

    def _transfer(self, size_px: int, defocus_um: float) -> Tensor:
        """Give pupil, pixel and the way from the first high to the first low pixel centre."""
        if self.optics is None:
            msg = "bicubic has no transfer function"
            raise RuntimeError(msg)
        um = self.optics.high_um_per_px
        f_y = np.fft.fftfreq(size_px)[:, None]
        f_x = np.fft.rfftfreq(size_px)
        box = np.sinc(f_y * self.scale) * np.sinc(f_x * self.scale)
        way = np.exp(2j * np.pi * (f_y + f_x) * (self.scale - 1) / 2)
        found = []
        for wavelength_um in WAVELENGTHS_UM:
            aperture = self.optics.numerical_apertures[0]
            per_um, table = radial_otf(aperture, wavelength_um, round(defocus_um, 3))
            entry = (np.hypot(f_y, f_x) / um * per_um + 0.5).astype(int)
            found.append(box * way * table.take(entry, mode="clip"))
        return torch.from_numpy(np.stack(found).astype(np.complex64))
