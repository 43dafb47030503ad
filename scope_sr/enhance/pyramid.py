"""Tiled pyramidal OME-TIFF, as QuPath, napari and Fiji open it, written without holding it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from scope_sr.disk import whole
from scope_sr.enhance.canvas import Pixels, Raw
from scope_sr.software import this_version

TILE_PX = 512
SMALLEST_PX = 1024  # a level no longer than this ends the pyramid
BAND_ROWS = 2 * TILE_PX
SPACE = uuid.UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")  # the same picture keeps its name
LARGEST_UINT16, LARGEST_FLOAT32 = 2**16 - 1, 2**24  # up to which each whole number is exact


def write(
    path: Path,
    picture: Pixels,
    um_per_px: float,
    *,
    name: str,
    note: str,
    work: Path,
    dtype: Any = None,
) -> None:
    """Write a picture, a map or numbers of nuclei, whole or not at all.

    Colours and maps become coarser by means, whole numbers of one channel are taken for labels: of
    four the first stands. The same picture gives the same bytes.

    Parameters
    ----------
    picture
        ``(row, column, 3)`` uint8, ``(row, column)`` float32, or ``(row, column)`` of labels.
    um_per_px
        Of its pixels.
    name, note
        Of the image, and what a reader should know of it.
    work
        Folder for the coarser levels while they are made.
    dtype
        Of what is written, where it is not that of the picture; see :func:`dtype_of_labels`.

    Raises
    ------
    ScopeSRError
        The disk has no room for the coarser levels.
    OSError
        The system refused; nothing stands under `path`.
    """
    levels = [picture, *coarser(picture, work)]
    color = len(picture.shape) == 3
    metadata = {
        "axes": "YXS" if color else "YX",
        "Name": name,
        "Description": note,
        "PhysicalSizeX": um_per_px,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": um_per_px,
        "PhysicalSizeYUnit": "µm",
        "UUID": str(uuid.uuid5(SPACE, f"{name}/{note}/{picture.shape}/{um_per_px}")),
        "Creator": this_version(),
    }
    with whole(path) as part, tifffile.TiffWriter(part, bigtiff=True, ome=True) as tiff:
        for number, level in enumerate(levels):
            per_cm = 1e4 / (um_per_px * 2**number)
            tiff.write(
                tiles_of(level, dtype or level.dtype),
                shape=level.shape,
                dtype=dtype or level.dtype,
                tile=(TILE_PX, TILE_PX),
                compression="zlib",
                predictor=color,
                photometric="rgb" if color else "minisblack",
                resolution=(per_cm, per_cm),
                resolutionunit="CENTIMETER",
                software=this_version(),
                metadata=None if number else metadata,
                subifds=None if number else len(levels) - 1,
                subfiletype=1 if number else 0,
            )


def dtype_of_labels(nuclei: int) -> Any:
    """Choose the numbers for so many labels: what QuPath and Fiji show, exactly.

    Neither shows 32-bit whole numbers as such; QuPath expects 8 and 16 bits and float32.

    >>> [np.dtype(dtype_of_labels(count)).name for count in (1212, 65536, 20_000_000)]
    ['uint16', 'float32', 'uint32']
    """
    if nuclei <= LARGEST_UINT16:
        return np.uint16
    return np.float32 if nuclei <= LARGEST_FLOAT32 else np.uint32


def coarser(picture: Pixels, work: Path) -> list[Pixels]:
    """Make levels of half the size each, in files, until one is no longer than `SMALLEST_PX`."""
    levels: list[Pixels] = []
    above = picture
    while max(above.shape[:2]) > SMALLEST_PX:
        rows, columns = (-(-side // 2) for side in above.shape[:2])
        file = work / f"level-{len(levels) + 1}.raw"
        level = Raw(file, (rows, columns, *above.shape[2:]), above.dtype, new=True)
        for top in range(0, above.shape[0], BAND_ROWS):
            band = above[top : top + BAND_ROWS, :]
            level[top // 2 : top // 2 + -(-len(band) // 2), :] = halved(band)
        levels.append(level)
        above = level
    return levels


def halved(picture: NDArray[Any]) -> NDArray[Any]:
    """Halve a picture, or labels; where a side is odd its last row or column stands for two.

    >>> halved(np.array([[0, 2, 5], [4, 6, 9]], np.uint8)[..., None].repeat(3, 2))[..., 0].tolist()
    [[3, 7]]
    >>> halved(np.array([[1, 2, 3], [4, 5, 6]], np.uint32)).tolist()
    [[1, 3]]
    """
    if picture.ndim == 2 and picture.dtype.kind in "iu":
        return picture[::2, ::2]
    rows, columns = picture.shape[:2]
    odd = ((0, rows % 2), (0, columns % 2), (0, 0))
    even = np.pad(picture, odd[: picture.ndim], mode="edge")
    size = (even.shape[1] // 2, even.shape[0] // 2)
    return np.asarray(cv2.resize(even, size, interpolation=cv2.INTER_AREA))


def tiles_of(picture: Pixels, dtype: Any) -> Iterator[NDArray[Any]]:
    """Give the tiles of a picture row by row, those at its edges filled up."""
    for top in range(0, picture.shape[0], TILE_PX):
        row = picture[top : top + TILE_PX, :]
        for left in range(0, picture.shape[1], TILE_PX):
            tile = row[:, left : left + TILE_PX].astype(dtype, copy=False)
            missing = [(0, TILE_PX - side) for side in tile.shape[:2]]
            yield np.pad(tile, [*missing, *[(0, 0)] * (tile.ndim - 2)])
