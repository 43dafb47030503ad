"""The map of a source: which fields were kept, on the slide as one sees it through the eyepiece."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scope_sr.build_dataset.report.words import FAMILIES, OTHER, family_of, some
from scope_sr.dataset import SPLITS, Pair, Split
from scope_sr.dataset.index import Place
from scope_sr.dataset.splits import Area
from scope_sr.drawing import (
    BLUE,
    BROWN,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PALE,
    PURPLE,
    RED,
    WIDE_PX,
    legend,
    panel,
    png,
    rounded,
    sheet,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points = NDArray[np.float64]
SPLIT_COLORS: dict[Split, str] = {"train": BLUE, "val": ORANGE, "test": GREEN}
# hatch and colour of the families of reasons, in their order
LOOKS = (("...", RED), ("///", PURPLE), ("xxx", INK), ("\\\\\\", BROWN), ("+++", GREY))
MOST_HATCHED = 400  # fields; more are too small for a hatch
MOST_LABELS = 16  # low fields that are named in the map
NARROWEST, TALLEST = 0.4, 1.0  # height of the map to its width
MAP_PX, LEFT_PX, HEAD_PX, FOOT_PX = 610, 75, 50, 50


@dataclass(frozen=True, eq=False)
class Field:
    """Outline ``(4, 2)`` of a pair on the slide, µm of the stage."""

    pair: Pair
    outline: Points


def draw_map(
    pairs: Sequence[Pair], low_size_px: tuple[int, int] | None, area: Area | None
) -> bytes | None:
    """Draw where pairs lie, by split and by what they were rejected for.

    Parameters
    ----------
    low_size_px
        Width and height of a low image; None where no file tells.
    area
        How the slide was cut; None where splits are whole slides or patients.

    Returns
    -------
    bytes or None
        A PNG; None where no pair has a place.
    """
    placed = [pair for pair in pairs if pair.place is not None]
    size_px = low_size_px or _size_of(placed)
    if not placed or size_px is None:
        return None
    fields = [field for pair in placed if (field := _field(pair, size_px)) is not None]
    lows = _low_outlines(placed, size_px)
    points = np.concatenate(
        [*(outline for _, outline in lows), *(field.outline for field in fields)]
    )
    lost = len(placed) - len(fields)
    place = placed[0].place
    assert place is not None  # noqa: S101  of `placed`
    across, down = _axes_of(place)
    extent = np.ptp(points, axis=0)
    shape = float(np.clip(extent[down] / max(extent[across], 1.0), NARROWEST, TALLEST))
    figure, axes = _framed(_in_words(pairs, lost), shape)
    panel(axes, "", *(f"stage {'xy'[axis]} (µm)" for axis in (across, down)))
    order = [across, down]
    _outline(axes, [(name, outline[:, order]) for name, outline in lows])
    handles = _fields(axes, fields, order)
    if area is not None:
        handles.append(_cuts(axes, area, points, order))
    _orient(axes, points[:, order], np.array(place.affine_um_per_px)[order])
    legend(axes, handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), handleheight=1.6,
           handlelength=2.4, labelspacing=0.7)  # fmt: skip
    return png(figure)


def _framed(title: str, shape: float) -> tuple[Figure, Axes]:
    """Make room for a map `shape` times as high as wide, and for the legend beside it."""
    height_px = HEAD_PX + FOOT_PX + MAP_PX * shape
    figure = sheet(title, height_px=int(height_px))
    figure.set_layout_engine("none")
    box = (LEFT_PX / WIDE_PX, FOOT_PX / height_px, MAP_PX / WIDE_PX, MAP_PX * shape / height_px)
    return figure, figure.add_axes(box)


def _in_words(pairs: Sequence[Pair], lost: int) -> str:
    good = sum(pair.accepted for pair in pairs)
    text = f"{good} of {some(len(pairs), 'field')} kept"
    if lost:
        text += f"; {lost} of the rejected could not be measured and are not drawn"
    return text


# -------------------------------------------------------------- geometry


def _size_of(pairs: Sequence[Pair]) -> tuple[int, int] | None:
    """Tell the size of a low image without one: a field's box lies about its shift."""
    known = [(pair.box_px, shift) for pair in pairs
             if pair.box_px[2] and (shift := _shift(pair)) is not None]  # fmt: skip
    if not known:
        return None
    boxes = np.array([box for box, _ in known], float)
    middles = boxes[:, :2] + boxes[:, 2:] / 2 - np.array([shift for _, shift in known])
    width, height = np.rint(2 * np.median(middles, axis=0)).astype(int)
    return int(width), int(height)


def _shift(pair: Pair) -> tuple[float, float] | None:
    x, y = pair.facts.get("shift_x_px"), pair.facts.get("shift_y_px")
    return None if x is None or y is None else (float(x), float(y))


def _field(pair: Pair, size_px: tuple[int, int]) -> Field | None:
    """Outline what a pair covers; one that was never drawn is marked by a small square."""
    place = pair.place
    if place is None:
        return None
    x, y, width, height = pair.box_px
    if width and height:
        first = np.array([x, y]) - np.array(size_px) / 2
        return Field(pair, _on_slide(place, first, np.array([width, height])))
    shift = _shift(pair)
    if shift is None:
        return None
    side = np.full(2, 0.2 * min(size_px))
    return Field(pair, _on_slide(place, np.array(shift) - side / 2, side))


def _on_slide(place: Place, first: Points, size: Points) -> Points:
    corners = first + size * np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    return np.asarray(place.at_um + corners @ np.array(place.affine_um_per_px).T)


