"""What clear glass looks like through one objective, so that tissue can be told from it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from scope_sr.calibration import CalibrationRecord
from scope_sr.config import Rig
from scope_sr.imaging.flat_field import correct
from scope_sr.imaging.tissue import (
    MEASURED_DENSITY,
    TISSUE_DENSITY,
    Image,
    glass_level,
    tissue_mask,
)

LEAST_TISSUE = 0.05  # share of a high field, or of a focus point's field, that must be tissue
TISSUE_BLUR_UM = 5.0
SPECK_UM2 = 500.0  # smaller is dirt: a disc of 25 µm


class Glass:
    """Glass as the record measured it, or as the brightest of the fields at hand show it.

    Parameters
    ----------
    exposure_ms
        Of the images; the record's level is scaled to it.
    """

    def __init__(
        self, rig: Rig, record: CalibrationRecord, objective: str, exposure_ms: float
    ) -> None:
        lens = record.objectives[objective]
        self._full_scale = rig.camera.full_scale
        self._pixel_um = lens.pixel_size_um
        self._flat = record.field(objective, "flat")
        self._dark = record.field(objective, "dark")
        if self._flat is not None and self._dark is None:
            self._dark = np.zeros_like(self._flat)
        self._level: NDArray[np.float64] | None = None
        if self._flat is not None and lens.glass_dn:
            scale = exposure_ms / lens.exposure_ms if lens.exposure_ms else 1.0
            self._level = np.array(lens.glass_dn) * scale

    def learn(self, images: Iterable[Image]) -> None:
        """Take the brightest light of some fields for glass, unless the record knows better."""
        if self._level is None:
            self._level = glass_level(map(self._corrected, images), self._full_scale)

    def tissue_in(self, image: Image) -> NDArray[np.bool_]:
        """Mark the tissue of an image; without any level yet, its own brightest light is glass."""
        image = self._corrected(image)
        level = glass_level([image], self._full_scale) if self._level is None else self._level
        return tissue_mask(
            image,
            level,
            TISSUE_BLUR_UM / self._pixel_um,
            density=TISSUE_DENSITY if self._flat is None else MEASURED_DENSITY,
            speck_px=SPECK_UM2 / self._pixel_um**2,
        )

    def _corrected(self, image: Image) -> Image:
        if self._flat is None or self._dark is None:
            return image
        return correct(image, self._flat, self._dark)  # type: ignore[arg-type]  # camera images
