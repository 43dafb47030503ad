"""Images to be read at random: uncompressed TIFF in one piece, memory-mapped."""

from __future__ import annotations

import io
import struct
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

Image = NDArray[np.uint8] | NDArray[np.uint16]
UM_PER_CM = 1e4
# What tifffile and mmap raise over flipped bytes, besides errors of the system
DAMAGED = (ValueError, LookupError, TypeError, OverflowError, struct.error)


def to_tiff(image: NDArray[Any], um_per_px: float | None) -> bytes:
    """Write an image ``(row, column[, 3])`` as the bytes of an uncompressed TIFF."""
    stream = io.BytesIO()
    per_cm = UM_PER_CM / um_per_px if um_per_px else None
    tifffile.imwrite(
        stream,
        np.ascontiguousarray(image),
        photometric="rgb" if image.ndim == 3 else "minisblack",
        metadata=None,
        software="scope-sr",
        resolution=(per_cm, per_cm) if per_cm else None,
        resolutionunit="CENTIMETER" if per_cm else None,
    )
    return stream.getvalue()


def mapped(path: Path) -> NDArray[Any]:
    """Map an image of the dataset into memory, read-only; only what is looked at is read.

    Raises
    ------
    OSError
        The file is not there.
    ValueError
        It is not an image that `to_tiff` wrote.
    """
    facts = path.stat()
    try:
        dtype, shape, offset = _layout(path, facts.st_mtime_ns, facts.st_size)
        return np.memmap(path, dtype, mode="r", offset=offset, shape=shape)
    except DAMAGED as error:
        msg = f"damaged, or not an image that can be mapped ({error})"
        raise ValueError(msg) from error


@lru_cache(maxsize=100_000)
def _layout(
    path: Path, changed_ns: int, size_bytes: int
) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Give dtype, shape and offset of the pixels; parsing costs more than a crop does.

    When the file changed is asked for only so that another file of its name is parsed anew.
    """
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        if not isinstance(page, tifffile.TiffPage) or not page.is_memmappable:
            msg = "not uncompressed, in one piece"
            raise ValueError(msg)
        dtype = np.dtype(f"{file.byteorder}{page.dtype.char}") if page.dtype else None
        if dtype is None:
            msg = "no pixels"
            raise ValueError(msg)
        return dtype, page.shape, page.dataoffsets[0]
