"""Section ``flat-field``: exposure, shading, dark level and white balance of each objective."""

from __future__ import annotations

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from scope_sr.calibrate import pictures
from scope_sr.calibrate.bench import Bench, CalibrationError
from scope_sr.frame import Frame
from scope_sr.imaging.flat_field import (
    blank_level,
    clipped_share,
    dark_from_exposures,
    dark_from_shutter,
    exposure_ok,
    exposure_share,
    flat_from_blanks,
    is_blank,
    next_exposure_ms,
    white_gains,
)
from scope_sr.imaging.shift import green

BLANKS = 16
DARKS = 8
DODGE_UM = 12.5  # the blanks stand on a 4 x 4 lattice of this step: slide dirt moves, dust stays
TRIES = 8  # of the exposure
SHORT, LONG = 0.1, 0.3  # of the exposure, to extrapolate to none
FLAT_LIMIT = 0.004
LAMP_LIMIT = 0.005
MOST_CLIPPED = 0.001

Floats = NDArray[np.float32]


def measure_flat_field(bench: Bench) -> None:
    """Measure each objective on bare glass."""
    for objective in bench.objectives:
        blank_um = bench.find_blank(objective)
        _expose(bench, objective, blank_um)
        bench.tell(f"flat-field of {objective}: {BLANKS} frames of bare glass")
        frames = _blanks(bench, objective, blank_um)
        dark = _dark(bench, objective, blank_um)
        flat = flat_from_blanks([frame.image for frame in frames], dark)
        _keep(bench, objective, flat, dark, frames)


def _expose(bench: Bench, objective: str, blank_um: tuple[float, float]) -> None:
    """Set the exposure that puts glass at 85 to 90 % of full scale."""
    full_scale = bench.rig.camera.full_scale
    exposure_ms = bench.rig.objectives[objective].exposure_ms
    for _ in range(TRIES):
        bench.expose(exposure_ms)
        image = bench.see(objective, blank_um).image
        share = exposure_share(image, full_scale)
        if exposure_ok(share):
            bench.know(objective, exposure_ms=bench.microscope.exposure_ms())
            return
        exposure_ms = next_exposure_ms(image, 0.0, exposure_ms, full_scale)
    msg = (
        f"{objective}: no exposure puts bare glass at 85 to 90 % of full scale; the last,"
        f" {exposure_ms:.3g} ms, gave {100 * share:.0f} %: change the lamp's voltage, and switch"
        " off automatic exposure of the camera"
    )
    raise CalibrationError(msg)


def _blanks(bench: Bench, objective: str, blank_um: tuple[float, float]) -> list[Frame]:
    """Snap bare glass on a lattice of places, so that dirt on the slide is never twice the same.

    Raises
    ------
    CalibrationError
        What should be bare is not, or too bright.
    """
    steps = (np.arange(4) - 1.5) * DODGE_UM
    places = [(blank_um[0] + x, blank_um[1] + y) for y in steps for x in steps]
    frames = [bench.see(objective, place) for place in (*places[:BLANKS], places[0])]
    clipped = max(clipped_share(frame.image, bench.rig.camera.full_scale) for frame in frames)
    if clipped > MOST_CLIPPED:
        msg = (
            f"{objective}: saturated flats, {100 * clipped:.1f} % of the pixels of bare glass are"
            " at full scale: dim the lamp or shorten the exposure. Does the lamp flicker?"
        )
        raise CalibrationError(msg)
    dirty = sum(not is_blank(frame.image) for frame in frames)
    if dirty > len(frames) // 4:
        msg = (
            f"{objective}: the blank field is not blank, {dirty} of {len(frames)} frames at"
            f" {blank_um[0]:.0f}, {blank_um[1]:.0f} µm show structure: clean the slide, or begin"
            " nearer to bare glass"
        )
        raise CalibrationError(msg)
    return frames


def _dark(bench: Bench, objective: str, blank_um: tuple[float, float]) -> Floats:
    """Get the dark level: behind a closed shutter if somebody can close it, else extrapolated."""
    if bench.ask is not None and bench.rig.backend == "micromanager":
        answer = bench.ask(
            f"Dark level of {objective}: close the shutter or switch the lamp off, then say dark;"
            " say skip to let it be worked out from short exposures",
            ("dark", "skip"),
        )
        if answer == "dark":
            frames = [bench.microscope.snap().image for _ in range(BLANKS)]
            bench.ask("Open the shutter or switch the lamp on again, then say light", ("light",))
            if max(float(np.mean(frame)) for frame in frames) < bench.rig.camera.full_scale / 10:
                return dark_from_shutter(frames)
            bench.tell("that was not dark; working it out from short exposures")
    exposure_ms = bench.exposure_ms(objective)
    stacks, taken_ms = [], []
    bench.microscope.move_to(bench.place(objective, blank_um))
    for share in (SHORT, LONG):
        bench.expose(share * exposure_ms)
        taken_ms.append(bench.microscope.exposure_ms())
        stacks.append([bench.microscope.snap().image for _ in range(DARKS)])
    bench.expose(exposure_ms)
    return dark_from_exposures(stacks[0], stacks[1], taken_ms[1] / taken_ms[0])


