"""The paint path of the live view beside pyqtgraph's ImageItem: from a new frame to painted pixels.

    pip install "scope-sr[live]"
    python benchmarks/display.py

Frames of 512, 1024 and 2048 px of RGB, whole in a view of 1000 x 1000 px: offscreen, or on X if
DISPLAY is set. Ours is the canvas as it is used: the original alone, with its tag and scale bar,
which is what the peers show without them; and the enhanced picture, twice as large and new in each
frame, beside the original with a line between them. The peers are ImageItem with uint8 RGB, row by
row: without levels, its fastest, drawn as it comes or smoothly as ours is; and with levels found
anew in each frame, its default. All take turns, 80 times; what is timed is handing over a frame and
painting it at once. Frames are made before.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

if not os.environ.get("DISPLAY"):
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import cv2
import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6 import QtGui, QtWidgets

from scope_sr.frame import Frame, Position
from scope_sr.live.seen import Patch, Seen, Shown, Window
from scope_sr.live.window.view.canvas import Canvas

SIZES = (512, 1024, 2048)
VIEW_PX = 1000
TURNS, WARM = 80, 10
FRAMES = 4  # different ones: no cache of a picture may help anybody

Painted = Callable[[int], None]


def pictures(size_px: int) -> list[NDArray[np.uint8]]:
    """Make frames with the noise of a camera on soft blots."""
    rng = np.random.default_rng(0)
    soft = cv2.resize(rng.integers(90, 240, (16, 16, 3), np.uint8), (size_px, size_px))
    return [
        np.clip(soft + rng.normal(0, 4, soft.shape), 0, 255).astype(np.uint8) for _ in range(FRAMES)
    ]


def ours(size_px: int, *, mode: str) -> Painted:
    """Make our canvas, with everything it shows."""
    canvas = Canvas()
    canvas.resize(VIEW_PX, VIEW_PX)
    canvas.set_mode(mode)
    canvas.show()
    frames, patches = [], []
    for picture in pictures(size_px):
        now_s = time.monotonic()
        frame = Frame(picture, Position(0, 0, 0), "10x", 10.0, 0.0, 1)
        seen = Seen(frame, picture, 0.5, now_s, view=1, since_s=now_s)
        pixels = cv2.cvtColor(picture, cv2.COLOR_RGB2BGRA)
        large = cv2.resize(pixels, None, fx=2, fy=2)
        frames.append(Shown(seen, np.asarray(pixels, np.uint8)))
        window = Window(0, 0, size_px, size_px)
        patches.append(Patch(seen, window, 2, np.asarray(large, np.uint8)))
    pane = canvas.panes[0].viewport()

    def paint(turn: int) -> None:
        canvas.show(frames[turn % FRAMES])
        if mode == "split":
            canvas.lay([patches[turn % FRAMES]])
        pane.repaint()

    return paint


def peer(size_px: int, *, levels: bool = False, smooth: bool = False) -> Painted:
    """Make a view with an ImageItem."""
    view = pg.GraphicsView(background="#0d1014")
    box = pg.ViewBox(lockAspect=True, invertY=True, enableMenu=False)
    item = pg.ImageItem(axisOrder="row-major")
    view.setRenderHint(QtGui.QPainter.RenderHint.SmoothPixmapTransform, smooth)
    view.setCentralItem(box)
    box.addItem(item)
    view.resize(VIEW_PX, VIEW_PX)
    view.show()
    frames = pictures(size_px)
    item.setImage(frames[0], autoLevels=False, levels=None)
    box.autoRange(padding=0)

    def paint(turn: int) -> None:
        if levels:
            item.setImage(frames[turn % FRAMES], autoLevels=True)
        else:
            item.setImage(frames[turn % FRAMES], autoLevels=False, levels=None)
        view.viewport().repaint()

    return paint


def main() -> None:
    app = QtWidgets.QApplication([])
    print(f"platform {app.platformName()}, ms: median (95th percentile) of {TURNS}")
    for size_px in SIZES:
        ways = {
            "ours, the original alone": ours(size_px, mode="original"),
            "ours, split, enhanced x2": ours(size_px, mode="split"),
            "ImageItem, no levels": peer(size_px),
            "the same, smooth": peer(size_px, smooth=True),
            "ImageItem, autoLevels": peer(size_px, levels=True),
        }
        took_ms: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(WARM + TURNS):
            for name, paint in ways.items():
                app.processEvents()
                began_s = time.perf_counter()
                paint(turn)
                if turn >= WARM:
                    took_ms[name].append(1e3 * (time.perf_counter() - began_s))
        for name, times in took_ms.items():
            median, p95 = np.percentile(times, (50, 95))
            print(f"{size_px} px  {name:26s} {median:5.1f} ({p95:.1f})")


if __name__ == "__main__":
    main()
