"""The live view on its window: pace, latency, stalls and memory by the minute, and beside others.

    pip install "scope-sr[live,openvino]"
    python benchmarks/live.py [minutes=10]
    python benchmarks/live.py slow
    python benchmarks/live.py peers

The real window, offscreen or on X if DISPLAY is set, on the simulated camera at 1024 x 1024 px and
30 frames a second over tissue that stands still, with the models of the package. Latency of the
original is from when this program had the frame in its hands to the end of its paint; that of the
enhanced picture to when it is laid. A stall is how late a timer of 5 ms in the thread of the window
comes.

``slow`` takes turns within one run: as it is, with each call of a network made to compute for
500 ms, and without any. ``peers`` takes turns with what many viewers do, on the same frames,
networks and part of the field (128 px, once per frame): an unbounded queue between camera, model
and screen; and the model in the thread of the window, on the newest frame.
"""

from __future__ import annotations

import contextlib
import gc
import os
import queue
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any

if not os.environ.get("DISPLAY"):
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import numpy as np
from PySide6 import QtCore, QtGui, QtWidgets

from scope_sr.config import Rig, load_rig, parse_rig
from scope_sr.live.board import Board
from scope_sr.live.figures import Meter
from scope_sr.live.mailbox import Pool
from scope_sr.live.pipeline import Pipeline
from scope_sr.live.seen import Seen
from scope_sr.live.source.camera import Camera
from scope_sr.live.source.stand import Stand
from scope_sr.live.window.settings import Settings
from scope_sr.live.window.showing import application
from scope_sr.live.window.window import LiveWindow

BEAT_MS = 5
LOADING_S = 60.0
SLOW_S = 0.5
TURN_S, ROUNDS = 10.0, 3
PEER_PX = 128


@dataclass(frozen=True)
class Minute:
    """What was measured in a span of time; ms, MB."""

    original_fps: float
    original_p50: float
    original_p95: float
    enhanced_per_s: float
    enhanced_p50: float
    enhanced_p95: float
    stall_p50: float
    stall_p95: float
    stall_max: float
    skipped: int
    rss_mb: float
    threads: int
    none_refs: int
    true_refs: int
    pool: int


class Noted(Meter):
    """Keeps each latency until they are taken."""

    def __init__(self) -> None:
        super().__init__()
        self.all_ms: list[float] = []

    def add(self, latency_s: float, at_s: float | None = None) -> None:
        super().add(latency_s, at_s)
        self.all_ms.append(1e3 * latency_s)


class Beat(QtCore.QObject):
    """A timer in the thread of the window, and how late it came each time."""

    def __init__(self) -> None:
        super().__init__()
        self.late_ms: list[float] = []
        self._last_s = time.perf_counter()
        self._timer = QtCore.QTimer(self, interval=BEAT_MS)
        self._timer.setTimerType(QtCore.Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._beat)
        self._timer.start()

    def stop(self) -> None:
        self._timer.stop()

    def _beat(self) -> None:
        now_s = time.perf_counter()
        self.late_ms.append(max(0.0, 1e3 * (now_s - self._last_s) - BEAT_MS))
        self._last_s = now_s


class Watched:
    """A running window with everything that is measured on it."""

    def __init__(self, window: LiveWindow, original: Noted, enhanced: Noted) -> None:
        self.window, self.pipeline = window, window.pipeline
        self.original, self.enhanced = original, enhanced
        self.beat = Beat()

    @property
    def engines(self) -> dict[str, Any]:
        """The networks by name, once they are loaded."""
        shelf = self.pipeline.model._equipment._shelf
        return shelf.engines if shelf else {}

    @property
    def ready(self) -> bool:
        """Whether there is a picture, and both networks are at work where they should be."""
        at_work = bool(self.pipeline.model.state().nuclei)
        return self.window.seen is not None and at_work is self.pipeline.model.wishes.enhance

    def span(self, seconds: float) -> Minute:
        """Let it run, and sum up."""
        skipped = self._skipped()
        for kept in (self.original.all_ms, self.enhanced.all_ms, self.beat.late_ms):
            kept.clear()
        began_s = time.perf_counter()
        run_for(seconds)
        took_s = time.perf_counter() - began_s
        stall_p50, stall_p95 = percentiles(self.beat.late_ms)
        return Minute(
            len(self.original.all_ms) / took_s,
            *percentiles(self.original.all_ms),
            len(self.enhanced.all_ms) / took_s,
            *percentiles(self.enhanced.all_ms),
            stall_p50,
            stall_p95,
            max(self.beat.late_ms, default=float("nan")),
            self._skipped() - skipped,
            rss_mb(),
            threading.active_count(),
            sys.getrefcount(None),
            sys.getrefcount(True),
            sum(map(len, self.pipeline.pool._free.values())),
        )

    def _skipped(self) -> int:
        return self.pipeline.camera.skipped + self.pipeline.shown.replaced


