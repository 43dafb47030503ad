"""What makes a low image of a high one: a rig's optics, or the community's bicubic.

The high image is taken for the specimen itself, at the pixel size of the rig's high objective; what
the low objective makes of it (its PSF, its larger pixels, the noise of the camera) is computed on
the exact grid. The blur the image has already stays in it, so it is blurred twice; a higher
aperture's blur is small against a lower one's.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from scope_sr.calibration import CalibrationRecord
from scope_sr.config import Rig
from scope_sr.errors import InputError
from scope_sr.specimen.optics import View, transmit

SCALES = (2, 4)
LARGEST_RATIO = 1.4  # of the pixels of the high image to those of the dataset: beyond, empty pixels
FULL_SCALE = 255
FULL_WELL_E, READ_NOISE_E = 10_000.0, 6.0  # of a usual camera, where none was measured
BICUBIC = "bicubic, antialiased, 8 bit"


@dataclass(frozen=True)
class Optics:
    """What makes the low images: ``noise`` says where ``variance`` comes from.

    The variance of a grey level m of 8 bits is ``variance[0] m + variance[1]``.
    """

    rig: str
    low: str
    high: str
    scale: int
    high_um_per_px: float
    numerical_apertures: tuple[float, float]
    variance: tuple[float, float]
    noise: str

    def table(self) -> dict[str, Any]:
        """Give it as it stands in ``dataset.json``."""
        return asdict(self)

    @classmethod
    def from_table(cls, table: dict[str, Any]) -> Optics:
        """Read what `table` gave, through JSON or not.

        Raises
        ------
        ValueError
            It is not such a table.
        """
        pairs = {key: table.get(key) for key in ("numerical_apertures", "variance")}
        try:
            tuples = {key: tuple(map(float, pair)) for key, pair in pairs.items()}  # type: ignore[arg-type]
            found = cls(**{**table, **tuples})
        except (TypeError, ValueError) as error:
            msg = f"does not say what made the low images ({error})"
            raise ValueError(msg) from error
        return found

    @property
    def quiet(self) -> Optics:
        """The same optics before a camera without noise."""
        return replace(self, variance=(0.0, 0.0), noise="none")

    def __str__(self) -> str:
        pixel_um = self.high_um_per_px * self.scale
        return (
            f"optics of rig {self.rig}: NA {self.numerical_apertures[0]:.2f}, {pixel_um:.3g} µm"
            f" px, noise {self.noise}"
        )


@dataclass(frozen=True, eq=False)
class _Mirrored:
    """A slide that shows the image, and beyond its edges its mirror image; not glass."""

    um_per_px: float
    image: NDArray[np.uint8]

    @property
    def size_px(self) -> tuple[int, int]:
        return self.image.shape[1], self.image.shape[0]

    def region(self, column: int, row: int, width: int, height: int) -> NDArray[np.uint8]:
        rows, columns = self.image.shape[:2]
        y = _folded(np.arange(row, row + height), rows)
        x = _folded(np.arange(column, column + width), columns)
        return np.asarray(self.image[y[:, None], x])

    def labels(self, column: int, row: int, width: int, height: int) -> NDArray[np.int32]:
        return np.zeros((height, width), np.int32)


def optics_of(rig: Rig, asked: int | None) -> Optics:
    """Take from a rig, and from its calibration record if there is one, what makes low images.

    Parameters
    ----------
    asked
        Scale; the one nearest to the ratio of the rig's pixels if None.

    Raises
    ------
    InputError
        No objective of the rig has pixels that large.
    """
    record = CalibrationRecord.of_rig(rig)
    scale = asked or usual_scale(record, rig.low, rig.high)
    lens = record.objectives[rig.high]
    low = _low_objective(rig, record, scale)
    ratio = _pixel_um(rig, record, low) / lens.pixel_size_um
    refuse_empty_magnification(f"rig {rig.name}", ratio, scale)
    variance, noise = _variance(rig, record)
    return Optics(
        rig=rig.name,
        low=low,
        high=rig.high,
        scale=scale,
        high_um_per_px=_rounded(lens.pixel_size_um),
        numerical_apertures=(
            rig.objectives[low].numerical_aperture,
            rig.objectives[rig.high].numerical_aperture,
        ),
        variance=(_rounded(variance[0]), _rounded(variance[1])),
        noise=noise,
    )


def low_of(high: NDArray[np.uint8], optics: Optics, seed: int) -> NDArray[np.uint8]:
    """Look at an image through the low objective, on pixels `scale` times as large.

    Parameters
    ----------
    high
        ``(row, column, 3)`` RGB; rows and columns beyond a multiple of the scale are not seen.
    seed
        Of the camera's noise.
    """
    k, um = optics.scale, optics.high_um_per_px
    rows, columns = (n // k for n in high.shape[:2])
    centre_um = ((high.shape[1] - 1) / 2 * um, -(high.shape[0] - 1) / 2 * um)
    matrix = k * um * np.array([[1.0, 0.0], [0.0, -1.0]])
    view = View(centre_um, matrix, (columns, rows), optics.numerical_apertures[0], 0.0)
    light = transmit(_Mirrored(um, high), view) * FULL_SCALE
    rng = np.random.default_rng(seed)
    slope, base = optics.variance
    noise = rng.standard_normal(light.shape, np.float32)
    noisy = light + noise * np.sqrt(np.maximum(slope * light + base, 0.0))
    return np.asarray(np.clip(np.rint(noisy), 0, FULL_SCALE), np.uint8)


def bicubic_low(high: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """Make an image small as papers on super-resolution do: bicubic, antialiased, 8 bits.

    >>> bicubic_low(np.full((8, 12, 3), 7, np.uint8), 4).shape
    (2, 3, 3)
    """
    rows, columns = (n // scale for n in high.shape[:2])
    cut = np.ascontiguousarray(high[: rows * scale, : columns * scale])
    small = Image.fromarray(cut).resize((columns, rows), Image.Resampling.BICUBIC)
    return np.array(small)


def usual_scale(record: CalibrationRecord, low: str, high: str) -> int:
    """Choose 2 or 4, whichever is nearer to the ratio of the pixels in µm."""
    ratio = record.objectives[low].pixel_size_um / record.objectives[high].pixel_size_um
    return min(SCALES, key=lambda scale: abs(math.log(ratio / scale)))


def refuse_empty_magnification(what: str, ratio: float, scale: int) -> None:
    """Raise InputError where the high images hold fewer pixels than the scale asks for."""
    if scale > LARGEST_RATIO * ratio:
        smaller = [s for s in SCALES if s <= LARGEST_RATIO * ratio]
        way = f"use --scale {smaller[-1]}" if smaller else "take a stronger high objective"
        msg = (
            f"{what}: --scale {scale} asks for {scale} pixels per low pixel, the high images have"
            f" {ratio:.2f}; {way}"
        )
        raise InputError(msg)


def _low_objective(rig: Rig, record: CalibrationRecord, scale: int) -> str:
    """Choose the objective whose pixels are nearest to `scale` times those of the high one."""
    pixel_um = record.objectives[rig.high].pixel_size_um * scale
    return min(
        rig.objectives, key=lambda name: abs(math.log(_pixel_um(rig, record, name) / pixel_um))
    )


def _pixel_um(rig: Rig, record: CalibrationRecord, objective: str) -> float:
    """Give the pixel size as measured, else as the rig says."""
    known = record.objectives.get(objective)
    return known.pixel_size_um if known else rig.pixel_size_um(objective)


def _variance(rig: Rig, record: CalibrationRecord) -> tuple[tuple[float, float], str]:
    """Give the noise in grey levels of 8 bits: as measured, else as usual cameras have it."""
    levels = FULL_SCALE / rig.camera.full_scale
    if record.camera is not None:
        green = len(record.camera.gain_e_per_dn) // 2
        slope = levels / record.camera.gain_e_per_dn[green]
        return (slope, record.camera.variance_dn2[green] * levels**2), "measured on the rig"
    per_e = FULL_SCALE / FULL_WELL_E
    said = f"{FULL_WELL_E:g} e full well, {READ_NOISE_E:g} e read noise"
    return (per_e, (READ_NOISE_E * per_e) ** 2), f"assumed: {said}; calibrate the rig to know it"


def _rounded(value: float) -> float:
    """Keep as many figures as the dataset keeps: a later run compares."""
    return float(f"{value:.9g}")


def _folded(index: NDArray[np.int_], size: int) -> NDArray[np.int_]:
    period = np.mod(index, 2 * size)
    return np.where(period < size, period, 2 * size - 1 - period)
