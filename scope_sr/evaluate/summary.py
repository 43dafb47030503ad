"""From what came out field by field to ``report.json``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scope_sr.evaluate.judging import NUCLEI, Row
from scope_sr.evaluate.statistics import LEVEL, SAMPLES, Bootstrap, mean

SCHEMA = "scope-sr/evaluation/1"
# The protocol in one line each; a figure means nothing without it
PROTOCOL = {
    "psnr_db": "PSNR of RGB, 8 bits after rounding and clipping, {crop} px of border left out,"
    " per image and then the mean; equal pictures count as 100 dB",
    "ssim": "SSIM per channel, then the mean: Gaussian window of sigma 1.5 (11 taps), K 0.01 and"
    " 0.03, range 255, valid part of the same crop",
    "y_psnr_db": "of Y: the same of luma (BT.601, 16 to 235, not rounded)",
    "lpips": "LPIPS 0.1 with VGG16, whole image, the less the better",
    "consistency_db": "consistency: PSNR of the enlarged picture made low again ({lowered})"
    " against the low image, 1 low px left out",
    "shifted_psnr_db": "after the best shift: of at most 2 px, in fractions of a pixel",
    "fitted_psnr_db": "after shift and colours: after it and the best affine map of colours",
    "dice": "nuclei: Dice of pixels, AJI, F1 and PQ of nuclei matched at IoU above 0.5, per image,"
    " then the mean over images where it is defined",
}
HIGH, MODEL, BICUBIC = "high", "model", "bicubic"
LESS_IS_BETTER = "lpips"


def summary(
    rows: Sequence[Row], kind: str, made: str, lowered: str, cut: str, scale: int
) -> dict[str, Any]:
    """Give the figures of all fields: means, intervals, gains, and each field's own.

    For super-resolution each figure is a table of ``model``, ``bicubic``, ``lanczos`` and, for
    nuclei, ``high``: of those found in such pictures. For a nuclei model each is a number.
    """
    boot = Bootstrap(len(rows))
    table = columns(rows)
    means = {
        figure: {name: _known(mean(values)) for name, values in by.items()}
        for figure, by in table.items()
    }
    intervals = {
        figure: {name: boot.interval(values) for name, values in by.items()}
        for figure, by in table.items()
    }
    found: dict[str, Any] = {"images": len(rows), "protocol": _protocol(table, cut, lowered, scale)}
    if kind == "nuclei":
        found |= {figure: by[MODEL] for figure, by in means.items()}
        found["intervals"] = {figure: by[MODEL] for figure, by in intervals.items()}
    else:
        found |= means
        found |= {
            "degradation": made,
            "intervals": intervals,
            "gains": {
                figure: _gain(boot, by[MODEL] - by[BICUBIC], figure) for figure, by in table.items()
            },
        }
        if "f1" in table:
            found["recovered"] = {figure: _recovered(boot, table[figure]) for figure in NUCLEI}
    found["bootstrap"] = f"{100 * LEVEL:.0f} % percentile, {SAMPLES} draws of the fields"
    found["fields"] = [_field(row, kind) for row in rows]
    return found


def columns(rows: Sequence[Row]) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Give each figure of each kind of picture over the fields."""
    first = rows[0].figures
    return {
        figure: {
            name: np.array([row.figures[figure][name] for row in rows], float)
            for name in first[figure]
        }
        for figure in first
    }


def to_json(report: Mapping[str, Any]) -> bytes:
    """Write the report; numbers to nine figures, the schema first."""
    text = json.dumps(_rounded(report), ensure_ascii=False, indent=1, allow_nan=False)
    return text.encode() + b"\n"


def _gain(boot: Bootstrap, off: NDArray[np.float64], figure: str) -> dict[str, Any]:
    """Give the mean of paired differences to bicubic, and on how many fields that is better."""
    better, worse = int((off > 0).sum()), int((off < 0).sum())
    if figure == LESS_IS_BETTER:
        better, worse = worse, better
    return {
        "mean": _known(mean(off)),
        "interval": boot.interval(off),
        "better": better,
        "worse": worse,
    }


def _recovered(boot: Bootstrap, by: Mapping[str, NDArray[np.float64]]) -> dict[str, Any]:
    share, interval = boot.share(by[BICUBIC], by[MODEL], by[HIGH])
    if math.isnan(share):
        told = np.isfinite(by[HIGH]).any()
        why = "nuclei are found no better, or hardly, in the true images than in bicubic ones"
        why = f"not defined: {why if told else 'the masks do not tell nuclei apart'}"
        return {"share": None, "interval": None, "why": why}
    return {"share": share, "interval": interval}


def _protocol(table: Mapping[str, Mapping[str, Any]], cut: str, lowered: str, scale: int) -> str:
    said = {"crop": scale, "lowered": lowered}
    lines = [text.format(**said) for figure, text in PROTOCOL.items() if figure in table]
    return "; ".join([cut, *lines])


def _field(row: Row, kind: str) -> dict[str, Any]:
    entry = row.entry
    found: dict[str, Any] = {"name": entry.name}
    found |= {
        key: value for key, value in (("patient", entry.patient), ("slide", entry.slide)) if value
    }
    found |= {"sha256": row.sha256, "width_px": row.size_px[0], "height_px": row.size_px[1]}
    for figure, by in row.figures.items():
        known = {name: _known(value) for name, value in by.items()}
        found[figure] = known[MODEL] if kind == "nuclei" else known
    if row.marked is not None:
        found |= {"nuclei": row.marked, "found": row.found}
    return found


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return value
