"""Pictures of a grid: the plan before it is taken, the contact sheet after."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from scope_sr.calibration import CalibrationRecord
from scope_sr.plan import Plan, Step

Color = tuple[int, int, int]

MAP_PX = (1180, 900)  # the grid is drawn to fit this
MARGIN_PX = 28
TITLE_PX = 64
CLOSE_PX = 300  # side of a close-up
MARK: Color = (235, 110, 0)
PAPER: Color = (250, 250, 248)
INK: Color = (40, 44, 52)
FAINT: Color = (150, 154, 160)
COLORS: dict[str, Color] = {
    "captured": (0, 140, 120),
    "rejected": (214, 39, 40),
    "skipped": (150, 154, 160),
    "missing": (235, 140, 20),
}
WORDS = {
    "captured": "captured",
    "rejected": "rejected",
    "skipped": "left out: glass",
    "missing": "not yet captured",
}

Read = Callable[[str], NDArray[np.uint8] | NDArray[np.uint16]]


@dataclass(frozen=True)
class Layout:
    """Where each field of a plan stands in a picture drawn along the camera's axes."""

    boxes: Mapping[str, tuple[float, float, float, float]]
    px_per_um: float
    size_px: tuple[int, int]

    @classmethod
    def of(cls, plan: Plan, record: CalibrationRecord, field_px: tuple[int, int]) -> Layout:
        """Lay the fields out by stage position, through each objective's affine and offset."""
        low = record.objectives[plan.low]
        to_px = np.linalg.inv(low.affine)
        centres = np.array([record.specimen_um(s.objective, s.position) for s in plan.steps])
        at_px = (centres - centres[0]) @ to_px.T
        ratio = {
            name: record.objectives[name].pixel_size_um / low.pixel_size_um
            for name in (plan.low, plan.high)
        }
        half = np.array([np.multiply(field_px, ratio[s.objective]) / 2 for s in plan.steps])
        corner, far = (at_px - half).min(0), (at_px + half).max(0)
        scale = float(min(np.divide(MAP_PX, far - corner)))
        edges = np.hstack([at_px - half - corner, at_px + half - corner]) * scale
        offset = np.array([MARGIN_PX, TITLE_PX, MARGIN_PX, TITLE_PX])
        boxes = {
            step.name: tuple(row)
            for step, row in zip(plan.steps, (edges + offset).tolist(), strict=True)
        }
        width, height = (far - corner) * scale
        return cls(boxes, scale / low.pixel_size_um, (round(width), round(height)))


def plan_picture(
    plan: Plan, record: CalibrationRecord, field_px: tuple[int, int], title: str
) -> Image.Image:
    """Draw what a plan will capture; `field_px` is (width, height) of the camera."""
    layout = Layout.of(plan, record, field_px)
    sheet, draw = _paper(layout.size_px[0] + 2 * MARGIN_PX, layout.size_px[1], title)
    low, high = plan.of_pass("low"), plan.of_pass("high")
    for step in low:
        draw.rectangle(layout.boxes[step.name], fill=(238, 236, 232))
    for steps, color, line_px in ((high, COLORS["captured"], 1), (low, INK, 2)):
        for step in steps:
            draw.rectangle(layout.boxes[step.name], outline=color, width=line_px)
    _path(draw, plan, layout)
    _scale_bar(draw, layout)
    centre = f"middle of the grid: stage {plan.origin.describe()}"
    _write(draw, (MARGIN_PX + 320, sheet.height - 38), centre, 14)
    return sheet


def contact_sheet(
    plan: Plan,
    record: CalibrationRecord,
    read: Read,
    states: Mapping[str, str],
    title: str,
    full_scale: int,
) -> Image.Image:
    """Draw the low fields where the stage took them, the high fields as outlines, and close-ups.

    Parameters
    ----------
    read
        Gives the image of a step's name; called once or twice per low field, one at a time.
    states
        Per step: ``captured``, ``rejected``, ``skipped`` or ``missing``.
    """
    lows = [s for s in plan.of_pass("low") if states[s.name] in {"captured", "rejected"}]
    field_px = _field_px(read(lows[0].name)) if lows else (1, 1)
    layout = Layout.of(plan, record, field_px)
    thumbs, closes = {}, []
    for low in lows:
        image = read(low.name)
        left, top, right, bottom = layout.boxes[low.name]
        size_px = (max(1, round(right - left)), max(1, round(bottom - top)))
        thumbs[round(left), round(top)] = _eight_bit(_shrunk(image, size_px), full_scale)
        closes += _liveliest(plan, record, low, image, states)
    closes = sorted(closes, key=lambda close: -close.life)[:3]
    width = layout.size_px[0] + 2 * MARGIN_PX
    width += (2 * CLOSE_PX + MARGIN_PX + 8) if closes else 0
    height = max(layout.size_px[1], len(closes) * (CLOSE_PX + 30))
    sheet, draw = _paper(width, height, title)
    for corner_px, thumb in thumbs.items():
        sheet.paste(Image.fromarray(thumb), corner_px)
    for step in plan.steps:
        state = states[step.name]
        line_px = 2 if step.pass_ == "low" or state != "captured" else 1
        color = INK if (step.pass_, state) == ("low", "captured") else COLORS[state]
        draw.rectangle(layout.boxes[step.name], outline=color, width=line_px)
    _scale_bar(draw, layout)
    _legend(draw, states, sheet.height)
    for number, close in enumerate(closes, start=1):
        _mark(draw, plan, layout, close, number)
    for row, close in enumerate(closes):
        where = (layout.size_px[0] + 2 * MARGIN_PX, TITLE_PX + row * (CLOSE_PX + 30))
        _close_up(sheet, plan, record, read, close, row + 1, where, full_scale)
    return sheet


