"""Time one simulated field on one core, beside the plainest renderer that gives a picture at all.

The peer, ``naive``, is what simulators commonly do: `cv2.warpAffine` of the slide to the camera's
pixels and `numpy.random.poisson`; no pupil, no pixel box, no lens distortion, coordinates in steps
of 1/32 px. Run as ``python benchmarks/render.py``; nothing is downloaded or written.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from scope_sr.config import load_rig
from scope_sr.specimen.fast import FastRenderer
from scope_sr.specimen.optics import View, transmit
from scope_sr.specimen.sensor import Sensor

if TYPE_CHECKING:
    from scope_sr.specimen.slide import Slide

RUNS = 7


class Blobs:
    """Tissue-like blobs on glass, repeated without end, held in memory."""

    um_per_px = 0.25
    size_px = None

    def __init__(self) -> None:
        noise = np.random.default_rng(0).standard_normal((1024, 1024, 3))
        f = np.fft.fftfreq(1024)
        keep = np.exp(-((np.hypot(f, f[:, None]) / 0.05) ** 2))[..., None]
        smooth = np.fft.ifft2(np.fft.fft2(noise, axes=(0, 1)) * keep, axes=(0, 1)).real
        tile = np.rint(15 + 235 / (1 + np.exp(3 * smooth / smooth.std()))).astype(np.uint8)
        self._slide = np.tile(tile, (7, 7, 1))

    def region(self, column: int, row: int, width: int, height: int) -> NDArray[np.uint8]:
        """Cut from the middle, far enough for every view of this benchmark."""
        middle = self._slide.shape[0] // 2
        top, left = row + middle, column + middle
        return self._slide[top : top + height, left : left + width]

    def labels(self, column: int, row: int, width: int, height: int) -> NDArray[np.int32]:
        """There are no nuclei here."""
        return np.zeros((height, width), np.int32)


def milliseconds(render: Callable[[int], object]) -> tuple[float, float]:
    """Time the first call, and the median of the following ones."""
    times = []
    for number in range(RUNS + 1):
        start = time.perf_counter()
        render(number)
        times.append((time.perf_counter() - start) * 1000)
    return times[0], median(times[1:])


def naive(slide: Slide, view: View, sensor: Sensor, exposure_ms: float) -> NDArray[np.uint8]:
    """Render the plain way: one affine warp, one Poisson draw."""
    width, height = view.size_px
    reach = np.abs(view.matrix) @ [width / 2, height / 2] / slide.um_per_px + 4
    samples = slide.region(*(round(-r) for r in reach), *(round(2 * r) for r in reach))
    linear = np.diag([1, -1]) @ view.matrix / slide.um_per_px
    shift = np.round(reach) - linear @ [(width - 1) / 2, (height - 1) / 2]
    affine = np.column_stack([linear, shift])
    light = cv2.warpAffine(
        samples, affine, view.size_px, flags=cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR
    )
    electrons = np.random.default_rng(0).poisson(light / 255 * sensor.rate_e_per_ms * exposure_ms)
    return np.clip(electrons / sensor.gain_e_per_dn, 0, 255).astype(np.uint8)


def main() -> None:
    """Print one row per objective and renderer."""
    cv2.setNumThreads(1)
    rig, slide = load_rig("simulated"), cast("Slide", Blobs())
    print(
        f"{rig.camera.width_px} x {rig.camera.height_px} RGB, milliseconds, one core; "
        f"{platform.machine()}, Python {platform.python_version()}, OpenCV {cv2.__version__}"
    )
    print(f"{'':5}{'renderer':10}{'first':>9}{'frame':>9}{'/ naive':>9}")
    for name, lens in rig.objectives.items():
        truth = rig.simulation.objectives[name]
        sensor = Sensor(rig.camera, rig.simulation.camera, truth, seed=0)
        view = view_of(rig.pixel_size_um(name), lens.numerical_aperture, rig.camera.width_px)
        report(name, slide, view, sensor, lens.exposure_ms)


def view_of(pixel_size_um: float, numerical_aperture: float, side_px: int) -> View:
    """Look through a lens with a little of every fault, slightly turned."""
    angle = np.deg2rad(0.6)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return View(
        centre_um=(3.1, -7.3),
        matrix=pixel_size_um * turn @ np.diag([1.0, -1.0]),
        size_px=(side_px, side_px),
        numerical_aperture=numerical_aperture,
        defocus_um=0.0,
        distortion=0.0015,
        lateral_chromatic=(2e-4, -3e-4),
    )


def report(name: str, slide: Slide, view: View, sensor: Sensor, exposure_ms: float) -> None:
    """Time the renderers on one view; the stage moves a little at each frame."""
    renderer, rng = FastRenderer(slide), np.random.default_rng(0)

    def moved(number: int) -> View:
        x_um, y_um = view.centre_um
        return replace(view, centre_um=(x_um + 0.3 * number, y_um))

    rows = {
        "naive": lambda n: naive(slide, moved(n), sensor, exposure_ms),
        "exact": lambda n: sensor.expose(transmit(slide, moved(n)), exposure_ms, rng),
        "fast": lambda n: sensor.expose_fast(renderer.transmit(moved(n)), exposure_ms, n),
    }
    times = {row: milliseconds(render) for row, render in rows.items()}
    error = transmit(slide, view) - renderer.transmit(view) / 255.0
    decibel = -10 * np.log10((error**2).mean())
    for row, (first_ms, frame_ms) in times.items():
        agreement = f"   fast against exact: {decibel:.1f} dB" if row == "fast" else ""
        ratio = frame_ms / times["naive"][1]
        print(f"{name:5}{row:10}{first_ms:9.0f}{frame_ms:9.1f}{ratio:9.2f}{agreement}")


if __name__ == "__main__":
    main()
