"""What is read off and shown a few times a second, apart from the pictures themselves."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from PySide6 import QtCore

from scope_sr.calibration.record import CalibrationRecord
from scope_sr.disk import in_words
from scope_sr.live.levels import histogram
from scope_sr.live.model.thread import ModelState
from scope_sr.live.seen import Seen
from scope_sr.live.window.panels.nuclei import Census

if TYPE_CHECKING:
    from scope_sr.live.window.window import LiveWindow

STATUS_MS, LEVELS_MS, VISIT_MS = 330, 200, 500
STILL_S = 0.4  # a field that was looked at that long belongs on the map
SKIPPED_OVER_S = 5.0


class Readouts(QtCore.QObject):
    """Fills status line, histogram, counts and map; the pictures never wait for it."""

    def __init__(self, window: LiveWindow) -> None:
        super().__init__(window)
        self._window = window
        self._pipeline = window.pipeline
        self._counted: Seen | None = None
        self._visited = -1
        self._mapped: CalibrationRecord | None = None
        self._frames: deque[tuple[float, int, int]] = deque()
        self._timers = []
        for every_ms, read in (
            (STATUS_MS, self.read_status),
            (LEVELS_MS, self.read_picture),
            (VISIT_MS, self.visit),
        ):
            timer = QtCore.QTimer(self, interval=every_ms)
            timer.timeout.connect(read)
            timer.start()
            self._timers.append(timer)

    def stop(self) -> None:
        """Read nothing any more."""
        for timer in self._timers:
            timer.stop()

    def read_status(self) -> None:
        """Write the status line, and what changes as slowly."""
        pipeline, state = self._pipeline, self._pipeline.model.state()
        latency = pipeline.original.latency_ms()
        self._window.status.tell(
            original=f"{pipeline.original.fps():4.1f} fps",
            enhanced=f"enhanced {pipeline.enhanced.fps():4.1f} fps",
            latency=f"latency {latency['p50']:.0f} ms (p95 {latency['p95']:.0f})",
            model=f"model {1e3 * (state.sr_s + state.nuclei_s):.0f} ms" if state.model else "",
            skipped=f"skipped {100 * self._skipped():.0f} %",
            backend=state.backend or "no model",
        )
        self._read_recording()
        self._read_model(state)
        self._read_instrument()

    def read_picture(self) -> None:
        """Write the histogram, the counts, and what the frame says of the instrument."""
        self._pipeline.wish(area_px=self._window.canvas.area_px)
        seen = self._window.seen
        if seen is None:
            return
        if seen is not self._counted:
            self._counted = seen
            self._window.camera_panel.show_levels(histogram(seen.rgb))
            self._window.camera_panel.follow(seen.frame.exposure_ms, self._pipeline.stand.gain)
            self._window.minimap.follow(seen)
            self._window.stage_panel.show_place(seen.frame.position, seen.frame.objective)
        why_none = "" if self._window.nuclei_shown else "Not looked for; N shows them."
        self._window.nuclei_panel.show_census(self._census() if not why_none else None, why_none)

    def visit(self) -> None:
        """Put the field on the map when it has been still for a while."""
        seen = self._window.seen
        if seen is None or seen.view == self._visited:
            return
        if seen.arrived_s - seen.since_s > STILL_S:
            self._visited = seen.view
            self._window.minimap.visit(seen)

    def _census(self) -> Census | None:
        layer = self._window.canvas.enhanced.layer
        seen = self._window.seen
        if layer is None or seen is None or layer.seen.view != seen.view or not layer.counted_px:
            return None
        areas, um_per_px = layer.areas_um2, layer.seen.um_per_px
        rows, columns = layer.seen.shape
        known = um_per_px is not None
        return Census(
            count=len(areas),
            area_um2=layer.counted_px * um_per_px**2 if um_per_px is not None else None,
            mean_um2=float(areas.mean()) if known and len(areas) else None,
            covered=layer.counted_px / (rows * columns),
        )

    def _skipped(self) -> float:
        """Give the share of the camera's frames that were not shown, lately."""
        pipeline, now_s = self._pipeline, time.monotonic()
        skipped = pipeline.camera.skipped + pipeline.shown.replaced
        self._frames.append((now_s, skipped, pipeline.original.total))
        while now_s - self._frames[0][0] > SKIPPED_OVER_S:
            self._frames.popleft()
        _, skipped_before, shown_before = self._frames[0]
        lately = skipped - skipped_before
        return lately / max(lately + pipeline.original.total - shown_before, 1)

    def _read_recording(self) -> None:
        recording = self._pipeline.writer.recording
        self._window.check("record", recording is not None)
        if recording is None:
            self._window.status.tell_recording("")
            return
        minutes, rest = divmod(int(recording.seconds), 60)
        lasting = f"{minutes // 60:02}:{minutes % 60:02}:{rest:02}"
        self._window.status.tell_recording(f"● {lasting}  {in_words(recording.free_bytes)} free")

    def _read_model(self, state: ModelState) -> None:
        panel = self._window.enhancement_panel
        panel.show_card(state.cards.get("model"), loading=state.loading, reason=state.reason)
        panel.show_warnings(state.warnings)
        wanted = self._pipeline.model.wishes.model
        self._window.canvas.nothing = f"Enhanced: {'nothing here yet' if wanted else 'no model'}"
        if not state.backend:
            panel.show_runtime("")
            return
        part = "the whole field at once" if state.whole else f"{state.window_px} px at a time"
        panel.show_runtime(f"{state.backend}; {part}")

    def _read_instrument(self) -> None:
        stand = self._pipeline.stand
        abilities = stand.abilities()
        self._window.camera_panel.set_abilities(abilities)
        if self._window.stage_panel.set_abilities(abilities, self._labels()):
            self._window.order_tabs()
        self._window.stage_panel.show_busy(self._pipeline.hands.busy)
        self._window.minimap.set_limits(abilities.stage_limits_um)
        if stand.record is not None and stand.record is not self._mapped:
            self._mapped = stand.record
            self._window.minimap.set_axes(next(iter(stand.record.objectives.values())).affine)
            self._window.minimap.centre_um = self._centre_um

    def _centre_um(self, seen: Seen) -> tuple[float, float]:
        """Say which place of the specimen is in the middle: objectives differ in it."""
        record, objective, stage = self._mapped, seen.frame.objective, seen.frame.position
        if record is None or objective not in record.objectives:
            return stage.x_um, stage.y_um
        return record.specimen_um(objective, stage)

    def _labels(self) -> dict[str, tuple[str, str]]:
        """Name the objectives for people: ``10×``, and what they are in full."""
        stand = self._pipeline.stand
        if stand.rig is None:
            return {}
        lenses = stand.rig.objectives
        marks = [f"{lens.magnification:g}×" for lens in lenses.values()]
        plain = len(set(marks)) == len(marks)
        labels = {}
        for (name, lens), mark in zip(lenses.items(), marks, strict=True):
            um_per_px = stand.um_per_px(name)
            size = f", {um_per_px:.3g} µm per pixel" if um_per_px else ""
            full = f"{name}: {mark}/{lens.numerical_aperture:.2f}{size}"
            labels[name] = (mark if plain else name, full)
        return labels
