"""What has been done of the view, and what is done next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from scope_sr.live.model.tiling import (
    Filled,
    Focus,
    Pace,
    Shape,
    around,
    at,
    cells,
    centred,
    largest,
    may_look,
    nearest,
    settled,
    stalest,
    whole,
)
from scope_sr.live.seen import Seen, Window

FILLS = 2  # parts of the rest of the field between two of what is looked at
NUCLEI_EVERY = 4  # of the pictures of one place: it is the same tissue


@dataclass(frozen=True)
class Turn:
    """What to do next.

    Attributes
    ----------
    size
        Rows and columns of the largest window there is now.
    fills
        Whether this part of the view stays done.
    nuclei
        Whether they are looked for.
    """

    window: Window
    size: Shape
    fills: bool
    nuclei: bool


class Course:
    """The way through the field with one set of models.

    Windows of other sizes would lie across those that are done, and nuclei on their edges be
    counted twice or not at all: a new size begins the field anew, or, where it is all done, waits
    for the next view.

    Attributes
    ----------
    pace
        How large windows may be.

    Examples
    --------
    ``turn = course.next(seen, wishes.focus_px, time.monotonic())``
    """

    def __init__(self, shape: Shape, halo: int, now_s: float) -> None:
        self.shape = shape
        self.pace = Pace(shape, halo)
        self._side = self.pace.side
        self._settled_s = now_s
        self._view = -1
        self.anew()

    @property
    def whole(self) -> bool:
        """Whether the whole field is done at once."""
        return self._side >= max(self.shape)

    @property
    def window_px(self) -> int:
        """Longest side of a window now."""
        return max(self._size)

    def give_way(self) -> None:
        """Take smaller windows from now on."""
        self.pace.give_way()
        self._take_side()

    def anew(self) -> None:
        """Do all of the view once more."""
        self._filled = Filled(self.shape)
        self._made_of: dict[Window, Seen] = {}
        self._done_s: dict[Window, float] = {}
        self._fills = self._refreshed = 0

    def next(self, seen: Seen, focus_px: Focus | None, now_s: float) -> Turn | None:
        """Say what is done next; None: nothing, until something changes.

        Parameters
        ----------
        focus_px
            Row and column that is looked at.
        """
        if seen.view != self._view:
            self._view = seen.view
            self._take_side()
        elif self._side != self.pace.side and self._filled.missing(self._grid):
            self._take_side()
        if settled(now_s, seen.since_s):
            self._settled_s = now_s
        if self.whole:
            return self._whole(seen)
        if not may_look(now_s, seen.since_s, self._settled_s):
            return None
        focus = at(focus_px, self.shape)
        if not settled(now_s, seen.since_s):
            return self._refreshing([centred(focus, self._size, self.shape)], seen)
        return self._standing(seen, focus)

    def done(self, turn: Turn, seen: Seen, now_s: float, took_s: float) -> None:
        """Note what was done of a frame, and how long it took."""
        self._made_of[turn.window], self._done_s[turn.window] = seen, now_s
        if turn.fills:
            self._filled.add(turn.window)
        if self._side == self.pace.side:
            self.pace.took(took_s)

    def _take_side(self) -> None:
        self._side = self.pace.side
        self.anew()

    def _whole(self, seen: Seen) -> Turn | None:
        field = whole(self.shape)
        if not self._fresh([field], seen):
            return None
        return Turn(field, self.shape, fills=True, nuclei=True)

    def _standing(self, seen: Seen, focus: Focus) -> Turn | None:
        """Fill the field from what is looked at outwards, and in between do that again."""
        missing = self._filled.missing(self._grid)
        near = self._fresh(around(self._grid, focus), seen)
        if missing and (self._fills < FILLS or not near):
            self._fills += 1
            return Turn(nearest(missing, focus), self._size, fills=True, nuclei=True)
        return self._refreshing(near, seen)

    def _refreshing(self, windows: Iterable[Window], seen: Seen) -> Turn | None:
        """Do again what is looked at; its nuclei now and then only."""
        self._fills = 0
        fresh = self._fresh(windows, seen)
        if not fresh:
            return None
        self._refreshed += 1
        return Turn(
            stalest(fresh, self._done_s),
            self._size,
            fills=False,
            nuclei=self._refreshed % NUCLEI_EVERY == 0,
        )

    def _fresh(self, windows: Iterable[Window], seen: Seen) -> list[Window]:
        """Leave out the windows that were done of this very frame."""
        return [window for window in windows if self._made_of.get(window) is not seen]

    @property
    def _grid(self) -> tuple[Window, ...]:
        return cells(self.shape, self._side)

    @property
    def _size(self) -> Shape:
        return largest(self.shape, self._side)
