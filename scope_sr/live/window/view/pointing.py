"""What is under the cursor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scope_sr.live.enhanced import Placed
from scope_sr.live.seen import Shown

Rgb = tuple[int, int, int]


@dataclass(frozen=True)
class Pointed:
    """What is under the cursor.

    Attributes
    ----------
    row, column
        Of the camera's picture.
    rgb, enhanced
        Colours there; `enhanced` is None where nothing is enhanced.
    made_s
        When the frame was taken in hand that this place was enhanced from.
    """

    row: float
    column: float
    rgb: Rgb
    enhanced: Rgb | None = None
    made_s: float | None = None


def pointed_at(shown: Shown, placed: Sequence[Placed], row: float, column: float) -> Pointed | None:
    """Read the colours at a place of the field; None outside it."""
    rows, columns = shown.seen.shape
    if not (-0.5 <= row < rows - 0.5 and -0.5 <= column < columns - 0.5):
        return None
    blue, green, red = shown.pixels[int(row + 0.5), int(column + 0.5), :3].tolist()
    return Pointed(row, column, (red, green, blue), *_enhanced(placed, row, column))


def _enhanced(
    placed: Sequence[Placed], row: float, column: float
) -> tuple[Rgb | None, float | None]:
    for one in reversed(placed):
        pixels, scale = one.layer.pixels, one.layer.scale
        down = math.floor((row + 0.5 - one.row) * scale)
        across = math.floor((column + 0.5 - one.column) * scale)
        rows, columns = pixels.shape[:2]
        if 0 <= down < rows and 0 <= across < columns and pixels[down, across, 3]:
            blue, green, red = pixels[down, across, :3].tolist()
            return (red, green, blue), one.layer.made_s(down // scale, across // scale)
    return None, None
