"""Enhancement: which model, what it is, what computes it, and when not to trust it."""

from __future__ import annotations

from pathlib import Path

from PySide6 import QtCore, QtGui, QtWidgets

from scope_sr.live.window.panels.parts import draw_box, words
from scope_sr.modelfile import Card

AUTO, NONE = "auto", ""
NOTHING = "No model: the original is shown enlarged."


class Picker(QtWidgets.QComboBox):
    """Chooses a model: what fits by itself, one by name, a file, or none."""

    chosen = QtCore.Signal(str)
    file_asked = QtCore.Signal()

    def __init__(self, name: str) -> None:
        super().__init__()
        self.setAccessibleName(name)
        self.setFocusPolicy(QtCore.Qt.FocusPolicy.TabFocus)
        self.setSizeAdjustPolicy(
            QtWidgets.QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.setMinimumContentsLength(12)
        self.addItem("Automatic, by pixel size", AUTO)
        self.addItem("None", NONE)
        self.addItem("Open model file...", None)
        self.activated.connect(self._activate)
        self._last = AUTO

    def offer(self, names: list[str]) -> None:
        """List models that come with the package."""
        for at, name in enumerate(names):
            if self.findData(name) < 0:
                self.insertItem(1 + at, name, name)

    def choose(self, model: str) -> None:
        """Show which is chosen, without telling anybody; a file joins the list."""
        if self.findData(model) < 0:
            self.insertItem(self.count() - 2, Path(model).name, model)
            self.setItemData(self.count() - 3, model, QtCore.Qt.ItemDataRole.ToolTipRole)
        self._last = model
        self.setCurrentIndex(self.findData(model))

    def wheelEvent(self, event: QtGui.QWheelEvent) -> None:  # noqa: D102, N802
        event.ignore()  # scrolling the column changes nothing

    def paintEvent(self, _: QtGui.QPaintEvent) -> None:  # noqa: D102, N802
        draw_box(self, focused=self.hasFocus())
        pen = QtGui.QPainter(self)
        pen.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        box = QtCore.QRectF(self.rect())
        colour = self.palette().color(QtGui.QPalette.ColorRole.ButtonText)
        pen.setPen(QtGui.QPen(colour, 1.4))
        x, y = box.right() - 14, box.center().y()
        pen.drawPolyline([QtCore.QPointF(x + at, y + 2 - abs(at)) for at in (-4, 0, 4)])
        room = box.adjusted(9, 0, -24, 0)
        words = self.fontMetrics().elidedText(
            self.currentText(), QtCore.Qt.TextElideMode.ElideMiddle, round(room.width())
        )
        pen.drawText(room, QtCore.Qt.AlignmentFlag.AlignVCenter, words)

    def _activate(self, at: int) -> None:
        model = self.itemData(at)
        if model is None:
            self.choose(self._last)
            self.file_asked.emit()
        else:
            self._last = model
            self.chosen.emit(model)


class EnhancementPanel(QtWidgets.QWidget):
    """The picker, the essence of the card, the runtime, and warnings."""

    def __init__(self) -> None:
        super().__init__()
        self.picker = Picker("Model")
        self.card = words("", wraps=True)
        self.card.setAccessibleName("About the model")
        self.runtime = words("", "quiet", wraps=True)
        self.warning = words("", "warn", wraps=True)
        self.warning.setAccessibleName("Warnings about the model")
        row = QtWidgets.QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(words("Model"))
        row.addWidget(self.picker, 1)
        column = QtWidgets.QVBoxLayout(self)
        column.setSpacing(5)
        column.addLayout(row)
        for label in (self.card, self.runtime, self.warning):
            column.addWidget(label)
        self.warning.hide()

    def show_card(self, card: Card | None, *, loading: bool, reason: str = "") -> None:
        """Show what the model is, or why there is none."""
        none = "Loading the model ..." if loading else reason or NOTHING
        self.card.setText(essence(card) if card else f"{none[:1].upper()}{none[1:]}")
        self.card.setToolTip(card.note if card else "")

    def show_runtime(self, told: str) -> None:
        """Show what computes it, and how much of the field at a time."""
        self.runtime.setText(told)
        self.runtime.setVisible(bool(told))

    def show_warnings(self, warnings: tuple[str, ...]) -> None:
        """Show what speaks against trusting the picture."""
        self.warning.setText("\n".join(f"⚠ {one[:1].upper()}{one[1:]}" for one in warnings))
        self.warning.setVisible(bool(warnings))


def essence(card: Card) -> str:
    """Give a card in a line: name, scale, µm per pixel, training.

    Examples
    --------
    >>> essence(Card("sr", "mine", "compact", {"blocks": 16, "channels": 32}, 2, 0.5, 0.25))
    'mine: ×2, 0.5 → 0.25 µm per pixel'
    """
    sizes = "pixel size not told"
    if card.um_per_px_in and card.um_per_px_out:
        sizes = f"{card.um_per_px_in:.3g} → {card.um_per_px_out:.3g} µm per pixel"
    line = f"{card.name}: ×{card.scale}, {sizes}"
    if card.dataset:
        how = ", simulated" if card.dataset.simulated else ""
        line += f"; learnt from {card.dataset.name}{how}"
    return line
