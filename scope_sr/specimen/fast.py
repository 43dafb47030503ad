"""The physics of `scope_sr.specimen.optics` at the pace of a camera, for a live picture.

A canvas somewhat wider than the view is filtered once, with the same OTF and pixel box per channel,
and kept in 8 bits in the frame of the slide; each frame then only reads it through the lens. The
canvas is made anew when the view leaves it, when the focus changes bin or with the objective.

Left out against `optics.transmit`: defocus moves in steps of an eighth of λ n/NA²; the slide is
first averaged over whole slide pixels, so that what lies above the canvas' own Nyquist frequency
folds back instead of being cut; reading is OpenCV's bicubic at steps of 1/32 px, which shifts a
smooth picture by up to 0.05 px, to and fro with the sub-pixel position; light is rounded to 8 bits.
Agreement on stained tissue: 44 dB or more (``python benchmarks/render.py``).
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from scope_sr.specimen.optics import (
    View,
    form_image,
    halo_um,
    region_around,
    specimen_offsets_um,
)
from scope_sr.specimen.pupil import WAVELENGTHS_UM, immersion_index

if TYPE_CHECKING:
    from scope_sr.specimen.slide import Slide

ROAM = 0.15
"""How far the stage may move before a new canvas is due, in widths of the view."""


@dataclass(frozen=True, eq=False)
class _Canvas:
    """A filtered piece of slide: its planes, and where their sample (0, 0) stands."""

    key: tuple[object, ...]
    planes: tuple[NDArray[np.uint8], ...]
    step_um: float
    first_um: tuple[float, float]
    centre_um: tuple[float, float]
    roam_um: float

    def serves(self, view: View) -> bool:
        """Whether this canvas reaches as far as the view, through its lens at its focus."""
        moved = max(abs(a - b) for a, b in zip(view.centre_um, self.centre_um, strict=True))
        return moved <= self.roam_um and self.key == (_lens(view), _focus_bin(view))


class FastRenderer:
    """Renders views of one slide, one after the other; not for two threads at once.

    Holds one canvas (about 6 MB for a view of 1024 x 1024), the coordinates of one lens (16 MB) and
    the light of the last view (3 MB): a stage at rest costs no more than the noise of the camera.
    """

    def __init__(self, slide: Slide) -> None:
        self._slide = slide
        self._canvas: _Canvas | None = None
        self._maps: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
        self._maps_key: tuple[object, ...] = ()
        self._column = self._row = np.empty((0, 0), np.float32)
        self._light: NDArray[np.uint8] | None = None
        self._centre_um = (math.nan, math.nan)

    def transmit(self, view: View) -> NDArray[np.uint8]:
        """Render the light of a view without noise.

        Returns
        -------
        NDArray
            ``(height, width, 3)`` uint8, 255 for clear glass; read-only, for a view like the last
            gives the same array again.
        """
        canvas = self._canvas
        if canvas is None or not canvas.serves(view):
            canvas = self._canvas = _paint(self._slide, view)
        elif self._light is not None and view.centre_um == self._centre_um:
            return self._light
        light = self._read(canvas, view)
        light.setflags(write=False)
        self._light, self._centre_um = light, view.centre_um
        return light

    def _read(self, canvas: _Canvas, view: View) -> NDArray[np.uint8]:
        """Read a canvas where the pixels of a view look, channel by channel."""
        x = (view.centre_um[0] - canvas.first_um[0]) / canvas.step_um
        # rows run against stage y
        y = (canvas.first_um[1] - view.centre_um[1]) / canvas.step_um
        columns, rows = self._where(view, canvas.step_um)
        channels = []
        for plane, factor in zip(canvas.planes, view.reaches, strict=True):
            # Into the same memory each time: fresh pages cost more than the arithmetic
            column = _scaled(columns, factor, x, self._column)
            row = _scaled(rows, factor, y, self._row)
            channels.append(cv2.remap(plane, column, row, cv2.INTER_CUBIC))
        return np.asarray(cv2.merge(channels), np.uint8)

    def _where(self, view: View, step_um: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Look up which canvas column and row green reads, counted from the view's centre."""
        key = (*_lens(view), step_um)
        if self._maps is None or key != self._maps_key:
            x, y = (specimen_offsets_um(view) / step_um).astype(np.float32)
            self._maps, self._maps_key = (x, -y), key
            self._column, self._row = np.empty_like(x), np.empty_like(y)
        return self._maps


def _scaled(
    values: NDArray[np.float32], factor: float, offset: float, out: NDArray[np.float32]
) -> NDArray[np.float32]:
    np.multiply(values, np.float32(factor), out=out)
    return np.add(out, np.float32(offset), out=out)


def _lens(view: View) -> tuple[object, ...]:
    """All of a view but where it looks and its focus."""
    return (
        view.matrix.tobytes(),
        view.size_px,
        view.numerical_aperture,
        view.distortion,
        view.lateral_chromatic,
        view.axial_chromatic_um,
    )


def _bin_um(view: View) -> float:
    index = immersion_index(view.numerical_aperture)
    return WAVELENGTHS_UM[1] * index / view.numerical_aperture**2 / 8


def _focus_bin(view: View) -> int:
    return round(view.defocus_per_channel_um[1] / _bin_um(view))


def _paint(slide: Slide, view: View) -> _Canvas:
    """Fetch, average to about the pixel of the view, and filter what its surroundings show.

    Averaging k slide pixels of width u has the response sinc(f k u) / sinc(f u), which the filter
    takes back; on a slide coarser than the view the canvas is finer than the slide instead.
    """
    pixel_um = math.sqrt(abs(np.linalg.det(view.matrix)))
    binning = max(1, math.floor(pixel_um / slide.um_per_px + 0.05))
    coarse_um = binning * slide.um_per_px
    finer = max(1, round(coarse_um / pixel_um))
    roam_um = ROAM * pixel_um * max(view.size_px)
    region = region_around(coarse_um, view, halo_um(view) + roam_um)
    samples = slide.region(*(binning * edge for edge in astuple(region)))
    if binning > 1:
        size = (region.width, region.height)
        samples = np.asarray(cv2.resize(samples, size, interpolation=cv2.INTER_AREA), np.uint8)

    def unbin(frequency: NDArray[np.float64], _step_um: float) -> NDArray[np.float64]:
        return np.asarray(np.sinc(frequency * slide.um_per_px) / np.sinc(frequency * coarse_um))

    focus = _focus_bin(view)
    binned = replace(view, defocus_um=focus * _bin_um(view))
    shape = (finer * region.height, finer * region.width)
    image = form_image(samples, coarse_um, binned, shape, unbin)
    planes = tuple(cv2.convertScaleAbs(plane, alpha=255.0) for plane in image.clip(min=0.0))
    middle = (binning - 1) / 2
    x_um = (region.column * binning + middle) * slide.um_per_px
    y_um = -(region.row * binning + middle) * slide.um_per_px
    return _Canvas(
        (_lens(view), focus), planes, coarse_um / finer, (x_um, y_um), view.centre_um, roam_um
    )