def _keep(bench: Bench, objective: str, flat: Floats, dark: Floats, frames: list[Frame]) -> None:
    """Write flat and dark, put them on the record, and judge them."""
    images = [frame.image for frame in frames]
    level = blank_level(images, dark)
    names = {}
    # steps far below the noise: a tenth of the size on disk
    for kind, field, steps in (("flat", flat, 4096), ("dark", dark, 64)):
        names[kind] = f"{kind}-{objective}.tif"
        stored = (np.rint(field * steps) / steps).astype(np.float32)
        tifffile.imwrite(
            bench.folder / names[kind],
            stored,
            photometric="rgb" if stored.ndim == 3 else "minisblack",
            compression="zstd",
            predictor=True,
        )
    # the files lie in the folder of the run: so does the record from now on
    bench.record = bench.record.model_copy(update={"folder": bench.folder})
    gains = white_gains(level)
    bench.know(
        objective,
        glass_dn=tuple(level.tolist()),
        white_gains=tuple(gains.tolist()),
        **names,
    )
    picture = bench.folder / f"flat-field-{objective}.png"
    pictures.flat_field(picture, objective, flat, dark)
    full_scale = bench.rig.camera.full_scale
    share = 100 * exposure_share(frames[0].image, full_scale)
    bench.note(
        f"{objective} exposure", bench.exposure_ms(objective), "ms",
        "puts glass at 85 to 90 % of full scale", picture=picture.name,
    )  # fmt: skip
    bench.note(
        f"{objective} bare glass", share, "% of full scale", "85 to 90 %",
        "ok" if 85 <= share <= 90 else "fail", advice="the lamp changed: calibrate again",
        picture=picture.name,
    )  # fmt: skip
    half = _half_difference(images, dark)
    bench.note(
        f"{objective} flat-field, where the least light falls", 100 * _darkest(flat), "%",
        f"known to {100 * FLAT_LIMIT:g} %", "ok" if half <= FLAT_LIMIT else "warn",
        sigma=100 * half, picture=picture.name,
        advice="the frames of bare glass differ: clean the slide, let the lamp warm up",
    )  # fmt: skip
    dark_dn = float(np.median(dark))
    bench.note(
        f"{objective} dark level", dark_dn, "DN", f"a tenth of full scale, {full_scale / 10:g} DN",
        "ok" if dark_dn < full_scale / 10 else "warn", picture=picture.name,
        advice="stray light, or an offset of the camera set too high",
    )  # fmt: skip
    _judge_lamp(bench, objective, frames, dark)
    if len(gains) == 3:
        bench.note(f"{objective} white balance, gains", gains, "of green", "none")


def _darkest(flat: Floats) -> float:
    """Give the least of a flat over cells of some pixels, dust apart."""
    size = (max(1, flat.shape[1] // 16), max(1, flat.shape[0] // 16))
    return float(cv2.resize(flat, size, interpolation=cv2.INTER_AREA).min())


def _half_difference(images: list[NDArray], dark: Floats) -> float:
    """Give the uncertainty of a flat: half the difference of the flats of two halves of it."""
    halves = [flat_from_blanks(images[start:BLANKS:2], dark) for start in (0, 1)]
    return float(np.std(green(halves[0]) - green(halves[1]))) / 2


def _judge_lamp(bench: Bench, objective: str, frames: list[Frame], dark: Floats) -> None:
    """Compare the first blank with the last, taken at the same place."""
    levels = [float(np.mean(green(frame.image) - green(dark))) for frame in frames]
    drift = levels[-1] / levels[0] - 1
    flicker = float(np.std(np.diff(levels)) / np.sqrt(2) / levels[0])
    bench.note(
        f"{objective} lamp drift over the flat-field", 100 * drift, "%", f"{100 * LAMP_LIMIT:g} %",
        "ok" if abs(drift) <= LAMP_LIMIT else "fail", sigma=100 * flicker,
        advice="the lamp drifts: let it warm up half an hour, then calibrate flat-field again",
    )  # fmt: skip
