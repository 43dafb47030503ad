"""Error of a recovered flat-field against the truth of the simulated sensor, and its time.

    python benchmarks/flat_field.py [SEEDS] [PYTHON]

PYTHON is an interpreter that has BaSiCPy, the peer; without it $BASICPY_PYTHON, and without that
the peer is left out. It has a process of its own because it pins scipy below 1.13:

    python -m venv /tmp/basicpy
    /tmp/basicpy/bin/pip install --index-url https://download.pytorch.org/whl/cpu torch
    /tmp/basicpy/bin/pip install basicpy==2.0.0

The 10x of the built-in rig at 512 px, its green, 8 bits: 10 % vignetting beside the middle, 0.4 %
spread of the pixels, six specks on the sensor. Blanks carry twelve specks of dirt on the slide,
which moves by 12.5 µm between them as in a calibration; the dark level is measured, from eight
exposures each of two lengths. Tiles are fields of breast tissue with at least a quarter of it, as
a capture takes them; what is measured on tiles knows the dark level too.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from scope_sr.calibrate.flat_field import DARKS, DODGE_UM, LONG, SHORT
from scope_sr.config import Rig, parse_rig
from scope_sr.frame import Position
from scope_sr.imaging.flat_field import dark_from_exposures, flat_from_blanks
from scope_sr.imaging.shift import green
from scope_sr.specimen.scene import Scene
from scope_sr.specimen.sensor import Sensor, dust_shadow

SIZE_PX, LENS, TILES, SLIDE_DIRT = 512, "10x", 30, 12
TEXTURE_DN = 8.0  # standard deviation of a square of 32 px that shows tissue
MARGIN_PX = 100  # of the slide about a blank field

Floats = NDArray[np.float32]

BASIC = """
import sys, time
import numpy as np
from basicpy import BaSiC
tiles = np.load(sys.argv[1])
began = time.perf_counter()
basic = BaSiC(get_darkfield=sys.argv[3] == "dark")
basic.fit(tiles)
print("SECONDS", time.perf_counter() - began)
np.save(sys.argv[2], np.asarray(basic.flatfield, np.float32))
"""


def rig_of(seed: int) -> Rig:
    text = (files("scope_sr") / "simulated.toml").read_text(encoding="utf-8")
    for old, new in (
        ("width_px = 1024", f"width_px = {SIZE_PX}"),
        ("height_px = 1024", f"height_px = {SIZE_PX}"),
        ("seed = 0", f"seed = {seed}"),
    ):
        text = text.replace(old, new, 1)
    return parse_rig(text, source="flat_field.toml", folder=Path.cwd())


def tissue_tiles(scene: Scene, rig: Rig, seed: int) -> NDArray:
    rng = np.random.default_rng((5, seed))
    exposure_ms = rig.objectives[LENS].exposure_ms
    tiles: list[NDArray] = []
    for number in range(20 * TILES):
        x_um, y_um = rng.uniform(-2000, 2000, 2).tolist()
        flat_on = Position(x_um, y_um, scene._surface_um(x_um, y_um))
        view = scene.view(LENS, flat_on)
        tile = green(scene.expose_fast(LENS, view, exposure_ms, number))
        squares = tile.reshape(SIZE_PX // 32, 32, SIZE_PX // 32, 32)
        if (squares.std(axis=(1, 3)) > TEXTURE_DN).mean() > 0.25:
            tiles.append(tile)
        if len(tiles) == TILES:
            break
    return np.stack(tiles)


def blanks(sensor: Sensor, rig: Rig, rng: np.random.Generator, seed: int) -> list[NDArray]:
    """Expose bare but dirty glass on the lattice of a calibration."""
    side = SIZE_PX + 2 * MARGIN_PX
    slide = dust_shadow((side, side), SLIDE_DIRT, seed + 100)
    step = DODGE_UM / rig.pixel_size_um(LENS)
    starts = [MARGIN_PX + round((i - 1.5) * step) for i in range(4)]
    places = [(top, left) for top in starts for left in starts]
    exposure_ms = rig.objectives[LENS].exposure_ms
    frames = []
    for top, left in places:
        light = slide[top : top + SIZE_PX, left : left + SIZE_PX, None].repeat(3, axis=2)
        frames.append(sensor.expose(light.astype(np.float32), exposure_ms, rng)[..., 1])
    return frames


def measured_dark(sensor: Sensor, exposure_ms: float, rng: np.random.Generator) -> Floats:
    bare = np.ones((SIZE_PX, SIZE_PX, 3), np.float32)
    short, long = (
        [sensor.expose(bare, share * exposure_ms, rng)[..., 1] for _ in range(DARKS)]
        for share in (SHORT, LONG)
    )
    return dark_from_exposures(short, long, LONG / SHORT)


def median_of_tiles(tiles: NDArray) -> NDArray:
    level = tiles.mean(axis=(1, 2), keepdims=True)
    middle = np.median(tiles / level, axis=0).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(middle, (0, 0), 20.0, borderType=cv2.BORDER_REFLECT))


def basicpy(python: str, tiles: NDArray, *, dark: bool) -> tuple[NDArray, float]:
    """Let BaSiCPy, as it comes, fit tiles in a process of its own; gives the seconds of the fit."""
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name) / "tiles.npy", Path(name) / "flat.npy"
        np.save(source, tiles.astype(np.float32))
        arguments = [python, "-c", BASIC, str(source), str(target), "dark" if dark else "no"]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{python}: BaSiCPy failed\n{done.stderr[-2000:]}")
        seconds = float(done.stdout.split("SECONDS")[1])
        return np.load(target), seconds


def timed(work: Callable[[], NDArray]) -> tuple[NDArray, float]:
    began = time.perf_counter()
    return work(), time.perf_counter() - began


def recovered(seed: int, python: str) -> dict[str, tuple[float, float, float]]:
    """Give RMS and largest error in %, and seconds, of each method."""
    rig = rig_of(seed)
    scene, rng = Scene(rig), np.random.default_rng((6, seed))
    sensor = scene._sensor(LENS, None)
    rate = sensor.rate_e_per_ms[..., 1]
    frames, tiles = blanks(sensor, rig, rng, seed), tissue_tiles(scene, rig, seed)
    dark = measured_dark(sensor, rig.objectives[LENS].exposure_ms, rng)
    found = {"none": (np.ones_like(rate), 0.0)}
    for count in (1, 4, 16):
        found[f"ours, {count} blanks"] = timed(partial(flat_from_blanks, frames[:count], dark))
    found["plain mean of 16 blanks"] = timed(lambda: np.mean(frames, axis=0) - dark)
    light = tiles - dark
    found[f"median of {TILES} tiles, blurred"] = timed(lambda: median_of_tiles(light))
    if python:
        found[f"BaSiCPy, {TILES} tiles"] = basicpy(python, light, dark=False)
        found[f"BaSiCPy, {TILES} tiles, with dark"] = basicpy(python, tiles, dark=True)
    return {name: (*error(flat, rate), seconds) for name, (flat, seconds) in found.items()}


def error(flat: NDArray, rate: NDArray) -> tuple[float, float]:
    ratio = np.asarray(flat, np.float64) / rate
    off = ratio / ratio.mean() - 1
    return 100 * float(np.sqrt((off**2).mean())), 100 * float(np.abs(off).max())


def main() -> None:
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    python = sys.argv[2] if len(sys.argv) > 2 else os.environ.get("BASICPY_PYTHON", "")
    runs = [recovered(seed, python) for seed in range(seeds)]
    base = np.mean([run["ours, 16 blanks"] for run in runs], axis=0)
    print(
        f"{seeds} sensors                     rms %  worst %   time s   rms and time to ours of 16"
    )
    for name in runs[0]:
        rows = np.array([run[name] for run in runs])
        rms, _, seconds = rows.mean(axis=0)
        print(
            f"{name:32} {rms:5.2f} {rows[:, 1].max():8.1f} {seconds:8.2f}"
            f" {rms / base[0]:8.1f} {seconds / base[2]:8.1f}"
        )


if __name__ == "__main__":
    main()
