"""The picture a pathologist looks at: the original always live, the enhanced where it belongs.

Places in the field are rows and columns of the camera, whole numbers in the middle of a pixel; the
scene is in µm from the middle of the field, x to the right and y down (pixels of the camera where
nobody knows their size). All is called, and all signals come, in the thread of the window.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import QPointF, QRectF, Qt, Signal

from scope_sr.live.enhanced import Enhanced, Placed, borders
from scope_sr.live.seen import Patch, Seen, Shown
from scope_sr.live.window.theme import THEMES, Theme
from scope_sr.live.window.view import comparing, marks
from scope_sr.live.window.view.clipping import stripes
from scope_sr.live.window.view.comparing import Comparison
from scope_sr.live.window.view.field_item import OPAQUE, PREMULTIPLIED, Picture, image, over
from scope_sr.live.window.view.gestures import Gestures
from scope_sr.live.window.view.pane import Pane
from scope_sr.live.window.view.pointing import Pointed, Rgb, pointed_at
from scope_sr.live.window.view.sight import Sight

TICK_MS = 250  # so often the age of the pictures is looked at
DESCRIPTIONS = {
    "original": "The picture of the camera.",
    "enhanced": "The enhanced picture; the original where it is not there yet.",
    "split": "The original left of a line that can be dragged, the enhanced picture right of it.",
    "lens": "The original, with the enhanced picture in a circle around the cursor.",
    "side": "The original on the left, the enhanced picture on the right.",
}


class Canvas(QtWidgets.QWidget):
    """Shows frames and what was made of them.

    Attributes
    ----------
    enhanced
        All that was enhanced.
    offset_px
        Gives the columns and rows by which an older frame lies off in the newer one, None where it
        shows another place.
    objective_words
        Says the name of an objective as a person would: ``10x/0.30``.
    nothing
        What stands in place of the enhanced picture's name where there is none.
    comparison, sight
        How the two pictures are put beside each other, and what part of the field is seen.
    """

    MODES = comparing.MODES
    pointed = Signal(object)  # Pointed, or None
    centre_asked = Signal(float, float)  # row, column
    dragged = Signal(float, float)  # rows and columns by which the tissue is to move on the screen
    picked = Signal(float, float)  # row, column
    painted = Signal(object)  # Shown
    split_moved = Signal(float)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.enhanced = Enhanced()
        self.offset_px: Callable[[Seen, Seen], tuple[float, float] | None] = lambda old, new: None
        self.nothing = "Enhanced: nothing here yet"
        self.objective_words: Callable[[str], str] = lambda name: name.replace("x", "×")
        self.comparison = Comparison()
        self.sight = Sight()
        self._shown: Shown | None = None
        self._placed: list[Placed] = []
        self._unpainted: set[Pane] = set()
        self._nuclei, self._heat, self._clipping = False, False, False
        self._crosshair, self._frozen, self._ring = False, False, False
        self._tags: dict[str, marks.Tag] = {}
        self._borders: tuple[object, list[NDArray[np.int32]]] = (None, [])
        self._theme = THEMES["dark"]
        self.gestures = Gestures(self)
        self.panes = (Pane(self, self.gestures), Pane(self, self.gestures))
        self._arrange()
        self.set_theme(self._theme)
        self.set_mode("split")

    def show(self, shown: Shown | None = None) -> Shown | None:  # type: ignore[override]
        """Show a frame from now on.

        Returns
        -------
        Shown or None
            What is no longer painted: its pixels belong to the caller again. Without a frame this
            is Qt's own `show`.
        """
        if shown is None:
            super().show()
            return None
        before, self._shown = self._shown, shown
        seen = shown.seen
        self.sight = self.sight.of(*seen.shape, seen.um_per_px or 1.0)
        self._compose()
        self._unpainted = {pane for pane in self.panes if not pane.isHidden()}
        return before

    def lay(self, patches: list[Patch]) -> None:
        """Put enhanced patches in their places."""
        for patch in patches:
            self.enhanced.lay(patch)
        self._compose()

    def clear(self) -> None:
        """Forget what was enhanced."""
        self.enhanced.clear()
        self._compose()

    @property
    def shown(self) -> Shown | None:
        """The frame on the screen."""
        return self._shown

    @property
    def mode(self) -> str:
        """One of `MODES`."""
        return self.comparison.mode

    @property
    def split(self) -> float:
        """Where the line is, as a share of what is visible of the field."""
        return self.comparison.split

    @property
    def area_px(self) -> tuple[float, float, float, float]:
        """Top, left, rows and columns of what can be seen of the enhanced picture, or of nuclei."""
        pane = self.panes[self.mode == "side"]
        sight, parts = self.sight_of(pane), self._parts(pane)
        part = parts.rest if parts.enhanced.isEmpty() else parts.enhanced
        (top, left), (bottom, right) = map(sight.place, (part.topLeft(), part.bottomRight()))
        return top + 0.5, left + 0.5, bottom - top, right - left

    def set_mode(self, mode: str) -> None:
        """Put the two pictures beside each other in another way."""
        if mode not in self.MODES:
            raise ValueError(mode)
        self.comparison = replace(self.comparison, mode=mode)
        self.setAccessibleDescription(DESCRIPTIONS[mode])
        self.panes[1].setVisible(mode == "side")
        layout = self.layout()
        if layout is not None:
            layout.activate()
        self.gestures.dress()
        self.aim()

    def set_split(self, split: float) -> None:
        """Move the line."""
        self.comparison = replace(self.comparison, split=min(max(split, 0.0), 1.0))
        self.split_moved.emit(self.split)
        self.aim()

    def set_lens(self, at: QPointF | None = None, factor: float = 1.0) -> None:
        """Move the lens to a place of the pane, or make it larger."""
        least, _, most = comparing.LENS_PX
        radius = min(max(self.comparison.radius_px * factor, least), most)
        at = self.comparison.lens if at is None else at
        self.comparison = replace(self.comparison, lens=at, radius_px=radius)
        self.aim()

    def hold_original(self, held: bool) -> None:
        """Show the original everywhere, while a key is held."""
        self.comparison = replace(self.comparison, held=held)
        self.aim()

    def fit(self) -> None:
        """Show the whole field."""
        self.sight = self.sight.fit()
        self.aim()

    def one_to_one(self) -> None:
        """Show one pixel of the camera on one of the screen."""
        self.zoom_by(1 / self.devicePixelRatioF() / self.sight.zoom)

    def zoom_by(self, factor: float, about: QPointF | None = None) -> None:
        """Enlarge, with a place of the pane staying where it is; None: its middle."""
        self.sight = self.sight.zoomed(factor, about)
        self.aim()

    def pan(self, by: QPointF) -> None:
        """Move the picture by so many pixels of the screen."""
        self.sight = self.sight.moved(by)
        self.aim()

    def set_nuclei(self, shown: bool, fill: bool, outline: bool, opacity: float) -> None:
        """Say whether and how nuclei are drawn."""
        self._nuclei = shown
        self._style = (fill, outline)
        self.enhanced.style(fill=fill, outline=outline, rgb=_rgb(self._theme.nuclei))
        for pane in self.panes:
            pane.field.opacity_of_nuclei = min(max(opacity, 0.0), 1.0)
        self._compose()

    def set_disagreement(self, shown: bool) -> None:
        """Say whether the map of disagreement is drawn."""
        self._heat = shown
        self._compose()

    def set_clipping(self, shown: bool) -> None:
        """Say whether clipped pixels are marked."""
        self._clipping = shown
        self._compose()

    def set_crosshair(self, shown: bool) -> None:
        """Say whether a cross marks the middle of the field."""
        self._crosshair = shown
        self.aim()

    def set_picking(self, asked: bool) -> None:
        """Ask for a click somewhere, which is answered by `picked`."""
        self.gestures.picking = asked
        self.gestures.dress()

    def set_frozen(self, frozen: bool) -> None:
        """Say on the picture that it stands still because somebody wants it to."""
        self._frozen = frozen
        self._tick()

    def set_theme(self, theme: Theme) -> None:
        """Take other colours."""
        self._theme = theme
        for pane in self.panes:
            pane.setBackground(theme.field)
        palette = self.palette()
        palette.setColor(QtGui.QPalette.ColorRole.Window, QtGui.QColor(theme.field))
        self.setPalette(palette)
        fill, outline = self._style
        self.enhanced.style(fill=fill, outline=outline, rgb=_rgb(theme.nuclei))
        self._compose()

    def at(self, row: float, column: float) -> Pointed | None:
        """Say what is at a place of the field; None outside it, and before the first frame."""
        if self._shown is None:
            return None
        return pointed_at(self._shown, self._placed, row, column)

    def aim(self) -> None:
        """Have the panes show what they should."""
        for pane in self.panes:
            if not pane.isHidden():
                pane.look(self.sight_of(pane), self._parts(pane))

    def sight_of(self, pane: Pane) -> Sight:
        """Give what a pane shows: side by side, one may be a pixel wider than the other."""
        return replace(self.sight, wide=pane.width(), high=pane.height())

    def _parts(self, pane: Pane) -> comparing.Parts:
        second, ratio = pane is self.panes[1], self.devicePixelRatioF()
        return self.comparison.parts(self.sight_of(pane), second=second, ratio=ratio)

    def _arrange(self) -> None:
        self._style = (True, True)
        self.setAccessibleName("Live picture")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAutoFillBackground(True)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        for pane in self.panes:
            layout.addWidget(pane, 1)
            pane.finish, pane.resized = self._finish, self._resized
        self._clock = QtCore.QTimer(self, interval=TICK_MS)
        self._clock.timeout.connect(self._tick)
        self._clock.start()

    def _resized(self, pane: Pane) -> None:
        if pane is self.panes[0]:
            self.sight = self.sight.in_pane(pane.width(), pane.height())
        self.aim()

    def _compose(self) -> None:
        """Put together what is painted."""
        if self._shown is None:
            return
        seen, um_per_px = self._shown.seen, self.sight.um_per_px
        self._placed = self.enhanced.in_place(seen, self.offset_px)
        layers = [
            over(one, um_per_px, nuclei=self._nuclei, heat=self._heat) for one in self._placed
        ]
        striped = self._stripes()
        rows, columns = (um_per_px * length for length in seen.shape)
        held: tuple[Any, ...] = (self._shown.pixels, striped, layers)
        picture = Picture(
            QRectF(-columns / 2, -rows / 2, columns, rows),
            image(self._shown.pixels, OPAQUE),
            tuple(layer for layer, _ in layers),
            any(one.fills for one in self._placed),
            None if striped is None else image(striped, PREMULTIPLIED),
            held,
        )
        for pane in self.panes:
            pane.field.show_picture(picture)
        self._tags = self._tagged()
        self.aim()

    def _stripes(self) -> NDArray[np.uint32] | None:
        if not self._clipping or self._shown is None:
            return None
        colours = (_rgb(self._theme.clipped_high), _rgb(self._theme.clipped_low))
        return stripes(self._shown.pixels, *colours)

    def _tagged(self) -> dict[str, marks.Tag]:
        """Say what the two pictures are, and how old."""
        if self._shown is None:
            return {}
        now_s, seen = time.monotonic(), self._shown.seen
        words = f"Original {self.objective_words(seen.frame.objective)}".strip()
        tags = {"original": marks.tag(words, now_s - seen.arrived_s, frozen=self._frozen)}
        if not self._placed:
            return tags | {"enhanced": marks.Tag(self.nothing, marks.STILL)}
        top = self._placed[-1].layer
        words = f"Enhanced ×{top.scale} · {top.model}" if top.model else "Not enhanced"
        oldest_s = min(one.layer.oldest_s for one in self._placed)
        holds = all(one.layer.seen.view == seen.view for one in self._placed)
        age_s = now_s - oldest_s
        return tags | {"enhanced": marks.tag(words, age_s, frozen=self._frozen, holds=holds)}

    def _tick(self) -> None:
        """Look at ages and at what is under the cursor, though nothing may have come."""
        tags = self._tagged()
        if tags != self._tags:
            self._tags = tags
            self.aim()
        self.gestures.point()

    def _finish(self, pane: Pane, painter: QtGui.QPainter | None) -> None:
        """Draw what stands over the picture; then, once per frame, say that it is painted."""
        if painter is not None:
            if self._shown is not None:
                painter.setFont(self.font())
                self._draw_marks(pane, painter, self._shown)
            return
        if pane in self._unpainted:
            self._unpainted.discard(pane)
            if not self._unpainted:
                self.painted.emit(self._shown)

    def _draw_marks(self, pane: Pane, painter: QtGui.QPainter, shown: Shown) -> None:
        sight, parts = self.sight_of(pane), self._parts(pane)
        visible = sight.visible
        if not parts.enhanced.isEmpty() and not parts.lens:
            marks.draw_borders(painter, self._traced(), sight, parts.enhanced)
        if self._crosshair:
            middle = sight.at((sight.rows - 1) / 2, (sight.columns - 1) / 2)
            marks.draw_reticle(painter, visible, middle)
        self._draw_comparison(pane, painter, parts)
        roomy = visible.width() >= 300 and visible.height() >= 120
        within = visible if roomy else QRectF(pane.viewport().rect())
        for name, words in self._tags.items():
            if name in self._named(pane):
                marks.draw_tag(painter, words, within, right=name == "enhanced")
        if pane is self.panes[self.mode == "side"]:
            known = shown.seen.um_per_px is not None
            marks.draw_bar(painter, sight, within, known=known)
        if self._ring:
            marks.draw_focus(
                painter, QRectF(pane.viewport().rect()), QtGui.QColor(self._theme.accent)
            )

    def _draw_comparison(self, pane: Pane, painter: QtGui.QPainter, parts: comparing.Parts) -> None:
        """Draw the line, the rim of the lens, or where the cursor is in the other picture."""
        sight = self.sight_of(pane)
        if parts.lens:
            marks.draw_lens(painter, parts.enhanced)
        elif self.mode == "split" and not self.comparison.held:
            line = self.comparison.line(sight, self.devicePixelRatioF())
            marks.draw_split(painter, line, sight.visible)
        elif self.mode == "side" and self.gestures.place and self.gestures.pane is not pane:
            marks.draw_pointer(painter, sight.at(*self.gestures.place))

    def _named(self, pane: Pane) -> tuple[str, ...]:
        """List the pictures that are to be seen in a pane."""
        if self.mode == "side" and pane is self.panes[1]:
            return ("original",) if self.comparison.held else ("enhanced",)
        if self.comparison.held or self.mode in ("original", "side"):
            return ("original",)
        if self.mode == "enhanced" and any(one.fills for one in self._placed):
            return ("enhanced",)
        return ("original", "enhanced")

    def _traced(self) -> list[NDArray[np.int32]]:
        """Trace the borders of what is enhanced, anew only when they have moved."""
        if any(one.fills for one in self._placed):
            return []
        key = tuple(
            (id(one.layer), one.layer.version, round(one.row), round(one.column))
            for one in self._placed
        )
        if self._borders[0] != key:
            self._borders = (key, borders(self._placed, (self.sight.rows, self.sight.columns)))
        return self._borders[1]

    def focusInEvent(self, event: QtGui.QFocusEvent) -> None:  # noqa: N802
        """Show the focus when keys brought it here."""
        reasons = (Qt.FocusReason.TabFocusReason, Qt.FocusReason.BacktabFocusReason)
        self._ring = event.reason() in reasons
        self.aim()

    def focusOutEvent(self, event: QtGui.QFocusEvent) -> None:  # noqa: N802
        """Let go of the focus; a key that is held is not seen to come up elsewhere."""
        self._ring = False
        self.hold_original(False)


def _rgb(colour: str) -> Rgb:
    wanted = QtGui.QColor(colour)
    return wanted.red(), wanted.green(), wanted.blue()
