"""From a frame of the camera to the picture that is looked at: eight bits, corrected, balanced.

Dark level and shading come off as :mod:`scope_sr.light` takes them off the fields of a session,
``(I - D) / F``, because that is what the networks have learnt from. Gains of the white balance and
the camera's depth go into the same multiplication.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from scope_sr.calibration import CalibrationRecord
from scope_sr.errors import InputError, MicroscopeError
from scope_sr.frame import Frame
from scope_sr.live.mailbox import Pool
from scope_sr.live.seen import Bgra, Rgb

Gains = tuple[float, float, float]
Image = NDArray[np.uint8] | NDArray[np.uint16]
Field = NDArray[np.float32] | None

NEUTRAL: Gains = (1.0, 1.0, 1.0)
STRIP_ROWS = 64  # what lies between two steps stays in the cache


class Developing:
    """Develops the frames of one camera.

    Parameters
    ----------
    record
        Whose dark and flat fields are used; None, or one that names none: frames stay as they are.
    bits
        Depth of a camera that gives 16-bit numbers; None: all of them count.

    Attributes
    ----------
    remark
        Why a field of the record is not used, in words; empty where all is well.

    Examples
    --------
    >>> from scope_sr.frame import Position
    >>> image = np.full((1, 2), 2048, np.uint16)
    >>> frame = Frame(image, Position(0, 0, 0), "10x", 10.0, 0.0, 1)
    >>> Developing(None, 12).rgb(frame, (1.0, 1.0, 0.5)).tolist()
    [[[128, 128, 64], [128, 128, 64]]]
    """

    def __init__(self, record: CalibrationRecord | None = None, bits: int | None = None) -> None:
        self.remark = ""
        self._record = record
        self._bits = bits
        self._objective = ""
        self._fields: tuple[Field, Field] = (None, None)
        self._key: tuple[object, ...] = ()
        self._step: Callable[[Image], Image] = _unchanged

    def rgb(self, frame: Frame, gains: Gains = NEUTRAL) -> Rgb:
        """Develop a frame: ``(row, column, 3)`` uint8; its own pixels where nothing is to be done.

        Raises
        ------
        MicroscopeError
            Its pixels are neither RGB nor grey, of 8 or 16 bits.
        """
        image = frame.image
        key = (frame.objective, image.shape, image.dtype, gains)
        if key != self._key:
            _refuse_other_pixels(image)
            self._step = self._steps(image, frame.objective, gains)
            self._key = key
        return np.asarray(self._step(image), np.uint8)

    def _steps(self, image: Image, objective: str, gains: Gains) -> Callable[[Image], Image]:
        """Work out beforehand what frames like this one need."""
        share = 255.0 / _full_scale(image, self._bits)
        flat, dark = self._fields_of(objective, image.shape)
        if image.ndim == 3:
            factors = share * np.asarray(gains, np.float32)
            return _corrected(flat, dark, factors, image.shape) or _multiplied(share, gains)
        grey = _corrected(flat, dark, np.float32(share), image.shape) or _eight_bits(share)
        balanced = _multiplied(1.0, gains)
        return lambda plane: balanced(cv2.cvtColor(grey(plane), cv2.COLOR_GRAY2RGB))  # type: ignore[arg-type]

    def _fields_of(self, objective: str, shape: tuple[int, ...]) -> tuple[Field, Field]:
        """Give flat and dark of an objective; what is damaged or of another size is left out."""
        if objective != self._objective:
            self._fields, self._objective = self._read(objective), objective
        fitting = [field if _fits(field, shape) else None for field in self._fields]
        if any(a is not b for a, b in zip(fitting, self._fields, strict=True)):
            self.remark = (
                f"the flat-field of {objective} is of another size than the frames"
                f" ({shape[1]}x{shape[0]} px) and left out; calibrate again, or put the camera"
                " back as it was"
            )
        elif any(field is not None for field in fitting):
            self.remark = ""
        return fitting[0], fitting[1]

    def _read(self, objective: str) -> tuple[Field, Field]:
        self.remark = ""
        if self._record is None or objective not in self._record.objectives:
            return None, None
        try:
            return self._record.field(objective, "flat"), self._record.field(objective, "dark")
        except InputError as error:
            self.remark = f"{error}; until then shading stays in"
            return None, None


def to_bgra(rgb: Rgb, pool: Pool) -> Bgra:
    """Lay a picture out as Qt's ``Format_RGB32`` wants it, in a buffer of the pool.

    >>> to_bgra(np.array([[[1, 2, 3]]], np.uint8), Pool()).tolist()
    [[[3, 2, 1, 255]]]
    """
    buffer = pool.get((*rgb.shape[:2], 4))
    cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA, dst=buffer)
    return buffer


def _unchanged(image: Image) -> Image:
    return image


def _full_scale(image: Image, bits: int | None) -> int:
    if image.dtype == np.uint8:
        return 255
    return 2**bits - 1 if bits and bits > 8 else 65535


def _eight_bits(share: float) -> Callable[[Image], Image]:
    if share == 1.0:
        return _unchanged
    return lambda image: cv2.convertScaleAbs(image, alpha=share)  # type: ignore[return-value]


def _multiplied(share: float, gains: Gains) -> Callable[[Image], Image]:
    """Multiply each channel by a number; three equal ones of 1 cost nothing."""
    if len(set(gains)) == 1:
        return _eight_bits(share * gains[0])
    factors: Any = (*(share * gain for gain in gains), 0.0)
    return lambda image: cv2.multiply(image, factors, dtype=cv2.CV_8U)  # type: ignore[return-value]


def _corrected(
    flat: Field, dark: Field, factors: NDArray[np.float32] | np.float32, shape: tuple[int, ...]
) -> Callable[[Image], Image] | None:
    """Take dark and shading off by one factor per pixel, worked out here; None without either."""
    if flat is None and dark is None:
        return None
    one = np.ones(shape, np.float32) if flat is None else flat
    by = np.ascontiguousarray(factors / one, np.float32)
    if dark is None:
        return lambda image: cv2.multiply(image, by, dtype=cv2.CV_8U)  # type: ignore[return-value]
    off = np.ascontiguousarray(dark * by, np.float32)

    def in_strips(image: Image) -> Image:
        out = np.empty(shape, np.uint8)
        for top in range(0, shape[0], STRIP_ROWS):
            rows = slice(top, top + STRIP_ROWS)
            light = cv2.multiply(image[rows], by[rows], dtype=cv2.CV_32F)
            cv2.subtract(light, off[rows], dst=out[rows], dtype=cv2.CV_8U)
        return out

    return in_strips


def _fits(field: Field, shape: tuple[int, ...]) -> bool:
    return field is None or field.shape == shape


def _refuse_other_pixels(image: Image) -> None:
    grey_or_rgb = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
    if not (grey_or_rgb and image.size and image.dtype in (np.uint8, np.uint16)):
        msg = (
            f"the camera gives pixels of shape {image.shape} and type {image.dtype}, which are"
            " neither grey nor RGB of 8 or 16 bits; choose another pixel type for it"
        )
        raise MicroscopeError(msg)
