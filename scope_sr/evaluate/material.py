"""What a model is judged on: fields of a dataset's split, or of plain folders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scope_sr.degradation import BICUBIC, Optics, bicubic_low, low_of

Picture = NDArray[np.uint8]
Lower = Callable[[Picture], Picture]

LEAST_LOW_PX = 16  # of a side of a low image
LEAST_HIGH_PX = 32


@dataclass(frozen=True)
class Lowering:
    """What makes low images; the community's bicubic where there are no `optics`."""

    scale: int
    optics: Optics | None = None

    def low(self, high: Picture, sha256: str) -> Picture:
        """Make a low image; its noise hangs on the image alone, so that all models see the same."""
        if self.optics is None:
            return bicubic_low(high, self.scale)
        return low_of(high, self.optics, int(sha256[:15] or "0", 16))

    def quiet(self, high: Picture) -> Picture:
        """Make one without noise."""
        if self.optics is None:
            return bicubic_low(high, self.scale)
        return low_of(high, self.optics.quiet, 0)

    def __str__(self) -> str:
        return str(self.optics or BICUBIC)

    @property
    def without_noise(self) -> str:
        """What `quiet` is, in words."""
        return str(self.optics.quiet if self.optics else BICUBIC)


@dataclass(frozen=True)
class Entry:
    """A field, before its pixels are read; `um_per_px` is that of the true image."""

    name: str
    patient: str = ""
    slide: str = ""
    um_per_px: float | None = None


@dataclass(frozen=True, eq=False)
class Field:
    """A field with its pixels.

    Attributes
    ----------
    high
        ``(row, column, 3)`` the true image.
    sha256
        Of the file it came from.
    low
        The low one, for super-resolution.
    lower
        What makes an image as low as `low`, without noise.
    labels, ignore, told_apart
        Nuclei marked in `high`, as :func:`scope_sr.imaging.nuclei_scores.score` takes them.
    """

    high: Picture
    sha256: str
    low: Picture | None = None
    lower: Lower | None = None
    labels: NDArray[Any] | None = None
    ignore: NDArray[Any] | None = None
    told_apart: bool = True


@dataclass(frozen=True, eq=False)
class Material:
    """Fields to judge on, and where they come from.

    Attributes
    ----------
    what
        In words, for people.
    facts
        The same, for the report's JSON.
    entries, load
        The fields, and what reads the pixels of one.
    made
        How the low images came about, in words; empty where there are none.
    lowered
        What `Field.lower` is, in words.
    cut
        What part of an image is a field, in words.
    captured
        Whether low and true images are two captures, which never fit quite.
    masks
        Whether nuclei are marked.
    sha256, split, level
        Of a dataset: of its index, which part, and what its splits do not share.
    left_out
        Names of images too small to judge on.
    """

    what: str
    facts: dict[str, Any]
    entries: tuple[Entry, ...]
    load: Callable[[Entry], Field]
    made: str = ""
    lowered: str = ""
    cut: str = ""
    captured: bool = False
    masks: bool = False
    sha256: str = ""
    split: str = ""
    level: str = ""
    left_out: tuple[str, ...] = ()


def largest_rectangle(usable: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Give row, column, rows and columns of the largest rectangle that is usable throughout.

    >>> largest_rectangle(np.array([[1, 1, 0], [1, 1, 1], [0, 1, 1]], bool))
    (0, 0, 2, 2)
    >>> largest_rectangle(np.zeros((2, 2), bool))
    (0, 0, 0, 0)
    """
    best = (0, 0, 0, 0)
    heights = np.zeros(usable.shape[1], int)
    for row, line in enumerate(usable):
        heights = (heights + 1) * line
        open_: list[tuple[int, int]] = []  # first column, height; heights rise
        for column, height in enumerate([*heights.tolist(), 0]):
            first = column
            while open_ and open_[-1][1] >= height:
                first, tall = open_.pop()
                if tall * (column - first) > best[2] * best[3]:
                    best = (row - tall + 1, first, tall, column - first)
            open_.append((first, height))
    return best
