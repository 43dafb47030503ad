"""Which part of the field is on the screen, and how large.

Places in the field are rows and columns of the camera, whole numbers in the middle of a pixel, as
an array counts them. Places on the screen are pixels of the pane, as Qt counts them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from PySide6.QtCore import QPointF, QRectF

MOST_ZOOM = 40.0  # screen pixels to one of the camera
LEAST_SHARE = 0.25  # of the zoom at which the field just fits
LEAST_ZOOM = 0.5  # always possible: one pixel to one, on a fine screen


@dataclass(frozen=True)
class Sight:
    """What a pane shows.

    Attributes
    ----------
    rows, columns
        Of the field.
    um_per_px
        1 where nobody knows.
    wide, high
        Size of the pane in screen pixels.
    zoom
        Screen pixels to one of the camera.
    across, down
        What stands in the middle of the pane, in columns and rows from the middle of the field.
    fitted
        Whether the zoom follows the size of the pane.

    Examples
    --------
    >>> sight = Sight(100, 200, 0.5, wide=400, high=400).fit()
    >>> sight.zoom, sight.picture.top(), sight.place(QPointF(200, 200))
    (2.0, 100.0, (49.5, 99.5))
    >>> sight.at(49.5, 99.5)
    PySide6.QtCore.QPointF(200.000000, 200.000000)
    """

    rows: int = 1
    columns: int = 1
    um_per_px: float = 1.0
    wide: float = 1.0
    high: float = 1.0
    zoom: float = 1.0
    across: float = 0.0
    down: float = 0.0
    fitted: bool = True

    @property
    def fitting(self) -> float:
        """The zoom at which the field just fits."""
        return min(self.wide / self.columns, self.high / self.rows)

    @property
    def picture(self) -> QRectF:
        """Where the field lies in the pane; it may stick out."""
        corner = self.at(-0.5, -0.5)
        return QRectF(corner.x(), corner.y(), self.columns * self.zoom, self.rows * self.zoom)

    @property
    def visible(self) -> QRectF:
        """The part of the pane in which the field is."""
        return self.picture.intersected(QRectF(0, 0, self.wide, self.high))

    @property
    def shown_um(self) -> QRectF:
        """What the pane shows, from the middle of the field."""
        um_per_screen = self.um_per_px / self.zoom
        width, height = self.wide * um_per_screen, self.high * um_per_screen
        middle = (self.across * self.um_per_px, self.down * self.um_per_px)
        return QRectF(middle[0] - width / 2, middle[1] - height / 2, width, height)

    def at(self, row: float, column: float) -> QPointF:
        """Give where a place of the field is in the pane."""
        return QPointF(
            self.wide / 2 + (column + 0.5 - self.columns / 2 - self.across) * self.zoom,
            self.high / 2 + (row + 0.5 - self.rows / 2 - self.down) * self.zoom,
        )

    def place(self, at: QPointF) -> tuple[float, float]:
        """Give the row and column of a place in the pane; it may lie outside the field."""
        return (
            (at.y() - self.high / 2) / self.zoom + self.down + self.rows / 2 - 0.5,
            (at.x() - self.wide / 2) / self.zoom + self.across + self.columns / 2 - 0.5,
        )

    def fit(self) -> Sight:
        """Show the whole field."""
        return replace(self, zoom=self.fitting, across=0.0, down=0.0, fitted=True)

    def of(self, rows: int, columns: int, um_per_px: float) -> Sight:
        """Show a field of another size: the same share of it."""
        if (rows, columns, um_per_px) == (self.rows, self.columns, self.um_per_px):
            return self
        larger = columns / self.columns
        made = replace(
            self, rows=rows, columns=columns, um_per_px=um_per_px,
            zoom=self.zoom / larger, across=self.across * larger, down=self.down * larger,
        )  # fmt: skip
        return made.fit() if self.fitted else made.kept()

    def in_pane(self, wide: float, high: float) -> Sight:
        """Show it in a pane of another size."""
        made = replace(self, wide=max(1.0, wide), high=max(1.0, high))
        return made.fit() if self.fitted else made.kept()

    def zoomed(self, factor: float, about: QPointF | None = None) -> Sight:
        """Enlarge, with a place of the pane staying where it is; None: its middle."""
        least = min(LEAST_SHARE * self.fitting, LEAST_ZOOM)
        zoom = min(max(self.zoom * factor, least), MOST_ZOOM)
        about = about or QPointF(self.wide / 2, self.high / 2)
        off = about - QPointF(self.wide / 2, self.high / 2)
        gain = 1 / self.zoom - 1 / zoom
        return replace(
            self, zoom=zoom, fitted=False,
            across=self.across + off.x() * gain, down=self.down + off.y() * gain,
        ).kept()  # fmt: skip

    def moved(self, by: QPointF) -> Sight:
        """Move the picture by so many pixels of the screen."""
        return replace(
            self, fitted=False,
            across=self.across - by.x() / self.zoom, down=self.down - by.y() / self.zoom,
        ).kept()  # fmt: skip

    def kept(self) -> Sight:
        """Keep a part of the field in the middle, so that it cannot be lost."""
        across = min(max(self.across, -self.columns / 2), self.columns / 2)
        down = min(max(self.down, -self.rows / 2), self.rows / 2)
        return replace(self, across=across, down=down)
