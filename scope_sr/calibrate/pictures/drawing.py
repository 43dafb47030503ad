"""What the pictures of a calibration are drawn on: one look, and small files.

Matplotlib is loaded by the first picture, not by whoever imports this; its object API is used, so
that no window system and no state of the process are involved.
"""

from __future__ import annotations

import io
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE_PX = (900, 500)
DPI = 100
TITLE_WIDTH = 100  # characters that fit one line
COLORS = 256  # of a picture's palette: a third of the file it would be without one

RED, GREEN, BLUE, ORANGE, GREY, INK = (
    "#c0392b",
    "#2e8b57",
    "#2563a8",
    "#d9822b",
    "#8a8f98",
    "#22262b",
)


def sheet(title: str) -> Figure:
    """Begin a picture; its title says the result in words."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    size = tuple(side / DPI for side in SIZE_PX)
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08, wspace=0.03)
    figure = Figure(figsize=(size[0], size[1]), dpi=DPI, facecolor="white", layout=layout)
    FigureCanvasAgg(figure)
    text = textwrap.fill(title, TITLE_WIDTH)
    figure.suptitle(text, x=0.012, ha="left", fontsize=11, fontweight="bold", color=INK)
    return figure


def panel(axes: Axes, title: str, x: str, y: str) -> None:
    """Give axes the common look, a title and their quantities with units."""
    axes.set_title(title, fontsize=9.5, loc="left", color=INK)
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    axes.tick_params(labelsize=8, color=GREY)
    axes.grid(visible=True, color="#e6e8eb", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.ticklabel_format(style="plain", useOffset=False)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(GREY)


def legend(axes: Axes, **where: object) -> None:
    """Name what is drawn."""
    axes.legend(**{"fontsize": 8, "frameon": False, **where})


def nothing(axes: Axes, what: str) -> None:
    """Say in the middle of axes why there is nothing to see in them."""
    axes.text(0.5, 0.6, what, transform=axes.transAxes, ha="center", color=GREY, fontsize=9)


def save(figure: Figure, path: Path) -> None:
    """Write a picture; it appears under its name when it is whole."""
    from PIL import Image

    content = io.BytesIO()
    figure.savefig(content, format="png")
    with Image.open(content) as drawn:
        # by coverage: the median cut forgets the colour of a thin line
        small = drawn.convert("RGB").quantize(
            COLORS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
        )
    part = path.with_name(f"{path.name}.part")
    small.save(part, format="png", optimize=True)
    part.replace(path)


def channels(image: NDArray) -> list[tuple[str, str, NDArray]]:
    """Give name, colour of the line and values of each channel, the last axis of an array.

    >>> [name for name, _, _ in channels(np.zeros((2, 2, 3)))], channels(np.zeros((2, 1)))[0][0]
    (['red', 'green', 'blue'], 'grey')
    """
    if image.shape[-1] == 3:
        names = zip(("red", "green", "blue"), (RED, GREEN, BLUE), strict=True)
        return [(name, color, image[..., i]) for i, (name, color) in enumerate(names)]
    return [("grey", INK, image[..., 0])]


def rounded(value: float) -> float:
    """Give the nearest of 1, 2 and 5 times a power of ten, for keys and scales.

    >>> rounded(0.27), rounded(31.0), rounded(0.0)
    (0.2, 20.0, 1.0)
    """
    if not value > 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(value))
    steps = np.array([1.0, 2.0, 5.0, 10.0])
    return float(f"{power * steps[np.argmin(np.abs(np.log(steps * power / value)))]:.1g}")
