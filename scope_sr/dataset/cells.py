"""Which squares of a pair may be used: kept small in the index, looked up fast by whoever crops."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CELL_PX = 8  # side of a square in low pixels


def pack(cells: NDArray[np.bool_]) -> tuple[str, ...]:
    """Write a mask ``(row, column)`` of cells as one hexadecimal number per row.

    >>> pack(np.array([[True, False, True, False, True]]))
    ('15',)
    """
    width = -(-cells.shape[1] // 4)
    return tuple(f"{int(''.join('01'[int(cell)] for cell in row), 2):0{width}x}" for row in cells)


def unpack(rows: tuple[str, ...], columns: int) -> NDArray[np.bool_]:
    """Read what `pack` wrote.

    >>> unpack(("15",), 5).tolist()
    [[True, False, True, False, True]]
    """
    bits = [[digit == "1" for digit in f"{int(row, 16):0{columns}b}"] for row in rows]
    return np.array(bits, bool).reshape(len(rows), columns)


def shape_of(width_px: int, height_px: int) -> tuple[int, int]:
    """Count the cells (rows, columns) that lie wholly in a box of low pixels.

    >>> shape_of(17, 8)
    (1, 2)
    """
    return height_px // CELL_PX, width_px // CELL_PX
