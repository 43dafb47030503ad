"""What of the window is kept from one day to the next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6 import QtCore, QtWidgets

from scope_sr.live.window.settings import Settings
from scope_sr.live.window.theme import THEMES

if TYPE_CHECKING:
    from scope_sr.live.window.window import LiveWindow

FIRST_SIZE = QtCore.QSize(1440, 900)
LOW_PX = 1000  # on a window lower than this the map begins folded
MODES = ("original", "enhanced", "split", "lens", "side")


def restore(window: LiveWindow, settings: Settings) -> None:
    """Put the window as it was left; the first time as suits a newcomer: split, nuclei shown."""
    window.set_theme(THEMES[settings.choice("theme", tuple(THEMES), "dark")])
    _restore_place(window, settings)
    window.canvas.set_split(settings.number("split", 0.5, 0.0, 1.0))
    window.nuclei_panel.opacity.stand_at(settings.number("opacity", 0.9, 0.0, 1.0))
    window.nuclei_panel.outline.setChecked(settings.flag("outline", True))
    window.nuclei_panel.fill.setChecked(settings.flag("fill", False))
    window.check("nuclei", settings.flag("nuclei", True))
    window.stage_panel.step.setValue(settings.number("step_um", 50.0, 0.1, 1e4))
    window.stage_panel.focus_step.setValue(settings.number("focus_step_um", 1.0, 0.05, 500.0))
    for fold in window.folds:
        title = fold.head.text()
        low = title == "Map" and window.height() < LOW_PX
        fold.head.setChecked(not settings.flag(f"folded/{title}", low))
    _restore_model(window, settings)
    window.deeds.set_gains(settings.gains(window.pipeline.stand.name))
    window.show_nuclei()
    window.deeds.look(settings.choice("mode", MODES, "split"))


def keep(window: LiveWindow, settings: Settings) -> None:
    """Remember how the window is left."""
    panel = window.nuclei_panel
    for key, value in {
        "geometry": window.saveGeometry(),
        "theme": window.theme.name,
        "mode": window.canvas.mode,
        "split": float(window.canvas.split),
        "opacity": panel.opacity.number(),
        "outline": panel.outline.isChecked(),
        "fill": panel.fill.isChecked(),
        "nuclei": window.nuclei_shown,
        "step_um": window.stage_panel.step.value(),
        "focus_step_um": window.stage_panel.focus_step.value(),
        "model": window.enhancement_panel.picker.currentData(),
        **{f"folded/{fold.head.text()}": not fold.head.isChecked() for fold in window.folds},
    }.items():
        settings.put(key, value)
    settings.put_gains(window.pipeline.stand.name, window.pipeline.camera.gains)
    settings.flush()


def _restore_place(window: LiveWindow, settings: Settings) -> None:
    """Take the last place and size, unless its screen is gone."""
    window.resize(FIRST_SIZE)
    geometry = settings.bytes("geometry")
    if not geometry.isEmpty():
        window.restoreGeometry(geometry)  # False, and nothing done, where it is damaged
    screen = QtWidgets.QApplication.primaryScreen()
    if screen is not None:
        window.resize(window.size().boundedTo(screen.availableSize()))


def _restore_model(window: LiveWindow, settings: Settings) -> None:
    """Take what was wished for on the command line, else the model of the last time."""
    picker, wished = window.enhancement_panel.picker, window.pipeline.model.wishes
    window.nuclei_chosen = wished.nuclei or "auto"
    if not wished.nuclei:
        window.check("nuclei", False)
    remembered = settings.text("model", "auto")
    there = picker.findData(remembered) >= 0 or Path(remembered).is_file()
    picker.choose(remembered if wished.model == "auto" and there else wished.model)
