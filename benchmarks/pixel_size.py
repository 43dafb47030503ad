"""Pixel size, beside Micro-Manager's pixel calibrator on the same simulated stages.

    OMP_NUM_THREADS=1 python benchmarks/pixel_size.py [SEEDS]

The peer is a re-statement, not Micro-Manager's Java: written anew from what
``org.micromanager.internal.pixelcalibrator.AutomaticCalibrationThread`` (micro-manager at 1121c8c),
``ImageUtils.crossCorrelate``, ``MathFunctions.generateAffineTransformFromPointPairs`` (at 21eb8c1)
and ImageJ's ``FloatProcessor.resize`` do, their rounding included. It drives the same simulated
microscope, straight to each place as Micro-Manager does; in a second row it arrives from one side,
to tell what the play costs from what its correlation costs.

Each trial is another slide, start, rotation of the camera and draw of the stage. Both begin
on tissue in focus. Ours measures stage and reference (10x), then transfers to 20x through
registration; the peer measures each objective by itself. Errors are against the simulator's matrix.
Frames come from the fast renderer; with exact ones a trial of ours gave the same to 0.03 %.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from scope_sr.calibrate.bench import Bench
from scope_sr.calibrate.pixel_size import measure_pixel_size
from scope_sr.calibrate.run import plan_course
from scope_sr.calibrate.stage import measure_stage
from scope_sr.config import Camera, Rig, parse_rig
from scope_sr.errors import MicroscopeError
from scope_sr.frame import Frame, Position
from scope_sr.microscope import GuardedMicroscope
from scope_sr.microscope.simulated import SimulatedMicroscope
from scope_sr.specimen.optics import View
from scope_sr.specimen.scene import Scene

STAGES = ((0.3, 2.0), (0.1, 0.5))  # repeatability, backlash, µm
PERFECT = (0.0, 0.0)
SIZE_PX = 512
FAR_OFF = 0.05  # of the scale, or of the field at its corner: no result, but a failure
SLEEP_S = 0.1  # Micro-Manager's, after each move
SAFE_TRAVEL_UM = 1000.0  # its dialog's default
BOX_PX, ENLARGED = 64, 10
MOST_SCATTER_PX = 5.0

Points = NDArray[np.float64]
Floats = NDArray[np.float32]


class GivenUp(Exception):  # noqa: N818 - it is an outcome, not a mistake
    """The method ends without a result."""


class PixelCalibrator:
    """Micro-Manager's automatic pixel calibrator, re-stated; ``d`` is from the image centre, px."""

    def __init__(self, microscope: GuardedMicroscope, *, one_sided: bool) -> None:
        self._microscope = microscope
        self._one_sided = one_sided
        self._home = microscope.position()
        self._reference = np.zeros((0, 0))
        self._size = np.zeros(2, int)
        self._side = 0

    def run(self) -> Points:
        """Give µm per pixel, ``(2, 2)``."""
        first = self._first()
        reach = self._size // 2 - self._side
        pairs = []
        for sign in ((-1, -1), (-1, 1), (1, 1), (1, -1)):
            corner = reach * sign
            seen = self._look(first[:, :2] @ corner + first[:, 2], corner.astype(float))
            pairs.append((seen, self._here()))
        self._microscope.move_to(self._home)
        return self._fit(pairs, most_px=MOST_SCATTER_PX)[:, :2]

    def _first(self) -> Points:
        """Find a first affine, from the middle and the ends of two searches."""
        base = self._snap_at(np.array([self._home.x_um, self._home.y_um]))
        self._size = np.array(base.shape[::-1])
        self._side = 1 << int(math.log2(self._size.min() / 4))
        left, top = self._size // 2 - self._side // 2
        self._reference = lifted(self._cut(base, left, top))
        pairs = [(np.zeros(2), np.array([self._home.x_um, self._home.y_um]))]
        pairs += [self._search(np.array(way)) for way in ((0.1, 0.0), (0.0, 0.1))]
        return self._fit(pairs)

    def _search(self, way_um: Points) -> tuple[Points, Points]:
        """Double a move as long as the middle of the first picture stays in sight."""
        d = np.zeros(2)
        for _ in range(25):
            if np.any(2 * d + self._side / 2 >= self._size / 2):
                break
            if np.any(2 * d - self._side / 2 < -self._size / 2):
                break
            way_um = 2 * way_um
            d = self._look(np.array([self._home.x_um, self._home.y_um]) + way_um, 2 * d)
        return d, self._here()

    def _look(self, at_um: Points, expected: Points) -> Points:
        """Go somewhere and see by how much the view has moved."""
        image = self._snap_at(at_um)
        left, top = (int(v) for v in (self._size - self._side) // 2 - expected)  # towards zero
        return expected + displacement(self._reference, lifted(self._cut(image, left, top)))

    def _snap_at(self, at_um: Points) -> NDArray:
        here = self._here()
        if math.hypot(*(at_um - here)) > SAFE_TRAVEL_UM / 2:
            msg = "ran into its safety limit"
            raise GivenUp(msg)
        place = replace(self._home, x_um=float(at_um[0]), y_um=float(at_um[1]))
        self._microscope.move_to(place, straight=not self._one_sided)
        image = self._microscope.snap().image
        return np.rint(image.mean(axis=2)) if image.ndim == 3 else image

    def _here(self) -> Points:
        here = self._microscope.position()
        return np.array([here.x_um, here.y_um])

    def _cut(self, image: NDArray, left: int, top: int) -> NDArray:
        """Cut a square; what lies beyond the picture is zero."""
        side = self._side
        padded = np.pad(image, side)
        left = min(max(left + side, 0), int(self._size[0]) + side)
        top = min(max(top + side, 0), int(self._size[1]) + side)
        return padded[top : top + side, left : left + side]

    def _fit(self, pairs: list[tuple[Points, Points]], most_px: float = math.inf) -> Points:
        """Fit an affine with offset ``(2, 3)``, as least squares of the places in µm."""
        d, at_um = (np.array(values) for values in zip(*pairs, strict=True))
        design = np.column_stack([d, np.ones(len(d))])
        affine = np.linalg.lstsq(design, at_um, rcond=None)[0].T
        if abs(np.linalg.det(affine[:, :2])) < 1e-12:
            msg = "places in one line"
            raise GivenUp(msg)
        back = np.linalg.solve(affine[:, :2], (at_um - affine[:, 2]).T).T
        if math.sqrt(((back - d) ** 2).sum(axis=1).mean()) > most_px:
            msg = "its four corners scatter by more than 5 px"
            raise GivenUp(msg)
        return np.asarray(affine)


def lifted(image: NDArray) -> NDArray:
    return np.asarray(image - image.min())


def displacement(reference: NDArray, found: NDArray) -> Points:
    """Correlate, plain and periodic; read the highest pixel of the enlarged middle."""
    product = fft.rfft2(reference) * np.conj(fft.rfft2(found))
    surface = fft.fftshift(fft.irfft2(product, s=reference.shape))
    middle = np.array(surface.shape) // 2 - min(BOX_PX, len(surface)) // 2
    box = surface[middle[0] :, middle[1] :][:BOX_PX, :BOX_PX]
    weights = _bicubic(len(box))
    enlarged = weights @ box @ weights.T
    row, column = np.unravel_index(int(np.argmax(enlarged)), enlarged.shape)
    half = len(enlarged) // 2
    return np.array([column - half, row - half]) / ENLARGED


def _bicubic(size: int) -> Points:
    """Weights of ImageJ's enlargement: a quarter of a pixel off centre, linear at the edges."""
    at = (np.arange(size * ENLARGED) - size * ENLARGED / 2 - ENLARGED / 4) / ENLARGED + size / 2
    edge = ((np.floor(at) <= 0) | (np.floor(at) >= size - 2))[:, None]
    x = np.abs(at[:, None] - np.arange(size))
    near = (1.5 * x - 2.5) * x**2 + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    cubic = np.where(x < 1, near, np.where(x < 2, far, 0.0))
    x = np.abs(at.clip(0, size - 1)[:, None] - np.arange(size))
    return np.asarray(np.where(edge, (1 - x).clip(min=0), cubic))


class FastScene(Scene):
    """The scene at the pace of a camera."""

    exposed = 0

    def expose(
        self,
        objective: str,
        view: View,
        exposure_ms: float,
        rng: np.random.Generator,
        camera: Camera | None = None,
        gain: float = 1.0,
    ) -> NDArray[np.uint8] | NDArray[np.uint16]:
        self.exposed += 1
        return self.expose_fast(objective, view, exposure_ms, self.exposed, camera, gain)


class Counted(SimulatedMicroscope):
    """The simulated microscope, which counts its snaps."""

    def __init__(self, rig: Rig) -> None:
        super().__init__(rig)
        self._scene = FastScene(rig)
        self.snaps = 0

    def snap(self) -> Frame:
        self.snaps += 1
        return super().snap()

    def simulated_s(self) -> float:
        return self._clock.now_s()

    def truth(self, objective: str) -> Points:
        return np.asarray(self._scene.view(objective, Position(0.0, 0.0, 0.0)).matrix)


@dataclass
class Outcome:
    """What one trial of one method gave, per objective: an affine, or why there is none."""

    found: dict[str, Points | str]
    snaps: int
    seconds: float


def drawn_rig(seed: int, repeatability_um: float, backlash_um: float) -> Rig:
    rng = np.random.default_rng((7, seed))
    text = (files("scope_sr") / "simulated.toml").read_text(encoding="utf-8")
    changes = {
        "width_px = 1024": f"width_px = {SIZE_PX}",
        "height_px = 1024": f"height_px = {SIZE_PX}",
        'clock = "real"': 'clock = "virtual"',
        "seed = 0": f"seed = {seed}",
        "rotation_deg = 0.6": f"rotation_deg = {rng.uniform(-2, 2):.4f}",
        "\nrepeatability_um = 0.3": f"\nrepeatability_um = {repeatability_um}",
        "\nbacklash_um = [2.0, 1.6]": f"\nbacklash_um = [{backlash_um}, {backlash_um}]",
    }
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new, 1)
    return parse_rig(text, source="pixel_size.toml", folder=Path.cwd())


