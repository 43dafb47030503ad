"""Milliseconds per field on Micro-Manager's demo devices: this bridge beside three other ways.

    pip install "scope-sr[demo]" pymmcore-plus
    python benchmarks/micromanager.py

A 10x10 grid, the stock demo camera (512 x 512, 16 bit) at 10 ms, the fastest demo stage. Each
engine runs in a process of its own, three times in turn; the median counts. The bridge reads back
every move and fills in every frame's metadata, behind its guard; the bare loop does neither.
"""

from __future__ import annotations

import contextlib
import io
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

SIDE = 10
STEP_UM = 50.0
EXPOSURE_MS = 10.0
RUNS = 3


def places() -> list[tuple[float, float]]:
    return [(column * STEP_UM, row * STEP_UM) for row in range(SIDE) for column in range(SIDE)]


def demo_core() -> Any:
    import mm_test_adapters
    from mmpycorex import create_core_instance
    from pycromanager import Core

    create_core_instance(
        mm_test_adapters.device_adapter_path(), "MMConfig_demo.cfg", python_backend=True
    )
    return fast(Core())


def fast(core: Any) -> Any:
    set_property = getattr(core, "set_property", None) or core.setProperty
    set_property("XY", "Velocity", "1000")
    set_property("Camera", "FastImage", "1")
    return core


def bridge() -> float:
    from scope_sr.config import load_rig, parse_rig
    from scope_sr.frame import Position
    from scope_sr.microscope.guarded import GuardedMicroscope
    from scope_sr.microscope.in_process import link_to
    from scope_sr.microscope.micromanager import MicroManager

    text = load_rig("demo").text
    text = text.replace("color = true", "color = false").replace("bits = 8 ", "bits = 16 ")
    text = text.replace("settle_ms = 5.0", "settle_ms = 0.0")  # the other ways do not settle
    rig = parse_rig(text, source="demo", folder=load_rig("demo").folder)
    backend = MicroManager(link_to(demo_core()), rig)
    with GuardedMicroscope(backend, rig) as microscope:
        microscope.set_exposure(EXPOSURE_MS)
        microscope.snap()

        def take(x: float, y: float) -> None:
            microscope.move_to(Position(x, y, 0.0))
            microscope.snap()

        return per_field(take)


def bare_loop() -> float:
    core = demo_core()
    core.set_exposure(EXPOSURE_MS)
    core.snap_image()

    def take(x: float, y: float) -> None:
        core.set_xy_position(x, y)
        core.wait_for_device("XY")
        core.snap_image()
        core.get_image()

    return per_field(take)


def acquisition() -> float:
    import mm_test_adapters
    from pycromanager import Acquisition, multi_d_acquisition_events, start_headless

    start_headless(
        mm_test_adapters.device_adapter_path(),
        config_file="MMConfig_demo.cfg",
        python_backend=True,
    )
    from pycromanager import Core

    fast(Core()).set_exposure(EXPOSURE_MS)
    events = multi_d_acquisition_events(xy_positions=places())
    began = time.perf_counter()
    with Acquisition(directory=None, name="grid", show_display=False) as engine:
        engine.acquire(events)
    return (time.perf_counter() - began) * 1000 / SIDE**2


def mda() -> float:
    import mm_test_adapters
    import useq
    from pymmcore_plus import CMMCorePlus

    core = CMMCorePlus()
    folder = mm_test_adapters.device_adapter_path()
    core.setDeviceAdapterSearchPaths([folder])
    core.loadSystemConfiguration(os.path.join(folder, "MMConfig_demo.cfg"))  # noqa: PTH118
    fast(core).setExposure(EXPOSURE_MS)
    sequence = useq.MDASequence(stage_positions=[{"x": x, "y": y} for x, y in places()])
    began = time.perf_counter()
    core.mda.run(sequence)
    return (time.perf_counter() - began) * 1000 / SIDE**2


def per_field(take: Callable[[float, float], object]) -> float:
    began = time.perf_counter()
    for x, y in places():
        take(x, y)
    return (time.perf_counter() - began) * 1000 / SIDE**2


ENGINES = {engine.__name__: engine for engine in (bridge, bare_loop, acquisition, mda)}


def main() -> None:
    if len(sys.argv) > 1:
        with contextlib.redirect_stdout(io.StringIO()):
            mine_ms = ENGINES[sys.argv[1]]()
        sys.stdout.write(f"{mine_ms}\n")
        sys.stdout.flush()
        os._exit(0)  # an engine's threads must not keep the next from its turn
    times: dict[str, list[float]] = {name: [] for name in ENGINES}
    for _ in range(RUNS):
        for name, found in times.items():
            done = subprocess.run(
                [sys.executable, __file__, name], capture_output=True, text=True, timeout=120
            )
            if done.returncode == 0:
                found.append(float(done.stdout.split()[-1]))
            else:
                print(name, "failed:", done.stderr.strip().splitlines()[-1:])
    medians = {name: statistics.median(found) for name, found in times.items() if found}
    best = min(value for name, value in medians.items() if name != "bridge")
    for name, value in medians.items():
        print(f"{name:12} {value:6.1f} ms per field")
    print(f"bridge / best of the others: {medians['bridge'] / best:.2f}")


if __name__ == "__main__":
    main()
