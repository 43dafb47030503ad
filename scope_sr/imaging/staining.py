"""Whether a picture looks like H&E, which is what the models learnt from."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from scope_sr.imaging.tissue import glass_level

LONGEST_PX = 512  # of what is looked at
DARK = 40.0  # grey levels; the darkest of 269 pictures, nearly all H&E, has a median of 125
DENSE = 0.15  # optical density of the densest colour from which it is tissue
LEAST_TISSUE = 0.005  # of the picture; the least stained H&E field with nuclei had 0.011
# Limits on the mean density of tissue, as a direction, and where the pictures of H&E were
COLORLESS = 0.2  # range of the three over their mean; H&E 0.42 and more
BROWN = 0.03  # green above blue; H&E 0.08 and more, DAB -0.22
BLUE = -0.05  # green above red; H&E -0.003 and more
SWAPPED = -0.2  # see `_red_over_blue`: 2 of those 269 pictures are below it, 229 stored as BGR


def unlike_he(picture: NDArray[np.uint8]) -> str | None:
    """Say what makes a picture unlike H&E; None where it is like it.

    Haematoxylin and eosin both absorb green most; pens, DAB, blue and green stains do not.

    Parameters
    ----------
    picture
        ``(row, column, 3)`` RGB: a field, or a slide made small.

    Examples
    --------
    >>> from scope_sr.imaging.stain import stains
    >>> amounts = np.random.default_rng(0).uniform(0, 1, (64, 64, 2))
    >>> he = np.round(240 * 10 ** -(amounts @ stains()[:2])).astype(np.uint8)
    >>> unlike_he(he)
    >>> unlike_he(255 - he)
    'green'
    >>> unlike_he(he[..., ::-1])
    'redder or browner where H&E is bluer: DAB, or red and blue swapped?'
    """
    small = _small(picture)
    if np.median(small.max(axis=2)) < DARK:
        return "dark all over, as fluorescence is; the models learnt from bright field"
    density = _tissue_density(small)
    if len(density) < LEAST_TISSUE * small[..., 0].size:
        return "no tissue seen"
    return _odd_color(density)


def _small(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    rows, columns = picture.shape[:2]
    times = min(1.0, LONGEST_PX / max(rows, columns))
    size = max(1, round(columns * times)), max(1, round(rows * times))
    return np.asarray(
        cv2.resize(np.ascontiguousarray(picture), size, interpolation=cv2.INTER_AREA), np.uint8
    )


def _tissue_density(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Give the optical densities ``(pixel, 3)`` of tissue, against the picture's own glass."""
    light = np.maximum(picture, 1) / glass_level([picture], 255)
    density = -np.log10(light).reshape(-1, 3)
    return np.asarray(density[density.max(axis=1) > DENSE])


def _odd_color(density: NDArray[np.float64]) -> str | None:
    mean = density.mean(axis=0)
    red, green, blue = mean / np.linalg.norm(mean)
    if np.ptp(density, axis=1).mean() < COLORLESS * density.mean():
        return "nearly without colour"
    if green - blue < BROWN or green - red < BLUE:
        if green < min(red, blue):
            return "green"
        return "blue" if red > blue else "brown or yellow, as of DAB"
    if _red_over_blue(density) < SWAPPED:
        return "redder or browner where H&E is bluer: DAB, or red and blue swapped?"
    return None


def _red_over_blue(density: NDArray[np.float64]) -> float:
    """Compare how red and blue vary where green is the same: log of the ratio of deviations.

    At one density in green there is more of one stain or of the other, and haematoxylin differs
    from eosin in red more than in blue. The tint of a scanner or of the eosin has no part in it.
    """
    red, green, blue = (density - density.mean(axis=0)).T
    own = [one - (one @ green) / max(green @ green, 1e-12) * green for one in (red, blue)]
    of_red, of_blue = (max(float(one.std()), 1e-6) for one in own)
    return float(np.log(of_red / of_blue))