def ours(bench: Bench, backend: Counted) -> Outcome:
    snaps, began_s = backend.snaps, backend.simulated_s()
    found: dict[str, Points | str] = {}
    try:
        measure_stage(bench)
        measure_pixel_size(bench)
    except MicroscopeError as error:
        found = dict.fromkeys(bench.objectives, str(error))
    for name in bench.objectives:
        found.setdefault(name, bench.lens(name).affine)
    return Outcome(found, backend.snaps - snaps, backend.simulated_s() - began_s)


def theirs(bench: Bench, backend: Counted, *, one_sided: bool = False) -> Outcome:
    """Let the peer measure each objective by itself; the operator brings it into focus."""
    outcome = Outcome({}, 0, 0.0)
    at_um = bench.find_tissue()
    for name in bench.objectives:
        bench.turn_to(name)
        bench.focus(name, at_um)
        bench.microscope.move_to(bench.place(name, at_um))
        snaps, began_s = backend.snaps, backend.simulated_s()
        try:
            found = PixelCalibrator(bench.microscope, one_sided=one_sided).run()
            outcome.found[name] = found
        except (GivenUp, MicroscopeError) as error:
            outcome.found[name] = str(error)
        taken = backend.snaps - snaps
        outcome.snaps += taken
        outcome.seconds += backend.simulated_s() - began_s + taken * SLEEP_S
    return outcome


