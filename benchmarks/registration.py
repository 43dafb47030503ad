"""Error and time of registration against the truth of the simulated microscope, beside peers.

    python benchmarks/registration.py [SEEDS] [SIZE_PX]

Sessions of awkward rigs (tests/hidden_rigs.py: rotation to 2.5°, distortion to 0.3 %, stage error,
vignetting, 8 and 12 bits) captured with a record as good as a calibration makes it, at x2 (2x2 low
fields) and x4 (1x2). The map shared by a session is fitted to every second field and judged on the
others. Errors are the RMS over the field, in HR px of the dataset, of where the map takes green
pixels and where the simulator's log says they lie. Peers see the same flat-corrected green planes,
the high one blurred to the low one's PSF. SimpleITK is left out where it is not installed.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from scope_sr.build_dataset.setup import (
    Setup,
    expected_px,
    groups_of,
    set_up,
    steps_of,
)
from scope_sr.imaging.laying import covered, lay, softened
from scope_sr.imaging.session_model import Matches, fit_session, shift_of
from scope_sr.light import green_of, shading_of
from scope_sr.session import Session

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
paired: Any = importlib.import_module("paired_sessions")
itk: Any = None
with contextlib.suppress(ImportError):
    itk = importlib.import_module("SimpleITK")
features: Any = cv2  # its stubs do not know SIFT

Plane = NDArray[np.float32]
Points = NDArray[np.float64]
Map = Callable[[Points], Points]  # offsets in the low image to offsets in the high one
LEAST_BLOCKS = 8
LATTICE = 21


def main() -> None:
    """Print a row per method: error over all fields of all seeds, and time per field."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    size_px = int(sys.argv[2]) if len(sys.argv) > 2 else 512
    cv2.setNumThreads(1)
    for scale, grid in ((2, (2, 2)), (4, (1, 2))):
        errors: dict[str, list[float]] = defaultdict(list)
        seconds: dict[str, list[float]] = defaultdict(list)
        for seed in range(seeds):
            with tempfile.TemporaryDirectory() as folder:
                rig = paired.awkward_rig(seed, size_px, scale)
                session = paired.session_of(Path(folder), rig, rows=grid[0], columns=grid[1])
                judge(session, scale, errors, seconds)
        print(f"x{scale}, {seeds} seeds, {size_px} px")
        for method, found in errors.items():
            many = [value for value in found if math.isfinite(value)]
            p95 = float(np.percentile(many, 95))
            print(
                f"  {method:34} median {statistics.median(many):6.3f}  p95 {p95:6.3f}"
                f"  max {max(many):6.3f} px  {1000 * statistics.median(seconds[method]):7.0f} ms"
                f"  ({len(many)} of {len(found)} fields)"
            )


def judge(
    session: Session,
    scale: int,
    errors: dict[str, list[float]],
    seconds: dict[str, list[float]],
) -> None:
    """Register the fields of a session by each method, and compare with the truth."""
    setup, truth = set_up(session, "s", scale), paired.truth_of(session)
    fields = planes_of(session, setup)
    laid: dict[str, tuple[Matches, float]] = {}
    for name, (low, high) in fields.items():
        began = time.process_time()
        found = lay(
            low, high, setup.model, expected_px(session, setup.model, name), setup.blur_px,
            setup.reach_px,
        )  # fmt: skip
        took = time.process_time() - began
        if found is not None and len(found.matches) >= LEAST_BLOCKS:
            laid[name] = found.matches, took
    names = list(laid)
    began = time.process_time()
    model = fit_session([laid[name][0] for name in names[::2]], setup.model)
    fit_s = (time.process_time() - began) / max(len(names[::2]), 1)
    for name in names[1::2]:
        low, high = fields[name]
        true = Truth(truth[steps_of(session)[name].parent], truth[name], scale, setup)
        matches, took = laid[name]
        shift, _ = shift_of(model, matches)
        box = covered(model, shift, high.shape, low.shape)
        at = lattice(box.x, box.y, box.width, box.height, low.shape)
        errors["shared map, one shift per field"].append(
            true.error_px(at, model.to_high(at, shift))
        )
        seconds["shared map, one shift per field"].append(took + fit_s)
        for method, peer in PEERS.items():
            began = time.process_time()
            mapped = peer(low, high, setup, matches)
            seconds[method].append(time.process_time() - began)
            errors[method].append(true.error_px(at, mapped(at)) if mapped else math.nan)


