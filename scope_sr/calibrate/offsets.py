"""Section ``offsets``: how far objectives look from each other, in x, y and focus."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scope_sr.calibrate import pictures
from scope_sr.calibrate.bench import Bench, CalibrationError
from scope_sr.calibrate.pairing import acquaint, matched, seen_um
from scope_sr.calibration import Times
from scope_sr.frame import Position
from scope_sr.microscope.way import way
from scope_sr.plan import retracted

TURNS = 5
PLACES = 5
FOCUSED_AGAIN = 1  # places focused at each turn after the first
XY_LIMIT_UM = 2.0

Points = NDArray[np.float64]
XY = tuple[float, float]


@dataclass
class Turns:
    """What the turns of the nosepiece gave: per turn and place, µm, nan where nothing was found."""

    across_um: Points
    focus_um: Points
    turn_s: list[float]


def measure_offsets(bench: Bench) -> None:
    """Measure parcentric and parfocal offsets of all objectives against the reference."""
    for objective in bench.others:
        acquaint(bench, objective)
        places = bench.tissue_places(PLACES)
        turns = _take_turns(bench, objective, places)
        _conclude(bench, objective, turns)


def _take_turns(bench: Bench, objective: str, places: list[XY]) -> Turns:
    """See each place with both objectives, with turns of the nosepiece in between."""
    across = np.full((TURNS, len(places), 2), np.nan)
    focus = np.full((TURNS, len(places)), np.nan)
    turn_s: list[float] = []
    reference_z = np.full(len(places), np.nan)
    for turn in range(TURNS):
        bench.tell(f"offsets of {objective}: turn {turn + 1} of {TURNS}")
        bench.turn_to(bench.reference)
        again = range(len(places)) if turn == 0 else range(FOCUSED_AGAIN)
        for number in again:
            found = bench.focus(bench.reference, places[number])
            reference_z[number] = found.position.z_um if found.accepted else np.nan
        lows, stands = [], []
        for at_um in places:
            stands.append(bench.place(bench.reference, at_um))
            lows.append(bench.levels(bench.see(bench.reference, at_um)))
        turn_s.append(_timed_turn(bench, objective, places[-1]))
        for number, at_um in enumerate(places):
            if number in again:
                found = bench.focus(objective, at_um)
                if found.accepted:
                    focus[turn, number] = found.position.z_um - reference_z[number]
            here = bench.place(objective, at_um)
            high = bench.levels(bench.see(objective, at_um))
            registered = matched(bench, objective, lows[number], high)
            if registered is not None:
                stand = stands[number]
                seen = seen_um(bench, objective, registered, stand)
                across[turn, number] = seen - (here.x_um, here.y_um)
    return Turns(across, focus, turn_s)


def _timed_turn(bench: Bench, objective: str, at_um: XY) -> float:
    """Turn, and give the time of the turn alone: what was not spent on moves and the snap."""
    times = bench.record.stage.times if bench.record.stage else None
    before = bench.microscope.snap()
    start = bench.place(bench.reference, at_um)
    bench.turn_to(objective)
    after = bench.see(objective, at_um)
    spent_s = after.time - before.time
    if times is None:
        return spent_s
    moved_s = _moved_s(bench, times, start, bench.place(objective, at_um))
    return max(0.0, spent_s - moved_s - times.snap_s - before.exposure_ms / 1000)


def _moved_s(bench: Bench, times: Times, start: Position, end: Position) -> float:
    """Give the time of the legs of a turn: retract, and come back into focus."""
    safe = retracted(bench.rig, start)
    legs = [start, safe, *way(bench.rig, safe, end, taken_up=False)]
    return sum(
        times.leg_s(max(abs(b.x_um - a.x_um), abs(b.y_um - a.y_um)), b.z_um - a.z_um)
        for a, b in itertools.pairwise(legs)
    )


def _conclude(bench: Bench, objective: str, turns: Turns) -> None:
    found = ~np.isnan(turns.across_um[..., 0])
    if found.sum() < 3 or (found.any(axis=1)).sum() < 2 or not np.isfinite(turns.focus_um).any():
        msg = (
            f"offsets of {objective}: only {int(found.sum())} of {found.size} fields could be laid"
            f" on {bench.reference}, or none be focused; begin on denser tissue"
        )
        raise CalibrationError(msg)
    per_turn = np.array(
        [np.nanmedian(row, axis=0) for row, any_ in zip(turns.across_um, found, strict=True)
         if any_.any()]
    )  # fmt: skip
    focus = np.array([np.nanmedian(row) for row in turns.focus_um if np.isfinite(row).any()])
    across_um, focus_um = per_turn.mean(axis=0), float(np.mean(focus))
    across_turret, focus_turret = _spread(per_turn), float(_spread(focus))
    across_sigma = across_turret / math.sqrt(len(per_turn))
    focus_sigma = focus_turret / math.sqrt(len(focus))
    bench.know(
        objective,
        parcentric_um=tuple(across_um.tolist()),
        parcentric_sigma_um=tuple(across_sigma.tolist()),
        parfocal_um=focus_um,
        parfocal_sigma_um=focus_sigma,
        turret_sigma_um=(*across_turret.tolist(), focus_turret),
    )
    _know_turn(bench, turns)
    picture = bench.folder / f"offsets-{objective}.png"
    pictures.offsets(picture, objective, turns.across_um, turns.focus_um, bench.lens(objective))
    _judge(bench, objective, picture.name)


def _spread(values: Points) -> Points:
    return np.asarray(
        np.std(values, axis=0, ddof=1) if len(values) > 1 else np.zeros_like(values[0])
    )


def _know_turn(bench: Bench, turns: Turns) -> None:
    stage = bench.record.stage
    if stage is not None:
        times = stage.times.model_copy(update={"turn_s": float(np.median(turns.turn_s))})
        stage = stage.model_copy(update={"times": times})
        bench.record = bench.record.model_copy(update={"stage": stage})


def _judge(bench: Bench, objective: str, picture: str) -> None:
    lens = bench.lens(objective)
    across_sigma_um = lens.parcentric_sigma_um or (math.inf, math.inf)
    turret = lens.turret_sigma_um or (math.inf,) * 3
    worst = max(across_sigma_um)
    bench.note(
        f"{objective} parcentric offset", lens.parcentric_um, "µm", f"known to {XY_LIMIT_UM:g} µm",
        "ok" if worst <= XY_LIMIT_UM else "fail", sigma=across_sigma_um,
        advice="the nosepiece comes back unevenly: let it click in, look at its stop",
        picture=picture,
    )  # fmt: skip
    half_um = bench.depth_um(objective) / 2
    sigma_um = lens.parfocal_sigma_um or 0.0
    bench.note(
        f"{objective} parfocal offset", lens.parfocal_um, "µm",
        f"known to half the depth of field, {half_um:.2g} µm",
        "ok" if sigma_um <= half_um else "fail", sigma=sigma_um,
        advice="focus drifts, or the nosepiece is loose: let the stand warm up, calibrate again",
        picture=picture,
    )  # fmt: skip
    bench.note(
        f"{objective} scatter of the nosepiece, x, y, z", turret, "µm",
        f"{XY_LIMIT_UM:g} µm, and half the depth of field in z",
        "ok" if max(turret[:2]) <= XY_LIMIT_UM and turret[2] <= half_um else "warn",
        advice="one turn differs from the next; registration takes x and y off, focus each field",
        picture=picture,
    )  # fmt: skip
