"""From numbers in a mask to nuclei numbered 1 to K."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from scope_sr.pictures.files import fault

EIGHT = np.ones((3, 3), bool)  # pixels that touch at a corner belong together
WHITE = 255
MOST_CLASSES = 8
SPOTS_PER_CLASS = 5


def consecutive(numbers: NDArray[Any]) -> NDArray[Any]:
    """Renumber nuclei 1 to K in the order of their old numbers; 0 stays 0.

    Parameters
    ----------
    numbers
        ``(row, column)``, whole, not negative, gaps allowed.

    Returns
    -------
    NDArray
        Of that shape, uint16, or uint32 beyond 65535 nuclei.
    """
    # Looking up takes an eighth of the time of sorting, while the table is no longer than the image
    if numbers.max(initial=0) <= numbers.size:
        flat = numbers.astype(np.intp)
        there = np.bincount(flat.ravel(), minlength=1) > 0
        there[0] = False
        found: NDArray[Any] = (np.cumsum(there) * there)[flat]
        n = int(there.sum())
    else:
        values, found = np.unique(numbers, return_inverse=True)
        found = found.reshape(numbers.shape) + int(values[0] != 0)
        n = int(found.max())
    return found.astype(np.uint16 if n <= np.iinfo(np.uint16).max else np.uint32)


def areas(mask: NDArray[Any]) -> NDArray[Any]:
    """Give each connected area of what is not 0 its number; corners connect. As `consecutive`."""
    # scipy, not OpenCV: its numbering does not depend on the number of threads
    found, _ = ndimage.label(mask != 0, structure=EIGHT)
    return consecutive(found)


def nuclei(numbers: NDArray[Any], path: Path) -> tuple[NDArray[Any], bool]:
    """Tell the nuclei of a file that is a label map or a mask, whichever it is.

    Returns
    -------
    labels, instances
        ``(row, column)`` from 0 to K; whether it told touching nuclei apart. One number alone is
        a mask, unless it is a 16-bit map with one connected nucleus. Nothing marked is certain.

    Raises
    ------
    InputError
        It is a mask with smoothed edges or with a third value.
    """
    values = np.unique(numbers[numbers != 0])
    if len(values) == 0:
        return consecutive(numbers), True
    if len(values) == 1:
        labels = areas(numbers)
        marked_white = values[0] in {WHITE, np.iinfo(np.uint16).max}
        alone = numbers.dtype.itemsize > 1 and labels.max() == 1 and not marked_white
        return labels, bool(alone)
    _refuse_smoothed(numbers, values, path)
    return consecutive(numbers), True


def refuse_classes(numbers: NDArray[Any], path: Path) -> None:
    """Refuse a map that numbers kinds of nuclei: few numbers, each on many separate spots.

    Raises
    ------
    InputError
        It is such a map.
    """
    n = np.unique(numbers[numbers != 0]).size
    if not 2 <= n <= MOST_CLASSES:
        return
    spots = int(areas(numbers).max())
    if spots >= SPOTS_PER_CLASS * n:
        text = f"{n} numbers on {spots} separate spots: classes, not nuclei; number each nucleus"
        raise fault(path, text)


def _refuse_smoothed(numbers: NDArray[Any], values: NDArray[Any], path: Path) -> None:
    """Refuse 0 and 255 with something between: taken for a label map, edges became nuclei.

    In a map 255 is one nucleus of many; in a smoothed mask it prevails, and on several spots.
    """
    if numbers.dtype != np.uint8 or values[-1] != WHITE:
        return
    white = numbers == WHITE
    most_frequent = np.bincount(numbers.ravel())[1:].argmax() + 1 == WHITE
    most = 2 * np.count_nonzero(white) > np.count_nonzero(numbers)
    if most or (most_frequent and areas(white).max() > 1):
        text = f"mostly 0 and {WHITE}, but {values[0]} too: neither mask nor label map"
        raise fault(path, f"{text}; save it unsmoothed, in two values or one per nucleus")
