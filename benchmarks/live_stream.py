"""Live frames through this bridge, beside a bare loop on the same core; and during a long move.

    pip install "scope-sr[demo]"
    python benchmarks/live_stream.py [runs] [frames|moves]

The stock demo camera at 10 ms (nothing rendered), in this process and behind the double of
Micro-Manager's Java server. Each engine runs in a process of its own, several times in turn; the
median counts. The bridge delivers frames as the viewer takes them: behind the guard, as RGB or grey
in an array of their own, with their circumstances. The peer is what people write: newest image, its
ImageNumber, no conversion; over ZMQ ``get_last_tagged_image`` on one connection.

Then a stage move of 2 s while the camera streams: the worst wait for a new frame from the order to
its end, nothing excluded. The blocking move is one whose order itself returns only at the end, as
with Nikon's Ti2 adapter.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import itertools
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

EXPOSURE_MS = 10.0
SECONDS = 3.0
PAUSE_S = 0.001  # of a viewer that finds no new frame
MOVE_S = 2.0
MOVE_UM = 2000.0
LONGEST_GAP_MS = 100.0
SIZES = (512, 1024, 2048)
KINDS = ("mono16", "RGB32")
ROUTES = ("in process", "over the double")
KEEPING = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": "1000000000",
    "MALLOC_MMAP_THRESHOLD_": "33554432",
}
MOVES = ("in process, polled", "over the double, polled", "over the double, blocking")

Poll = Callable[[], int | None]  # the number of a new frame, or None where there is none yet
Move = Callable[[], None]


@contextlib.contextmanager
def served_port(**faults: Any) -> Iterator[int]:
    """Run the tests' double of Micro-Manager's Java server, keeping what memory it has.

    glibc seems to give 16 MB back and fetch it anew with every image, which cost up to 20 ms here;
    both engines get the same. What a JVM costs is not known: none was at hand.
    """
    os.environ.update(KEEPING)
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    with importlib.import_module("java_server").serving(**faults) as server:
        yield server.port


@contextlib.contextmanager
def own_core() -> Iterator[Any]:
    import mm_test_adapters

    from scope_sr.microscope.in_process import loaded_core

    adapters = Path(mm_test_adapters.device_adapter_path())
    with loaded_core(adapters, str(adapters / "MMConfig_demo.cfg")) as core:
        yield core


def set_up(core: Any, size_px: int, kind: str, velocity: str) -> None:
    settings = {
        "OnCameraCCDXSize": size_px,
        "OnCameraCCDYSize": size_px,
        "PixelType": "32bitRGB" if kind == "RGB32" else "16bit",
        "FastImage": 1,
    }
    for name, value in settings.items():
        core.set_property("Camera", name, str(value))
    core.set_property("XY", "Velocity", velocity)
    core.set_exposure(EXPOSURE_MS)


@contextlib.contextmanager
def bridge(
    core_or_port: Any, size_px: int, kind: str, velocity: str
) -> Iterator[tuple[Poll, Move]]:
    """Stream through this package: the backend behind its guard."""
    from scope_sr.config import load_rig, parse_rig
    from scope_sr.frame import Position
    from scope_sr.microscope.guarded import GuardedMicroscope
    from scope_sr.microscope.in_process import link_to
    from scope_sr.microscope.micromanager import MicroManager
    from scope_sr.microscope.running import link_running

    remote = isinstance(core_or_port, int)
    text = load_rig("demo").text.replace("_px = 512", f"_px = {size_px}")
    if kind == "mono16":
        text = text.replace("color = true", "color = false").replace("bits = 8 ", "bits = 16 ")
    if remote:
        text = text.replace('backend = "demo"', 'backend = "micromanager"')
        text = text[: text.index("[specimen]")] + f"[micromanager]\nport = {core_or_port}\n"
    rig = parse_rig(text, source="demo", folder=Path.cwd())
    link = link_running(core_or_port) if remote else link_to(core_or_port)
    set_up(link.hardware, size_px, kind, velocity)
    with GuardedMicroscope(MicroManager(link, rig), rig) as microscope:
        microscope.start_stream()
        newest = 0

        def poll() -> int | None:
            nonlocal newest
            frame = microscope.latest(newest)
            if frame is None:
                return None
            shape = (size_px, size_px, 3) if kind == "RGB32" else (size_px, size_px)
            assert frame.image.shape == shape, frame.image.shape
            newest = frame.number
            return newest

        yield poll, lambda: microscope.move_to(Position(MOVE_UM, 0.0, 0.0))


@contextlib.contextmanager
def peer(core_or_port: Any, size_px: int, kind: str, velocity: str) -> Iterator[tuple[Poll, Move]]:
    """Stream as a bare loop does."""
    from pycromanager import Core

    remote = isinstance(core_or_port, int)
    core = Core(port=core_or_port) if remote else core_or_port
    set_up(core, size_px, kind, velocity)
    fetch = tagged(core) if remote else with_metadata(core)
    newest = -1

    def poll() -> int | None:
        nonlocal newest
        try:
            number = fetch()
        except Exception as error:  # IndexError in process, bare over ZMQ
            if "buffer is empty" in str(error):
                return None
            raise
        if number == newest:
            return None
        newest = number
        return number

    def move() -> None:
        core.set_xy_position(MOVE_UM, 0.0)
        core.wait_for_device("XY")

    core.start_continuous_sequence_acquisition(0)
    yield poll, move
    core.stop_sequence_acquisition()


def with_metadata(core: Any) -> Callable[[], int]:
    import pymmcore

    metadata = pymmcore.Metadata()

    def fetch() -> int:
        core.get_last_image_md(metadata)
        return int(metadata.GetSingleTag("ImageNumber").GetValue())

    return fetch


def tagged(core: Any) -> Callable[[], int]:
    def fetch() -> int:
        image = core.get_last_tagged_image()
        tags = image.tags
        image.pix.reshape(int(tags["Height"]), int(tags["Width"]), -1)
        return int(tags["ImageNumber"])

    return fetch


ENGINES = {"bridge": bridge, "peer": peer}


def watch(poll: Poll, until: Callable[[], bool]) -> list[tuple[float, int]]:
    """Take frames until it is enough: when each was in hand, and its number."""
    taken: list[tuple[float, int]] = []
    while not taken or not until():
        number = poll()
        if number is None:
            time.sleep(PAUSE_S)
        else:
            taken.append((time.perf_counter(), number))
    return taken


def frames(engine: str, where: Any, size_px: int, kind: str) -> dict[str, float]:
    """Count the frames that arrive and those that do not."""
    with ENGINES[engine](where, size_px, kind, "1000") as (poll, _):
        watch(poll, lambda: True)
        end_s = time.perf_counter() + SECONDS
        taken = watch(poll, lambda: time.perf_counter() >= end_s)
        seconds = taken[-1][0] - taken[0][0]
        made = taken[-1][1] - taken[0][1]
        return {"fps": (len(taken) - 1) / seconds, "lost": (made - len(taken) + 1) / seconds}


def gaps(engine: str, where: Any, velocity: str) -> dict[str, float]:
    """Time the waits for a new frame, before a move and from its order to its end."""
    span: list[float] = []

    def moving() -> None:
        span.append(time.perf_counter())
        move()
        span.append(time.perf_counter())

    with ENGINES[engine](where, 512, "mono16", velocity) as (poll, move):
        thread = threading.Thread(target=moving)
        start_s = time.perf_counter() + MOVE_S

        def until() -> bool:
            if time.perf_counter() < start_s:
                return False
            if not span and not thread.ident:
                thread.start()
            return len(span) == 2

        taken = watch(poll, until)
        taken += watch(poll, lambda: True)  # the wait that outlasts the move counts too
        thread.join()
    pairs = list(itertools.pairwise(when for when, _ in taken))
    return {
        "still": max(b - a for a, b in pairs if b <= span[0]) * 1000,
        "moving": max(b - a for a, b in pairs if b > span[0] and a < span[1]) * 1000,
        "period": statistics.median(b - a for a, b in pairs) * 1000,
        "move": span[1] - span[0],
    }


def one(engine: str, route: str, *rest: str) -> dict[str, float]:
    """Run one engine once, in this process."""
    blocking = route.endswith("blocking")
    faults = {"delay": {"setXYPosition": MOVE_S}} if blocking else {}
    place = own_core() if route.startswith("in process") else served_port(**faults)
    with place as where:
        if rest:
            return frames(engine, where, int(rest[0]), rest[1])
        return gaps(engine, where, "1000" if blocking else str(MOVE_UM / 1000 / MOVE_S))


def medians(runs: int, *case: str) -> dict[str, dict[str, float]]:
    """Run both engines in turn, each in a process of its own."""
    found: dict[str, list[dict[str, float]]] = {engine: [] for engine in ENGINES}
    for _ in range(runs):
        for engine, values in found.items():
            done = subprocess.run(
                [sys.executable, __file__, engine, *case],
                capture_output=True,
                text=True,
                timeout=120,
            )
            if done.returncode == 0:
                values.append(json.loads(done.stdout.splitlines()[-1]))
            else:
                print(engine, *case, "failed:", done.stderr.strip()[-300:], file=sys.stderr)
    return {
        engine: {name: statistics.median(v[name] for v in values) for name in values[0]}
        for engine, values in found.items()
    }


def compare_frames(runs: int) -> None:
    print("| camera at 10 ms | bridge, frames/s | lost/s | peer, frames/s | lost/s | ratio |")
    print("|---|---|---|---|---|---|")
    for route, size, kind in itertools.product(ROUTES, SIZES, KINDS):
        found = medians(runs, route, str(size), kind)
        own, other = found["bridge"], found["peer"]
        print(
            f"| {route}, {size} {kind} | {own['fps']:.0f} | {own['lost']:.1f} |"
            f" {other['fps']:.0f} | {other['lost']:.1f} | {own['fps'] / other['fps']:.2f} |",
            flush=True,
        )


def compare_moves(runs: int) -> None:
    print(
        "\n| worst wait for a frame, 512 mono16 | bridge, still | during a move of | wait |", end=""
    )
    print(f" under {LONGEST_GAP_MS:g} ms | peer, still | during a move of | wait | ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    for route in MOVES:
        found = medians(runs, route)
        own, other = found["bridge"], found["peer"]
        fine = "yes" if own["moving"] < LONGEST_GAP_MS else "NO"
        told = (
            f"{e['still']:.0f} ms | {e['move']:.1f} s | {e['moving']:.0f} ms" for e in (own, other)
        )
        print(f"| {route} | {f' | {fine} | '.join(told)} | {own['moving'] / other['moving']:.2f} |")
        print(f"{route}: median period {own['period']:.1f} ms", file=sys.stderr, flush=True)


def main() -> None:
    if sys.argv[1:2] and sys.argv[1] in ENGINES:
        with contextlib.redirect_stdout(io.StringIO()):
            found = one(*sys.argv[1:])
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()
        os._exit(0)  # an engine's threads must not keep the next from its turn
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    which = sys.argv[2] if len(sys.argv) > 2 else "all"
    if which != "moves":
        compare_frames(runs)
    if which != "frames":
        compare_moves(runs)


if __name__ == "__main__":
    main()
