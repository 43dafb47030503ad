"""Benches to calibrate on: simulated ones that go quickly, and ones where something is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path

import cv2
import numpy as np
import pytest
from hidden_rigs import Found, against_truth, hidden_rig
from PIL import Image
from test_guarded import Recorder

from scope_sr.calibrate import calibrate, check_record, describe, pictures, plan_course, run
from scope_sr.calibrate.bench import Bench
from scope_sr.calibration import SECTIONS, CalibrationRecord, Check, Section, Verdict
from scope_sr.config import Rig, parse_rig
from scope_sr.errors import ScopeSRError
from scope_sr.frame import Frame, Position
from scope_sr.microscope import GuardedMicroscope, open_microscope
from scope_sr.specimen import optics


@contextmanager
def quick_light() -> Iterator[None]:
    """Render with a quarter of the halo and splines of order 3: 1e-4 of the light off (RMS)."""
    halo_um = optics.halo_um
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optics, "halo_um", lambda view: halo_um(view) / 4)
        patch.setattr(optics, "SPLINE_ORDER", 3)
        yield


@contextmanager
def no_pictures() -> Iterator[None]:
    """Leave out the drawing: a fifth of the time."""
    with pytest.MonkeyPatch.context() as patch:
        for name in pictures.__all__:
            patch.setattr(pictures, name, lambda *_args: None)
        yield


Tell = Callable[[str], None]


class Faulty(Recorder):
    """The simulated microscope, on which something can be made wrong.

    Attributes
    ----------
    snaps
        How many frames it took.
    light
        Factor of the light, of the number of snaps so far and the exposure in ms.
    picture
        What becomes of grey levels as shares of full scale.
    slip_um
        How far the specimen lies from where the stage has it, in x, of the number of snaps so far
        and the place that was commanded.
    ringing_s
        For how long it still moves after a move is done,
    ringing_um
        and by how much at first.
    """

    def __init__(self, rig: Rig) -> None:
        super().__init__(rig)
        self.snaps = 0
        self.light: Callable[[int, float], float] = lambda _snaps, _ms: 1.0
        self.picture: Callable[[np.ndarray], np.ndarray] | None = None
        self.slip_um: Callable[[int, Position], float] = lambda _snaps, _place: 0.0
        self.ringing_s, self.ringing_um = 0.0, 8.0
        self._arrived_s, self._way_um = -math.inf, 0.0

    def move_to(self, position: Position) -> None:
        self._way_um = position.x_um - self._commanded.x_um
        super().move_to(position)
        if self._way_um:
            self._arrived_s = self._clock.now_s()

    def snap(self) -> Frame:
        self.snaps += 1
        asked_ms = self._exposure_ms
        self._exposure_ms = asked_ms * self.light(self.snaps, asked_ms)
        try:
            frame = super().snap()
        finally:
            self._exposure_ms = asked_ms
        image = frame.image
        if self.picture is not None:
            scale = self._rig.camera.full_scale
            image = np.rint(scale * self.picture(image / scale)).astype(image.dtype)
        return Frame(image, frame.position, frame.objective, asked_ms, frame.time, frame.number)

    def _true_stage(self) -> Position:
        true = super()._true_stage()
        since_s = self._clock.now_s() - self._arrived_s
        x_um = true.x_um + self.slip_um(self.snaps, self._commanded)
        if since_s < self.ringing_s:
            lag_um = min(abs(self._way_um), self.ringing_um) * (1 - since_s / self.ringing_s)
            x_um -= math.copysign(lag_um, self._way_um)
        return Position(x_um, true.y_um, true.z_um)


def faulty(size_px: int = 192, **changes: str) -> Faulty:
    """Give seed 0 of the hidden rigs, with changes, and nothing wrong yet."""
    return Faulty(hidden_rig(0, size_px, **changes))


def measure(
    backend: Faulty,
    folder: Path,
    *sections: Section,
    before: CalibrationRecord | None = None,
    objectives: tuple[str, ...] = ("10x", "20x"),
    tell: Tell = lambda _: None,
) -> CalibrationRecord:
    rig = backend._rig
    with GuardedMicroscope(backend, rig) as microscope:
        course = plan_course(rig, folder, sections=sections, before=before, objectives=objectives)
        return calibrate(microscope, rig, course, tell=tell)


def measure_low(
    backend: Faulty, folder: Path, *sections: Section, tell: Tell = lambda _: None
) -> CalibrationRecord:
    return measure(backend, folder, *sections, objectives=("10x",), tell=tell)


def check(backend: Faulty, record: CalibrationRecord) -> dict[str, Check]:
    """Carry out the one-minute check; gives the checks that failed, by name."""
    rig = backend._rig
    with GuardedMicroscope(backend, rig) as microscope:
        checks = check_record(microscope, rig, record, lambda _: None)
    return {found.name: found for found in checks if found.verdict == "fail"}


def failed(record: CalibrationRecord) -> dict[str, Check]:
    return {found.name: found for found in record.checks if found.verdict == "fail"}


def on_slide(rig: Rig, folder: Path, slide: np.ndarray, um_per_px: float = 0.25) -> Rig:
    """Put a slide of one's own under a rig."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(slide).save(folder / "slide.png", compress_level=1)
    image = f'image = "slide.png"\num_per_px = {um_per_px}'
    text = rig.text.replace('tissue = "tnbc"', image)
    assert text != rig.text
    return parse_rig(text, source="slide.toml", folder=folder)


