"""One pair of the user's images: drawn onto the low grid, its colours matched, judged, written."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from scope_sr.build_dataset.draft import put
from scope_sr.build_dataset.gates import gate, reasons
from scope_sr.build_dataset.judging import compared, filled, good_cells
from scope_sr.build_dataset.people import Whose
from scope_sr.dataset import Gate, Pair
from scope_sr.dataset.cells import pack
from scope_sr.dataset.fields import to_tiff
from scope_sr.degradation import LARGEST_RATIO
from scope_sr.imaging.color import apply_color_matrix, color_matrix
from scope_sr.imaging.laying import Box, covered, draw, softened
from scope_sr.imaging.pair_quality import Comparison
from scope_sr.imaging.session_model import Lens, SessionModel
from scope_sr.light import stored
from scope_sr.pictures.files import picture

Floats = NDArray[np.float32]
Image = NDArray[np.uint8] | NDArray[np.uint16]

BLUR_PX = 2.0  # of low pixels, before colours are compared
EVERY_PX = 3
LEAST_SAMPLES = 100
SOFT_PX = 0.45  # sigma in low pixels: about as soft as pixels of that size make an image


@dataclass(frozen=True)
class Registered:
    """What was found of a pair before it is drawn; `geometry` is its row in registration.json."""

    name: str
    low: Path
    high: Path
    geometry: dict[str, Any]
    digest: str


@dataclass(frozen=True, eq=False)
class PairTask:
    """A pair to be drawn and written."""

    registered: Registered
    source: str
    scale: int
    out: Path
    whose: Whose
    like: tuple[str, int]


def draw_pair(task: PairTask) -> Pair:
    """Draw the high image onto the low grid, match its colours, judge the pair and write it."""
    one = task.registered
    pair = Pair(
        name=f"{task.source}/{one.name}",
        source=task.source,
        low="",
        slide=task.whose.slide,
        patient=task.whose.patient,
        facts={"registration": json.dumps(one.geometry), "low_file": one.low.name,
               "high_file": one.high.name},
    )  # fmt: skip
    against = _known_against(task)
    if against:
        return replace(pair, reasons=against)
    low, high = picture(one.low), picture(one.high)
    pair = replace(pair, facts={**pair.facts, **_originals(one)})
    model, shift = _map_of(one.geometry, low.shape, high.shape)
    box = covered(model, shift, high.shape, low.shape)
    matched, inside = _matched(low, high, model, shift, box, task.scale)
    whole = filled(inside, task.scale)
    comparison = compared(
        _cut(low, box), matched, whole, scale=task.scale, blur_px=SOFT_PX * task.scale,
        levels=_levels(low),
    )  # fmt: skip
    cells = good_cells(comparison, ~whole, task.scale)
    gates = _gates(comparison, cells, task.scale)
    linear = np.array(one.geometry["hr_to_lr"])
    pair = replace(
        pair,
        box_px=(box.x, box.y, box.width, box.height),
        gates=gates,
        reasons=reasons(gates),
        high_to_low=tuple(tuple(map(float, row)) for row in linear),  # type: ignore[arg-type]
        facts={**pair.facts, "sharpness": plain(comparison.sharpness) or 0.0,
               "residual_hr_px": one.geometry["residual_hr_px"] or 0.0},
    )  # fmt: skip
    if pair.reasons:
        return pair
    names = [f"{side}/{task.source}/{one.name}.tif" for side in ("low", "high")]
    shas = [
        put(task.out, name, to_tiff(image, None))
        for name, image in zip(names, (low, matched), strict=True)
    ]
    return replace(
        pair, low=names[0], high=names[1], low_sha256=shas[0], high_sha256=shas[1],
        cells=pack(cells),
    )  # fmt: skip


def _originals(one: Registered) -> dict[str, str]:
    paths = {"low": one.low, "high": one.high}
    return {
        f"{side}_original_sha256": hashlib.sha256(path.read_bytes()).hexdigest()
        for side, path in paths.items()
    }


def _known_against(task: PairTask) -> tuple[str, ...]:
    """Say what is known against a pair before it is drawn."""
    one = task.registered
    if not one.geometry["accepted"]:
        return tuple(
            reason if reason.startswith("unreadable: ") else f"not registered: {reason}"
            for reason in one.geometry["reasons"]
        )
    ratio = float(one.geometry["scale"])
    if task.scale > LARGEST_RATIO * ratio:
        return (f"scale: the high image has {ratio:.2f} pixels per low one, not {task.scale}",)
    for path in (one.low, one.high):
        image = picture(path)
        kind = ("colour" if image.ndim == 3 else "grey"), 8 * image.dtype.itemsize
        if kind != task.like:
            say = " of ".join((kind[0], f"{kind[1]} bits"))
            return (f"kind: {path.name} is {say}, the others {task.like[0]} of {task.like[1]}",)
    return ()


def _map_of(
    geometry: Mapping[str, Any], low_shape: tuple[int, ...], high_shape: tuple[int, ...]
) -> tuple[SessionModel, NDArray[np.float64]]:
    """Take an affine map between pixel numbers as one between offsets from the image centres."""
    matrix = np.array(geometry["hr_to_lr"])
    middles = [(np.array(shape[1::-1]) - 1) / 2 for shape in (low_shape, high_shape)]
    own, other = (Lens(math.hypot(*s[:2]) / 2, 0.0) for s in (low_shape, high_shape))
    shift = matrix[:, :2] @ middles[1] + matrix[:, 2] - middles[0]
    return SessionModel.calibrated(matrix[:, :2], own, other, free_px=0.0), np.asarray(shift)


def _levels(image: Image) -> np.float32:
    """Give the factor to grey levels of 8 bits; of 16, by what the image holds."""
    return np.float32(1.0 if image.dtype == np.uint8 else 240 / np.percentile(image, 99.5))


def _matched(
    low: Image,
    high: Image,
    model: SessionModel,
    shift: NDArray[np.float64],
    box: Box,
    scale: int,
) -> tuple[Image, NDArray[np.bool_]]:
    """Draw the high image in the colours of the low one."""
    ratio = 1 / math.sqrt(abs(float(np.linalg.det(model.linear))))
    sharp = high.astype(np.float32)
    if ratio > 1.05 * scale:  # else detail finer than the new pixels would fold over
        sharp = softened(sharp, SOFT_PX * math.sqrt((ratio / scale) ** 2 - 1))
    drawn, inside = draw(sharp, model, shift, box, low.shape, scale=scale)
    soft = softened(sharp, BLUR_PX * ratio)
    small, within = draw(soft, model, shift, box, low.shape)
    part = softened(_cut(low, box).astype(np.float32), BLUR_PX)
    matrix = _color(part, small, within)
    if drawn.ndim == 3:
        matched = apply_color_matrix(drawn, matrix)
    else:
        matched = drawn * matrix[0, 0] + matrix[0, 1]
    matched[~inside] = 0
    return stored(matched, 255 if low.dtype == np.uint8 else 65535), inside


def _color(part: Floats, small: Floats, within: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Fit the colours of the high image to those of the low one where they overlap."""
    reach = round(3 * BLUR_PX)
    size = (2 * reach + 1, 2 * reach + 1)
    clear = cv2.erode(within.astype(np.uint8), np.ones(size), borderValue=0) > 0
    keep = np.zeros_like(clear)
    keep[::EVERY_PX, ::EVERY_PX] = clear[::EVERY_PX, ::EVERY_PX]
    low, high = part[keep], small[keep]
    if part.ndim == 3 and len(low) >= LEAST_SAMPLES:
        try:
            return color_matrix(low, high)[0]
        except ValueError:
            pass  # too few colours for a matrix; the levels can still be matched
    return _gains(low.reshape(len(low), -1), high.reshape(len(high), -1))


def _gains(low: Floats, high: Floats) -> NDArray[np.float64]:
    """Match mean and spread of each channel: all that few colours allow."""
    channels = low.shape[1]
    matrix = np.column_stack([np.eye(channels), np.zeros(channels)])
    if len(low) < LEAST_SAMPLES // 4:
        return matrix
    for c in range(channels):
        gain = float(low[:, c].std()) / max(float(high[:, c].std()), 1.0)
        matrix[c, c] = gain
        matrix[c, -1] = float(low[:, c].mean()) - gain * float(high[:, c].mean())
    return matrix


def _gates(comparison: Comparison, cells: NDArray[np.bool_], scale: int) -> dict[str, Gate]:
    values = {
        "shift_px": scale * comparison.shift_px,
        "spread_px": scale * comparison.spread_px,
        "likeness": comparison.likeness,
        "usable": 1.0 if cells.any() else 0.0,
    }
    return {name: gate(name, value) for name, value in values.items()}


def plain(value: float) -> float | None:
    """Give None where there is no number: JSON knows none."""
    return float(value) if math.isfinite(value) else None


def _cut(image: NDArray, box: Box) -> NDArray:
    return image[box.y : box.y + box.height, box.x : box.x + box.width]
