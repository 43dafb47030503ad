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
    return tuple(f"{int('0' + _bits(row), 2):0{width}x}" for row in cells)


def unpack(rows: tuple[str, ...], columns: int) -> NDArray[np.bool_]:
    """Read what `pack` wrote.

    Raises
    ------
    ValueError
        A row is no number, or of more columns.

    Examples
    --------
    >>> unpack(("15",), 5).tolist()
    [[True, False, True, False, True]]
    """
    found = np.zeros((len(rows), columns), bool)
    for row, number in zip(found, (int(text, 16) for text in rows), strict=True):
        if not 0 <= number < 1 << columns:
            msg = f"{number:x} is not a row of {columns} cells"
            raise ValueError(msg)
        octets = np.frombuffer(number.to_bytes(-(-columns // 8), "big"), np.uint8)
        row[:] = np.unpackbits(octets)[len(octets) * 8 - columns :]
    return found


def _bits(row: NDArray[np.bool_]) -> str:
    return "".join("01"[int(cell)] for cell in row)


def shape_of(width_px: int, height_px: int) -> tuple[int, int]:
    """Count the cells (rows, columns) that lie wholly in a box of low pixels.

    >>> shape_of(17, 8)
    (1, 2)
    """
    return height_px // CELL_PX, width_px // CELL_PX
