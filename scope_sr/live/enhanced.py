"""What was enhanced of the field, put together from patches for the screen.

It belongs to the thread of the window, which lays patches and paints from the same buffers: no two
threads touch them. A patch of another view begins anew; what was there is kept as `before`, to be
drawn beneath at its place on the tissue until the new picture covers the field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scope_sr.live.dyes import NUCLEI_RGB, Colours, table
from scope_sr.live.layer import Layer
from scope_sr.live.seen import Bgra, Patch, Rgb, Seen

Offset = Callable[[Seen, Seen], "tuple[float, float] | None"]
Shape = tuple[int, int]

KEPT_S = 5.0  # how long a picture of another view may stand in for one of this view
Z_APART_UM = 1.0  # beyond this another focus; stages report the same one with less spread


@dataclass(frozen=True, eq=False)
class Placed:
    """A layer, and by how many columns and rows it lies off in the frame that is shown."""

    layer: Layer
    column: float
    row: float

    @property
    def fills(self) -> bool:
        """Whether nothing of what lies beneath can be seen."""
        return (self.column, self.row) == (0.0, 0.0) and self.layer.covered == 1.0


class Enhanced:
    """All that was enhanced and may be drawn now.

    Attributes
    ----------
    layer
        What the last patch belongs to; None before the first.
    before
        What was there before it.

    Examples
    --------
    >>> from scope_sr.frame import Frame, Position
    >>> from scope_sr.live.seen import Window
    >>> rgb = np.zeros((4, 6, 3), np.uint8)
    >>> frame = Frame(rgb, Position(0, 0, 0), "10x", 10.0, 0.0, 1)
    >>> seen = Seen(frame, rgb, 0.5, arrived_s=7.0, view=1, since_s=7.0)
    >>> enhanced = Enhanced()
    >>> enhanced.lay(Patch(seen, Window(0, 0, 4, 3), 2, np.full((8, 6, 4), 255, np.uint8)))
    >>> enhanced.scale, enhanced.pixels.shape, enhanced.covered, enhanced.oldest_s
    (2, (8, 12, 4), 0.5, 7.0)
    """

    def __init__(self) -> None:
        self.layer: Layer | None = None
        self.before: Layer | None = None
        self._spare: Layer | None = None
        self._colours = table(fill=True, outline=True)

    def lay(self, patch: Patch) -> None:
        """Put a patch in its place; one of another view, scale or size of the field begins anew."""
        layer = self.layer
        if layer is None or layer.seen.view != patch.seen.view or not layer.fits(patch):
            layer = self._begin(patch)
        layer.lay(patch)
        if self.before is not None and layer.covered == 1.0:
            self._drop_before()

    def clear(self) -> None:
        """Forget everything: another source, or enhancement switched off."""
        self.layer = self.before = self._spare = None

    def style(self, *, fill: bool, outline: bool, rgb: tuple[int, int, int] = NUCLEI_RGB) -> None:
        """Say how nuclei are drawn; at once, without new data."""
        self._colours = table(fill=fill, outline=outline, rgb=rgb)
        for layer in (self.layer, self.before, self._spare):
            if layer is not None:
                layer.dye(self._colours)

    def in_place(self, seen: Seen, offset: Offset) -> list[Placed]:
        """Give what may be drawn over a frame, the lowest first.

        Not drawn: another objective or focus, more than one field away, and another view that is
        older than some seconds.

        Parameters
        ----------
        offset
            Gives the columns and rows by which an older frame lies off in the newer one, None where
            it shows another place.
        """
        placed = [(one, _lies(one, seen, offset)) for one in (self.before, self.layer) if one]
        if (self.before, None) in placed:
            self._drop_before()
        return [Placed(layer, *where) for layer, where in placed if where is not None]

    @property
    def seen(self) -> Seen | None:
        """The frame the last patch was made of."""
        return self.layer.seen if self.layer else None

    @property
    def scale(self) -> int:
        """Pixels here to one of the camera; 1 before the first patch."""
        return self.layer.scale if self.layer else 1

    @property
    def model(self) -> str:
        """Name of the generator."""
        return self.layer.model if self.layer else ""

    @property
    def pixels(self) -> Bgra | None:
        """The picture, as the layer has it."""
        return self.layer.pixels if self.layer else None

    @property
    def overlay(self) -> Colours | None:
        """Nuclei in their colours."""
        return self.layer.overlay if self.layer else None

    @property
    def apart(self) -> NDArray[np.float32] | None:
        """Disagreement with the frame in grey levels; nan where it is not known."""
        return self.layer.apart if self.layer else None

    @property
    def covered(self) -> float:
        """Share of the field that is there, 0 to 1."""
        return self.layer.covered if self.layer else 0.0

    @property
    def oldest_s(self) -> float | None:
        """Of which moment the oldest place is; None before the first patch."""
        return self.layer.oldest_s if self.layer else None

    @property
    def areas_um2(self) -> NDArray[np.float64]:
        """Of all nuclei that are counted; where nobody knows the pixel size, in pixels."""
        return self.layer.areas_um2 if self.layer else np.empty(0)

    @property
    def covered_um2(self) -> float | None:
        """Area in which nuclei are counted; None where nobody knows the pixel size."""
        if self.layer is None or self.layer.seen.um_per_px is None:
            return None
        return self.layer.counted_px * self.layer.seen.um_per_px**2

    def rgb(self) -> Rgb | None:
        """Copy the picture as RGB, 0 where nothing is; None before the first patch."""
        if self.layer is None:
            return None
        return np.asarray(cv2.cvtColor(self.layer.pixels, cv2.COLOR_BGRA2RGB), np.uint8)

    def labels(self) -> NDArray[np.int32] | None:
        """Give each nucleus that is counted its number; None where none were looked for."""
        return self.layer.labels() if self.layer else None

    def _begin(self, patch: Patch) -> Layer:
        """Go on to another view, in the buffers of what is no longer drawn."""
        made = self._spare or self.before
        if made is not None and made.fits(patch):
            made.begin(patch.seen)
        else:
            made = Layer(patch, self._colours)
        self.before, self.layer, self._spare = self.layer, made, None
        return made

    def _drop_before(self) -> None:
        self.before, self._spare = None, self.before


def borders(placed: Iterable[Placed], shape: Shape) -> list[NDArray[np.int32]]:
    """Trace where what is enhanced ends within the field.

    Returns
    -------
    list
        Closed lines, each ``(corner, 2)`` of columns and rows; empty where all or nothing is
        enhanced. Lines run along the outer edge of the field too, where a part touches it.
    """
    mask = np.zeros(shape, np.uint8)
    for one in placed:
        _add(mask, one)
    if mask.all():
        return []
    found, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    return [np.asarray(line[:, 0, :], np.int32) for line in found]


def _add(mask: NDArray[np.uint8], placed: Placed) -> None:
    there = placed.layer.there()
    row, column = round(placed.row), round(placed.column)
    rows, columns = mask.shape
    into = (
        slice(max(0, row), rows + min(0, row)),
        slice(max(0, column), columns + min(0, column)),
    )
    of = (
        slice(max(0, -row), rows + min(0, -row)),
        slice(max(0, -column), columns + min(0, -column)),
    )
    mask[into] |= there[of]


def _lies(layer: Layer, seen: Seen, offset: Offset) -> tuple[float, float] | None:
    """Give the columns and rows by which a layer lies off, None where it is not to be drawn."""
    made = layer.seen
    if layer.shape != seen.shape or made.frame.objective != seen.frame.objective:
        return None
    if made.view == seen.view:
        layer.valid_s = max(layer.valid_s, seen.arrived_s)
        return 0.0, 0.0
    if abs(made.frame.position.z_um - seen.frame.position.z_um) > Z_APART_UM:
        return None
    off = offset(made, seen) if seen.arrived_s - layer.valid_s <= KEPT_S else None
    if off is None or abs(off[0]) >= seen.shape[1] or abs(off[1]) >= seen.shape[0]:
        return None
    return off
