"""Pictures of light: flat-field, noise, colours and chromatic shift."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from scope_sr.calibrate.words import brief, plus_minus
from scope_sr.drawing import (
    BLUE,
    GREEN,
    GREY,
    INK,
    RED,
    channels,
    legend,
    panel,
    save,
    sheet,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from scope_sr.imaging.photon_transfer import Noise

Points = NDArray[np.float64]
Floats = NDArray[np.float32]

WIDEST_PX = 360  # of an image shown in a picture
DUSTLESS_PX = 48  # of one in which a speck of dust is a pixel or two, which a median takes off
MOST_DOTS = 1500


def flat_field(path: Path, objective: str, flat: Floats, dark: Floats) -> None:
    """Draw the flat as an image and in profiles, and the dark level; ``(row, column[, 3])``."""
    planes = channels(flat if flat.ndim == 3 else flat[..., None])
    _, _, seen = planes[len(planes) // 2]
    small = 100 * _smaller(seen, WIDEST_PX)
    shading = cv2.medianBlur(100 * _smaller(seen, DUSTLESS_PX), 5)
    low, high = float(shading.min()), float(shading.max())
    figure = sheet(
        f"{objective} flat-field: {brief(low, 1)} to {brief(high, 1)} % of the mean light, dust"
        f" apart; dark level {float(np.median(dark)):.3g} DN"
    )
    halves = figure.add_gridspec(1, 2)
    left, right = (figure.add_subfigure(halves[i]) for i in (0, 1))
    image = left.subplots()
    across, level = right.subplots(2, 1, height_ratios=(1.7, 1))
    panel(image, f"flat, {planes[len(planes) // 2][0]}", "column (px)", "row (px)")
    image.grid(visible=False)
    rows, columns = flat.shape[:2]
    shown = image.imshow(
        small, cmap="viridis", vmin=low, vmax=high, extent=(0, columns, rows, 0),
        interpolation="nearest",
    )  # fmt: skip
    bar = left.colorbar(shown, ax=image, location="bottom", shrink=0.9, aspect=30, pad=0.02)
    bar.set_label("% of the mean", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    panel(across, "through the middle", "column or row (px)", "% of the mean")
    for _, color, plane in planes:
        across.plot(*_profile(plane, 100.0), color=color, linewidth=1)
        across.plot(*_profile(plane.T, 100.0), color=color, linewidth=1, linestyle=(0, (5, 4)))
    across.plot([], [], "-", color=GREY, label="along the row")
    across.plot([], [], "--", color=GREY, label="down the column")
    legend(across, loc="best")
    panel(level, "dark level along the row", "column (px)", "DN")
    for name, color, plane in channels(dark if dark.ndim == 3 else dark[..., None]):
        level.plot(*_profile(plane, 1.0), color=color, linewidth=1, label=name)
    bottom, top = level.get_ylim()
    level.set_ylim(min(bottom, float(np.median(dark)) - 1), max(top, float(np.median(dark)) + 1))
    legend(level, ncols=3, loc="upper right")
    save(figure, path)


def _smaller(plane: Floats, widest_px: int) -> Floats:
    times = max(1.0, max(plane.shape) / widest_px)
    size = (max(1, round(plane.shape[1] / times)), max(1, round(plane.shape[0] / times)))
    return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA))


def _profile(plane: Floats, times: float) -> tuple[NDArray, NDArray]:
    """Give place and level along the middle rows, in at most 300 steps."""
    rows, columns = plane.shape
    half = max(1, rows // 40)
    line = plane[max(0, rows // 2 - half) : rows // 2 + half].mean(axis=0)
    steps = min(columns, 300)
    level = cv2.resize(line[None], (steps, 1), interpolation=cv2.INTER_AREA)[0]
    return (np.arange(steps) + 0.5) * columns / steps, times * level


def photon_transfer(path: Path, noise: Noise) -> None:
    """Draw variance over level per channel, the line through it, and how far off it they lie."""
    figure = sheet(_noise_in_words(noise))
    curve, off = figure.subplots(1, 2, width_ratios=(1.2, 1))
    kind = ", of a camera that filters: effective values" if noise.effective else ""
    panel(curve, f"noise over level{kind}", "level (DN)", "variance (DN²)")
    panel(off, "the same, off the line", "level (DN)", "variance less line (% of line)")
    names = [(name, color) for name, color, _ in channels(np.zeros((1, len(noise.slope))))]
    for i, (name, color) in enumerate(names):
        level, variance = np.array(noise.levels_dn[i]), np.array(noise.variances_dn2[i])
        ends = np.array([0.0, level.max(initial=1.0)])
        line = noise.slope[i] * ends + noise.offset_dn2[i]
        gain = plus_minus(noise.gain_e_per_dn[i], noise.gain_sigma_e_per_dn[i])
        curve.plot(level, variance, "o", color=color, markersize=3.5, alpha=0.7)
        curve.plot(ends, line, color=color, linewidth=1, label=f"{name}: {gain} e per DN")
        expected = noise.slope[i] * level + noise.offset_dn2[i]
        off.plot(level, 100 * (variance / expected - 1), "o", color=color, markersize=3.5,
                 alpha=0.7)  # fmt: skip
    curve.set_xlim(left=0)
    curve.set_ylim(bottom=0)
    legend(curve, loc="upper left")
    off.axhline(0, color=INK, linewidth=1)
    off.set_xlim(left=0)
    figure.supxlabel(
        f"levels follow the light to {100 * max(noise.linearity):.2g} % of full scale",
        fontsize=8.5, x=0.99, ha="right", color=GREY,
    )  # fmt: skip
    save(figure, path)


def _noise_in_words(noise: Noise) -> str:
    gains = ", ".join(brief(g, s) for g, s in zip(noise.gain_e_per_dn, noise.gain_sigma_e_per_dn,
                                                   strict=True))  # fmt: skip
    read = [f"{value:.2g}" for value in noise.read_noise_e if value is not None]
    hidden = "read noise hidden by rounding to whole grey levels"
    well = min(noise.full_well_e)
    return (
        f"Camera gain {gains} e per DN; full well at least {well:.0f} e;"
        f" {hidden if noise.hidden_by_bits or not read else 'read noise ' + ', '.join(read) + ' e'}"
    )


def color(
    path: Path,
    low: str,
    high: str,
    source: Floats,
    target: Floats,
    matrix: Points,
    residual_dn: float,
) -> None:
    """Draw colours ``(n, 3)`` of `high` over those foretold from `low`, and what is left over."""
    foretold = source @ matrix[:, :-1].T + matrix[:, -1]
    plain_dn = float(np.sqrt(np.mean((target - source) ** 2)))
    figure = sheet(
        f"Colours of {high} follow from {low} to {residual_dn:.2g} DN; without the matrix they"
        f" differ by {plain_dn:.2g} DN"
    )
    count = source.shape[1]
    grid = figure.add_gridspec(2, count, height_ratios=(1.5, 1))
    left_over = figure.add_subplot(grid[1, :])
    some = np.random.default_rng(0).permutation(len(source))[:MOST_DOTS]
    panel(left_over, "measured less foretold", "grey levels (DN of 8 bits)", "share of samples (%)")
    for i, (name, tint, _) in enumerate(channels(source)):
        axes = figure.add_subplot(grid[0, i])
        panel(axes, name, f"{low} (DN of 8 bits)", f"{high} (DN)")
        axes.plot(
            source[some, i], target[some, i], ".", color=GREY, markersize=2, label="as they are"
        )
        axes.plot(foretold[some, i], target[some, i], ".", color=tint, markersize=2,
                  label="by the matrix")  # fmt: skip
        axes.axline((128, 128), slope=1, color=INK, linewidth=0.8)
        legend(axes, loc="upper left", markerscale=4, handletextpad=0.1)
        _histogram(left_over, target[:, i] - source[:, i], GREY, "--", "")
        _histogram(left_over, target[:, i] - foretold[:, i], tint, "-", name)
    left_over.plot([], [], "--", color=GREY, label="as they are")
    legend(left_over, loc="upper right")
    save(figure, path)


def _histogram(axes: Axes, values: NDArray, tint: str, line: str, name: str) -> None:
    edges = np.linspace(-20.25, 20.25, 82)
    counts, _ = np.histogram(values, edges)
    share = 100 * counts / max(len(values), 1)
    axes.plot((edges[:-1] + edges[1:]) / 2, share, line, color=tint, linewidth=1.2,
              label=name or None)  # fmt: skip


def chromatic(
    path: Path,
    objective: str,
    sizes: Sequence[float],
    sigma: Sequence[float],
    corner_px: float,
    dots: Sequence[Points] = (),
) -> None:
    """Draw by how much red and blue stand off green over the distance from the image centre.

    Parameters
    ----------
    sizes, sigma
        Of the red and of the blue image against the green, minus 1.
    corner_px
        Distance of a corner of the image from its centre.
    dots
        For red and for blue ``(n, 2)`` px: how far green went between two fields, and how much
        farther the colour went.
    """
    shifts = [
        plus_minus(corner_px * size, corner_px * error)
        for size, error in zip(sizes, sigma, strict=True)
    ]
    figure = sheet(
        f"{objective}, at the corner: red {shifts[0]} px, blue {shifts[1]} px farther out than"
        " green"
    )
    axes = figure.subplots()
    panel(axes, "", "distance from the image centre (px)", "farther out than green (px)")
    out_px = np.array([0.0, corner_px])
    for i, (name, tint) in enumerate((("red", RED), ("blue", BLUE))):
        line = out_px * sizes[i]
        axes.plot(out_px, line, color=tint, linewidth=1.8, label=f"{name}: {shifts[i]} px")
        axes.fill_between(out_px, line - 2 * sigma[i] * out_px, line + 2 * sigma[i] * out_px,
                          color=tint, alpha=0.15, linewidth=0)  # fmt: skip
        if len(dots):
            _medians(axes, np.asarray(dots[i]), tint)
    axes.axhline(0, color=GREEN, linewidth=1.2, label="green")
    axes.plot([], [], "s", color=GREY, alpha=0.4, label="2 σ")
    axes.set_xlim(0, corner_px)
    axes.margins(y=0.2)
    legend(axes, loc="best")
    save(figure, path)


def _medians(axes: Axes, dots: Points, tint: str) -> None:
    """Draw medians of dots of alike distance: a single block scatters by far more than the lines.

    A move to the other side counts as one to this side.
    """
    dots = dots[np.isfinite(dots).all(axis=1)]
    away, farther = np.abs(dots[:, 0]), dots[:, 1] * np.sign(dots[:, 0])
    order = np.argsort(away)
    for part in np.array_split(order, 12):
        if len(part) < 4:
            continue
        error = 1.25 * float(np.std(farther[part])) / math.sqrt(len(part))
        axes.errorbar(
            [float(np.median(away[part]))], [float(np.median(farther[part]))], [error], fmt="o",
            color=tint, markersize=4, linewidth=1,
        )  # fmt: skip
