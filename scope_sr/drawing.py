"""What the pictures of reports are drawn on: one look, colours all can tell apart, small files.

Matplotlib is loaded by the first picture, not by whoever imports this; its object API is used, so
that no window system and no state of the process are involved.
"""

from __future__ import annotations

import contextlib
import io
import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scope_sr import disk

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image as PngImage
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

Color = tuple[int, int, int]  # red, green and blue of 255

DPI = 100
WIDE_PX = 900
COLORS = 256  # of a picture's palette: a third of the file it would be without one
GREYS = 16  # of these, where tissue would else colour the writing

# Okabe and Ito: told apart by people who see no red or no green
BLUE, ORANGE, GREEN, RED, SKY, PURPLE = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#d55e00",
    "#56b4e9",
    "#cc79a7",
)
BROWN, GREY, INK, PALE = "#7a5c00", "#8a8f98", "#22262b", "#e6e8eb"


def sheet(title: str, height_px: int = 500, width_px: int = WIDE_PX) -> Figure:
    """Begin a picture; its title says the result in words."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08, wspace=0.03)
    size = (width_px / DPI, height_px / DPI)
    figure = Figure(figsize=size, dpi=DPI, facecolor="white", layout=layout)
    FigureCanvasAgg(figure)
    text = textwrap.fill(title, width_px // 9)
    figure.suptitle(
        text, x=0.012, ha="left", fontsize=11, fontweight="bold", color=INK, parse_math=False
    )
    return figure


def panel(axes: Axes, title: str, x: str, y: str) -> None:
    """Give axes the common look, a title and their quantities with units."""
    axes.set_title(title, fontsize=9.5, loc="left", color=INK)
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    axes.tick_params(labelsize=8, color=GREY)
    axes.grid(visible=True, color=PALE, linewidth=0.7)
    axes.set_axisbelow(True)
    with contextlib.suppress(AttributeError):  # axes of names, or logarithmic ones, know no style
        axes.ticklabel_format(style="plain", useOffset=False)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(GREY)


def photo(axes: Axes, image: NDArray[Any], **how: Any) -> Any:
    """Show pixels as they are, without axes; 8 bits."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    if image.ndim == 2:
        how = {"cmap": "gray", "vmin": 0, "vmax": 255, **how}
    return axes.imshow(image, **{"interpolation": "nearest", **how})


def legend(axes: Axes, **where: object) -> None:
    """Name what is drawn, on white where lines run below it."""
    look = {"fontsize": 8, "framealpha": 0.9, "edgecolor": "none", "facecolor": "white"}
    axes.legend(**{**look, **where})


def nothing(axes: Axes, what: str) -> None:
    """Say in the middle of axes why there is nothing to see in them."""
    axes.text(0.5, 0.5, what, transform=axes.transAxes, ha="center", color=GREY, fontsize=9)


def bar_of(axes: Axes, pixel_um: float | None, width_px: int, color: str = INK) -> None:
    """Draw a scale bar of about a quarter of the width into the lower left corner of a photo."""
    if not pixel_um:
        return
    length_um = rounded(0.25 * width_px * pixel_um)
    length = length_um / pixel_um
    rows = axes.get_ylim()[0] + 0.5
    at = (0.05 * width_px, 0.93 * rows)
    axes.plot([at[0], at[0] + length], [at[1]] * 2, color="white", linewidth=5)
    axes.plot([at[0], at[0] + length], [at[1]] * 2, color=color, linewidth=2.5)
    axes.annotate(
        f"{length_um:g} µm", (at[0], at[1]), (0, 5), textcoords="offset points", fontsize=8,
        color=color, bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 1.2},
    )  # fmt: skip


def save(figure: Figure, path: Path) -> None:
    """Write a picture; it appears under its name when it is whole."""
    disk.store(path, png(figure))