def _field_px(image: NDArray) -> tuple[int, int]:
    return image.shape[1], image.shape[0]


def _paper(width: int, height: int, title: str) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    draw_height = height + TITLE_PX + MARGIN_PX + 34
    sheet = Image.new("RGB", (max(width, 560), draw_height), PAPER)
    draw = ImageDraw.Draw(sheet)
    first, _, rest = title.partition("\n")
    _write(draw, (MARGIN_PX, 12), first, 20)
    _write(draw, (MARGIN_PX, 38), rest, 14, FAINT)
    return sheet, draw


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _write(
    draw: ImageDraw.ImageDraw, at_px: tuple[float, float], text: str, size: int, color: Color = INK
) -> None:
    """Write a line; Pillow's own font lacks µ, so a u gets a tail."""
    font = _font(size)
    plain = text.replace("µ", "u")
    draw.text(at_px, plain, fill=color, font=font)
    foot_px = at_px[1] + draw.textbbox((0, 0), "u", font=font)[3]
    for place, letter in enumerate(text):
        if letter == "µ":
            stem_px = at_px[0] + draw.textlength(plain[:place], font=font) + 0.09 * size
            draw.line(
                (stem_px, foot_px - 0.3 * size, stem_px, foot_px + 0.2 * size),
                fill=color,
                width=max(1, round(size / 12)),
            )


def _scale_bar(draw: ImageDraw.ImageDraw, layout: Layout) -> None:
    """Draw a bar of a round length, about a fifth of the picture."""
    wanted_um = layout.size_px[0] / layout.px_per_um / 5
    power = 10 ** np.floor(np.log10(wanted_um))
    length_um = max(m * power for m in (1, 2, 5) if m * power <= wanted_um)
    y = TITLE_PX + layout.size_px[1] + 14
    draw.rectangle(
        (MARGIN_PX, y, MARGIN_PX + length_um * layout.px_per_um, y + 5), fill=INK, outline=INK
    )
    _write(draw, (MARGIN_PX, y + 8), f"{length_um:g} µm", 14)


def _legend(draw: ImageDraw.ImageDraw, states: Mapping[str, str], height: int) -> None:
    x = MARGIN_PX + 320
    _write(draw, (x, height - 58), "black: low fields, colour: high fields, orange: the spots", 14)
    for state, color in COLORS.items():
        count = sum(found == state for found in states.values())
        if count:
            draw.rectangle((x, height - 36, x + 14, height - 22), outline=color, width=3)
            text = f"{count} {WORDS[state]}"
            _write(draw, (x + 20, height - 38), text, 14)
            x += 40 + int(draw.textlength(text, font=_font(14)))


def _path(draw: ImageDraw.ImageDraw, plan: Plan, layout: Layout) -> None:
    """Draw the way of the stage through the low pass."""
    points = []
    for step in plan.of_pass("low"):
        left, top, right, bottom = layout.boxes[step.name]
        points.append(((left + right) / 2, (top + bottom) / 2))
    draw.line(points, fill=COLORS["missing"], width=2)
    x, y = points[0]
    draw.ellipse((x - 5, y - 5, x + 5, y + 5), fill=COLORS["missing"])


def _shrunk(image: NDArray, size_px: tuple[int, int]) -> NDArray:
    inter = cv2.INTER_AREA if size_px[0] < image.shape[1] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size_px, interpolation=inter))


def _eight_bit(image: NDArray, full_scale: int) -> NDArray[np.uint8]:
    scaled: NDArray[np.uint8] = np.clip(
        image.astype(np.float32) * (255 / full_scale), 0, 255
    ).astype(np.uint8)
    return scaled


@dataclass(frozen=True)
class Close:
    """A spot worth a close look: a high field, and where in it, in px from its centre."""

    step: Step
    spot_px: tuple[float, float]
    life: float


