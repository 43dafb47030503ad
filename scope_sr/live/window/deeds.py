"""What the window does when it is told to; the methods that the table of actions names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6 import QtCore, QtGui, QtWidgets

from scope_sr.errors import InputError
from scope_sr.live.dyes import VISIBLE_DN
from scope_sr.live.levels import gains_of_blank, gains_of_neutral
from scope_sr.live.window import moments
from scope_sr.live.window.directions import along_the_picture, with_the_picture
from scope_sr.live.window.sheet import Sheet
from scope_sr.live.window.theme import THEMES
from scope_sr.live.window.tour import Tour
from scope_sr.software import NOTICE, this_version

if TYPE_CHECKING:
    from scope_sr.live.window.window import LiveWindow

NEUTRAL = (1.0, 1.0, 1.0)
BALANCE = "white balance"
DISAGREEMENT = (
    f"Red: enhanced and camera differ by more than {VISIBLE_DN:g} grey levels; nothing red: they"
    " agree"
)


class Deeds:
    """Does what a button, a menu or a key asks for."""

    def __init__(self, window: LiveWindow) -> None:
        self._window = window
        self._pipeline = window.pipeline
        self._sheet: Sheet | None = None
        self._tour: Tour | None = None

    # the picture

    def freeze(self) -> None:
        """Hold the picture still, or go on."""
        frozen = not self._pipeline.camera.frozen
        self._pipeline.camera.frozen = frozen
        self._window.canvas.set_frozen(frozen)
        self._window.check("freeze", frozen)
        if frozen:
            self._pipeline.board.say("freeze", "The picture is frozen; Space goes on", bad=False)
        else:
            self._pipeline.board.clear("freeze")

    def look(self, mode: str) -> None:
        """Take one of the five modes."""
        self._window.canvas.set_mode(mode)
        self._window.check(mode, True)
        self._window.wish()

    def hold_original(self, on: bool) -> None:
        """Show the original for a while."""
        self._window.canvas.hold_original(on)

    def fit(self) -> None:
        """Show the whole field."""
        self._window.canvas.fit()

    def one_to_one(self) -> None:
        """Show one pixel of the camera as one of the screen."""
        self._window.canvas.one_to_one()

    def zoom(self, factor: float) -> None:
        """Magnify."""
        self._window.canvas.zoom_by(factor)

    def split_by(self, share: float) -> None:
        """Move the line of the split."""
        canvas = self._window.canvas
        canvas.set_split(min(max(canvas.split + share, 0.0), 1.0))

    def lens_by(self, factor: float) -> None:
        """Make the lens larger or smaller."""
        self._window.canvas.set_lens(factor=factor)

    def full_screen(self) -> None:
        """Fill the screen, or go back."""
        full = not self._window.isFullScreen()
        self._window.setWindowState(
            self._window.windowState() ^ QtCore.Qt.WindowState.WindowFullScreen
        )
        self._window.check("full_screen", full)

    def next_theme(self) -> None:
        """Take the next palette."""
        names = list(THEMES)
        at = names.index(self._window.theme.name)
        self._window.set_theme(THEMES[names[(at + 1) % len(names)]])

    # what is laid over it

    def nuclei(self) -> None:
        """Show or hide the nuclei."""
        self._window.check("nuclei", not self._window.nuclei_shown)
        self._window.show_nuclei()
        self._window.wish()

    def disagreement(self) -> None:
        """Show or hide where the enhanced picture differs from the original."""
        on = not self._pipeline.model.wishes.disagreement
        self._window.check("disagreement", on)
        self._window.canvas.set_disagreement(on)
        self._window.wish()
        if on:
            self._pipeline.board.say("disagreement", DISAGREEMENT, bad=False)
        else:
            self._pipeline.board.clear("disagreement")

    def clipping(self) -> None:
        """Mark clipped pixels, or not."""
        self._window.canvas.set_clipping(self._window.turn("clipping"))

    def crosshair(self) -> None:
        """Show a cross in the middle, or not."""
        self._window.canvas.set_crosshair(self._window.turn("crosshair"))

    # camera

    def white_balance(self) -> None:
        """Make this field neutral."""
        seen = self._window.seen
        if seen is not None:
            self._balance(lambda: gains_of_blank(seen.rgb, current=self._pipeline.camera.gains))

    def neutral_point(self) -> None:
        """Wait for a click on a colourless point, or do not wait any more."""
        picking = self._window.turn("neutral_point")
        self._window.canvas.set_picking(picking)
        self._window.camera_panel.neutral.setChecked(picking)
        if picking:
            words = "Click a point of the picture that is colourless, as clear glass; Esc leaves it"
            self._pipeline.board.say(BALANCE, words, bad=False)
        else:
            self._pipeline.board.clear(BALANCE)

    def pick(self, row: float, column: float) -> None:
        """Make the point that was clicked neutral."""
        seen = self._window.seen
        self.neutral_point()
        if seen is not None:
            current = self._pipeline.camera.gains
            self._balance(lambda: gains_of_neutral(seen.rgb, row, column, current=current))

    def reset_balance(self) -> None:
        """Show the colours as they come."""
        self.set_gains(NEUTRAL)
        self._pipeline.board.clear(BALANCE)

    def set_gains(self, gains: tuple[float, float, float]) -> None:
        """Take a white balance."""
        self._pipeline.camera.gains = gains
        self._window.camera_panel.show_gains(gains)

    def _balance(self, gains: object) -> None:
        try:
            self.set_gains(gains())  # type: ignore[operator]
        except InputError as error:
            self._pipeline.board.say(BALANCE, str(error), bad=False)  # nothing is broken
        else:
            self._pipeline.board.say(BALANCE, "The white balance is set", bad=False)

    # stage

    def jog(self, right: float, down: float) -> None:
        """Move the view by steps to the right and down."""
        objective = self._window.objective
        abilities = self._pipeline.stand.abilities()
        if abilities.stage:
            self._pipeline.board.say("stage", f"The stage cannot move: {abilities.stage}")
            return
        step_um = self._window.stage_panel.step.value()
        x_um, y_um = along_the_picture(
            self._pipeline.stand.record, objective, right * step_um, down * step_um
        )
        self._pipeline.hands.move_by(x_um, y_um)

    def drag(self, rows: float, columns: float) -> None:
        """Move the stage so that the tissue follows the cursor by so many pixels."""
        record = self._pipeline.stand.record
        by_um = with_the_picture(record, self._window.objective, rows, columns)
        if by_um is not None and not self._pipeline.stand.abilities().stage:
            self._pipeline.hands.move_by(*by_um)

    def centre(self, row: float, column: float) -> None:
        """Bring a point of the picture to the middle."""
        seen = self._window.seen
        if seen is not None:
            self._pipeline.hands.centre_on(seen, row, column)

    def focus(self, up: float) -> None:
        """Move the focus drive by steps."""
        abilities = self._pipeline.stand.abilities()
        if abilities.focus:
            self._pipeline.board.say("stage", f"The focus cannot move: {abilities.focus}")
            return
        self._pipeline.hands.move_by(0.0, 0.0, up * self._window.stage_panel.focus_step.value())

    def stop(self) -> None:
        """Stop the stage, and whatever waits for a click; put the keys away."""
        if self._sheet:
            self._sheet.close()
        if self._window.is_on("neutral_point"):
            self.neutral_point()
        self._pipeline.hands.stop()

    # files

    def snapshot(self) -> None:
        """Save what is there."""
        moment = moments.moment(self._window)
        if moment is None:
            self._pipeline.board.say("snapshot", "There is no picture yet to save", bad=False)
            return
        self._pipeline.writer.snapshot(
            moment, lambda path: self._window.saved.emit(path, moment.seen.rgb)
        )

    def record(self) -> None:
        """Begin or end a recording."""
        recording = self._pipeline.writer.recording is not None
        if recording:
            self._pipeline.writer.end_recording()
        else:
            self._pipeline.writer.begin_recording(moments.circumstances(self._window))
        self._window.check("record", not recording)

    def open_model(self) -> None:
        """Ask for a model file and take it."""
        path, _ = QtWidgets.QFileDialog.getOpenFileName(
            self._window, "Open a model file", str(Path.cwd()), "Models (*.ts);;All files (*)"
        )
        if path:
            self._window.enhancement_panel.picker.choose(path)
            self._window.choose_model()

    def open_folder(self, path: Path | None = None) -> None:
        """Show the folder of what was saved."""
        folder = path.parent if path else self._pipeline.writer.folder
        if not folder.is_dir():
            words = f"{folder}: nothing was saved there yet"
            self._pipeline.board.say("folder", words, bad=False)
            return
        if not QtGui.QDesktopServices.openUrl(QtCore.QUrl.fromLocalFile(str(folder.resolve()))):
            self._pipeline.board.say("folder", f"Snapshots are in {folder.resolve()}", bad=False)

    def quit(self) -> None:
        """Close the window."""
        self._window.close()

    # help

    def keys(self) -> None:
        """Show the keys, or put them away."""
        if self._sheet and self._sheet.isVisible():
            self._sheet.close()
            return
        self._sheet = Sheet(self._window, self._window.theme)
        self._sheet.show()

    def tour(self) -> None:
        """Lead through the window."""
        self._tour = Tour(self._window)
        self._tour.show()

    def about(self) -> None:
        """Say what this is, and what it is not for."""
        QtWidgets.QMessageBox.about(
            self._window,
            "About scope-sr live",
            f"<h3>{this_version()}</h3><p>{NOTICE}</p>"
            "<p>The live view of a microscope: the camera's picture, always live, and beside it"
            " what a network makes of it.</p><p>BSD-3-Clause licence.</p>",
        )
