"""Pairs to look at: the best, a usual and the worst kept one, and some that were rejected."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from scope_sr.build_dataset.report.tally import RESIDUAL, optics_of
from scope_sr.build_dataset.report.words import key_of, number, some
from scope_sr.dataset import Header, Pair, Source
from scope_sr.dataset.cells import CELL_PX, shape_of, unpack
from scope_sr.dataset.fields import mapped
from scope_sr.drawing import (
    GREY,
    INK,
    PALE,
    bar_of,
    nothing,
    photo,
    png,
    sheet,
)
from scope_sr.imaging.laying import softened
from scope_sr.imaging.shift import green

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CROP_PX = 96  # of the low image
MARGIN_PX = 8  # around a crop, so that no blur draws from beyond it
TRIED = 12  # places of a pair, of which the one with most to see is shown
THUMBS = 6
LONGEST_NAME = 34  # that fits beside a crop
STEPS = 25  # of the colours of a difference
THUMB_PX = 260
PSF = 0.21  # sigma of a Gaussian like what a lens makes of a point, in λ/NA
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Shown:
    """A crop of a pair, 8 bits, and the low one less the high one made small, in levels of 255."""

    pair: Pair
    what: str
    low: NDArray[np.uint8]
    high: NDArray[np.uint8]
    small: NDArray[np.uint8]
    off: Floats


def draw_examples(
    folder: Path, header: Header, source: Source, pairs: Sequence[Pair]
) -> bytes | None:
    """Draw crops of up to three kept pairs, both images and how they differ; None without one."""
    shown = [
        _shown(folder, header, source, pair, what)
        for what, pair in _chosen([p for p in pairs if p.accepted and p.high])
    ]
    if not shown:
        return None
    rms = sorted(_rms(one.off) for one in shown)
    span = dict.fromkeys(number(value, 2) for value in (rms[0], rms[-1]))
    figure = sheet(
        f"The same tissue at both magnifications; they differ by {' to '.join(span)} grey levels of"
        " 255 (RMS)",
        height_px=75 + 250 * len(shown),
        width_px=1080,
    )
    every = np.concatenate([one.off.ravel() for one in shown])
    reach = max(4.0, float(np.percentile(np.abs(every), 99.5)))
    table = figure.subplots(len(shown), 4, squeeze=False)
    drawn: Any = None
    for row, one in zip(table, shown, strict=True):
        drawn = _row(row, one, header, reach)
    bar = figure.colorbar(drawn, ax=list(table[:, 3]), aspect=18 * len(shown), pad=0.02)
    bar.set_label("low less high (grey levels of 255)", fontsize=8.5)
    bar.ax.tick_params(labelsize=8)
    return png(figure, photos=True, exact=_steps()[1])


def _row(row: Any, one: Shown, header: Header, reach: float) -> Any:
    titles = ("low", "high", "high, made small", "low less high")
    for axes, title, image in zip(row[:3], titles[:3], (one.low, one.high, one.small), strict=True):
        photo(axes, image)
        axes.set_title(title, fontsize=9, loc="left", color=INK)
    drawn = photo(row[3], one.off, cmap=_steps()[0], vmin=-reach, vmax=reach)
    row[3].set_title(
        f"{titles[3]}, RMS {number(_rms(one.off), 2)}", fontsize=9, loc="left", color=INK
    )
    bar_of(row[1], header.high_um_per_px, one.high.shape[1])
    off = _off(one.pair)
    told = f": off by {number(off, 2)} px" if off < math.inf else ""
    name = one.pair.name.partition("/")[2] or one.pair.name
    if len(name) > LONGEST_NAME:
        name = f"…{name[1 - LONGEST_NAME :]}"
    row[0].set_ylabel(f"{one.what}{told}\n{name}", fontsize=8.5, color=INK, parse_math=False)
    return drawn


def _rms(off: Floats) -> float:
    return float(np.sqrt(np.square(off).mean()))


def _steps() -> tuple[Any, list[tuple[int, int, int]]]:
    """Give a map of few colours, and these: more would take the palette away from the tissue."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    colors = np.rint(254 * colormaps["PuOr"](np.linspace(0, 1, STEPS))[:, :3]).astype(int)
    # a quarter more, so that they come out the same whether they are rounded or cut off
    return ListedColormap((colors + 0.25) / 255), [(r, g, b) for r, g, b in colors.tolist()]


