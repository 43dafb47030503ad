"""How well the nuclei found are those marked: Dice, AJI, PQ and F1."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

MATCHED_IOU = 0.5  # above it no nucleus can match two
IGNORED_SHARE = 0.5  # as of void in the panoptic benchmarks (A. Kirillov et al., CVPR 2019)


@dataclass(frozen=True)
class NucleiScores:
    """What was counted in an image, or summed over several; the figures follow from it.

    A figure is None where nothing is to be judged: no nucleus marked and none found (for `sq`: none
    matched; for all but `dice`: touching nuclei not told apart). Where only one side is empty it
    is 0.

    Attributes
    ----------
    found_px, truth_px, both_px
        Pixels found, marked, and both.
    found, truth, matched
        Nuclei found, marked, and pairs of them whose IoU is above 0.5.
    matched_iou
        Sum of the IoU of those pairs.
    aji_shared_px, aji_union_px
        The two sums whose ratio is the AJI.
    """

    found_px: int
    truth_px: int
    both_px: int
    found: int = 0
    truth: int = 0
    matched: int = 0
    matched_iou: float = 0.0
    aji_shared_px: int = 0
    aji_union_px: int = 0

    @property
    def dice(self) -> float | None:
        """Dice of the pixels, whichever nucleus they belong to."""
        return _ratio(2 * self.both_px, self.found_px + self.truth_px)

    @property
    def aji(self) -> float | None:
        """Aggregated Jaccard index of N. Kumar et al. (IEEE TMI 2017), algorithm 1.

        Each marked nucleus goes with the found one of the largest IoU, which may go with several;
        what goes with none only adds to the union.
        """
        return _ratio(self.aji_shared_px, self.aji_union_px)

    @property
    def f1(self) -> float | None:
        """F1 of the nuclei, found where the IoU is above 0.5: the detection quality (DQ) in PQ."""
        return _ratio(2 * self.matched, self.found + self.truth)

    @property
    def sq(self) -> float | None:
        """Segmentation quality: mean IoU of the matched pairs."""
        return _ratio(self.matched_iou, self.matched)

    @property
    def pq(self) -> float | None:
        """Panoptic quality, F1 times SQ."""
        return _ratio(2 * self.matched_iou, self.found + self.truth)


@dataclass(frozen=True)
class Figures:
    """The figures of several images, see `NucleiScores`; `images` is how many could be judged."""

    dice: float | None
    aji: float | None
    pq: float | None
    sq: float | None
    f1: float | None
    images: int


def score(
    found: NDArray,
    truth: NDArray,
    ignore: NDArray | None = None,
    *,
    told_apart: bool = True,
) -> NucleiScores:
    """Compare the nuclei found in an image with those marked.

    Parameters
    ----------
    found, truth
        ``(row, column)`` integers: 0 is background, and each nucleus has a number of its own.
    ignore
        Not 0 where nobody is to judge. Such pixels count for neither side, nor does a nucleus of
        either side with more than half of its pixels there, save for Dice.
    told_apart
        False where touching nuclei share a number in `truth`: then only Dice can be judged.

    Examples
    --------
    >>> truth = np.array([[1, 1, 1, 0, 2, 2]])
    >>> found = np.array([[0, 7, 7, 0, 0, 0]])
    >>> scores = score(found, truth)
    >>> [round(figure, 3) for figure in (scores.dice, scores.aji, scores.sq, scores.f1, scores.pq)]
    [0.571, 0.4, 0.667, 0.667, 0.444]
    """
    judged = np.ones(truth.shape, bool) if ignore is None else ignore == 0
    found_there, truth_there = (found != 0) & judged, (truth != 0) & judged
    pixels = (
        int(found_there.sum()),
        int(truth_there.sum()),
        int((found_there & truth_there).sum()),
    )
    if not told_apart:
        return NucleiScores(*pixels)
    shared, found_px, truth_px = _overlaps(_judged(found, judged), _judged(truth, judged))
    matched, matched_iou = _matches(shared, found_px, truth_px)
    aji = _aji_sums(shared, found_px, truth_px)
    return NucleiScores(*pixels, len(found_px), len(truth_px), matched, matched_iou, *aji)


def pooled(scores: Sequence[NucleiScores]) -> Figures:
    """Average each figure over the images in which it could be judged.

    So do Kumar, MoNuSeg and HoVer-Net, whose figures ours stand beside: an image counts as one,
    however many nuclei it holds. For figures in which each nucleus counts as one see `summed`.

    >>> image = NucleiScores(4, 4, 4, 1, 1, 1, 1.0, 4, 4)
    >>> pooled([image, NucleiScores(0, 4, 0, 0, 1, 0, 0.0, 0, 4)]).f1
    0.5
    """
    return Figures(
        dice=_mean(one.dice for one in scores),
        aji=_mean(one.aji for one in scores),
        pq=_mean(one.pq for one in scores),
        sq=_mean(one.sq for one in scores),
        f1=_mean(one.f1 for one in scores),
        images=sum(one.dice is not None for one in scores),
    )


def summed(scores: Sequence[NucleiScores]) -> NucleiScores:
    """Take several images for one large one.

    >>> summed([NucleiScores(4, 4, 4), NucleiScores(0, 4, 0)]).dice
    0.6666666666666666
    """
    sums = (sum(getattr(one, field.name) for one in scores) for field in fields(NucleiScores))
    return NucleiScores(*sums)


def _judged(labels: NDArray, judged: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Leave out the pixels and nuclei that do not count, and number the others from 1."""
    numbers = _in_order(labels)
    if judged.all():
        return numbers
    seen = np.bincount(numbers[judged], minlength=int(numbers.max()) + 1)
    counts = seen >= (1 - IGNORED_SHARE) * np.bincount(numbers.ravel())
    counts[0] = False
    return np.where(judged, (np.cumsum(counts) * counts)[numbers], 0)


