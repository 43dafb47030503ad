"""The pictures on the toolbar, drawn here: nothing is fetched, and they follow the theme."""

from __future__ import annotations

from collections.abc import Callable

from PySide6 import QtCore, QtGui

from scope_sr.live.window.theme import Theme, faded

SIDE = 20  # the grid they are drawn on
SHARP = 3  # pixels of the pixmap to one of the grid

_Pen = QtGui.QPainter
_Rect = QtCore.QRectF
_Point = QtCore.QPointF


def icon(name: str, theme: Theme) -> QtGui.QIcon:
    """Give a picture by the name of its action; an empty one where there is none."""
    made = QtGui.QIcon()
    if name not in _DRAWN:
        return made
    mode, state = QtGui.QIcon.Mode, QtGui.QIcon.State
    looks = (
        (mode.Normal, state.Off, theme.text),
        (mode.Normal, state.On, theme.on_stop if name == "record" else theme.on_accent),
        (mode.Disabled, state.Off, faded(theme)),
        (mode.Disabled, state.On, faded(theme)),
    )
    for one, at, colour in looks:
        made.addPixmap(_drawn(name, colour), one, at)
    return made


def _drawn(name: str, colour: str) -> QtGui.QPixmap:
    pixmap = QtGui.QPixmap(SIDE * SHARP, SIDE * SHARP)
    pixmap.setDevicePixelRatio(SHARP)
    pixmap.fill(QtCore.Qt.GlobalColor.transparent)
    pen = _Pen(pixmap)
    pen.setRenderHint(_Pen.RenderHint.Antialiasing)
    line = QtGui.QPen(QtGui.QColor(colour), 1.6)
    line.setCapStyle(QtCore.Qt.PenCapStyle.RoundCap)
    line.setJoinStyle(QtCore.Qt.PenJoinStyle.RoundJoin)
    pen.setPen(line)
    _DRAWN[name](pen, QtGui.QColor(colour))
    pen.end()
    return pixmap


def _freeze(pen: _Pen, colour: QtGui.QColor) -> None:
    pen.fillRect(_Rect(5.5, 4, 3, 12), colour)
    pen.fillRect(_Rect(11.5, 4, 3, 12), colour)


def _snapshot(pen: _Pen, _: QtGui.QColor) -> None:
    path = QtGui.QPainterPath()
    path.addRoundedRect(_Rect(2, 6, 16, 10.5), 2, 2)
    path.addEllipse(_Point(10, 11.2), 3.2, 3.2)
    path.moveTo(7, 6)
    path.lineTo(8.2, 3.6)
    path.lineTo(11.8, 3.6)
    path.lineTo(13, 6)
    pen.drawPath(path)


def _record(pen: _Pen, colour: QtGui.QColor) -> None:
    pen.drawEllipse(_Point(10, 10), 7, 7)
    pen.setBrush(colour)
    pen.drawEllipse(_Point(10, 10), 3.2, 3.2)


def _frame(pen: _Pen) -> None:
    pen.drawRoundedRect(_Rect(2.5, 3.5, 15, 13), 1.5, 1.5)


def _original(pen: _Pen, _: QtGui.QColor) -> None:
    _frame(pen)


def _enhanced(pen: _Pen, colour: QtGui.QColor) -> None:
    _frame(pen)
    for row in range(3):
        for column in range(4):
            pen.fillRect(_Rect(5 + 2.8 * column, 6 + 3.2 * row, 1.6, 1.8), colour)


def _split(pen: _Pen, colour: QtGui.QColor) -> None:
    _frame(pen)
    pen.drawLine(_Point(10, 1.5), _Point(10, 18.5))
    pen.fillRect(_Rect(10, 4, 7, 12), colour)


def _lens(pen: _Pen, colour: QtGui.QColor) -> None:
    pen.drawEllipse(_Point(8.5, 8.5), 5.5, 5.5)
    thick = QtGui.QPen(colour, 2.4)
    thick.setCapStyle(QtCore.Qt.PenCapStyle.RoundCap)
    pen.setPen(thick)
    pen.drawLine(_Point(12.9, 12.9), _Point(17, 17))


def _side(pen: _Pen, colour: QtGui.QColor) -> None:
    pen.drawRoundedRect(_Rect(1.8, 4, 7.2, 12), 1.2, 1.2)
    pen.setBrush(colour)
    pen.drawRoundedRect(_Rect(11, 4, 7.2, 12), 1.2, 1.2)


def _nuclei(pen: _Pen, colour: QtGui.QColor) -> None:
    for x, y, wide, high in ((6.5, 7, 3.6, 2.8), (13.6, 6, 2.4, 2.6), (11.5, 14, 4.4, 2.6)):
        pen.drawEllipse(_Point(x, y), wide, high)
        pen.setBrush(colour)
        pen.drawEllipse(_Point(x, y), 0.8, 0.8)
        pen.setBrush(QtCore.Qt.BrushStyle.NoBrush)


def _fit(pen: _Pen, _: QtGui.QColor) -> None:
    for x, y, right, down in ((3, 3, 1, 1), (17, 3, -1, 1), (3, 17, 1, -1), (17, 17, -1, -1)):
        pen.drawLine(_Point(x, y), _Point(x + 4.5 * right, y))
        pen.drawLine(_Point(x, y), _Point(x, y + 4.5 * down))
    pen.drawRect(_Rect(7, 7, 6, 6))


def _one_to_one(pen: _Pen, _: QtGui.QColor) -> None:
    for x in (4.5, 15.5):
        pen.drawLine(_Point(x, 4.5), _Point(x, 15.5))
        pen.drawLine(_Point(x, 4.5), _Point(x - 2, 6))
    pen.drawPoint(_Point(10, 7.5))
    pen.drawPoint(_Point(10, 12.5))


def _keys(pen: _Pen, _: QtGui.QColor) -> None:
    pen.drawEllipse(_Point(10, 10), 7.5, 7.5)
    path = QtGui.QPainterPath(_Point(7.6, 8))
    path.cubicTo(7.6, 4.6, 12.6, 4.8, 12.4, 8)
    path.cubicTo(12.3, 9.8, 10, 9.6, 10, 11.8)
    pen.drawPath(path)
    pen.drawPoint(_Point(10, 14.2))


def _full_screen(pen: _Pen, _: QtGui.QColor) -> None:
    corners = ((2.5, 3, 1, 1), (17.5, 3, -1, 1), (2.5, 17, 1, -1), (17.5, 17, -1, -1))
    for x, y, right, down in corners:
        pen.drawLine(_Point(x, y), _Point(x + 5 * right, y))
        pen.drawLine(_Point(x, y), _Point(x, y + 4.5 * down))


def _more(pen: _Pen, _: QtGui.QColor) -> None:
    for left in (5, 11):
        pen.drawPolyline([_Point(left, 6), _Point(left + 4, 10), _Point(left, 14)])


_DRAWN: dict[str, Callable[[_Pen, QtGui.QColor], None]] = {
    "freeze": _freeze, "snapshot": _snapshot, "record": _record, "original": _original,
    "enhanced": _enhanced, "split": _split, "lens": _lens, "side": _side, "nuclei": _nuclei,
    "fit": _fit, "one_to_one": _one_to_one, "full_screen": _full_screen,
    "keys": _keys, "more": _more,
}  # fmt: skip
