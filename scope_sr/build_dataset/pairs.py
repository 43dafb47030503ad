"""A dataset from pairs of images the user has: nothing is known of them but that they belong."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from scope_sr.build_dataset.allotting import settled
from scope_sr.build_dataset.draft import Draft
from scope_sr.build_dataset.files import Found, fit_names, name_of
from scope_sr.build_dataset.gates import gate, reasons
from scope_sr.build_dataset.pair_drawing import PairTask, Registered, draw_pair, plain
from scope_sr.build_dataset.parallel import Workers
from scope_sr.build_dataset.people import Whose
from scope_sr.dataset import Header, Pair, Source
from scope_sr.dataset.cells import CELL_PX
from scope_sr.dataset.index import from_line, to_line
from scope_sr.degradation import SCALES
from scope_sr.errors import InputError
from scope_sr.imaging.unknown_geometry import register_unknown
from scope_sr.pictures.files import images_in, picture
from scope_sr.software import this_version

LEAST_OF_USUAL = 5  # pairs: fewer do not tell what sharpness is usual


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
    source = name_of(found.files[0][0].parent)
    good = next((one for one in registered if one.geometry["accepted"]), registered[0])
    like = _kind(good)
    tasks = [
        PairTask(one, source, scale, draft.folder, whose[one.name], like) for one in registered
    ]
    judged = _usual_sharpness(_drawn(tasks, draft, pool, tell))
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
        level="image",
        groups={},
        areas={},
        sources=(Source(source, "pairs", digest, licence),),
        software=this_version(),
    )
    before = draft.known.header if draft.known else None
    return settled(draft.folder, header, judged, before, whose.values())


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
    digest = _digest(low_path, high_path)
    try:
        low, high = picture(low_path), picture(high_path)
    except (InputError, OSError) as error:
        row = {
            "name": name,
            "accepted": False,
            "reasons": [f"unreadable: {error}"],
            "hr_to_lr": None,
        }
        return Registered(name, low_path, high_path, row, digest)
    found = register_unknown(low, high)
    row = {
        "name": name,
        "accepted": found.accepted,
        "reasons": list(found.reasons),
        "hr_to_lr": found.high_to_low.tolist() if found.high_to_low is not None else None,
        "scale": plain(found.scale),
        "rotation_deg": plain(found.rotation_deg),
        "flipped": found.flipped,
        "residual_hr_px": plain(found.residual_hr_px),
        "sigma_hr_px": plain(found.sigma_hr_px),
        "overlap": plain(found.overlap),
        "likeness": plain(found.likeness),
    }
    return Registered(name, low_path, high_path, row, digest)


def _registered(found: Found, draft: Draft, pool: Workers, tell: Any) -> list[Registered]:
    """Register all pairs, those of an earlier run that was broken off but once."""
    tasks = [(name, low, high) for name, (low, high) in zip(found.names, found.files, strict=True)]
    rows = {
        name: data
        for name, low, high in tasks
        if (data := draft.kept(_work(name))) is not None
        and json.loads(data)[1] == _digest(low, high)  # else it was replaced in the meantime
    }
    done = len(rows)
    tell("registering", done, len(tasks))
    for one in pool.each(register_pair, [task for task in tasks if task[0] not in rows]):
        rows[one.name] = json.dumps([one.geometry, one.digest]).encode()
        draft.keep(_work(one.name), rows[one.name])
        done += 1
        tell("registering", done, len(tasks))
    return [Registered(name, low, high, *json.loads(rows[name])) for name, low, high in tasks]


def _digest(*files: Path) -> str:
    found = hashlib.sha256()
    for path in files:
        with contextlib.suppress(OSError):  # whoever reads it says why it cannot be read
            found.update(path.read_bytes())
    return found.hexdigest()


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
                pair = replace(pair, high="", low="", high_sha256="", low_sha256="", cells=())
        judged.append(pair)
    return tuple(judged)
