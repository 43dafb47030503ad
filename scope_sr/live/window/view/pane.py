"""One viewport onto the field: pyqtgraph's view and scale around our own item."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import pyqtgraph as pg
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import QRectF, Qt

from scope_sr.live.window.view.comparing import Parts
from scope_sr.live.window.view.field_item import FieldItem
from scope_sr.live.window.view.sight import Sight


class Hand(Protocol):
    """Who is told what the mouse does in a pane."""

    def mouse_pressed(self, pane: Pane, event: QtGui.QMouseEvent) -> None: ...  # noqa: D102
    def mouse_moved(self, pane: Pane, event: QtGui.QMouseEvent) -> None: ...  # noqa: D102
    def mouse_released(self, pane: Pane, event: QtGui.QMouseEvent) -> None: ...  # noqa: D102
    def mouse_doubled(self, pane: Pane, event: QtGui.QMouseEvent) -> None: ...  # noqa: D102
    def wheel_turned(self, pane: Pane, event: QtGui.QWheelEvent) -> None: ...  # noqa: D102
    def mouse_left(self) -> None: ...  # noqa: D102


class Pane(pg.GraphicsView):
    """A viewport.

    The mouse is handled here and not by pyqtgraph, which looks at it a hundred times a second at
    most and knows other gestures.

    Attributes
    ----------
    field
        The item that draws.
    finish
        Called at the end of each paint, with a painter for what stands over the picture, and once
        more without one when all is on the screen.
    resized
        Called when the size of the pane is another.
    """

    def __init__(self, parent: QtWidgets.QWidget, hand: Hand) -> None:
        super().__init__(parent=parent, background="#0d1014")
        self.field = FieldItem()
        self.finish: Callable[[Pane, QtGui.QPainter | None], None] = lambda pane, painter: None
        self.resized: Callable[[Pane], None] = lambda pane: None
        self._hand = hand
        self._box = pg.ViewBox(enableMouse=False, enableMenu=False, invertY=True)
        self._box.disableAutoRange()
        self._box.setAspectLocked(True)
        self._box.addItem(self.field, ignoreBounds=True)
        self.setCentralItem(self._box)
        self.setViewportUpdateMode(self.ViewportUpdateMode.FullViewportUpdate)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.viewport().setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the canvas is one stop for Tab
        self.viewport().setMouseTracking(True)
        self.viewport().setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)  # nothing lies beneath
        self.setMinimumSize(120, 90)

    def look(self, sight: Sight, parts: Parts) -> None:
        """Show what a sight says, divided as the parts say."""
        if self._box.viewRect() != sight.shown_um:
            self._box.setRange(sight.shown_um, padding=0, disableAutoRange=False)
        self.field.parts = Parts(
            _um(parts.enhanced, sight), _um(parts.rest, sight), lens=parts.lens
        )
        self.viewport().update()

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:  # noqa: N802
        """Paint the scene, then what stands over it."""
        super().paintEvent(event)
        painter = QtGui.QPainter(self.viewport())
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        self.finish(self, painter)
        painter.end()
        self.finish(self, None)

    def resizeEvent(self, event: QtGui.QResizeEvent | None) -> None:  # noqa: N802
        """Tell the canvas."""
        super().resizeEvent(event)
        if hasattr(self, "resized"):  # pyqtgraph calls this while it makes the view
            self.resized(self)

    def mousePressEvent(self, event: QtGui.QMouseEvent) -> None:  # noqa: N802
        """Hand it on."""
        self._hand.mouse_pressed(self, event)

    def mouseMoveEvent(self, event: QtGui.QMouseEvent) -> None:  # noqa: N802
        """Hand it on."""
        self._hand.mouse_moved(self, event)

    def mouseReleaseEvent(self, event: QtGui.QMouseEvent) -> None:  # noqa: N802
        """Hand it on."""
        self._hand.mouse_released(self, event)

    def mouseDoubleClickEvent(self, event: QtGui.QMouseEvent) -> None:  # noqa: N802
        """Hand it on."""
        self._hand.mouse_doubled(self, event)

    def wheelEvent(self, event: QtGui.QWheelEvent) -> None:  # noqa: N802
        """Hand it on."""
        self._hand.wheel_turned(self, event)
        event.accept()

    def leaveEvent(self, event: QtCore.QEvent) -> None:  # noqa: N802
        """Hand it on."""
        super().leaveEvent(event)
        self._hand.mouse_left()

    def keyPressEvent(self, event: Any) -> None:  # noqa: N802
        """Leave keys to the window."""
        event.ignore()


def _um(rect: QRectF, sight: Sight) -> QRectF:
    """Give a part of the pane in µm from the middle of the field."""
    um = sight.um_per_px / sight.zoom
    corner = sight.shown_um.topLeft()
    return QRectF(
        corner.x() + rect.left() * um, corner.y() + rect.top() * um,
        rect.width() * um, rect.height() * um,
    )  # fmt: skip
