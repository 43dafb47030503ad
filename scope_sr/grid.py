"""Where fields stand: lattices in pixels, and the order they are visited in. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Order = Literal["serpentine", "raster"]


@dataclass(frozen=True)
class Cell:
    """A place in a lattice; ``x_px`` and ``y_px`` are its centre, measured from the lattice's."""

    row: int
    column: int
    x_px: float
    y_px: float


def parse_grid(text: str) -> tuple[int, int]:
    """Read ``RxC`` as rows and columns.

    >>> parse_grid("3x5")
    (3, 5)
    """
    match = re.fullmatch(r"\s*(\d{1,4})\s*[xX×]\s*(\d{1,4})\s*", text, flags=re.ASCII)
    rows, columns = (int(match[1]), int(match[2])) if match else (0, 0)
    if not match or rows < 1 or columns < 1:
        msg = f"{text!r} is not a grid; write rows x columns, like 3x5"
        raise ValueError(msg)
    return rows, columns


def lattice(
    rows: int, columns: int, step_px: tuple[float, float], order: Order
) -> tuple[Cell, ...]:
    """Lay out a centred lattice, in the order it is visited.

    >>> [(cell.row, cell.column) for cell in lattice(2, 2, (10.0, 10.0), "serpentine")]
    [(0, 0), (0, 1), (1, 1), (1, 0)]
    """
    return tuple(
        Cell(
            row,
            column,
            (column - (columns - 1) / 2) * step_px[0],
            (row - (rows - 1) / 2) * step_px[1],
        )
        for row in range(rows)
        for column in _across(row, columns, order)
    )


def _across(row: int, columns: int, order: Order) -> range:
    backwards = order == "serpentine" and row % 2 == 1
    return range(columns - 1, -1, -1) if backwards else range(columns)


def inscribed(large: float, small: float, overlap: float) -> tuple[int, float]:
    """Count small fields that fit along one side of a large one, and their step.

    The overlap is a guard against stage error; it grows where that makes another field fit that
    fails by less than 3 % of a field (a measured scale of 1.99 is still a scale of 2).

    >>> inscribed(1024.0, 512.0, 0.02)
    (2, 501.76)
    """
    if small >= large:
        return 1, 0.0
    count = max(1, int((large / small - overlap) / (1 - overlap) + 0.03))
    if count == 1:
        return 1, 0.0
    return count, min(small * (1 - overlap), (large - small) / (count - 1))


def covering(large: float, small: float, overlap: float) -> tuple[int, float]:
    """Count small fields that cover one side of a large one to the rim, and their step.

    >>> covering(1024.0, 512.0, 0.02)
    (3, 256.0)
    """
    if small >= large:
        return 1, 0.0
    exact = (large / small - overlap) / (1 - overlap)
    count = max(2, -int(-(exact - 1e-9) // 1))
    return count, (large - small) / (count - 1)
