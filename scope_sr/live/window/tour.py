"""Five steps through the window, for whoever sees it for the first time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6 import QtCore, QtWidgets

from scope_sr.live.window.panels.parts import words
from scope_sr.software import NOTICE

if TYPE_CHECKING:
    from scope_sr.live.window.window import LiveWindow

STEPS = (
    ("The picture", "Left of the line is what the camera sees, right of it what a network makes of"
     f" it. Drag the line, or press [ and ]. Hold O to see the original. {NOTICE}"),
    ("Five ways to look", "Keys 1 to 5: original, enhanced, split, lens, side by side. The tags at"
     " the top say how old the enhanced picture is: green is live."),
    ("Move", "Arrows move the stage, PgUp and PgDn the focus, with Shift ten times as far."
     " Double-click a point to bring it to the middle. Esc stops everything."),
    ("Light", "When the number under the histogram turns amber, pixels are too bright or too dark"
     " to measure. On a field without tissue, W makes glass neutral."),
    ("Nuclei and pictures", "N shows the nuclei and counts them, S saves a snapshot with how it"
     " came about, R records. The question mark shows all keys."),
)  # fmt: skip


class Tour(QtWidgets.QDialog):
    """A small dialog over the picture; it can be left at any step."""

    def __init__(self, window: LiveWindow) -> None:
        super().__init__(window)
        self.setWindowTitle("Tour")
        self.setMinimumWidth(430)
        self.at = 0
        self.title = words("", "head")
        self.words = words("", wraps=True)
        self.words.setMinimumHeight(90)
        self.words.setAlignment(QtCore.Qt.AlignmentFlag.AlignTop)
        self.skip = QtWidgets.QPushButton("Leave")
        self.back = QtWidgets.QPushButton("Back")
        self.next = QtWidgets.QPushButton("Next")
        self.next.setDefault(True)
        row = QtWidgets.QHBoxLayout()
        row.addWidget(self.skip)
        row.addStretch(1)
        row.addWidget(self.back)
        row.addWidget(self.next)
        column = QtWidgets.QVBoxLayout(self)
        column.setContentsMargins(20, 16, 20, 14)
        column.setSpacing(9)
        column.addWidget(self.title)
        column.addWidget(self.words)
        column.addLayout(row)
        self.skip.clicked.connect(self.reject)
        self.back.clicked.connect(lambda: self._go(self.at - 1))
        self.next.clicked.connect(lambda: self._go(self.at + 1))
        self._go(0)

    def _go(self, at: int) -> None:
        if at >= len(STEPS):
            self.accept()
            return
        self.at = at
        title, told = STEPS[at]
        self.title.setText(f"{at + 1} of {len(STEPS)}: {title}")
        self.words.setText(told)
        self.back.setEnabled(at > 0)
        self.next.setText("Done" if at + 1 == len(STEPS) else "Next")
