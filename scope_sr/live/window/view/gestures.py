"""What the mouse does to the picture.

Drag: move the picture, or the line of the split. Wheel: zoom; with Ctrl the size of the lens.
Double-click: bring that place to the middle. Alt and drag: move the stage. A click while one is
asked for: pick that place.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from PySide6 import QtGui
from PySide6.QtCore import QPointF, Qt

from scope_sr.live.window.view.pane import Pane

if TYPE_CHECKING:
    from scope_sr.live.window.view.canvas import Canvas

NOTCH = 120.0  # Qt's units of the wheel
ZOOM_STEP = 1.25
STAGE_S = 0.15  # the stage is asked so often while it is dragged; each move takes it as long

Shape = Qt.CursorShape


class Gestures:
    """Turns what the mouse does into what the canvas does.

    Attributes
    ----------
    picking
        Whether a click is asked for.
    place
        Row and column under the cursor; None while it is elsewhere.
    pane
        Where the cursor is.
    """

    def __init__(self, canvas: Canvas) -> None:
        self.picking = False
        self.place: tuple[float, float] | None = None
        self.pane: Pane | None = None
        self._canvas = canvas
        self._doing = ""
        self._last = QPointF()
        self._owed = QPointF()
        self._asked_s = 0.0

    def mouse_pressed(self, pane: Pane, event: QtGui.QMouseEvent) -> None:
        """Begin something."""
        self._canvas.setFocus(Qt.FocusReason.MouseFocusReason)
        self._last, self._owed = event.position(), QPointF()
        if event.button() == Qt.MouseButton.MiddleButton:
            self._doing = "pan"
        elif event.button() == Qt.MouseButton.LeftButton:
            self._doing = self._begun(pane, event)
        self.dress(event.position())

    def mouse_moved(self, pane: Pane, event: QtGui.QMouseEvent) -> None:
        """Go on with it; the lens follows."""
        at = event.position()
        self.pane, self.place = pane, self._canvas.sight_of(pane).place(at)
        by, self._last = at - self._last, at
        if self._doing == "split":
            sight = self._canvas.sight_of(pane)
            self._canvas.set_split(self._canvas.comparison.split_at(sight, at.x()))
        elif self._doing == "pan":
            self._canvas.pan(by)
        elif self._doing == "stage":
            self._owed += by
            if time.monotonic() - self._asked_s >= STAGE_S:
                self._move_stage()
        if self._canvas.mode == "lens":
            self._canvas.set_lens(at)
        elif self._canvas.mode == "side":
            self._canvas.aim()
        self.dress(at)
        self.point()

    def mouse_released(self, pane: Pane, event: QtGui.QMouseEvent) -> None:
        """End it."""
        if self._doing == "stage":
            self._move_stage()
        self._doing = ""
        self.dress(event.position())

    def mouse_doubled(self, pane: Pane, event: QtGui.QMouseEvent) -> None:
        """Ask for the middle; on the line: put it back into the middle."""
        sight, at = self._canvas.sight_of(pane), event.position()
        if event.button() != Qt.MouseButton.LeftButton or self.picking:
            return
        if self._canvas.comparison.grips(sight, at):
            self._canvas.set_split(0.5)
        elif sight.visible.contains(at):
            self._canvas.centre_asked.emit(*sight.place(at))

    def wheel_turned(self, pane: Pane, event: QtGui.QWheelEvent) -> None:
        """Zoom about the cursor, or make the lens larger."""
        notches = event.angleDelta().y() / NOTCH
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier and self._canvas.mode == "lens":
            self._canvas.set_lens(factor=ZOOM_STEP**notches)
        elif notches:
            self._canvas.zoom_by(ZOOM_STEP**notches, event.position())

    def mouse_left(self) -> None:
        """Forget the cursor."""
        self.pane = self.place = None
        self._canvas.pointed.emit(None)
        if self._canvas.mode == "side":
            self._canvas.aim()

    def point(self) -> None:
        """Say what is under the cursor."""
        if self.place is not None:
            self._canvas.pointed.emit(self._canvas.at(*self.place))

    def dress(self, at: QPointF | None = None) -> None:
        """Give the cursor the shape of what it would do."""
        for pane in self._canvas.panes:
            shape = self._shape(pane, at)
            if pane.viewport().cursor().shape() != shape:
                pane.viewport().setCursor(shape)

    def _begun(self, pane: Pane, event: QtGui.QMouseEvent) -> str:
        sight, at = self._canvas.sight_of(pane), event.position()
        if self.picking:
            if sight.visible.contains(at):
                self._canvas.picked.emit(*sight.place(at))
            return ""
        if event.modifiers() & Qt.KeyboardModifier.AltModifier:
            return "stage"
        return "split" if self._canvas.comparison.grips(sight, at) else "pan"

    def _move_stage(self) -> None:
        owed, self._owed, self._asked_s = self._owed, QPointF(), time.monotonic()
        if not owed.isNull():
            zoom = self._canvas.sight.zoom
            self._canvas.dragged.emit(owed.y() / zoom, owed.x() / zoom)

    def _shape(self, pane: Pane, at: QPointF | None) -> Shape:
        if self.picking:
            return Shape.CrossCursor
        if self._doing in ("pan", "stage"):
            return Shape.ClosedHandCursor
        line = at is not None and self._canvas.comparison.grips(self._canvas.sight_of(pane), at)
        return Shape.SplitHCursor if self._doing == "split" or line else Shape.ArrowCursor
