"""Time of a whole dataset per field on one core, and of a random crop from it.

    OMP_NUM_THREADS=1 python benchmarks/build_dataset.py [ROWS x COLUMNS]

A session of the built-in rig's tissue at 1024 x 1024, 8 bits, x2. The peer does on the same fields
what is usually done: read, flat-field, SIFT features on both (the low one enlarged), affine by
RANSAC, one warp of the high image, both written with tifffile; it judges nothing, matches no colour
and leaves the distortion. Processor time, reading and writing included.
"""

from __future__ import annotations

import importlib
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile

from scope_sr.build_dataset import run
from scope_sr.build_dataset.drawing import GroupTask, draw_group
from scope_sr.build_dataset.measuring import MeasureTask, measure_group
from scope_sr.build_dataset.pooling import (
    acquaint,
    begin_with,
    pick_acquaintances,
    pick_samples,
    pool,
)
from scope_sr.build_dataset.sessions import place_fields
from scope_sr.build_dataset.setup import Setup, groups_of, set_up
from scope_sr.dataset import Crops
from scope_sr.imaging.shift import green
from scope_sr.light import corrected, shading_of
from scope_sr.session import Session

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
paired: Any = importlib.import_module("paired_sessions")
features: Any = cv2  # its stubs do not know SIFT

SEED = 10
CROPS = 2000


def main() -> None:
    """Capture, build, and print times per field beside the peer's."""
    rows, columns = map(int, (sys.argv[1] if len(sys.argv) > 1 else "3x3").split("x"))
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        rig = paired.awkward_rig(SEED, 1024, 2)
        session: Session = paired.session_of(home, rig, rows=rows, columns=columns)
        setup = set_up(session, "s", 2)
        fields = sum(len(group.highs) for group in groups_of(session))
        ours, parts = build(session, setup, home / "ours")
        theirs = peer(session, setup, home / "peer")
        print(f"{fields} high fields; per field and core: {1000 * ours / fields:.0f} ms,")
        print(f"  that is {fields / ours:.1f} fields per second ({parts})")
        print(f"SIFT + RANSAC + warp, the peer: {1000 * theirs / fields:.0f} ms per field")
        print(f"ours to peer: {ours / theirs:.2f}")
        read_crops(session, home / "ds")


def build(session: Session, setup: Setup, out: Path) -> tuple[float, str]:
    """Do what the workers of a build do, in this process; gives seconds, whole and by part."""
    began = time.process_time()
    groups = groups_of(session)
    model, offset = begin_with(
        setup, [acquaint((setup, low, high)) for low, high in pick_acquaintances(groups)]
    )
    first = time.process_time()
    samples = pick_samples(groups)
    measured = [measure_group(MeasureTask(setup, model, offset, g, samples)) for g in groups]
    second = time.process_time()
    shared = pool(setup, session, model, measured)
    lies = place_fields(session, shared, measured)
    third = time.process_time()
    for group in measured:
        clipped = group.looks.clipped
        draw_group(
            GroupTask(setup, shared, out, group.low, clipped, lies[group.low], "", "", "train")
        )
    fourth = time.process_time()
    times = (first - began, second - first, third - second, fourth - third)
    names = ("first fields", "measuring", "shared map", "drawing and judging")
    parts = ", ".join(f"{name} {s:.2f} s" for name, s in zip(names, times, strict=True))
    return fourth - began, parts


def peer(session: Session, setup: Setup, out: Path) -> float:
    """Register each field by itself and write it, as is usually done."""
    out.mkdir()
    began = time.process_time()
    finder = features.SIFT_create(4000, 3, 0.04, 10, 1.6, True)
    for group in groups_of(session):
        low = corrected(session.read(group.low), shading_of(setup.folder, setup.low))
        large = cv2.resize(low, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
        low_points, low_words = finder.detectAndCompute(bytes_of(green(large), setup), None)
        tifffile.imwrite(out / f"{group.low.replace('/', '-')}.tif", low)
        for name in group.highs:
            high = corrected(session.read(name), shading_of(setup.folder, setup.high))
            points, words = finder.detectAndCompute(bytes_of(green(high), setup), None)
            if words is None or len(words) < 8:
                continue
            pairs = features.BFMatcher().knnMatch(words, low_words, k=2)
            good = [a for a, b in pairs if a.distance < 0.75 * b.distance]
            own = np.array([points[m.queryIdx].pt for m in good])
            there = np.array([low_points[m.trainIdx].pt for m in good])
            if len(good) < 8:
                continue
            matrix, _ = features.estimateAffine2D(own, there, ransacReprojThreshold=1.5)
            corner = matrix @ (0, 0, 1)
            matrix[:, 2] -= np.floor(corner)
            drawn = cv2.warpAffine(high, matrix, (1040, 1040), flags=cv2.INTER_CUBIC)
            tifffile.imwrite(out / f"{name.replace('/', '-')}.tif", drawn)
    return time.process_time() - began


def bytes_of(plane: Any, setup: Setup) -> Any:
    return np.clip(plane * (255 / setup.full_scale), 0, 255).astype(np.uint8)


def read_crops(session: Session, out: Path) -> None:
    """Read random crops of a dataset that was just opened."""
    built = run.from_sessions(
        [session.folder], out, scale=None, patients=None, licence="", count=2, resume=False,
        tell=lambda *_: None,
    )  # fmt: skip
    crops, rng = Crops(built.dataset, "train", 96), np.random.default_rng(0)
    times = []
    for _ in range(CROPS):
        began = time.perf_counter()
        crops.random(rng)
        times.append(time.perf_counter() - began)
    times_us = [1e6 * t for t in times]
    print(
        f"random pair of crops, 96 and 192 px: median {statistics.median(times_us):.0f} µs,"
        f" 99 % below {np.percentile(times_us, 99):.0f} µs, {len(crops.pairs)} pairs"
    )


if __name__ == "__main__":
    main()
