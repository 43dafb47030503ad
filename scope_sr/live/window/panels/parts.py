"""Parts that several panels are made of."""

from __future__ import annotations

import math

from PySide6 import QtCore, QtGui, QtWidgets

from scope_sr.live.window.theme import digits

MARGIN = 12
FOCUS = QtCore.Qt.FocusPolicy


class Fold(QtWidgets.QWidget):
    """A part of the column under a heading that opens and closes it."""

    def __init__(self, title: str, inside: QtWidgets.QWidget) -> None:
        super().__init__()
        self.inside = inside
        self.head = QtWidgets.QToolButton()
        self.head.setText(title)
        self.head.setCheckable(True)
        self.head.setChecked(True)
        self.head.setObjectName("fold")
        self.head.setToolButtonStyle(QtCore.Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.head.setFocusPolicy(FOCUS.TabFocus)
        self.head.setAccessibleName(f"{title}, section")
        self.head.toggled.connect(self._fold)
        rule = QtWidgets.QFrame()
        rule.setObjectName("rule")
        column = QtWidgets.QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        head = QtWidgets.QHBoxLayout()
        head.setContentsMargins(MARGIN - 6, 3, MARGIN, 0)
        head.addWidget(self.head, 1, QtCore.Qt.AlignmentFlag.AlignLeft)
        column.addLayout(head)
        column.addWidget(inside)
        column.addWidget(rule)
        within = inside.layout()
        if within is not None:
            within.setContentsMargins(MARGIN, 4, MARGIN, 9)
        self._fold(True)

    def _fold(self, open_: bool) -> None:
        arrow = QtCore.Qt.ArrowType
        self.head.setArrowType(arrow.DownArrow if open_ else arrow.RightArrow)
        self.head.setAccessibleDescription("open" if open_ else "folded")
        self.inside.setVisible(open_)


def words(text: str = "", look: str = "", *, wraps: bool = False) -> QtWidgets.QLabel:
    """Make a line of words; `look` is one of the style sheet's."""
    label = QtWidgets.QLabel(text)
    label.setTextFormat(QtCore.Qt.TextFormat.PlainText)
    label.setWordWrap(wraps)
    if look:
        label.setProperty("look", look)
    return label


def look(widget: QtWidgets.QWidget, name: str) -> None:
    """Give a widget another look of the style sheet."""
    if widget.property("look") != name:
        widget.setProperty("look", name)
        widget.style().unpolish(widget)
        widget.style().polish(widget)


def button(text: str, name: str = "", tells: str = "") -> QtWidgets.QPushButton:
    """Make a button; a click leaves the focus, and so the keys, where it was."""
    made = QtWidgets.QPushButton(text)
    made.setFocusPolicy(FOCUS.TabFocus)
    made.setAccessibleName(name or text)
    made.setToolTip(tells)
    return made


def allow(widget: QtWidgets.QWidget, why_not: str) -> None:
    """Enable a control, or say why it cannot be used."""
    if widget.property("usualTip") is None:
        widget.setProperty("usualTip", widget.toolTip())
        widget.setProperty("usualDescription", widget.accessibleDescription())
    usual_tip = str(widget.property("usualTip"))
    usual_description = str(widget.property("usualDescription"))
    if widget.isEnabled() == bool(why_not):
        widget.setEnabled(not why_not)
    if widget.toolTip() != (why_not or usual_tip):
        widget.setToolTip(why_not or usual_tip)
        widget.setAccessibleDescription(why_not or usual_description)


def draw_box(widget: QtWidgets.QWidget, *, focused: bool) -> None:
    """Draw the ground and the rounded edge of a field."""
    pen = QtGui.QPainter(widget)
    pen.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
    role, palette = QtGui.QPalette.ColorRole, widget.palette()
    pen.setPen(palette.color(role.Highlight if focused else role.Mid))
    pen.setBrush(palette.color(role.Base if widget.isEnabled() else role.Window))
    box = QtCore.QRectF(widget.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
    pen.drawRoundedRect(box, 4, 4)


class Number(QtWidgets.QDoubleSpinBox):
    """A field for a number: Return or Esc give the keys back to the picture.

    The wheel turns it only while it has the focus, so that scrolling the column changes nothing.
    """

    def __init__(self, name: str, unit: str, least: float, most: float, decimals: int = 1) -> None:
        super().__init__()
        self.setAccessibleName(name)
        self.setSuffix(f" {unit}" if unit else "")
        self.setDecimals(decimals)
        self.setRange(least, most)
        self.setButtonSymbols(QtWidgets.QAbstractSpinBox.ButtonSymbols.NoButtons)
        self.setKeyboardTracking(False)
        self.setFocusPolicy(FOCUS.StrongFocus)
        self.setAlignment(QtCore.Qt.AlignmentFlag.AlignRight)
        self.setFont(digits(self.font()))
        self.setMinimumWidth(60)
        self.setStepType(QtWidgets.QAbstractSpinBox.StepType.AdaptiveDecimalStepType)

    def keyPressEvent(self, event: QtGui.QKeyEvent) -> None:  # noqa: D102, N802
        super().keyPressEvent(event)
        if event.key() in (QtCore.Qt.Key.Key_Return, QtCore.Qt.Key.Key_Enter):
            self.clearFocus()
            event.accept()

    def paintEvent(self, _: QtGui.QPaintEvent) -> None:  # noqa: D102, N802
        draw_box(self, focused=self.hasFocus())  # the style's own cannot be seen on dark ground

    def wheelEvent(self, event: QtGui.QWheelEvent) -> None:  # noqa: D102, N802
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()


class Slider(QtWidgets.QSlider):
    """A horizontal slider between two numbers, in equal ratios where `ratios`."""

    STEPS = 1000
    moved_to = QtCore.Signal(float)

    def __init__(self, name: str, least: float, most: float, *, ratios: bool = False) -> None:
        super().__init__(QtCore.Qt.Orientation.Horizontal)
        self.setAccessibleName(name)
        self.setRange(0, self.STEPS)
        self.setPageStep(self.STEPS // 20)
        self.setSingleStep(self.STEPS // 100)
        self.setFocusPolicy(FOCUS.TabFocus)
        self._ratios = ratios
        self.set_limits(least, most)
        self.valueChanged.connect(lambda _: self.moved_to.emit(self.number()))

    def set_limits(self, least: float, most: float) -> None:
        """Change the numbers at the ends."""
        self._ends = (math.log(least), math.log(most)) if self._ratios else (least, most)

    def number(self) -> float:
        """Give the number it stands at."""
        least, most = self._ends
        at = least + (most - least) * self.value() / self.STEPS
        return math.exp(at) if self._ratios else at

    def stand_at(self, number: float) -> None:
        """Move it without telling anybody."""
        least, most = self._ends
        at = math.log(max(number, 1e-9)) if self._ratios else number
        before = self.blockSignals(True)
        self.setValue(round(self.STEPS * (at - least) / max(most - least, 1e-9)))
        self.blockSignals(before)
        self.update()

    def wheelEvent(self, event: QtGui.QWheelEvent) -> None:  # noqa: D102, N802
        event.ignore()


class Column(QtWidgets.QScrollArea):
    """The column of panels; scrolls where the screen is small, and leaves the keys alone."""

    def __init__(self, folds: list[Fold], width: int) -> None:
        super().__init__()
        self.setObjectName("column")
        self.setFocusPolicy(FOCUS.NoFocus)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(QtCore.Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        inside = QtWidgets.QWidget()
        inside.setObjectName("columnInside")
        column = QtWidgets.QVBoxLayout(inside)
        column.setContentsMargins(0, 2, 0, 6)
        column.setSpacing(2)
        for fold in folds:
            column.addWidget(fold)
        column.addStretch(1)
        self.setWidget(inside)
        self.setFixedWidth(width)

    def keyPressEvent(self, event: QtGui.QKeyEvent) -> None:  # noqa: D102, N802
        event.ignore()  # arrows jog, they do not scroll
