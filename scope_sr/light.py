"""Fields of a session as light: dark level and shading off, and what glass would be."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scope_sr.errors import InputError
from scope_sr.imaging.flat_field import correct
from scope_sr.session import Session

Floats = NDArray[np.float32]
Image = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True, eq=False)
class Shading:
    """Flat (mean 1) and dark (grey levels) of an objective; None where none was measured."""

    flat: Floats | None
    dark: Floats | None


@lru_cache(maxsize=2)
def opened(folder: Path) -> Session:
    """Open a session once per process."""
    return Session.open(folder)


@lru_cache(maxsize=4)
def shading_of(folder: Path, objective: str) -> Shading:
    """Read flat and dark of an objective from the session's own record.

    Raises
    ------
    InputError
        They are not of the size of the fields.
    """
    session = opened(folder)
    record, camera = session.record, session.rig.camera
    fields = [record.field(objective, kind) for kind in ("flat", "dark")]
    for kind, field in zip(("flat", "dark"), fields, strict=True):
        if field is not None and field.shape[:2] != (camera.height_px, camera.width_px):
            msg = (
                f"{folder / 'calibration'}: {kind} of {objective} is {field.shape[1]}x"
                f"{field.shape[0]} px, the fields are {camera.width_px}x{camera.height_px}; it is"
                " not this session's record: restore it from a copy"
            )
            raise InputError(msg)
    return Shading(*fields)


def corrected(image: Image, shading: Shading) -> Floats:
    """Take dark and shading off; float32 in grey levels of the camera."""
    if shading.flat is None:
        return image.astype(np.float32) - (0 if shading.dark is None else shading.dark)
    dark = np.zeros_like(shading.flat) if shading.dark is None else shading.dark
    return correct(image, shading.flat, dark)


def green_of(image: Image, shading: Shading, full_scale: int) -> Floats:
    """Give the green plane, corrected, in grey levels of 8 bits; the others cost time for naught.

    The offset of the dark level stays off, so that 0 is no light.
    """
    if image.ndim == 2:
        plane = corrected(image, shading)
    else:
        flat = None if shading.flat is None else shading.flat[..., 1]
        dark = None if shading.dark is None else shading.dark[..., 1]
        plane = corrected(image[..., 1], Shading(flat, dark))
    return np.asarray(plane * np.float32(255 / full_scale))


def stored(image: Floats, full_scale: int) -> Image:
    """Round to what a camera of that many bits could have given."""
    whole = np.rint(image)
    np.clip(whole, 0, full_scale, out=whole)
    return whole.astype(np.uint8) if full_scale <= 255 else whole.astype(np.uint16)