def _in_order(labels: NDArray) -> NDArray[np.int64]:
    """Give numbers from 1 in the order of first pixels, so that no figure hangs on the numbers."""
    at = np.flatnonzero(labels)
    values = labels.ravel()[at].astype(np.int64)
    if len(at) and (values.min() < 0 or values.max() > labels.size):
        values = np.unique(values, return_inverse=True)[1].ravel()
    first = np.full(int(values.max(initial=0)) + 1, labels.size)
    first[values[::-1]] = at[::-1]  # of pixels with one value the last one written stays
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(1, len(first) + 1)
    numbers = np.zeros(labels.shape, np.int64)
    numbers.ravel()[at] = rank[values]
    return numbers


def _overlaps(
    found: NDArray[np.int64], truth: NDArray[np.int64]
) -> tuple[sparse.coo_array, NDArray[np.int64], NDArray[np.int64]]:
    """Count shared pixels by (marked, found), and the pixels of each found and marked nucleus."""
    found_px, truth_px = np.bincount(found.ravel())[1:], np.bincount(truth.ravel())[1:]
    both = (found > 0) & (truth > 0)
    at = (truth[both] - 1, found[both] - 1)
    table = sparse.coo_array(
        (np.ones(len(at[0]), np.int64), at), shape=(len(truth_px), len(found_px))
    )
    table.sum_duplicates()
    return table, found_px, truth_px


def _unions(
    shared: sparse.coo_array, found_px: NDArray[np.int64], truth_px: NDArray[np.int64]
) -> NDArray[np.int64]:
    return np.asarray(truth_px[shared.row] + found_px[shared.col] - shared.data)


def _matches(
    shared: sparse.coo_array, found_px: NDArray[np.int64], truth_px: NDArray[np.int64]
) -> tuple[int, float]:
    iou = shared.data / _unions(shared, found_px, truth_px)
    matched = iou > MATCHED_IOU
    return int(matched.sum()), float(iou[matched].sum())


def _aji_sums(
    shared: sparse.coo_array, found_px: NDArray[np.int64], truth_px: NDArray[np.int64]
) -> tuple[int, int]:
    unions = _unions(shared, found_px, truth_px)
    # of equals the one first in the image
    order = np.lexsort((shared.col, -shared.data / unions, shared.row))
    rows, firsts = np.unique(shared.row[order], return_index=True)
    best = order[firsts]
    alone, unused = np.ones(len(truth_px), bool), np.ones(len(found_px), bool)
    alone[rows] = False
    unused[shared.col[best]] = False
    union = unions[best].sum() + truth_px[alone].sum() + found_px[unused].sum()
    return int(shared.data[best].sum()), int(union)


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