def _low_outlines(pairs: Sequence[Pair], size_px: tuple[int, int]) -> list[tuple[str, Points]]:
    """Outline every low field once, with its name where one is known."""
    size = np.array(size_px, float)
    found: dict[tuple[str, tuple[float, float]], Points] = {}
    for pair in pairs:
        if pair.place is not None:
            name = str(pair.facts.get("low_step", "")).rpartition("/")[2]
            found.setdefault((name, pair.place.at_um), _on_slide(pair.place, -size / 2, size))
    return [(name, outline) for (name, _), outline in found.items()]


def _axes_of(place: Place) -> tuple[int, int]:
    """Give the stage's axes that run across and down the image."""
    (a, _), (c, _) = place.affine_um_per_px
    return (0, 1) if abs(a) >= abs(c) else (1, 0)


def _orient(axes: Axes, points: Points, affine: Points) -> None:
    """Turn the axes so that the map shows the specimen as the images do; add a scale bar."""
    low, high = points.min(axis=0), points.max(axis=0)
    room = 0.06 * float((high - low).max())
    sides = [(low[0] - room, high[0] + room), (low[1] - room, high[1] + room)]
    right, down = affine[0, 0] >= 0, affine[1, 1] >= 0
    axes.set_xlim(*(sides[0] if right else sides[0][::-1]))
    axes.set_ylim(*(sides[1][::-1] if down else sides[1]))  # image rows run downwards
    axes.set_aspect("equal", adjustable="box", anchor="NW")
    axes.ticklabel_format(style="plain", useOffset=False)
    axes.grid(visible=False)
    length = rounded(0.2 * float(high[0] - low[0]))
    begin = sides[0][0] + 0.6 * room if right else sides[0][1] - 0.6 * room
    end = begin + length if right else begin - length
    at = sides[1][1] - 0.5 * room if down else sides[1][0] + 0.5 * room
    for color, width in (("white", 6), (INK, 3)):
        axes.plot([begin, end], [at, at], color=color, linewidth=width, zorder=6)
    axes.annotate(
        f"{length:g} µm", ((begin + end) / 2, at), (0, 5), textcoords="offset points", fontsize=8,
        ha="center", color=INK, zorder=6,
        bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1},
    )  # fmt: skip


# --------------------------------------------------------------- drawing


def _outline(axes: Axes, lows: list[tuple[str, Points]]) -> None:
    from matplotlib.collections import PolyCollection

    axes.add_collection(
        PolyCollection(
            [outline for _, outline in lows], facecolor="none", edgecolor=GREY, linewidth=0.8,
            linestyle=(0, (4, 3)),
        ),
        autolim=False,
    )  # fmt: skip
    white = {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1}
    for name, outline in lows if len(lows) <= MOST_LABELS else ():
        axes.annotate(name, outline[0], (3, -9), textcoords="offset points", fontsize=7.5,
                      color=INK, parse_math=False, zorder=5, bbox=white)  # fmt: skip


def _fields(axes: Axes, fields: Sequence[Field], order: list[int]) -> list[Any]:
    """Fill kept fields by split, hatch the rejected by family; give what the legend needs."""
    from matplotlib.collections import PolyCollection
    from matplotlib.patches import Patch

    handles: list[Any] = []
    groups: list[tuple[str, list[Field], dict[str, Any]]] = []
    for split in SPLITS:
        own = [f for f in fields if f.pair.accepted and f.pair.split == split]
        color = SPLIT_COLORS[split]
        groups.append((split, own, {"facecolor": f"{color}88", "edgecolor": color}))
    small = len(fields) > MOST_HATCHED
    for family, (hatch, color) in zip((*FAMILIES, OTHER), LOOKS, strict=True):
        own = [f for f in fields if f.pair.reasons and family_of(f.pair.reasons[0]) == family]
        look: dict[str, Any] = (
            {"facecolor": color} if small else {"facecolor": "white", "hatch": hatch}
        )
        groups.append((f"rejected: {family}", own, {"edgecolor": color, **look}))
    for name, own, look in groups:
        if own:
            outlines = [f.outline[:, order] for f in own]
            axes.add_collection(PolyCollection(outlines, linewidth=0.9, **look), autolim=False)
            handles.append(Patch(linewidth=0.9, label=_folded(f"{name} ({len(own)})"), **look))
    handles.append(
        Patch(
            facecolor="none",
            edgecolor=GREY,
            linestyle=(0, (4, 3)),
            linewidth=0.8,
            label="low field",
        )
    )
    return handles


def _folded(text: str) -> str:
    import textwrap

    return textwrap.fill(text, 24)


def _cuts(axes: Axes, area: Area, points: Points, order: list[int]) -> Any:
    """Draw the lines a slide is cut by, and the strip along them that belongs to nobody."""
    from matplotlib.patches import Patch

    room = np.ptp(points, axis=0)
    low, high = points.min(axis=0) - room, points.max(axis=0) + room
    axis, other, half = area.axis, 1 - area.axis, area.guard_um / 2
    strips = [(low.copy(), high.copy()), (low.copy(), high.copy())]
    strips[0][0][axis], strips[0][1][axis] = area.first_um - half, area.first_um + half
    strips[1][0][axis] = area.first_um
    strips[1][0][other], strips[1][1][other] = area.second_um - half, area.second_um + half
    look: dict[str, Any] = {"facecolor": INK, "alpha": 0.25, "linewidth": 0}
    for first, last in strips:
        box = np.array([first, [last[0], first[1]], last, [first[0], last[1]]])
        axes.fill(*box[:, order].T, zorder=4, **look)
        middle = (first + last) / 2
        line = np.array([first, last])
        along = axis if first is strips[0][0] else other
        line[:, along] = middle[along]
        axes.plot(*line[:, order].T, color=INK, linewidth=1, zorder=4)
    return Patch(label=_folded("border between splits, used by none"), edgecolor=PALE, **look)
