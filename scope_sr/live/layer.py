"""What was enhanced of one view, in buffers as large as the field."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scope_sr.live.dyes import Colours, dyed, heated
from scope_sr.live.seen import Bgra, Nuclei, Patch, Seen, Window

UNKNOWN = np.nan


class Layer:
    """What was enhanced of one view, in buffers as large as the field.

    Attributes
    ----------
    seen
        The last frame anything was made of.
    scale
        Pixels here to one of the camera.
    model
        Name of the generator.
    pixels
        ``(scale * row, scale * column, 4)`` blue, green, red, 255; all four 0 where nothing is.
    overlay
        Nuclei in their colours, at the same places; None where none were looked for.
    apart
        Disagreement, ``(row, column)`` float32 in grey levels; nan where it is not known.
    heat
        The same in colours; None where it is not known anywhere.
    version
        Grows with each patch.
    valid_s
        The last moment at which this was what the camera saw.
    """

    def __init__(self, patch: Patch, colours: Colours) -> None:
        self.shape, self.scale = patch.seen.shape, patch.scale
        large = (self.scale * self.shape[0], self.scale * self.shape[1])
        self.version = 0
        self._colours = colours
        self._own: Bgra | None = None  # the patches' own arrays are never written into
        self._own_classes: NDArray[np.uint8] | None = None
        self._large = large
        self._made_s = np.empty(self.shape, np.float32)  # after `_since_s`
        self.begin(patch.seen)

    def begin(self, seen: Seen) -> None:
        """Be empty, for another view; the buffers stay."""
        self.seen, self.model, self.valid_s = seen, "", seen.arrived_s
        self._since_s = seen.arrived_s
        self._all_s: float | None = UNKNOWN  # of the whole field at once: `_made_s` is not filled
        self._covered: float | None = 0.0
        self._oldest_s: float | None = 0.0
        self._pixels: Bgra | None = None
        self._classes: NDArray[np.uint8] | None = None
        self._overlay: Colours | None = None
        self.apart: NDArray[np.float32] | None = None
        self.heat: Colours | None = None
        self._nuclei: dict[Window, Nuclei] = {}

    def fits(self, patch: Patch) -> bool:
        """Say whether a patch has the size of this: of field and of pixels."""
        return (patch.seen.shape, patch.scale) == (self.shape, self.scale)

    def lay(self, patch: Patch) -> None:
        """Put a patch in its place."""
        self.seen, self.model = patch.seen, patch.model
        self.valid_s = max(self.valid_s, patch.seen.arrived_s)
        self.version += 1
        self._lay_pixels(patch)
        self._note(patch.window, patch.seen.arrived_s - self._since_s)
        if patch.nuclei is not None:
            self._lay_nuclei(patch.window, patch.nuclei, whole=self._whole(patch))
        if patch.apart is not None:
            self._lay_apart(patch.window, patch.apart)

    def dye(self, colours: Colours) -> None:
        """Give the nuclei other colours."""
        self._colours, self._overlay = colours, None
        self.version += 1

    @property
    def pixels(self) -> Bgra:
        """The picture; empty where nothing is."""
        return self._blank() if self._pixels is None else self._pixels

    @property
    def overlay(self) -> Colours | None:
        """Nuclei in their colours; made when first asked for."""
        if self._overlay is None and self._classes is not None:
            self._overlay = dyed(self._classes, self._colours)
        return self._overlay

    @property
    def covered(self) -> float:
        """Share of the field that is there."""
        if self._covered is None:
            self._covered = float(np.count_nonzero(self.there()) / self._made_s.size)
        return self._covered

    @property
    def oldest_s(self) -> float:
        """When the frame was taken in hand that the oldest place was made of."""
        if self._oldest_s is None:
            self._oldest_s = float(np.fmin.reduce(self._made_s, axis=None))
        return self._since_s + self._oldest_s

    def made_s(self, row: float, column: float) -> float | None:
        """Say of which moment a place is; None where nothing is."""
        after_s = float(self._times()[int(row), int(column)])
        return None if np.isnan(after_s) else self._since_s + after_s

    def there(self) -> NDArray[np.bool_]:
        """Say of each pixel of the camera whether it was enhanced."""
        return np.isfinite(self._times())

    @property
    def areas_um2(self) -> NDArray[np.float64]:
        """Of all nuclei that are counted."""
        areas = [nuclei.areas_um2 for nuclei in self._nuclei.values()]
        return np.concatenate([np.empty(0), *areas])

    @property
    def counted_px(self) -> int:
        """Pixels of the camera in which nuclei are counted."""
        return sum(window.rows * window.columns for window in self._nuclei)

    def labels(self) -> NDArray[np.int32] | None:
        """Give each nucleus that is counted its number; None where none were looked for."""
        if not self._nuclei:
            return None
        made, last = np.zeros(self._large, np.int32), 0
        for window, nuclei in self._nuclei.items():
            made[_places(window, self.scale)] = np.where(nuclei.labels, nuclei.labels + last, 0)
            last += int(nuclei.labels.max(initial=0))
        return made

    def _whole(self, patch: Patch) -> bool:
        return (patch.window.rows, patch.window.columns) == self.shape

    def _note(self, window: Window, after_s: float) -> None:
        """Note when a window was made; of the whole field without touching each place."""
        if (window.rows, window.columns) == self.shape:
            self._all_s, self._covered, self._oldest_s = after_s, 1.0, after_s
            return
        self._times()[window.slices] = after_s
        self._oldest_s = None
        if self._covered != 1.0:
            self._covered = None

    def _times(self) -> NDArray[np.float32]:
        if self._all_s is not None:
            self._made_s.fill(self._all_s)
            self._all_s = None
        return self._made_s

    def _lay_pixels(self, patch: Patch) -> None:
        if self._whole(patch):
            self._pixels = patch.pixels
            return
        if self._pixels is None or self._pixels is not self._own:
            before, self._pixels = self._pixels, self._blank()
            if before is not None:
                np.copyto(self._pixels, before)
        self._pixels[_places(patch.window, self.scale)] = patch.pixels

    def _blank(self) -> Bgra:
        if self._own is None:
            self._own = np.zeros((*self._large, 4), np.uint8)
        else:
            self._own.fill(0)
        return self._own

    def _lay_nuclei(self, window: Window, nuclei: Nuclei, *, whole: bool) -> None:
        """Put nuclei in their place; windows they overlap are no longer counted.

        Whether a nucleus cut by the edge of a newer window is the same as one within it nobody
        knows: so each place is counted by one window only, and the area that is counted with it.
        """
        for other in [other for other in self._nuclei if overlap(window, other)]:
            del self._nuclei[other]
        self._nuclei[window] = nuclei
        if whole:
            self._classes, self._overlay = nuclei.classes, None
            return
        if self._classes is None or self._classes is not self._own_classes:
            before, self._classes = self._classes, self._blank_classes()
            if before is not None:
                np.copyto(self._classes, before)
        self._classes[_places(window, self.scale)] = nuclei.classes
        if self._overlay is not None:
            self._overlay[_places(window, self.scale)] = dyed(nuclei.classes, self._colours)

    def _blank_classes(self) -> NDArray[np.uint8]:
        if self._own_classes is None:
            self._own_classes = np.zeros(self._large, np.uint8)
        else:
            self._own_classes.fill(0)
        return self._own_classes

    def _lay_apart(self, window: Window, apart: NDArray[np.float32]) -> None:
        if self.apart is None or self.heat is None:
            self.apart = np.full(self.shape, UNKNOWN, np.float32)
            self.heat = np.zeros(self.shape, np.uint32)
        self.apart[window.slices] = apart
        self.heat[window.slices] = heated(apart)


def _places(window: Window, scale: int) -> tuple[slice, slice]:
    rows, columns = window.slices
    return (
        slice(scale * rows.start, scale * rows.stop),
        slice(scale * columns.start, scale * columns.stop),
    )


def overlap(one: Window, other: Window) -> bool:
    """Say whether two windows share a pixel.

    >>> window = Window(0, 0, 4, 4)
    >>> overlap(window, Window(0, 4, 4, 4)), overlap(window, Window(3, 3, 4, 4))
    (False, True)
    """
    return (
        one.top < other.top + other.rows
        and other.top < one.top + one.rows
        and one.left < other.left + other.columns
        and other.left < one.left + one.columns
    )
