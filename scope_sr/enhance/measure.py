"""What is measured of each nucleus, in µm, and of all of them."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from skimage.measure import find_contours, regionprops

from scope_sr.imaging import stain
from scope_sr.imaging.nuclei import Labels


@dataclass(frozen=True)
class Nucleus:
    """One nucleus.

    Attributes
    ----------
    id
        Its number in the label image.
    x_um, y_um
        Of the centroid, from the upper left corner of the picture.
    eccentricity
        0 of a circle, towards 1 the longer.
    solidity
        Share of its convex hull that it fills.
    orientation_deg
        Of the long axis, anticlockwise from the horizontal, -90 to 90.
    haematoxylin_od
        Mean optical density of haematoxylin.
    """

    id: int
    x_um: float
    y_um: float
    area_um2: float
    perimeter_um: float
    eccentricity: float
    solidity: float
    orientation_deg: float
    haematoxylin_od: float


COLUMNS = tuple(field.name for field in fields(Nucleus))
Outline = NDArray[np.float64]  # (corner, 2): x and y in pixels of the picture, closed


def measured(
    labels: Labels,
    picture: NDArray[np.uint8],
    um_per_px: float,
    *,
    first: int = 1,
    corner: tuple[int, int] = (0, 0),
) -> list[tuple[Nucleus, Outline]]:
    """Measure the nuclei of a window.

    Parameters
    ----------
    labels, picture
        ``(row, column)`` with 1 .. K, and ``(row, column, 3)`` RGB of 8 bits.
    first
        Number of the first in the whole picture.
    corner
        Row and column of the window in the whole picture.

    Examples
    --------
    >>> labels = np.zeros((40, 40), np.int32)
    >>> labels[10:30, 10:20] = 1
    >>> ((nucleus, outline),) = measured(labels, np.full((40, 40, 3), 128, np.uint8), 0.5)
    >>> nucleus.x_um, nucleus.y_um, nucleus.area_um2, nucleus.orientation_deg
    (7.5, 10.0, 50.0, 90.0)
    """
    density = stain.haematoxylin_od(picture)
    found = []
    for region in regionprops(labels, density):  # type: ignore[no-untyped-call]
        row, column = region.centroid
        outline = _outline(region.image, region.bbox[:2]) + corner[::-1]
        nucleus = Nucleus(
            id=first + region.label - 1,
            x_um=float(corner[1] + column + 0.5) * um_per_px,
            y_um=float(corner[0] + row + 0.5) * um_per_px,
            area_um2=float(region.area) * um_per_px**2,
            perimeter_um=float(region.perimeter_crofton) * um_per_px,
            eccentricity=float(region.eccentricity),
            solidity=float(region.solidity),
            # scikit-image counts from the rows, clockwise on the screen
            orientation_deg=_upright(float(np.degrees(region.orientation)) + 90),
            haematoxylin_od=float(region.intensity_mean),
        )
        found.append((nucleus, outline))
    return found


def _upright(angle_deg: float) -> float:
    """Bring the angle of an axis between -90 (left out) and 90."""
    return 90 - (90 - angle_deg) % 180


def _outline(mask: NDArray[np.bool_], corner: tuple[int, int]) -> Outline:
    """Trace a nucleus half way between its pixels and those outside."""
    traced = max(find_contours(np.pad(mask, 1), 0.5), key=len)  # type: ignore[no-untyped-call]
    return np.asarray(traced[:, ::-1] - 0.5 + corner[::-1])
