"""What to compute with, and how much at a time: by a short trial, within a stated memory."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from scope_sr.engine.engine import Engine
from scope_sr.engine.opening import card_of
from scope_sr.engine.runtimes import Runtime, candidates, made, refuse
from scope_sr.errors import InputError
from scope_sr.modelfile import Card

BUDGET_BYTES = 2**30
TRIALS = 3
TRIAL_PX = 256
ALIKE = 1.1  # chance does not decide between two that are so near
LARGEST_PX = {"sr": 1024, "nuclei": 1536}  # the halo of the latter is 112 px, and paid each time
# Generators by torch on a processor. Layers of 32 channels reach 32 MiB at 512 px; from there on
# Linux gives 4.4 kB of new pages for each pixel, below it 2.8 (compact-x2, getrusage). A pixel that
# is kept took 2.1 µs at 384 px, 2.8 at 512, 3.5 at 1024 (python benchmarks/engine.py tiles)
LARGEST_ON_CPU_PX = 416
GPU_BATCH = 8
GPUS = ("cuda", "mps")
BROKEN = (AttributeError, ImportError, InputError, OSError, RuntimeError, TypeError)

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
        Name, model file, or OpenVINO form (``.xml``), which runs in OpenVINO only.
    wanted
        A runtime, or ``auto``: the fastest of those there are, by a trial.
    budget_bytes
        That the windows of a batch and what becomes of them within the network may take; weights
        and the runtime's own needs come on top.
    tell
        Hears what was chosen and why.

    Raises
    ------
    InputError
        There is no such model or runtime, or the memory is too little for any tile.

    Examples
    --------
    >>> engine = chosen("compact-x2", "cpu", tell=print)
    compact-x2: computing with cpu, tiles of 416 px
    >>> engine(np.zeros((3, 5, 3), np.uint8)).shape
    (6, 10, 3)
    """
    card = card_of(model)
    window_px(card, budget_bytes, LARGEST_PX[card.kind])  # refuses before anything is tried
    runtime, why = (made(model, wanted), "") if wanted != "auto" else fastest(model, tell)
    gpu = runtime.name in GPUS
    small = runtime.name == "cpu" and card.kind == "sr"
    window = window_px(card, budget_bytes, LARGEST_ON_CPU_PX if small else LARGEST_PX[card.kind])
    fit = budget_bytes // (bytes_per_px(card) * window**2)
    tell(f"{card.name}: computing with {runtime.name}{why}, tiles of {window} px")
    return Engine(
        runtime,
        window,
        batch=min(GPU_BATCH, max(1, fit)) if gpu else 1,
        fallback=(lambda: made(model, "cpu")) if gpu else None,
        tell=tell,
    )


def refuse_runtime(model: str | Path, wanted: str = "auto") -> None:
    """Refuse what `chosen` could not compute with, before anything is loaded or written.

    Raises
    ------
    InputError
        In one line, with the way out.
    """
    refuse(model, candidates(model)[-1] if wanted == "auto" else wanted)


def fastest(model: str | Path, tell: Tell) -> tuple[Runtime, str]:
    """Try what this computer has; give the fastest, and in words why.

    The last one, which any computer has, must work.
    """
    *others, last = candidates(model)
    trials = [trial for name in others for trial in if_it_works(model, name, tell)]
    trials.append(timed(model, last))
    least = min(found for _, found in trials)
    best = next(runtime for runtime, found in trials if found <= ALIKE * least)
    told = ", ".join(f"{runtime.name} {1e3 * found:.0f} ms" for runtime, found in trials)
    return best, f" (a tile of {TRIAL_PX} px: {told})" if len(trials) > 1 else ""


def if_it_works(model: str | Path, name: str, tell: Tell) -> list[tuple[Runtime, float]]:
    """Try a runtime; what is installed but broken, or too old for this GPU, is said, no more."""
    try:
        return [timed(model, name)]
    except BROKEN as error:
        words = (str(error).strip() or type(error).__name__).splitlines()[-1].strip()
        tell(f"{name} does not work on this computer ({words}); going on without")
        return []


def timed(model: str | Path, name: str) -> tuple[Runtime, float]:
    """Make a model ready in one way, and time it."""
    runtime = made(model, name)
    return runtime, seconds(runtime)


def window_px(card: Card, budget_bytes: int, largest_px: int) -> int:
    """Give the largest window that fits into a memory.

    Raises
    ------
    InputError
        Not even the smallest does.
    """
    least = 2 * card.halo_px + card.multiple_px
    side = min(max(largest_px, least), math.isqrt(budget_bytes // bytes_per_px(card)))
    side = side // card.multiple_px * card.multiple_px
    if side < least:
        needed = bytes_per_px(card) * least**2
        msg = (
            f"{budget_bytes / 2**20:.0f} MB are too little for {card.name}: its smallest tile takes"
            f" {math.ceil(needed / 2**20)} MB"
        )
        raise InputError(msg)
    return side


def bytes_per_px(card: Card) -> int:
    """Say what a pixel of the input takes at the widest place of the network.

    The growth of the process, at tiles of 256 to 1024 px, in cpu or openvino, whichever takes
    more, and a quarter added (``python benchmarks/engine.py tiles``).
    """
    if card.kind == "nuclei":
        return 40 * card.settings["base"]
    channels, larger = card.settings["channels"], card.scale**2
    if card.architecture == "srresnet":
        return 20 * channels * (larger + 1)
    return 14 * channels + 60 * larger


def seconds(runtime: Runtime) -> float:
    """Time a tile: the best of a few, after one that warms up."""
    picture = np.full((1, TRIAL_PX, TRIAL_PX, 3), 128, np.uint8)
    found = []
    for _ in range(1 + TRIALS):
        begin = time.perf_counter()
        runtime.run(picture)
        found.append(time.perf_counter() - begin)
    return min(found[1:])
