"""How little of a motion the live view notices, and how often it takes noise for one.

    python benchmarks/stillness.py [frames]

The camera of the built-in rig at 1024 x 1024 with its noise, on blank glass, on the palest and on
the densest tissue, in focus; nothing reports a motion, so that the picture alone must tell. False
alarms are counted over so many frames (1000) of each place, with the lamp flickering by 2 %. Then
the specimen is moved, or the focus, by less and less, each time after 20 frames at rest: the table
gives the least that was noticed, all greater ones having been. Nothing is downloaded or written.
"""

from __future__ import annotations

import itertools
import math
import sys
import time
from dataclasses import replace
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from scope_sr.config import load_rig
from scope_sr.frame import Frame, Position
from scope_sr.imaging.flat_field import structure
from scope_sr.live.source.stillness import Stillness
from scope_sr.specimen.optics import View
from scope_sr.specimen.scene import Scene

FLICKER = 0.02
AT_REST = 20
SHIFTS_PX = (4.0, 2.0, 1.0, 0.5, 0.25, 0.12)
DEPTHS = (4.0, 2.0, 1.5, 1.0, 0.75, 0.5, 0.25)
WAVE_UM = 0.55
REACH_UM, STEP_UM = 6000, 2000
TISSUE = 0.02  # structure; see scope_sr.imaging.flat_field


def main() -> None:
    frames = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    cv2.setNumThreads(1)
    rig = load_rig("simulated")
    bench = Bench(Scene(rig), rig.simulation.seed)
    print("| objective | place | structure | false alarms | shift, px | focus, λ/NA² |")
    print("|---|---|---|---|---|---|")
    places = bench.places(rig.low, rig.objectives[rig.low].exposure_ms)
    for (objective, lens), (place, stage) in itertools.product(
        rig.objectives.items(), places.items()
    ):
        bench.objective, bench.exposure_ms = objective, lens.exposure_ms
        depth_um = WAVE_UM / lens.numerical_aperture**2
        view = replace(bench.scene.view(objective, stage), defocus_um=0.0)
        alarms = bench.alarms(view, frames)
        shift = bench.least(view, [(px, moved(view, px)) for px in SHIFTS_PX])
        focus = bench.least(view, [(d, replace(view, defocus_um=d * depth_um)) for d in DEPTHS])
        told = f"{structure(bench.image(view)):.4f} | {alarms} of {frames} | {shift} | {focus}"
        print(f"| {objective} | {place} | {told} |", flush=True)
    print(f"\none look: {median(bench.took_ms):.2f} ms (median of {len(bench.took_ms)})")


class Bench:
    """Frames of the simulated camera, and what is made of them."""

    def __init__(self, scene: Scene, seed: int) -> None:
        self.scene = scene
        self.objective = ""
        self.exposure_ms = 0.0
        self.took_ms: list[float] = []
        self._number = 0
        self._rng = np.random.default_rng(seed)

    def image(self, view: View, lamp: float = 1.0) -> NDArray[np.uint8]:
        """Take a frame, the lamp being so much brighter than usual."""
        self._number += 1
        exposure_ms = lamp * self.exposure_ms
        image = self.scene.expose_fast(self.objective, view, exposure_ms, self._number)
        return np.asarray(image, np.uint8)

    def places(self, objective: str, exposure_ms: float) -> dict[str, Position]:
        """Find glass and tissue on a grid of the slide, by their structure."""
        self.objective, self.exposure_ms = objective, exposure_ms
        steps = range(-REACH_UM, REACH_UM + 1, STEP_UM)
        grid = [Position(x, y, 0.0) for x, y in itertools.product(steps, steps)]
        known = {at: structure(self.image(self.scene.view(objective, at))) for at in grid}
        grid.sort(key=lambda at: known[at])
        tissue = [at for at in grid if known[at] > TISSUE]
        return {"glass": grid[0], "palest": tissue[0], "densest": tissue[-1]}

    def alarms(self, view: View, frames: int) -> int:
        """Count new views where nothing changes but noise and the lamp."""
        still = Stillness()
        for _ in range(frames):
            self._look(still, self.image(view, 1 + FLICKER * self._rng.uniform(-1, 1)))
        return still.view - 1

    def notices(self, before: View, after: View) -> bool:
        """Tell whether the first frame after a motion is another view."""
        still = Stillness()
        for _ in range(AT_REST):
            self._look(still, self.image(before))
        begun = still.view
        self._look(still, self.image(after))
        return still.view > begun

    def least(self, before: View, after: list[tuple[float, View]]) -> str:
        """Give the least step that is noticed, from the greatest down to the first that is not."""
        seen = itertools.takewhile(lambda step: self.notices(before, step[1]), after)
        return f"{min((size for size, _ in seen), default=math.inf):g}"

    def _look(self, still: Stillness, image: NDArray[np.uint8]) -> None:
        at = Position(0.0, 0.0, 0.0)
        frame = Frame(image, at, self.objective, self.exposure_ms, 0.0, self._number)
        began_s = time.perf_counter()
        still.look(frame, image, None, 0.0)
        self.took_ms.append(1e3 * (time.perf_counter() - began_s))


def moved(view: View, shift_px: float) -> View:
    """Push the specimen along an image row."""
    x_um, y_um = view.matrix @ (shift_px, 0.0)
    return replace(view, centre_um=(view.centre_um[0] + x_um, view.centre_um[1] + y_um))


if __name__ == "__main__":
    main()
