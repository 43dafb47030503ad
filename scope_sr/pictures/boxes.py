"""Upright rectangles of slide pixels, and pasting a piece of one picture into another."""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import NDArray


class Box(NamedTuple):
    """A rectangle of the slide: its left column, top row, width and height, in pixels."""

    column: int
    row: int
    width: int
    height: int

    def meets(self, other: Box) -> bool:
        """Whether the two rectangles share a pixel."""
        return (
            max(self.column, other.column)
            < min(self.column + self.width, other.column + other.width)
        ) and (max(self.row, other.row) < min(self.row + self.height, other.row + other.height))

    def common(self, other: Box) -> Box:
        """Return the shared rectangle; only for rectangles that meet."""
        column, row = max(self.column, other.column), max(self.row, other.row)
        right = min(self.column + self.width, other.column + other.width)
        bottom = min(self.row + self.height, other.row + other.height)
        return Box(column, row, right - column, bottom - row)

    def slices(self, inside: Box) -> tuple[slice, slice]:
        """Give rows and columns of this rectangle in an array that shows `inside`."""
        top, left = self.row - inside.row, self.column - inside.column
        return slice(top, top + self.height), slice(left, left + self.width)


def paste(target: NDArray[Any], seen: Box, source: NDArray[Any], lies: Box) -> None:
    """Copy `source`, which lies at `lies`, into `target`, which shows `seen`, where they meet."""
    if seen.meets(lies):
        shared = seen.common(lies)
        target[shared.slices(seen)] = source[shared.slices(lies)]
