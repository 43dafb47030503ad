"""What the nuclei of a picture say together: how many, how dense, how large, of what shape."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scope_sr.enhance.canvas import Pixels
from scope_sr.enhance.counting import Counted, Journal
from scope_sr.enhance.reduced import factor_for, reduced
from scope_sr.imaging.tissue import glass_level, tissue_mask

TISSUE_UM, LONGEST_PX = 2.0, 4096  # of the picture that tissue is looked for in
BLUR_UM = 5.0  # bridges the pale gaps within tissue

# First and last edge, and how many bins; what lies beyond counts into the first or the last
BINS = {
    "area_um2": (0.0, 150.0, 30),
    "eccentricity": (0.0, 1.0, 20),
    "solidity": (0.5, 1.0, 25),
    "haematoxylin_od": (0.0, 1.2, 24),
}


def statistics(counted: Counted, picture: Pixels) -> dict[str, Any]:
    """Summarise the nuclei of a picture, as ``summary.json`` has it.

    Parameters
    ----------
    picture
        ``(row, column, 3)`` RGB of 8 bits, in which tissue is told from glass.

    Returns
    -------
    dict
        ``count``, and of these ``on_edge``: cut by the edge of the picture. ``area_mm2`` of the
        picture and ``tissue_mm2`` of the tissue in it, and nuclei ``per_mm2`` of the picture and
        ``per_mm2_tissue``. And for each of `BINS` ``mean``, ``sd``, ``quartiles`` (with the median
        as the second) and a ``histogram`` (``edges``, ``counts``) over the nuclei that no edge
        cuts. None where there is nothing to tell.

    Notes
    -----
    Of a picture's nuclei those that its edge cuts belong to it only in part, and bits of them are
    too small to be found. So the density is made of whole ones, each divided by the area that its
    box can be moved in without leaving the picture: the correction of Miles and Lantuéjoul (in
    J. Serra, Image Analysis and Mathematical Morphology, 1982), which has no bias.
    """
    rows, columns_px = picture.shape[:2]
    cut, boxes_px, columns = _columns(counted.journal)
    whole = ~cut
    room = (columns_px - boxes_px[whole, 0]) * (rows - boxes_px[whole, 1])
    inside = float(np.sum(rows * columns_px / room))
    area_mm2 = rows * columns_px * (counted.um_per_px / 1e3) ** 2
    tissue_mm2 = area_mm2 * tissue_share(picture, counted.um_per_px)
    return {
        "count": len(cut),
        "on_edge": int(cut.sum()),
        "area_mm2": area_mm2,
        "tissue_mm2": tissue_mm2,
        "per_mm2": inside / area_mm2,
        "per_mm2_tissue": inside / tissue_mm2 if tissue_mm2 else None,
        **{name: _distribution(name, columns[name][whole]) for name in BINS},
    }


def tissue_share(picture: Pixels, um_per_px: float) -> float:
    """Tell how much of a picture is tissue, by a reduced one of about 2 µm per pixel."""
    finest = max(1, round(TISSUE_UM / um_per_px))
    factor = max(factor_for(picture.shape, LONGEST_PX), min(finest, *picture.shape[:2]))
    small = reduced(picture, factor)
    blur_px = BLUR_UM / (um_per_px * factor)
    return float(tissue_mask(small, glass_level([small], 255), blur_px).mean())


def _columns(
    journal: Journal,
) -> tuple[NDArray[np.bool_], NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """Give which nuclei are cut, width and height of their boxes, and the columns.

    That is 49 bytes for a nucleus, and exact quartiles.
    """
    cut, boxes_px, columns = array("b"), array("d"), {name: array("d") for name in BINS}
    for nucleus, outline in journal:
        cut.append(nucleus.on_edge)
        boxes_px.extend(np.ptp(outline, axis=0))
        for name, column in columns.items():
            column.append(getattr(nucleus, name))
    values = {name: np.array(column) for name, column in columns.items()}
    return np.array(cut, bool), np.reshape(boxes_px, (-1, 2)), values


def _distribution(name: str, values: NDArray[np.float64]) -> dict[str, Any] | None:
    if not len(values):
        return None
    first, last, bins = BINS[name]
    edges = np.linspace(first, last, bins + 1)
    counts, _ = np.histogram(np.clip(values, first, last), edges)
    return {
        "mean": float(values.mean()),
        "sd": float(values.std(ddof=1)) if len(values) > 1 else None,
        "quartiles": np.percentile(values, [25, 50, 75]).tolist(),
        "histogram": {"edges": edges.round(6).tolist(), "counts": counts.tolist()},
    }
