"""What to compute with, and how much at a time: by a short trial, within a stated memory."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from scope_sr.engine.engine import Engine
from scope_sr.engine.runtimes import Runtime, available, made
from scope_sr.errors import InputError
from scope_sr.modelfile import Card, read_card

BUDGET_BYTES = 2**30
TRIALS = 3
LARGEST_PX, TRIAL_PX = 1024, 256
GPU_BATCH = 8

Tell = Callable[[str], None]


def chosen(
    model: str | Path,
    wanted: str = "auto",
    *,
    budget_bytes: int = BUDGET_BYTES,
    tell: Tell = lambda line: None,
) -> Engine:
    """Make a model ready for pictures of any size, as fast as this computer can.

    Parameters
    ----------
    model
        Name or file.
    wanted
        A runtime, or ``auto``: the fastest of those there are, by a trial.
    budget_bytes
        That a window and what becomes of it within the network may take; weights and the runtime's
        own needs come on top.
    tell
        Hears what was chosen and why.

    Raises
    ------
    InputError
        There is no such model or runtime, or the memory is too little for any tile.
    """
    card = read_card(model)
    window = window_px(card, budget_bytes)
    names = available() if wanted == "auto" else (wanted,)
    runtimes = [made(model, name) for name in names]
    if len(runtimes) > 1:
        times = {runtime.name: seconds(runtime) for runtime in runtimes}
        runtimes.sort(key=lambda runtime: times[runtime.name])
        told = ", ".join(f"{name} {1e3 * times[name]:.0f} ms" for name in times)
        tell(f"{card.name}: computing with {runtimes[0].name} ({TRIAL_PX} px tile: {told})")
    best = runtimes[0]
    gpu = best.name in ("cuda", "mps")
    return Engine(
        best,
        window,
        batch=GPU_BATCH if gpu else 1,
        fallback=(lambda: made(model, "cpu")) if gpu else None,
        tell=tell,
    )


def window_px(card: Card, budget_bytes: int) -> int:
    """Give the largest window that fits into a memory.

    Raises
    ------
    InputError
        Not even the smallest does.
    """
    side = min(LARGEST_PX, math.isqrt(budget_bytes // bytes_per_px(card)))
    side = side // card.multiple_px * card.multiple_px
    least = 2 * card.halo_px + max(card.multiple_px, 1)
    if side < least:
        needed = bytes_per_px(card) * least**2
        msg = (
            f"{budget_bytes / 2**20:.0f} MB are too little for {card.name}: its smallest tile takes"
            f" {math.ceil(needed / 2**20)} MB"
        )
        raise InputError(msg)
    return side


def bytes_per_px(card: Card) -> int:
    """Estimate what a pixel of the input takes at the widest place of the network.

    Measured as the growth of the process (benchmarks/engine.py), a quarter added.
    """
    if card.kind == "nuclei":
        return 60 * card.settings["base"]
    channels, larger = card.settings["channels"], card.scale**2
    if card.architecture == "srresnet":
        return 12 * channels * (larger + 2)
    return 12 * channels + 40 * larger


def seconds(runtime: Runtime) -> float:
    """Time a tile: the best of a few, after one that warms up."""
    picture = np.full((1, TRIAL_PX, TRIAL_PX, 3), 128, np.uint8)
    found = []
    for _ in range(1 + TRIALS):
        begin = time.perf_counter()
        runtime.run(picture)
        found.append(time.perf_counter() - begin)
    return min(found[1:])
