"""Snapshots: the last ones as small pictures; a click opens their folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PySide6 import QtCore, QtGui, QtWidgets

from scope_sr.live.seen import Rgb
from scope_sr.live.window.panels.parts import FOCUS, words

SIDE_PX = 64
KEPT = 12


class SnapshotsPanel(QtWidgets.QWidget):
    """The strip of what was saved, the newest left."""

    opened = QtCore.Signal(object)  # Path

    def __init__(self) -> None:
        super().__init__()
        self._shots: list[QtWidgets.QToolButton] = []
        self.none = words("S takes one: original, enhanced and nuclei.", "quiet", wraps=True)
        self.film = QtWidgets.QScrollArea()
        self.film.setObjectName("film")
        self.film.setFocusPolicy(FOCUS.NoFocus)
        self.film.setWidgetResizable(True)
        self.film.setFixedHeight(SIDE_PX + 22)
        inside = QtWidgets.QWidget()
        inside.setObjectName("columnInside")
        self.row = QtWidgets.QHBoxLayout(inside)
        self.row.setContentsMargins(0, 0, 0, 0)
        self.row.setSpacing(5)
        self.row.addStretch(1)
        self.film.setWidget(inside)
        self.film.hide()
        column = QtWidgets.QVBoxLayout(self)
        column.addWidget(self.none)
        column.addWidget(self.film)

    def add(self, path: Path, rgb: Rgb) -> None:
        """Append a snapshot that lies safely on the disk."""
        self.none.hide()
        self.film.show()
        shot = QtWidgets.QToolButton()
        shot.setObjectName("shot")
        shot.setFocusPolicy(FOCUS.TabFocus)
        shot.setIcon(QtGui.QIcon(_small(rgb)))
        shot.setIconSize(QtCore.QSize(SIDE_PX, SIDE_PX))
        shot.setAccessibleName(f"Snapshot {path.name}")
        shot.setToolTip(f"{path.name}\nA click opens the folder")
        shot.clicked.connect(lambda: self.opened.emit(path))
        self.row.insertWidget(0, shot)
        self._shots.insert(0, shot)
        for old in self._shots[KEPT:]:
            self.row.removeWidget(old)
            old.deleteLater()
        del self._shots[KEPT:]


def _small(rgb: Rgb) -> QtGui.QPixmap:
    step = max(1, min(rgb.shape[:2]) // (2 * SIDE_PX))
    thin = np.ascontiguousarray(rgb[::step, ::step])
    high, wide = thin.shape[:2]
    picture = QtGui.QImage(thin.data, wide, high, 3 * wide, QtGui.QImage.Format.Format_RGB888)
    cut = QtCore.Qt.AspectRatioMode.KeepAspectRatioByExpanding
    smooth = QtCore.Qt.TransformationMode.SmoothTransformation
    scaled = QtGui.QPixmap.fromImage(picture).scaled(SIDE_PX, SIDE_PX, cut, smooth)
    left, top = (scaled.width() - SIDE_PX) // 2, (scaled.height() - SIDE_PX) // 2
    return scaled.copy(left, top, SIDE_PX, SIDE_PX)