def _liveliest(
    plan: Plan,
    record: CalibrationRecord,
    low: Step,
    image: NDArray,
    states: Mapping[str, str],
) -> list[Close]:
    """Find the spot with most detail in a low field, if a high field shows it as well."""
    thin = 4
    grey = np.ascontiguousarray(image[::thin, ::thin]).astype(np.float32)
    grey = grey if grey.ndim == 2 else grey[..., 1]
    detail = cv2.Laplacian(grey, cv2.CV_32F) ** 2  # an edge against glass has less than nuclei have
    ratio = plan.pixel_size_um[plan.low] / plan.pixel_size_um[plan.high]
    side = max(1, min(round(CLOSE_PX / ratio / thin), *grey.shape))
    tissue = (grey < 0.85 * np.percentile(grey, 99)).astype(np.float32)
    window, border = (side, side), cv2.BORDER_CONSTANT
    share = cv2.boxFilter(tissue, -1, window, borderType=border)
    life = cv2.boxFilter(detail, -1, window, borderType=border) * share**2
    row, column = np.unravel_index(int(np.argmax(life)), life.shape)
    centre = (np.array(image.shape[:2]) - 1) / 2
    spot_px = (float(column * thin - centre[1]), float(row * thin - centre[0]))
    point_um = record.specimen_um(plan.low, low.position, spot_px)
    steps = [s for s in plan.of_pass("high") if s.parent == low.name]
    shown = [
        (step, record.offset_px(plan.high, step.position, point_um))
        for step in steps
        if states[step.name] == "captured"
    ]
    nearest = sorted(shown, key=lambda pair: max(map(abs, pair[1])))[:1]
    return [
        Close(step, _kept_within(spot_px, image.shape), float(life.max()))
        for step, spot_px in nearest
    ]


def _mark(draw: ImageDraw.ImageDraw, plan: Plan, layout: Layout, close: Close, number: int) -> None:
    """Frame a spot on the map, with the number its close-up bears."""
    left, top, right, bottom = layout.boxes[close.step.name]
    scale = layout.px_per_um * plan.pixel_size_um[plan.high]
    x, y = (
        (left + right) / 2 + close.spot_px[0] * scale,
        (top + bottom) / 2 + (close.spot_px[1] * scale),
    )
    half = min(CLOSE_PX * scale / 2, (right - left) / 2)
    draw.rectangle((x - half, y - half, x + half, y + half), outline=MARK, width=3)
    draw.rectangle((x - half, y - half, x - half + 18, y - half + 22), fill=MARK)
    _write(draw, (x - half + 5, y - half), str(number), 18, PAPER)


def _close_up(
    sheet: Image.Image,
    plan: Plan,
    record: CalibrationRecord,
    read: Read,
    close: Close,
    number: int,
    where: tuple[int, int],
    full_scale: int,
) -> None:
    """Paste a spot of a high field, and the same tissue as the low objective saw it."""
    draw = ImageDraw.Draw(sheet)
    high = read(close.step.name)
    side_px = min(CLOSE_PX, *high.shape[:2])
    parent = next(step for step in plan.steps if step.name == close.step.parent)
    ratio = plan.pixel_size_um[plan.low] / plan.pixel_size_um[plan.high]
    point_um = record.specimen_um(plan.high, close.step.position, close.spot_px)
    centre_px = record.offset_px(plan.low, parent.position, point_um)
    pictures = (
        (_crop(read(parent.name), centre_px, side_px / ratio), plan.low),
        (_crop(high, close.spot_px, side_px), plan.high),
    )
    for column, (picture, name) in enumerate(pictures):
        x, y = where[0] + column * (CLOSE_PX + 8), where[1]
        big = cv2.resize(picture, (CLOSE_PX, CLOSE_PX), interpolation=cv2.INTER_NEAREST)
        sheet.paste(Image.fromarray(_eight_bit(np.asarray(big), full_scale)), (x, y))
        text = f"{number}: {name}, {plan.pixel_size_um[name]:.3g} µm per pixel"
        _write(draw, (x, y + CLOSE_PX + 4), text, 14)


def _kept_within(spot_px: tuple[float, float], shape: tuple[int, ...]) -> tuple[float, float]:
    """Move a spot so that the close-up about it does not leave the image."""
    side_px = min(CLOSE_PX, *shape[:2])
    x_room, y_room = (shape[1] - side_px) / 2, (shape[0] - side_px) / 2
    return (
        min(max(spot_px[0], -x_room), x_room),
        min(max(spot_px[1], -y_room), y_room),
    )


def _crop(image: NDArray, centre_px: tuple[float, float], side_px: float) -> NDArray:
    """Cut a square about a point measured from the image centre, kept within the image."""
    rows, columns = image.shape[:2]
    side = max(1, min(round(side_px), rows, columns))
    left = round((columns - side) / 2 + centre_px[0])
    top = round((rows - side) / 2 + centre_px[1])
    left, top = min(max(left, 0), columns - side), min(max(top, 0), rows - side)
    return image[top : top + side, left : left + side]
