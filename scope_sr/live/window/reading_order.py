"""The way of the Tab key: as one reads."""

from __future__ import annotations

from PySide6 import QtCore, QtWidgets


def in_reading_order(root: QtWidgets.QWidget) -> list[QtWidgets.QWidget]:
    """List what Tab reaches within a part, line by line."""
    found = [
        widget
        for widget in root.findChildren(QtWidgets.QWidget)
        if widget.window() is root.window()
        and widget.focusPolicy() & QtCore.Qt.FocusPolicy.TabFocus
        and widget.focusProxy() is None
        and not isinstance(widget.parentWidget(), QtWidgets.QAbstractSpinBox | QtWidgets.QComboBox)
    ]

    def place(widget: QtWidgets.QWidget) -> tuple[int, int]:
        middle = widget.mapTo(root, widget.rect().center())
        return (middle.y() // 18, middle.x())

    return sorted(found, key=place)