METHODS: dict[str, Callable[[Bench, Counted], Outcome]] = {
    "Micro-Manager's": theirs,
    "the same, from one side": partial(theirs, one_sided=True),
    "ours": ours,
}


def trial(
    seed: int, stage: tuple[float, float], method: Callable[[Bench, Counted], Outcome]
) -> tuple[Outcome, dict[str, Points]]:
    """Put a new microscope on tissue and let a method measure; gives the truth as well."""
    rig = drawn_rig(seed, *stage)
    backend = Counted(rig)
    with tempfile.TemporaryDirectory() as name, GuardedMicroscope(backend, rig) as microscope:
        folder = Path(name)
        course = plan_course(rig, folder)
        x_um, y_um = np.random.default_rng((8, seed)).uniform(-400, 400, 2).tolist()
        home = Position(x_um, y_um, 0.0)
        bench = Bench(
            microscope, rig, course.record, course.objectives, folder, lambda _: None, None, home
        )
        bench.find_tissue()
        outcome = method(bench, backend)
        return outcome, {name: backend.truth(name) for name in course.objectives}


def compare(found: Points, true: Points) -> tuple[float, float, float]:
    """Give scale error in %, corner error in px, rotation error in mrad."""
    scale = math.sqrt(abs(float(np.linalg.det(found)) / float(np.linalg.det(true))))
    turn = found @ np.linalg.inv(true)
    rotation = math.atan2(turn[1, 0] - turn[0, 1], turn[0, 0] + turn[1, 1])
    corners = SIZE_PX / 2 * np.array([[1, 1, -1, -1], [1, -1, 1, -1]])
    off_px = np.linalg.inv(true) @ (found - true) @ corners
    return 100 * (scale - 1), float(np.hypot(*off_px).max()), 1000 * rotation


