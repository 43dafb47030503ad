"""Which part of the screen shows the original, and which the enhanced picture."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF

from scope_sr.live.window.view.sight import Sight

MODES = ("original", "enhanced", "split", "lens", "side")
GRIP_PX = 13.0  # radius of the grip
REACH_PX = 7.0  # so near to the line the mouse takes it
LENS_PX = (40.0, 150.0, 700.0)  # radius: least, at first, most


@dataclass(frozen=True)
class Parts:
    """A pane divided, in its pixels.

    Attributes
    ----------
    enhanced
        Where the enhanced picture belongs; empty where nowhere.
    rest
        What is not within `enhanced`, or more than that: where the original must be drawn even if
        the enhanced picture has no gaps.
    lens
        Whether `enhanced` holds a circle and not all of itself.
    """

    enhanced: QRectF
    rest: QRectF
    lens: bool = False


@dataclass(frozen=True)
class Comparison:
    """How the two pictures are put beside each other.

    Attributes
    ----------
    split
        Where the line is, as a share of the part of the field that is visible: so it can always
        be reached, however far one has zoomed in.
    lens
        Middle of the lens in the pane; None: the middle of what is visible.
    """

    mode: str = "split"
    split: float = 0.5
    lens: QPointF | None = None
    radius_px: float = LENS_PX[1]
    held: bool = False

    def parts(self, sight: Sight, *, second: bool, ratio: float = 1.0) -> Parts:
        """Divide a pane.

        Parameters
        ----------
        second
            The right one of two side by side.
        ratio
            Pixels of the screen to one of Qt's; the line stands between two of them.
        """
        visible = sight.visible
        if self.held or (self.mode in ("original", "side") and not second):
            return Parts(QRectF(), visible)
        if self.mode == "enhanced" or second:
            return Parts(visible, QRectF())
        if self.mode == "lens":
            return Parts(self.lens_on(sight), visible, lens=True)
        line = self.line(sight, ratio)
        return Parts(
            QRectF(QPointF(line, visible.top()), visible.bottomRight()),
            QRectF(visible.topLeft(), QPointF(line, visible.bottom())),
        )

    def line(self, sight: Sight, ratio: float = 1.0) -> float:
        """Give where the line of the split stands in the pane."""
        visible = sight.visible
        return round((visible.left() + self.split * visible.width()) * ratio) / ratio

    def grip(self, sight: Sight) -> QPointF:
        """Give the middle of the grip."""
        return QPointF(self.line(sight), sight.visible.center().y())

    def grips(self, sight: Sight, at: QPointF) -> bool:
        """Say whether the mouse would take the line."""
        if self.mode != "split" or self.held or not sight.visible.contains(at):
            return False
        away = at - self.grip(sight)
        return abs(away.x()) <= REACH_PX or away.x() ** 2 + away.y() ** 2 <= GRIP_PX**2

    def split_at(self, sight: Sight, x: float) -> float:
        """Give the split that puts the line there, kept within the picture."""
        visible = sight.visible
        return min(max((x - visible.left()) / max(1.0, visible.width()), 0.0), 1.0)

    def lens_on(self, sight: Sight) -> QRectF:
        """Give the square around the lens."""
        middle = sight.visible.center() if self.lens is None else self.lens
        radius = QPointF(self.radius_px, self.radius_px)
        return QRectF(middle - radius, middle + radius)
