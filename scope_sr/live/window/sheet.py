"""The `?` sheet: every key there is, from the table of actions."""

from __future__ import annotations

from PySide6 import QtCore, QtGui, QtWidgets

from scope_sr.live.window.actions import ACTIONS, GROUPS, Act
from scope_sr.live.window.theme import Theme

MOUSE = (
    ("Double-click", "Bring that point to the middle of the field."),
    ("Alt and drag", "Move the stage with the picture."),
    ("Drag", "Move the picture, or the line of the split."),
    ("Wheel", "Zoom about the cursor."),
)
COLUMNS = (("View", "Help"), ("File", "Overlay", "Camera"), ("Stage", "Mouse"))


class Sheet(QtWidgets.QDialog):
    """The keys, beside the window while one works on: its keys are the window's own."""

    def __init__(self, parent: QtWidgets.QWidget | None, theme: Theme) -> None:
        super().__init__(parent)
        self.setWindowTitle("Keys - scope-sr live")
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(16, 12, 16, 12)
        row.setSpacing(18)
        for groups in COLUMNS:
            label = QtWidgets.QLabel(_column(groups, theme))
            label.setTextFormat(QtCore.Qt.TextFormat.RichText)
            label.setAlignment(QtCore.Qt.AlignmentFlag.AlignTop)
            label.setTextInteractionFlags(QtCore.Qt.TextInteractionFlag.TextSelectableByMouse)
            label.setAccessibleName("Keys: " + ", ".join(groups))
            row.addWidget(label)
        if parent is not None:
            self.addActions(parent.actions())  # Esc stops the stage from here as well

    def keyPressEvent(self, event: QtGui.QKeyEvent) -> None:  # noqa: D102, N802
        self._hand_on(event)

    def keyReleaseEvent(self, event: QtGui.QKeyEvent) -> None:  # noqa: D102, N802
        self._hand_on(event)

    def _hand_on(self, event: QtGui.QKeyEvent) -> None:
        parent = self.parentWidget()
        if parent is not None:
            QtWidgets.QApplication.sendEvent(parent, event)


def told() -> dict[str, list[tuple[str, str]]]:
    """Give keys and what they do, by group."""
    table: dict[str, list[tuple[str, str]]] = {group: [] for group in (*GROUPS, "Mouse")}
    for act in ACTIONS:
        if act.keys:
            table[act.group].append((shown(act), act.tells))
    table["Mouse"] = list(MOUSE)
    return table


def shown(act: Act) -> str:
    """Write an action's first key for a person.

    Examples
    --------
    >>> from scope_sr.live.window.actions import BY_NAME
    >>> shown(BY_NAME["jog_left_far"])
    'Shift ←'
    """
    if not act.keys:
        return ""
    arrows = {"Left": "←", "Right": "→", "Up": "↑", "Down": "↓", "-": "−"}
    if act.keys[0] in arrows:
        return arrows[act.keys[0]]
    return " ".join(arrows.get(part, part) for part in act.keys[0].split("+") if part) or "+"


def _column(groups: tuple[str, ...], theme: Theme) -> str:
    table = told()
    parts = []
    for group in groups:
        rows = "".join(
            f"<tr><td style='padding:3px 14px 3px 0; white-space:nowrap; font-weight:600;"
            f" color:{theme.accent}'>{key}</td>"
            f"<td style='padding:3px 0; color:{theme.text}'>{tells.rstrip('.')}</td></tr>"
            for key, tells in table[group]
        )
        parts.append(
            f"<p style='margin:10px 0 4px 0; font-weight:600; color:{theme.quiet}'>{group}</p>"
            f"<table cellspacing='0'>{rows}</table>"
        )
    return "".join(parts)
