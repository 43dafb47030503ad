"""Nuclei of a picture that is looked at block by block: each is found once, and as a whole.

A block is looked at with a margin; a nucleus belongs to the block its centroid lies in. Where
nuclei touch and their cluster reaches over the margin, the margin grows until the cluster is seen
as a whole: then what is found is what would be found in the whole picture at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scope_sr.imaging.nuclei import Labels, components, foreground, instances

BLOCK_PX = 1024
MARGIN_PX = 64  # two nuclei of 8 µm at 0.25 µm per px
LARGEST_MARGIN_PX = 1024
NEAR_PX = 32  # a bent nucleus may have its centroid outside itself

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


@dataclass(frozen=True)
class Found:
    """The nuclei that belong to a block.

    Attributes
    ----------
    window
        What was looked at.
    labels
        ``(row, column)`` of the window: 0, and 1 .. K for the nuclei of the block.
    """

    window: Box
    labels: Labels


def blocks(shape: tuple[int, int], side: int = BLOCK_PX) -> tuple[Box, ...]:
    """Divide a picture into blocks, row by row."""
    return tuple(
        Box(top, min(top + side, shape[0]), left, min(left + side, shape[1]))
        for top in range(0, shape[0], side)
        for left in range(0, shape[1], side)
    )


def found_in(block: Box, planes: Region, shape: tuple[int, int], um_per_px: float | None) -> Found:
    """Find the nuclei whose centroid lies in a block.

    Parameters
    ----------
    block
        Of the picture.
    planes
        Gives what the network says of two slices; see :func:`scope_sr.imaging.nuclei.instances`.
    shape
        Rows and columns of the picture.
    """
    window, seen = _wide_enough(block, planes, shape)
    labels = instances(seen, um_per_px)
    # whole pixels: a centroid on a seam belongs to one block, whatever the rounding
    rows, columns = (np.floor(place + 0.5) for place in centroids(labels))
    owned = (
        (block.top <= window.top + rows)
        & (window.top + rows < block.bottom)
        & (block.left <= window.left + columns)
        & (window.left + columns < block.right)
    )
    number = np.zeros(len(owned) + 1, np.int32)
    number[1:] = np.where(owned, np.cumsum(owned), 0)
    return Found(window, number[labels])


def centroids(labels: Labels) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give row and column of the centroids of nuclei 1 .. K."""
    rows, columns = labels.nonzero()
    numbers = labels[rows, columns]
    counts = np.maximum(np.bincount(numbers), 1)[1:]
    return tuple(  # type: ignore[return-value]
        np.bincount(numbers, places)[1:] / counts for places in (rows, columns)
    )


def _wide_enough(block: Box, planes: Region, shape: tuple[int, int]) -> tuple[Box, Planes]:
    margin = MARGIN_PX
    while True:
        window = block.wider(margin, shape)
        seen = planes(*window.slices)
        if margin >= LARGEST_MARGIN_PX or not _cut(seen, window, block, shape):
            return window, seen
        margin *= 2


def _cut(seen: Planes, window: Box, block: Box, shape: tuple[int, int]) -> bool:
    """Whether a cluster of nuclei near the block goes on beyond the window."""
    clusters = components(foreground(seen))
    near = block.wider(NEAR_PX, shape)
    around = np.unique(
        clusters[
            near.top - window.top : near.bottom - window.top,
            near.left - window.left : near.right - window.left,
        ]
    )
    rims = [
        clusters[0] if window.top > 0 else None,
        clusters[-1] if window.bottom < shape[0] else None,
        clusters[:, 0] if window.left > 0 else None,
        clusters[:, -1] if window.right < shape[1] else None,
    ]
    touching = {int(number) for rim in rims if rim is not None for number in np.unique(rim)}
    return bool((touching - {0}) & set(around.tolist()))


def each(
    planes: Region, shape: tuple[int, int], um_per_px: float | None, side: int = BLOCK_PX
) -> Iterator[tuple[Box, Found]]:
    """Go through the blocks of a picture."""
    for block in blocks(shape, side):
        yield block, found_in(block, planes, shape, um_per_px)
