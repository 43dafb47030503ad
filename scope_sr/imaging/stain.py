"""Stain jitter: the same tissue, stained a little more or less, where stains add up.

D. Tellez et al. (Medical Image Analysis 58, 2019): of all ways to make a network indifferent to the
laboratory, to vary the stains in optical density does most.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8] | NDArray[np.float32]  # 0 to 255, or 0 to 1

# Optical density in R, G, B of haematoxylin and of eosin: A. Ruifrok, D. Johnston (Analytical and
# Quantitative Cytology and Histology 23, 2001)
HAEMATOXYLIN, EOSIN = (0.650, 0.704, 0.286), (0.072, 0.990, 0.105)
VEIL = 0.25  # density added or taken all over, against the factor: glass stays nearly glass
DARKEST = 1 / 255  # of full scale: zero light has no density


def stains() -> NDArray[np.float64]:
    """Give the colours of haematoxylin, eosin and what is neither, of length one, ``(3, 3)``.

    One row for each; the third is orthogonal to both, so that nothing is lost on the way there and
    back.
    """
    both = np.array([HAEMATOXYLIN, EOSIN])
    rows = np.stack([*both, np.cross(*both)])
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


@dataclass(frozen=True)
class Jitter:
    """One change of the stains; call it on each image that it should change alike.

    Attributes
    ----------
    factors
        Of the amounts of haematoxylin, eosin and the rest.
    veil
        Of each of the three, added all over, in optical density (log10).

    Examples
    --------
    >>> image = np.array([[[200, 120, 180], [255, 255, 255]]], np.uint8)
    >>> same, more = Jitter((1, 1, 1), (0, 0, 0)), Jitter((1, 2, 1), (0, 0, 0))
    >>> (255 * same(image)).round().astype(int).tolist()
    [[[200, 120, 180], [255, 255, 255]]]
    >>> (255 * more(image)).round().astype(int).tolist()
    [[[193, 75, 171], [255, 255, 255]]]
    """

    factors: tuple[float, float, float]
    veil: tuple[float, float, float]

    @property
    def density_map(self) -> NDArray[np.float64]:
        """Map of optical densities, ``(3, 4)``: after = ``map @ [before, 1]``, R, G, B."""
        colors = stains()
        turn = colors.T @ np.diag(self.factors) @ np.linalg.inv(colors).T
        return np.column_stack([turn, colors.T @ self.veil])

    def __call__(self, image: Image) -> NDArray[np.float32]:
        """Change an RGB image ``(row, column, 3)``; float32 between 0 and 1 comes back.

        Black has no density: what is darker than 1/255 counts as 1/255.
        """
        # natural exponents, for OpenCV has no others; the sign makes light of densities
        light = cv2.exp(cv2.transform(_densities(image), -np.log(10) * self.density_map))
        return np.minimum(light, np.float32(1))


def draw(rng: np.random.Generator, strength: float) -> Jitter:
    """Draw a jitter: factors within 1 ± strength, and a veil of a quarter of that.

    Parameters
    ----------
    strength
        0 changes nothing; 0.05 is what one laboratory does from day to day, 0.2 covers several.
    """
    factors, veil = rng.uniform(-strength, strength, (2, 3))
    return Jitter(_three(1 + factors), _three(VEIL * veil))


def _densities(image: Image) -> NDArray[np.float32]:
    if image.dtype == np.uint8:
        levels = np.maximum(np.arange(256, dtype=np.float32) / 255, DARKEST)
        return np.asarray(cv2.LUT(image, -np.log10(levels)), np.float32)
    return np.asarray(-np.log10(np.maximum(image, np.float32(DARKEST))), np.float32)


def _three(values: NDArray[np.float64]) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third


def haematoxylin_od(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Give the optical density of haematoxylin ``(row, column)`` of an RGB image.

    A. Ruifrok, D. Johnston (2001): densities add up, and the three colours of `stains` tell them
    apart.

    Examples
    --------
    >>> dense = np.round(255 * 10 ** -(0.8 * stains()[0])).astype(np.uint8)
    >>> round(float(haematoxylin_od(dense[None, None])[0, 0]), 2)
    0.8
    """
    to_stain = np.linalg.inv(stains().T)[0]  # density = stains' @ amounts
    density = -np.log10(np.maximum(np.arange(256) / 255, DARKEST))
    # tables, no matrix product: that rounds by where in the image a pixel lies
    red, green, blue = np.outer(to_stain, density).astype(np.float32)
    return np.asarray(red[image[..., 0]] + green[image[..., 1]] + blue[image[..., 2]])
