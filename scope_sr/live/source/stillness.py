"""Whether what is seen is still the same: by what the devices say, and by the picture itself.

A slide that is pushed by hand and a focus knob without encoder are told by nobody. The picture is
compared with that of the view's beginning, small and in green. Of their difference d only what
neighbouring pixels share counts, the mean of d(x, y) d(x+1, y) and d(x, y) d(x, y+1): the noise of
neighbours is independent and adds nothing to it whatever its strength, so that blank glass stays
blank glass. What consecutive frames differ by, a stand that trembles or light that flickers, is
learnt and allowed for. How little is noticed: ``python benchmarks/stillness.py``.
"""

from __future__ import annotations

import math
from collections import deque

import cv2
import numpy as np
from numpy.typing import NDArray

from scope_sr.frame import Frame, Position
from scope_sr.imaging.focus import depth_of_field_um
from scope_sr.live.seen import Rgb

Floats = NDArray[np.float32]

STEP_PX = 0.25
FLUTTER_UM = 0.1  # encoders count to and fro at rest; on tissue the picture tells more finely
UNKNOWN_STEP_UM = 0.5  # where nobody knows pixel size or aperture
DEPTHS = 0.25

SMALL_PX = 256  # longer side of the small picture
LEAST_SIDE_PX = 8
CELL_PX = 32
SIGMAS = 7.0
LEAST = 0.5  # grey levels squared that neighbours share: the rounding of numbers
TREMBLE = 8.0  # times the step from frame to frame: how far a stand at random swings in all
MOST_TREMBLE = 2.0  # grey levels squared; more is a motion, and not learnt
BRIGHTER = 0.05  # share of the mean; most lamps flicker by less
FLICKER = 3.0
MOST_FLICKER = 0.05
LEARNT_FROM = 15  # frames: half a second


class Stillness:
    """Numbers the views of a stream of frames.

    Attributes
    ----------
    view
        Grows whenever something else is seen than at the beginning of the view; 0 before the first
        frame.
    since_s
        When this view began.
    """

    def __init__(self) -> None:
        self.view = 0
        self.since_s = 0.0
        self._setting: tuple[object, ...] = ()
        self._place = Position(0.0, 0.0, 0.0)
        self._begun: Floats = np.empty((0, 0), np.float32)
        self._before = self._begun
        self._trembling: deque[Floats] = deque(maxlen=LEARNT_FROM)
        self._flickering: deque[float] = deque(maxlen=LEARNT_FROM)

    def look(
        self,
        frame: Frame,
        rgb: Rgb,
        light: object,
        at_s: float,
        um_per_px: float | None = None,
        numerical_aperture: float | None = None,
    ) -> None:
        """Look at the next frame, and begin a new view if it shows something else.

        Parameters
        ----------
        rgb
            The frame as it was developed.
        light
            All that makes it brighter or of another colour, and that it does not tell by itself:
            gains of the camera and of the white balance.
        at_s
            When it arrived.
        um_per_px, numerical_aperture
            Of the objective in place; how far a motion goes unseen follows from them.
        """
        now = small_green(rgb)
        setting = (frame.objective, frame.exposure_ms, light, rgb.shape)
        same = setting == self._setting
        if self._before.shape != now.shape:
            self._forget()
        if same:
            self._learn(now)
            same = not (
                _elsewhere(frame.position, self._place, um_per_px, numerical_aperture)
                or self._is_another(now)
            )
        self._before = now
        if not same:
            self.view += 1
            self.since_s = at_s
            self._setting, self._place, self._begun = setting, frame.position, now

    def _forget(self) -> None:
        """Begin to learn anew, with a picture of another size."""
        self._trembling.clear()
        self._flickering.clear()

    def _learn(self, now: Floats) -> None:
        """Learn from the frame before how far frames differ by themselves."""
        shared, _, brighter = differences(self._before, now)
        self._trembling.append(np.clip(shared, 0, MOST_TREMBLE))
        self._flickering.append(min(brighter, MOST_FLICKER))

    def _is_another(self, now: Floats) -> bool:
        shared, whole, brighter = differences(self._begun, now)
        if brighter > BRIGHTER + FLICKER * float(np.mean(self._flickering)):
            return True
        trembling = np.mean(self._trembling, axis=0)
        pixels = now.size / shared.size
        chance = SIGMAS * whole / math.sqrt(2 * pixels)
        return bool(np.any(shared > chance + np.maximum(TREMBLE * trembling, LEAST)))


def small_green(rgb: Rgb) -> Floats:
    """Average green to a picture of about 256 px, in grey levels; every other row does for it."""
    rows, columns = rgb.shape[:2]
    by = max(1, min(round(max(rows, columns) / SMALL_PX), min(rows, columns) // LEAST_SIDE_PX))
    green = cv2.extractChannel(rgb[:: 2 if by > 1 else 1], 1)
    size = (columns // by, rows // by)
    return np.asarray(cv2.resize(green, size, interpolation=cv2.INTER_AREA), np.float32)


def differences(before: Floats, now: Floats) -> tuple[Floats, Floats, float]:
    """Tell by how much two small pictures differ, the change of their mean taken off.

    Returns
    -------
    shared, whole
        Per cell of about 32 px, in grey levels squared: what neighbours share of the difference,
        and all of it, noise included.
    brighter
        The change of the mean, as a share of it.

    Examples
    --------
    >>> glass = np.full((64, 64), 200, np.float32)
    >>> shared, whole, brighter = differences(glass, 1.02 * glass)
    >>> float(abs(shared).max()) < 1e-6, round(brighter, 3)
    (True, 0.02)
    """
    ratio = max(float(now.mean()), 0.5) / max(float(before.mean()), 0.5)
    apart = now / np.float32(ratio) - before
    cells = (max(1, now.shape[1] // CELL_PX), max(1, now.shape[0] // CELL_PX))

    def per_cell(values: Floats) -> Floats:
        return np.asarray(cv2.resize(values, cells, interpolation=cv2.INTER_AREA), np.float32)

    neighbours = apart[1:, :-1] + apart[:-1, 1:]
    shared = per_cell(apart[:-1, :-1] * neighbours * np.float32(0.5))
    return shared, per_cell(apart * apart), abs(math.log(ratio))


def _elsewhere(
    here: Position, there: Position, um_per_px: float | None, numerical_aperture: float | None
) -> bool:
    """Tell a motion of the stage, as it reports it, from the play of its encoders."""
    step_um, depth_um = UNKNOWN_STEP_UM, UNKNOWN_STEP_UM
    if um_per_px is not None:
        step_um = max(STEP_PX * um_per_px, FLUTTER_UM)
    if numerical_aperture is not None:
        depth_um = max(DEPTHS * depth_of_field_um(numerical_aperture, 0.0), FLUTTER_UM)
    across_um = math.hypot(here.x_um - there.x_um, here.y_um - there.y_um)
    return across_um > step_um or abs(here.z_um - there.z_um) > depth_um
