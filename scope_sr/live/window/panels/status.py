"""The status line: where the cursor is, how fast and how late the pictures are, what computes."""

from __future__ import annotations

import time

from PySide6 import QtCore, QtGui, QtWidgets

from scope_sr.live.seen import Seen
from scope_sr.live.window.panels.parts import look, words
from scope_sr.live.window.theme import digits
from scope_sr.live.window.view.marks import in_words
from scope_sr.live.window.view.pointing import Pointed

# What can stand there, its longest words, and how long it stays when the window is narrow
PLACES = (
    ("cursor", "x −99999.9  y −99999.9 µm", 6),
    ("colour", "RGB 255 255 255 → 255 255 255 (59 min old)", 2),
    ("original", "30.0 fps", 9),
    ("enhanced", "enhanced 30.0 fps", 8),
    ("latency", "latency 9999 ms (p95 9999)", 7),
    ("model", "model 9999 ms", 5),
    ("skipped", "skipped 100 %", 3),
    ("backend", "", 4),
    ("recording", "● 00:00:00  999.9 GB free", 10),
)
TELLS = {
    "cursor": "Where the cursor points, from the middle of the field",
    "colour": "Red, green and blue there: original → enhanced",
    "original": "Pictures of the camera on the screen, per second",
    "enhanced": "Parts of the enhanced picture, per second",
    "latency": "From a frame's arrival in this program to its painting: median and 95th percentile",
    "model": "What the last part took the networks",
    "skipped": "Frames of the camera that were left out because a newer one was there",
    "backend": "What computes the enhanced picture",
    "recording": "How long the recording is, and what the disk still holds",
}
BETWEEN = 22


class StatusLine(QtWidgets.QFrame):
    """Words at fixed places, so that nothing moves while numbers change."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("statusLine")
        self.labels: dict[str, QtWidgets.QLabel] = {}
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(12, 3, 12, 3)
        row.setSpacing(BETWEEN)
        for name, longest, _ in PLACES:
            label = words("", "quiet" if name in ("colour", "skipped", "backend") else "")
            label.setFont(digits(label.font()))
            label.setAccessibleName(TELLS[name])
            label.setToolTip(TELLS[name])
            label.setMinimumWidth(_wide(label, longest))
            self.labels[name] = label
            row.addWidget(label)
            if name == "colour":
                row.addStretch(1)
        self.labels["recording"].hide()

    def tell(self, **told: str) -> None:
        """Write at some of the places."""
        for name, text in told.items():
            self.labels[name].setText(text)
        if "backend" in told:
            self._make_room()

    def tell_recording(self, text: str) -> None:
        """Write how the recording goes on; empty: there is none."""
        label = self.labels["recording"]
        label.setText(text)
        look(label, "bad" if text else "")
        if label.isHidden() == bool(text):
            self._make_room()

    def minimumSizeHint(self) -> QtCore.QSize:  # noqa: D102, N802
        return QtCore.QSize(200, super().minimumSizeHint().height())

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:  # noqa: D102, N802
        super().resizeEvent(event)
        self._make_room()

    def _make_room(self) -> None:
        """Hide what matters least where not all of it fits."""
        room = self.width() - 24
        for name, longest, _ in sorted(PLACES, key=lambda place: -place[2]):
            label = self.labels[name]
            wide = max(_wide(label, longest), _wide(label, label.text())) + BETWEEN
            wanted = bool(label.text()) or name != "recording"
            label.setVisible(wanted and wide <= room)
            room -= wide if wanted else 0


def _wide(label: QtWidgets.QLabel, text: str) -> int:
    return QtGui.QFontMetrics(label.font()).horizontalAdvance(text) + 2


def under_the_cursor(pointed: Pointed | None, seen: Seen | None) -> dict[str, str]:
    """Write a place of the picture and its colours for the status line."""
    if pointed is None or seen is None:
        return {"cursor": "", "colour": ""}
    rows, columns = seen.shape
    um, unit = seen.um_per_px or 1.0, "µm" if seen.um_per_px else "px"
    x = (pointed.column - (columns - 1) / 2) * um
    y = (pointed.row - (rows - 1) / 2) * um
    colour = "RGB " + " ".join(str(level) for level in pointed.rgb)
    if pointed.enhanced is not None:
        colour += " → " + " ".join(str(level) for level in pointed.enhanced)
    if pointed.made_s is not None:
        colour += f" ({in_words(time.monotonic() - pointed.made_s)} old)"
    return {"cursor": f"x {x:.1f}  y {y:.1f} {unit}".replace("-", "−"), "colour": colour}
