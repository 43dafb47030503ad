"""A picture or a session through the generator, onto the disk, and what contradicts it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scope_sr.engine import Engine
from scope_sr.enhance.canvas import Canvas, Pixels, Raw
from scope_sr.enhance.mosaic import Mosaic
from scope_sr.enhance.slide import Slide
from scope_sr.imaging.fidelity import REACH_PX, disagreement, sharper_by_px
from scope_sr.imaging.stitching import composed

BAND_ROWS = 512  # of what is put together or compared at a time
SAMPLES, SAMPLE_PX = 4, 256  # parts a side, of a picture; fields of a session

Tell = Callable[[str, int, int], None]
Purpose = dict[str, Any]
Map = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Part:
    """Some rows of a picture on the disk, as a picture of their own."""

    whole: Pixels
    top: int
    rows: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows, columns, channels."""
        return (self.rows, *self.whole.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its numbers."""
        return self.whole.dtype

    def __getitem__(self, where: tuple[slice, slice]) -> NDArray[Any]:
        start, stop, _ = where[0].indices(self.rows)
        return self.whole[self.top + start : self.top + stop, where[1]]


def run_through(
    engine: Engine, picture: Pixels | Slide, canvas: Canvas, stage: str, tell: Tell
) -> None:
    """Put down on a canvas what a model makes of a picture, from where it stopped."""
    rows, columns = picture.shape[:2]
    total = canvas.shape[0]
    tell(stage, canvas.rows, total)
    region = picture.region if isinstance(picture, Slide) else lambda r, c: picture[r, c]
    for band in engine.bands(region, (rows, columns), start=canvas.rows):
        canvas.put(band.top, band.pixels)
        tell(stage, canvas.rows, total)


def of_slide(slide: Slide, engine: Engine, work: Path, purpose: Purpose, tell: Tell) -> Canvas:
    """Enhance a picture of any size."""
    rows, columns = (engine.card.scale * side for side in slide.shape)
    canvas = Canvas(work / "enhanced", (rows, columns, 3), np.uint8, purpose)
    if canvas.rows < rows:
        run_through(engine, slide, canvas, "enhancing", tell)
    return canvas


def of_mosaic(mosaic: Mosaic, engine: Engine, work: Path, purpose: Purpose, tell: Tell) -> Canvas:
    """Enhance each field by itself, as `live` would, and put the enhanced ones together."""
    scale = engine.card.scale
    shape = mosaic.shape(scale)
    canvas = Canvas(work / "enhanced", (*shape, 3), np.uint8, purpose)
    if canvas.rows == shape[0]:
        return canvas
    fields = fields_of(mosaic, engine, work, purpose, tell)
    corners = mosaic.corners(scale)
    while canvas.rows < shape[0]:
        rows = slice(canvas.rows, min(canvas.rows + BAND_ROWS, shape[0]))
        canvas.put(rows.start, composed(fields, corners, shape, rows))
        tell("stitching", canvas.rows, shape[0])
    return canvas


def fields_of(
    mosaic: Mosaic, engine: Engine, work: Path, purpose: Purpose, tell: Tell
) -> list[Part]:
    """Enhance the fields of a session one by one, below each other on one canvas."""
    count = len(mosaic.names)
    rows, columns = (engine.card.scale * side for side in mosaic.field_px)
    canvas = Canvas(work / "fields", (count * rows, columns, 3), np.uint8, purpose)
    for number in range(canvas.rows // rows, count):
        tell("enhancing fields", number, count)
        canvas.put(number * rows, engine(mosaic.field(mosaic.names[number])))
    tell("enhancing fields", count, count)
    return [Part(canvas, number * rows, rows) for number in range(count)]


def disagreement_of_slide(
    slide: Slide, enhanced: Pixels, work: Path, tell: Tell
) -> tuple[Raw, float]:
    """Map how far an enhanced picture, made small again, is from what it was made of.

    Returns
    -------
    The map, and by how much blur the picture was made sharper; see
    :func:`scope_sr.imaging.fidelity.disagreement`.
    """
    scale = enhanced.shape[0] // slide.shape[0]
    rows, columns = slide.shape
    pairs = [
        (slide.region(y, x), enhanced[enlarged(y, scale), enlarged(x, scale)])
        for y, x in windows(slide.shape)
    ]
    sharper_px = sharper_by_px(pairs)
    found = Raw(work / "fidelity.raw", (rows, columns), np.float32, new=True)
    for top in range(0, rows, BAND_ROWS):
        bottom = min(top + BAND_ROWS, rows)
        around = slice(max(0, top - REACH_PX), min(rows, bottom + REACH_PX))
        seen = disagreement(
            slide.region(around, slice(0, columns)),
            enhanced[enlarged(around, scale), :],
            sharper_px,
        )
        found[top:bottom, 0:columns] = seen[top - around.start : bottom - around.start]
        tell("comparing", bottom, rows)
    return found, sharper_px


def disagreement_of_mosaic(
    mosaic: Mosaic, engine: Engine, work: Path, purpose: Purpose, tell: Tell
) -> tuple[Raw, float]:
    """Map the same of a session: field by field, put together as the fields are."""
    fields = fields_of(mosaic, engine, work, purpose, lambda *_: None)
    rows, columns = mosaic.field_px
    chosen = np.linspace(0, len(fields) - 1, min(SAMPLES, len(fields))).round().astype(int)
    sharper_px = sharper_by_px([(mosaic.field(mosaic.names[n]), fields[n][:, :]) for n in chosen])
    maps = Raw(work / "maps.raw", (len(fields) * rows, columns, 1), np.float32, new=True)
    for number, (name, field) in enumerate(zip(mosaic.names, fields, strict=True)):
        seen = disagreement(mosaic.field(name), field[:, :], sharper_px)
        maps[number * rows : (number + 1) * rows, :] = seen[..., None]
        tell("comparing", number + 1, len(fields))
    shape, corners = mosaic.shape(1), mosaic.corners(1)
    parts = [Part(maps, number * rows, rows) for number in range(len(fields))]
    found = Raw(work / "fidelity.raw", shape, np.float32, new=True)
    for top in range(0, shape[0], BAND_ROWS):
        band = slice(top, min(top + BAND_ROWS, shape[0]))
        found[band, :] = composed(parts, corners, shape, band)[..., 0]
    return found, sharper_px


def enlarged(part: slice, scale: int) -> slice:
    """Give the pixels of the enhanced picture that stand in the place of some of the input.

    >>> enlarged(slice(3, 5), 2)
    slice(6, 10, None)
    """
    return slice(scale * part.start, scale * part.stop)


def windows(shape: tuple[int, int]) -> list[tuple[slice, slice]]:
    """Choose parts from all over a picture, row by row, `SAMPLES` by `SAMPLES`."""
    starts = [
        np.linspace(0, side - min(SAMPLE_PX, side), SAMPLES).round().astype(int) for side in shape
    ]
    rows, columns = (
        [slice(int(start), int(start) + min(SAMPLE_PX, side)) for start in along]
        for along, side in zip(starts, shape, strict=True)
    )
    return [(y, x) for y in rows for x in columns]
