"""Original and enhanced picture side by side, with a scale bar and an honest caption."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from scope_sr.drawing import draw_scale_bar, font, rounded
from scope_sr.live.seen import Rgb, Seen
from scope_sr.software import NOTICE

PANEL_PX = 768  # the longer side of each picture
GAP_PX, MARGIN_PX = 8, 12
NUCLEUS_RGB = (255, 230, 0)  # as in the pictures of `enhance`: neither stain is yellow
BAR_SHARE = 0.2


def drawn(
    seen: Seen, enhanced: Rgb | None, labels: NDArray[np.int32] | None, covered: float
) -> Image.Image:
    """Draw what there is, from left to right: original, enhanced, and with its nuclei outlined.

    Parameters
    ----------
    enhanced
        ``(row, column, 3)`` uint8, or None.
    labels
        Of the nuclei, over the enhanced picture, or over the original where there is none.
    covered
        Share of the field that is enhanced.
    """
    rows, columns = seen.shape
    longest = PANEL_PX / max(rows, columns)
    size = max(1, round(columns * longest)), max(1, round(rows * longest))
    panels = [("original", _fitted(seen.rgb, size))]
    if enhanced is not None:
        part = "" if covered > 0.995 else f", {100 * covered:.0f} % of the field"
        panels.append((f"enhanced{part}", _fitted(enhanced, size)))
    if labels is not None:
        under = seen.rgb if enhanced is None else enhanced
        panels.append(("nuclei", _outlined(under, labels, size)))
    um_per_px = None if seen.um_per_px is None else seen.um_per_px / longest
    return _mounted(panels, size, um_per_px, seen.frame.objective)


def _fitted(picture: Rgb, size: tuple[int, int]) -> Rgb:
    smaller = size[0] < picture.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, size, interpolation=how), np.uint8)


def _outlined(under: Rgb, labels: NDArray[np.int32], size: tuple[int, int]) -> Rgb:
    """Draw the rim of each nucleus, at the size of the panel."""
    panel = _fitted(under, size)
    numbers = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
    rim = np.zeros(numbers.shape, bool)
    rim[:, :-1] |= numbers[:, :-1] != numbers[:, 1:]
    rim[:-1] |= numbers[:-1] != numbers[1:]
    panel[rim] = NUCLEUS_RGB
    return panel


def _mounted(
    panels: list[tuple[str, Rgb]], size: tuple[int, int], um_per_px: float | None, objective: str
) -> Image.Image:
    """Put pictures on white with their names above, the bar and the notice below."""
    width, height = size
    text_px = max(12, width // 48)
    line, letters = 2 * text_px, font(text_px)
    widest = max(len(panels) * (width + GAP_PX) - GAP_PX, round(letters.getlength(NOTICE)))
    whole = Image.new("RGB", (widest + 2 * MARGIN_PX, height + 2 * line), "white")
    pen = ImageDraw.Draw(whole)
    for number, (name, picture) in enumerate(panels):
        left = MARGIN_PX + number * (width + GAP_PX)
        whole.paste(Image.fromarray(picture), (left, line))
        words = f"{name} {objective}".strip() if name == "original" else name
        pen.text((left, line // 2), words, fill="black", font=letters, anchor="lm")
    if um_per_px is not None:
        pad = text_px // 2
        corner = MARGIN_PX + pad, line + height - pad
        draw_scale_bar(pen, corner, um_per_px, rounded(BAR_SHARE * width * um_per_px), text_px)
    middle = height + line + line // 2
    pen.text((MARGIN_PX, middle), NOTICE, fill="black", font=letters, anchor="lm")
    return whole
