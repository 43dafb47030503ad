"""First reading of a session: where each high field lies in its low one, and what it looks like."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scope_sr.build_dataset.setup import Group, Setup, expected_px
from scope_sr.imaging.laying import draw, lay, softened, within
from scope_sr.imaging.pair_quality import sharpness
from scope_sr.imaging.session_model import Matches, SessionModel, shift_of
from scope_sr.light import (
    Floats,
    Image,
    corrected,
    green_of,
    opened,
    shading_of,
)

EVERY_PX = 8  # of the samples of colour, in low pixels: neighbours say the same after the blur
BLUR_PX = 3.0  # of low pixels: makes the sharpness of both alike, so that only colour differs
RIM_PX = 8
MOST_SAMPLES = 400  # of colour, per field
THUMB_PX = 24
THUMB_TEXTURE_DN = 3.0  # of 8 bits; a thumbnail with less shows glass, and all glass is alike
BRIGHT_PERCENT = 99.5


@dataclass(frozen=True, eq=False)
class Looks:
    """What one image looks like.

    Attributes
    ----------
    clipped
        Share of the samples at full scale.
    thumb
        ``(24, 24)`` float32, band-passed and of unit length; None where it shows no texture.
    """

    clipped: float
    thumb: Floats | None


@dataclass(frozen=True, eq=False)
class Measured:
    """What the first reading found of one high field.

    Attributes
    ----------
    expected_px
        ``(2,)`` s of the map as the stage foretold it.
    matches
        Blocks that both show; none where the field was not found.
    tissue_expected
        Whether the low field shows texture where this one should lie.
    likeness, wide
        Of the search; `wide` where it was found only by looking everywhere.
    sharpness
        See :class:`scope_sr.imaging.pair_quality.Comparison`; nan where it was not measured.
    colors_low, colors_high
        ``(n, channels)`` grey levels of the same points, blurred; none but of samples.
    """

    name: str
    looks: Looks
    expected_px: NDArray[np.float64]
    found: bool
    tissue_expected: bool
    matches: Matches
    likeness: float
    wide: bool
    sharpness: float
    colors_low: Floats
    colors_high: Floats


@dataclass(frozen=True, eq=False)
class GroupMeasured:
    """A low field and the high fields in it.

    ``bright`` are the grey levels, per channel, that 0.5 % of the low pixels exceed, shading off.
    """

    low: str
    looks: Looks
    bright: tuple[float, ...]
    highs: tuple[Measured, ...]


@dataclass(frozen=True, eq=False)
class MeasureTask:
    """A group to be read: the map to begin with, and what all fields lie off the stage's word.

    Of the `samples` colours and sharpness are measured too: what all share needs no more.
    """

    setup: Setup
    model: SessionModel
    offset_px: NDArray[np.float64]
    group: Group
    samples: frozenset[str]


def measure_group(task: MeasureTask) -> GroupMeasured:
    """Read a low field and the high fields in it, and find where they lie."""
    setup, group = task.setup, task.group
    session = opened(setup.folder)
    raw = session.read(group.low)
    shading = shading_of(setup.folder, setup.low)
    low = green_of(raw, shading, setup.full_scale)
    soft = softened(corrected(raw, shading), BLUR_PX)
    highs = tuple(_measure_high(task, name, low, soft) for name in group.highs)
    bright = np.atleast_1d(np.percentile(soft[::4, ::4], BRIGHT_PERCENT, axis=(0, 1)))
    return GroupMeasured(group.low, _looks(raw, low, setup), tuple(bright.tolist()), highs)


def _measure_high(task: MeasureTask, name: str, low: Floats, low_soft: Floats) -> Measured:
    setup, model, session = task.setup, task.model, opened(task.setup.folder)
    expected = expected_px(session, model, name) + task.offset_px
    raw = session.read(name)
    shading = shading_of(setup.folder, setup.high)
    high = green_of(raw, shading, setup.full_scale)
    laid = lay(low, high, model, expected, setup.blur_px, setup.reach_px)
    none = np.empty((0, low_soft.shape[2] if low_soft.ndim == 3 else 1), np.float32)
    colors, sharp = (none, none), float("nan")
    if laid is not None and len(laid.matches) and name in task.samples:
        small = _decimated(corrected(raw, shading), setup)
        shift, _ = shift_of(model, laid.matches)
        sharp = _sharpness(low, high, model, shift, setup)
        colors = _colors(low_soft, small, model, shift, high.shape)
    return Measured(
        name=name,
        looks=_looks(raw, high, setup),
        expected_px=expected,
        found=laid is not None,
        tissue_expected=_texture_at(low, high.shape, model, expected),
        matches=laid.matches if laid else Matches(np.empty((0, 2)), np.empty((0, 2))),
        likeness=laid.likeness if laid else 0.0,
        wide=laid.wide if laid else False,
        sharpness=sharp,
        colors_low=colors[0],
        colors_high=colors[1],
    )


def _texture_at(
    low: Floats, high_shape: tuple[int, ...], model: SessionModel, expected: NDArray[np.float64]
) -> bool:
    box = within(model, expected, high_shape, low.shape)
    part = low[box.y : box.y + box.height, box.x : box.x + box.width]
    return min(part.shape) >= THUMB_PX and thumb(part) is not None


def _sharpness(
    low: Floats, high: Floats, model: SessionModel, shift: NDArray[np.float64], setup: Setup
) -> float:
    box = within(model, shift, high.shape, low.shape)
    drawn, inside = draw(softened(high, setup.blur_px), model, shift, box, low.shape)
    part = low[box.y : box.y + box.height, box.x : box.x + box.width]
    return sharpness(part, drawn, inside)


def _decimated(high: Floats, setup: Setup) -> Floats:
    """Make a high image about as large as what it shows of the low one, and as soft as that."""
    factor = max(1, round(setup.ratio))
    rows, columns = (n // factor for n in high.shape[:2])
    cut = high[: rows * factor, : columns * factor]
    small = cv2.resize(cut, (columns, rows), interpolation=cv2.INTER_AREA)
    return softened(np.asarray(small, np.float32), BLUR_PX * setup.ratio / factor)


def _colors(
    low_soft: Floats,
    small: Floats,
    model: SessionModel,
    shift: NDArray[np.float64],
    high_shape: tuple[int, ...],
) -> tuple[Floats, Floats]:
    """Sample both images, blurred alike, at points of the low grid."""
    box = within(model, shift, high_shape, low_soft.shape)
    x, y = np.meshgrid(
        np.arange(box.x + RIM_PX, box.x + box.width - RIM_PX, EVERY_PX),
        np.arange(box.y + RIM_PX, box.y + box.height - RIM_PX, EVERY_PX),
    )
    at = np.stack([x.ravel(), y.ravel()], axis=1)
    at = at[:: max(1, -(-len(at) // MOST_SAMPLES))]
    middle = (np.array(low_soft.shape[1::-1]) - 1) / 2
    seen = model.to_high(at - middle, shift)
    factor = high_shape[1] // small.shape[1]
    # the first pixel of the small image is the mean of the first `factor` of the large one
    where = (seen + (np.array(high_shape[1::-1]) - 1) / 2 - (factor - 1) / 2) / factor
    where = where.astype(np.float32)[:, None]
    picked = cv2.remap(small, where[..., 0], where[..., 1], cv2.INTER_LINEAR)
    channels = low_soft.shape[2] if low_soft.ndim == 3 else 1
    lows = low_soft[at[:, 1], at[:, 0]].reshape(-1, channels)
    return lows.astype(np.float32), picked.reshape(-1, channels).astype(np.float32)


def _looks(raw: Image, green: Floats, setup: Setup) -> Looks:
    return Looks(np.count_nonzero(raw >= setup.full_scale) / raw.size, thumb(green))


def thumb(green: Floats) -> Floats | None:
    """Make a thumbnail that tells places apart; None for glass, which is alike everywhere."""
    small = cv2.resize(green, (THUMB_PX, THUMB_PX), interpolation=cv2.INTER_AREA)
    band: Floats = small - cv2.GaussianBlur(small, (0, 0), THUMB_PX / 8)
    if float(band.std()) < THUMB_TEXTURE_DN:
        return None
    return np.asarray(band / np.linalg.norm(band), np.float32)
