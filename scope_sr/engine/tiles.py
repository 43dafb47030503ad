"""Tiles that give, put together, exactly what the whole picture gives.

What a pixel of the result depends on lies within the halo that the model's card states (measured;
:mod:`scope_sr.modelfile.halo`). A window is looked at, and of it only the core is kept, which lies
a halo away from the window's edges, but for those where the picture itself ends. Cores lie side by
side without overlap: nothing is blended, for blending averages two pictures of invented detail.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise


@dataclass(frozen=True)
class Span:
    """One side of a tile, in pixels of the picture: the window, and the core within."""

    start: int
    stop: int
    core_start: int
    core_stop: int


@dataclass(frozen=True)
class Tile:
    """A window of the picture, and the part of it that is kept."""

    rows: Span
    columns: Span

    @property
    def window(self) -> tuple[slice, slice]:
        """Where to cut it out of the picture."""
        return slice(self.rows.start, self.rows.stop), slice(self.columns.start, self.columns.stop)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the window."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def core(self, scale: int = 1) -> tuple[slice, slice]:
        """Where the core lies in the result of the whole picture, `scale` times as large."""
        return tuple(  # type: ignore[return-value]
            slice(scale * side.core_start, scale * side.core_stop)
            for side in (self.rows, self.columns)
        )

    def kept(self, scale: int = 1) -> tuple[slice, slice]:
        """Where the core lies in the result of the window."""
        return tuple(  # type: ignore[return-value]
            slice(scale * (side.core_start - side.start), scale * (side.core_stop - side.start))
            for side in (self.rows, self.columns)
        )


def spans(length: int, window: int, halo: int, multiple: int = 1) -> tuple[Span, ...]:
    """Divide one side of a picture.

    Windows are all as long as asked, but for the last where the picture is no multiple long: each
    starts on a multiple, and the last ends where the picture does.

    Parameters
    ----------
    length
        Of the picture.
    window
        Of what is looked at at a time; a multiple of `multiple` and more than two halos.
    halo
        A multiple of `multiple`.

    Examples
    --------
    >>> for span in spans(100, 48, 8):
    ...     print(span.start, span.stop, span.core_start, span.core_stop)
    0 48 0 40
    32 80 40 72
    52 100 72 100
    """
    if window % multiple or halo % multiple or window <= 2 * halo:
        msg = f"window {window}, halo {halo}: no multiples of {multiple}, or no core left"
        raise ValueError(msg)
    if length <= window:
        return (Span(0, length, 0, length),)
    last = -(-(length - window) // multiple) * multiple
    starts = [*range(0, last, window - 2 * halo), last]
    edges = [0, *(start + window - halo for start in starts[:-1]), length]
    return tuple(
        Span(start, min(start + window, length), *core)
        for start, core in zip(starts, pairwise(edges), strict=True)
    )


def evened(length: int, window: int, halo: int, multiple: int = 1) -> int:
    """Give the smallest window that divides a side into no more tiles than `window` does.

    Windows overlap by two halos at least. Were they as large as allowed, the last ones would
    overlap by much more, and what is looked at twice is computed twice.

    Examples
    --------
    >>> evened(2048, 1024, 112, 16), evened(1000, 1024, 112, 16)
    (832, 1024)
    """
    if length <= window:
        return window
    tiles = -(-(length - window) // (window - 2 * halo)) + 1
    least = -(-(length + 2 * halo * (tiles - 1)) // tiles)
    return -(-least // multiple) * multiple


def bands(
    shape: tuple[int, int], window: int, halo: int, multiple: int = 1
) -> tuple[tuple[Tile, ...], ...]:
    """Divide a picture into bands of tiles, from the top; those of a band stand side by side.

    Windows are no larger than `window`; see `evened`.
    """
    rows, columns = (
        spans(side, evened(side, window, halo, multiple), halo, multiple) for side in shape
    )
    return tuple(tuple(Tile(row, column) for column in columns) for row in rows)


def batches(tiles: tuple[Tile, ...], most: int) -> Iterator[tuple[Tile, ...]]:
    """Give tiles of one shape together, at most so many."""
    for _, alike in groupby(tiles, key=lambda tile: tile.shape):
        found = tuple(alike)
        for first in range(0, len(found), most):
            yield found[first : first + most]