def rig_of_30_fps(folder: str, size_px: int = 1024) -> Rig:
    """Give the simulated rig with a camera of 30 frames a second, not calibrated by anybody."""
    rig = load_rig("simulated")
    text = rig.text
    for before, after in (
        ("readout_ms = 15.0", "readout_ms = 33.3"),
        ("width_px = 1024", f"width_px = {size_px}"),
        ("height_px = 1024", f"height_px = {size_px}"),
    ):
        if before not in text:
            sys.exit(f"the simulated rig has no {before!r} any more")
        text = text.replace(before, after)
    return parse_rig(text, source=rig.source, folder=Path(folder))


@contextlib.contextmanager
def watched(size_px: int = 1024, *, enhance: bool = True) -> Iterator[Watched]:
    """Open the window on the rig, wait for the networks, and close it in the end."""
    app = application()
    with tempfile.TemporaryDirectory() as folder:
        rig = rig_of_30_fps(folder, size_px)
        pipeline = Pipeline(Stand.of_rig(rig), Path(folder) / "snapshots")
        pipeline.original, pipeline.enhanced = original, enhanced = Noted(), Noted()
        window = LiveWindow(pipeline, Settings(Path(folder) / "live.ini"))
        window.resize(1440, 900)
        pipeline.wish(enhance=enhance)
        window.show()
        pipeline.start()
        found = Watched(window, original, enhanced)
        try:
            until_s = time.monotonic() + LOADING_S
            while not found.ready:
                if time.monotonic() > until_s:
                    notes = [note.words for note in pipeline.board.notes()]
                    sys.exit(f"no networks within {LOADING_S:g} s: {notes}")
                app.processEvents(QtCore.QEventLoop.ProcessEventsFlag.AllEvents, 50)
            yield found
        finally:
            found.beat.stop()
            window.close()
            app.processEvents()


def run_for(seconds: float) -> None:
    """Let Qt run."""
    loop = QtCore.QEventLoop()
    QtCore.QTimer.singleShot(round(1e3 * seconds), loop.quit)
    loop.exec()


def percentiles(values_ms: list[float]) -> tuple[float, float]:
    """Give median and 95th percentile; nan where there is nothing."""
    if not values_ms:
        return float("nan"), float("nan")
    p50, p95 = np.percentile(values_ms, (50, 95))
    return float(p50), float(p95)


