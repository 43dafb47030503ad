"""Crops of pairs at random: every usable place is known beforehand, so that none is tried twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scope_sr.dataset import cells
from scope_sr.dataset.folder import Dataset
from scope_sr.dataset.index import SPLITS, Pair, Split
from scope_sr.errors import InputError

Image = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True, eq=False)
class Crop:
    """The same tissue twice: `low` ``(n, n[, 3])`` and `high` ``(scale n, scale n[, 3])``."""

    pair: Pair
    x_px: int
    y_px: int
    low: Image
    high: Image


class Crops:
    """Places where a square fits into the usable part of a split's pairs.

    Parameters
    ----------
    dataset, split
        Of which.
    low_px
        Side of the square in low pixels.

    Raises
    ------
    InputError
        No pair of the split has room for such a square.

    Examples
    --------
    ``crops = Crops(dataset, "train", 96); crop = crops.random(np.random.default_rng(0))``
    """

    def __init__(self, dataset: Dataset, split: Split, low_px: int) -> None:
        if split not in SPLITS or dataset.header.kind != "pairs":
            msg = (
                f"{dataset.folder}: crops are of pairs, from {', '.join(SPLITS)}; not of {split!r}"
            )
            raise InputError(msg)
        self.dataset = dataset
        self.low_px = low_px
        self.pairs = [pair for pair in dataset.of(split) if isinstance(pair, Pair)]
        self._usable = [dataset.usable(pair) for pair in self.pairs]
        found = [
            np.insert(np.argwhere(_windows(usable, low_px)), 0, number, axis=1)
            for number, usable in enumerate(self._usable)
        ]
        self.places = np.concatenate([*found, np.empty((0, 3), int)]).astype(np.int32)
        if not len(self.places):
            msg = (
                f"{dataset.folder}: no pair of split {split} has room for {low_px} px of the low"
                " image; choose smaller crops, or add pairs"
            )
            raise InputError(msg)

    def __len__(self) -> int:
        """Count the places on the grid of cells."""
        return len(self.places)

    def random(self, rng: np.random.Generator) -> Crop:
        """Take a crop anywhere, all usable places alike, to the pixel."""
        number, row, column = self.places[rng.integers(len(self.places))]
        y, x = int(row) * cells.CELL_PX, int(column) * cells.CELL_PX
        down, right = rng.integers(0, cells.CELL_PX, 2)
        usable = self._usable[number]
        if _fits(usable, y + int(down), x + int(right), self.low_px):
            y, x = y + int(down), x + int(right)
        return self.at(self.pairs[number], x, y)

    def at(self, pair: Pair, x_px: int, y_px: int) -> Crop:
        """Take the crop at a place of a pair, in low pixels from the corner of its box."""
        low, high = self.dataset.images(pair)
        k, n = self.dataset.header.scale, self.low_px
        return Crop(
            pair,
            x_px,
            y_px,
            np.array(low[y_px : y_px + n, x_px : x_px + n]),
            np.array(high[k * y_px : k * (y_px + n), k * x_px : k * (x_px + n)]),
        )

    def tiles(self) -> Iterator[Crop]:
        """Go through crops that do not overlap, in a fixed order: for evaluation and export."""
        for pair, usable in zip(self.pairs, self._usable, strict=True):
            free = usable.copy()
            side = -(-self.low_px // cells.CELL_PX)
            for row, column in np.argwhere(_windows(usable, self.low_px)):
                window = free[row : row + side, column : column + side]
                if window.all():
                    window[:] = False
                    yield self.at(pair, int(column) * cells.CELL_PX, int(row) * cells.CELL_PX)


def _windows(usable: NDArray[np.bool_], low_px: int) -> NDArray[np.bool_]:
    """Mark the cells at which a square may begin: every cell it touches is usable."""
    side = -(-low_px // cells.CELL_PX)
    rows, columns = usable.shape
    if side > min(rows, columns):
        return np.zeros((0, 0), bool)
    total = np.zeros((rows + 1, columns + 1), np.int32)
    total[1:, 1:] = usable.astype(np.int32).cumsum(0).cumsum(1)
    inside = total[side:, side:] - total[:-side, side:] - total[side:, :-side]
    return np.asarray(inside + total[:-side, :-side] == side * side)


def _fits(usable: NDArray[np.bool_], y: int, x: int, low_px: int) -> bool:
    first_row, first_column = y // cells.CELL_PX, x // cells.CELL_PX
    last_row, last_column = (y + low_px - 1) // cells.CELL_PX, (x + low_px - 1) // cells.CELL_PX
    if last_row >= usable.shape[0] or last_column >= usable.shape[1]:
        return False
    return bool(usable[first_row : last_row + 1, first_column : last_column + 1].all())
