"""Second reading of a session: pairs as they will stand in the dataset, and what they are worth."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from scope_sr.build_dataset.draft import put
from scope_sr.build_dataset.gates import LEAST_BLOCKS, gate, reasons
from scope_sr.build_dataset.judging import compared, filled, good_cells, made_small
from scope_sr.build_dataset.pooling import Shared
from scope_sr.build_dataset.setup import Setup, steps_of
from scope_sr.dataset import Gate, Pair, Split
from scope_sr.dataset.cells import CELL_PX, pack
from scope_sr.dataset.fields import to_tiff
from scope_sr.dataset.index import Place
from scope_sr.dataset.splits import Area
from scope_sr.imaging.color import apply_color_matrix
from scope_sr.imaging.laying import Box, covered, draw, softened
from scope_sr.imaging.session_model import SessionModel
from scope_sr.imaging.shift import green
from scope_sr.imaging.tissue import MEASURED_DENSITY, TISSUE_DENSITY, tissue_mask
from scope_sr.light import (
    Floats,
    Image,
    corrected,
    opened,
    shading_of,
    stored,
)
from scope_sr.session import Session

TISSUE_UM = 5.0  # sigma that bridges the pale gaps within tissue
GLASS_SHARE = 0.05  # of a field must be glass for its level to be told
SPECK_UM2 = 100.0
COARSE = 4  # low pixels on a side of what tissue is told on


@dataclass(frozen=True, eq=False)
class Lie:
    """Where a high field lies: its shift s, and how far that is from what the stage said.

    `reasons` are what is known against it before it is drawn.
    """

    name: str
    shift_px: NDArray[np.float64] | None
    away_um: float
    clipped: float
    blocks: int
    reasons: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class GroupTask:
    """A low field to be written, with the high ones to be drawn onto it."""

    setup: Setup
    shared: Shared
    out: Path
    low: str
    low_clipped: float
    lies: tuple[Lie, ...]
    slide: str
    patient: str
    split: Split | Area


def draw_group(task: GroupTask) -> tuple[Pair, ...]:
    """Write a low field and the high fields drawn onto it; the rejected ones are not kept."""
    setup, session = task.setup, opened(task.setup.folder)
    raw = session.read(task.low)
    shading = shading_of(setup.folder, setup.low)
    low = stored(corrected(raw, shading), setup.full_scale)
    scene = _Scene(task, session, raw, low, _tissue(low, task.shared, setup))
    drawn = [_draw_pair(scene, lie) for lie in task.lies]
    if not any(pair.accepted for pair in drawn):
        return tuple(replace(pair, low="") for pair in drawn)
    sha = put(task.out, _file("low", setup.name, task.low), to_tiff(low, setup.low_um_per_px))
    return tuple(
        replace(pair, low_sha256=sha) if pair.accepted else replace(pair, low="") for pair in drawn
    )


@dataclass(frozen=True, eq=False)
class _Scene:
    """A low field read and corrected."""

    task: GroupTask
    session: Session
    raw: Image
    low: Image
    tissue: NDArray[np.bool_]


def _draw_pair(scene: _Scene, lie: Lie) -> Pair:
    task, setup = scene.task, scene.task.setup
    pair = _begun(scene, lie)
    if lie.shift_px is None or lie.reasons:
        return replace(pair, reasons=lie.reasons)
    high, box, inside = _drawn(scene, lie)
    gates, cells = _judged(scene, lie, high, box, inside)
    cells, split = _allotted(scene, box, cells)
    gates["usable"] = gate("usable", float(cells.mean()) if cells.size else 0.0)
    pair = replace(
        pair,
        box_px=(box.x, box.y, box.width, box.height),
        gates=gates,
        reasons=reasons(gates),
        high_to_low=_affine(task.shared.model, lie.shift_px, scene.raw.shape),
    )
    if pair.reasons:
        return pair
    name = _file("high", setup.name, lie.name)
    sha = put(task.out, name, to_tiff(high, setup.low_um_per_px / setup.scale))
    return replace(pair, high=name, high_sha256=sha, cells=pack(cells), split=split)


def _begun(scene: _Scene, lie: Lie) -> Pair:
    """Say of a pair what is known without looking at it."""
    task, setup, session = scene.task, scene.task.setup, scene.session
    steps = steps_of(session)
    low, high = session.entries[task.low], session.entries[lie.name]
    facts: dict[str, str | int | float] = {
        "low_step": task.low,
        "high_step": lie.name,
        "low_objective": steps[task.low].objective,
        "high_objective": steps[lie.name].objective,
        "low_original_sha256": low.sha256,
        "high_original_sha256": high.sha256,
        "low_time": low.time,
        "high_time": high.time,
        "low_exposure_ms": low.exposure_ms,
        "high_exposure_ms": high.exposure_ms,
        "blocks": lie.blocks,
    }
    for side, entry in (("low", low), ("high", high)):
        if entry.position is not None:
            facts[f"{side}_z_um"] = entry.position.z_um
    if lie.shift_px is not None:
        facts["shift_x_px"], facts["shift_y_px"] = map(float, lie.shift_px)
    return Pair(
        name=f"{setup.name}/{lie.name.removeprefix('high/')}",
        source=setup.name,
        low=_file("low", setup.name, task.low),
        slide=task.slide,
        patient=task.patient,
        place=_place(scene),
        facts=facts,
    )


def _place(scene: _Scene) -> Place | None:
    session, task = scene.session, scene.task
    stand = session.entries[task.low].position
    if stand is None:
        return None
    lens = session.record.objectives[task.setup.low]
    return Place(session.record.specimen_um(task.setup.low, stand), lens.affine_um_per_px)


def _drawn(scene: _Scene, lie: Lie) -> tuple[Image, Box, NDArray[np.bool_]]:
    """Draw a high field once, by the whole map, in the colours of the low objective."""
    setup, shared = scene.task.setup, scene.task.shared
    raw = scene.session.read(lie.name)
    high = corrected(raw, shading_of(setup.folder, setup.high))
    if setup.ratio > 1.05 * setup.scale:  # else detail finer than the new pixels would fold over
        high = softened(high, 0.45 * math.sqrt((setup.ratio / setup.scale) ** 2 - 1))
    shift = np.asarray(lie.shift_px)
    box = covered(shared.model, shift, high.shape, scene.low.shape)
    drawn, inside = draw(high, shared.model, shift, box, scene.low.shape, scale=setup.scale)
    matched = _matched(drawn, shared.color.matrix)
    matched[~inside] = 0
    return stored(matched, setup.full_scale), box, inside


def _matched(drawn: Floats, matrix: NDArray[np.float64]) -> Floats:
    if drawn.ndim == 3:
        return apply_color_matrix(drawn, matrix)
    return np.asarray(drawn * matrix[0, 0] + matrix[0, 1], np.float32)


def _judged(
    scene: _Scene, lie: Lie, high: Image, box: Box, inside: NDArray[np.bool_]
) -> tuple[dict[str, Gate], NDArray[np.bool_]]:
    """Hold a pair against its gates, and mark the cells that may be used."""
    task, setup = scene.task, scene.task.setup
    k = setup.scale
    low, tissue, whole = _cut(scene.low, box), _cut(scene.tissue, box), filled(inside, k)
    comparison = compared(
        low, high, whole, scale=k, blur_px=setup.blur_px * k / setup.ratio,
        levels=np.float32(255 / setup.full_scale),
    )  # fmt: skip
    small = made_small(green(high), k, 0.0)
    blank_low, blank_high = _blanks(low, small, whole & ~tissue, task.shared)
    values = {
        "shift_px": k * comparison.shift_px,
        "spread_px": k * comparison.spread_px,
        "likeness": comparison.likeness,
        "sharpness": comparison.sharpness / task.shared.sharpness,
        "blocks": float(len(comparison.shifts)),
        "away_um": lie.away_um,
        "tissue": float(tissue[whole].mean()) if whole.any() else 0.0,
        "clipped_low": task.low_clipped,
        "clipped_high": lie.clipped,
        "blank_low": blank_low,
        "blank_high": blank_high,
    }
    if len(comparison.shifts) < LEAST_BLOCKS or not gate("tissue", values["tissue"]).ok:
        # what is measured on almost no tissue says nothing of the pair
        values |= dict.fromkeys(("shift_px", "spread_px", "likeness", "sharpness"), math.nan)
    clipped = _cut(scene.raw, box) >= setup.full_scale
    bad = ~whole | (clipped.any(axis=2) if clipped.ndim == 3 else clipped)
    cells = good_cells(comparison, bad, k)
    return {name: gate(name, value) for name, value in values.items()}, cells


def _allotted(scene: _Scene, box: Box, cells: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], Split]:
    """Give a pair to its split, and take away the cells that lie in another or in the guard."""
    split, place = scene.task.split, _place(scene)
    if not isinstance(split, Area):
        return cells, split
    if place is None:
        return cells, "train"
    affine = np.array(place.affine_um_per_px)
    rows, columns = cells.shape
    x, y = np.meshgrid(np.arange(columns), np.arange(rows))
    first = np.array([box.x, box.y]) - (np.array(scene.low.shape[1::-1]) - 1) / 2
    offsets = np.stack([x, y], axis=-1) * CELL_PX + (CELL_PX - 1) / 2 + first
    at_um = offsets @ affine.T + place.at_um
    middle = (np.array([box.width, box.height]) - 1) / 2 + first
    chosen = split.split_of(affine @ middle + place.at_um)
    reach_um = CELL_PX / 2 * float(np.abs(affine).sum(axis=1).max())
    return cells & split.inside(at_um, chosen, reach_um), chosen


def _blanks(
    low: NDArray, high: NDArray, glass: NDArray[np.bool_], shared: Shared
) -> tuple[float, float]:
    """Give the level of glass: of the low image against the usual, of the high one against it."""
    if glass.mean() < GLASS_SHARE:
        return float("nan"), float("nan")
    levels = [float(np.median(green(image)[glass])) for image in (low, high)]
    usual = float(shared.glass_dn[len(shared.glass_dn) // 2])
    return levels[0] / usual, levels[1] / max(levels[0], 1.0)


def _tissue(low: Image, shared: Shared, setup: Setup) -> NDArray[np.bool_]:
    """Mark tissue, to four pixels: it is smoothed over more than that."""
    size = low.shape[1], low.shape[0]
    small = cv2.resize(low, (size[0] // COARSE, size[1] // COARSE), interpolation=cv2.INTER_AREA)
    pixel_um = setup.low_um_per_px * COARSE
    mask = tissue_mask(
        np.asarray(small, np.float32), shared.glass_dn, TISSUE_UM / pixel_um,
        density=MEASURED_DENSITY if shared.glass_known else TISSUE_DENSITY,
        speck_px=SPECK_UM2 / pixel_um**2,
    )  # fmt: skip
    return np.asarray(cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0)


def _affine(
    model: SessionModel, shift: NDArray[np.float64], shape: tuple[int, ...]
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Give the map at the middle of the field, in pixels from the upper left."""
    middle = (np.array(shape[1::-1]) - 1) / 2
    at = model.to_low(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), shift)
    linear = np.stack([at[1] - at[0], at[2] - at[0]], axis=1)
    offset = at[0] + middle - linear @ middle
    rows = [tuple(map(float, (*linear[axis], offset[axis]))) for axis in (0, 1)]
    return (rows[0], rows[1])  # type: ignore[return-value]


def _cut(image: NDArray, box: Box) -> NDArray:
    return image[box.y : box.y + box.height, box.x : box.x + box.width]


def _file(side: str, source: str, step: str) -> str:
    """Give the file of a field: ``low/slide17/r00c01.tif``."""
    return f"{side}/{source}/{step.split('/', 1)[1]}.tif"
