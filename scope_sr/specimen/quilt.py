"""Image quilting: one large picture from overlapping pieces, joined where they agree best.

Efros & Freeman, "Image quilting for texture synthesis and transfer" (SIGGRAPH 2001), with two
additions: a seam pays for every nucleus it would cut, and the nuclei maps follow the seams.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from scope_sr.pictures.boxes import Box

# Squared RGB differences within tissue are about 5000, so a seam walks some ten pixels out of its
# way rather than through one pixel of a nucleus; the constant keeps it short where all is glass.
NUCLEUS_COST = 40000.0
STEP_COST = 300.0
# Where two tissues agree nowhere a seam would run straight, as nothing in tissue does. Cost that
# varies from cell to cell lets it meander. Always the same texture: the seam stays a pure function.
ROUGHNESS_PX = 14
# A seam wider than this blurs chromatin, a narrower one shows as a hairline under the 40x lens.
FEATHER_PX = 5
# At 0.25 µm per px: 1.2 µm², below anything a pathologist would call a nucleus.
SMALLEST_NUCLEUS_PX = 20


Strip = slice | tuple[slice, slice]


class Piece(NamedTuple):
    """A picture of tissue, (H, W, 3) uint8, and its nuclei map, (H, W) integer."""

    image: NDArray[np.uint8]
    labels: NDArray[np.uint16]

    def turned(self, orientation: int) -> Piece:
        """Give one of the eight ways to lay the piece down; 4 to 7 are mirrored."""
        image, labels = (np.rot90(array, orientation % 4) for array in self)
        if orientation >= 4:
            image, labels = image[:, ::-1], labels[:, ::-1]
        return Piece(np.ascontiguousarray(image), np.ascontiguousarray(labels))


class Quilt:
    """A canvas on which pieces are laid in raster order: left to right, row by row downwards.

    Attributes
    ----------
    image, labels
        What has been joined so far: (H, W, 3) uint8 and (H, W) uint16 with numbers of its own.
    """

    def __init__(self, height: int, width: int, overlap_px: int) -> None:
        self.image = np.full((height, width, 3), 255, np.uint8)
        self.labels = np.zeros((height, width), np.uint16)
        self._covered = np.zeros((height, width), bool)
        self._overlap_px = overlap_px
        self._highest = 0

    def lay(self, piece: Piece, column: int, row: int) -> None:
        """Join a piece at the canvas pixel of its upper left corner to what lies there already."""
        height, width = piece.labels.shape
        canvas = Box(0, 0, self.image.shape[1], self.image.shape[0])
        here = Box(column, row, width, height).slices(canvas)
        below, covered = Piece(self.image[here], self.labels[here]), self._covered[here]
        kept = covered & self._kept_side(below, covered, piece)
        below.image[:] = self._joined(below.image, piece.image, kept)
        fresh = piece.labels + np.where(piece.labels > 0, self._highest, 0)
        np.copyto(below.labels, fresh.astype(np.uint16), where=~kept)
        covered[:] = True
        self._highest += int(piece.labels.max())

    def _kept_side(
        self, below: Piece, covered: NDArray[np.bool_], above: Piece
    ) -> NDArray[np.bool_]:
        """Mark the pixels on the old side of the seams; (H, W) bool."""
        n = self._overlap_px
        kept = np.zeros_like(covered)
        if covered[len(covered) // 2, 0]:
            cut = cheapest_path(_seam_cost(below, above, np.s_[:, :n]))
            kept[:, :n] |= np.arange(n) < cut[:, None]
        if covered[0].any():
            cut = cheapest_path(_seam_cost(below, above, np.s_[:n]).T)
            kept[:n] |= np.arange(n)[:, None] < cut
        return kept

    def _joined(
        self, below: NDArray[np.uint8], above: NDArray[np.uint8], kept: NDArray[np.bool_]
    ) -> NDArray[np.uint8]:
        """Mix two pictures across a soft seam; nothing of the old one is left past the overlap."""
        n = self._overlap_px + FEATHER_PX
        share = cv2.blur(kept.astype(np.float32), (FEATHER_PX, FEATHER_PX))[:, :, None]
        joined = above.copy()
        for strip in np.s_[:n, :], np.s_[n:, :n]:
            mixed = below[strip] * share[strip] + above[strip] * (1 - share[strip])
            joined[strip] = np.rint(mixed)
        return joined


def cheapest_path(cost: NDArray[np.float32]) -> NDArray[np.intp]:
    """Find the 8-connected path of least total cost from the first row to the last.

    Parameters
    ----------
    cost
        (N, W), not negative.

    Returns
    -------
    (N,) column of the path in each row.

    Examples
    --------
    >>> cheapest_path(np.array([[9, 1, 9], [9, 9, 1], [9, 1, 9]], np.float32)).tolist()
    [1, 2, 1]
    """
    rows, width = cost.shape
    total = np.full((rows, width + 2), np.inf, np.float32)
    total[:, 1:-1] = cost
    for above, here in pairwise(total):
        best = np.minimum(above[:-2], above[1:-1])
        np.minimum(best, above[2:], out=best)
        here[1:-1] += best
    path = np.empty(rows, np.intp)
    path[-1] = column = int(total[-1, 1:-1].argmin())
    for row in range(rows - 2, -1, -1):
        column += int(total[row, column : column + 3].argmin()) - 1
        path[row] = column
    return path


def without_slivers(labels: NDArray[Any]) -> NDArray[np.uint16]:
    """Remove nuclei of fewer than `SMALLEST_NUCLEUS_PX` pixels and number the rest 1, 2, ..."""
    large = np.bincount(labels.ravel()) >= SMALLEST_NUCLEUS_PX
    large[0] = False
    renumbered = np.where(large, np.cumsum(large), 0).astype(np.uint16)
    numbered: NDArray[np.uint16] = renumbered[labels]
    return numbered


def _seam_cost(below: Piece, above: Piece, strip: Strip) -> NDArray[np.float32]:
    difference = cv2.absdiff(below.image[strip], above.image[strip]).astype(np.float32)
    nuclei = (below.labels[strip] > 0).astype(np.float32) + (above.labels[strip] > 0)
    mismatch: NDArray[np.float32] = np.square(difference).sum(axis=2)
    return (STEP_COST + mismatch) * _roughness(nuclei.shape) + np.float32(NUCLEUS_COST) * nuclei


@lru_cache(maxsize=4)
def _roughness(shape: tuple[int, int]) -> NDArray[np.float32]:
    """Draw a smooth random texture between 0 and 2."""
    rows, columns = (n // ROUGHNESS_PX + 2 for n in shape)
    cells = np.random.default_rng(0).uniform(0, 2, (rows, columns)).astype(np.float32)
    return np.asarray(cv2.resize(cells, shape[::-1], interpolation=cv2.INTER_CUBIC)).clip(0, 2)
