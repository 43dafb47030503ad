"""Tiled pyramidal OME-TIFF, as QuPath, napari and Fiji open it, written without holding it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from scope_sr.disk import PART, sync_file
from scope_sr.enhance.canvas import Pixels, Raw

TILE_PX = 512
SMALLEST_PX = 1024  # a level no longer than this ends the pyramid
BAND_ROWS = 2 * TILE_PX


def write(
    path: Path,
    picture: Pixels,
    um_per_px: float,
    *,
    name: str,
    note: str,
    work: Path,
) -> None:
    """Write a picture, or a map of labels, whole or not at all.

    Parameters
    ----------
    picture
        ``(row, column, 3)`` uint8, or ``(row, column)`` of labels.
    um_per_px
        Of its pixels.
    name, note
        Of the image, and what a reader should know of it.
    work
        Folder for the coarser levels while they are made.

    Raises
    ------
    OSError
        The system refused; nothing stands under `path`.
    """
    levels = coarser(picture, work)
    part = path.with_name(path.name + PART)
    color = len(picture.shape) == 3
    options: dict[str, Any] = {
        "tile": (TILE_PX, TILE_PX),
        "compression": "zlib",
        "predictor": color,
        "photometric": "rgb" if color else "minisblack",
        "resolutionunit": "CENTIMETER",
    }
    metadata = {
        "axes": "YXS" if color else "YX",
        "Name": name,
        "Description": note,
        "PhysicalSizeX": um_per_px,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": um_per_px,
        "PhysicalSizeYUnit": "µm",
    }
    try:
        with tifffile.TiffWriter(part, bigtiff=True, ome=True) as tiff:
            for number, level in enumerate([picture, *levels]):
                per_cm = 1e4 / (um_per_px * 2**number)
                tiff.write(
                    tiles_of(level),
                    shape=level.shape,
                    dtype=level.dtype,
                    resolution=(per_cm, per_cm),
                    metadata=metadata if number == 0 else None,
                    subifds=len(levels) if number == 0 else None,
                    subfiletype=0 if number == 0 else 1,
                    **options,
                )
        sync_file(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def coarser(picture: Pixels, work: Path) -> list[Pixels]:
    """Make levels of half the size each, in files: means of colours, the nearest of labels."""
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
    """Halve a picture; where a side is odd its last row or column stands for two.

    >>> halved(np.array([[0, 2, 5], [4, 6, 9]], np.uint8)[..., None].repeat(3, 2))[..., 0].tolist()
    [[3, 7]]
    >>> halved(np.array([[1, 2, 3], [4, 5, 6]], np.uint32)).tolist()
    [[1, 3]]
    """
    if picture.ndim == 2:
        return picture[::2, ::2]
    rows, columns = picture.shape[:2]
    even = np.pad(picture, ((0, rows % 2), (0, columns % 2), (0, 0)), mode="edge")
    size = (even.shape[1] // 2, even.shape[0] // 2)
    return np.asarray(cv2.resize(even, size, interpolation=cv2.INTER_AREA))


def tiles_of(picture: Pixels) -> Iterator[NDArray[Any]]:
    """Give the tiles of a picture row by row, those at its edges filled up."""
    for top in range(0, picture.shape[0], TILE_PX):
        row = picture[top : top + TILE_PX, :]
        for left in range(0, picture.shape[1], TILE_PX):
            tile = row[:, left : left + TILE_PX]
            missing = [(0, TILE_PX - side) for side in tile.shape[:2]]
            yield np.pad(tile, [*missing, *[(0, 0)] * (tile.ndim - 2)])
