"""The live view without a window: the same threads, and how fast and how late they are."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from scope_sr.errors import MicroscopeError
from scope_sr.live.figures import Meter
from scope_sr.live.pipeline import Pipeline
from scope_sr.software import NOTICE, this_version

FIRST_FRAME_S = 30.0
LOADING_S = 60.0
WAIT_S = 0.05

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Figures:
    """What a run without a window has measured.

    Attributes
    ----------
    source, camera_px
        Rig or folder; columns and rows of the last frame.
    seconds
        How long was measured, after the first frame and the loading of the models.
    started_s, loaded_s
        From the start to the first frame; to the models.
    fps_original, fps_enhanced
        Frames, and patches of the enhanced picture, per second.
    latency_ms
        Median and 95th percentile for ``original`` and ``enhanced``: from when this program had
        the frame in its hands until it, or what was made of it, could be painted.
    skipped
        Frames of the camera that nobody took, because a newer one was there.
    skipped_by_model
        Frames the model thread did not look at.
    model, nuclei, backend, window_px
        Networks, what they were computed with, and the side of a patch in pixels of the camera.
    errors
        All that went wrong, in words.
    """

    source: str
    camera_px: tuple[int, int]
    seconds: float
    started_s: float
    loaded_s: float
    fps_original: float
    fps_enhanced: float
    latency_ms: dict[str, dict[str, float]]
    skipped: int
    skipped_by_model: int
    model: str
    nuclei: str
    backend: str
    window_px: int
    errors: tuple[str, ...]
    software: str = field(default_factory=this_version)
    notice: str = NOTICE

    def table(self) -> dict[str, object]:
        """Give it as JSON takes it."""
        return asdict(self)


def measured(pipeline: Pipeline, seconds: float, tell: Tell = lambda line: None) -> Figures:
    """Run a pipeline for so long, and close it.

    Ctrl-C ends it early; what was measured until then comes with the exception's end.

    Raises
    ------
    MicroscopeError
        No frame came.
    """
    woken = threading.Event()
    pipeline.notify = woken.set
    began_s = time.monotonic()
    pipeline.start()
    try:
        run = _Run(pipeline, woken)
        started_s = run.until(lambda: run.camera_px != (0, 0), began_s, FIRST_FRAME_S)
        if run.camera_px == (0, 0):
            raise MicroscopeError(_silence(pipeline))
        tell(f"first frame after {started_s:.1f} s; loading the models")
        loaded_s = run.until(lambda: run.loaded, began_s, LOADING_S)
        tell(f"measuring for {seconds:g} s")
        run.begin()
        run.until(lambda: False, time.monotonic(), seconds)
        return run.figures(started_s, loaded_s)
    finally:
        pipeline.close()


class _Run:
    """Takes out what the pipeline makes, as a window would, and counts it."""

    def __init__(self, pipeline: Pipeline, woken: threading.Event) -> None:
        self.camera_px = (0, 0)
        self._pipeline = pipeline
        self._woken = woken
        self.begin()

    def begin(self) -> None:
        """Count from now on."""
        self._began_s = time.monotonic()
        self._original, self._enhanced = Meter(float("inf")), Meter(float("inf"))
        self._skipped, self._by_model = self._skips()

    @property
    def loaded(self) -> bool:
        """Whether the models are there, or never will be."""
        model, wishes = self._pipeline.model, self._pipeline.model.wishes
        if not wishes.enhance or not (wishes.model or wishes.nuclei):
            return True
        return self._enhanced.total > 0 or bool(self._pipeline.board.errors) or model.idle

    def until(self, enough: Callable[[], bool], began_s: float, longest_s: float) -> float:
        """Take pictures until it is enough; give the seconds since the beginning."""
        while not enough() and time.monotonic() - began_s < longest_s:
            self._woken.wait(WAIT_S)
            self._woken.clear()
            self._take()
        return time.monotonic() - began_s

    def figures(self, started_s: float, loaded_s: float) -> Figures:
        """Sum up."""
        pipeline, state = self._pipeline, self._pipeline.model.state()
        seconds = time.monotonic() - self._began_s
        skipped, by_model = self._skips()
        return Figures(
            source=pipeline.stand.name,
            camera_px=self.camera_px,
            seconds=round(seconds, 2),
            started_s=round(started_s, 2),
            loaded_s=round(loaded_s, 2),
            fps_original=round(self._original.total / seconds, 2),
            fps_enhanced=round(self._enhanced.total / seconds, 2),
            latency_ms={
                "original": self._original.latency_ms(),
                "enhanced": self._enhanced.latency_ms(),
            },
            skipped=skipped - self._skipped,
            skipped_by_model=by_model - self._by_model,
            model=state.model,
            nuclei=state.nuclei,
            backend=state.backend,
            window_px=state.window_px,
            errors=tuple(f"{note.topic}: {note.words}" for note in pipeline.board.errors),
        )

    def _take(self) -> None:
        now_s = time.monotonic()
        shown = self._pipeline.shown.take()
        if shown is not None:
            self.camera_px = (shown.seen.shape[1], shown.seen.shape[0])
            self._original.add(now_s - shown.seen.arrived_s)
            self._pipeline.pool.put(shown.pixels)
        for patch in self._pipeline.tray.take():
            if not patch.late:
                self._enhanced.add(now_s - patch.seen.arrived_s)

    def _skips(self) -> tuple[int, int]:
        pipeline = self._pipeline
        return pipeline.camera.skipped + pipeline.shown.replaced, pipeline.model.skipped


def _silence(pipeline: Pipeline) -> str:
    notes = "; ".join(note.words for note in pipeline.board.notes() if note.bad)
    why = notes or "no reason told"
    return f"{pipeline.stand.name}: no frame within {FIRST_FRAME_S:g} s; {why}"
