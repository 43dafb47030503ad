"""How alike the colours of both objectives are, before and after the matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scope_sr.build_dataset.report.words import number
from scope_sr.drawing import (
    GREY,
    INK,
    channels,
    legend,
    panel,
    png,
    sheet,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from scope_sr.build_dataset.story import Story

Floats = NDArray[np.float64]


def draw_colors(story: Story, full_scale: int) -> bytes | None:
    """Draw grey levels of the same points in both images; None without samples."""
    low, high = (np.asarray(c, float) for c in (story.colors_low, story.colors_high))
    matrix = np.array(story.source.facts.get("color_matrix", []), float)
    if not len(low) or matrix.shape != (low.shape[1], low.shape[1] + 1):
        return None
    levels = 255 / full_scale
    after = high @ matrix[:, :-1].T + levels * matrix[:, -1]
    before_dn, after_dn = in_levels(story.source.facts, full_scale)
    before_dn = _rms(high - low) if before_dn is None else before_dn
    after_dn = _rms(after - low) if after_dn is None else after_dn
    figure = sheet(
        f"Colours of the high images follow those of the low ones to {number(after_dn, 2)} grey"
        f" levels of 255; before they were off by {number(before_dn, 2)}"
    )
    grid = figure.add_gridspec(2, low.shape[1], height_ratios=(1.7, 1))
    rest = figure.add_subplot(grid[1, :])
    panel(rest, "high less low", "grey levels of 255", "share of points (%)")
    reach = 1.05 * float(np.abs(np.concatenate([after - low, high - low])).max())
    edges = np.linspace(-1, 1, 72) * max(reach, 1.0)
    for i, (name, tint, _) in enumerate(channels(low)):
        axes = figure.add_subplot(grid[0, i])
        panel(axes, name, "low (grey levels of 255)", "high (grey levels)")
        axes.plot(low[:, i], high[:, i], ".", color=GREY, markersize=3, label="before")
        axes.plot(low[:, i], after[:, i], ".", color=tint, markersize=3, label="after")
        axes.axline((128, 128), slope=1, color=INK, linewidth=0.8)
        legend(axes, loc="upper left", markerscale=3, handletextpad=0.1)
        _line(rest, high[:, i] - low[:, i], edges, tint, "--", f"{name}, before")
        _line(rest, after[:, i] - low[:, i], edges, tint, "-", f"{name}, after")
    rest.axvline(0, color=INK, linewidth=0.8)
    legend(rest, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return png(figure)


def in_levels(facts: dict[str, object], full_scale: int) -> tuple[float | None, float | None]:
    """Give what colours differ by before and after, in grey levels of 255, where it was measured.

    >>> in_levels({"color_before_dn": 2.0, "color_residual_dn": None}, 510)
    (1.0, None)
    """
    told = (facts.get("color_before_dn"), facts.get("color_residual_dn"))
    before, after = (
        float(v) * 255 / full_scale if isinstance(v, (int, float)) else None for v in told
    )
    return before, after


def _rms(values: Floats) -> float:
    return float(np.sqrt(np.square(values).mean()))


def _line(axes: Axes, off: Floats, edges: Floats, tint: str, line: str, name: str) -> None:
    counts, _ = np.histogram(np.clip(off, edges[0], edges[-1]), edges)
    middle = (edges[:-1] + edges[1:]) / 2
    axes.plot(middle, 100 * counts / len(off), line, color=tint, linewidth=1.2, label=name)