def summary(trials: list[tuple[Outcome, dict[str, Points]]], name: str) -> tuple[Points, list[str]]:
    """Give RMS scale, worst scale, RMS corner, RMS rotation of what came out, and what did not."""
    errors, failures = [], []
    for seed, (outcome, true) in enumerate(trials):
        found = outcome.found[name]
        if isinstance(found, str):
            failures.append(f"seed {seed}: {found[:60]}")
            continue
        error = compare(found, true[name])
        if abs(error[0]) > 100 * FAR_OFF or error[1] > FAR_OFF * SIZE_PX:
            failures.append(f"seed {seed}: {error[0]:+.1f} %, {error[1]:.0f} px")
        else:
            errors.append(error)
    if not errors:
        return np.full(4, np.nan), failures
    table = np.array(errors)
    rms = np.sqrt((table**2).mean(axis=0))
    return np.array([rms[0], np.abs(table[:, 0]).max(), rms[1], rms[2]]), failures


def main() -> None:
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    peer = [trial(seed, PERFECT, theirs) for seed in range(seeds)]
    for name in ("10x", "20x"):
        figures, failures = summary(peer, name)
        line = "  ".join(f"{value:10.3f}" for value in figures)
        print(f"{name} peer, perfect stage       {line}   {len(failures)}  {'; '.join(failures)}")
    for stage in STAGES:
        runs = {}
        for label, method in METHODS.items():
            began = time.perf_counter()
            runs[label] = [trial(seed, stage, method) for seed in range(seeds)]
            each_s = (time.perf_counter() - began) / seeds
            print(f"# {label}: {each_s:.0f} s of computing a trial", file=sys.stderr)
        print(f"\nstage {stage[0]} µm repeatability, {stage[1]} µm play; {seeds} trials")
        print("                                scale %, rms  worst   corner px  rot. mrad   failed")
        for name in ("10x", "20x"):
            rows = [summary(run, name) for run in runs.values()]
            for label, (figures, failures) in zip(METHODS, rows, strict=True):
                line = "  ".join(f"{value:10.3f}" for value in figures)
                print(f"{name} {label:24} {line}   {len(failures)}  {'; '.join(failures)}")
            ratios = rows[-1][0] / rows[0][0]
            print(f"{name} {'ours to the first':24} " + "  ".join(f"{v:10.2f}" for v in ratios))
        for label in METHODS:
            snaps = np.mean([outcome.snaps for outcome, _ in runs[label]])
            seconds = np.mean([outcome.seconds for outcome, _ in runs[label]])
            print(f"both objectives, {label}: {snaps:.0f} snaps, {seconds:.0f} s of simulated time")


if __name__ == "__main__":
    main()
