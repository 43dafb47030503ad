"""What there is to see on the page of a run: small pictures of the inputs, and charts of nuclei."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from scope_sr.drawing import BLUE, ORANGE, panel, png, sheet
from scope_sr.enhance.statistics import BINS

THUMBNAIL_PX, JPEG_QUALITY = 480, 82
LABELS = {
    "area_um2": ("area", "µm²"),
    "eccentricity": ("eccentricity", "0 is a circle"),
    "solidity": ("solidity", "share of the convex hull"),
    "haematoxylin_od": ("haematoxylin", "mean optical density"),
}


def thumbnail(folder: Path, files: Mapping[str, str]) -> str:
    """Give an input as a small JPEG in base64: its overlay, else the enhanced picture.

    Empty where neither can be read any more.
    """
    try:
        image = _overlay(folder / files["overlay"]) if "overlay" in files else None
        if image is None:
            image = Image.fromarray(_coarsest(folder / files["sr"]))
    except (OSError, KeyError, ValueError):
        return ""
    image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    stream = io.BytesIO()
    image.save(stream, "jpeg", quality=JPEG_QUALITY)
    return base64.b64encode(stream.getvalue()).decode()


def _overlay(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def _coarsest(path: Path) -> NDArray[np.uint8]:
    with tifffile.TiffFile(path) as tiff:
        return np.asarray(tiff.series[0].levels[-1].asarray(), np.uint8)


def histograms(nuclei: Sequence[Mapping[str, Any]]) -> str:
    """Draw the distributions over the nuclei of all inputs: PNG in base64.

    Parameters
    ----------
    nuclei
        Of each input, as :func:`scope_sr.enhance.statistics.statistics` gives them.
    """
    figure = sheet("Nuclei that no edge cuts", height_px=520)
    for axes, name in zip(figure.subplots(2, 2).flat, BINS, strict=True):
        counts, edges = pooled([one[name]["histogram"] for one in nuclei if one[name]], name)
        share = 100 * counts / max(1, counts.sum())
        axes.stairs(share, edges, color=BLUE, fill=True, alpha=0.35)
        axes.stairs(share, edges, color=BLUE, linewidth=1.3)
        label, unit = LABELS[name]
        median = _median(counts, edges)
        if median is not None:
            axes.axvline(median, color=ORANGE, linewidth=1.6)
            label += f": median {median:.3g}"
        panel(axes, label, unit, "% of nuclei")
        axes.set_xlim(edges[0], edges[-1])
    return base64.b64encode(png(figure)).decode()


def pooled(
    found: Sequence[Mapping[str, Any]], name: str
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Add up histograms of one quantity, ``counts`` and ``edges``."""
    first, last, bins = BINS[name]
    counts = np.zeros(bins, np.int64)
    for one in found:
        counts += np.array(one["counts"])
    return counts, np.linspace(first, last, bins + 1)


def _median(counts: NDArray[np.int64], edges: NDArray[np.float64]) -> float | None:
    """Give the median as the bins tell it."""
    if not counts.any():
        return None
    below = np.concatenate([[0], np.cumsum(counts)])
    return float(np.interp(below[-1] / 2, below, edges))
