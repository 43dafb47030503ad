"""What capturing costs beyond exposure, motion and writing to disk; how it grows.

    python benchmarks/capture.py [fields]

Runs a capture on a microscope whose moves and exposures take no time, so that all that is left is
software and disk, beside a named peer in the same run: a bare loop of move, snap and
``tifffile.imwrite`` with the same compression, without safety, metadata, checksum, journal, fsync.
Then resumes the session, and reports the memory of the process along the way.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from scope_sr import disk
from scope_sr.acquire_pairs import capture_fields
from scope_sr.calibration import CalibrationRecord
from scope_sr.config import load_rig
from scope_sr.frame import CameraFacts, Frame, Position
from scope_sr.microscope.guarded import GuardedMicroscope
from scope_sr.plan import plan_pairs
from scope_sr.session import Session

SIZE_PX = 1024


class Instant:
    """A microscope that is always there already, with a camera full of canned tissue-like noise."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        smooth = rng.normal(170, 30, (SIZE_PX // 8, SIZE_PX // 8, 3)).repeat(8, 0).repeat(8, 1)
        noisy = smooth + rng.normal(0, 3, (SIZE_PX, SIZE_PX, 3))
        self.image = noisy.clip(0, 254).astype(np.uint8)
        self.here = Position(0, 0, 0)
        self.name = "10x"
        self.number = 0

    def position(self) -> Position:
        return self.here

    def move_to(self, position: Position) -> None:
        self.here = position

    def objective(self) -> str:
        return self.name

    def select_objective(self, name: str) -> None:
        self.name = name

    def focus_held(self) -> bool:
        return False

    def hold_focus(self, on: bool) -> None: ...

    def abandon(self) -> None: ...

    def camera(self) -> CameraFacts:
        return CameraFacts("canned")

    def exposure_ms(self) -> float:
        return 1.0

    def set_exposure(self, exposure_ms: float) -> None:
        pass

    def gain(self) -> float:
        return 1.0

    def set_gain(self, gain: float) -> None:
        pass

    def snap(self) -> Frame:
        self.number += 1
        image = self.image.copy()
        image[0, 0] = self.number % 250
        return Frame(image, self.here, self.name, 1.0, time.time(), self.number)

    def start_stream(self) -> None:
        pass

    def latest(self, after: int) -> Frame | None:
        return None

    def stop_stream(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def rearm(self) -> None:
        pass

    def close(self) -> None:
        pass


class Stopwatch:
    """Adds up the time spent in functions it is put around."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: object, **options: object) -> object:
            began = time.perf_counter()
            try:
                return function(*args, **options)
            finally:
                self.seconds += time.perf_counter() - began

        return timed


def memory_mb() -> float:
    """Resident memory of this process, where the system tells (Linux)."""
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    line = next(row for row in status.read_text().splitlines() if row.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def main() -> None:
    fields = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    rows = max(1, round((fields / 5) ** 0.5))
    columns = max(1, round(fields / 5 / rows))
    rig = load_rig("simulated")
    record = CalibrationRecord.nominal(rig)
    plan = plan_pairs(rig, record, rows=rows, columns=columns, origin=Position(0, 0, 0))
    backend = Instant()
    camera, writing = Stopwatch(), Stopwatch()
    backend.snap = camera.around(backend.snap)  # type: ignore[method-assign]
    disk.store = writing.around(disk.store)
    disk.append = writing.around(disk.append)
    Session._encode = writing.around(Session._encode)  # type: ignore[method-assign]
    overheads_ms, peers_ms, memory = [], [], []
    with tempfile.TemporaryDirectory() as home:
        out = Path(home) / "A"
        with (
            GuardedMicroscope(backend, rig) as microscope,
            Session.create(out, plan, rig, record) as session,
        ):
            began, spent = time.perf_counter(), 0.0
            for count, _ in enumerate(capture_fields(microscope, session)):
                outside = camera.seconds + writing.seconds
                overheads_ms.append((time.perf_counter() - began - (outside - spent)) * 1000)
                if count % max(1, len(plan.steps) // 8) == 0:
                    memory.append(memory_mb())
                if count % 10 == 0:
                    peers_ms.append(bare(backend, Path(home) / "peer.tif"))
                began, spent = time.perf_counter(), camera.seconds + writing.seconds
        per_field_ms = writing.seconds / len(plan.steps) * 1000
        began = time.perf_counter()
        with Session.resume(out) as session:
            left = len(session.remaining())
            resume_s = time.perf_counter() - began
    own_ms = statistics.median(overheads_ms[3:])
    peer_ms = statistics.median(peers_ms)
    whole_ms = own_ms + per_field_ms
    print(f"{len(plan.steps)} fields of {SIZE_PX} x {SIZE_PX} RGB")
    print(f"software per field, beyond exposure, motion and disk   {own_ms:6.2f} ms (median)")
    print(f"compressing and writing durably, per field             {per_field_ms:6.2f} ms")
    print(f"peer: bare loop with tifffile.imwrite, per field       {peer_ms:6.2f} ms")
    print(f"ratio: whole capture to peer                           {whole_ms / peer_ms:6.2f}")
    print(f"resume of the finished session ({left} left)              {resume_s:6.3f} s")
    print("memory along the way, MB: " + " ".join(f"{mb:.0f}" for mb in memory))


def bare(backend: Instant, path: Path) -> float:
    began = time.perf_counter()
    backend.move_to(Position(1, 2, 3))
    image = backend.image.copy()
    tifffile.imwrite(
        path,
        image,
        photometric="rgb",
        compression="zstd",
        compressionargs={"level": 1},
        predictor=True,
        tile=(512, 512),
    )
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    main()
