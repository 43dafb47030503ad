"""Tissue that two pairs of different splits both show, found where their places are known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from scope_sr.dataset.folder import Dataset
from scope_sr.dataset.index import Item, Pair, Place

TOUCH_PX = 0.05  # of the low image; squares that overlap by less lie side by side, but for rounding

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Field:
    """A pair's box in a frame it shares with others: µm of a slide, or pixels of a low image.

    `corner` is the middle of its first cell, `centre` that of the box, which lies within `reach` of
    it; `affine` maps low pixels to the frame.
    """

    pair: Pair
    corner: Floats
    centre: Floats
    reach: float
    affine: Floats
    cell_px: int

    @property
    def cell_reach(self) -> float:
        return _reach(self.affine, self.cell_px, self.cell_px)

    def cells(self, usable: NDArray[np.bool_]) -> Floats:
        """Give the middles ``(n, 2)`` of the cells that may be used."""
        return self.corner + np.argwhere(usable)[:, ::-1] * self.cell_px @ self.affine.T


def overlaps(
    dataset: Dataset, items: Iterable[Item], step: Callable[[], None]
) -> Iterator[tuple[Pair, Pair, str]]:
    """Yield pairs of different splits that show the same tissue, and how much of it.

    `step` is called once for each item.
    """
    slides: dict[str, list[_Field]] = defaultdict(list)
    images: dict[str, list[_Field]] = defaultdict(list)
    for item in items:
        step()
        if isinstance(item, Pair):
            # A low image is a frame too: it needs no place, and sees through a wrong one
            images[item.low_sha256].append(_placed(item, np.zeros(2), np.eye(2), dataset))
            if item.place is not None:
                slides[item.slide].append(_on_slide(item, item.place, dataset))
    for one, other, area in _within(slides, dataset):
        yield one, other, f"about {area:.0f} µm² of tissue"
    for one, other, area in _within(images, dataset):
        if one.place is None or (one.slide, one.place) != (other.slide, other.place):
            yield one, other, f"about {area:.0f} pixels of one low image"


def _on_slide(pair: Pair, place: Place, dataset: Dataset) -> _Field:
    """Place a pair on its slide: pixel offset d from the middle of the low image is at + A d."""
    affine = np.array(place.affine_um_per_px)
    height, width = dataset.mapped(pair.low).shape[:2]
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    return _placed(pair, np.array(place.at_um) - affine @ middle, affine, dataset)


def _placed(pair: Pair, origin: Floats, affine: Floats, dataset: Dataset) -> _Field:
    """Place a pair in a frame where `origin` is the middle of its low image's first pixel."""
    x, y, width, height = pair.box_px
    cell_px = dataset.header.cell_px
    corner = origin + affine @ (np.array([x, y]) + (cell_px - 1) / 2)
    centre = origin + affine @ (np.array([x, y]) + (np.array([width, height]) - 1) / 2)
    return _Field(pair, corner, centre, _reach(affine, width, height), affine, cell_px)


def _reach(affine: Floats, width: float, height: float) -> float:
    """Give how far the corners of a box of pixels lie from its middle."""
    corners = affine @ np.array([[width, width], [height, -height]]) / 2
    return float(np.hypot(*corners).max())


def _within(
    frames: dict[str, list[_Field]], dataset: Dataset
) -> Iterator[tuple[Pair, Pair, float]]:
    for fields in frames.values():
        yield from _neighbours(dataset, fields)


def _neighbours(dataset: Dataset, fields: list[_Field]) -> Iterator[tuple[Pair, Pair, float]]:
    """Compare each field with those about it; only two at a time are taken apart into cells."""
    tree = cKDTree(np.array([field.centre for field in fields]))
    farthest = max(field.reach for field in fields)
    for number, field in enumerate(fields):
        for i in tree.query_ball_point(field.centre, field.reach + farthest, return_sorted=True):
            other = fields[i]
            if i > number and other.pair.split != field.pair.split:
                area = _common_area(dataset, field, other)
                if area:
                    yield field.pair, other.pair, area


def _common_area(dataset: Dataset, one: _Field, other: _Field) -> float:
    """Give the area usable cells of both cover, in squared units of the frame.

    Squares that overlap have centres nearer than their half diagonals; these are then tried on the
    axes of either, on one of which two parallelograms lie apart, or nowhere.
    """
    if np.hypot(*(one.centre - other.centre)) >= one.reach + other.reach:
        return 0.0
    here = one.cells(dataset.usable(one.pair))
    there = other.cells(dataset.usable(other.pair))
    if not len(here) or not len(there):
        return 0.0
    near = cKDTree(there).query_ball_point(here, one.cell_reach + other.cell_reach)
    first = np.repeat(np.arange(len(here)), [len(indices) for indices in near])
    apart = there[np.concatenate(near).astype(int)] - here[first]
    depths = np.stack([_depths(one, other, apart), _depths(other, one, -apart)])
    meet = (depths > TOUCH_PX).all(axis=(0, 2))
    areas_px = depths[0, meet].prod(axis=1)
    return float(areas_px.sum() * abs(np.linalg.det(one.affine)))


def _depths(own: _Field, other: _Field, apart: Floats) -> Floats:
    """Give how deep the other's cells reach into own ones along own axes, ``(n, 2)`` in low pixels.

    `apart` leads from own centres to the other's, ``(n, 2)`` in the frame.
    """
    inverse, half = np.linalg.inv(own.affine), own.cell_px / 2
    middle = apart @ inverse.T
    extent = np.abs(inverse @ other.affine).sum(axis=1) * other.cell_px / 2
    depths: Floats = np.minimum(half, middle + extent) - np.maximum(-half, middle - extent)
    return depths