def png(figure: Figure, *, photos: bool = False, exact: Sequence[Color] = ()) -> bytes:
    """Give a picture as the bytes of a file; the same for the same picture.

    `photos` of tissue get a palette by what colours occur, lines one that forgets none;
    `exact` colours, red, green and blue of 255, stay as they are.
    """
    from PIL import Image

    canvas: Any = figure.canvas
    with warnings.catch_warnings():
        # a name in letters the font lacks is drawn as boxes, and reads right in the report
        warnings.filterwarnings("ignore", message="Glyph")
        canvas.draw()
    drawn = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    small = _like_photos(drawn, exact) if photos else _like_lines(drawn)
    found = io.BytesIO()
    small.save(found, format="png", optimize=True)
    return found.getvalue()


def _like_lines(drawn: PngImage) -> PngImage:
    """Choose a palette by coverage: the median cut forgets the colour of a thin line."""
    from PIL import Image

    return drawn.quantize(COLORS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)


def _like_photos(drawn: PngImage, exact: Sequence[Color]) -> PngImage:
    """Choose a palette by what colours occur, beside `exact` ones and the greys of writing."""
    from PIL import Image

    pixels = np.asarray(drawn)
    packed = pixels @ np.array([1 << 16, 1 << 8, 1])
    greys = np.linspace((34, 38, 43), (255, 255, 255), GREYS).round().astype(int).tolist()
    fixed: list[Color] = [*exact, *((red, green, blue) for red, green, blue in greys)]
    numbers = {(red << 16) + (green << 8) + blue: n for n, (red, green, blue) in enumerate(fixed)}
    # each colour counts once: else a little red tissue would get no colour of its own; what stays
    # exact takes no part, and lends the tissue none of its colours
    seen = np.unique(packed[~np.isin(packed, list(numbers))])
    apart = np.stack([seen >> 16, seen >> 8 & 255, seen & 255], axis=-1).astype(np.uint8)
    chosen = Image.fromarray(apart.reshape(1, -1, 3) if len(seen) else pixels[:1, :1]).quantize(
        COLORS - len(fixed), method=Image.Quantize.MEDIANCUT
    )
    tissue = drawn.quantize(palette=chosen, dither=Image.Dither.NONE)
    found = np.array(tissue) + len(fixed)
    for color, number in numbers.items():
        found[packed == color] = number
    whole = Image.fromarray(found.astype(np.uint8), mode="P")
    whole.putpalette([*(part for color in fixed for part in color), *(chosen.getpalette() or [])])
    return whole


def channels(image: NDArray[Any]) -> list[tuple[str, str, NDArray[Any]]]:
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


def histogram(
    axes: Axes, values: NDArray[np.float64], edges: NDArray[np.float64], color: str, name: str
) -> None:
    """Draw the share of values between edges; what lies beyond counts into the last bin."""
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    share = 100 * counts / max(len(values), 1)
    axes.stairs(share, edges, color=color, linewidth=1.4, label=name)
    axes.stairs(share, edges, color=color, fill=True, alpha=0.15)


def draw_scale_bar(
    pen: ImageDraw, lower_left: tuple[int, int], um_per_px: float, length_um: float, text_px: int
) -> None:
    """Draw a scale bar on white, its corner at (left, bottom); see `scale_bar_px`."""
    left, bottom = lower_left
    width, height = scale_bar_px(um_per_px, length_um, text_px)
    pad, top = text_px // 2, bottom - height
    pen.rectangle((left, top, left + width, bottom), fill="white")
    pen.rectangle(
        (left + pad, top + pad, left + width - pad - 1, top + pad + text_px // 3), "black"
    )
    pen.text(
        (left + width / 2, bottom - pad / 2),
        f"{length_um:g} µm",
        fill="black",
        font=font(text_px),
        anchor="mb",
    )


def scale_bar_px(um_per_px: float, length_um: float, text_px: int) -> tuple[int, int]:
    """Give width and height of a scale bar with its white surroundings.

    >>> scale_bar_px(0.5, 50.0, 14)
    (114, 42)
    """
    return round(length_um / um_per_px) + 2 * (text_px // 2), 3 * text_px


def font(size_px: float) -> FreeTypeFont:
    """Load a font that has a µ: Pillow's own has none."""
    from matplotlib import get_data_path
    from PIL import ImageFont

    return ImageFont.truetype(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size_px)
