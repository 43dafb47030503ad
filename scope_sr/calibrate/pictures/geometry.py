"""Pictures of where things are: stage, affine, offsets and focus."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scope_sr.calibrate.words import brief, plus_minus
from scope_sr.drawing import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    RED,
    legend,
    nothing,
    panel,
    rounded,
    save,
    sheet,
)
from scope_sr.imaging.affine import rotation_rad

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from scope_sr.calibration import ObjectiveCalibration
    from scope_sr.imaging.affine import Affine
    from scope_sr.imaging.focus_surface import FocusSurface

Points = NDArray[np.float64]

MOST_LABELS = 30
TURNS = ("#2563a8", "#d9822b", "#2e8b57", "#8e44ad", "#c0392b", "#0f8b8d", "#7f6000")


def stage(
    path: Path,
    below: Sequence[Points],
    above: Sequence[Points],
    play_um: Points,
    play_sigma_um: Points,
    scatter_um: float,
) -> None:
    """Draw where the stage came to stand, per axis ``(arrivals, 2)`` in µm, from either side."""
    x, y = (plus_minus(*both) for both in zip(play_um, play_sigma_um, strict=True))
    figure = sheet(
        f"Backlash x {x} µm, y {y} µm; arrivals from one side repeat to {scatter_um:.2g} µm"
    )
    for axis, axes in enumerate(figure.subplots(1, 2)):
        name = "xy"[axis]
        panel(axes, f"{name} axis", "arrival", f"stand along {name}, by the picture (µm)")
        zero_um = float(np.mean(below[axis][:, axis]))
        sides = ((below, "from below", BLUE, "o"), (above, "from above", ORANGE, "s"))
        for stands, label, color, marker in sides:
            at_um = stands[axis][:, axis] - zero_um
            axes.axhline(at_um.mean(), color=color, linewidth=1)
            number = np.arange(1, len(at_um) + 1)
            axes.plot(number, at_um, marker, color=color, markersize=5, label=label)
        _play(axes, len(below[axis]) + 0.9, float(play_um[axis]))
        axes.set_xlim(0.4, len(below[axis]) + 2.6)
        if len(below[axis]) <= 12:
            axes.set_xticks(range(1, len(below[axis]) + 1))
        axes.margins(y=0.15)
        legend(axes, loc="upper center", ncols=2, bbox_to_anchor=(0.5, 1.02))
    save(figure, path)


def _play(axes: Axes, at: float, play_um: float) -> None:
    arrow = {"arrowstyle": "<->", "color": INK, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (at, 0.0), (at, play_um), arrowprops=arrow)
    axes.text(at + 0.2, play_um / 2, f"{brief(play_um, 0.05)} µm", fontsize=8.5, va="center")


def affine(path: Path, objective: str, stage_um: Points, affine: Affine) -> None:
    """Draw what the affine leaves over at each place of the grid ``(n, 2)``: stage less picture."""
    size_um = affine.pixel_size_um
    turn = plus_minus(1000 * rotation_rad(affine.matrix), 1000 * affine.rotation_sigma_rad)
    figure = sheet(
        f"{objective}: a pixel is {brief(size_um, size_um * affine.scale_sigma)} µm"
        f" ± {100 * affine.scale_sigma:.2g} %, the camera is rotated by {turn} mrad;"
        f" the stage scatters by {affine.stage_sigma_um:.2g} µm"
    )
    field, cloud = figure.subplots(1, 2, width_ratios=(1.2, 1))
    _arrows(field, stage_um, affine)
    panel(cloud, "the same, all places in one", "stage less picture, x (µm)", "y (µm)")
    reach_um = 4.5 * max(affine.stage_sigma_um, 0.01)
    for sigmas in (1, 2):
        _ring(cloud, (0.0, 0.0), sigmas * affine.stage_sigma_um, f"{sigmas} σ")
    dots = np.clip(affine.residuals_um, -0.97 * reach_um, 0.97 * reach_um)
    good = ~affine.outliers
    cloud.plot(*dots[good].T, "o", color=BLUE, markersize=4)
    if affine.outliers.any():
        label = f"left out: {int(affine.outliers.sum())}"
        cloud.plot(*dots[~good].T, "x", color=RED, markersize=7, label=label)
        legend(cloud, loc="upper right")
    cloud.set(xlim=(-reach_um, reach_um), ylim=(-reach_um, reach_um), aspect="equal")
    save(figure, path)


def _arrows(axes: Axes, stage_um: Points, affine: Affine) -> None:
    """Draw residuals as arrows, magnified so that a usual one is a third of the way to the next."""
    length_um = np.hypot(*affine.residuals_um.T)
    step_um = math.sqrt(float(np.prod(np.ptp(stage_um, axis=0))) / max(len(stage_um), 1))
    usual_um = float(np.median(length_um)) or 1.0
    times = rounded(0.35 * step_um / usual_um)
    panel(axes, f"stage less picture, {times:g} times as long", "stage x (µm)", "stage y (µm)")
    longest_um = 1.3 * step_um / times
    shown = affine.residuals_um * np.minimum(1, longest_um / np.maximum(length_um, 1e-9))[:, None]
    color = np.where(affine.outliers, RED, BLUE)
    axes.plot(*stage_um.T, ".", color=GREY, markersize=3)
    arrows = axes.quiver(
        *stage_um.T, *shown.T, color=color, angles="xy", scale_units="xy", scale=1 / times,
        width=0.005,
    )  # fmt: skip
    key_um = rounded(1.5 * usual_um)
    axes.quiverkey(arrows, 0.86, 1.03, key_um, f"{key_um:g} µm", labelpos="E", color=INK,
                   fontproperties={"size": 8.5})  # fmt: skip
    for place, off_um in zip(stage_um[affine.outliers], length_um[affine.outliers], strict=True):
        axes.annotate(
            f"{off_um:.2g} µm", place, xytext=(4, 4), textcoords="offset points", color=RED,
            fontsize=8,
        )  # fmt: skip
    axes.set_aspect("equal")
    axes.margins(0.12)


def _ring(axes: Axes, middle: tuple[float, float], radius: float, name: str) -> None:
    from matplotlib.patches import Circle
    from matplotlib.patheffects import withStroke

    axes.add_patch(Circle(middle, radius, fill=False, color=GREY, linewidth=1))
    axes.text(
        middle[0], middle[1] + radius, name, fontsize=8, color=INK, va="bottom", ha="center",
        path_effects=[withStroke(linewidth=3, foreground="white")],
    )  # fmt: skip


def offsets(
    path: Path, objective: str, across_um: Points, focus_um: Points, lens: ObjectiveCalibration
) -> None:
    """Draw offsets against the reference objective by turn of the nosepiece.

    Parameters
    ----------
    across_um, focus_um
        ``(turns, places, 2)`` and ``(turns, places)``; nan where nothing was found.
    lens
        What was concluded from them.
    """
    sigma_um = lens.parcentric_sigma_um or (0.0, 0.0)
    x, y = (plus_minus(*both) for both in zip(lens.parcentric_um, sigma_um, strict=True))
    focus = plus_minus(lens.parfocal_um, lens.parfocal_sigma_um)
    figure = sheet(f"{objective} against the reference: x {x} µm, y {y} µm, focus {focus} µm")
    wide_um, high_um, deep_um = lens.turret_sigma_um or (0.0, 0.0, 0.0)
    across, along = figure.subplots(1, 2, width_ratios=(1.1, 1))
    ring = f"ring: 1 σ of a turn, {wide_um:.2g} and {high_um:.2g} µm"
    panel(across, f"a dot is a place, a colour a turn\n{ring}", "offset x (µm)", "offset y (µm)")
    band = f"dots: where it was focused\nband: 1 σ of a turn, {deep_um:.2g} µm"
    panel(along, band, "turn of the nosepiece", "offset of the focus (µm)")
    for turn, (places, heights) in enumerate(zip(across_um, focus_um, strict=True)):
        color = TURNS[turn % len(TURNS)]
        across.plot(*places.T, "o", color=color, markersize=5, alpha=0.8)
        number = np.full(len(heights), turn + 1.0)
        along.plot(number, heights, "o", color=color, markersize=5, alpha=0.8)
    _mean(across, lens.parcentric_um, (wide_um, high_um))
    middle_um = lens.parfocal_um
    along.axhline(middle_um, color=INK, linewidth=1)
    along.axhspan(middle_um - deep_um, middle_um + deep_um, color=GREY, alpha=0.2, linewidth=0)
    along.set_xlim(0.5, len(focus_um) + 0.5)
    along.xaxis.get_major_locator().set_params(integer=True)
    along.margins(y=0.25)
    if not np.isfinite(focus_um).any():
        nothing(along, "no focus was found")
    save(figure, path)


def _mean(axes: Axes, at_um: tuple[float, float], spread_um: tuple[float, float]) -> None:
    """Mark the mean, and how far one turn differs from another."""
    from matplotlib.patches import Ellipse

    wide_um, high_um = spread_um
    axes.plot([at_um[0]], [at_um[1]], "+", color=INK, markersize=16, markeredgewidth=2)
    axes.add_patch(Ellipse(at_um, 2 * wide_um, 2 * high_um, fill=False, color=INK))
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.1)


def focus(
    path: Path,
    objective: str,
    planes: Sequence[tuple[float, float]],
    z_um: float,
    points: Points,
    surface: FocusSurface,
) -> None:
    """Draw a stack ``(z, sharpness)`` with its peak at `z_um`, and the surface through points.

    `points` is ``(n, 3)``, stage x, y and focus in µm.
    """
    tilt = " and ".join(f"{value:.2f}" for value in surface.tilt_um_per_mm)
    left_out = sum(surface.outliers)
    scatter = "" if surface.sigma_um is None else f"; points scatter by {surface.sigma_um:.2g} µm"
    figure = sheet(
        f"{objective}: the slide is tilted by {tilt} µm per mm in x and y{scatter}"
        + (f"; {left_out} of {len(points)} left out" if left_out else "")
    )
    stack, field = figure.subplots(1, 2, width_ratios=(1, 1.25))
    panel(stack, "one search for the focus", "z (µm)", "sharpness (% of the best)")
    table = np.array(sorted(planes))
    share = 100 * table[:, 1] / table[:, 1].max()
    stack.plot(table[:, 0], share, "o-", color=BLUE, linewidth=0.8, markersize=5)
    stack.axvline(z_um, color=RED, linewidth=1.2, label=f"peak at {z_um:.2f} µm")
    stack.set_ylim(0, 118)
    legend(stack, loc="upper left")
    _map(field, points, surface)
    save(figure, path)


def _map(axes: Axes, points: Points, surface: FocusSurface) -> None:
    """Draw the surface as a map; a point as high as the surface has its colour."""
    from matplotlib.patheffects import withStroke
    from matplotlib.ticker import MaxNLocator

    panel(axes, "focus over the stage; numbers: point less surface (µm)", "stage x (mm)",
          "stage y (mm)")  # fmt: skip
    at_mm, height_um = points[:, :2] / 1000, points[:, 2]
    low, high = at_mm.min(axis=0), at_mm.max(axis=0)
    room = 0.12 * max(float((high - low).max()), 1e-3)
    x, y = (np.linspace(low[i] - room, high[i] + room, 60) for i in (0, 1))
    fitted = surface.at(1000 * np.stack(np.meshgrid(x, y), axis=-1))
    off = height_um - surface.at(points[:, :2])
    out = np.array(surface.outliers, bool)
    every = np.concatenate([fitted.ravel(), height_um[~out]])
    levels = np.linspace(every.min(), max(every.max(), every.min() + 0.05), 13)
    drawn = axes.contourf(x, y, fitted, levels=levels, cmap="viridis")
    bar = axes.figure.colorbar(drawn, ax=axes, aspect=30, pad=0.02, format="%.2f")
    bar.set_label("focus z (µm)", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    bar.locator = MaxNLocator(6)
    axes.scatter(at_mm[~out, 0], at_mm[~out, 1], c=height_um[~out], cmap="viridis", vmin=levels[0],
                 vmax=levels[-1], s=60, edgecolors="white", linewidths=1.2)  # fmt: skip
    axes.scatter(at_mm[out, 0], at_mm[out, 1], marker="x", color=RED, s=60)
    if len(points) <= MOST_LABELS:
        for place, value in zip(at_mm, off, strict=True):
            text = f"{round(value, 2) + 0.0:+.2f}"
            axes.annotate(
                text, place, (0, 8), textcoords="offset points", fontsize=8, ha="center",
                color="white", path_effects=[withStroke(linewidth=2, foreground=INK)],
            )  # fmt: skip
    axes.grid(visible=False)
    axes.set_aspect("equal", adjustable="box")
