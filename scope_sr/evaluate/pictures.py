"""What there is to see of an evaluation: crops of fields, and charts of all of them."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from scope_sr.drawing import BLUE, GREEN, GREY, INK, ORANGE, RED, legend, panel, png, sheet
from scope_sr.evaluate.judging import NUCLEI, Judge, Row, Shown
from scope_sr.evaluate.material import Material, Picture
from scope_sr.evaluate.summary import MODEL, columns
from scope_sr.evaluate.words import NAMES, number

CROP_PX = 144  # of the true image; shown twice as large
NUCLEI_CROP_PX = 288
TRUTH_RGB, FOUND_RGB = (0, 0, 0), (255, 230, 0)
WORDS = ("best", "median", "worst")


@dataclass(frozen=True)
class Tile:
    """A picture within the page: PNG in base64, what it is, and a figure below it."""

    data: str
    title: str
    note: str = ""


@dataclass(frozen=True)
class Example:
    """A field to look at."""

    word: str
    row: Row
    tiles: tuple[Tile, ...]
    reach: int  # grey levels of error that are shown white


def ranked(rows: Sequence[Row], kind: str) -> list[float]:
    """Give what fields are ranked by: gain in PSNR over bicubic, or F1 of nuclei."""
    if kind == "nuclei":
        f1 = [row.figures["f1"]["model"] for row in rows]
        dice = [row.figures["dice"]["model"] for row in rows]
        return [d if np.isnan(f) else f for f, d in zip(f1, dice, strict=True)]
    return [row.figures["psnr_db"]["model"] - row.figures["psnr_db"]["bicubic"] for row in rows]


def examples(judge: Judge, material: Material, rows: Sequence[Row]) -> list[Example]:
    """Show the best, the median and the worst field, each once."""
    values = np.nan_to_num(ranked(rows, judge.model.card.kind), nan=-1.0)
    order = np.argsort(-values, kind="stable")
    places = dict.fromkeys((0, len(order) // 2, len(order) - 1))
    words = WORDS if len(places) == 3 else ("best", "worst") if len(places) == 2 else ("only",)
    return [
        _example(word, judge, material, rows[int(order[place])])
        for word, place in zip(words, places, strict=True)
    ]


def _example(word: str, judge: Judge, material: Material, row: Row) -> Example:
    shown = judge.look(material.load(row.entry), row.entry.um_per_px)
    y, x = place_of(shown.field.high, judge.model.card.scale)
    reach = 0
    tiles: list[Tile] = []
    if judge.model.card.kind == "sr":
        reach = _reach(shown, y, x)
        tiles = _of_pictures(shown, row, judge.model.card.scale, (y, x), reach)
    names = {
        "bicubic": "nuclei in bicubic",
        "model": "nuclei in the model's",
        "high": "nuclei in the true image",
    }
    for name, found in shown.nuclei.items():
        image = shown.pictures["high" if judge.model.card.kind == "nuclei" else name]
        title = names[name] if judge.model.card.kind == "sr" else "marked and found"
        f1 = number("f1", _or_none(row.figures["f1"][name]))
        n = crop_px(judge.model.card.scale)
        outlined = _outlined(*(_crop(one, y, x, n) for one in (image, found, shown.field.labels)))
        tiles.append(Tile(outlined, title, f"F1 {f1}"))
    return Example(word, row, tuple(tiles), reach)


def place_of(high: Picture, scale: int) -> tuple[int, int]:
    """Choose where there is most to see in the true image: most edges; row and column."""
    side = crop_px(scale)
    grey = cv2.cvtColor(np.ascontiguousarray(high), cv2.COLOR_RGB2GRAY).astype(np.float32)
    edges = np.abs(np.gradient(grey)).sum(0)
    rows, columns = (max(n - side, 0) for n in grey.shape)
    steps = [sorted({*range(0, n + 1, 4 * scale), n // scale * scale}) for n in (rows, columns)]
    sums = cv2.integral(edges)
    best = max(
        ((y, x) for y in steps[0] for x in steps[1]),
        key=lambda at: (
            sums[at[0] + min(side, grey.shape[0]), at[1] + min(side, grey.shape[1])]
            - sums[at[0], at[1] + min(side, grey.shape[1])]
            - sums[at[0] + min(side, grey.shape[0]), at[1]]
            + sums[at[0], at[1]]
        ),
    )
    return best


def crop_px(scale: int) -> int:
    """Give the side of a crop of the true image: whole low pixels; more where nuclei are all.

    >>> crop_px(1), crop_px(4)
    (288, 144)
    """
    return NUCLEI_CROP_PX if scale == 1 else CROP_PX // scale * scale


def _of_pictures(shown: Shown, row: Row, scale: int, at: tuple[int, int], reach: int) -> list[Tile]:
    y, x = at
    low = shown.field.low
    n = crop_px(scale)
    high = _crop(shown.pictures["high"], y, x, n)
    tiles = []
    if low is not None:
        small = low[y // scale : (y + n) // scale, x // scale : (x + n) // scale]
        tiles.append(Tile(_png(np.kron(small, np.ones((scale, scale, 1), np.uint8))), "low image"))
    for name, title in (("bicubic", "bicubic"), ("model", "the model")):
        said = [number(f, row.figures[f][name]) for f in ("psnr_db", "ssim")]
        image = _crop(shown.pictures[name], y, x, n)
        tiles.append(Tile(_png(image), title, f"whole field: {said[0]}, SSIM {said[1]}"))
    tiles.append(Tile(_png(high), "true image"))
    for name, title in (("bicubic", "error of bicubic"), ("model", "error of the model")):
        off = _errors(_crop(shown.pictures[name], y, x, n), high)
        tiles.append(Tile(_png(_heat(off, reach)), title, f"mean {off.mean():.1f} grey levels"))
    return tiles


def _reach(shown: Shown, y: int, x: int) -> int:
    high = _crop(shown.pictures["high"], y, x, CROP_PX)
    off = [_errors(_crop(shown.pictures[name], y, x, CROP_PX), high) for name in ("bicubic", MODEL)]
    return max(8, round(float(np.percentile(off, 99.5))))


def _crop(image: Any, y: int, x: int, side: int) -> Any:
    return image[y : y + side, x : x + side]


def _errors(image: Picture, truth: Picture) -> NDArray[np.float64]:
    return np.asarray(np.abs(image.astype(float) - truth).mean(axis=2))


def _heat(off: NDArray[np.float64], reach: int) -> Picture:
    from matplotlib import colormaps

    return np.asarray(255 * colormaps["inferno"](np.clip(off / reach, 0, 1))[..., :3], np.uint8)


def _outlined(image: Picture, found: NDArray[Any], truth: NDArray[Any]) -> str:
    """Draw marked nuclei in black and found ones in yellow, both on twice as many pixels."""
    drawn = np.kron(image, np.ones((2, 2, 1), np.uint8))
    for labels, color in ((truth, TRUTH_RGB), (found, FOUND_RGB)):
        large = np.kron(np.asarray(labels, np.int64), np.ones((2, 2), int))
        drawn[_edges(large)] = color
    return _png(drawn)


def _edges(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Mark the outermost pixels of each nucleus."""
    padded = np.pad(labels, 1, mode="edge")
    inner = padded[1:-1, 1:-1]
    beside = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    differs = np.any([inner != one for one in beside], axis=0)
    return np.asarray(differs & (inner != 0))