def rss_mb() -> float:
    """Read what the system says is resident (Linux), else nan."""
    path = Path("/proc/self/statm")
    if not path.exists():
        return float("nan")
    return int(path.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def slope_mb(minutes: list[Minute], span_min: float) -> float:
    """Give the growth of memory per minute, after the first quarter, in which caches fill."""
    later = [one.rss_mb for one in minutes[len(minutes) // 4 :]]
    if len(later) < 2:
        return float("nan")
    return float(np.polyfit(span_min * np.arange(len(later)), later, 1)[0])


def drift(minutes: list[Minute], name: str) -> int:
    """Give by how much a count differs at the end from what it was after the first span."""
    return int(getattr(minutes[-1], name) - getattr(minutes[0], name))


def table(rows: list[tuple[str, Minute]]) -> None:
    """Print what was measured."""
    names = [field.name for field in fields(Minute)]
    print("| |", " | ".join(name.replace("_", " ") for name in names), "|")
    print("|---" * (len(names) + 1) + "|")
    for title, one in rows:
        cells = (f"{v:.1f}" if isinstance(v, float) else str(v) for v in astuple(one))
        print(f"| {title} |", " | ".join(cells), "|", flush=True)


def verdicts(minutes: list[Minute]) -> list[tuple[str, float, str, bool]]:
    """Hold the worst minute against the limits of issue 8."""
    fps = min(one.original_fps for one in minutes)
    p95 = max(one.original_p95 for one in minutes)
    patches = min(one.enhanced_per_s for one in minutes)
    later = minutes[-1].original_p50 / minutes[0].original_p50
    stall = max(one.stall_p95 for one in minutes)
    growth = slope_mb(minutes, 1.0)
    return [
        ("original, frames a second (worst minute)", fps, ">= 28", fps >= 28),
        ("original, latency p95, ms (worst minute)", p95, "<= 60", p95 <= 60),
        ("enhanced, patches a second (worst minute)", patches, ">= 5", patches >= 5),
        ("original, p50 of the last minute to the first", later, "<= 1.2", later <= 1.2),
        ("stalls of the window, p95, ms (worst minute)", stall, "<= 16", stall <= 16),
        ("memory, MB a minute", growth, "|x| <= 1", not abs(growth) > 1),
    ]


def by_the_minute(minutes: int) -> None:
    with watched() as running:
        print("platform", application().platformName(), "backend", backend(running), load())
        found = []
        for number in range(minutes):
            found.append(running.span(60.0))
            print(number + 1, found[-1], load(), flush=True)
        running.window.close()
    table([(str(number + 1), one) for number, one in enumerate(found)])
    for words, value, limit, good in verdicts(found):
        print(f"{'ok  ' if good else 'MISS'} {words}: {value:.2f} ({limit})")
    print(load())


def backend(running: Watched) -> str:
    state = running.pipeline.model.state()
    return f"{state.backend}, {state.model} and {state.nuclei}, windows of {state.window_px} px"


def load() -> str:
    return f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""


def beside_a_slow_model() -> None:
    """Take turns with a model that computes for half a second per call, and with none."""
    slowed = threading.Event()
    rows: dict[str, list[Minute]] = {"no model": [], "as it is": [], "500 ms a call": []}
    with watched() as running:
        for engine in running.engines.values():
            engine.runtime = replace(engine.runtime, run=slow(engine.runtime.run, slowed))
        for _ in range(ROUNDS):
            for name, found in rows.items():
                running.pipeline.wish(enhance=name != "no model")
                slowed.set() if name == "500 ms a call" else slowed.clear()
                run_for(1.0)
                found.append(running.span(TURN_S))
    print(load())
    against(rows, "no model")


def slow(run: Callable[[Any], Any], slowed: threading.Event) -> Callable[[Any], Any]:
    """Have a network computed over and over for `SLOW_S`, while that is wanted."""

    def again(pictures: Any) -> Any:
        until_s = time.perf_counter() + SLOW_S
        found = run(pictures)
        while slowed.is_set() and time.perf_counter() < until_s:
            found = run(pictures)
        return found

    return again


def against(rows: dict[str, list[Minute]], to: str) -> None:
    """Print the median over the rounds, and its ratio to one of the ways."""
    base = rows[to]
    print(f"| | original fps | p50, ms | p95, ms | p50 to {to} | p95 to {to} |", end="")
    print(" enhanced per s | p50, ms | p95, ms | stalls p95, ms |")
    print("|---" * 10 + "|")
    for name, found in rows.items():
        mid = {key.name: middle(found, key.name) for key in fields(Minute)}
        p50, p95 = (mid[key] / middle(base, key) for key in ("original_p50", "original_p95"))
        print(
            f"| {name} | {mid['original_fps']:.1f} | {mid['original_p50']:.1f} |"
            f" {mid['original_p95']:.1f} | {p50:.2f} | {p95:.2f} | {mid['enhanced_per_s']:.1f} |"
            f" {mid['enhanced_p50']:.0f} | {mid['enhanced_p95']:.0f} | {mid['stall_p95']:.1f} |"
        )


def middle(found: list[Minute], name: str) -> float:
    return float(np.median([getattr(one, name) for one in found]))


class Peer(QtWidgets.QWidget):
    """A viewer as many are: it paints a frame, and what was enhanced of it, when both are there."""

    arrived = QtCore.Signal(object, object)

    def __init__(self, engines: dict[str, Any], way: str) -> None:
        super().__init__()
        from scope_sr.live.model.enhancing import Enhancer

        self.original_ms: list[float] = []
        self.enhanced_ms: list[float] = []
        self._way = way
        self._enhancer = Enhancer(engines["compact-x2"], engines["nuclei"])
        self._frames: queue.Queue[Seen | None] = queue.Queue()
        self._newest: Seen | None = None
        self._shown: tuple[Seen, Any] | None = None
        self._folder = tempfile.TemporaryDirectory()
        stand = Stand.of_rig(rig_of_30_fps(self._folder.name))
        self._camera = Camera(stand, Board(), Pool(), shown=lambda _: None, seen=self._come)
        self.arrived.connect(self._show)
        self.resize(1000, 800)
        self.beat = Beat()
        self._worker = threading.Thread(target=self._work, daemon=True)
        self._timer = QtCore.QTimer(self, interval=5)
        self._timer.timeout.connect(self._take_newest)

    def begin(self) -> None:
        self.show()
        self._worker.start() if self._way == "queue" else self._timer.start()
        self._camera.start()

    def end(self) -> None:
        self._timer.stop()
        self.beat.stop()
        self._camera.close()
        self._camera._stand.close()
        self._folder.cleanup()
        with contextlib.suppress(queue.Empty):
            while True:
                self._frames.get_nowait()
        self._frames.put(None)
        if self._worker.is_alive():
            self._worker.join()
        self.close()

    def _come(self, seen: Seen) -> None:
        if self._way == "queue":
            self._frames.put(seen)
        else:
            self._newest = seen

    def _work(self) -> None:
        while (seen := self._frames.get()) is not None:
            self.arrived.emit(seen, self._enhance(seen))

    def _take_newest(self) -> None:
        seen, self._newest = self._newest, None
        if seen is not None:
            self._show(seen, self._enhance(seen))

    def _enhance(self, seen: Seen) -> Any:
        from scope_sr.live.model.enhancing import found
        from scope_sr.live.model.tiling import centred

        size = (PEER_PX, PEER_PX)
        middle_px = (seen.shape[0] / 2, seen.shape[1] / 2)
        piece = self._enhancer.piece(seen, centred(middle_px, size, seen.shape), size)
        found(self._enhancer.planes(piece), piece)
        return piece

    def _show(self, seen: Seen, piece: Any) -> None:
        self._shown = (seen, piece)
        self.repaint()
        late_ms = 1e3 * (time.monotonic() - seen.arrived_s)
        self.original_ms.append(late_ms)
        self.enhanced_ms.append(late_ms)

    def paintEvent(self, _: QtGui.QPaintEvent) -> None:  # noqa: N802
        if self._shown is None:
            return
        seen, piece = self._shown
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.RenderHint.SmoothPixmapTransform)
        painter.drawImage(self.rect(), image(seen.rgb, QtGui.QImage.Format.Format_RGB888))
        painter.drawImage(0, 0, image(piece.pixels, QtGui.QImage.Format.Format_RGB32))
        painter.end()


def image(pixels: Any, form: QtGui.QImage.Format) -> QtGui.QImage:
    rows, columns = pixels.shape[:2]
    return QtGui.QImage(pixels.data, columns, rows, pixels.strides[0], form)


def peer(engines: dict[str, Any], way: str) -> Minute:
    """Run a peer for as long as ours, and sum up."""
    viewer = Peer(engines, way)
    viewer.begin()
    until_s = time.monotonic() + LOADING_S
    while not viewer.original_ms and time.monotonic() < until_s:
        run_for(0.05)
    for kept in (viewer.original_ms, viewer.enhanced_ms, viewer.beat.late_ms):
        kept.clear()
    run_for(TURN_S)
    viewer.end()
    stall = percentiles(viewer.beat.late_ms)
    per_s = len(viewer.original_ms) / TURN_S
    latency = percentiles(viewer.original_ms)
    worst = max(viewer.beat.late_ms, default=float("nan"))
    return Minute(per_s, *latency, per_s, *latency, *stall, worst, 0, rss_mb(), 0, 0, 0, 0)


def beside_peers() -> None:
    """Take turns with what many viewers do."""
    rows: dict[str, list[Minute]] = {"ours": [], "queue": [], "in the window's thread": []}
    for _ in range(ROUNDS):
        with watched() as running:
            rows["ours"].append(running.span(TURN_S))
            engines = dict(running.engines)
        rows["queue"].append(peer(engines, "queue"))
        rows["in the window's thread"].append(peer(engines, "window"))
        gc.collect()
    print(load())
    against(rows, "ours")


def main() -> None:
    asked = sys.argv[1] if len(sys.argv) > 1 else "10"
    if asked == "slow":
        beside_a_slow_model()
    elif asked == "peers":
        beside_peers()
    else:
        by_the_minute(int(asked))
    sys.stdout.flush()
    os._exit(0)  # a network may still be at work in a thread that nobody can end


if __name__ == "__main__":
    main()
