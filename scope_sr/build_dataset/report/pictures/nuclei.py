"""Images with nuclei: their outlines on some of them, and how many and how large they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scope_sr.build_dataset.report.pictures.examples import eight_bits
from scope_sr.build_dataset.report.words import number, some
from scope_sr.dataset import Header, Labelled
from scope_sr.dataset.fields import mapped
from scope_sr.drawing import (
    BLUE,
    INK,
    bar_of,
    histogram,
    legend,
    nothing,
    panel,
    photo,
    png,
    sheet,
)

SHOWN = 12
COLUMNS = 4
WIDTH_PX = 205  # of one image in the picture
CROP_PX = 224
MEASURED = 40  # images whose nuclei are measured: enough to tell how large they are
OUTLINE = (0, 255, 255)  # told from pink, violet and white by all
BINS = 40


def draw_montage(folder: Path, header: Header, items: Sequence[Labelled]) -> bytes | None:
    """Draw the middle of some images with the outlines of their labels; None without one."""
    chosen = _spread_over([item for item in items if item.accepted and item.image], SHOWN)
    if not chosen:
        return None
    columns = min(COLUMNS, len(chosen))
    rows = -(-len(chosen) // columns)
    figure = sheet(
        f"{some(len(chosen), 'image')} with the outlines of what is marked as nucleus",
        height_px=60 + 212 * rows,
        width_px=max(WIDTH_PX * columns, 480),
    )
    table = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, item in zip(table, chosen, strict=False):
        image, labels, ignored = _middle(folder, item)
        shown = outlined(eight_bits(image, (1 << header.bits) - 1), labels)
        shown[ignored] = shown[ignored] // 2 + 64  # greyed: nobody judges there
        photo(axes, shown)
        bar_of(axes, item.um_per_px, shown.shape[1])
        count = "" if item.nuclei is None else f", {some(item.nuclei, 'nucleus', 'nuclei')}"
        name = item.name.partition("/")[2] or item.name
        axes.set_title(f"{name[:24]}{count}", fontsize=8, loc="left", color=INK, parse_math=False)
    for axes in table[len(chosen) :]:
        axes.set_axis_off()
    return png(figure, photos=True)


def _spread_over(items: Sequence[Labelled], most: int) -> list[Labelled]:
    """Choose items evenly, the first and the last among them."""
    places = dict.fromkeys(np.linspace(0, len(items) - 1, min(most, len(items))).astype(int))
    return [items[int(place)] for place in places]


def _middle(folder: Path, item: Labelled) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    image, labels = mapped(folder / item.image), mapped(folder / item.labels)
    height, width = labels.shape
    y, x = max(0, (height - CROP_PX) // 2), max(0, (width - CROP_PX) // 2)
    part = np.s_[y : y + CROP_PX, x : x + CROP_PX]
    labels = np.array(labels[part])
    ignored = np.zeros(labels.shape, bool)
    if item.ignore and (folder / item.ignore).is_file():
        ignored = np.array(mapped(folder / item.ignore)[part]) != 0
    return np.array(image[part]), labels, ignored


def outlined(image: NDArray[np.uint8], labels: NDArray[Any]) -> NDArray[np.uint8]:
    """Draw the rim of each label, one pixel wide and inside it, onto an image in colour."""
    shown = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image.copy()
    framed = np.pad(labels, 1, mode="edge")
    rim = np.zeros(labels.shape, bool)
    for dy, dx in ((0, 1), (2, 1), (1, 0), (1, 2)):
        beside = framed[dy : dy + labels.shape[0], dx : dx + labels.shape[1]]
        rim |= beside != labels
    shown[rim & (labels != 0)] = OUTLINE
    return shown


def draw_counts(folder: Path, items: Sequence[Labelled]) -> bytes | None:
    """Draw how many nuclei images hold and how large these are; None where none were counted."""
    counted = [item for item in items if item.accepted and item.nuclei is not None]
    if not counted:
        return None
    numbers = np.array([item.nuclei for item in counted], float)
    total = int(numbers.sum())
    figure = sheet(
        f"{some(total, 'nucleus', 'nuclei')} in {some(len(counted), 'image')}, half of the images"
        f" hold {number(float(np.median(numbers)))} or fewer",
        height_px=380,
    )
    per_image, sizes = figure.subplots(1, 2)
    panel(per_image, "nuclei in an image", "nuclei", "share of images (%)")
    top = max(float(numbers.max()), 1.0)
    histogram(per_image, numbers, np.linspace(0, top, min(BINS, int(top)) + 1), BLUE, "")
    _sizes(sizes, folder, _spread_over(counted, MEASURED))
    return png(figure)


def _sizes(axes: Any, folder: Path, items: Sequence[Labelled]) -> None:
    known = all(item.um_per_px for item in items)
    unit = "µm²" if known else "px²"
    title = f"size of nuclei in {some(len(items), 'image')}"
    panel(axes, title, f"area ({unit})", "share of nuclei (%)")
    areas = []
    for item in items:
        found = np.bincount(np.array(mapped(folder / item.labels)).ravel())[1:].astype(float)
        areas.append(found[found > 0] * ((item.um_per_px or 1.0) ** 2 if known else 1.0))
    every = np.concatenate(areas)
    if not len(every):
        nothing(axes, "no nucleus is marked")
        return
    top = max(1.3 * float(np.percentile(every, 99)), 1e-6)
    histogram(axes, every, np.linspace(0, top, BINS + 1), BLUE, "")
    half = float(np.median(every))
    axes.axvline(half, color=INK, linewidth=1.2, label=f"median {number(half)} {unit}")
    axes.set_xlim(0, top)
    legend(axes, loc="upper right")
