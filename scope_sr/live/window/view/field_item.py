"""The field on the screen: one item that draws the original and all that lies over it.

Qt draws from the bytes of the buffers themselves, in the one order of bytes it need not convert:
``benchmarks/display.py`` has pyqtgraph's own ImageItem beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QImage, QPainter, QPainterPath

from scope_sr.live.enhanced import Placed
from scope_sr.live.window.view.comparing import Parts

OPAQUE = QImage.Format.Format_RGB32
PREMULTIPLIED = QImage.Format.Format_ARGB32_Premultiplied


@dataclass(frozen=True, eq=False)
class Over:
    """A layer over the field: where it lies in it (µm), its picture, and what lies over that."""

    rect: QRectF
    picture: QImage
    overlay: QImage | None
    heat: QImage | None


@dataclass(frozen=True, eq=False)
class Picture:
    """All that is painted of one frame; holds the arrays its images look into.

    Attributes
    ----------
    rect
        The field in µm from its middle.
    layers
        The lowest first.
    fills
        Whether the layers leave nothing of the original to be seen.
    marks
        Clipped pixels.
    """

    rect: QRectF
    original: QImage
    layers: tuple[Over, ...]
    fills: bool
    marks: QImage | None
    arrays: tuple[NDArray[Any], ...]


class FieldItem(pg.GraphicsObject):
    """Draws a :class:`Picture`, each pixel of the screen once.

    Attributes
    ----------
    picture
        None before the first frame.
    parts
        Where the enhanced picture belongs and where it does not, in µm.
    opacity
        Of the nuclei.
    """

    def __init__(self) -> None:
        super().__init__()
        self.picture: Picture | None = None
        self.parts = Parts(QRectF(), QRectF())
        self.opacity_of_nuclei = 1.0
        self._rect = QRectF()

    def show_picture(self, picture: Picture) -> None:
        """Draw another one from the next paint on; whoever shows the item asks for that."""
        if picture.rect != self._rect:
            self.prepareGeometryChange()
            self._rect = picture.rect
        self.picture = picture

    def boundingRect(self) -> QRectF:  # noqa: N802
        """Give the field."""
        return self._rect

    def paint(self, painter: QPainter, *_: object) -> None:
        """Draw the original, and over it, where it belongs, what is enhanced."""
        if self.picture is None:
            return
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        enhanced = not self.parts.enhanced.isEmpty() and bool(self.picture.layers)
        self._draw_original(painter, self.picture, all_of_it=not (enhanced and self.picture.fills))
        if enhanced:
            self._draw_enhanced(painter, self.picture)
        if self.picture.marks is not None:
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, on=False)
            painter.drawImage(self._rect, self.picture.marks)

    def _draw_original(self, painter: QPainter, picture: Picture, *, all_of_it: bool) -> None:
        if all_of_it:
            painter.drawImage(picture.rect, picture.original)
        elif not self.parts.rest.isEmpty():
            painter.save()
            painter.setClipRect(self.parts.rest, Qt.ClipOperation.IntersectClip)
            painter.drawImage(picture.rect, picture.original)
            painter.restore()

    def _draw_enhanced(self, painter: QPainter, picture: Picture) -> None:
        painter.save()
        painter.setClipRect(picture.rect, Qt.ClipOperation.IntersectClip)
        if self.parts.lens:
            circle = QPainterPath()
            circle.addEllipse(self.parts.enhanced)
            painter.setClipPath(circle, Qt.ClipOperation.IntersectClip)
        else:
            painter.setClipRect(self.parts.enhanced, Qt.ClipOperation.IntersectClip)
        for layer in picture.layers:
            painter.drawImage(layer.rect, layer.picture)
            if layer.overlay is not None:
                painter.setOpacity(self.opacity_of_nuclei)
                painter.drawImage(layer.rect, layer.overlay)
                painter.setOpacity(1.0)
            if layer.heat is not None:
                painter.drawImage(layer.rect, layer.heat)
        painter.restore()


def image(pixels: NDArray[Any], form: QImage.Format) -> QImage:
    """Let Qt look into an array of four bytes a pixel, which must outlive the image."""
    rows, columns = pixels.shape[:2]
    return QImage(pixels.view(np.uint8).data, columns, rows, pixels.strides[0], form)


def over(placed: Placed, um_per_px: float, *, nuclei: bool, heat: bool) -> tuple[Over, Any]:
    """Make a layer ready to be drawn; give the arrays its images look into along with it."""
    layer = placed.layer
    rows, columns = layer.shape
    rect = QRectF(
        (placed.column - columns / 2) * um_per_px, (placed.row - rows / 2) * um_per_px,
        columns * um_per_px, rows * um_per_px,
    )  # fmt: skip
    pixels = layer.pixels
    dyed = layer.overlay if nuclei else None
    warm = layer.heat if heat else None
    made = Over(
        rect,
        image(pixels, OPAQUE if layer.covered == 1.0 else PREMULTIPLIED),
        None if dyed is None else image(dyed, PREMULTIPLIED),
        None if warm is None else image(warm, PREMULTIPLIED),
    )
    return made, (pixels, dyed, warm)
