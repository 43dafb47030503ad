"""Nuclei: how many, how dense, how large, lately, and how they are drawn."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

from PySide6 import QtCore, QtGui, QtWidgets

from scope_sr.live.window.panels.parts import Slider, look, words
from scope_sr.live.window.theme import THEMES, Theme, digits

SPAN_S = 60.0
WHOLE = 0.995


@dataclass(frozen=True)
class Census:
    """The nuclei that are in sight.

    Attributes
    ----------
    area_um2
        Of the field that was looked at; None where nobody knows the pixel size.
    mean_um2
        Mean area of a nucleus; None where there is none or nobody knows the pixel size.
    covered
        Share of the field that was looked at.
    """

    count: int
    area_um2: float | None
    mean_um2: float | None
    covered: float

    @property
    def per_mm2(self) -> float | None:
        """Density; None where nobody knows the pixel size.

        >>> Census(50, 250_000.0, 40.0, 1.0).per_mm2
        200.0
        """
        return 1e6 * self.count / self.area_um2 if self.area_um2 else None


class Course(QtWidgets.QWidget):
    """The density over the last minute, as a line."""

    def __init__(self) -> None:
        super().__init__()
        self.theme = THEMES["dark"]
        self.setFixedHeight(34)
        self.setAccessibleName("Nuclei over the last minute")
        self._points: deque[tuple[float, float]] = deque()

    def add(self, value: float, now_s: float) -> None:
        """Append a value and forget what is older than a minute."""
        self._points.append((now_s, value))
        while now_s - self._points[0][0] > SPAN_S:
            self._points.popleft()
        self.update()

    def clear(self) -> None:
        """Begin anew."""
        self._points.clear()
        self.update()

    def paintEvent(self, _: QtGui.QPaintEvent) -> None:  # noqa: D102, N802
        pen = QtGui.QPainter(self)
        pen.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        box = QtCore.QRectF(self.rect()).adjusted(1, 3, -3, -2)
        pen.setPen(QtGui.QPen(QtGui.QColor(self.theme.line), 1))
        pen.drawLine(box.bottomLeft(), box.bottomRight())
        if len(self._points) < 2:
            return
        now_s, tallest = self._points[-1][0], max(max(value for _, value in self._points), 1e-9)
        line = [
            QtCore.QPointF(
                box.right() - (now_s - at_s) / SPAN_S * box.width(),
                box.bottom() - 0.92 * value / tallest * box.height(),
            )
            for at_s, value in self._points
        ]
        pen.setPen(QtGui.QPen(QtGui.QColor(self.theme.accent), 1.6))
        pen.drawPolyline(line)
        pen.setBrush(QtGui.QColor(self.theme.accent))
        pen.drawEllipse(line[-1], 2.2, 2.2)


class NucleiPanel(QtWidgets.QWidget):
    """The count, its course, and the look of the overlay."""

    style_changed = QtCore.Signal()

    def __init__(self) -> None:
        super().__init__()
        self.count = words("–", "big")
        self.count.setFont(digits(self.count.font()))
        self.count.setAccessibleName("Nuclei in sight")
        self.density = words("")
        self.mean = words("", "quiet")
        self.share = words("", "quiet", wraps=True)
        for label in (self.density, self.mean, self.share):
            label.setFont(digits(label.font()))
        self.course = Course()
        self.outline = QtWidgets.QCheckBox("Outline")
        self.fill = QtWidgets.QCheckBox("Fill")
        self.outline.setChecked(True)
        for box in (self.outline, self.fill):
            box.setFocusPolicy(QtCore.Qt.FocusPolicy.TabFocus)
            box.setAccessibleName(f"{box.text()} of the nuclei")
            box.toggled.connect(self.style_changed)
        self.opacity = Slider("Opacity of the nuclei", 0.0, 1.0)
        self.opacity.stand_at(0.9)
        self.opacity.moved_to.connect(lambda _: self.style_changed.emit())
        self._lay_out()
        self._last_s = 0.0

    def show_census(self, census: Census | None, why_none: str = "") -> None:
        """Show what was counted; None where nothing was looked at."""
        if census is None:
            self.count.setText("–")
            self.density.setText("")
            self.mean.setText("")
            self.share.setText(why_none)
            return
        self.count.setText(f"{census.count:,}".replace(",", " "))
        per_mm2 = census.per_mm2
        self.density.setText("" if per_mm2 is None else f"{per_mm2:,.0f} per mm²".replace(",", " "))
        mean = census.mean_um2
        self.mean.setText("" if mean is None else f"mean area {mean:.1f} µm²")
        partly = census.covered < WHOLE
        self.share.setText(
            f"counted in {100 * census.covered:.0f} % of the field" if partly else "whole field"
        )
        look(self.share, "warn" if partly else "quiet")
        self._remember(census)

    def set_theme(self, theme: Theme) -> None:
        """Take other colours."""
        self.course.theme = theme
        self.course.update()

    def _remember(self, census: Census) -> None:
        now_s = time.monotonic()
        if now_s - self._last_s < 0.5 or not census.covered:
            return
        self._last_s = now_s
        per_mm2 = census.per_mm2
        self.course.add(census.count / census.covered if per_mm2 is None else per_mm2, now_s)

    def _lay_out(self) -> None:
        numbers = QtWidgets.QVBoxLayout()
        numbers.setSpacing(0)
        numbers.addWidget(self.density)
        numbers.addWidget(self.mean)
        top = QtWidgets.QHBoxLayout()
        top.setSpacing(14)
        top.addWidget(self.count)
        top.addLayout(numbers, 1)
        drawn = QtWidgets.QHBoxLayout()
        drawn.setSpacing(10)
        drawn.addWidget(self.outline)
        drawn.addWidget(self.fill)
        drawn.addWidget(self.opacity, 1)
        column = QtWidgets.QVBoxLayout(self)
        column.setSpacing(4)
        column.addLayout(top)
        column.addWidget(self.course)
        column.addWidget(self.share)
        column.addLayout(drawn)