def _png(image: NDArray) -> str:
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image, np.uint8)).save(stream, "png")
    return base64.b64encode(stream.getvalue()).decode()


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value


# ------------------------------------------------------------------ charts


def gain_chart(rows: Sequence[Row], report: Mapping[str, Any]) -> str:
    """Draw the gain over bicubic of each field, in PSNR and SSIM."""
    table = columns(rows)
    better = report["gains"]["psnr_db"]["better"]
    title = f"Better than bicubic in PSNR on {better} of {len(rows)} fields"
    figure = sheet(title, height_px=330)
    for axes, name in zip(figure.subplots(1, 2), ("psnr_db", "ssim"), strict=True):
        gain = report["gains"][name]
        values = np.sort(table[name]["model"] - table[name]["bicubic"])[::-1]
        colors = [BLUE if value > 0 else RED for value in values]
        axes.bar(np.arange(1, len(values) + 1), values, color=colors, width=0.8)
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.axhline(gain["mean"], color=ORANGE, linewidth=1.5, label="mean")
        if gain["interval"]:
            axes.axhspan(
                *gain["interval"], color=ORANGE, alpha=0.25, zorder=0, label="95 % interval"
            )
        label, _, unit = NAMES[name]
        panel(
            axes,
            f"gain in {label}",
            "fields, the best first",
            f"{label} less bicubic's{unit and f' ({unit.strip()})'}",
        )
        axes.xaxis.get_major_locator().set_params(integer=True)
        legend(axes)
    return base64.b64encode(png(figure)).decode()


def nuclei_chart(report: Mapping[str, Any]) -> str:
    """Draw the figures of nuclei by what they were found in, with their intervals."""
    sr = report["kind"] == "sr"
    names = {"bicubic": GREY, "model": BLUE, "high": GREEN} if sr else {"model": BLUE}
    words = {"bicubic": "bicubic", "model": "the model", "high": "true image"}
    figure = sheet("Nuclei found, against those marked", height_px=320, width_px=700)
    axes = figure.subplots()
    width = 0.8 / len(names)
    for place, (name, color) in enumerate(names.items()):
        at = np.arange(len(NUCLEI)) + (place - (len(names) - 1) / 2) * width
        means = [(report[f][name] if sr else report[f]) or 0.0 for f in NUCLEI]
        spans = [report["intervals"][f][name] if sr else report["intervals"][f] for f in NUCLEI]
        axes.bar(at, means, width * 0.92, color=color, label=words[name])
        for x, span in zip(at, spans, strict=True):
            if span:
                axes.plot([x, x], span, color=INK, linewidth=1.2)
    drawn = any(report["intervals"][f][MODEL] if sr else report["intervals"][f] for f in NUCLEI)
    panel(axes, f"mean over images{', 95 % interval' if drawn else ''}", "", "1 is perfect")
    axes.set_xticks(range(len(NUCLEI)), [NAMES[f][0] for f in NUCLEI])
    axes.set_ylim(0, 1.2 if sr else 1)  # room for the legend
    axes.set_yticks(np.linspace(0, 1, 6))
    if sr:
        legend(axes, loc="upper right", ncols=3)
    return base64.b64encode(png(figure)).decode()
