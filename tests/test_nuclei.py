"""Nuclei to planes and back, and the figures they are judged by."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import distance_transform_edt, gaussian_filter
from skimage.draw import disk, ellipse
from skimage.measure import label
from skimage.segmentation import expand_labels

from scope_sr.imaging.nuclei import (
    BOUNDARY,
    INSIDE,
    SPECK_UM2,
    components,
    instances,
    planes,
    targets,
)
from scope_sr.imaging.nuclei_scores import NucleiScores, pooled, score, summed
from scope_sr.specimen.tissue_array import patients, read_pieces

SPECK_PX = SPECK_UM2 / 0.25**2
FIGURES = ("dice", "aji", "pq", "sq", "f1")


def marked() -> list[np.ndarray]:
    """Nuclei of all shipped patients, 33 maps of 512 x 512."""
    names = sorted({core.patient for core in patients()})
    return [piece.labels.astype(int) for name in names for piece in read_pieces(name)]


def round_nuclei(*nuclei: tuple[int, int, int], size: int = 96) -> np.ndarray:
    """Disks (row, column, radius), the later over the earlier."""
    labels = np.zeros((size, size), int)
    for number, (row, column, radius) in enumerate(nuclei, start=1):
        labels[disk((row, column), radius, shape=labels.shape)] = number
    return labels


small_maps = arrays(np.int64, (7, 9), elements=st.integers(0, 4))


# What a network learns ------------------------------------------------------------------------


def test_perfect_planes_give_the_nuclei_back_on_real_tissue() -> None:
    scores = [score(instances(planes(*targets(truth)), 0.25), truth) for truth in marked()]
    all_of_them = summed(scores)
    assert all_of_them.truth > 2700
    assert all_of_them.dice > 0.999
    assert all_of_them.pq > 0.97
    assert all_of_them.matched > 0.99 * all_of_them.truth


def test_no_nucleus_larger_than_a_speck_is_lost() -> None:
    for truth in marked()[::4]:
        found = instances(planes(*targets(truth)), 0.25)
        sizes = np.bincount(truth.ravel())
        for number in np.flatnonzero(sizes >= SPECK_PX)[1:]:
            assert (found[truth == number] > 0).all()


def test_crowded_nuclei_come_back_apart() -> None:
    crowded = [expand_labels(truth, 4) for truth in marked()[::4]]  # until neighbours touch
    scores = [score(instances(planes(*targets(truth)), 0.25), truth) for truth in crowded]
    whole = summed(scores)
    assert sum(label(truth > 0).max() for truth in crowded) < 0.6 * whole.truth
    assert whole.f1 > 0.98
    assert whole.pq > 0.97


def test_the_distance_is_that_to_the_edge_of_the_nucleus_itself() -> None:
    labels = round_nuclei((40, 30, 14), (40, 56, 14), (75, 75, 6))
    _, distance = targets(labels)
    for number in (1, 2, 3):
        own = labels == number
        exact = distance_transform_edt(own) - 0.5
        assert np.abs(distance - exact / exact.max())[own].max() < 0.12
        assert distance[own].max() == 1.0
    assert not distance[labels == 0].any()


def test_the_boundary_is_the_outermost_two_pixels_of_each_nucleus() -> None:
    labels = np.repeat([0, 7, 3, 0], [4, 10, 10, 4])[None].repeat(20, axis=0)
    classes, _ = targets(labels)
    row = [0] * 4 + [2] * 2 + [1] * 6 + [2] * 4 + [1] * 6 + [2] * 2 + [0] * 4
    assert (classes == row).all()  # above and below the image cuts them: no boundary there


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5])
def test_a_thin_nucleus_keeps_an_inside(width: int) -> None:
    labels = np.zeros((30, 30), int)
    labels[5:25, 10 : 10 + width] = 1
    classes, distance = targets(labels)
    assert (classes == INSIDE).any()
    assert ((classes > 0) == (labels > 0)).all()
    assert distance.max() == 1


def test_touching_nuclei_not_told_apart_are_one() -> None:
    labels = round_nuclei((40, 30, 14), (40, 56, 14))
    apart, _ = targets(labels)
    together, _ = targets((labels > 0) * 255, told_apart=False)
    assert components(labels).max() == 1
    assert apart[40, 43] == BOUNDARY
    assert together[40, 43] == INSIDE
    np.testing.assert_array_equal(targets(labels, told_apart=False)[0], together)


def test_in_a_mask_of_one_number_each_piece_has_its_own_depth() -> None:
    mask = (round_nuclei((40, 30, 14), (40, 70, 7)) > 0) * 255
    _, distance = targets(mask, told_apart=False)
    assert distance[:, :50].max() == distance[:, 50:].max() == 1


@given(small_maps, st.permutations(range(1, 5)), st.sampled_from([1, 1000, 10**9]))
def test_targets_do_not_hang_on_the_numbers(labels: np.ndarray, order: list, factor: int) -> None:
    renamed = np.array([0, *order])[labels] * factor
    for mine, theirs in zip(targets(labels), targets(renamed), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@given(small_maps)
def test_classes_and_distance_cover_the_nuclei_and_nothing_else(labels: np.ndarray) -> None:
    classes, distance = targets(labels)
    assert ((classes > 0) == (labels > 0)).all()
    assert ((distance > 0) == (labels > 0)).all()
    for number in np.unique(labels[labels > 0]):
        assert distance[labels == number].max() == 1
        assert (classes[labels == number] == INSIDE).any()


def test_an_image_that_is_all_one_nucleus_or_none() -> None:
    classes, distance = targets(np.ones((20, 30), np.uint16))
    assert (classes == INSIDE).all()
    assert (distance == 1).all()
    classes, distance = targets(np.zeros((20, 30), np.uint16))
    assert not classes.any()
    assert not distance.any()


def test_targets_of_a_patch_full_of_nuclei_are_fast() -> None:
    labels = max(marked(), key=lambda truth: len(np.unique(truth)))[:256, :256]
    targets(labels)
    times_ms = []
    for _ in range(5):
        begin = time.process_time()
        targets(labels)
        times_ms.append(1000 * (time.process_time() - begin))
    assert min(times_ms) < 10


# Nuclei from planes ---------------------------------------------------------------------------


def test_no_foreground_no_nuclei() -> None:
    found = instances(np.zeros((40, 50, 3), np.uint8))
    assert found.shape == (40, 50)
    assert found.dtype == np.int32
    assert not found.any()


def test_foreground_is_where_inside_and_boundary_are_more_than_half() -> None:
    seen = np.zeros((60, 60, 3), np.uint8)
    seen[10:30, 10:30] = (64, 64, 250)
    seen[40:55, 40:55] = (64, 63, 250)
    np.testing.assert_array_equal(np.unique(np.argwhere(instances(seen))), np.arange(10, 30))


def test_foreground_without_depth_is_still_a_nucleus() -> None:
    seen = planes(*targets(round_nuclei((40, 40, 12))))
    seen[..., 2] //= 5
    assert instances(seen).max() == 1


def test_touching_nuclei_come_apart_though_the_network_is_in_doubt() -> None:
    seen = planes(*targets(round_nuclei((40, 30, 14), (40, 57, 14))))
    seen[..., 2] = seen[..., 2] * 0.4
    assert instances(seen).max() == 2


def test_specks_go_by_their_area_on_the_slide() -> None:
    seen = planes(*targets(round_nuclei((30, 30, 12), (70, 70, 5))))  # 69 pixels
    assert instances(seen, 0.25).max() == 2  # 4.3 µm²
    assert instances(seen, 0.1).max() == 1  # 0.7 µm²
    np.testing.assert_array_equal(instances(seen), instances(seen, 0.25))


def test_grain_does_not_break_a_long_nucleus_nor_join_two() -> None:
    labels = np.zeros((128, 128), int)
    labels[ellipse(30, 64, 9, 45, shape=labels.shape)] = 1
    labels[ellipse(80, 42, 18, 18, shape=labels.shape)] = 2
    labels[ellipse(80, 76, 18, 18, shape=labels.shape)] = 3
    clean = gaussian_filter(planes(*targets(labels)).astype(float), (1.5, 1.5, 0))
    rng = np.random.default_rng(5)
    for _ in range(5):
        grain = gaussian_filter(rng.standard_normal(clean.shape), (1, 1, 0)) * 25
        seen = (clean + grain).clip(0, 255).astype(np.uint8)
        alike = score(instances(seen), labels)
        assert (alike.found, alike.matched) == (3, 3)


def test_a_network_s_planes_are_done_in_a_fraction_of_a_second() -> None:
    seen = planes(*targets(np.tile(marked()[1], (2, 2))))
    begin = time.process_time()
    assert instances(seen).max() > 400
    assert time.process_time() - begin < 1.5


# Figures --------------------------------------------------------------------------------------


def slow_pq(found: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    """PQ, SQ, DQ as in A. Kirillov et al., nucleus by nucleus."""
    ious = []
    for t in np.unique(truth[truth > 0]):
        for f in np.unique(found[found > 0]):
            iou = ((truth == t) & (found == f)).sum() / ((truth == t) | (found == f)).sum()
            ious += [iou] if iou > 0.5 else []
    false_found = len(np.unique(found[found > 0])) - len(ious)
    missed = len(np.unique(truth[truth > 0])) - len(ious)
    sq = sum(ious) / len(ious) if ious else 0
    dq = len(ious) / (len(ious) + false_found / 2 + missed / 2)
    return sq * dq, sq, dq


def slow_aji(found: np.ndarray, truth: np.ndarray) -> float:
    """Algorithm 1 of N. Kumar et al. (2017), line by line; ties to the one first in the image."""
    numbers = list(dict.fromkeys(found[found > 0].tolist()))
    shared, union, used = 0, 0, set()
    for t in np.unique(truth[truth > 0]):
        own = truth == t
        ious = [(own & (found == f)).sum() / (own | (found == f)).sum() for f in numbers]
        if not ious or max(ious) == 0:
            union += own.sum()
            continue
        best = numbers[int(np.argmax(ious))]
        shared += (own & (found == best)).sum()
        union += (own | (found == best)).sum()
        used.add(best)
    union += sum((found == f).sum() for f in numbers if f not in used)
    return shared / union


def test_figures_worked_out_by_hand() -> None:
    truth = np.array([[1, 1, 1, 1, 0, 2, 2, 0, 3, 0]])
    found = np.array([[5, 5, 5, 0, 0, 0, 9, 9, 0, 4]])
    scores = score(found, truth)
    # nucleus 1: 3 of 4 px, IoU 3/4, matched; 2: IoU 1/3; 3: missed; 4 was found where there is none
    assert scores == NucleiScores(6, 7, 4, 3, 3, 1, 0.75, 4, 4 + 3 + 1 + 1)
    assert scores.dice == pytest.approx(8 / 13)
    assert scores.aji == pytest.approx(4 / 9)
    assert scores.f1 == pytest.approx(1 / 3)
    assert scores.sq == pytest.approx(3 / 4)
    assert scores.pq == pytest.approx(1 / 4)


def test_one_found_nucleus_may_serve_two_in_the_aji() -> None:
    truth = np.array([[1, 1, 1, 2, 2, 2]])
    found = np.array([[1, 1, 1, 1, 1, 1]])
    # 3 of 6 twice, and nothing is left over
    assert score(found, truth).aji == pytest.approx(6 / 12)
    assert score(found, truth).f1 == 0  # IoU is 0.5, not above


@given(small_maps, small_maps)
@settings(max_examples=300)
def test_figures_are_those_of_the_slow_way(found: np.ndarray, truth: np.ndarray) -> None:
    assume(found.any() and truth.any())
    scores = score(found, truth)
    assert scores.aji == pytest.approx(slow_aji(found, truth))
    assert (scores.pq, scores.sq or 0, scores.f1) == pytest.approx(slow_pq(found, truth))


def test_figures_of_real_tissue_are_those_of_the_slow_way() -> None:
    truth = marked()[0][:256, :256]
    found = np.roll(instances(planes(*targets(truth))), (2, -3), axis=(0, 1))
    scores = score(found, truth)
    assert scores.aji == pytest.approx(slow_aji(found, truth))
    assert (scores.pq, scores.sq, scores.f1) == pytest.approx(slow_pq(found, truth))


@given(small_maps, small_maps)
def test_laws_of_the_figures(found: np.ndarray, truth: np.ndarray) -> None:
    scores, back = score(found, truth), score(truth, found)
    assert (scores.dice, scores.pq, scores.f1) == (back.dice, pytest.approx(back.pq), back.f1)
    values = [getattr(scores, name) for name in FIGURES]
    assert all(value is None or 0 <= value <= 1 for value in values)
    if scores.sq is not None:
        assert scores.pq == pytest.approx(scores.sq * scores.f1)
        assert scores.sq > 0.5
    if scores.aji is not None:
        # no shared pixel counts twice, and all that is found or marked is in the union
        assert scores.aji <= scores.dice / (2 - scores.dice) + 1e-12


@given(small_maps, small_maps, st.permutations(range(1, 5)), st.sampled_from([1, 77, 10**9]))
def test_figures_do_not_hang_on_the_numbers(
    found: np.ndarray, truth: np.ndarray, order: list, factor: int
) -> None:
    rename = np.array([0, *order]) * factor
    plain = score(found, truth)
    for other in (score(rename[found], truth), score(found, rename[truth])):
        assert replace(other, matched_iou=0) == replace(plain, matched_iou=0)
        assert other.matched_iou == pytest.approx(plain.matched_iou)


@given(small_maps)
def test_the_truth_itself_has_the_best_figures(truth: np.ndarray) -> None:
    assume(truth.any())
    assert [getattr(score(truth, truth), name) for name in FIGURES] == [1.0] * 5


def test_nuclei_moved_by_more_than_their_size_are_none() -> None:
    truth = round_nuclei((20, 20, 6), (60, 30, 6))
    scores = score(np.roll(truth, 20, axis=1), truth)
    assert [getattr(scores, name) for name in FIGURES] == [0.0, 0.0, 0.0, None, 0.0]


@pytest.mark.parametrize("marks", [0, 1])
@pytest.mark.parametrize("finds", [0, 1])
def test_images_without_nuclei(marks: int, finds: int) -> None:
    blank = np.zeros((8, 8), int)
    truth, found = blank.copy(), blank.copy()
    truth[:3, :3], found[5:, 5:] = marks, finds
    scores = score(found, truth)
    expected = 0.0 if marks or finds else None
    assert [scores.dice, scores.aji, scores.pq, scores.f1] == [expected] * 4
    assert scores.sq is None


def test_what_is_to_be_ignored_counts_for_nobody() -> None:
    truth = round_nuclei((20, 20, 8), (20, 60, 8))
    found = round_nuclei((20, 20, 8), (20, 60, 8), (70, 20, 8), (70, 65, 8))
    ignore = np.zeros(truth.shape, np.uint8)
    ignore[55:, :40] = 255  # all of the third
    ignore[55:, 63:] = 255  # more than half of the fourth
    ignore[:, :16] = 255  # less than half of the first, on both sides
    scores = score(found, truth, ignore)
    assert (scores.found, scores.truth, scores.matched) == (2, 2, 2)
    assert scores.aji == scores.pq == 1
    assert score(found, truth).found == 4
    nothing = score(found, truth, np.ones_like(ignore))
    assert (nothing.dice, nothing.aji, nothing.pq) == (None, None, None)


def test_a_mask_that_tells_no_nuclei_apart_gives_dice_only() -> None:
    found = round_nuclei((40, 30, 14), (40, 56, 14))
    scores = score(found, (found > 0) * 255, told_apart=False)
    assert scores.dice == 1
    assert [scores.aji, scores.pq, scores.sq, scores.f1] == [None] * 4


def test_pooled_counts_images_alike_and_summed_nuclei() -> None:
    one, blank = round_nuclei((40, 40, 9)), round_nuclei()
    three = round_nuclei((20, 20, 9), (20, 70, 9), (70, 20, 9))
    scores = [score(one, one), score(blank, three), score(blank, blank)]
    mean, whole = pooled(scores), summed(scores)
    assert (mean.images, mean.f1, mean.sq, mean.aji, mean.dice) == (2, 0.5, 1.0, 0.5, 0.5)
    assert (whole.f1, whole.matched, whole.truth) == (0.4, 1, 4)
    assert pooled([]).pq is None
    assert pooled([]).images == 0


def test_two_thousand_nuclei_are_judged_within_a_second() -> None:
    truth = np.zeros((2048, 2048), np.int32)
    rows, columns = np.mgrid[:2048, :2048]
    numbers = rows // 45 * 46 + columns // 45 + 1
    truth[(rows % 45 > 8) & (columns % 45 > 8)] = numbers[(rows % 45 > 8) & (columns % 45 > 8)]
    found = np.roll(truth, 3, axis=1)
    begin = time.process_time()
    scores = score(found, truth)
    assert time.process_time() - begin < 1.5
    assert scores.truth > 2000
    assert scores.f1 > 0.99
