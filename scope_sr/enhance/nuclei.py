"""Nuclei of a picture that is looked at block by block: each is found once, and as a whole.

A block is looked at with a margin; a nucleus belongs to the block in which its first pixel lies,
row by row. Where nuclei touch and their cluster reaches over the margin, the margin grows until the
cluster is seen as a whole: then what is found is what would be found in the whole picture at once.
(By its centroid a bent nucleus might belong to a block that none of its pixels lies in.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scope_sr.imaging.nuclei import Labels, components, filled, foreground, instances, reach_px

BLOCK_PX = 1024
MARGIN_PX = 64  # two nuclei of 8 µm at 0.25 µm per px
LARGEST_MARGIN_PX = 1024  # a window of 3072 x 3072 px: what memory is meant for

Planes = NDArray[np.uint8]
Region = Callable[[slice, slice], Planes]


class Box(NamedTuple):
    """Rows and columns of a picture."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """As indices."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def wider(self, margin: int, shape: tuple[int, int]) -> Box:
        """Add a margin, as far as the picture reaches."""
        return Box(
            max(0, self.top - margin),
            min(shape[0], self.bottom + margin),
            max(0, self.left - margin),
            min(shape[1], self.right + margin),
        )

    def within(self, other: Box) -> tuple[slice, slice]:
        """As indices of what is cut out of the picture by another box."""
        rows = slice(self.top - other.top, self.bottom - other.top)
        return rows, slice(self.left - other.left, self.right - other.left)


@dataclass(frozen=True)
class Found:
    """The nuclei that belong to a block.

    Attributes
    ----------
    window
        What they reach over, which may be more than the block.
    labels
        ``(row, column)`` of the window: 0, and 1 .. K in the order of their first pixels.
    """

    window: Box
    labels: Labels


def blocks(shape: tuple[int, int], side: int = BLOCK_PX) -> tuple[Box, ...]:
    """Divide a picture into blocks, row by row.

    >>> [tuple(block) for block in blocks((3, 5), 4)]
    [(0, 3, 0, 4), (0, 3, 4, 5)]
    """
    return tuple(
        Box(top, min(top + side, shape[0]), left, min(left + side, shape[1]))
        for top in range(0, shape[0], side)
        for left in range(0, shape[1], side)
    )


def found_in(block: Box, planes: Region, shape: tuple[int, int], um_per_px: float | None) -> Found:
    """Find the nuclei that begin in a block.

    Parameters
    ----------
    block
        Of the picture.
    planes
        Gives what the network says of two slices; see :func:`scope_sr.imaging.nuclei.instances`.
    shape
        Rows and columns of the picture.

    Examples
    --------
    >>> from scope_sr.imaging.nuclei import planes, targets
    >>> labels = np.zeros((40, 60), int)
    >>> labels[10:30, 25:45] = 1
    >>> seen = planes(*targets(labels))
    >>> left, right = blocks(labels.shape, 40)
    >>> [int(found_in(b, lambda y, x: seen[y, x], labels.shape, 0.25).labels.max())
    ...  for b in (left, right)]
    [1, 0]
    """
    if not foreground(planes(*block.slices)).any():
        return _nothing(block)
    window, seen = _wide_enough(block, planes, shape, reach_px(um_per_px))
    labels = _of_block(filled(instances(seen, um_per_px)), window, block)
    return _trimmed(labels, window) if labels.any() else _nothing(block)


def _of_block(labels: Labels, window: Box, block: Box) -> Labels:
    """Keep the nuclei whose first pixel lies in the block, numbered in the order of these."""
    first = first_pixels(labels)
    rows, columns = np.divmod(first, labels.shape[1])
    inside = block.within(window)
    owned = (
        (inside[0].start <= rows)
        & (rows < inside[0].stop)
        & (inside[1].start <= columns)
        & (columns < inside[1].stop)
    )
    number = np.zeros(len(first) + 1, np.int32)
    number[1 + np.flatnonzero(owned)[np.argsort(first[owned])]] = 1 + np.arange(owned.sum())
    return number[labels]


def first_pixels(labels: Labels) -> NDArray[np.intp]:
    """Give the first pixel of each nucleus 1 .. K, as its index in the rows laid end to end.

    >>> first_pixels(np.array([[0, 2, 2], [1, 0, 2]], np.int32)).tolist()
    [3, 1]
    """
    pixels = np.flatnonzero(labels)[::-1]
    first = np.zeros(int(labels.max()) + 1, np.intp)
    first[labels.ravel()[pixels]] = pixels  # the last one put there stays: backwards, the first
    return first[1:]


def _trimmed(labels: Labels, window: Box) -> Found:
    rows, columns = np.flatnonzero(labels.any(axis=1)), np.flatnonzero(labels.any(axis=0))
    tight = Box(
        window.top + int(rows[0]),
        window.top + int(rows[-1]) + 1,
        window.left + int(columns[0]),
        window.left + int(columns[-1]) + 1,
    )
    return Found(tight, labels[tight.within(window)])


def _nothing(block: Box) -> Found:
    return Found(block, np.zeros((block.bottom - block.top, block.right - block.left), np.int32))


def _wide_enough(
    block: Box, planes: Region, shape: tuple[int, int], reach: int
) -> tuple[Box, Planes]:
    margin = MARGIN_PX
    while True:
        window = block.wider(margin, shape)
        seen = planes(*window.slices)
        if margin >= LARGEST_MARGIN_PX or not _cut(seen, window, block, shape, reach):
            return window, seen
        margin *= 2


def _cut(seen: Planes, window: Box, block: Box, shape: tuple[int, int], reach: int) -> bool:
    """Whether a cluster of nuclei in the block hangs on what lies beyond the window."""
    clusters = components(foreground(seen))
    rims = [
        clusters[:reach] if window.top > 0 else None,
        clusters[-reach:] if window.bottom < shape[0] else None,
        clusters[:, :reach] if window.left > 0 else None,
        clusters[:, -reach:] if window.right < shape[1] else None,
    ]
    touching = np.zeros(int(clusters.max()) + 1, bool)
    for rim in rims:
        if rim is not None:
            touching[rim] = True
    touching[0] = False
    return bool(touching[clusters[block.within(window)]].any())