class Truth:
    """Where green pixels of a low field lie in a high one, by the simulator's log."""

    def __init__(self, low: Any, high: Any, scale: int, setup: Setup) -> None:
        self.low, self.high = low, high
        self.factor = scale / setup.ratio  # from original high pixels to those of the dataset

    def error_px(self, at: Points, found: Points) -> float:
        true = self.high.offsets_px(self.low.seen_um(at))
        inside = (np.abs(true) < np.array(self.high.size_px) / 2).all(axis=1)
        off = (found - true)[inside]
        return float(np.sqrt((off**2).sum(axis=1).mean())) * self.factor


def planes_of(session: Session, setup: Setup) -> dict[str, tuple[Plane, Plane]]:
    found = {}
    for group in groups_of(session):
        low = green_of(
            session.read(group.low), shading_of(setup.folder, setup.low), setup.full_scale
        )
        for name in group.highs:
            raw = session.read(name)
            found[name] = (
                low, green_of(raw, shading_of(setup.folder, setup.high), setup.full_scale)
            )  # fmt: skip
    return found


def lattice(x: int, y: int, width: int, height: int, shape: tuple[int, ...]) -> Points:
    xs, ys = np.linspace(x, x + width - 1, LATTICE), np.linspace(y, y + height - 1, LATTICE)
    at = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    return np.asarray(at - (np.array(shape[1::-1]) - 1) / 2)


def affine_map(matrix: Points) -> Map:
    """Take (3, 2) as ``[x, y, 1] @ matrix``, offsets low to high."""
    return lambda at: np.asarray(np.column_stack([at, np.ones(len(at))]) @ matrix)


def affine_of_blocks(_low: Plane, _high: Plane, _setup: Setup, matches: Matches) -> Map | None:
    """Fit an affine to the blocks of the one field."""
    design = np.column_stack([matches.low_px, np.ones(len(matches))])
    return affine_map(np.asarray(np.linalg.lstsq(design, matches.high_px, rcond=None)[0]))


