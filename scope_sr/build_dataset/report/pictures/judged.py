"""How near pairs come to the limits of their gates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scope_sr.build_dataset.report.tally import gate_names, gate_values
from scope_sr.build_dataset.report.words import gate_title, limits_of, some
from scope_sr.dataset import Gate, Pair
from scope_sr.drawing import (
    BLUE,
    GREY,
    INK,
    PALE,
    RED,
    legend,
    panel,
    png,
    sheet,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]
FARTHEST = 1.4  # in units from the ideal to the limit; what lies beyond is drawn at the rim
# what a faultless pair would have; of others, the best value seen or none
IDEAL = {"likeness": 1.0, "sharpness": 1.0, "tissue": 1.0, "usable": 1.0, "blank_low": 1.0,
         "blank_high": 1.0}  # fmt: skip


def draw_gates(pairs: Sequence[Pair]) -> bytes | None:
    """Draw all values of each gate between the ideal and its limits; None without a value."""
    names = [name for name in gate_names(pairs) if len(gate_values(pairs, name))]
    if not names:
        return None
    failed = sum(any(not g.ok for g in pair.gates.values()) for pair in pairs)
    measured = sum(bool(pair.gates) for pair in pairs)
    figure = sheet(
        f"{failed} of {some(measured, 'measured pair')} lie beyond a limit"
        if failed
        else f"All {some(measured, 'measured pair')} lie within all limits",
        height_px=150 + 36 * len(names),
    )
    axes = figure.subplots()
    panel(axes, "", "", "")
    for row, name in enumerate(names):
        _row(axes, row, name, pairs)
    _frame(axes, names)
    return png(figure)


def _row(axes: Axes, row: int, name: str, pairs: Sequence[Pair]) -> None:
    own = [(pair, pair.gates[name]) for pair in pairs if name in pair.gates]
    own = [(pair, gate) for pair, gate in own if gate.value is not None]
    ideal = _ideal(name, own[0][1], pairs)
    at = np.array([place(gate, ideal) for _, gate in own])
    y = row + _jitter(len(own))
    fails = np.array([not gate.ok for _, gate in own])
    other = np.array([not pair.accepted for pair, _ in own]) & ~fails
    good = ~fails & ~other
    alpha = 0.75 if len(own) < 100 else 0.3
    axes.plot(at[other], y[other], "o", color=GREY, markersize=4, alpha=alpha,
              markerfacecolor="none")  # fmt: skip
    axes.plot(at[good], y[good], "o", color=BLUE, markersize=4, alpha=alpha, markeredgewidth=0)
    shown = np.clip(at, -FARTHEST, FARTHEST)
    axes.plot(shown[fails], y[fails], "x", color=RED, markersize=6, markeredgewidth=1.6)
    gate = own[0][1]
    for side, limit in ((-1, gate.least), (1, gate.most)):
        if limit is not None:
            axes.plot([side, side], [row - 0.42, row + 0.42], color=INK, linewidth=2)
    count = f"  ({fails.sum()} beyond)" if fails.any() else ""
    axes.annotate(limits_of(name, gate) + count, (1.01, row),
                  xycoords=("axes fraction", "data"),
                  fontsize=8.5, va="center", color=RED if count else INK)  # fmt: skip


def place(gate: Gate, ideal: float) -> float:
    """Place a value between the ideal, 0, and the limits: -1 the least, 1 the most allowed.

    >>> place(Gate(0.125, most=0.25), 0.0), place(Gate(0.9, least=0.8, most=1.4), 1.0)
    (0.5, -0.5)
    """
    value = ideal if gate.value is None else gate.value
    limit, side = (gate.most, 1.0) if value > ideal else (gate.least, -1.0)
    if limit is None:  # farther from the ideal on the side that has no limit
        return 0.0
    room = abs(limit - ideal)
    return side * abs(value - ideal) / room if room else side * FARTHEST * (value != ideal)


def _ideal(name: str, gate: Gate, pairs: Sequence[Pair]) -> float:
    if name in IDEAL:
        return IDEAL[name]
    if gate.least is None:
        return 0.0
    if gate.most is None:
        return max(float(gate_values(pairs, name).max()), gate.least * 1.01)
    return (gate.least + gate.most) / 2


def _jitter(count: int) -> Floats:
    """Spread dots over the height of a row, always alike."""
    return np.random.default_rng(0).uniform(-0.28, 0.28, count)


def _frame(axes: Axes, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), [gate_title(name) for name in names], fontsize=9)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(-FARTHEST - 0.08, FARTHEST + 0.08)
    axes.set_xticks([-1, 0, 1], ["the least allowed", "ideal", "the most allowed"])
    axes.tick_params(axis="both", length=0)
    axes.grid(visible=False)
    for row in range(len(names) - 1):
        axes.axhline(row + 0.5, color=PALE, linewidth=0.7, zorder=0)
    axes.axvline(0, color=GREY, linewidth=0.8, linestyle=":", zorder=0)
    axes.plot([], [], "o", color=BLUE, markersize=4, label="kept")
    axes.plot([], [], "o", color=GREY, markersize=4, markerfacecolor="none",
              label="rejected for something else")  # fmt: skip
    axes.plot([], [], "x", color=RED, markersize=6, markeredgewidth=1.6,
              label="beyond this limit: rejected")  # fmt: skip
    axes.plot([], [], "|", color=INK, markersize=11, markeredgewidth=2, label="limit")
    legend(axes, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4)
