"""The pictures of a calibration: one per quantity, drawn from what it was measured by.

Each title says the result in words, each axis its unit; values that could not be measured are nan
and left out.
"""

from scope_sr.calibrate.pictures.geometry import affine, focus, offsets, stage
from scope_sr.calibrate.pictures.light import chromatic, color, flat_field, photon_transfer

__all__ = [
    "affine",
    "chromatic",
    "color",
    "flat_field",
    "focus",
    "offsets",
    "photon_transfer",
    "stage",
]
