"""What is measured of each nucleus, in µm; a nucleus is the squares of its pixels."""

from __future__ import annotations

from dataclasses import dataclass, fields

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects
from skimage.measure import find_contours, perimeter_crofton

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
    perimeter_um
        By Crofton's formula in four directions: on average over all directions without bias.
    eccentricity
        Of the ellipse of equal second moments: 0 of a circle, towards 1 the longer.
    solidity
        Share of its convex hull that it fills.
    orientation_deg
        Of the long axis, anticlockwise from the horizontal, over -90 up to 90.
    haematoxylin_od
        Mean optical density of haematoxylin (log10), against full scale.
    on_edge
        It touches the edge of the picture: what is measured may be a part of it.
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
    on_edge: bool


COLUMNS = tuple(field.name for field in fields(Nucleus))
Outline = NDArray[np.float64]  # (corner, 2): x and y in pixels of the picture, closed
Measured = tuple[Nucleus, Outline]


def measured(
    labels: Labels,
    picture: NDArray[np.uint8],
    um_per_px: float,
    *,
    first: int = 1,
    corner: tuple[int, int] = (0, 0),
    whole: tuple[int, int] | None = None,
) -> list[Measured]:
    """Measure the nuclei of a window, each together with its outline.

    Parameters
    ----------
    labels, picture
        ``(row, column)`` with 1 .. K, and ``(row, column, 3)`` RGB of 8 bits.
    first
        Number of the first in the whole picture.
    corner
        Row and column of the window in the whole picture.
    whole
        Rows and columns of the whole picture; without it the window is all there is.

    Returns
    -------
    Outlines are simple polygons half way between the pixels of a nucleus and those outside, in
    pixels of the whole picture, whose upper left corner is (0, 0). They hold half a pixel less than
    the nucleus: each corner is cut by an eighth.

    Examples
    --------
    >>> labels = np.zeros((40, 40), np.int32)
    >>> labels[10:30, 10:20] = 1
    >>> ((nucleus, outline),) = measured(labels, np.full((40, 40, 3), 128, np.uint8), 0.5)
    >>> nucleus.x_um, nucleus.y_um, nucleus.area_um2, nucleus.orientation_deg, nucleus.on_edge
    (7.5, 10.0, 50.0, 90.0, False)
    >>> outline[:3].tolist()
    [[19.5, 30.0], [10.5, 30.0], [10.0, 29.5]]
    """
    density = stain.haematoxylin_od(picture)
    found = []
    for number, place in enumerate(find_objects(labels), start=1):
        if place is None:
            continue
        mask = labels[place] == number
        top, left = (int(side.start + at) for side, at in zip(place, corner, strict=True))
        outline = _outline(mask)
        eccentricity, orientation_deg = _axes(mask)
        nucleus = Nucleus(
            first + number - 1,
            *_centroid_um(mask, (top, left), um_per_px),
            area_um2=float(np.count_nonzero(mask)) * um_per_px**2,
            perimeter_um=float(perimeter_crofton(mask)) * um_per_px,  # type: ignore[no-untyped-call]
            eccentricity=eccentricity,
            solidity=_solidity(outline),
            orientation_deg=orientation_deg,
            haematoxylin_od=float(density[place][mask].mean(dtype=np.float64)),
            on_edge=_on_edge(mask, (top, left), whole or labels.shape),
        )
        found.append((nucleus, outline + np.array([left, top])))
    return found


def _centroid_um(
    mask: NDArray[np.bool_], corner: tuple[int, int], um_per_px: float
) -> tuple[float, float]:
    """Give x and y of the centroid; the middle of the first pixel is half a pixel in."""
    y, x = (
        float(places.mean()) + at + 0.5 for places, at in zip(mask.nonzero(), corner, strict=True)
    )
    return x * um_per_px, y * um_per_px


def _axes(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """Give eccentricity and direction of the ellipse of equal second moments."""
    moments = cv2.moments(mask.view(np.uint8), binaryImage=True)
    xx, yy, xy = (moments[name] / moments["m00"] for name in ("mu20", "mu02", "mu11"))
    half_sum, half_gap = (xx + yy) / 2 + 1 / 12, np.hypot((xx - yy) / 2, xy)  # 1/12: of a pixel
    share = (half_sum - half_gap) / (half_sum + half_gap)
    clockwise_deg = np.degrees(np.arctan2(2 * xy, xx - yy)) / 2  # rows count downwards
    return float(np.sqrt(max(0.0, 1 - share))), _upright(-float(clockwise_deg))


def _upright(angle_deg: float) -> float:
    """Bring the angle of an axis between -90 (left out) and 90."""
    return 90 - (90 - angle_deg) % 180


def _solidity(outline: Outline) -> float:
    corners = outline.astype(np.float32)
    return cv2.contourArea(corners) / cv2.contourArea(cv2.convexHull(corners))


def _on_edge(mask: NDArray[np.bool_], corner: tuple[int, int], whole: tuple[int, ...]) -> bool:
    begins = min(corner) == 0
    return begins or any(
        at + side == end for at, side, end in zip(corner, mask.shape, whole, strict=True)
    )


def _outline(mask: NDArray[np.bool_]) -> Outline:
    """Trace a nucleus, from the upper left corner of its box; corners only."""
    # "high": pixels that touch diagonally hang together, as they do for the labels; each half way
    # point is passed once, so that the outline cannot cross itself. A hole has a contour, too
    traced = max(
        find_contours(np.pad(mask, 1).astype(float), 0.5, fully_connected="high"),  # type: ignore[no-untyped-call]
        key=_box_area,
    )
    points = traced[:-1, ::-1] - 0.5
    steps = np.diff(points, axis=0, append=points[:1])
    corners = points[np.any(steps != np.roll(steps, 1, axis=0), axis=1)]
    return np.asarray(np.concatenate([corners, corners[:1]]))


def _box_area(contour: NDArray[np.float64]) -> float:
    return float(np.prod(np.ptp(contour, axis=0)))
