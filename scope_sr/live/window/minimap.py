"""A small map of the fields that were visited, turned as the camera sees the specimen.

Places are those of the specimen in µm; right and down in the map are right and down in the picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import QPointF, QRectF, QSizeF, Qt, Signal

from scope_sr.live.seen import Seen
from scope_sr.live.window.theme import THEMES, Theme
from scope_sr.live.window.view.field_item import OPAQUE, image

Limits = tuple[tuple[float, float], tuple[float, float]]
Place = tuple[float, float]

REDUCED = 16  # pixels of the camera to one of a thumbnail
MOST = 400
CELL_SHARE = 0.25  # of a field: so near to where one was, it is the same place
MARGIN_SHARE = 0.75  # of a field, around all that is drawn
LEAST_FIELDS = 5.0  # across the map: else the first field would fill it
SIDE_PX = 160
GROUND, EDGE = QtGui.QColor(13, 16, 20, 225), QtGui.QColor(255, 255, 255, 70)


@dataclass(frozen=True, eq=False)
class Thumbnail:
    """A field as it was: where it lies in the map, small."""

    rect: QRectF
    pixels: NDArray[np.uint8]
    picture: QtGui.QImage


class Minimap(QtWidgets.QWidget):
    """Where one has been, where one is, and how to get back there.

    A click goes to a place; so do the arrow keys, which move a target by half a field, and Enter.

    Attributes
    ----------
    centre_um
        Gives the place of the specimen in the middle of a frame; by default where the stage says
        it is.
    """

    go_asked = Signal(float, float)  # of the stage, µm

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.centre_um: Callable[[Seen], Place] = _where_the_stage_is
        # right and down in the picture, as columns in the axes of the stage; up is +y unless told
        self._axes = np.diag([1.0, -1.0])
        self._limits: Limits | None = None
        self._visited: dict[object, Thumbnail] = {}
        self._now: Seen | None = None
        self._target: QPointF | None = None
        self._theme = THEMES["dark"]
        self.setFixedSize(SIDE_PX, SIDE_PX)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAccessibleName("Map of visited fields")
        self.setAccessibleDescription("Arrow keys choose a place, Enter goes there.")
        self.setToolTip("Visited fields. Click, or arrow keys and Enter, to go there.")

    def __len__(self) -> int:
        """Count the fields that are kept."""
        return len(self._visited)

    def set_axes(self, affine: NDArray[np.float64]) -> None:
        """Say how the camera stands to the stage.

        Parameters
        ----------
        affine
            ``(2, 2)``: µm of the stage to pixels of the picture (column, row). Only which axis goes
            where, and its sense, are used: the map is never turned by less than a right angle.
        """
        right = np.asarray(affine, np.float64)[:, 0]
        down = np.asarray(affine, np.float64)[:, 1]
        swapped = abs(right[1]) > abs(right[0])
        self._axes = np.zeros((2, 2))
        self._axes[int(swapped), 0] = np.sign(right[int(swapped)])
        self._axes[1 - int(swapped), 1] = np.sign(down[1 - int(swapped)])
        self._visited.clear()
        self.update()

    def set_limits(self, limits_um: Limits | None) -> None:
        """Say how far the stage goes: least and greatest x, then y; None where nobody knows."""
        self._limits = limits_um
        self.update()

    def set_theme(self, theme: Theme) -> None:
        """Take other colours."""
        self._theme = theme
        self.update()

    def visit(self, seen: Seen) -> None:
        """Note where one is, and what is to be seen there."""
        rect = self._rect(seen)
        cell = CELL_SHARE * rect.width(), CELL_SHARE * rect.height()
        middle = rect.center()
        key = (
            seen.frame.objective,
            round(middle.x() / cell[0]),
            round(middle.y() / cell[1]),
        )
        self._visited.pop(key, None)
        self._visited[key] = _thumbnail(seen, rect)
        while len(self._visited) > MOST:
            del self._visited[next(iter(self._visited))]
        self.follow(seen)

    def follow(self, seen: Seen) -> None:
        """Note where one is, on the way."""
        self._now = seen
        self.update()

    def sizeHint(self) -> QtCore.QSize:  # noqa: N802
        """Ask for a square."""
        return QtCore.QSize(SIDE_PX, SIDE_PX)

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:  # noqa: N802
        """Draw thumbnails, the oldest first, the stage's limits and where one is."""
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QtGui.QPainter.RenderHint.SmoothPixmapTransform)
        frame = QtGui.QPainterPath()
        frame.addRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 6, 6)
        painter.fillPath(frame, GROUND)
        if self._now is not None:
            painter.save()
            painter.setClipPath(frame)
            self._draw(painter, self._now)
            painter.restore()
        edge = QtGui.QColor(self._theme.accent) if self.hasFocus() else EDGE
        painter.setPen(QtGui.QPen(edge, 2 if self.hasFocus() else 1))
        painter.drawPath(frame)

    def mousePressEvent(self, event: QtGui.QMouseEvent) -> None:  # noqa: N802
        """Go where it was clicked."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._go(self._place(event.position()))

    def keyPressEvent(self, event: QtGui.QKeyEvent) -> None:  # noqa: N802
        """Move the target, go there, or give it up."""
        ways = {
            Qt.Key.Key_Left: (-0.5, 0.0),
            Qt.Key.Key_Right: (0.5, 0.0),
            Qt.Key.Key_Up: (0.0, -0.5),
            Qt.Key.Key_Down: (0.0, 0.5),
        }
        key = Qt.Key(event.key())
        if self._now is None or (key not in ways and not self._answers(key)):
            event.ignore()
            return
        if key in ways:
            rect = self._rect(self._now)
            across, down = ways[key]
            target = rect.center() if self._target is None else self._target
            self._target = target + QPointF(across * rect.width(), down * rect.height())
        elif key != Qt.Key.Key_Escape and self._target is not None:
            self._go(self._target)
        else:
            self._target = None
        self.update()

    def event(self, event: QtCore.QEvent) -> bool:
        """Claim the keys the map answers to before the window's shortcuts move the stage."""
        if event.type() == QtCore.QEvent.Type.ShortcutOverride:
            assert isinstance(event, QtGui.QKeyEvent)  # noqa: S101  # Qt says so
            arrows = (Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Up, Qt.Key.Key_Down)
            key = Qt.Key(event.key())
            if not event.modifiers() and (key in arrows or self._answers(key)):
                event.accept()
                return True
        return super().event(event)

    def _answers(self, key: Qt.Key) -> bool:
        """Say whether Enter or Escape mean something here: Escape else stops the stage."""
        enters = (Qt.Key.Key_Return, Qt.Key.Key_Enter)
        return key in enters or (key == Qt.Key.Key_Escape and self._target is not None)

    def _go(self, place: QPointF | None) -> None:
        """Ask for a place; what lies beyond the stage's limits is brought within them."""
        if self._now is None or place is None:
            return
        self._target = None
        here = np.subtract(self.centre_um(self._now), _where_the_stage_is(self._now))
        x_um, y_um = self._axes @ (place.x(), place.y()) - here
        if self._limits is not None:
            (left, right), (low, high) = self._limits
            x_um, y_um = min(max(x_um, left), right), min(max(y_um, low), high)
        self.go_asked.emit(float(x_um), float(y_um))

    def _rect(self, seen: Seen) -> QRectF:
        """Give where a field lies in the map, in µm."""
        x, y = self._axes.T @ self.centre_um(seen)
        rows, columns = (length * (seen.um_per_px or 1.0) for length in seen.shape)
        return QRectF(x - columns / 2, y - rows / 2, columns, rows)

    def _extent(self, now: QRectF) -> QRectF:
        """Give what the map shows: all fields, with room around them, square."""
        whole = QRectF(now)
        for thumbnail in self._visited.values():
            whole = whole.united(thumbnail.rect)
        room = MARGIN_SHARE * max(now.width(), now.height())
        side = max(whole.width(), whole.height()) + 2 * room
        side = max(side, LEAST_FIELDS * max(now.width(), now.height()))
        return QRectF(whole.center() - QPointF(side / 2, side / 2), QSizeF(side, side))

    def _to_map(self, extent: QRectF) -> QtGui.QTransform:
        scale = self.width() / extent.width()
        return QtGui.QTransform.fromScale(scale, scale).translate(-extent.left(), -extent.top())

    def _place(self, at: QPointF) -> QPointF | None:
        if self._now is None:
            return None
        turned, _ = self._to_map(self._extent(self._rect(self._now))).inverted()
        return turned.map(at)

    def _draw(self, painter: QtGui.QPainter, seen: Seen) -> None:
        now = self._rect(seen)
        to_map = self._to_map(self._extent(now))
        for thumbnail in self._visited.values():
            painter.drawImage(to_map.mapRect(thumbnail.rect), thumbnail.picture)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        if self._limits is not None:
            corners = [self._axes.T @ corner for corner in zip(*self._limits, strict=True)]
            limits = QRectF(QPointF(*corners[0]), QPointF(*corners[1])).normalized()
            painter.setPen(QtGui.QPen(QtGui.QColor("#ffb454"), 1, Qt.PenStyle.DashLine))
            painter.drawRect(to_map.mapRect(limits))
        here = to_map.mapRect(now)
        painter.setPen(QtGui.QPen(QtGui.QColor(13, 16, 20, 160), 4))
        painter.drawRect(here)
        painter.setPen(QtGui.QPen(QtGui.QColor("#ffffff"), 2))
        painter.drawRect(here)
        if self._target is not None:
            there = to_map.map(self._target)
            painter.setPen(QtGui.QPen(QtGui.QColor(self._theme.accent), 2))
            painter.drawEllipse(there, 6, 6)

    def focusInEvent(self, event: QtGui.QFocusEvent) -> None:  # noqa: N802
        """Show it."""
        self.update()

    def focusOutEvent(self, event: QtGui.QFocusEvent) -> None:  # noqa: N802
        """Give up the target."""
        self._target = None
        self.update()


def _thumbnail(seen: Seen, rect: QRectF) -> Thumbnail:
    rows, columns = (max(1, length // REDUCED) for length in seen.shape)
    small = cv2.resize(seen.rgb, (columns, rows), interpolation=cv2.INTER_AREA)
    pixels = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2BGRA), np.uint8)
    return Thumbnail(rect, pixels, image(pixels, OPAQUE))


def _where_the_stage_is(seen: Seen) -> Place:
    return seen.frame.position.x_um, seen.frame.position.y_um
