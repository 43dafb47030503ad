"""Where the model looks next: what is looked at first, then outwards over the field.

All lengths are pixels of the camera. The field is divided into cells, whose edges are multiples of
`STEP_PX`; a cell is the part of a result that is kept, and what is looked at for it is larger by
the halo of the model on each side, but for where the field ends. All that is looked at has one
shape: a runtime that has prepared itself for one shape need not do so again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from scope_sr.live.seen import Window

Shape = tuple[int, int]
Focus = tuple[float, float]
Area = tuple[float, float, float, float]  # top, left, rows, columns

STEP_PX = 16
LEAST_PX = 96
TURN_S = 0.12  # what a part of the field may take
WHOLE_S = 0.1  # what the whole field may take, to be done for every frame
SLOW = 1.5  # times as long as it may: then smaller windows
TURNS = 4  # that are looked at before anything is changed
SETTLED_S = 0.15  # a view so old no longer moves
RESTLESS_S = 1.0  # where no view gets so old, the middle of attention is done nevertheless


def sides(shape: Shape) -> tuple[int, ...]:
    """List the sides a window may have, each about twice the area of the last; then the field's.

    >>> sides((512, 700))
    (96, 128, 192, 272, 384, 544, 700)
    >>> sides((512, 512)), sides((60, 80))
    ((96, 128, 192, 272, 512), (80,))
    """
    found: dict[Shape, int] = {}
    longest, side = max(shape), float(LEAST_PX)
    while side < longest:
        rounded = round(side / STEP_PX) * STEP_PX
        if rounded < longest:
            found.setdefault(largest(shape, rounded), rounded)
        side *= math.sqrt(2)
    return (*found.values(), longest)


def largest(shape: Shape, side: int) -> Shape:
    """Give rows and columns of the largest of the `cells`, which is the first.

    >>> largest((200, 64), 128)
    (112, 64)
    """
    first = cells(shape, side)[0]
    return first.rows, first.columns


@lru_cache(maxsize=64)
def cells(shape: Shape, side: int) -> tuple[Window, ...]:
    """Divide a field into as few cells no larger than `side` as there can be, alike in size.

    >>> cells((40, 64), 32)[:2]
    (Window(top=0, left=0, rows=32, columns=32), Window(top=0, left=32, rows=32, columns=32))
    >>> [cell.rows for cell in cells((200, 64), 128)]
    [112, 88]
    """
    rows, columns = (_spans(length, side) for length in shape)
    return tuple(
        Window(top, left, bottom - top, right - left)
        for top, bottom in rows
        for left, right in columns
    )


def whole(shape: Shape) -> Window:
    """Give the window that is the field."""
    return Window(0, 0, *shape)


def seen_of(area: Area | None, shape: Shape) -> Area:
    """Give the part of the field that can be seen; all of it where nobody says, or nothing can.

    >>> seen_of(None, (100, 200)), seen_of((-10.0, 150.0, 60.0, 80.0), (100, 200))
    ((0.0, 0.0, 100.0, 200.0), (0.0, 150.0, 50.0, 50.0))
    """
    rows, columns = map(float, shape)
    if area is None:
        return 0.0, 0.0, rows, columns
    top, left = max(0.0, area[0]), max(0.0, area[1])
    high, wide = min(rows, area[0] + area[2]) - top, min(columns, area[1] + area[3]) - left
    return (top, left, high, wide) if min(high, wide) > 0 else (0.0, 0.0, rows, columns)


def at(focus: Focus | None, area: Area) -> Focus:
    """Say what is looked at: the point of what can be seen that is nearest, else its middle.

    >>> at(None, (0.0, 100.0, 100.0, 100.0)), at((-5.0, 70.0), (0.0, 100.0, 100.0, 100.0))
    ((50.0, 150.0), (0.0, 100.0))
    """
    top, left, rows, columns = area
    if focus is None:
        return top + rows / 2, left + columns / 2
    return min(max(top, focus[0]), top + rows), min(max(left, focus[1]), left + columns)


def touches(window: Window, area: Area) -> bool:
    """Say whether any of a window can be seen.

    >>> [touches(cell, (0.0, 96.0, 96.0, 10.0)) for cell in cells((96, 288), 96)]
    [False, True, False]
    """
    top, left, rows, columns = area
    return (
        window.top < top + rows
        and top < window.top + window.rows
        and window.left < left + columns
        and left < window.left + window.columns
    )


def centred(focus: Focus, size: Shape, shape: Shape) -> Window:
    """Give the window of a size around a point, moved into the field where it would stick out.

    >>> centred((10.0, 100.0), (64, 64), (200, 200))
    Window(top=0, left=68, rows=64, columns=64)
    """
    rows, columns = (min(side, length) for side, length in zip(size, shape, strict=True))
    top, left = (
        min(max(0, round(where - size / 2)), length - size)
        for where, size, length in zip(focus, (rows, columns), shape, strict=True)
    )
    return Window(top, left, rows, columns)


def looked_at(window: Window, size: Shape, halo: int, shape: Shape) -> Window:
    """Give what is looked at for a window: a halo around it, and so much more that shapes agree.

    Parameters
    ----------
    window
        No larger than `size`, which is that of a cell.
    shape
        Rows and columns of the field.

    Examples
    --------
    >>> looked_at(Window(0, 96, 96, 88), (96, 96), 20, (500, 184))
    Window(top=0, left=48, rows=136, columns=136)
    """
    tops = _stretch(window.top, window.rows, size[0] + 2 * halo, halo, shape[0])
    lefts = _stretch(window.left, window.columns, size[1] + 2 * halo, halo, shape[1])
    return Window(tops[0], lefts[0], tops[1], lefts[1])


def nearest(windows: Sequence[Window], focus: Focus) -> Window:
    """Give the window that is nearest to a point; of equally near ones the first."""
    return min(windows, key=lambda window: (_away_px(window, focus), _off_px(window, focus)))


def around(windows: Sequence[Window], focus: Focus) -> tuple[Window, ...]:
    """Give the windows within a quarter of their side of a point: one of them holds it.

    >>> [cell.left for cell in around(cells((96, 288), 96), (48.0, 90.0))]
    [0, 96]
    """
    return tuple(
        window
        for window in windows
        if _away_px(window, focus) <= min(window.rows, window.columns) / 4
    )


def stalest(windows: Sequence[Window], done_s: Mapping[Window, float]) -> Window:
    """Give the window that was done longest ago."""
    return min(windows, key=lambda window: done_s.get(window, -math.inf))


def settled(now_s: float, since_s: float) -> bool:
    """Say whether a view that began at `since_s` stands still by now."""
    return now_s - since_s >= SETTLED_S


def may_look(now_s: float, since_s: float, settled_s: float) -> bool:
    """Say whether a small computer looks at all.

    Parameters
    ----------
    since_s
        When the view began.
    settled_s
        When a view was last seen that did not move.

    Examples
    --------
    >>> may_look(10.0, 9.8, 9.8), may_look(10.0, 9.9, 9.8), may_look(10.0, 9.95, 8.9)
    (True, False, True)
    """
    return settled(now_s, since_s) or now_s - settled_s >= RESTLESS_S


class Filled:
    """Which parts of the field are done, on a raster of `STEP_PX`.

    Examples
    --------
    >>> filled = Filled((64, 192))
    >>> filled.add(Window(0, 0, 64, 96))
    >>> [cell.left for cell in filled.missing(cells((64, 192), 64))]
    [64, 128]
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self._done: NDArray[np.bool_] = np.zeros([-(-side // STEP_PX) for side in shape], bool)

    def add(self, window: Window) -> None:
        """Note a cell, or the whole field, as done."""
        self._done[_raster(window)] = True

    def missing(self, windows: Sequence[Window]) -> tuple[Window, ...]:
        """Give the windows that are not done, or not all of them."""
        return tuple(window for window in windows if not self._done[_raster(window)].all())


class Pace:
    """How large a window may be, by how long the last ones took.

    It is made smaller where turns take half as long again as they may, and larger only where the
    larger one would, by its area, take no longer than it may: so it does not go to and fro.

    Attributes
    ----------
    side
        Of a window.

    Examples
    --------
    >>> pace = Pace((1024, 1024), halo=18)
    >>> for _ in range(5):
    ...     pace.took(0.02)
    >>> pace.side
    272
    >>> for _ in range(5):
    ...     pace.took(0.3)
    >>> pace.side
    192
    """

    def __init__(self, shape: Shape, halo: int) -> None:
        self.shape = shape
        self._halo = halo
        self._sides = sides(shape)
        self._first = True
        self._turns_s: list[float] = []
        self._begin(self._sides[0])

    @property
    def whole(self) -> bool:
        """Whether the whole field is done at once."""
        return self.side == self._sides[-1]

    def took(self, seconds: float) -> None:
        """Hear how long a turn took; the first of a shape prepares the runtime and counts not."""
        if self._first:
            self._first = False
            return
        self._turns_s.append(seconds)
        if len(self._turns_s) < TURNS:
            return
        mean_s = sum(self._turns_s) / len(self._turns_s)
        self._turns_s.clear()
        if mean_s > SLOW * (WHOLE_S if self.whole else TURN_S):
            self.give_way()
        else:
            self._grow(mean_s)

    def give_way(self) -> None:
        """Take the next smaller window, if there is one."""
        place = self._sides.index(self.side)
        if place:
            self._begin(self._sides[place - 1])

    def _grow(self, mean_s: float) -> None:
        last = self._sides[-1]
        fitting = [
            side
            for side in self._sides
            if side > self.side
            and mean_s * self._area(side) / self._area(self.side)
            <= (WHOLE_S if side == last else TURN_S)
        ]
        if fitting:
            self._begin(fitting[-1])

    def _area(self, side: int) -> int:
        """Count the pixels that are looked at."""
        return math.prod(
            min(size + 2 * self._halo, length)
            for size, length in zip(largest(self.shape, side), self.shape, strict=True)
        )

    def _begin(self, side: int) -> None:
        self.side = side
        self._first = True
        self._turns_s.clear()


def _spans(length: int, side: int) -> list[tuple[int, int]]:
    count = -(-length // side)
    even = -(-length // (count * STEP_PX)) * STEP_PX
    return [(start, min(start + even, length)) for start in range(0, length, even)]


def _stretch(start: int, size: int, wanted: int, halo: int, length: int) -> tuple[int, int]:
    wanted = min(max(wanted, size + 2 * halo), length)
    first = min(max(0, start - halo), length - wanted)
    return first, wanted


def _raster(window: Window) -> tuple[slice, slice]:
    return tuple(  # type: ignore[return-value]
        slice(side.start // STEP_PX, -(-side.stop // STEP_PX)) for side in window.slices
    )


def _away_px(window: Window, focus: Focus) -> float:
    """Give the distance of a point from a window; 0 within."""
    gaps = (
        max(side.start - where, where - side.stop, 0.0)
        for side, where in zip(window.slices, focus, strict=True)
    )
    return math.hypot(*gaps)


def _off_px(window: Window, focus: Focus) -> float:
    """Give the distance of a point from the middle of a window."""
    middles = ((side.start + side.stop) / 2 for side in window.slices)
    return math.hypot(*(middle - where for middle, where in zip(middles, focus, strict=True)))
