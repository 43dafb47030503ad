"""Where a piece of one picture stands in another: whitened correlation, whole and in blocks.

Pictures are filtered with a Laplacian of Gaussian first, which whitens tissue enough for a narrow
peak and, unlike phase correlation, does not raise the noise; as ashlar does (`reg.py`).

A shift d (x right, y down, in px) means: what stands at u in `fixed` stands at u + d in `moving`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

Floats = NDArray[np.float32]

LOG_SIGMA_PX = 1.0
LEAST_OVERLAP = 0.12  # of the area, for a wide search: less agrees by chance
TINY = 1e-12  # keeps pictures of nothing from dividing by zero
UPSAMPLING = 20  # of the correlation peak; a parabola does the rest
ROUGHLY = np.arange(-4, 5) / 4  # px about a whole peak; then finely about the best of these
FINELY = np.arange(-6, 7) / UPSAMPLING
REACH_PX = 3  # blocks are cut where they are expected, so their peak is near
LEAST_SIDE_PX = 2 * REACH_PX + 3  # a peak and its neighbours do not fit into less


@dataclass(frozen=True, eq=False)
class BlockShifts:
    """Shifts measured in blocks of two pictures.

    Attributes
    ----------
    at_px
        ``(n, 2)`` centres of the blocks in `fixed`, from its image centre.
    shift_px
        ``(n, 2)`` where the same tissue stands in `moving`, minus `at_px`.
    likeness
        ``(n,)`` normalised correlation at the peak, 0..1.
    """

    at_px: NDArray[np.float64]
    shift_px: NDArray[np.float64]
    likeness: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.at_px)

    @property
    def to_px(self) -> NDArray[np.float64]:
        """``(n, 2)`` places in `moving`."""
        return np.asarray(self.at_px + self.shift_px)


def green(image: NDArray) -> Floats:
    """Give the channel all geometry is measured in: green, where the eye and the sensor see best.

    >>> green(np.zeros((2, 3, 3), np.uint8)).shape
    (2, 3)
    """
    return np.asarray(image[..., 1] if image.ndim == 3 else image, np.float32)


def whitened(plane: NDArray) -> Floats:
    """Filter with a negative Laplacian of Gaussian and remove the mean.

    Parameters
    ----------
    plane
        ``(row, column)`` grey levels.
    """
    smooth = cv2.GaussianBlur(np.asarray(plane, np.float32), (0, 0), LOG_SIGMA_PX)
    edges = -np.asarray(cv2.Laplacian(smooth, cv2.CV_32F, borderType=cv2.BORDER_REFLECT))
    return np.asarray(edges - edges.mean(), np.float32)


def wide_shift(
    fixed: NDArray, moving: NDArray, near_px: NDArray | None = None, reach_px: float = math.inf
) -> tuple[NDArray[np.float64], float]:
    """Find the shift between two pictures of overlapping tissue, however large.

    Correlates every overlap of at least an eighth of the area and takes the likest one, to a
    fraction of a pixel.

    Parameters
    ----------
    fixed, moving
        ``(row, column)`` planes of one size.
    near_px, reach_px
        ``(2,)`` the shift expected, and how far from it in x and in y one is looked for; any
        without.

    Returns
    -------
    shift
        ``(2,)`` in px, x and y.
    likeness
        Normalised correlation of the overlap, 0..1; below 0.2 they show nothing in common.
    """
    surface = _overlap_correlation(whitened(fixed), whitened(moving))
    if near_px is not None:
        y, x = (np.arange(size) - (size - 1) // 2 for size in surface.shape)
        beyond = np.abs(y - near_px[1])[:, None] > reach_px
        surface[beyond | (np.abs(x - near_px[0]) > reach_px)] = 0.0
    row, column = np.unravel_index(int(np.argmax(surface)), surface.shape)
    shift = np.array([column, row]) - (np.array(surface.shape[::-1]) - 1) // 2
    likeness = float(surface[row, column])
    refined = _refined(fixed, moving, shift)
    return (shift + refined if refined is not None else shift.astype(float)), likeness


def template_shift(fixed: NDArray, template: NDArray) -> tuple[NDArray[np.float64], float]:
    """Find a small picture within a large one; returns its centre from the large one's, in px.

    Parameters
    ----------
    fixed
        ``(row, column)`` plane to be searched.
    template
        ``(row, column)`` plane not larger than `fixed`, at the same scale.

    Returns
    -------
    centre
        ``(2,)`` x and y, to a fraction of a pixel.
    likeness
        Normalised correlation there, 0..1.
    """
    wanted = whitened(template)
    if float(wanted.std()) < TINY:  # OpenCV likens an even template to everything
        return np.zeros(2), 0.0
    surface = cv2.matchTemplate(whitened(fixed), wanted, cv2.TM_CCOEFF_NORMED)
    row, column = np.unravel_index(int(np.argmax(surface)), surface.shape)
    middle = (np.array(surface.shape[::-1]) - 1) / 2
    rest = [_top(surface[row], int(column)), _top(surface[:, column], int(row))]
    return np.array([column, row]) + rest - middle, float(surface[row, column])


def _top(line: NDArray, at: int) -> float:
    """Give where a parabola through a peak and its neighbours has its top, from the peak."""
    if not 0 < at < len(line) - 1:
        return 0.0
    before, peak, after = (float(line[i]) for i in (at - 1, at, at + 1))
    bend = before - 2 * peak + after
    return (before - after) / (2 * bend) if bend < 0 else 0.0


def block_shifts(
    fixed: NDArray,
    moving: NDArray,
    expected_px: NDArray | None = None,
    *,
    side_px: int = 64,
    step_px: int | None = None,
    least_likeness: float = 0.4,
    least_texture: float = 4.0,
) -> BlockShifts:
    """Measure shifts in blocks, which overlap by half if no other step is asked for.

    Parameters
    ----------
    fixed, moving
        ``(row, column)`` planes in grey levels of 8 bits.
    expected_px
        ``(2,)`` shift of the whole, from image centre to image centre, right to 3 px; blocks are
        cut out accordingly.
    side_px, step_px
        Of a block, and from one to the next.
    least_likeness, least_texture
        Blocks below, in normalised correlation or in standard deviation of grey levels, show too
        little to be measured and are left out.
    """
    # the centres of two pictures of different size are not the same pixel
    between = (np.array(fixed.shape[::-1]) - np.array(moving.shape[::-1])) / 2
    expected = np.zeros(2) if expected_px is None else np.asarray(expected_px)
    whole = np.rint(expected - between).astype(int)
    step = step_px or side_px // 2
    corners = _block_corners(fixed.shape, moving.shape, whole, side_px, step)
    texture = _cut(np.asarray(fixed, np.float32), corners, side_px).std(axis=(1, 2))
    corners = corners[texture >= least_texture]
    if not len(corners):
        return BlockShifts(np.empty((0, 2)), np.empty((0, 2)), np.empty(0))
    first = _cut(whitened(fixed), corners, side_px)
    second = _cut(whitened(moving), corners + whole, side_px)
    shifts, likeness, inside = _correlate(first, second)
    good = (likeness >= least_likeness) & inside
    at_px = corners + (side_px - 1) / 2 - (np.array(fixed.shape[::-1]) - 1) / 2
    return BlockShifts(at_px[good], (shifts + whole + between)[good], likeness[good])


def _overlap_correlation(first: Floats, second: Floats) -> NDArray[np.float64]:
    """Normalised correlation at each shift; 0 where the pictures overlap too little."""
    rows, columns = first.shape
    shape = [fft.next_fast_len(2 * n - 1, real=True) for n in (rows, columns)]

    def correlate(a: NDArray, b: NDArray) -> NDArray[np.float64]:
        product = np.conj(fft.rfft2(a, shape)) * fft.rfft2(b, shape)
        full = np.roll(fft.irfft2(product, shape), (rows - 1, columns - 1), axis=(0, 1))
        return np.asarray(full[: 2 * rows - 1, : 2 * columns - 1], np.float64)

    ones = np.ones_like(first)
    area = correlate(ones, ones)
    energy = correlate(first**2, ones) * correlate(ones, second**2)
    bound = np.sqrt(np.maximum(energy, 1e-6 * energy.max())) + TINY
    return np.where(area >= LEAST_OVERLAP * rows * columns, correlate(first, second) / bound, 0.0)


def _refined(
    fixed: NDArray, moving: NDArray, shift: NDArray[np.int_]
) -> NDArray[np.float64] | None:
    """Give the rest of a whole shift, from the overlap as one block."""
    rows, columns = fixed.shape
    left, top = np.maximum(0, -shift)
    right, bottom = np.minimum((columns, rows), np.array((columns, rows)) - shift)
    if min(right - left, bottom - top) < LEAST_SIDE_PX:
        return None
    first = whitened(fixed)[top:bottom, left:right]
    second = whitened(moving)[
        top + shift[1] : bottom + shift[1], left + shift[0] : right + shift[0]
    ]
    found, _, inside = _correlate(first[None], second[None])
    return found[0] if inside[0] else None


def _block_corners(
    shape: tuple[int, ...], other: tuple[int, ...], whole: NDArray[np.int_], side: int, step: int
) -> NDArray[np.int_]:
    """Lay blocks over the part both pictures show; returns upper left corners (x, y) in `fixed`."""
    axes: list[NDArray] = []
    for axis in (0, 1):
        size, there, move = shape[1 - axis], other[1 - axis], int(whole[axis])
        low, high = max(0, -move), min(size, there - move) - side
        count = max(0, (high - low) // step + 1) if high >= low else 0
        axes.append(np.rint(np.linspace(low, high, count)).astype(int) if count else np.empty(0))
    x, y = np.meshgrid(*axes)
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(int)


def _cut(plane: Floats, corners: NDArray[np.int_], side: int) -> Floats:
    if not len(corners):
        return np.empty((0, side, side), np.float32)
    return np.stack([plane[y : y + side, x : x + side] for x, y in corners])


def _correlate(
    first: Floats, second: Floats
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Correlate stacks of blocks: shifts (n, 2) as x and y, likeness, and whether near enough."""
    rows, columns = first.shape[1:]
    window = np.outer(np.hanning(rows + 2)[1:-1], np.hanning(columns + 2)[1:-1])
    window = window.astype(np.float32)
    first, second = np.asarray(first * window), np.asarray(second * window)
    spectra = np.conj(fft.rfft2(first)) * fft.rfft2(second)
    surface = fft.fftshift(fft.irfft2(spectra, s=(rows, columns)), axes=(1, 2))
    middle = np.array([rows // 2, columns // 2])
    near = surface[
        :,
        middle[0] - REACH_PX - 1 : middle[0] + REACH_PX + 2,
        middle[1] - REACH_PX - 1 : middle[1] + REACH_PX + 2,
    ]
    size = LEAST_SIDE_PX
    peak = np.argmax(near.reshape(len(near), -1), axis=1)
    row, column = peak // size, peak % size
    inside = (row > 0) & (row < size - 1) & (column > 0) & (column < size - 1)
    whole = np.stack([row, column], axis=1) - (REACH_PX + 1)
    fine, height = _upsampled(spectra, whole, (rows, columns))
    energy = np.sqrt((first**2).sum((1, 2)) * (second**2).sum((1, 2))) + TINY
    return fine[:, ::-1], height / energy, inside


def _upsampled(
    spectra: NDArray[np.complexfloating], whole: NDArray[np.int_], shape: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Evaluate correlations on fine grids about whole peaks, and interpolate; (row, column)."""
    rough = _correlation_at(spectra, whole[:, :1] + ROUGHLY, whole[:, 1:] + ROUGHLY, shape)
    row, column = np.divmod(np.argmax(rough.reshape(len(rough), -1), axis=1), len(ROUGHLY))
    about = whole + np.stack([ROUGHLY[row], ROUGHLY[column]], axis=1)
    fine = _correlation_at(spectra, about[:, :1] + FINELY, about[:, 1:] + FINELY, shape)
    row, column = np.divmod(np.argmax(fine.reshape(len(fine), -1), axis=1), len(FINELY))
    row, column = (np.clip(best, 1, len(FINELY) - 2) for best in (row, column))
    n = np.arange(len(fine))
    height = fine[n, row, column]
    rest_row = _vertex(fine[n, row - 1, column], height, fine[n, row + 1, column])
    rest_column = _vertex(fine[n, row, column - 1], height, fine[n, row, column + 1])
    rest = np.stack([FINELY[row] + rest_row, FINELY[column] + rest_column], axis=1)
    return np.asarray(about + rest), height


def _correlation_at(
    spectra: NDArray[np.complexfloating],
    at_row: NDArray[np.float64],
    at_column: NDArray[np.float64],
    shape: tuple[int, int],
) -> NDArray[np.float64]:
    """Evaluate correlations ``(n, rows asked for, columns asked for)`` at fractions of pixels.

    The matrix form of the Fourier sum (Guizar-Sicairos et al., Opt. Lett. 33:156, 2008).
    """
    rows, columns = shape
    f_row = fft.fftfreq(rows)
    f_column = fft.rfftfreq(columns)
    weight = np.full(len(f_column), 2.0)
    weight[0] = 1.0
    if columns % 2 == 0:
        weight[-1] = 1.0
    down = np.exp(2j * np.pi * at_row[:, :, None] * f_row)
    across = np.exp(2j * np.pi * at_column[:, :, None] * f_column) * weight
    found = np.einsum("nir,nrc,njc->nij", down, spectra, across, optimize=True).real
    found /= rows * columns
    # windowed blocks overlap less the farther they are apart, which would draw every peak to zero
    overlap = (
        _window_overlap(at_row, rows)[:, :, None] * _window_overlap(at_column, columns)[:, None]
    )
    return np.asarray(found / overlap)


def _window_overlap(shift: NDArray, size: int) -> NDArray[np.float64]:
    """Give the autocorrelation of the Hann window of a block, 1 without shift."""
    x = np.abs(shift) / (size + 1)
    turn = 2 * np.pi * x
    return np.asarray((1 - x) * (2 + np.cos(turn)) / 3 + np.sin(turn) / (2 * np.pi))


def _vertex(before: NDArray, at: NDArray, after: NDArray) -> NDArray[np.float64]:
    """Give where a parabola through three equidistant values has its top, in px of the picture."""
    bend = before - 2 * at + after
    rest = np.where(bend < 0, (before - after) / np.where(bend < 0, 2 * bend, 1.0), 0.0)
    return np.asarray(np.clip(rest, -1, 1) / UPSAMPLING)
