"""Instance maps in MATLAB files.

scipy decodes them. It takes the process down over some single flipped bytes (class "sparse", a
complex flag, an unknown number type), and in a pool of workers that ends everything. So the headers
of what it is to decode, and the checksums of what is compressed, are looked at first.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat

from scope_sr.config import reason
from scope_sr.pictures.files import DAMAGED, fault, whole

MAPS = ("inst_map", "instance_map")
HEADER_BYTES = 128
BIG_ENDIAN = b"MI"
MATRIX, COMPRESSED = 14, 15  # kinds of elements
NUMBER_TYPES = {1, 2, 3, 4, 5, 6, 7, 9, 12, 13}
NUMBER_CLASSES = range(6, 16)
COMPLEX_BIT = 0x0800
LAST_ORDINARY_CLASS = 15  # functions and opaque objects beyond it have headers of their own
MOST_BYTES = 2**30  # once unpacked


class _Element(NamedTuple):
    """What a tag says: kind of an element, its bytes from `start`, and where the next one is."""

    kind: int
    start: int
    size: int
    next: int


def read_mat(path: Path) -> NDArray[Any]:
    """Read the instance map of a MATLAB file of version 5 to 7.

    Returns
    -------
    NDArray
        ``(row, column)``, whole, not negative.

    Raises
    ------
    InputError
        It is of another version, damaged, or holds no instance map.
    """
    try:
        data = path.read_bytes()
        if len(data) < HEADER_BYTES or 0 in data[:4]:
            msg = "not of version 5 to 7"
            raise ValueError(msg)
        _refuse_unsound(data)
        found = loadmat(io.BytesIO(data), variable_names=MAPS)
    except NotImplementedError as error:  # before its parent RuntimeError
        text = "of MATLAB v7.3, which is HDF5; save it again in MATLAB with save(..., '-v7')"
        raise fault(path, text) from error
    except (*DAMAGED, UnboundLocalError) as error:  # the latter is a slip of scipy's
        text = f"not a readable MATLAB file ({reason(error)[:80]}); copy it again, or save it -v7"
        raise fault(path, text) from error
    for key in MAPS:
        values = found.get(key)
        if isinstance(values, np.ndarray) and values.ndim == 2:
            return whole(values, path)
    raise fault(path, f"holds no map {' or '.join(MAPS)}; give instance maps, not classes")


def _refuse_unsound(data: bytes) -> None:
    """Refuse instance maps that are no plain arrays of numbers.

    Raises
    ------
    ValueError, struct.error, zlib.error
        One is not.
    """
    order = ">" if data[126:HEADER_BYTES] == BIG_ENDIAN else "<"
    for body in _matrices(data, order):
        (flags,) = struct.unpack_from(f"{order}I", body, 8)
        if flags & 0xFF > LAST_ORDINARY_CLASS:
            continue
        shape = _element(body, 16, order)
        name = _element(body, shape.next, order)
        if body[name.start : name.start + name.size].decode("latin-1") not in MAPS:
            continue
        numbers = _element(body, name.next, order)
        plain = flags & 0xFF in NUMBER_CLASSES and not flags & COMPLEX_BIT
        if not plain or numbers.kind not in NUMBER_TYPES:
            msg = "its map is no plain array of numbers"
            raise ValueError(msg)


def _matrices(data: bytes, order: str) -> Iterator[bytes]:
    """Give the variables of a file, unpacked, without their first tag."""
    at = HEADER_BYTES
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        body = data[at + 8 : at + 8 + size]
        if kind == COMPRESSED:
            unpacking = zlib.decompressobj()
            body = unpacking.decompress(body, MOST_BYTES)[8:]
            if not unpacking.eof:
                msg = "cut short"
                raise ValueError(msg)
        if kind in {MATRIX, COMPRESSED}:
            yield body
        at += 8 + size


def _element(body: bytes, at: int, order: str) -> _Element:
    """Read a tag; what has up to four bytes stands in the tag itself."""
    kind, size = struct.unpack_from(f"{order}II", body, at)
    if kind >> 16:
        return _Element(kind & 0xFFFF, at + 4, kind >> 16, at + 8)
    return _Element(kind, at + 8, size, at + 8 + -(-size // 8) * 8)