def phase(low: Plane, high: Plane, setup: Setup, _matches: Matches) -> Map | None:
    """Correlate phases of the high image drawn small at the calibrated scale: a shift, no more."""
    back = np.linalg.inv(setup.model.linear)
    size = low.shape[1], low.shape[0]
    soft = softened(high, setup.blur_px)
    middle = (np.array(low.shape[::-1]) - 1) / 2
    shift = np.median(_matches.low_px - _matches.high_px @ setup.model.linear.T, axis=0)
    shift = np.rint(shift)  # what the stage says, to a pixel
    to_high = np.column_stack([back, middle - back @ (middle + shift)])
    drawn = cv2.warpAffine(soft, to_high, size, flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
    corners = np.array([[-1, -1], [1, 1], [-1, 1], [1, -1]]) * middle @ setup.model.linear.T
    reach = np.abs(corners).min(axis=0) - 2
    first = np.maximum(np.ceil(middle + shift - reach).astype(int), 0)
    last = np.minimum(np.floor(middle + shift + reach).astype(int), size)
    part = np.s_[first[1] : last[1], first[0] : last[0]]
    window = cv2.createHanningWindow(drawn[part].shape[::-1], cv2.CV_32F)
    (x, y), _ = cv2.phaseCorrelate(drawn[part], np.ascontiguousarray(low[part]), window)
    return lambda at: np.asarray((at - shift - (x, y)) @ back.T)


def sift(low: Plane, high: Plane, setup: Setup, _matches: Matches) -> Map | None:
    """Match SIFT features (precise upscaling) of both on the high grid, affine by RANSAC."""
    k = setup.ratio
    size = round(low.shape[1] * k), round(low.shape[0] * k)
    large = cv2.resize(low, size, interpolation=cv2.INTER_CUBIC)
    factor = np.array(size) / low.shape[::-1]
    finder = features.SIFT_create(4000, 3, 0.04, 10, 1.6, True)
    soft = softened(high, setup.blur_px)
    points, words = zip(
        *(finder.detectAndCompute(_bytes(p), None) for p in (large, soft)), strict=True
    )
    if any(w is None or len(w) < 8 for w in words):
        return None
    pairs = features.BFMatcher().knnMatch(words[0], words[1], k=2)
    good = [a for a, b in pairs if a.distance < 0.75 * b.distance]
    if len(good) < 8:
        return None
    own = np.array([points[0][m.queryIdx].pt for m in good])
    other = np.array([points[1][m.trainIdx].pt for m in good])
    own = (own + 0.5) / factor - 0.5 - (np.array(low.shape[::-1]) - 1) / 2
    other = other - (np.array(high.shape[::-1]) - 1) / 2
    matrix, _ = features.estimateAffine2D(
        own, other, method=cv2.RANSAC, ransacReprojThreshold=1.5, refineIters=50
    )
    return affine_map(np.asarray(matrix.T)) if matrix is not None else None


def simple_itk(low: Plane, high: Plane, setup: Setup, matches: Matches) -> Map | None:
    """Let SimpleITK find an affine by correlation, begun where the blocks say."""
    itk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    fixed = _cut_about(low, matches)
    moving = itk.GetImageFromArray(softened(high, setup.blur_px))
    method = itk.ImageRegistrationMethod()
    method.SetMetricAsCorrelation()
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-5, 300)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInterpolator(itk.sitkLinear)
    start = itk.AffineTransform(2)
    back = np.linalg.inv(setup.model.linear)
    low_middle, high_middle = ((np.array(p.shape[::-1]) - 1) / 2 for p in (low, high))
    shift = np.rint(np.median(matches.low_px - matches.high_px @ setup.model.linear.T, axis=0))
    start.SetMatrix(back.ravel().tolist())
    start.SetCenter((low_middle + shift).tolist())
    start.SetTranslation((high_middle - low_middle - shift).tolist())
    method.SetInitialTransform(start, inPlace=True)
    method.Execute(fixed, moving)
    matrix = np.array(start.GetMatrix()).reshape(2, 2)
    centre, move = np.array(start.GetCenter()), np.array(start.GetTranslation())

    def mapped(at: Points) -> Points:
        there = (at + low_middle - centre) @ matrix.T + centre + move
        return np.asarray(there - high_middle)

    return mapped


def _cut_about(low: Plane, matches: Matches) -> Any:
    """Cut the low image to what the blocks cover; its origin stays that of the whole."""
    at = matches.low_px + (np.array(low.shape[::-1]) - 1) / 2
    first = np.maximum(np.floor(at.min(axis=0)).astype(int) - 16, 0)
    last = np.minimum(np.ceil(at.max(axis=0)).astype(int) + 16, low.shape[::-1])
    image = itk.GetImageFromArray(np.ascontiguousarray(low[first[1] : last[1], first[0] : last[0]]))
    image.SetOrigin(first.astype(float).tolist())
    return image


def _bytes(plane: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(np.clip(np.rint(plane), 0, 255), np.uint8)


PEERS: dict[str, Callable[[Plane, Plane, Setup, Matches], Map | None]] = {
    "affine of the field's own blocks": affine_of_blocks,
    "phase correlation (shift only)": phase,
    "SIFT + RANSAC affine": sift,
}
if itk is not None:
    PEERS["SimpleITK affine, correlation"] = simple_itk


if __name__ == "__main__":
    main()
