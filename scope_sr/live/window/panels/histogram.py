"""The histogram of the camera's picture, and how much of it is clipped."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PySide6 import QtCore, QtGui, QtWidgets

from scope_sr.live.levels import Levels
from scope_sr.live.window.theme import THEMES, Theme

HIGH = 78
PAD = 6


class Histogram(QtWidgets.QWidget):
    """Three curves, from black to white, of equal area; the root of the counts upwards."""

    def __init__(self) -> None:
        super().__init__()
        self.theme = THEMES["dark"]
        self.setMinimumHeight(HIGH)
        self.setSizePolicy(
            QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed
        )
        self.setAccessibleName("Histogram of red, green and blue")
        self._counts: NDArray[np.float64] | None = None
        self._clipped = (False, False)

    def sizeHint(self) -> QtCore.QSize:  # noqa: D102, N802
        return QtCore.QSize(200, HIGH)

    def set_theme(self, theme: Theme) -> None:
        """Take other colours."""
        self.theme = theme
        self.update()

    def show_levels(self, levels: Levels, *, low: bool, high: bool) -> None:
        """Draw other counts; mark the ends that are clipped."""
        self._counts = np.sqrt(np.asarray(levels.counts, np.float64))
        self._clipped = (low, high)
        self.update()

    def paintEvent(self, _: QtGui.QPaintEvent) -> None:  # noqa: D102, N802
        pen = QtGui.QPainter(self)
        pen.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        box = QtCore.QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
        pen.setPen(QtGui.QPen(QtGui.QColor(self.theme.line), 1))
        pen.setBrush(QtGui.QColor(self.theme.field if self.theme.name != "light" else "#ffffff"))
        pen.drawRoundedRect(box, 4, 4)
        self._draw_quarters(pen, box)
        if self._counts is not None:
            tallest = max(float(self._counts[:, 1:-1].max()), 1.0)
            for curve, colour in zip(self._counts, self._colours(), strict=True):
                self._draw_curve(pen, box, curve / tallest, colour)
        self._draw_ends(pen, box)

    def _colours(self) -> tuple[str, str, str]:
        return self.theme.red, self.theme.green, self.theme.blue

    def _draw_quarters(self, pen: QtGui.QPainter, box: QtCore.QRectF) -> None:
        line = QtGui.QColor(self.theme.line)
        line.setAlphaF(0.55)
        pen.setPen(QtGui.QPen(line, 1))
        for quarter in (0.25, 0.5, 0.75):
            x = box.left() + PAD + quarter * (box.width() - 2 * PAD)
            pen.drawLine(QtCore.QPointF(x, box.top() + 3), QtCore.QPointF(x, box.bottom() - 3))

    def _draw_curve(
        self, pen: QtGui.QPainter, box: QtCore.QRectF, curve: NDArray[np.float64], colour: str
    ) -> None:
        inner = box.adjusted(PAD, 7, -PAD, -4)
        heights = np.minimum(curve.reshape(-1, 2).max(axis=1), 1.0)
        xs = inner.left() + np.linspace(0, inner.width(), len(heights))
        ys = inner.bottom() - heights * inner.height()
        points = [QtCore.QPointF(x, y) for x, y in zip(xs, ys, strict=True)]
        closed = [
            QtCore.QPointF(inner.left(), inner.bottom()), *points,
            QtCore.QPointF(inner.right(), inner.bottom()),
        ]  # fmt: skip
        shade = QtGui.QColor(colour)
        shade.setAlphaF(0.16)
        pen.setPen(QtCore.Qt.PenStyle.NoPen)
        pen.setBrush(shade)
        pen.drawPolygon(closed)
        pen.setBrush(QtCore.Qt.BrushStyle.NoBrush)
        pen.setPen(QtGui.QPen(QtGui.QColor(colour), 1.3))
        pen.drawPolyline(points)

    def _draw_ends(self, pen: QtGui.QPainter, box: QtCore.QRectF) -> None:
        pen.setPen(QtCore.Qt.PenStyle.NoPen)
        pen.setBrush(QtGui.QColor(self.theme.warn))
        low, high = self._clipped
        if low:
            pen.drawRect(QtCore.QRectF(box.left() + 1, box.top() + 1, 3, box.height() - 2))
        if high:
            pen.drawRect(QtCore.QRectF(box.right() - 4, box.top() + 1, 3, box.height() - 2))
