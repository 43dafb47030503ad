"""What stands over the picture, in its corners only: tags, scale bar; and lines where asked for.

All is drawn in pixels of the screen and legible on white glass as on dark tissue, in every theme.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QLineF, QPointF, QRectF, Qt
from PySide6.QtGui import (
    QColor,
    QFont,
    QFontMetricsF,
    QPainter,
    QPainterPath,
    QPen,
    QPixmap,
    QPolygonF,
)  # fmt: skip

from scope_sr.drawing import rounded
from scope_sr.live.window.view.comparing import GRIP_PX
from scope_sr.live.window.view.sight import Sight

LIVE, LATE, STILL = "#5fd38d", "#ffb454", "#a7b3c1"
PLATE, INK = QColor(13, 16, 20, 190), QColor("#ffffff")
HALO = QColor(13, 16, 20, 120)
PAD_PX = 10.0
BAR_PX = 110.0  # about so long
LATE_S = 0.5


@dataclass(frozen=True)
class Tag:
    """Words in a corner of the picture, with a dot that says how fresh it is."""

    words: str
    dot: str


def tag(words: str, age_s: float | None, *, frozen: bool, holds: bool = False) -> Tag:
    """Say how fresh a picture is, by colour and in words.

    Parameters
    ----------
    holds
        Whether nothing of what is seen has changed since: the picture is old, and true.

    >>> tag("Original 10x", 0.03, frozen=False)
    Tag(words='Original 10x', dot='#5fd38d')
    >>> tag("Original 10x", 75.0, frozen=False).words, tag("Original 10x", 75.0, frozen=True).words
    ('Original 10x · 1 min old', 'Original 10x · frozen')
    """
    if frozen:
        return Tag(f"{words} · frozen", STILL)
    if age_s is None:
        return Tag(words, STILL)
    if age_s <= LATE_S:
        return Tag(words, LIVE)
    return Tag(f"{words} · {in_words(age_s)} old", LIVE if holds else LATE)


def in_words(age_s: float) -> str:
    """Say an age no finer than anybody wants to know it, so that it rarely changes.

    >>> in_words(0.84), in_words(7.2), in_words(44.0), in_words(500.0)
    ('0.8 s', '7 s', '44 s', '8 min')
    """
    if age_s < 3:
        return f"{age_s:.1f} s"
    return f"{age_s:.0f} s" if age_s < 60 else f"{age_s // 60:.0f} min"


def length(sight: Sight, *, known: bool) -> tuple[float, str]:
    """Give the length of the scale bar in pixels of the screen, and its words.

    >>> length(Sight(100, 200, 0.5, zoom=1.0), known=True)
    (100.0, '50 µm')
    >>> length(Sight(100, 200, 1.0, zoom=2.0), known=False)
    (100.0, '50 px')
    """
    per_unit = sight.zoom / sight.um_per_px
    units = rounded(BAR_PX / per_unit)
    if known and units >= 1000:
        return units * per_unit, f"{units / 1000:g} mm"
    return units * per_unit, f"{units:g} {'µm' if known else 'px'}"


def draw_tag(painter: QPainter, tag: Tag, within: QRectF, *, right: bool) -> None:
    """Put a tag into the upper left or upper right corner."""
    room = int(within.width() - 2 * PAD_PX)
    made = _tag_picture(tag, painter.font().toString(), room, painter.device().devicePixelRatioF())
    left = within.right() - PAD_PX - made.deviceIndependentSize().width()
    painter.drawPixmap(
        QPointF(round(left if right else within.left() + PAD_PX), round(within.top() + PAD_PX)),
        made,
    )


def draw_bar(painter: QPainter, sight: Sight, within: QRectF, *, known: bool) -> None:
    """Put the scale bar into the lower right corner."""
    long, words = length(sight, known=known)
    font = painter.font()
    made = _bar_picture(words, long, font.toString(), painter.device().devicePixelRatioF())
    size = made.deviceIndependentSize()
    painter.drawPixmap(
        QPointF(
            round(within.right() - PAD_PX - size.width()),
            round(within.bottom() - PAD_PX - size.height()),
        ),
        made,
    )


@lru_cache(maxsize=16)
def _tag_picture(tag: Tag, font_key: str, room: int, ratio: float) -> QPixmap:
    """Draw a tag once for all frames that come with the same words."""
    font = _font(font_key)
    metrics = QFontMetricsF(font)
    high = math.ceil(metrics.height() + 8)
    wide = min(math.ceil(metrics.horizontalAdvance(tag.words)) + high + 14, room)
    made, painter = _canvas(wide, high, ratio)
    painter.setFont(font)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(PLATE)
    painter.drawRoundedRect(QRectF(0, 0, wide, high), high / 2, high / 2)
    painter.setBrush(QColor(tag.dot))
    painter.drawEllipse(QPointF(high / 2, high / 2), 4.5, 4.5)
    painter.setPen(INK)
    words = metrics.elidedText(tag.words, Qt.TextElideMode.ElideRight, wide - high - 8)
    painter.drawText(QRectF(high, 0, wide - high, high), Qt.AlignmentFlag.AlignVCenter, words)
    painter.end()
    return made


@lru_cache(maxsize=4)
def _bar_picture(words: str, long: float, font_key: str, ratio: float) -> QPixmap:
    """Draw the bar with its words above, and a halo around both."""
    font = _font(font_key)
    font.setBold(True)
    metrics = QFontMetricsF(font)
    text = math.ceil(metrics.horizontalAdvance(words))
    wide, high = max(math.ceil(long), text) + 8, math.ceil(metrics.height()) + 16
    path = QPainterPath()
    path.addText((wide - text) / 2, metrics.ascent() + 2, font, words)
    path.addRect(QRectF((wide - long) / 2, high - 8, long, 4))
    made, painter = _canvas(wide, high, ratio)
    halo = QPen(HALO, 3)
    halo.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
    painter.strokePath(path, halo)
    painter.fillPath(path, INK)
    painter.end()
    return made


def _canvas(wide: int, high: int, ratio: float) -> tuple[QPixmap, QPainter]:
    made = QPixmap(math.ceil(wide * ratio), math.ceil(high * ratio))
    made.setDevicePixelRatio(ratio)
    made.fill(Qt.GlobalColor.transparent)
    painter = QPainter(made)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    return made, painter


def _font(key: str) -> QFont:
    font = QFont()
    font.fromString(key)
    return font


def draw_split(painter: QPainter, line: float, visible: QRectF) -> None:
    """Draw the line between the two pictures, and its grip."""
    for half, colour in ((2, HALO), (1, INK)):  # not stroked: a long smooth line costs 3 ms
        painter.fillRect(QRectF(line - half, visible.top(), 2 * half, visible.height()), colour)
    middle = QPointF(line, visible.center().y())
    painter.setPen(QPen(HALO, 1))
    painter.setBrush(INK)
    painter.drawEllipse(middle, GRIP_PX, GRIP_PX)
    painter.setPen(QPen(QColor(PLATE.rgb()), 2, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
    for sign in (-1, 1):
        tip = middle + QPointF(7.5 * sign, 0)
        arm = QPointF(-3.5 * sign, 3.5)
        painter.drawPolyline([tip + arm, tip, tip + QPointF(arm.x(), -arm.y())])


def draw_lens(painter: QPainter, circle: QRectF) -> None:
    """Draw the rim of the lens."""
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(HALO, 4))
    painter.drawEllipse(circle)
    painter.setPen(QPen(INK, 2))
    painter.drawEllipse(circle)


def draw_reticle(painter: QPainter, visible: QRectF, at: QPointF) -> None:
    """Draw a cross through a place, all over the picture, open in its middle."""
    if not visible.contains(at):
        return
    gap, at = 14, QPointF(round(at.x()) + 0.5, round(at.y()) + 0.5)  # crisp: on one row of pixels
    for line in (
        QLineF(visible.left(), at.y(), at.x() - gap, at.y()),
        QLineF(at.x() + gap, at.y(), visible.right(), at.y()),
        QLineF(at.x(), visible.top(), at.x(), at.y() - gap),
        QLineF(at.x(), at.y() + gap, at.x(), visible.bottom()),
    ):
        painter.setPen(QPen(QColor(13, 16, 20, 200), 1))
        painter.drawLine(line)
        painter.setPen(QPen(QColor(255, 255, 255, 150), 1))
        painter.drawLine(line.translated(QPointF(1, 1)))


def draw_pointer(painter: QPainter, at: QPointF) -> None:
    """Draw a small cross where the cursor is in the other picture."""
    for along in (QPointF(1, 0), QPointF(0, 1)):
        for sign in (-1, 1):
            _draw_line(painter, QLineF(at + along * (5 * sign), at + along * (16 * sign)))


def draw_borders(
    painter: QPainter, lines: Sequence[NDArray[np.int32]], sight: Sight, within: QRectF
) -> None:
    """Hint at where the enhanced picture ends; not along the edge of the field."""
    painter.save()
    painter.setClipRect(within.intersected(sight.picture.adjusted(3, 3, -3, -3)))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    dashes = QPen(INK, 1, Qt.PenStyle.CustomDashLine)
    dashes.setDashPattern([4, 5])
    for line in lines:
        path = QPolygonF([sight.at(float(row), float(column)) for column, row in line])
        painter.setPen(QPen(QColor(13, 16, 20, 110), 1))
        painter.drawPolygon(path)
        painter.setPen(dashes)
        painter.drawPolygon(path)
    painter.restore()


def draw_focus(painter: QPainter, pane: QRectF, colour: QColor) -> None:
    """Show that keys go to the picture."""
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(colour, 2))
    painter.drawRect(pane.adjusted(1, 1, -1, -1))


def _draw_line(painter: QPainter, line: QLineF) -> None:
    painter.setPen(QPen(HALO, 4))
    painter.drawLine(line)
    painter.setPen(QPen(INK, 2))
    painter.drawLine(line)
