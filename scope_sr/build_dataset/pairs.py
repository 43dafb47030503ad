"""A dataset from pairs of images the user has: nothing is known of them but that they belong."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from scope_sr import disk
from scope_sr.build_dataset.draft import Draft
from scope_sr.build_dataset.files import Found, fit_names, images_in
from scope_sr.build_dataset.gates import gate, reasons
from scope_sr.build_dataset.light import stored
from scope_sr.build_dataset.measuring import thumb
from scope_sr.build_dataset.parallel import Workers
from scope_sr.build_dataset.people import Whose
from scope_sr.build_dataset.pixels import picture
from scope_sr.build_dataset.pooling import duplicates
from scope_sr.build_dataset.setup import LARGEST_RATIO, SCALES
from scope_sr.dataset import Gate, Header, Pair, Source, Split
from scope_sr.dataset.cells import CELL_PX, pack, shape_of
from scope_sr.dataset.fields import mapped, to_tiff
from scope_sr.dataset.index import Level, from_line, to_line
from scope_sr.dataset.splits import assign, level_of
from scope_sr.errors import InputError
from scope_sr.imaging.color import apply_color_matrix, color_matrix
from scope_sr.imaging.laying import Box, block_side, covered, draw, softened
from scope_sr.imaging.pair_quality import Comparison, compare
from scope_sr.imaging.session_model import Lens, SessionModel
from scope_sr.imaging.shift import green
from scope_sr.imaging.unknown_geometry import register_unknown
from scope_sr.software import this_version

Floats = NDArray[np.float32]
Image = NDArray[np.uint8] | NDArray[np.uint16]

BLUR_PX = 2.0  # of low pixels, before colours are compared
EVERY_PX = 3
LEAST_SAMPLES = 100
SOFT_PX = 0.45  # sigma in low pixels: about as soft as pixels of that size make an image
LEAST_OF_USUAL = 5  # pairs: fewer do not tell what sharpness is usual
BAD_CELL_PX, ALIKE_CELL = 0.75, 0.6


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
    split: Split
    like: tuple[str, int]


def find_pairs(low: Path, high: Path) -> Found:
    """Find the images that have the same name in both folders.

    Raises
    ------
    InputError
        A folder is missing or empty, or no name stands in both.
    """
    lows, highs = images_in(low), images_in(high)
    both = [name for name in lows if name in highs]
    if not both:
        msg = (
            f"{low} and {high} have no name in common ({next(iter(lows))} and {next(iter(highs))}"
            " for example); a pair has the same name in both"
        )
        raise InputError(msg)
    alone = [(lows[name], high) for name in lows if name not in highs]
    alone += [(highs[name], low) for name in highs if name not in lows]
    problems = tuple(f"{path}: nothing of that name in {other}" for path, other in alone)
    files = tuple((lows[name], highs[name]) for name in both)
    return Found(fit_names(both), files, problems)


def build_from_pairs(
    found: Found,
    whose: Mapping[str, Whose],
    draft: Draft,
    asked: int | None,
    licence: str,
    pool: Workers,
    tell: Any,
) -> tuple[Header, tuple[Pair, ...]]:
    """Register all pairs, choose the scale they allow, draw and judge them."""
    registered = _registered(found, draft, pool, tell)
    scale = asked or _usual_scale(registered)
    groups, level = groups_of(found.names, whose)
    splits = assign(list(groups.values()), draft.known.header.groups if draft.known else {})
    source = fit_names([found.files[0][0].parent.absolute().name])[0]
    good = next((one for one in registered if one.geometry["accepted"]), registered[0])
    like = _kind(good)
    tasks = [
        PairTask(one, source, scale, draft.folder, whose[one.name], splits[groups[one.name]], like)
        for one in registered
    ]
    pairs = _usual_sharpness(_without_twins(draft.folder, _drawn(tasks, draft, pool, tell)))
    digest = hashlib.sha256("".join(one.digest for one in registered).encode()).hexdigest()
    header = Header(
        kind="pairs",
        name=draft.folder.absolute().name,
        scale=scale,
        low_um_per_px=None,
        bits=like[1],
        color=like[0] == "colour",
        cell_px=CELL_PX,
        simulated=False,
        level=level,
        groups=splits,
        areas={},
        sources=(Source(source, "pairs", digest, licence),),
        software=this_version(),
    )
    return header, pairs


def groups_of(names: Sequence[str], whose: Mapping[str, Whose]) -> tuple[dict[str, str], Level]:
    """Say what may not be torn apart by the split: patients, slides, or single images."""
    patients = [whose[name].patient for name in names]
    slides = [whose[name].slide for name in names]
    level = level_of(patients, slides)
    if level == "area":
        return {name: name for name in names}, "image"
    keys = patients if level == "patient" else slides
    return dict(zip(names, keys, strict=True)), level


def registration_json(pairs: Sequence[Pair]) -> bytes:
    """Write what was found of each pair: ``registration.json``."""
    rows = [json.loads(str(pair.facts["registration"])) for pair in pairs]
    for row, pair in zip(rows, pairs, strict=True):
        row["in_dataset"] = pair.accepted
        row["why_not_in_dataset"] = list(pair.reasons)
    return json.dumps(rows, indent=2, ensure_ascii=False).encode() + b"\n"


def register_pair(task: tuple[str, Path, Path]) -> Registered:
    """Read a pair and find its map; what cannot be read is refused like what cannot be laid."""
    name, low_path, high_path = task
    digest = hashlib.sha256()
    try:
        digest.update(low_path.read_bytes())
        digest.update(high_path.read_bytes())
        low, high = picture(low_path), picture(high_path)
    except (InputError, OSError) as error:
        row = {"name": name, "accepted": False, "reasons": [str(error)], "hr_to_lr": None}
        return Registered(name, low_path, high_path, row, digest.hexdigest())
    found = register_unknown(low, high)
    row = {
        "name": name,
        "accepted": found.accepted,
        "reasons": list(found.reasons),
        "hr_to_lr": found.high_to_low.tolist() if found.high_to_low is not None else None,
        "scale": _plain(found.scale),
        "rotation_deg": _plain(found.rotation_deg),
        "flipped": found.flipped,
        "residual_hr_px": _plain(found.residual_hr_px),
        "sigma_hr_px": _plain(found.sigma_hr_px),
        "overlap": _plain(found.overlap),
        "likeness": _plain(found.likeness),
    }
    return Registered(name, low_path, high_path, row, digest.hexdigest())


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
    levels = _levels(low)
    model, shift = _map_of(one.geometry, low.shape, high.shape)
    box = covered(model, shift, high.shape, low.shape)
    matched, inside = _matched(low, high, model, shift, box, task.scale)
    comparison = _compared(low, matched, inside, box, task.scale, levels)
    cells = _good_cells(comparison, inside, box, task.scale)
    gates = _gates(comparison, cells, task.scale)
    linear = np.array(one.geometry["hr_to_lr"])
    pair = replace(
        pair,
        box_px=(box.x, box.y, box.width, box.height),
        gates=gates,
        reasons=reasons(gates),
        high_to_low=tuple(tuple(map(float, row)) for row in linear),  # type: ignore[arg-type]
        facts={**pair.facts, "sharpness": _plain(comparison.sharpness) or 0.0,
               "residual_hr_px": one.geometry["residual_hr_px"] or 0.0},
    )  # fmt: skip
    if pair.reasons:
        return pair
    names = [f"{side}/{task.source}/{one.name}.tif" for side in ("low", "high")]
    shas = []
    for name, image in zip(names, (low, matched), strict=True):
        data = to_tiff(image, None)
        disk.make_folders([(task.out / name).parent])
        disk.store(task.out / name, data)
        shas.append(hashlib.sha256(data).hexdigest())
    return replace(
        pair, low=names[0], high=names[1], low_sha256=shas[0], high_sha256=shas[1],
        cells=pack(cells), split=task.split,
    )  # fmt: skip


def _registered(found: Found, draft: Draft, pool: Workers, tell: Any) -> list[Registered]:
    """Register all pairs, those of an earlier run that was broken off but once."""
    tasks = [(name, low, high) for name, (low, high) in zip(found.names, found.files, strict=True)]
    rows = {name: data for name, *_ in tasks if (data := draft.kept(_work(name))) is not None}
    done = len(rows)
    tell("registering", done, len(tasks))
    for one in pool.each(register_pair, [task for task in tasks if task[0] not in rows]):
        rows[one.name] = json.dumps([one.geometry, one.digest]).encode()
        draft.keep(_work(one.name), rows[one.name])
        done += 1
        tell("registering", done, len(tasks))
    return [Registered(name, low, high, *json.loads(rows[name])) for name, low, high in tasks]


def _work(name: str) -> str:
    return f"registered/{name}.json"


def _drawn(tasks: Sequence[PairTask], draft: Draft, pool: Workers, tell: Any) -> list[Pair]:
    pairs = []
    for number, pair in enumerate(pool.each(draw_pair, tasks), start=1):
        pairs.append(from_line(to_line(pair), "pairs"))
        tell("drawing", number, len(tasks))
    return [pair for pair in pairs if isinstance(pair, Pair)]


def _usual_scale(registered: Sequence[Registered]) -> int:
    """Choose 2 or 4, whichever is nearer to the ratio most pairs have."""
    ratios = [one.geometry["scale"] for one in registered if one.geometry["accepted"]]
    if not ratios:
        return SCALES[0]
    ratio = float(np.median(ratios))
    return min(SCALES, key=lambda scale: abs(math.log(ratio / scale)))


def _kind(one: Registered) -> tuple[str, int]:
    """Tell colour from grey and 8 from 16 bits: a dataset holds one kind of image."""
    try:
        image = picture(one.low)
    except InputError:
        return "colour", 8
    return ("colour" if image.ndim == 3 else "grey"), 8 * image.dtype.itemsize


def _known_against(task: PairTask) -> tuple[str, ...]:
    """Say what is known against a pair before it is drawn."""
    one = task.registered
    if not one.geometry["accepted"]:
        return tuple(f"not registered: {reason}" for reason in one.geometry["reasons"])
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


def _compared(
    low: Image,
    high: Image,
    inside: NDArray[np.bool_],
    box: Box,
    scale: int,
    levels: np.float32,
) -> Comparison:
    size = box.width, box.height
    rest = math.sqrt(max((SOFT_PX * scale) ** 2 - (scale**2 - 1) / 12, 0.0))
    small = cv2.resize(softened(green(high) * levels, rest), size, interpolation=cv2.INTER_AREA)
    whole = cv2.resize(inside.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.999
    part = np.asarray(green(_cut(low, box)) * levels)
    side = block_side(box) if min(size) >= 100 else 16
    return compare(part, np.asarray(small), whole, side)


def _good_cells(
    comparison: Comparison, inside: NDArray[np.bool_], box: Box, scale: int
) -> NDArray[np.bool_]:
    rows, columns = shape_of(box.width, box.height)
    size = box.width, box.height
    bad = cv2.resize(inside.astype(np.float32), size, interpolation=cv2.INTER_AREA) < 0.999
    bad |= np.nan_to_num(comparison.local, nan=1.0) < ALIKE_CELL
    cells = bad[: rows * CELL_PX, : columns * CELL_PX].reshape(rows, CELL_PX, columns, CELL_PX)
    return np.asarray(~cells.any(axis=(1, 3)))


def _gates(comparison: Comparison, cells: NDArray[np.bool_], scale: int) -> dict[str, Gate]:
    values = {
        "shift_px": scale * comparison.shift_px,
        "spread_px": scale * comparison.spread_px,
        "likeness": comparison.likeness,
        "usable": 1.0 if cells.any() else 0.0,
    }
    return {name: gate(name, value) for name, value in values.items()}


def _without_twins(folder: Path, pairs: Sequence[Pair]) -> list[Pair]:
    """Keep the first of pairs that show the same: in two splits they would betray the answer."""
    thumbs = {pair.name: thumb(green(mapped(folder / pair.high))) for pair in pairs if pair.high}
    twins = duplicates([(name, number, t) for number, (name, t) in enumerate(thumbs.items())])
    return [
        replace(pair, reasons=(f"duplicate: it shows what {twins[pair.name]} shows",),
                high="", low="", split="")
        if pair.name in twins
        else pair
        for pair in pairs
    ]  # fmt: skip


def _usual_sharpness(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """Hold the sharpness of each pair against what is usual, where there are pairs enough."""
    known = [float(pair.facts["sharpness"]) for pair in pairs if pair.accepted]
    if len(known) < LEAST_OF_USUAL:
        return tuple(pairs)
    usual = float(np.median(known))
    judged = []
    for pair in pairs:
        if pair.accepted:
            own = gate("sharpness", float(pair.facts["sharpness"]) / usual)
            gates = {**pair.gates, "sharpness": own}
            pair = replace(pair, gates=gates, reasons=reasons(gates))
            if pair.reasons:
                pair = replace(pair, high="", low="", split="", cells=())
        judged.append(pair)
    return tuple(judged)


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _cut(image: NDArray, box: Box) -> NDArray:
    return image[box.y : box.y + box.height, box.x : box.x + box.width]
