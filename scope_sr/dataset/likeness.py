"""Images that show the same under two names: copied, recompressed, brightened, turned, mirrored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from scope_sr.dataset.folder import Dataset
from scope_sr.dataset.index import SPLITS, Item, Pair

THUMB = 24  # pixels a side: fine enough for tissue's layout, too coarse for noise
BLUR_PX = 3.0  # of a thumbnail: what varies more slowly is illumination
LEAST_CONTRAST = 0.005  # of full scale: below it is glass, and what the camera adds to it
LEAST_COMMON = 0.25  # of a thumbnail: less in common says nothing
ALIKE = 0.95  # correlation
CHUNK = 512  # thumbnails compared at once

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Thumbs:
    """Band-passed thumbnails ``(n, THUMB, THUMB)``, 0 where `known` is 0 and not 1."""

    items: list[Item]
    value: NDArray[np.float32]
    known: NDArray[np.float32]

    def chunks(self) -> Iterator[_Thumbs]:
        for start in range(0, len(self.items), CHUNK):
            part = slice(start, start + CHUNK)
            yield _Thumbs(self.items[part], self.value[part], self.known[part])

    def turned(self, turn: int) -> _Thumbs:
        """Give one of the eight ways images can be turned and mirrored."""
        step = -1 if turn >= 4 else 1
        value, known = (
            np.rot90(stack, turn % 4, axes=(1, 2))[:, ::step] for stack in (self.value, self.known)
        )
        return _Thumbs(self.items, value, known)


def look_alikes(
    dataset: Dataset, items: Sequence[Item], step: Callable[[], None]
) -> Iterator[tuple[Item, Item, str]]:
    """Yield items of different splits that show the same, and their correlation.

    `step` is called once for each item.
    """
    thumbs = {
        split: _thumbs(dataset, [item for item in items if item.split == split], step)
        for split in SPLITS
    }
    for one, other in combinations(SPLITS, 2):
        for a in thumbs[one].chunks():
            for b in thumbs[other].chunks():
                best = np.max([_correlation(a, b.turned(turn)) for turn in range(8)], axis=0)
                for i, j in np.argwhere(best > ALIKE):
                    what = f"the same picture (correlation {best[i, j]:.3f})"
                    yield a.items[i], b.items[j], what


def twins(dataset: Dataset) -> dict[str, str]:
    """Find items that show what an earlier one shows, whatever their split: later and earlier."""
    items = [item for item in dataset.items if item.accepted]
    thumbs = _thumbs(dataset, items, lambda: None)
    number = {item.name: i for i, item in enumerate(items)}
    found: dict[str, str] = {}
    for later in thumbs.chunks():
        for earlier in thumbs.chunks():
            best = np.max([_correlation(later, earlier.turned(turn)) for turn in range(8)], axis=0)
            for i, j in np.argwhere(best > ALIKE):
                one, other = later.items[i].name, earlier.items[j].name
                if number[other] < number[one] and other not in found:
                    found.setdefault(one, other)
    return found


def _thumbs(dataset: Dataset, items: Iterable[Item], step: Callable[[], None]) -> _Thumbs:
    """Shrink images to what they show, and leave out glass."""
    full = 2**dataset.header.bits - 1
    kept: list[Item] = []
    stack = [np.zeros((0, 2, THUMB, THUMB), np.float32)]
    for item in items:
        step()
        image, usable = _picture(dataset, item)
        if not usable.any():
            continue
        known = (_shrunk(usable) > 0.5).astype(float)
        value = known * _band(_shrunk(image) / full, known)
        if (value**2).sum() > known.sum() * LEAST_CONTRAST**2:
            kept.append(item)
            stack.append(np.stack([value, known])[None].astype(np.float32))
    both = np.concatenate(stack)
    return _Thumbs(kept, both[:, 0], both[:, 1])


def _picture(dataset: Dataset, item: Item) -> tuple[NDArray, NDArray[np.bool_]]:
    """Map the finest image there is, and mark where it may be used."""
    if isinstance(item, Pair):
        return dataset.mapped(item.high), dataset.usable(item)
    return dataset.mapped(item.image), np.ones((1, 1), bool)


def _shrunk(image: NDArray) -> Floats:
    """Average an image ``(row, column[, 3])`` over the pixels of a thumbnail, and over colours."""
    mean: NDArray = image
    for axis in (0, 1):
        if mean.shape[axis] < THUMB:
            mean = mean.repeat(-(-THUMB // max(mean.shape[axis], 1)), axis)
        edges = np.linspace(0, mean.shape[axis], THUMB + 1).round().astype(int)
        sums = np.add.reduceat(mean, edges[:-1], axis=axis, dtype=np.float64)
        mean = sums / np.diff(edges).reshape((-1, *[1] * (mean.ndim - 1 - axis)))
    return np.asarray(mean if mean.ndim == 2 else mean.mean(axis=2), float)


def _band(value: Floats, known: Floats) -> Floats:
    """Take off what varies slowly, judged from known places only."""
    around = gaussian_filter(known, BLUR_PX, mode="constant")
    slow = gaussian_filter(value * known, BLUR_PX, mode="constant") / np.maximum(around, 1e-6)
    return np.asarray(value - slow)


def _correlation(one: _Thumbs, other: _Thumbs) -> NDArray[np.float32]:
    """Give the correlation ``(n, m)`` over places known of both; 0 where that is little, or glass.

    Without that care all images with the same unusable rim would look alike.
    """
    a, in_a = one.value.reshape(len(one.items), -1), one.known.reshape(len(one.items), -1)
    b, in_b = other.value.reshape(len(other.items), -1), other.known.reshape(len(other.items), -1)
    common = in_a @ in_b.T
    power_a, power_b = a**2 @ in_b.T, in_a @ (b**2).T
    glass = np.minimum(power_a, power_b) < common * LEAST_CONTRAST**2
    silent = glass | (common < LEAST_COMMON * THUMB**2)
    product: NDArray[np.float32] = a @ b.T
    return np.where(silent, 0, product / np.sqrt(np.maximum(power_a * power_b, 1e-30)))
