"""Section ``color``: the colours of each high objective as they follow from the reference's."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from scope_sr.calibrate import pictures
from scope_sr.calibrate.bench import Bench, CalibrationError
from scope_sr.calibrate.pairing import acquaint, matched
from scope_sr.calibrate.pixel_size import take_pairs
from scope_sr.calibration import PairCalibration
from scope_sr.imaging.color import color_matrix
from scope_sr.imaging.registration import Registration, drawn_on_low, frame_in_low

PLACES = 3
BLUR_PX = 3.0  # makes the sharpness of both alike, so that only colour differs
EVERY = 4  # px; neighbours say the same after the blur
CLIPPED = 250.0  # grey levels of 8 bits
RESIDUAL_LIMIT_DN = 4.0

Samples = NDArray[np.float32]


def measure_color(bench: Bench) -> None:
    """Fit the colour matrix of each objective to registered pixels of the same tissue."""
    if not bench.rig.camera.color:
        bench.note("colour matrix of a monochrome camera", 1.0, "none", "not needed")
        return
    pairs = []
    for objective in bench.others:
        acquaint(bench, objective)
        images = take_pairs(bench, objective, bench.tissue_places(PLACES))
        samples = [
            _samples(bench, objective, low, high, found)
            for low, high in images
            if (found := matched(bench, objective, low, high)) is not None
        ]
        pairs.append(_fitted(bench, objective, samples))
    bench.record = bench.record.model_copy(update={"pairs": tuple(pairs)})


def _samples(
    bench: Bench, objective: str, reference: Samples, other: Samples, found: Registration
) -> tuple[Samples, Samples]:
    """Give colours (n, 3) of both objectives at the same points: low, then high."""
    finer = bench.lens(objective).pixel_size_um < bench.lens(bench.reference).pixel_size_um
    low, high = (reference, other) if finer else (other, reference)
    low_name = bench.reference if finer else objective
    corner, size = frame_in_low(found, high.shape, low.shape)
    drawn = drawn_on_low(high, found, bench.lens(low_name).distortion, corner, size, low.shape)
    part = low[corner[1] : corner[1] + size[1], corner[0] : corner[0] + size[0]]
    filled = np.asarray(~np.isnan(drawn).any(axis=2), np.uint8)
    inside = np.asarray(cv2.erode(filled, np.ones((13, 13)))) > 0
    unclipped = (part.max(axis=2) < CLIPPED) & (np.nan_to_num(drawn, nan=255).max(axis=2) < CLIPPED)
    smooth = [cv2.GaussianBlur(np.nan_to_num(image), (0, 0), BLUR_PX) for image in (part, drawn)]
    keep = np.zeros_like(inside)
    keep[::EVERY, ::EVERY] = (inside & unclipped)[::EVERY, ::EVERY]
    return np.asarray(smooth[0][keep]), np.asarray(smooth[1][keep])


def _fitted(
    bench: Bench, objective: str, samples: list[tuple[Samples, Samples]]
) -> PairCalibration:
    low, high = bench.reference, objective
    if bench.lens(objective).pixel_size_um > bench.lens(bench.reference).pixel_size_um:
        low, high = high, low
    if not samples:
        msg = f"colours of {objective}: no field could be laid on {bench.reference}; more tissue"
        raise CalibrationError(msg)
    source, target = (np.concatenate([pair[side] for pair in samples]) for side in (0, 1))
    try:
        matrix, residual_dn = color_matrix(target, source)
    except ValueError as error:
        msg = f"colours of {objective}: {error}"
        raise CalibrationError(msg) from error
    picture = bench.folder / f"color-{objective}.png"
    pictures.color(picture, low, high, source, target, matrix, residual_dn)
    bench.note(
        f"colours of {high} from {low}, residual", residual_dn, "DN of 8 bits",
        f"{RESIDUAL_LIMIT_DN:g} DN", "ok" if residual_dn <= RESIDUAL_LIMIT_DN else "warn",
        picture=picture.name,
        advice="flat-fields are stale, or the light changed between the objectives",
    )  # fmt: skip
    rows = tuple(tuple(float(value) for value in row) for row in matrix)
    return PairCalibration(low=low, high=high, color_matrix=rows, residual_dn=residual_dn)
