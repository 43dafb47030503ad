"""Image formation: from the transmittance of a slide to the light on the sensor.

The specimen is taken as thin and the condenser as filling the pupil of the objective, so that the
picture is linear in transmittance with the incoherent optical transfer function (OTF) of a
defocused circular pupil; the camera pixel is a box in the same Fourier product. Per channel only
the wavelength, the focus and the magnification differ. Defocus is that of the image centre: field
curvature and tilt within one view are left out, as is the aplanatic apodisation of the pupil.

`transmit` is exact: the filtered field is kept as B-spline coefficients on a grid finer than the
OTF needs, and evaluated at the very points the pixels look at. `scope_sr.specimen.fast` is the
same physics at the pace of a camera.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import map_coordinates

from scope_sr.specimen.pupil import WAVELENGTHS_UM, defocus_limit_um, immersion_index, radial_otf
from scope_sr.specimen.pupil import otf as otf

if TYPE_CHECKING:
    from scope_sr.specimen.slide import Slide

OVERSAMPLING = 1.5
"""Samples of the filtered field per sample its OTF asks for; the rest is left to the spline."""

SPLINE_ORDER = 5

Correction = Callable[[NDArray[np.float64], float], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class View:
    """What one frame looks at, and through what.

    A pixel offset d = (x right, y down) from the image centre sees the specimen point
    ``centre_um + matrix @ g(d)`` with the radial distortion ``g(d) = d (1 + distortion |d|²/R²)``,
    R being half the diagonal of the image in pixels.

    Attributes
    ----------
    centre_um
        Specimen point, in the frame of the stage, seen at the image centre.
    matrix
        ``(2, 2)`` float, µm per pixel; carries pixel size, rotation and flips.
    size_px
        (width, height) of the image.
    numerical_aperture
        Of the objective; from 1 upward it is taken as immersed.
    defocus_um
        Distance of the specimen from the focal plane, in the immersion medium, for green.
    distortion
        Displacement at the corner as a fraction of R.
    lateral_chromatic
        Size of the red and of the blue image against the green, minus 1; divides g(d).
    axial_chromatic_um
        Focus of red and of blue, minus that of green; subtracted from their defocus.
    """

    centre_um: tuple[float, float]
    matrix: NDArray[np.float64]
    size_px: tuple[int, int]
    numerical_aperture: float
    defocus_um: float
    distortion: float = 0.0
    lateral_chromatic: tuple[float, float] = (0.0, 0.0)
    axial_chromatic_um: tuple[float, float] = (0.0, 0.0)

    @property
    def reaches(self) -> tuple[float, float, float]:
        """How far out red, green and blue look, against green: a larger image looks less far."""
        red, blue = self.lateral_chromatic
        return 1 / (1 + red), 1.0, 1 / (1 + blue)

    @property
    def defocus_per_channel_um(self) -> tuple[float, float, float]:
        """Defocus of red, green and blue, held where the blur shows no more."""
        limit = defocus_limit_um(self.numerical_aperture)
        red, blue = self.axial_chromatic_um
        shifts = (self.defocus_um - red, self.defocus_um, self.defocus_um - blue)
        red_um, green_um, blue_um = (min(max(z, -limit), limit) for z in shifts)
        return red_um, green_um, blue_um


@dataclass(frozen=True)
class Region:
    """A rectangle of slide pixels."""

    column: int
    row: int
    width: int
    height: int


def specimen_offsets_um(view: View) -> NDArray[np.float64]:
    """Where the green pixels look, from `View.centre_um`: ``(2, height, width)``, x and y in µm."""
    width, height = view.size_px
    x = np.arange(width) - (width - 1) / 2
    y = np.arange(height) - (height - 1) / 2
    return _look(view, x, y)


def halo_um(view: View) -> float:
    """How far outside the view the slide still matters.

    Beyond x the line spread of a circular pupil holds λ/(π³ NA x) of the light on either side:
    0.2 % at 16 λ/NA. Defocus adds the radius of its disc (a steeper ray than 76° is rare).
    """
    index = immersion_index(view.numerical_aperture)
    slope = view.numerical_aperture / math.sqrt(index**2 - view.numerical_aperture**2)
    defocus_um = max(abs(z) for z in view.defocus_per_channel_um)
    return 16 * WAVELENGTHS_UM[0] / view.numerical_aperture + defocus_um * min(slope, 4.0)


def region_around(um_per_px: float, view: View, margin_um: float) -> Region:
    """Frame the slide pixels under a view with a margin, in sizes the FFT likes."""
    # a coarse lattice tells the reach of a distorted, turned rectangle to a fraction of a pixel
    x, y = (side * np.arange(-4, 5) / 8 for side in view.size_px)
    offsets_um = _look(view, x, y).reshape(2, -1) * max(view.reaches)
    reach_um = offsets_um.min(axis=1) - margin_um, offsets_um.max(axis=1) + margin_um
    low, high = (np.asarray(view.centre_um) + reach for reach in reach_um)
    column, row = math.floor(low[0] / um_per_px), math.floor(-high[1] / um_per_px)
    width = fft.next_fast_len(math.ceil(high[0] / um_per_px) - column + 1, real=True)
    height = fft.next_fast_len(math.ceil(-low[1] / um_per_px) - row + 1)
    return Region(column, row, width, height)


def form_image(
    samples: NDArray[np.uint8],
    um_per_px: float,
    view: View,
    shape: tuple[int, int],
    correct: Correction,
) -> NDArray[np.float32]:
    """Filter samples of the slide with OTF and pixel box, and resample them, in Fourier space.

    The samples are the band-limited picture itself, so no pixel box of the slide is applied. The
    camera pixel is the parallelogram spanned by the columns a, b of `View.matrix`::

        H(f) · sinc(f·a) · sinc(f·b) · correct(f_x) · correct(f_y)

    Parameters
    ----------
    samples
        ``(row, column, 3)`` transmittance, 255 for clear glass; rows grow with stage -y.
    shape
        Rows and columns of the result over the same extent; its sample (0, 0) stands where that of
        `samples` stands. It must hold the band of the result, or what lies above is dropped.
    correct
        Of one frequency axis in cycles per µm and the sampling step of the result in µm: undoes
        what a later interpolation, or an earlier reduction, does along that axis.

    Returns
    -------
    NDArray
        ``(3, *shape)`` float32, periodic like every discrete Fourier product.
    """
    (height, width), (rows, columns) = samples.shape[:2], shape
    extent_um = height * um_per_px, width * um_per_px
    limit = 2 * view.numerical_aperture / WAVELENGTHS_UM[2]
    across = _kept(width, columns, limit * extent_um[1])
    down = _kept(height, rows, limit * extent_um[0])
    f_x = np.arange(across) / extent_um[1]
    # rows run against stage y
    f_y = -np.r_[0:down, 1 - down : 0] / extent_um[0]
    gain_x = correct(f_x, extent_um[1] / columns).astype(np.float32)
    gain_y = correct(f_y, extent_um[0] / rows) * (rows * columns / (height * width * 255))
    f_x, f_y = f_x.astype(np.float32), f_y.astype(np.float32)[:, None]
    common = _pixel_box(view.matrix, f_x, f_y) * gain_x * gain_y.astype(np.float32)[:, None]
    radius = np.sqrt(f_x**2 + f_y**2)
    image = np.empty((3, rows, columns), np.float32)
    for channel, defocus_um in enumerate(view.defocus_per_channel_um):
        per_um, table = radial_otf(view.numerical_aperture, WAVELENGTHS_UM[channel], defocus_um)
        entry = (radius * np.float32(per_um) + np.float32(0.5)).astype(np.int32)
        transfer = common * table.take(entry, mode="clip")
        image[channel] = _filter(samples[..., channel], transfer, shape)
    return image


def transmit(slide: Slide, view: View) -> NDArray[np.float32]:
    """Render the light of a view without noise, true to about 0.001 px.

    Parameters
    ----------
    slide
        The specimen; pixel (0, 0) has its centre at stage (0, 0).

    Returns
    -------
    NDArray
        ``(height, width, 3)`` float32, transmitted fraction 0..1, RGB.
    """
    offsets_um = specimen_offsets_um(view)
    region = region_around(slide.um_per_px, view, halo_um(view))
    samples = slide.region(region.column, region.row, region.width, region.height)
    shape = _working_shape(region, slide.um_per_px, view.numerical_aperture)
    coefficients = form_image(samples, slide.um_per_px, view, shape, _spline_prefilter)
    x_um, y_um = view.centre_um
    image = np.empty((view.size_px[1], view.size_px[0], 3), np.float32)
    for channel, magnification in enumerate(view.reaches):
        column = (x_um + offsets_um[0] * magnification) / slide.um_per_px - region.column
        row = -(y_um + offsets_um[1] * magnification) / slide.um_per_px - region.row
        where = row * (shape[0] / region.height), column * (shape[1] / region.width)
        image[..., channel] = map_coordinates(
            coefficients[channel], where, np.float32, SPLINE_ORDER, "grid-wrap", prefilter=False
        )
    return np.clip(image, 0.0, 1.0, out=image)


def _look(view: View, x: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.float64]:
    """Evaluate matrix @ g(d) on the lattice of offsets `x`, `y` in px: ``(2, y, x)`` in µm."""
    radius = math.hypot(*view.size_px) / 2
    stretch = 1 + view.distortion * (x**2 + y[:, None] ** 2) / radius**2
    g_x, g_y = x * stretch, y[:, None] * stretch
    return np.stack([along_x * g_x + along_y * g_y for along_x, along_y in view.matrix])


def _filter(
    plane: NDArray[np.uint8], transfer: NDArray[np.float32], shape: tuple[int, int]
) -> NDArray[np.float32]:
    """Multiply the spectrum of a plane with `transfer`, which holds the band that is kept."""
    across, down = transfer.shape[1], transfer.shape[0] // 2 + 1
    # one axis at a time: what the pupil cuts from the rows need not be transformed along columns
    half = fft.rfft(plane.astype(np.float32), axis=1)[:, :across]
    spectrum = fft.fft(half, axis=0)
    kept = np.zeros((shape[0], across), np.complex64)
    kept[:down] = spectrum[:down] * transfer[:down]
    if down > 1:
        kept[1 - down :] = spectrum[1 - down :] * transfer[down:]
    return np.asarray(fft.irfft(fft.ifft(kept, axis=0), n=shape[1], axis=1))


def _kept(samples_in: int, samples_out: int, cutoff: float) -> int:
    """Count the frequencies from 0 that both grids and the pupil hold; Nyquist has no sign."""
    return min((min(samples_in, samples_out) + 1) // 2, math.floor(cutoff) + 1)


def _pixel_box(
    matrix: NDArray[np.float64], f_x: NDArray[np.float32], f_y: NDArray[np.float32]
) -> NDArray[np.float32]:
    right, down = (np.sinc(f_x * a[0] + f_y * a[1]) for a in matrix.T.astype(np.float32))
    return np.asarray(right * down)


def _spline_prefilter(frequency: NDArray[np.float64], step_um: float) -> NDArray[np.float64]:
    """Undo the B-spline in the pass band itself; its images stay below (1/2)^6 at the cut-off."""
    return np.asarray(np.sinc(frequency * step_um) ** -(SPLINE_ORDER + 1))


def _working_shape(region: Region, um_per_px: float, numerical_aperture: float) -> tuple[int, int]:
    """Choose the grid of the filtered field: fine enough for the OTF, no finer than its content."""
    band = min(2 * numerical_aperture / WAVELENGTHS_UM[2], 0.5 / um_per_px)
    per_px = OVERSAMPLING * 2 * band * um_per_px
    rows = fft.next_fast_len(math.ceil(region.height * per_px))
    return rows, fft.next_fast_len(math.ceil(region.width * per_px), real=True)