def _off(pair: Pair) -> float:
    """Give how far the parts of a pair are off, or what its own fit left; infinity if unknown."""
    gate = pair.gates.get("spread_px")
    if gate is not None and gate.value is not None:
        return gate.value
    return float(pair.facts.get(RESIDUAL, math.inf))


def _chosen(pairs: Sequence[Pair]) -> list[tuple[str, Pair]]:
    """Choose the best, the median and the worst by how far their parts are off; each once."""
    order = sorted(pairs, key=lambda pair: (_off(pair), pair.name))
    if len(order) < 2:
        return [("the only pair", pair) for pair in order]
    known = [pair for pair in order if _off(pair) < math.inf]
    if not known:
        places = dict.fromkeys((0, len(order) // 2, len(order) - 1))
        return [("one of the pairs", order[place]) for place in places]
    words = {0: "best", len(known) // 2: "median", len(known) - 1: "worst kept"}
    if len(known) == 2:
        words = {0: "best", 1: "worst kept"}
    return [(word, known[place]) for place, word in sorted(words.items())]


# ----------------------------------------------------------------- crops


def _shown(folder: Path, header: Header, source: Source, pair: Pair, what: str) -> Shown:
    low_file, high_file = mapped(folder / pair.low), mapped(folder / pair.high)
    left, top, width, height = pair.box_px
    box = low_file[top : top + height, left : left + width]
    side = min(CROP_PX, width, height)
    x, y = _place(pair, box, side)
    k, full = header.scale, (1 << header.bits) - 1
    first_x, first_y = max(0, x - MARGIN_PX), max(0, y - MARGIN_PX)
    last_x, last_y = min(width, x + side + MARGIN_PX), min(height, y + side + MARGIN_PX)
    around = np.array(high_file[k * first_y : k * last_y, k * first_x : k * last_x], np.float32)
    size = last_x - first_x, last_y - first_y
    small = cv2.resize(softened(around, blur_of(source, header)), size,
                       interpolation=cv2.INTER_AREA)  # fmt: skip
    small = small[y - first_y :, x - first_x :][:side, :side]
    low = np.array(box[y : y + side, x : x + side])
    high = np.array(high_file[k * y : k * (y + side), k * x : k * (x + side)])
    off = (green(low).astype(np.float32) - green(small)) * np.float32(255 / full)
    shown = [eight_bits(image, full) for image in (low, high, small)]
    return Shown(pair, what, shown[0], shown[1], shown[2], off)


def blur_of(source: Source, header: Header) -> float:
    """Give the sigma, in high pixels, that makes high images as soft as the low ones.

    Without the lenses' apertures nothing is known, and they are only made small.
    """
    optics = optics_of(source, header)
    high_um = header.high_um_per_px
    if optics is None or high_um is None or header.simulated:
        return 0.0
    from scope_sr.build_dataset.setup import WAVELENGTH_UM

    lens = [PSF * WAVELENGTH_UM / one.aperture for one in optics]
    pixels = [one.pixel_um / math.sqrt(12) for one in optics]
    variance = (lens[0] ** 2 - lens[1] ** 2 + pixels[0] ** 2 - pixels[1] ** 2) / high_um**2
    # the mean of scale x scale pixels blurs as well
    return math.sqrt(max(variance - (header.scale**2 - 1) / 12, 0.0))


def _place(pair: Pair, box: NDArray[Any], side: int) -> tuple[int, int]:
    """Choose a place of usable cells where there is something to see, in pixels of the box."""
    height, width = box.shape[:2]
    middle = ((width - side) // 2, (height - side) // 2)
    rows, columns = shape_of(width, height)
    if not pair.cells or len(pair.cells) != rows:
        return middle
    usable = unpack(pair.cells, columns)
    n = -(-side // CELL_PX)
    if n > min(rows, columns):
        return middle
    windows = np.lib.stride_tricks.sliding_window_view(usable, (n, n)).all(axis=(2, 3))
    places = np.argwhere(windows) * CELL_PX
    if not len(places):
        return middle
    some_places = places[np.linspace(0, len(places) - 1, TRIED).astype(int)]
    texture = [
        float(green(np.array(box[y : y + side, x : x + side])).std()) for y, x in some_places
    ]
    y, x = some_places[int(np.argmax(texture))]
    return int(x), int(y)


def eight_bits(image: NDArray[Any], full: int) -> NDArray[np.uint8]:
    """Bring an image to 8 bits, to be shown."""
    return np.clip(np.rint(image * (255 / full)), 0, 255).astype(np.uint8)


# -------------------------------------------------------------- rejected


def draw_rejected(folder: Path, header: Header, pairs: Sequence[Pair]) -> bytes | None:
    """Draw the low image of some rejected pairs with the reason; None where there is no image.

    A low image is there only where another pair of it was kept.
    """
    bad = [pair for pair in pairs if pair.reasons]
    good = [pair for pair in pairs if pair.accepted and "low_step" in pair.facts]
    lows = {str(pair.facts["low_step"]): pair.low for pair in good}
    if not any(_to_see(pair, lows) for pair in bad):
        return None
    chosen = _varied(bad, lows)
    columns = min(3, len(chosen))
    rows = -(-len(chosen) // columns)
    figure = sheet(
        f"{len(chosen)} of {some(len(bad), 'rejected pair')}: what the low image shows there",
        height_px=60 + 375 * rows,
        width_px=max(300 * columns, 480),
    )
    table = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, pair in zip(table, chosen, strict=False):
        _thumb(axes, folder, header, pair, lows)
    for axes in table[len(chosen) :]:
        axes.set_axis_off()
    return png(figure, photos=True)


def _varied(bad: Sequence[Pair], lows: dict[str, str]) -> list[Pair]:
    """Choose pairs of as many kinds of reasons as there are; without an image one of a kind."""
    kinds: dict[str, list[Pair]] = {}
    order = sorted(bad, key=lambda pair: not _to_see(pair, lows))
    for pair in order:
        own = kinds.setdefault(key_of(pair.reasons[0]), [])
        if not own or _to_see(pair, lows):
            own.append(pair)
    turns = [own[turn] for turn in range(THUMBS) for own in kinds.values() if turn < len(own)]
    return turns[:THUMBS]


def _to_see(pair: Pair, lows: dict[str, str]) -> bool:
    return bool(pair.box_px[2] and _low_of(pair, lows))


def _low_of(pair: Pair, lows: dict[str, str]) -> str:
    return pair.low or lows.get(str(pair.facts.get("low_step")), "")


def _thumb(axes: Axes, folder: Path, header: Header, pair: Pair, lows: dict[str, str]) -> None:
    low = folder / (_low_of(pair, lows) or "nothing")
    x, y, width, height = pair.box_px
    name = pair.name.partition("/")[2] or pair.name
    if low.is_file() and width and height:
        step = max(1, width // THUMB_PX)
        cut = np.array(mapped(low)[y : y + height : step, x : x + width : step])
        photo(axes, eight_bits(cut, (1 << header.bits) - 1))
        um = header.low_um_per_px
        bar_of(axes, um * step if um else None, cut.shape[1])
    else:
        photo(axes, np.full((10, 10), 250, np.uint8))
        why = "its place is not known" if low.is_file() else "its low image is not in the dataset"
        nothing(axes, why)
        for spine in axes.spines.values():
            spine.set_visible(True)
            spine.set_color(PALE)
    axes.set_title(name[:40], fontsize=9, loc="left", color=INK, parse_math=False)
    text = textwrap.shorten("; ".join(pair.reasons), 120, placeholder=" …")
    axes.set_xlabel(textwrap.fill(text, 44), fontsize=8.5, color=INK, loc="left", parse_math=False)
    axes.xaxis.label.set_color(INK if text else GREY)
