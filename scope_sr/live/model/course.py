"""What has been done of the view, and what is done next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from weakref import ref

from scope_sr.live.model.tiling import (
    Area,
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
    seen_of,
    settled,
    stalest,
    touches,
    whole,
)
from scope_sr.live.seen import Seen, Window

FILLS = 8  # parts of the rest of the field between two of what is looked at
NUCLEI_EVERY = 8  # of the pictures of one place: it is the same tissue


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
    picture
        Whether it is enhanced; False: nuclei are looked for in the picture made of it before.
    """

    window: Window
    size: Shape
    fills: bool
    nuclei: bool
    picture: bool = True


class Course:
    """The way through the field with one set of models.

    Windows of other sizes would lie across those that are done, and nuclei on their edges be
    counted twice or not at all: a new size begins the field anew, or, where it is all done, waits
    for the next view. What can be seen comes first, its pictures before its nuclei.

    Parameters
    ----------
    nuclei
        Whether there is a model that looks for them.

    Attributes
    ----------
    pace
        How large windows may be.

    Examples
    --------
    ``turn = course.next(seen, wishes.focus_px, wishes.area_px, time.monotonic())``
    """

    def __init__(self, shape: Shape, halo: int, now_s: float, *, nuclei: bool = True) -> None:
        self.shape = shape
        self._nuclei = nuclei
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
        self._searched: set[Window] = set()
        self._just_searched = False
        self._made_of: dict[Window, ref[Seen]] = {}  # frames of all parts would fill the memory
        self._done_s: dict[Window, float] = {}
        self._fills = self._refreshed = 0

    def next(
        self, seen: Seen, focus_px: Focus | None, area_px: Area | None, now_s: float
    ) -> Turn | None:
        """Say what is done next; None: nothing, until something changes.

        Parameters
        ----------
        focus_px, area_px
            What is looked at, as :class:`~scope_sr.live.seen.Wishes` has it.
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
        area = seen_of(area_px, self.shape)
        focus = at(focus_px, area)
        if not settled(now_s, seen.since_s):
            return self._refreshing([centred(focus, self._size, self.shape)], seen)
        return self._standing(seen, area, focus)

    def done(self, turn: Turn, seen: Seen, now_s: float, took_s: float) -> None:
        """Note what was done of a frame, and how long it took."""
        if turn.picture:
            self._made_of[turn.window], self._done_s[turn.window] = ref(seen), now_s
        if turn.fills:
            self._filled.add(turn.window)
        if turn.nuclei:
            self._searched.add(turn.window)
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

    def _standing(self, seen: Seen, area: Area, focus: Focus) -> Turn | None:
        """Fill what can be seen; then look for its nuclei, by turns with pictures of the rest."""
        visible = [window for window in self._grid if touches(window, area)]
        missing = self._filled.missing(visible)
        search = self._searching(visible, focus)
        if search and not missing and not self._just_searched:
            self._just_searched = True
            return search
        self._just_searched = False
        missing = missing or self._filled.missing(self._grid)
        return self._picturing(missing, visible, seen, focus) or search

    def _picturing(
        self, missing: Sequence[Window], visible: Sequence[Window], seen: Seen, focus: Focus
    ) -> Turn | None:
        """Go outwards from what is looked at, and in between do that again."""
        there = [window for window in around(visible, focus) if window in self._made_of]
        near = self._fresh(there, seen)
        if missing and (self._fills < FILLS or not near):
            self._fills += 1
            return Turn(nearest(missing, focus), self._size, fills=True, nuclei=False)
        return self._refreshing(near, seen)

    def _searching(self, visible: Sequence[Window], focus: Focus) -> Turn | None:
        """Look for nuclei where a picture is, first where it can be seen."""
        if not self._nuclei:
            return None
        for windows in (visible, self._grid):
            without = {*self._filled.missing(windows), *self._searched}
            left = [window for window in windows if window not in without]
            if left:
                window = nearest(left, focus)
                return Turn(window, self._size, fills=False, nuclei=True, picture=False)
        return None

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
        made_of = self._made_of
        return [one for one in windows if one not in made_of or made_of[one]() is not seen]

    @property
    def _grid(self) -> tuple[Window, ...]:
        return cells(self.shape, self._side)

    @property
    def _size(self) -> Shape:
        return largest(self.shape, self._side)
