"""Whether two forms of a model give the same picture."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Picture = NDArray[np.uint8]
Run = Callable[[Picture], Picture]

MOST_LEVELS = 1  # of 255: what lies between two levels may be rounded to either
SIDES = (61, 83)  # odd, so that padding is compared as well


def sample_picture() -> Picture:
    """Make a picture of all levels, smooth here and rough there, always the same.

    >>> picture = sample_picture()
    >>> picture.shape, int(picture.min()), int(picture.max())
    ((61, 83, 3), 0, 255)
    """
    rng = np.random.default_rng(0)
    down, right = np.mgrid[: SIDES[0], : SIDES[1]]
    waves = np.sin(down[..., None] / np.array([7.0, 5.0, 9.0]) + right[..., None] / 11.0)
    rough = rng.standard_normal((*SIDES, 3)) * (right / SIDES[1])[..., None] * 60
    levels: Picture = (128 + 110 * waves + rough).clip(0, 255).astype(np.uint8)
    return levels


def runner(graph: nn.Module) -> Run:
    """Run an eager graph on one picture."""

    def run(picture: Picture) -> Picture:
        with torch.no_grad():
            found: Picture = graph(torch.from_numpy(picture.copy())[None])[0].numpy()
            return found

    return run


def levels_apart(one: Picture, other: Picture) -> int:
    """Give the largest difference, in levels of 255.

    >>> levels_apart(np.array([3, 250], np.uint8), np.array([5, 250], np.uint8))
    2
    """
    if one.shape != other.shape:
        return 255
    return int(np.abs(one.astype(np.int16) - other.astype(np.int16)).max())


def psnr_db(one: Picture, other: Picture) -> float:
    """Give the PSNR of one against the other; infinite where they are equal."""
    error = float(np.mean((one.astype(np.float64) - other) ** 2))
    return 10 * math.log10(255**2 / error) if error else math.inf
