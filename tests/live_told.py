"""``scope-sr live`` as it is, but telling a file several times a second what is on the screen.

A test that clicks has to know where a button is and what became of it; the program itself is
untouched, and everything happens through the X server. ``LIVE_TOLD`` names the file.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtWidgets

from scope_sr.cli import main
from scope_sr.live.window import showing
from scope_sr.live.window.window import LiveWindow

EVERY_MS = 60


class ToldWindow(LiveWindow):
    """The window, with a clock that writes down what it shows."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._told = Path(os.environ["LIVE_TOLD"])
        self._teller = QtCore.QTimer(self, interval=EVERY_MS)
        self._teller.timeout.connect(self._tell)
        self._teller.start()

    def _tell(self) -> None:
        part = self._told.with_suffix(".part")
        part.write_text(json.dumps(self._facts()))
        part.replace(self._told)

    def _facts(self) -> dict[str, Any]:
        pane, pipeline, enhanced = self.canvas.panes[0], self.pipeline, self.canvas.enhanced
        return {
            "seen": self._seen_facts(),
            "rects": {name: _rect(widget) for name, widget in self._pressed().items()},
            "mode": self.canvas.mode,
            "split": self.canvas.split,
            "grip": self._on_screen(self.canvas.comparison.grip(self.canvas.sight_of(pane))),
            "held": self.canvas.comparison.held,
            "lens_px": self.canvas.comparison.radius_px,
            "lens_at": self._on_screen(self.canvas.comparison.lens),
            "zoom": self.canvas.sight.zoom,
            "middle": self._on_screen(self.canvas.sight_of(pane).at(
                (self.canvas.sight.rows - 1) / 2, (self.canvas.sight.columns - 1) / 2)),
            "theme": self.theme.name,
            "writing_pt": min(part.font().pointSizeF() for part in
                              (self.menuBar(), self.toolbar, self.status, self.stage_panel)),
            "covered": enhanced.covered,
            "made_of": enhanced.seen.view if enhanced.seen else None,
            "model": enhanced.model,
            "count": len(enhanced.areas_um2),
            "frozen": pipeline.camera.frozen,
            "gains": pipeline.camera.gains,
            "wishes": {
                "nuclei": pipeline.model.wishes.nuclei,
                "apart": pipeline.model.wishes.disagreement,
            },
            "apart": enhanced.apart is not None,
            "busy": pipeline.hands.busy,
            "recording": pipeline.writer.recording is not None,
            "full_screen": self.isFullScreen(),
            "size": [self.width(), self.height()],
            "notes": [[note.topic, note.words, note.bad] for note in pipeline.board.notes()],
            "errors": [note.words for note in pipeline.board.errors],
            "dialogs": [_rect(one) for one in QtWidgets.QApplication.topLevelWidgets()
                        if isinstance(one, QtWidgets.QDialog) and one.isVisible()],
        }  # fmt: skip

    def _seen_facts(self) -> dict[str, Any] | None:
        if self.seen is None:
            return None
        frame, where = self.seen.frame, self.seen.frame.position
        return {
            "number": frame.number, "view": self.seen.view, "um_per_px": self.seen.um_per_px,
            "stage_um": [where.x_um, where.y_um, where.z_um], "objective": frame.objective,
            "exposure_ms": frame.exposure_ms, "shape": self.seen.shape,
            "mean": self.seen.rgb[::16, ::16].mean(axis=(0, 1)).tolist(),
        }  # fmt: skip

    def _pressed(self) -> dict[str, QtWidgets.QWidget]:
        stage, camera = self.stage_panel, self.camera_panel
        tools = {
            one.objectName(): one
            for one in self.toolbar.findChildren(QtWidgets.QToolButton)
            if one.objectName()
        }
        turret = dict(stage.objectives)
        jogs = {f"jog_{name}": pressed for name, pressed in stage.jogs.items()}
        folds = {f"fold {fold.head.text()}": fold.head for fold in self.folds}
        return tools | turret | jogs | folds | {
            "stop": stage.stop, "blank": camera.blank,
            "minimap": self.minimap, "pane": self.canvas.panes[0].viewport(),
        }  # fmt: skip

    def _on_screen(self, at: QtCore.QPointF | None) -> list[float] | None:
        if at is None:
            return None
        found = self.canvas.panes[0].viewport().mapToGlobal(at)
        return [found.x(), found.y()]


def _rect(widget: QtWidgets.QWidget) -> list[int] | None:
    """Give left, top, width and height on the screen; None where it cannot be seen."""
    if not widget.isVisible():
        return None
    corner = widget.mapToGlobal(QtCore.QPoint(0, 0))
    return [corner.x(), corner.y(), widget.width(), widget.height()]


if __name__ == "__main__":
    showing.LiveWindow = ToldWindow  # type: ignore[misc]
    sys.argv[0] = "scope-sr"
    main()