def mottled(side_px: int, contrast: float, grain_px: float = 30.0, seed: int = 5) -> np.ndarray:
    """Give glass with faint mottling all over, RMS `contrast`; (side, side, 3) uint8."""
    small = max(8, round(side_px / grain_px * 2))
    noise = np.random.default_rng(seed).standard_normal((small, small)).astype(np.float32)
    plane = cv2.resize(noise, (side_px, side_px), interpolation=cv2.INTER_CUBIC)
    plane = 1 - contrast * (plane - plane.min()) / plane.std()
    grey = np.clip(255 * plane, 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def specks(side_px: int, count: int, seed: int = 6) -> np.ndarray:
    """Give bare glass with a few specks of 10 µm on it."""
    slide = np.full((side_px, side_px, 3), 255, np.uint8)
    for x, y in np.random.default_rng(seed).integers(100, side_px - 100, (count, 2)).tolist():
        cv2.circle(slide, (x, y), 20, (150, 70, 150), -1)
    return slide


def fields_of(folder: Path) -> dict[str, bytes]:
    """Give the files of flats and darks."""
    return {path.name: path.read_bytes() for path in folder.glob("*.tif")}


def measure_seed(seed: int, folder: Path) -> tuple[list[Found], list[str]]:
    """Calibrate a hidden rig in full: what was found, and what went wrong besides."""
    rig = hidden_rig(seed)
    out = folder / str(seed)
    try:
        with quick_light(), no_pictures(), open_microscope(rig) as microscope:
            record = calibrate(microscope, rig, plan_course(rig, out))
    except ScopeSRError as error:
        return [], [f"seed {seed}: {error}"]
    troubles = [f"seed {seed}: {describe(found)}" for found in failed(record).values()]
    return against_truth(rig, record), troubles


class Sections:
    """Stands for the sections: each moves, snaps, tells twice, and notes the mean it saw."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.measured: list[str] = []
        self.fault: BaseException | None = None
        self.verdict: Verdict = "ok"
        for number, section in enumerate(SECTIONS):
            monkeypatch.setitem(run.MEASURE, section, self._measure(section, number))

    def _measure(self, section: Section, number: int) -> object:
        def measure_it(bench: Bench) -> None:
            bench.tell(f"{section} begins")
            bench.turn_to("20x")
            bench.microscope.move_to(Position(40.0 * number, 25.0, 0.0))
            if self.fault is not None and section == "offsets":
                raise self.fault
            mean = float(bench.microscope.snap().image.mean())
            verdict = self.verdict if section == "offsets" else "ok"
            bench.note(f"{section} mean", mean, "DN", "none", verdict, advice="look at it")
            self.measured.append(section)

        return measure_it


def place_of(position: Position) -> tuple[float, float, float]:
    x_um, y_um, z_um = astuple(position)
    return x_um, y_um, z_um
