"""Memory and threads over a long capture, a long live view, and at the exit.

    pip install "scope-sr[demo]"
    python benchmarks/soak.py [fields=2000] [minutes=10] [double]

The demo rig as it is shipped, its specimen rendered, in one process: a capture of about this many
fields into a temporary session, then live while the stage wanders from place to place. With
``double`` the same goes through the double of Micro-Manager's Java server; its memory is told too.
A parent process times how long the interpreter needs to end once the microscope is closed.

Memory is what the system says is resident; the slope is a line through the samples after the first
quarter, in which caches fill.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

EXIT_S = 5.0
SAMPLES = 100  # per part; every tenth is printed
PAUSE_S = 0.002  # of a viewer that finds no new frame
CLOSED = "closed"


@dataclass
class Sample:
    """What one look found."""

    at: float
    mb: float
    python_threads: int
    os_threads: int
    other_mb: float


def status_of(pid: int | str, name: str) -> float:
    """Read a figure of a process where the system tells (Linux), else nan."""
    path = Path(f"/proc/{pid}/status")
    if not path.exists():
        return float("nan")
    line = next(row for row in path.read_text().splitlines() if row.startswith(name))
    return float(line.split()[1])


def resident_mb(pid: int | str = "self") -> float:
    return status_of(pid, "VmRSS") / 1024


class Samples:
    """What was seen along the way of one part."""

    def __init__(self, title: str, unit: str, per: float, server: Any) -> None:
        self.taken: list[Sample] = []
        self._title, self._unit, self._per, self._server = title, unit, per, server

    def take(self, at: float) -> None:
        other = resident_mb(self._server.process.pid) if self._server else float("nan")
        threads = status_of("self", "Threads")
        os_threads = int(threads) if threads == threads else -1
        self.taken.append(Sample(at, resident_mb(), threading.active_count(), os_threads, other))

    def tell(self) -> None:
        print(f"\n| {self._title} | MB | Python threads | OS threads |", end="")
        print(" MB of the server |" if self._server else "")
        print("|---|---|---|---|" + ("---|" if self._server else ""))
        for sample in [*self.taken[::10], *self.taken[-1:]]:
            mb = words(sample.mb)
            threads = words(sample.os_threads if sample.os_threads >= 0 else float("nan"))
            row = f"| {round(sample.at, 1):g} | {mb} | {sample.python_threads} | {threads} |"
            print(row + (f" {words(sample.other_mb)} |" if self._server else ""))
        later = self.taken[len(self.taken) // 4 :]
        told = [f"{slope(later, 'mb') * self._per:+.2f}"]
        told += [f"server {slope(later, 'other_mb') * self._per:+.2f}"] if self._server else []
        print(f"slope after the first quarter: {', '.join(told)} MB per {self._unit}", flush=True)


def words(figure: float) -> str:
    return "n/a" if figure != figure else f"{figure:.0f}"


def slope(samples: list[Sample], name: str) -> float:
    if len(samples) < 2:
        return float("nan")
    return float(np.polyfit([s.at for s in samples], [getattr(s, name) for s in samples], 1)[0])


@contextlib.contextmanager
def demo(double: bool) -> Iterator[tuple[Any, Any]]:
    """Give the demo rig, or the same one behind a server, and the server."""
    from scope_sr.config import load_rig, parse_rig

    rig = load_rig("demo")
    if not double:
        yield rig, None
        return
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    with tempfile.TemporaryDirectory() as home:
        path = Path(home) / "demo.toml"
        path.write_text(rig.text, encoding="utf-8")
        with importlib.import_module("java_server").serving(rig=path) as server:
            text = rig.text.replace('backend = "demo"', 'backend = "micromanager"')
            text = text[: text.index("[specimen]")] + f"[micromanager]\nport = {server.port}\n"
            yield parse_rig(text, source="demo over the double", folder=rig.folder), server


def capture(microscope: Any, rig: Any, fields: int, samples: Samples) -> None:
    from scope_sr import CalibrationRecord, Position, Session, capture_pairs, plan_pairs

    record = CalibrationRecord.nominal(rig)

    def plan_of(rows: int, columns: int) -> Any:
        return plan_pairs(rig, record, rows=rows, columns=columns, origin=Position(0, 0, 0))

    cells = fields / len(plan_of(1, 1).steps)
    rows = max(1, round(cells**0.5))
    plan = plan_of(rows, max(1, round(cells / rows)))
    count = 0

    def counted(snap: Callable[[], Any]) -> Callable[[], Any]:
        def snap_and_count() -> Any:
            nonlocal count
            if count % max(1, len(plan.steps) // SAMPLES) == 0:
                samples.take(count)
            count += 1
            return snap()

        return snap_and_count

    plain = microscope.snap
    microscope.snap = counted(plain)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as home:
        with Session.create(Path(home) / "soak", plan, rig, record) as session:
            summary = capture_pairs(microscope, session)
        seconds = time.perf_counter() - began
        samples.take(count)
    microscope.snap = plain
    samples.tell()
    good = summary.low + summary.high
    print(f"{good} of {len(plan.steps)} fields, {summary.rejected} rejected,", end=" ")
    print(f"{seconds / max(1, count) * 1000:.0f} ms per field", flush=True)


def live(microscope: Any, minutes: float, samples: Samples) -> None:
    from scope_sr import Position

    rng = random.Random(0)
    enough = threading.Event()
    moves = 0

    def wander() -> None:
        nonlocal moves
        while not enough.wait(0.3):
            microscope.move_to(Position(rng.uniform(-3000, 3000), rng.uniform(-3000, 3000), 0.0))
            moves += 1

    microscope.select_objective(microscope.rig.low)
    microscope.set_exposure(10.0)
    microscope.start_stream()
    wanderer = threading.Thread(target=wander, name="wanderer")
    wanderer.start()
    began = time.perf_counter()
    newest = frames = 0
    try:
        while (now_s := time.perf_counter() - began) < minutes * 60:
            if now_s >= len(samples.taken) * minutes * 60 / SAMPLES:
                samples.take(now_s / 60)
            frame = microscope.latest(newest)
            if frame is None:
                time.sleep(PAUSE_S)
            else:
                newest, frames = frame.number, frames + 1
    finally:
        enough.set()
        wanderer.join()
    microscope.stop_stream()
    samples.take(minutes)
    samples.tell()
    print(f"{frames} frames, {frames / minutes / 60:.1f} per s, {moves} moves", flush=True)


def soak(fields: int, minutes: float, double: bool) -> None:
    from scope_sr import open_microscope

    with demo(double) as (rig, server):
        before, os_before = set(threading.enumerate()), status_of("self", "Threads")
        with open_microscope(rig) as microscope:
            if fields:
                capture(microscope, rig, fields, Samples("fields", "1000 fields", 1000, server))
            if minutes:
                live(microscope, minutes, Samples("minutes of live", "minute", 1, server))
            if server:
                print("objects the server still holds for the client:", server.change()["objects"])
        del microscope
        gc.collect()
        if server:
            print("and after closing:", server.change()["objects"])
        left = [thread.name for thread in threading.enumerate() if thread not in before]
        print("Python threads left after closing:", ", ".join(left) or "none")
        os_after = words(status_of("self", "Threads"))
        print(f"OS threads: {words(os_before)} before opening, {os_after} after closing")
    print(CLOSED, flush=True)


def main() -> None:
    words_given = [word for word in sys.argv[1:] if word not in ("double", "child")]
    fields = int(words_given[0]) if words_given else 2000
    minutes = float(words_given[1]) if len(words_given) > 1 else 10.0
    if "child" in sys.argv:
        soak(fields, minutes, "double" in sys.argv)
        return
    command = [sys.executable, __file__, *sys.argv[1:], "child"]
    closed_s = None
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line.strip() == CLOSED:
                closed_s = time.perf_counter()
                break
            print(line, end="", flush=True)
        try:
            code = child.wait(EXIT_S if closed_s else None)
        except subprocess.TimeoutExpired:
            child.kill()
            sys.exit(f"the interpreter did not end within {EXIT_S:g} s after closing")
    if closed_s is None:
        sys.exit(f"failed with exit code {code}")
    print(f"exit code {code}, {time.perf_counter() - closed_s:.2f} s after closing")


if __name__ == "__main__":
    main()
