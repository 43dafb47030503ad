"""How well pairs fit: misfits of blocks, shifts of pairs, and where in the field they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scope_sr.build_dataset.report.tally import RESIDUAL, gate_values
from scope_sr.build_dataset.report.words import gate_title, number
from scope_sr.dataset import Pair, Source
from scope_sr.drawing import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    RED,
    histogram,
    legend,
    nothing,
    panel,
    png,
    rounded,
    sheet,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from scope_sr.build_dataset.story import Story

Floats = NDArray[np.float64]
SHIFTS = (("shift_px", BLUE), ("spread_px", ORANGE))
BINS = 40


def draw_residuals(source: Source, pairs: Sequence[Pair], story: Story | None) -> bytes | None:
    """Draw how far blocks and pairs are off; None where nothing of that was measured."""
    misfits = _misfits(source, pairs, story)
    measured = any(len(gate_values(pairs, name)) for name, _ in SHIFTS)
    if not len(misfits) and not measured:
        return None
    what = "pair" if story is None else "block"
    figure = sheet(_in_words(misfits, pairs, what))
    number_of = bool(len(misfits)) + measured if story is None else 3
    panels: list[Any] = list(np.atleast_1d(figure.subplots(1, number_of)))
    if story is not None or len(misfits):
        _misfit(panels.pop(0), misfits, what)
    if story is not None or measured:
        _shifts(panels.pop(0), pairs)
    if story is not None:
        _arrows(panels.pop(0), story.arrows)
    return png(figure)


def _misfits(source: Source, pairs: Sequence[Pair], story: Story | None) -> Floats:
    """Give misfits in high pixels: of blocks from the story, else what each pair left over."""
    if story is not None:
        return np.asarray(story.misfits_px, float)
    told = [pair.facts[RESIDUAL] for pair in pairs if RESIDUAL in pair.facts]
    if not told and RESIDUAL in source.facts:
        told = list(np.atleast_1d(source.facts[RESIDUAL]))
    return np.array([float(value) for value in told], float)


def _in_words(misfits: Floats, pairs: Sequence[Pair], what: str) -> str:
    parts = []
    if len(misfits):
        half, most = np.percentile(misfits, (50, 95))
        parts.append(
            f"Half of the {what}s fit to {number(half, 2)} px of the high image, 95 % to"
            f" {number(most, 2)} px"
        )
    good = gate_values([pair for pair in pairs if pair.accepted], "shift_px")
    if len(good):
        parts.append(
            f"no kept pair is, as a whole, off by more than {number(float(good.max()), 2)} px"
        )
    text = "; ".join(parts) or "no pair that was kept could be measured"
    return text[0].upper() + text[1:]


def _misfit(axes: Axes, misfits: Floats, what: str) -> None:
    panel(axes, f"misfit of each {what}", "off by (px of the high image)", f"share of {what}s (%)")
    if not len(misfits):
        nothing(axes, f"no {what} was measured")
        return
    half, most = np.percentile(misfits, (50, 95))
    edges = np.linspace(0, max(2.0 * most, 1e-3), BINS + 1)
    histogram(axes, misfits, edges, BLUE, f"{len(misfits)} {what}s")
    axes.axvline(half, color=INK, linewidth=1.2, label=f"median {number(half, 2)} px")
    axes.axvline(
        most, color=INK, linewidth=1.2, linestyle="--", label=f"95 %: {number(most, 2)} px"
    )
    axes.set_xlim(0, edges[-1])
    axes.margins(y=0.3)
    legend(axes, loc="upper right")


def _shifts(axes: Axes, pairs: Sequence[Pair]) -> None:
    panel(axes, "shift of each pair", "off by (px of the high image)", "share of pairs (%)")
    limits = [pair.gates[name].most for name, _ in SHIFTS for pair in pairs if name in pair.gates]
    farthest = 1.25 * max((limit for limit in limits if limit is not None), default=0.4)
    edges = np.linspace(0, farthest, BINS + 1)
    beyond = 0
    for name, color in SHIFTS:
        values = gate_values(pairs, name)
        if not len(values):
            continue
        beyond = max(beyond, int((values > farthest).sum()))
        histogram(axes, values, edges, color, gate_title(name))
        limit = next((pair.gates[name].most for pair in pairs if name in pair.gates), None)
        if limit is not None:
            axes.axvline(limit, color=color, linewidth=1.6, linestyle="--",
                         label=f"its limit, {limit:g} px")  # fmt: skip
    if not limits:
        nothing(axes, "no pair was measured")
        return
    axes.set_xlim(0, farthest)
    axes.margins(y=0.6)
    legend(axes, loc="upper right")
    if beyond:
        axes.annotate(
            f"{beyond} farther out,\nin the last bar", (0.97, 0.45), ha="right", color=RED,
            xycoords="axes fraction", fontsize=8,
            bbox={"facecolor": "white", "alpha": 0.9, "linewidth": 0, "pad": 1},
        )  # fmt: skip


def _arrows(axes: Axes, arrows: Floats) -> None:
    """Draw the mean misfit over the high field: arrows in a row are what the map cannot follow."""
    panel(axes, "mean misfit over the high field", "from the middle (px)", "from the middle (px)")
    if not len(arrows):
        nothing(axes, "too few blocks")
        return
    x, y, dx, dy = np.asarray(arrows, float).T
    key = rounded(float(np.percentile(np.hypot(dx, dy), 95)))
    spacing = 2 * max(np.abs(x).max(), np.abs(y).max()) / 9
    drawn = axes.quiver(
        x, y, dx, dy, color=BLUE, angles="xy", scale_units="xy", scale=key / (0.9 * spacing),
        width=0.008, pivot="middle",
    )  # fmt: skip
    axes.quiverkey(drawn, 0.72, 1.04, key, f"{key:g} px", labelpos="E", coordinates="axes",
                   fontproperties={"size": 8}, color=INK)  # fmt: skip
    axes.set_title("mean misfit over the\nhigh field", fontsize=9.5, loc="left", color=INK)
    reach = max(np.abs(x).max(), np.abs(y).max()) + spacing
    axes.set_xlim(-reach, reach)
    axes.set_ylim(reach, -reach)
    axes.plot([0], [0], "+", color=GREY, markersize=8)
    axes.set_aspect("equal", adjustable="box")
